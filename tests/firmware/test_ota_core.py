"""The update client's C core, on the host under the sanitizers: whatever a server sends, the flash stays sound."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.images import rom, silent_rom
from support.ota_host import (
    HARNESS,
    HEADER_1MB,
    REASONS,
    ROM,
    SANITIZERS,
    SLOTS,
    SOURCES,
    STRICT,
    UPDATE_SOURCES,
    Host,
    build,
    flash,
    reply,
    update,
)

from rbootimg.flash.bootconfig import BootConfig, BootMode, RtcData
from rbootimg.flash.bootlogic import predict_boot
from rbootimg.layout.model import LoaderOptions

pytestmark = pytest.mark.needs("gcc")

END = 0xFB000  # of slot 1: the SDK's sectors follow
ON_A_PROGRAM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

NewHost = Callable[..., Host]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("harness"), HARNESS / "harness.c")


@pytest.fixture
def new(program: Path) -> NewHost:
    return lambda data=None: Host(program, flash() if data is None else data)


def reason(lines: list[str]) -> str:
    found = [line.split()[1] for line in lines if line.startswith("reason ")]
    return REASONS[int(found[-1])]


def changes(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("write", "erase"))]


def assert_slot_1_alone_changed(host: Host, before: bytes) -> None:
    assert host.flash[:0x82000] == before[:0x82000]
    assert host.flash[END:] == before[END:]


# A whole update


def test_an_update_ends_with_the_rom_in_the_slot_and_nothing_else_changed(new: NewHost) -> None:
    host = new()
    lines = update(host, reply())
    assert lines[:3] == ["connect 192.168.7.5:80", "start 1", "send 26"]
    assert "callback 1 1" in lines
    assert reason(lines) == "OK"
    assert host.flash[0x82000 : 0x82000 + len(ROM)] == ROM
    assert_slot_1_alone_changed(host, flash())


@pytest.mark.parametrize("piece", [1, 3, 17, 536, 1460, 5840, 65535])
def test_packets_of_any_size_come_to_the_same(new: NewHost, piece: int) -> None:
    big = rom(1, "big")
    host = new()
    lines = update(host, reply(big if piece > 100 else ROM), piece)
    assert reason(lines) == "OK"
    body = big if piece > 100 else ROM
    assert host.flash[0x82000 : 0x82000 + len(body)] == body
    sizes = [int(line.split()[2]) for line in lines if line.startswith("write")]
    assert max(sizes) <= 1460
    assert_slot_1_alone_changed(host, flash())


def test_each_sector_is_erased_once_and_before_its_first_byte(new: NewHost) -> None:
    body = silent_rom(0x6000)
    lines = changes(update(new(), reply(body), 5840))
    erased: set[int] = set()
    for line in lines:
        kind, *numbers = line.split()
        address = int(numbers[0], 16)
        if kind == "erase":
            assert address not in erased
            erased.add(address)
        else:
            sectors = range(address // 0x1000, (address + int(numbers[1]) - 1) // 0x1000 + 1)
            assert {sector * 0x1000 for sector in sectors} <= erased
    assert erased == {0x82000 + sector * 0x1000 for sector in range(7)}


def test_the_first_word_is_written_last(new: NewHost) -> None:
    assert changes(update(new(), reply()))[-1] == "write 82000 4"


def test_a_rom_may_fill_the_slot_and_not_a_byte_more(new: NewHost) -> None:
    full = silent_rom(END - 0x82000 - 48)
    assert len(full) == END - 0x82000
    host = new()
    assert reason(update(host, reply(full))) == "OK"
    assert_slot_1_alone_changed(host, flash())
    host = new()
    assert reason(update(host, reply(full + b"0"))) == "TOO_BIG"
    assert host.flash == flash()


def test_of_a_rom_of_any_length_every_byte_is_written(new: NewHost) -> None:
    for more in range(1, 6):
        host = new()
        body = ROM + bytes(range(1, more + 1))  # behind the checksum, as esptool has it
        assert reason(update(host, reply(body))) == "OK"
        assert host.flash[0x82000 : 0x82000 + len(body) + 1] == body + b"\xff"


def test_one_update_after_another(new: NewHost) -> None:
    host = new()
    host.do("start 1 0 0 -", "connected").data(reply(ROM[:50], len(ROM))).do("closed", "run", "reason")
    lines = update(host, reply())
    assert [line for line in lines if line.startswith("callback")] == ["callback 1 0", "callback 1 1"]
    assert host.flash[0x82000 : 0x82000 + len(ROM)] == ROM


def test_an_update_can_start_in_the_callback_which_may_free_the_last_one(new: NewHost) -> None:
    for first in ("start 1 0 0 -", "check 1.0.0"):
        host = new().do("again", first, "failed", "timeout", "connected").data(reply()).do("closed", "run", "reason")
        lines = host.run()
        assert lines.count("connect 192.168.7.5:80") + lines.count("connect 0.0.0.0:80") == 2
        assert lines[-2:] == ["callback 1 1", "reason 0 done"]
        assert host.flash[0x82000 : 0x82000 + len(ROM)] == ROM


def test_while_an_update_is_on_its_way_no_other_starts(new: NewHost) -> None:
    lines = new().do("start 1 0 0 -", "start 1 0 0 -", "check 1.0.0", "reason").run()
    assert lines == ["connect 192.168.7.5:80", "start 1", "start 0", "start 0", "reason 2 another update is running"]


def test_the_application_can_say_how_far_it_is(new: NewHost) -> None:
    host = new().do("start 1 0 0 -", "connected").data(reply(ROM[:100], len(ROM))).do("progress")
    assert host.run()[-1] == f"progress 100 {len(ROM)}"


# Which slot


@pytest.mark.parametrize(
    ("slot", "chip", "why"),
    [
        (0, flash(), "SLOT_IN_USE"),
        (1, flash(BootConfig(SLOTS, 1).to_bytes()), "SLOT_IN_USE"),
        (2, flash(), "CONFIG"),
        (255, flash(), "CONFIG"),
        (1, flash(b""), "CONFIG"),
        (1, flash(BootConfig((0x2000, 0x82010)).to_bytes()), "CONFIG"),
        (1, flash(BootConfig((0x2000, 0x1000)).to_bytes()), "CONFIG"),
        (1, flash(BootConfig((0x2000, 0)).to_bytes()), "CONFIG"),
    ],
)
def test_a_slot_that_must_not_be_written_is_refused_before_any_connection(
    new: NewHost, slot: int, chip: bytes, why: str
) -> None:
    host = new(chip)
    lines = host.do(f"start {slot} 0 0 -", "reason").run()
    assert lines[0] == "start 0"
    assert reason(lines) == why
    assert host.flash == chip


def rtc(*values: int) -> str:
    data = RtcData(BootMode(values[0]), BootMode(values[1]), *values[2:]).to_bytes()
    return "rtc " + " ".join(data[i : i + 4][::-1].hex() for i in (0, 4, 8))


def test_a_rom_that_runs_as_a_temp_rom_is_not_written_nor_the_one_to_fall_back_to(new: NewHost) -> None:
    for slot in (0, 1):
        assert reason(new().do(rtc(0, 2, 1, 0), f"start {slot} 0 0 -", "reason").run()) == "SLOT_IN_USE"


@pytest.mark.parametrize(
    ("roms", "header", "end"),
    [
        ((0x2000, 0x42000, 0x82000), HEADER_1MB, 0x82000),  # the next slot
        ((0x2000, 0x42000), b"\xe9\x01\x00\x00", 0x7B000),  # the SDK's data in 512 KB
        ((0x2000, 0x42000), b"\xe9\x01\x00\x10", 0),  # outside 256 KB
        ((0x2000, 0x82000), b"\xe9\x01\x00\x40", 0x100000),  # 4 MB: the megabyte
        ((0x82000, 0x2000), HEADER_1MB, 0x82000),
        ((0x2000, 0x102000), b"\xe9\x01\x00\x40", 0x200000),
        ((0x2000, 0x302000), b"\xe9\x01\x00\x40", 0x3FB000),
        ((0x2000, 0xF02000), b"\xe9\x01\x00\x90", 0xFFB000),  # 16 MB
        ((0x2000, 0xF02000), b"\xe9\x01\x00\x80", 0),  # outside 8 MB
        ((0x2000, 0x82000, 0x82000), HEADER_1MB, 0x82000),  # the same place twice
    ],
)
def test_a_slot_ends_where_something_else_begins(new: NewHost, roms: tuple[int, ...], header: bytes, end: int) -> None:
    start = roms[1]
    room = max(end - start, 0)
    for length, why in ((room, "TRUNCATED"), (room + 1, "TOO_BIG")):
        if length:
            host = new(flash(BootConfig(roms).to_bytes(), header))
            assert reason(update(host, reply(b"", length))) == why


def test_the_application_can_make_a_slot_smaller_and_not_larger(new: NewHost) -> None:
    assert reason(update(new(), reply(b"", 0x10000), requirements="10000 0 -")) == "TRUNCATED"
    assert reason(update(new(), reply(b"", 0x10001), requirements="10000 0 -")) == "TOO_BIG"
    assert reason(update(new(), reply(b"", END - 0x82000 + 1), requirements="200000 0 -")) == "TOO_BIG"


def test_without_a_request_nothing_starts(new: NewHost) -> None:
    lines = new().do("start-nothing", "reason").run()
    assert lines == ["start 0 0", "reason 1 invalid argument: request, callback or version"]


@pytest.mark.parametrize("start", ["start 1 0 0 -", "check 1.0.0"])
def test_a_request_is_of_one_packet(new: NewHost, start: str) -> None:
    for size, is_started in ((0, 0), (1, 1), (1460, 1), (1461, 0), (1999, 0)):
        lines = new().do(f"request {size}", start, "connected", "reason").run()
        assert f"start {is_started}" in lines
        assert (f"send {size}" in lines) == bool(is_started)
        assert reason(lines) == ("BUSY" if is_started else "ARGUMENT")


def test_without_a_network_nothing_starts(new: NewHost) -> None:
    for start in ("start 1 0 0 -", "check 1.0.0"):
        lines = new().do("no-network", start, "run", "reason").run()
        assert lines[1:] == ["start 0", f"reason {REASONS.index('NO_CONNECTION')} no connection to the server"]


def test_a_flash_whose_size_cannot_be_read_is_not_written(new: NewHost) -> None:
    assert reason(new().do("unreadable 0", "start 1 0 0 -", "reason").run()) == "FLASH"
    assert reason(new().do("unreadable 1000", "start 1 0 0 -", "reason").run()) == "CONFIG"


# What a server may answer

HEADERS = {
    "plain": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "OK"),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n", "OK"),
    "no reason phrase": (b"HTTP/1.1 200 \r\nContent-Length: 12\r\n\r\n", "OK"),
    "no blank behind the status": (b"HTTP/1.1 200\r\nContent-Length: 12\r\n\r\n", "OK"),
    "any case": (b"HTTP/1.1 200 OK\r\ncOnTeNt-LENGTH:12\r\n\r\n", "OK"),
    "blanks": (b"HTTP/1.1 200 OK\r\nContent-Length: \t 12 \t\r\n\r\n", "OK"),
    "line feeds": (b"HTTP/1.1 200 OK\nA: b\nContent-Length: 12\n\n", "OK"),
    "others before and after": (b"HTTP/1.1 200 OK\r\nA: \r\nContent-Length: 12\r\nEmpty:\r\n\r\n", "OK"),
    "twice the same": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 012\r\n\r\n", "OK"),
    "identity": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity\r\nContent-Length: 12\r\n\r\n", "OK"),
    "longer names": (b"HTTP/1.1 200 OK\r\nContent-Lengths: 7\r\nContent-Lengt: 8\r\nContent-Length: 12\r\n\r\n", "OK"),
    "length as a value": (b"HTTP/1.1 200 OK\r\nX: Content-Length: 5\r\nContent-Length: 12\r\n\r\n", "OK"),
    "not text but allowed": (b"HTTP/1.1 200 \xe9\r\nX: \xff\t\r\nContent-Length: 12\r\n\r\n", "OK"),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
        "OK",
    ),
    "404": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\n", "STATUS"),
    "206": (b"HTTP/1.1 206 Partial Content\r\nContent-Length: 12\r\n\r\n", "STATUS"),
    "switching": (b"HTTP/1.1 101 Switching\r\n\r\n", "STATUS"),
    "interim, then no HTTP": (b"HTTP/1.1 100 Continue\r\nContent-Length: 12\r\n\r\n\xea", "BAD_HTTP"),
    "interim, then no length": (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 12\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "NO_LENGTH",
    ),
    "interim, then 404": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 12\r\n\r\n", "STATUS"),
    "503": (b"HTTP/1.1 503 Busy\r\n\r\n", "STATUS"),
    "moved": (b"HTTP/1.1 301 Moved\r\nLocation: /b\r\nContent-Length: 12\r\n\r\n", "REDIRECT"),
    "found": (b"HTTP/1.1 302 Found\r\n\r\n", "REDIRECT"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "BAD_ENCODING"),
    "chunked with a length": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\nContent-Length: 12\r\n\r\n",
        "BAD_ENCODING",
    ),
    "two codings": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 12\r\n\r\n",
        "BAD_ENCODING",
    ),
    "gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n", "BAD_ENCODING"),
    "almost identity": (b"HTTP/1.1 200 OK\r\nContent-Encoding: identit\r\nContent-Length: 12\r\n\r\n", "BAD_ENCODING"),
    "no length": (b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", "NO_LENGTH"),
    "empty length": (b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", "BAD_HTTP"),
    "negative length": (b"HTTP/1.1 200 OK\r\nContent-Length: -12\r\n\r\n", "BAD_HTTP"),
    "a list of lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 12, 12\r\n\r\n", "BAD_HTTP"),
    "a length with a word": (b"HTTP/1.1 200 OK\r\nContent-Length: 12 bytes\r\n\r\n", "BAD_HTTP"),
    "hexadecimal length": (b"HTTP/1.1 200 OK\r\nContent-Length: 0x12\r\n\r\n", "BAD_HTTP"),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Length: 13\r\n\r\n", "BAD_HTTP"),
    "HTTP/0.9": (b"\xea\x04\x00\x20", "BAD_HTTP"),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\nContent-Length: 12\r\n\r\n", "BAD_HTTP"),
    "HTTP/2": (b"HTTP/2 200 OK\r\nContent-Length: 12\r\n\r\n", "BAD_HTTP"),
    "status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", "BAD_HTTP"),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "BAD_HTTP"),
    "no colon": (b"HTTP/1.1 200 OK\r\nContent-Length 12\r\n\r\n", "BAD_HTTP"),
    "blank before the colon": (b"HTTP/1.1 200 OK\r\nContent-Length : 12\r\n\r\n", "BAD_HTTP"),
    "no name": (b"HTTP/1.1 200 OK\r\n: 12\r\n\r\n", "BAD_HTTP"),
    "folded": (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\t\r\nContent-Length: 12\r\n\r\n", "OK"),
    "folded length": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n 34\r\n\r\n", "BAD_HTTP"),
    "folded coding": (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Encoding:\r\n gzip\r\n\r\n", "BAD_HTTP"),
    "folded status line": (b"HTTP/1.1 200 OK\r\n c\r\nContent-Length: 12\r\n\r\n", "BAD_HTTP"),
    "folded after an interim reply": (
        b"HTTP/1.1 100 \r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n c\r\nContent-Length: 12\r\n\r\n",
        "BAD_HTTP",
    ),
    "empty coding": (b"HTTP/1.1 200 OK\r\nContent-Encoding: \r\nContent-Length: 12\r\n\r\n", "OK"),
    "empty transfer coding": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 12\r\n\r\n", "BAD_ENCODING"),
    "identity and blanks": (b"HTTP/1.1 200 OK\r\nContent-Encoding: identity \t\r\nContent-Length: 12\r\n\r\n", "OK"),
    "identity and more": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity \tchunked\r\nContent-Length: 12\r\n\r\n",
        "BAD_ENCODING",
    ),
    "a zero": (b"HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 12\r\n\r\n", "BAD_HTTP"),
    "a carriage return alone": (b"HTTP/1.1 200 OK\r\nA: b\rContent-Length: 12\r\n\r\n", "BAD_HTTP"),
    "too long": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 4096, "HEADER_SIZE"),
    "interim for ever": (b"HTTP/1.1 102 Processing\r\n\r\n" * 200, "HEADER_SIZE"),
}


@pytest.mark.parametrize("name", [name for name, (_, why) in HEADERS.items() if why != "HEADER_SIZE"])
def test_a_header_comes_to_the_same_wherever_it_is_split(new: NewHost, name: str) -> None:
    header, why = HEADERS[name]
    (line,) = new().do(f"http {header.hex()}").run()
    assert REASONS[int(line.split()[1])] == why, line
    if why == "OK":
        assert line == f"http 0 1 12 {len(header)}"


@pytest.mark.parametrize("name", [name for name, (_, why) in HEADERS.items() if why != "OK"])
def test_a_reply_that_is_refused_leaves_the_flash_untouched(new: NewHost, name: str) -> None:
    header, why = HEADERS[name]
    host = new()
    lines = update(host, header + ROM)
    assert reason(lines) == why
    assert "callback 1 0" in lines
    assert changes(lines) == []
    assert host.flash == flash()


@pytest.mark.parametrize("length", ["4294967296", "4294967536", "99999999999999999999999999", "268435457"])
def test_a_length_beyond_32_bits_does_not_wrap(new: NewHost, length: str) -> None:
    lines = update(new(), f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode() + ROM)
    assert reason(lines) == "TOO_BIG"
    assert changes(lines) == []


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(b"<html>a page with status 200, as some servers have it</html>"), "NOT_A_ROM"),
        (reply(b"\xea\x05" + ROM[2:]), "NOT_A_ROM"),
        (reply(ROM[:16]), "NOT_A_ROM"),
        (reply(b""), "NOT_A_ROM"),
        (b"", "TRUNCATED"),
        (reply()[:30], "TRUNCATED"),
        (reply(b"", len(ROM)), "TRUNCATED"),
        (reply() + b"!", "EXCESS_DATA"),
        (reply(ROM, 100), "EXCESS_DATA"),
    ],
)
def test_what_is_no_rom_is_seen_before_anything_is_erased(new: NewHost, answer: bytes, why: str) -> None:
    host = new()
    lines = update(host, answer, 65535)
    assert reason(lines) == why
    assert changes(lines) == []
    assert host.flash == flash()


def test_a_body_that_ends_early_is_no_rom_to_any_loader(new: NewHost) -> None:
    for length in range(4, len(ROM), 29):
        host = new()
        assert reason(update(host, reply(ROM[:length], len(ROM)))) == "TRUNCATED"
        assert host.flash[0x82000:0x82004] == b"\xff" * 4
        assert_slot_1_alone_changed(host, flash())


def test_more_than_the_length_says_is_refused_in_any_packet(new: NewHost) -> None:
    for piece in (1460, 64):
        host = new()
        assert reason(update(host, reply(ROM + bytes(64), len(ROM) + 32), piece)) == "EXCESS_DATA"
        assert host.flash[0x82000:0x82004] in (b"\xff" * 4, b"\xa5" * 4)


@ON_A_PROGRAM
@given(data=st.data())
def test_random_packets(program: Path, data: st.DataObject) -> None:
    answer = reply()
    ends = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=8)))
    host = Host(program, flash()).do("start 1 0 0 -", "connected")
    for start, end in zip([0, *ends], [*ends, len(answer)]):
        host.data(answer[start:end])
    assert reason(host.do("run", "reason").run()) == "OK"
    assert host.flash[0x82000 : 0x82000 + len(ROM)] == ROM


@ON_A_PROGRAM
@given(answer=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda body: reply(body, len(body) // 2))))
def test_whatever_is_sent_only_the_slot_can_change(program: Path, answer: bytes) -> None:
    host = Host(program, flash())
    lines = update(host, answer, 40)
    assert reason(lines) != "OK"
    assert_slot_1_alone_changed(host, flash())


# What else goes wrong


TICKS = 500  # milliseconds


@pytest.mark.parametrize("told", [[], ["connected"], ["connected", f"data {reply(b'', 60).hex()}"]])
@pytest.mark.parametrize("start", ["start 1 0 0 -", "check 1.0.0"])
def test_a_server_that_is_silent_is_given_up(new: NewHost, start: str, told: list[str]) -> None:
    patience = ["timeout"] * (10_000 // TICKS)
    lines = new().do(start, *told, *patience, "reason", "timeout", "run", "reason").run()
    assert [line for line in lines if line.startswith("timer")] == [f"timer {TICKS}"] * (len(patience) + 1)
    assert [REASONS[int(line.split()[1])] for line in lines if line.startswith("reason")] == ["BUSY", "TIMEOUT"]
    assert len([line for line in lines if line.startswith(("callback 1 0", "version 1 2"))]) == 1


@pytest.mark.parametrize(
    ("start", "at_once", "drops"),
    [
        ("start 1 0 0 -", b"H", b"TTP/1.1 200 OK\r\nX: ".ljust(90, b"x")),
        ("start 1 0 0 -", reply(b"", 90), ROM[:80]),
        ("check 1.0.0", reply(b"", 64), b"1" * 64),
    ],
)
def test_a_server_that_drips_is_given_up_in_the_end(new: NewHost, start: str, at_once: bytes, drops: bytes) -> None:
    """It is never silent for ten seconds, and never done."""
    host = new().do(start, "connected").data(at_once)
    for byte in drops:
        host.do(*["timeout"] * (9500 // TICKS), f"data {byte:02x}")
    lines = host.do("run", "reason").run()
    assert reason(lines) == "TIMEOUT"
    assert len([line for line in lines if line == f"timer {TICKS}"]) == 600_000 // TICKS


def test_the_limits_are_the_applications_to_set(tmp_path: Path) -> None:
    options = ["-DOTA_NETWORK_TIMEOUT=1000", "-DOTA_TOTAL_TIMEOUT=3000"]
    program = build(tmp_path, HARNESS / "harness.c", options=options)
    drops = [command for byte in b"HTTP/1" for command in (f"data {byte:02x}", "timeout")]
    for told, ticks in ((["timeout"] * 6, 3), (drops, 6)):
        lines = Host(program, flash()).do("start 1 0 0 -", "connected", *told, "run", "reason").run()
        assert reason(lines) == "TIMEOUT"
        assert len([line for line in lines if line == f"timer {TICKS}"]) == ticks


def test_a_connection_that_fails_or_breaks(new: NewHost) -> None:
    assert reason(new().do("start 1 0 0 -", "failed", "run", "reason").run()) == "NO_CONNECTION"
    assert reason(new().do("start 1 0 0 -", "closed", "run", "reason").run()) == "NO_CONNECTION"
    assert reason(new().do("start 1 0 0 -", "connected", "failed", "run", "reason").run()) == "CONNECTION_LOST"


def test_what_comes_after_the_end_is_ignored(new: NewHost) -> None:
    host = new().do("connected", "data 00", "closed", "failed", "run").do("start 1 0 0 -", "connected").data(reply())
    lines = host.data(b"late").do("connected", "run", "data 00", "closed", "run", "reason").run()
    assert reason(lines) == "OK"
    assert len([line for line in lines if line.startswith("callback")]) == 1


def test_any_failed_operation_of_the_flash_ends_the_update(new: NewHost) -> None:
    body = silent_rom(0x2000)
    all_of_them = len(changes(update(new(), reply(body))))
    assert all_of_them > 8
    for number in range(1, all_of_them + 1):
        host = new().do(f"fail {number}")
        lines = update(host, reply(body))
        assert reason(lines) == "FLASH"
        assert "callback 1 0" in lines
        assert len(changes(lines)) == number, "nothing is written after a failure"
        assert host.flash[0x82000:0x82004] != body[:4]


BURST = 5840  # four segments at once, as a device gets them that was busy when they came


def test_bursts_corrupt_the_rom_of_a_naive_client_and_not_ours(new: NewHost) -> None:
    body = rom(1, "big")
    blank = flash(BootConfig(SLOTS, 1).to_bytes())
    for piece, heap, is_sound in ((1460, 5800, True), (BURST, 6000, True), (BURST, 5800, False)):
        host = new(blank)
        assert host.do(f"naive {host.file(body)} {piece} {heap}").run() == ["naive 1"], "it always succeeds"
        assert (host.flash[0x82000 : 0x82000 + len(body)] == body) == is_sound
        assert (predict_boot(host.flash).rom == 1) == is_sound
    host = new()
    assert reason(update(host, reply(body), BURST)) == "OK"
    assert host.flash[0x82000 : 0x82000 + len(body)] == body


def test_the_client_needs_no_heap() -> None:
    for source in (*SOURCES.rglob("*.[ch]"), *UPDATE_SOURCES.rglob("*.[ch]")):
        assert not re.search(r"\b(os_)?([mcz]|re)?alloc\b|\bfree *\(", source.read_text()), source.name


# The check of what was written


def verdict(host: Host, data: bytes, slot: int = 0x82000, irom_checksum: int = 0) -> str:
    host.do(f"load {host.file(data)} {slot:x}", f"verify {slot:x} {irom_checksum} {len(data):x}")
    return REASONS[int(host.run()[-1].split()[1])]


@pytest.mark.parametrize("name", ["tiny", "mixed", "big"])
@pytest.mark.parametrize("irom_checksum", [0, 1])
def test_a_sound_rom_passes_in_its_slot(new: NewHost, name: str, irom_checksum: int) -> None:
    for slot in (0, 1):
        data = rom(slot, name, irom_checksum=bool(irom_checksum))
        assert verdict(new(), data, SLOTS[slot], irom_checksum) == "OK"


@pytest.mark.parametrize("name", ["tiny", "mixed"])
def test_a_rom_in_a_slot_that_it_is_not_linked_for_is_refused(new: NewHost, name: str) -> None:
    assert verdict(new(), rom(0, name), SLOTS[1]) == "WRONG_SLOT"
    assert verdict(new(), rom(1, name), SLOTS[0]) == "WRONG_SLOT"
    assert reason(update(new(), reply(rom(0, name)))) == "WRONG_SLOT"


def test_a_rom_that_does_not_tell_its_slot_passes(new: NewHost) -> None:
    assert verdict(new(), silent_rom()) == "OK"


def test_a_ram_image_without_irom_passes(new: NewHost) -> None:
    whole = rom(1)
    irom_size = int.from_bytes(whole[12:16], "little")
    assert verdict(new(), whole[16 + irom_size :]) == "OK"


def test_the_checksum_is_of_the_kind_that_is_asked_for(new: NewHost) -> None:
    assert verdict(new(), rom(1), irom_checksum=1) == "BAD_ROM"
    assert verdict(new(), rom(1, irom_checksum=True)) == "BAD_ROM"
    assert reason(update(new(), reply(rom(1)), requirements="0 1 -")) == "BAD_ROM"
    assert reason(update(new(), reply(rom(1, irom_checksum=True)), requirements="0 1 -")) == "OK"


def test_of_a_damaged_rom_none_passes_that_rboot_would_not_boot(new: NewHost) -> None:
    """With each bit changed, and cut off at each length."""
    sound = rom(1, "mixed", irom_checksum=True)
    damaged = [
        bytes((*sound[:at], sound[at] ^ 1 << bit, *sound[at + 1 :])) for at in range(len(sound)) for bit in range(8)
    ]
    damaged += [sound[:length].ljust(len(sound), b"\xff") for length in range(0, len(sound), 4)]
    host = new()
    for data in damaged:
        host.do(f"load {host.file(data)} 82000", f"verify 82000 1 {len(data):x}")
    passed = [data for data, line in zip(damaged, host.run()) if line.startswith("verify 0")]
    assert 0 < len(passed) < len(damaged) / 2
    for data in passed:
        chip = bytearray(flash(BootConfig(SLOTS, 1).to_bytes()))
        chip[0x82000 : 0x82000 + len(data)] = data
        assert predict_boot(bytes(chip), LoaderOptions(irom_checksum=True)).rom == 1


@ON_A_PROGRAM
@given(data=st.binary(min_size=1, max_size=400), start=st.sampled_from([b"", b"\xea\x04", b"\xe9\x01", ROM[:100]]))
def test_the_check_stays_within_any_data(program: Path, data: bytes, start: bytes) -> None:
    whole = start + data
    host = Host(program)
    host.do(f"load {host.file(whole)} fff00" if len(whole) < 0x100 else f"load {host.file(whole)} 82000")
    host.do(f"verify {0xFFF00 if len(whole) < 0x100 else 0x82000:x} 0 {len(whole) // 4 * 4:x}")
    assert host.run()[-1].startswith("verify ")


def test_a_sha_256_that_is_asked_for_must_be_that_of_the_file(new: NewHost) -> None:
    digest = hashlib.sha256(ROM).hexdigest()
    assert reason(update(new(), reply(), requirements=f"0 0 {digest}")) == "OK"
    host = new()
    other = ROM + b"\0"
    assert reason(update(host, reply(other), requirements=f"0 0 {digest}")) == "DIGEST"
    assert host.flash[0x82000:0x82004] == b"\xff" * 4


def test_sha_256_is_that_of_python(new: NewHost) -> None:
    host = new()
    lengths = [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000]
    for length in lengths:
        data = bytes(i * 7 & 0xFF for i in range(length))
        host.do(f"sha256 {hashlib.sha256(data).hexdigest()} {data.hex()}")
    wrong = hashlib.sha256(b"a").hexdigest()
    lines = host.do(f"sha256 {wrong} {b'b'.hex()}").run()
    assert lines == ["sha256 1"] * len(lengths) + ["sha256 0"]


# Versions

VERSIONS = """
    0.0.1 0.1.0 1.0.0-0 1.0.0-1 1.0.0-9 1.0.0-10 1.0.0-999999999 1.0.0-- 1.0.0-A 1.0.0-a 1.0.0-a.1 1.0.0-alpha
    1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1-a 1.2.0 1.10.0 2.0.0
    10.0.0 999999999.0.0
"""
LONGEST = "1.0.0-" + "a" * 57
NO_VERSIONS = (
    "1", "1.0", "1.0.0.0", "v1.0.0", "01.0.0", "1.00.0", "1.0.0-", "1.0.0-01", "1.0.0-a..b", "1.0.0-a.", "1.0.0+",
    "1.0.0+a+b", "1.0.0+a..b", "1.0.0-ä", "1.0.0-a_b", "1..0", ".1.0", "-1.0.0", "1.0.0a", "1000000000.0.0",
    "1.0.0-1000000000", LONGEST + "a", "latest",
)  # fmt: skip


def test_versions_are_ordered_as_semver_has_it(new: NewHost) -> None:
    host = new()
    ordered = VERSIONS.split()
    for one in ordered:
        for other in ordered:
            host.do(f"compare {one} {other}")
    places = range(len(ordered))
    expected = [str((one > other) - (one < other)) for one in places for other in places]
    assert host.run() == expected


def test_build_data_do_not_count(new: NewHost) -> None:
    pairs = "1.0.0+a 1.0.0", "1.0.0-a+b 1.0.0-a+c", "1.0.0+001 1.0.0+1.-", f"{LONGEST} {LONGEST}"
    assert new().do(*(f"compare {pair}" for pair in pairs)).run() == ["0"] * 4


def test_what_is_no_version_is_never_newer(new: NewHost) -> None:
    host = new()
    for text in NO_VERSIONS:
        host.do(f"compare {text} 1.0.0", f"compare 1.0.0 {text}", f"compare {text} {text}")
    assert set(host.run()) == {"2"}


def check(host: Host, body: bytes, own: str = "1.2.0", piece: int = 3) -> list[str]:
    host.do(f"check {own}", "connected").data(reply(body), piece)
    lines = host.do("run", "reason").run()
    assert changes(lines) == []
    return [line for line in lines if line.startswith(("version", "reason"))]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"1.3.0\n", "version 1 1 1.3.0"),
        (b"1.2.0\n", "version 1 0 1.2.0"),
        (b"1.2.0", "version 1 0 1.2.0"),
        (b"1.2.0-rc.1\n", "version 1 -1 1.2.0-rc.1"),
        (LONGEST.encode() + b"\n", f"version 1 -1 {LONGEST}"),
    ],
)
def test_a_version_check_says_newer_same_or_older(new: NewHost, body: bytes, found: str) -> None:
    assert check(new(), body) == [found, "reason 0 done"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "NOT_A_VERSION"),
        (b"\n", "NOT_A_VERSION"),
        (b"1.3.0\n\n", "NOT_A_VERSION"),
        (b"1.3.0\r\n", "NOT_A_VERSION"),
        (b" 1.3.0\n", "NOT_A_VERSION"),
        (b"1.3.0\0\n", "NOT_A_VERSION"),
        (b"1.3.0\0junk", "NOT_A_VERSION"),
        (b"1" * 64, "NOT_A_VERSION"),
        (b"1" * 65, "TOO_BIG"),
        (b"<html>", "NOT_A_VERSION"),
        (b"\xef\xbb\xbf1.3.0\n", "NOT_A_VERSION"),
    ],
)
def test_what_is_no_version_answers_a_version_check_with_unknown(new: NewHost, body: bytes, why: str) -> None:
    lines = check(new(), body, piece=1000)
    assert lines[0] == "version 1 2 "
    assert reason(lines) == why


def test_of_a_version_that_came_in_part_nothing_is_found(new: NewHost) -> None:
    host = new().do("check 1.0.0", "connected").data(reply(b"1.3", 6)).do("closed", "run", "reason")
    lines = host.run()
    assert lines[-2] == "version 1 2 "
    assert reason(lines) == "TRUNCATED"


def test_a_version_check_for_no_version_does_not_start(new: NewHost) -> None:
    assert new().do("check 1.0", "reason").run() == [
        "start 0",
        "reason 1 invalid argument: request, callback or version",
    ]


# The first boot of a new ROM


def both_roms(new: NewHost, data: bytes = ROM) -> Host:
    host = new()
    return host.do(f"load {host.file(data)} 82000")


def test_with_rtc_data_a_switch_is_for_one_boot(new: NewHost) -> None:
    host = both_roms(new).do(rtc(0, 0, 0, 0), "switch 1", "show-rtc", "switch 2")
    expected = rtc(2, 0, 0, 1)
    assert host.run() == ["switch 1", expected, "switch 0"]
    assert host.flash[0x1000:0x2000] == flash()[0x1000:0x2000]


@pytest.mark.parametrize("data", [b"\xff" * 16, ROM[:-1] + b"!", rom(0), b"\xea\x04" + b"\xff" * 0x7DFFE])
@pytest.mark.parametrize("loader", [rtc(0, 0, 0, 0), "no-rtc"])
def test_there_is_no_switch_to_what_does_not_boot(new: NewHost, loader: str, data: bytes) -> None:
    """rBoot would stop at such a temp ROM, until the next reset by hand."""
    assert both_roms(new, data).do(loader, "switch 1", "show-rtc", "current").run()[0::2] == ["switch 0", "current 0"]


@pytest.mark.parametrize("address", [0, 0x82010, 0xFFFFFFFF])
def test_there_is_no_switch_to_what_is_no_slot(new: NewHost, address: int) -> None:
    chip = bytearray(flash(BootConfig((0x2000, address)).to_bytes()))
    image = silent_rom()[48:]  # its RAM part, which is an image by itself
    chip[: len(image)] = chip[0x82010 : 0x82010 + len(image)] = image
    assert new(bytes(chip)).do(rtc(0, 0, 0, 0), "switch 1").run() == ["switch 0"]


def test_without_rtc_data_a_switch_is_for_good(new: NewHost) -> None:
    for command in ("rtc 0 0 0", "no-rtc"):
        host = both_roms(new).do(command, "switch 1", "switch 9", "current")
        lines = [line for line in host.run() if not line.startswith(("erase", "write"))]
        assert lines == ["switch 1", "switch 0", "current 1"]


def test_a_confirmation_makes_the_temp_rom_the_current_one(new: NewHost) -> None:
    host = new().do(rtc(0, 2, 1, 0), "current", "running", "confirm", "current", "confirm")
    lines = [line for line in host.run() if not line.startswith(("erase", "write"))]
    assert lines == ["current 0", "running 1", "confirm 1", "current 1", "confirm 1"]
    assert BootConfig.from_bytes(host.flash[0x1000:]) == BootConfig(SLOTS, 1)


def test_a_confirmation_without_a_temp_rom_writes_nothing(new: NewHost) -> None:
    assert new().do(rtc(0, 0, 0, 0), "confirm").run() == ["confirm 1"]
    assert new().do("confirm").run() == ["confirm 1"]
    host = new().do(rtc(0, 0, 0, 0), "set-current 1", "confirm")
    assert host.run()[-1] == "confirm 0", "running ROM 0"


def test_rtc_data_with_a_wrong_checksum_say_nothing(new: NewHost) -> None:
    assert new().do("last").run() == ["last 0 0 0 0"]
    assert new().do(rtc(0, 2, 1, 0), "last").run() == ["last 1 1 1 2"]
    assert new().do("set-temp 1", "show-rtc").run() == ["set-temp 1", rtc(2, 0, 0, 1)]


def test_a_temp_rom_that_the_config_does_not_have_is_refused(new: NewHost) -> None:
    """rBoot would stop there, at each reset until the power goes."""
    assert new().do("set-temp 2", "show-rtc").run() == ["set-temp 0", "rtc 00000000 00000000 00000000"]


# rBoot's own functions


def test_a_new_config_leaves_the_rest_of_its_sector_as_it_is(new: NewHost) -> None:
    settings_of_the_app = bytes(range(256)) * 14  # up to the records of the signed update client
    before = flash(BootConfig(SLOTS).to_bytes() + settings_of_the_app)
    host = new(before)
    assert host.do("set-current 1", "set-current 2").run()[-2:] == ["set-current 1", "set-current 0"]
    assert host.flash == flash(BootConfig(SLOTS, 1).to_bytes() + settings_of_the_app)


def test_the_word_with_the_configs_magic_is_written_last(new: NewHost) -> None:
    lines = new(flash(BootConfig(SLOTS).to_bytes())).do("set-current 1").run()
    assert lines == ["erase 1000", "write 1004 20", "write 1000 4", "set-current 1"]


def test_a_config_that_only_clears_bits_needs_no_erase(new: NewHost) -> None:
    roms = (0x2000, 0x42000, 0x82000, 0xC2000)
    for before, after in ((1, 0), (3, 2), (3, 1), (2, 0)):
        host = new(flash(BootConfig(roms, before).to_bytes() + b"settings"))
        assert host.do(f"set-current {after}").run() == ["write 1000 4", "set-current 1"]
        assert host.flash == flash(BootConfig(roms, after).to_bytes() + b"settings")
    for before, after in ((0, 1), (1, 2), (2, 1)):
        host = new(flash(BootConfig(roms, before).to_bytes()))
        assert host.do(f"set-current {after}").run()[0] == "erase 1000"


def test_a_failed_write_of_the_config_is_told(new: NewHost) -> None:
    for before, operations in ((0, 3), (1, 1)):
        for number in range(1, operations + 1):
            host = new(flash(BootConfig(SLOTS, before).to_bytes())).do(f"fail {number}", f"set-current {1 - before}")
            assert host.run()[-1] == "set-current 0"


def test_a_power_cut_in_a_write_of_the_config_leaves_a_rom_to_boot(new: NewHost) -> None:
    """Of slots that are not rBoot's own the other is unknown then, until the application sets the config again."""
    for roms in (SLOTS, (0x2000, 0x80000)):
        for before, operations in ((0, 3), (1, 1)):
            whole = bytearray(flash(BootConfig(roms, before).to_bytes()))
            whole[roms[1] : roms[1] + len(silent_rom())] = silent_rom()
            for number in range(1, operations + 1):
                host = new(bytes(whole)).do(f"fail {number}", f"set-current {1 - before}")
                host.run()
                decision = predict_boot(host.flash)
                assert decision.rom == before
                lost = decision.config is not None
                assert lost == (number > 1)
                if lost:
                    assert BootConfig.from_bytes(decision.config or b"") == BootConfig(SLOTS)


def test_a_config_that_stands_there_is_not_written_again(new: NewHost) -> None:
    assert new().do("set-current 0").run() == ["set-current 1"]


def test_a_config_with_a_checksum(tmp_path: Path) -> None:
    program = build(tmp_path, HARNESS / "harness.c", options=["-DBOOT_CONFIG_CHKSUM", "-DMAX_ROMS=6"])
    host = Host(program, flash(BootConfig(SLOTS).to_bytes(6, True) + b"settings"))
    assert host.do("set-current 1", "current").run()[-2:] == ["set-current 1", "current 1"]
    assert host.flash == flash(BootConfig(SLOTS, 1).to_bytes(6, True) + b"settings")


def test_an_application_of_a_loader_with_irom_checksums_takes_only_roms_with_them(tmp_path: Path) -> None:
    program = build(tmp_path, HARNESS / "harness.c", options=["-DBOOT_IROM_CHKSUM"])
    assert reason(update(Host(program, flash()), reply())) == "BAD_ROM"
    assert reason(update(Host(program, flash()), reply(rom(1, irom_checksum=True)))) == "OK"


@ON_A_PROGRAM
@given(pieces=st.lists(st.binary(max_size=3000), max_size=6))
def test_pieces_of_any_size_are_written_as_they_are(program: Path, pieces: list[bytes]) -> None:
    host = Host(program).do("write 10000")
    lines = host.do(*(f"piece {piece.hex()}" for piece in pieces), "end").run()
    assert all(line.endswith(" 1") for line in lines if line.startswith(("piece", "end")))
    assert host.flash == (b"\xff" * 0x10000 + b"".join(pieces)).ljust(0x100000, b"\xff")


def test_after_a_failed_piece_no_other_is_written(new: NewHost) -> None:
    host = new().do("write 82000", "fail 2", "piece 01020304", "piece 05060708", "end")
    assert host.run() == ["erase 82000", "write 82000 4", "piece 0", "piece 0", "end 0"]


# The sources


def test_each_reason_has_a_text(new: NewHost) -> None:
    header = (SOURCES / "rboot-ota.h").read_text()
    assert re.findall(r"^    OTA_(\w+)", header, re.MULTILINE) == list(REASONS)
    texts = re.findall(r'^        "(.*)",$', (SOURCES / "rboot-ota-text.c").read_text(), re.MULTILINE)
    assert len(texts) == len(set(texts)) == len(REASONS)


FUZZED = {
    "http": [SOURCES / "ota_http.c"],
    "version": [SOURCES / "ota_version.c"],
    "update": [UPDATE_SOURCES / "ota_update.c", SOURCES / "ota_version.c"],
}


@pytest.mark.parametrize("target", FUZZED)
def test_what_a_fuzzer_has_found_runs_clean(tmp_path: Path, target: str) -> None:
    program = tmp_path / "program"
    sources = [HARNESS / f"fuzz_{target}.c", HARNESS / "run_corpus.c", *FUZZED[target]]
    includes = [f"-I{SOURCES}", f"-I{UPDATE_SOURCES}"]
    command = ["gcc", *STRICT, *SANITIZERS, *includes, *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    corpus = sorted((HARNESS / "corpus" / target).iterdir())
    assert len(corpus) > 50
    done = subprocess.run([program, *corpus], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{len(corpus)}\n")


def test_the_core_includes_nothing_but_the_languages_own_types() -> None:
    included = set()
    for source in (*SOURCES.glob("*.[ch]"), *UPDATE_SOURCES.glob("*.[ch]")):
        included |= set(re.findall(r"#include <(.*)>", source.read_text()))
    assert included == {"stdbool.h", "stddef.h", "stdint.h"}

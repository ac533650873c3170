"""Updates on the device: the example application on the lx106 in the emulator, over TCP."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ota_device import (
    Answer,
    Device,
    Server,
    assert_slot,
    current,
    example,
    large,
    large_release,
    new_device,
    release,
)

from rbootimg.serve.devices import Firmware, parse_agent
from rbootimg.serve.events import Event, State, Transfer
from rbootimg.serve.server import serving

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(release("1.1.0")) as server:
        yield server


@pytest.mark.parametrize("rtc", [True, False])
def test_from_slot_0_to_1_to_0_to_1_over_three_versions(server: Server, rtc: bool) -> None:
    with Device(new_device(rtc), server.port) as device:
        device.read_until("version 1.0.0, ROM 0\r\n> ")
        for version, slot in (("1.1.0", 1), ("1.2.0", 0), ("1.3.0", 1)):
            server.files = release(version)
            assert f"the server has {version}: newer" in device.ask("check")
            device.ask("ota", f"version {version}, ROM {slot}\r\n> ")
            assert ("not confirmed" in device.ask("info")) == rtc
            assert "\nconfirmed" in "\n" + device.ask("confirm")
            assert f"the server has {version}: the same" in device.ask("ota")
    assert device.misuse == []
    assert current(device.flash) == 1
    assert_slot(device.flash, 1, example("1.3.0")[1])
    assert_slot(device.flash, 0, example("1.2.0")[0])


def test_the_server_is_told_the_version_and_the_slot_that_run(tmp_path: Path) -> None:
    for name, data in release("1.1.0").items():
        (tmp_path / name).write_bytes(data)
    events: list[Event] = []
    with serving(tmp_path, on_event=events.append) as listening, Device(new_device(), listening.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        device.ask("check")
    ends = [event for event in events if isinstance(event, Transfer) and event.state is State.DONE]
    assert [(end.path, parse_agent(end.agent)) for end in ends] == [
        ("/version", Firmware("rbootimg-example", "1.0.0", 0)),
        ("/rom1.bin", Firmware("rbootimg-example", "1.0.0", 0)),
        ("/version", Firmware("rbootimg-example", "1.1.0", 1)),
    ]


def test_without_confirmation_the_next_reset_is_back_in_the_old_rom(server: Server) -> None:
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        device.ask("restart", "version 1.0.0, ROM 0\r\n> ")
        device.ask("switch", "version 1.1.0, ROM 1\r\n> ")
        device.ask("restart", "version 1.0.0, ROM 0\r\n> ")
    assert current(device.flash) == 0


def test_a_version_that_was_not_confirmed_is_not_installed_again(server: Server) -> None:
    """Found: a device with a bad release installed it, fell back, and installed it again, for ever."""
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        device.ask("restart", "version 1.0.0, ROM 0\r\n> ")  # as after a crash
        for _ in range(2):
            said = device.ask("ota")
            assert "1.1.0 was tried and not confirmed; `ota force` installs it again\r\n> " in said
        assert server.requests.count("rom1.bin") == 1
        device.ask("ota force", "version 1.1.0, ROM 1\r\n> ")
        device.ask("restart", "version 1.0.0, ROM 0\r\n> ")
        server.files = release("1.2.0")
        device.ask("ota", "version 1.2.0, ROM 1\r\n> ")
        assert "\nconfirmed" in "\n" + device.ask("confirm")
        device.ask("restart", "version 1.2.0, ROM 1\r\n> ")


def test_an_unconfirmed_rom_does_not_write_over_the_one_to_fall_back_to(server: Server) -> None:
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        server.files = release("1.2.0")
        assert "failed: slot is running or boots next" in device.ask("ota")
    assert_slot(device.flash, 0, example("1.0.0")[0])


def test_an_older_version_is_not_fetched(server: Server) -> None:
    with Device(new_device(version="1.2.0"), server.port) as device:
        device.read_until("> ")
        assert "the server has 1.1.0: older" in device.ask("ota")
    assert server.requests == ["version"]


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Device(new_device(), port) as device:
        device.read_until("> ")
        assert "failed: no connection to the server" in device.ask("check")
        assert "failed: no connection to the server" in device.ask("ota")


def head(length: int, more: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def in_pieces(client: socket.socket, body: bytes) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in head(len(body)):
        client.sendall(bytes((byte,)))
        time.sleep(0.001)
    client.sendall(body)


FAULTS: dict[str, tuple[Answer, str]] = {
    "404": (lambda client, body: client.sendall(b"HTTP/1.1 404 No\r\n\r\n"), "HTTP status is not 200"),
    "a page": (lambda client, body: client.sendall(head(60) + b"<html>".ljust(60)), "file is not a ROM"),
    "redirect": (lambda client, body: client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "HTTP redirect"),
    "chunked": (
        lambda client, body: client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        "chunked or compressed",
    ),
    "no length": (lambda client, body: client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body), "no Content-Length"),
    "too long for the slot": (lambda client, body: client.sendall(head(0x80000)), "file too large"),
    "cut off": (lambda client, body: client.sendall(head(len(body)) + body[:5000]), "truncated reply"),
    "nothing": (lambda client, body: None, "truncated reply"),
    "longer": (lambda client, body: client.sendall(head(len(body)) + body + b"more"), "longer than its Content-Length"),
    "a bit wrong": (
        lambda client, body: client.sendall(head(len(body)) + body[:-40] + bytes((body[-40] ^ 4,)) + body[-39:]),
        "invalid ROM: header, section or checksum",
    ),
    "no HTTP": (lambda client, body: client.sendall(body), "invalid HTTP"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_device_says_why_and_a_good_update_works(server: Server, fault: str) -> None:
    answer, why = FAULTS[fault]
    server.answer = answer
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        device.type("ota")
        said = device.read_until("> ")
        assert "failed: " in said
        assert why in said
        assert "running ROM 0" in device.ask("info")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
    assert device.misuse == []


def test_the_other_slots_rom_is_refused(server: Server) -> None:
    server.answer = lambda client, body: client.sendall(head(len(example("1.1.0")[0])) + example("1.1.0")[0])
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        assert "failed: ROM is linked for another slot" in device.ask("ota")


IMPATIENT = ("-DOTA_NETWORK_TIMEOUT=1000", "-DOTA_TOTAL_TIMEOUT=3000")


def drip(client: socket.socket, body: bytes) -> None:
    client.sendall(head(len(body)))
    for byte in body:
        client.sendall(bytes((byte,)))
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("answer", "least"),
    [(lambda client, body: (client.sendall(head(len(body))), time.sleep(30))[0], 0.9), (drip, 2.9)],
    ids=["silent", "dripping"],
)
def test_a_server_without_an_end_is_given_up(server: Server, answer: Answer, least: float) -> None:
    server.answer = answer
    with Device(new_device(flags=IMPATIENT), server.port) as device:
        device.read_until("> ")
        device.type("ota")
        device.read_until("fetching")
        start = time.monotonic()
        assert "failed: timeout: server silent or too slow" in device.read_until("> ")
        assert time.monotonic() - start > least
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")


def test_a_header_byte_by_byte(server: Server) -> None:
    server.answer = in_pieces
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")


def test_a_rom_of_235_kb_is_fetched_written_checked_and_booted(server: Server) -> None:
    server.files = large_release("1.1.0")
    assert len(large("1.1.0")) > 235_000
    with Device(new_device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
    assert_slot(device.flash, 1, large("1.1.0"))

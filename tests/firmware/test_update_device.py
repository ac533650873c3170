"""Signed updates on the device: the example application on the lx106 in the emulator, and hostile servers."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.ota_device import Answer, Device, Server, assert_slot, current, new_device
from support.update_device import (
    TRIAL_SECONDS,
    new_signed_device,
    rom_files,
    signed_example,
    signed_release,
    update_file,
)
from support.update_host import PROD, STRANGER

from rbootimg.rom.format import Rom
from rbootimg.serve.devices import Firmware, parse_agent
from rbootimg.serve.events import Event, State, Transfer
from rbootimg.serve.server import serving

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

CONFIRMED = "confirmed: ROM"
IMPATIENT = ("-DOTA_NETWORK_TIMEOUT=1000", "-DRBOOT_UPDATE_FILE_TIMEOUT=3000")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(signed_release(update_file("1.1.0", 7))) as server:
        yield server


def update_to(device: Device, version: str, slot: int) -> None:
    """Type what it takes, and wait until the new ROM has confirmed itself."""
    said = device.ask("update", f"{CONFIRMED} {slot} is permanent\r\n> ")
    assert f"version {version}, ROM {slot}" in said


@pytest.mark.parametrize("rtc", [True, False])
def test_from_slot_0_to_1_to_0_over_two_releases_and_back(server: Server, rtc: bool) -> None:
    with Device(new_signed_device(rtc=rtc), server.port) as device:
        device.read_until("version 1.0.0, ROM 0\r\n> ")
        assert "no newer version" not in device.ask("info")
        for serial, version, slot in ((7, "1.1.0", 1), (8, "1.2.0", 0)):
            server.files = signed_release(update_file(version, serial))
            if rtc:
                update_to(device, version, slot)
            else:
                device.ask("update", f"version {version}, ROM {slot}\r\n> ")
            assert "no newer version" in device.ask("update")
        server.files = signed_release(update_file("1.1.0", 9, withdrawn=("1.2.0",)))
        server.requests.clear()
        device.ask("update", "version 1.1.0, ROM 1\r\n")
        assert not [name for name in server.requests if name.endswith(".bin")], "it is still in its slot"
        device.read_until("> ")
        assert "no newer version" in device.ask("update")
    assert device.misuse == []
    assert current(device.flash) == 1


def test_an_access_log_tells_what_runs_and_what_failed(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("www")
    (root / "update").write_bytes(STRANGER.sign(update_file("1.1.0", 7).to_bytes()))
    events: list[Event] = []
    with serving(root, on_event=events.append) as listening, Device(new_signed_device(), listening.port) as device:
        device.read_until("> ")
        device.ask("update")
        device.ask("update")
    ends = [event for event in events if isinstance(event, Transfer) and event.state is State.DONE]
    assert [end.agent for end in ends] == [
        "rboot-update/1 (app app; version 1.0.0; slot 0)",
        "rboot-update/1 (app app; version 1.0.0; slot 0; failed 27)",
    ]
    assert {parse_agent(end.agent) for end in ends} == {Firmware("app", "1.0.0", 0)}


# Hostile servers


GOOD = update_file("1.1.0", 7)
TEXT = GOOD.to_bytes()
SIGNED = PROD.sign(TEXT)


def head(length: int, status: str = "200 OK") -> bytes:
    return f"HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n".encode()


def endless(client: socket.socket, body: bytes) -> None:
    client.sendall(head(len(SIGNED)))
    while True:
        client.sendall(b"#" * 1460)


def drip(client: socket.socket, body: bytes) -> None:
    client.sendall(head(len(SIGNED)))
    for byte in SIGNED:
        client.sendall(bytes((byte,)))
        time.sleep(0.2)


def silent(client: socket.socket, body: bytes) -> None:
    client.sendall(head(len(SIGNED)))
    time.sleep(30)


def swapped(client: socket.socket, body: bytes) -> None:
    """The header and the beginning of the ROM, and then something else of the same size."""
    client.sendall(head(len(body)) + body[:8192])
    time.sleep(0.3)
    client.sendall(bytes(byte ^ 0x10 for byte in body[8192:]))


def other_slot(**changes: object) -> bytes:
    return PROD.sign(replace(GOOD, roms=(GOOD.roms[0], replace(GOOD.roms[1], **changes))).to_bytes())  # type: ignore[arg-type]


FILES: dict[str, tuple[bytes, str]] = {
    "forged": (STRANGER.sign(replace(GOOD, version="9.9.9").to_bytes()), "signed with an unknown key"),
    "unsigned": (TEXT, "not signed"),
    "altered": (SIGNED.replace(b"serial 7", b"serial 8"), "bad signature"),
    "mixed": (SIGNED[: -len(TEXT)] + update_file("1.2.0", 8).to_bytes(), "bad signature"),
    "truncated": (SIGNED[:-40], "bad signature"),
    "other app": (PROD.sign(replace(GOOD, app="lamp").to_bytes()), "release of another application"),
    "other device": (PROD.sign(replace(GOOD, device="sonoff").to_bytes()), "release for another device class"),
    "other layout": (other_slot(slot_size=0x70000), "built for another loader or flash layout"),
    "other slot": (PROD.sign(replace(GOOD, roms=GOOD.roms[:1]).to_bytes()), "no ROM for the slot"),
    "too large": (SIGNED + b"#" * 4096, "file too large"),
}
ANSWERS: dict[str, tuple[str, Answer, str]] = {
    "endless": ("update", endless, "reply longer than its Content-Length"),
    "dripping": ("update", drip, "timeout: server silent or too slow"),
    "silent": ("update", silent, "timeout: server silent or too slow"),
    "redirect": (
        "update",
        lambda client, body: client.sendall(b"HTTP/1.0 302 Found\r\nLocation: http://elsewhere/\r\n\r\n"),
        "HTTP redirect, not followed",
    ),
    "changed between update and ROM": (
        "releases/1.1.0/rom1.bin",
        lambda client, body: client.sendall(head(len(signed_example("1.2.0")[1])) + signed_example("1.2.0")[1]),
        "SHA-256 or size mismatch",
    ),
    "swapped after the header": ("releases/1.1.0/rom1.bin", swapped, "invalid ROM: header, section or checksum"),
}


def assert_refused(device: Device, server: Server, why: str) -> None:
    """The device says why, the old ROM runs, and the next good update works."""
    device.read_until("> ")
    assert f"failed: {why}\r\n" in device.ask("update")
    assert "version 1.0.0, running ROM 0\r\n" in device.ask("info")
    device.ask("restart", "version 1.0.0, ROM 0\r\n> ")
    assert "no valid ROM 1" in device.ask("switch")
    server.answers, server.files = {}, signed_release(GOOD)
    update_to(device, "1.1.0", 1)


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(server: Server, name: str) -> None:
    data, why = FILES[name]
    server.files = {**server.files, "update": data}
    with Device(new_signed_device(), server.port) as device:
        assert_refused(device, server, why)
    assert device.misuse == []


@pytest.mark.parametrize("name", ANSWERS)
def test_a_hostile_answer_is_refused(server: Server, name: str) -> None:
    path, answer, why = ANSWERS[name]
    server.answers = {path: answer}
    with Device(new_signed_device("1.0.0", *IMPATIENT), server.port) as device:
        assert_refused(device, server, why)
    assert device.misuse == []


def test_a_replayed_file_is_refused(server: Server) -> None:
    with Device(new_signed_device(), server.port) as device:
        device.read_until("> ")
        update_to(device, "1.1.0", 1)
        server.files = signed_release(update_file("1.2.0", 6))
        assert "failed: update file older than the last one\r\n" in device.ask("update")
        server.files = signed_release(update_file("1.2.0", 8))
        update_to(device, "1.2.0", 0)


# Trials


def test_a_new_rom_that_cannot_reach_its_server_reverts_and_is_not_tried_again(server: Server) -> None:
    """It was built for a host that does not exist."""
    lost = signed_example("1.1.0", host="nowhere.invalid")
    server.files = {
        "update": PROD.sign(update_file("1.1.0", 7, lost).to_bytes()),
        **rom_files("1.1.0", lost),
    }
    with Device(new_signed_device(), server.port) as device:
        device.read_until("> ")
        device.ask("update", "version 1.1.0, ROM 1\r\non trial until it has verified an update file\r\n")
        said = device.read_until("version 1.0.0, ROM 0\r\n> ", 3 * TRIAL_SECONDS + 20)
        assert "failed: host not found\r\n" in said
        assert "failed: ROM failed its trial before\r\n" in device.ask("update")
        assert server.requests.count("releases/1.1.0/rom1.bin") == 1
        server.files = signed_release(update_file("1.2.0", 8))
        update_to(device, "1.2.0", 1)


def test_a_device_without_the_new_client_updates_from_the_same_web_root(server: Server) -> None:
    """With the tutorial's call and without keys: it takes the files `version` and rom1.bin, which are there too."""
    roms = signed_example("1.1.0")
    server.files |= {"version": b"1.1.0\n", "rom0.bin": roms[0], "rom1.bin": roms[1]}
    with Device(new_device(), server.port) as old, Device(new_signed_device(), server.port) as new:
        old.read_until("> ")
        old.ask("ota", f"version 1.1.0, ROM 1\r\non trial until it has verified an update file\r\n{CONFIRMED} 1")
        new.read_until("> ")
        update_to(new, "1.1.0", 1)
    assert current(old.flash) == current(new.flash) == 1
    assert_slot(old.flash, 1, roms[1])


# Costs


def test_a_signed_update_of_235_kb_costs_less_than_0_3_s_more_than_an_unsigned_one(server: Server) -> None:
    """The old and the new ROM verify one signature each: the complete check takes less than half of that."""
    plain = Rom.from_bytes(signed_example("1.1.0")[1])
    large = Rom(plain.entry, plain.irom + os.urandom(0x38000), plain.sections, plain.params).to_bytes()
    assert len(large) > 235_000
    roms = (signed_example("1.1.0")[0], large)
    server.files = {"update": PROD.sign(update_file("1.1.0", 7, roms).to_bytes()), **rom_files("1.1.0", roms)}
    with Device(new_signed_device(), server.port) as device:
        device.read_until("> ")
        update_to(device, "1.1.0", 1)
        start = time.monotonic()
        for _ in range(5):
            assert "no newer version" in device.ask("update")
        signed = (time.monotonic() - start) / 5
    assert_slot(device.flash, 1, large)
    assert signed < 0.15

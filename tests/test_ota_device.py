"""Updates on the device: the example application on the lx106 in the emulator, over TCP."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from ota_device import SLOTS, Answer, Device, Server, build_example, flash, loader

from rbootimg.bootconfig import BootConfig
from rbootimg.flashmap import LoaderOptions
from rbootimg.rom import Rom

VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "1.3.0")


@dataclass(frozen=True)
class Built:
    rtc_loader: bytes
    plain_loader: bytes
    roms: dict[str, tuple[bytes, bytes]]

    def device(self, rtc: bool = True, version: str = "1.0.0") -> bytes:
        """The flash of a device with `version` in slot 0."""
        return flash(self.rtc_loader if rtc else self.plain_loader, {0: self.roms[version][0]})

    def release(self, version: str) -> dict[str, bytes]:
        rom0, rom1 = self.roms[version]
        return {"version": f"{version}\n".encode(), "rom0.bin": rom0, "rom1.bin": rom1}


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("ota")
    return Built(
        loader(LoaderOptions(rtc=True)),
        loader(LoaderOptions()),
        {version: build_example(folder, version) for version in VERSIONS},
    )


@pytest.fixture
def server(built: Built) -> Iterator[Server]:
    with Server(built.release("1.1.0")) as server:
        yield server


def assert_slot(chip: bytes, slot: int, rom: bytes) -> None:
    assert chip[SLOTS[slot] : SLOTS[slot] + len(rom)] == rom


def current(chip: bytes) -> int:
    return BootConfig.from_bytes(chip[0x1000:]).current_rom


@pytest.mark.parametrize("rtc", [True, False])
def test_from_slot_0_to_1_to_0_to_1_over_three_versions(built: Built, server: Server, rtc: bool) -> None:
    with Device(built.device(rtc), server.port) as device:
        device.read_until("version 1.0.0, ROM 0\r\n> ")
        for version, slot in (("1.1.0", 1), ("1.2.0", 0), ("1.3.0", 1)):
            server.files = built.release(version)
            assert f"the server has {version}: newer" in device.ask("check")
            device.ask("ota", f"version {version}, ROM {slot}\r\n> ")
            assert ("not confirmed" in device.ask("info")) == rtc
            assert "\nconfirmed" in "\n" + device.ask("confirm")
            assert f"the server has {version}: the same" in device.ask("ota")
    assert device.misuse == []
    assert current(device.flash) == 1
    assert_slot(device.flash, 1, built.roms["1.3.0"][1])
    assert_slot(device.flash, 0, built.roms["1.2.0"][0])


def test_without_confirmation_the_next_reset_is_back_in_the_old_rom(built: Built, server: Server) -> None:
    with Device(built.device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        device.ask("restart", "version 1.0.0, ROM 0\r\n> ")
        device.ask("switch", "version 1.1.0, ROM 1\r\n> ")
        device.ask("restart", "version 1.0.0, ROM 0\r\n> ")
    assert current(device.flash) == 0


def test_an_unconfirmed_rom_does_not_write_over_the_one_to_fall_back_to(built: Built, server: Server) -> None:
    with Device(built.device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        server.files = built.release("1.2.0")
        assert "failed: the slot runs or boots next" in device.ask("ota")
    assert_slot(device.flash, 0, built.roms["1.0.0"][0])


def test_an_older_version_is_not_fetched(built: Built, server: Server) -> None:
    with Device(built.device(version="1.2.0"), server.port) as device:
        device.read_until("> ")
        assert "the server has 1.1.0: older" in device.ask("ota")
    assert server.requests == ["version"]


def test_a_server_that_is_not_there(built: Built) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Device(built.device(), port) as device:
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
    "404": (lambda client, body: client.sendall(b"HTTP/1.1 404 No\r\n\r\n"), "the server does not have it"),
    "a page": (lambda client, body: client.sendall(head(60) + b"<html>".ljust(60)), "what came is no ROM"),
    "redirect": (lambda client, body: client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "redirects"),
    "chunked": (
        lambda client, body: client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        "chunked or compressed",
    ),
    "no length": (lambda client, body: client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + body), "no Content-Length"),
    "too long for the slot": (lambda client, body: client.sendall(head(0x80000)), "too big for the slot"),
    "cut off": (lambda client, body: client.sendall(head(len(body)) + body[:5000]), "the reply ended early"),
    "nothing": (lambda client, body: None, "the reply ended early"),
    "longer": (lambda client, body: client.sendall(head(len(body)) + body + b"more"), "longer than it says"),
    "a bit wrong": (
        lambda client, body: client.sendall(head(len(body)) + body[:-40] + bytes((body[-40] ^ 4,)) + body[-39:]),
        "the ROM is not sound",
    ),
    "no HTTP": (lambda client, body: client.sendall(body), "not HTTP"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_fault_the_device_says_why_and_a_good_update_works(built: Built, server: Server, fault: str) -> None:
    answer, why = FAULTS[fault]
    server.answer = answer
    with Device(built.device(), server.port) as device:
        device.read_until("> ")
        device.type("ota")
        said = device.read_until("> ")
        assert "failed: " in said
        assert why in said
        assert "ROM 0 runs" in device.ask("info")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
    assert device.misuse == []


def test_the_other_slots_rom_is_refused(built: Built, server: Server) -> None:
    server.answer = lambda client, body: client.sendall(head(len(built.roms["1.1.0"][0])) + built.roms["1.1.0"][0])
    with Device(built.device(), server.port) as device:
        device.read_until("> ")
        assert "failed: the ROM is linked for another slot" in device.ask("ota")


def test_a_silent_server_is_given_up(built: Built, server: Server) -> None:
    server.answer = lambda client, body: (client.sendall(head(len(body))), time.sleep(30))[0]
    with Device(built.device(), server.port) as device:
        device.read_until("> ")
        device.type("ota")
        assert "failed: the server is silent" in device.read_until("> ", 40)
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")


def test_a_header_byte_by_byte(built: Built, server: Server) -> None:
    server.answer = in_pieces
    with Device(built.device(), server.port) as device:
        device.read_until("> ")
        device.ask("ota", "version 1.1.0, ROM 1\r\n> ")


def update_and_confirm(device: Device, version: str) -> None:
    device.read_until("> ")
    device.ask("ota", f"version {version}")
    device.read_until("> ")
    device.ask("confirm")


@pytest.mark.parametrize("part", [0, 1, 2])  # before the operation, half-way, after it
@pytest.mark.parametrize("rtc", [True, False])
def test_no_power_cut_in_a_whole_update_loses_the_device(built: Built, server: Server, rtc: bool, part: int) -> None:
    with Device(built.device(rtc), server.port) as device:
        update_and_confirm(device, "1.1.0")
    operations = len(device.operations)
    assert operations >= 16
    for number in range(1, operations + 1):
        server.files = built.release("1.1.0")
        with Device(built.device(rtc), server.port, f"cut={number}", f"part={part}") as device:
            update_and_confirm(device, "1.1.0")
        assert "end power-cut" in device.report
        server.files = built.release("1.2.0")
        with Device(device.flash, server.port) as device:
            device.read_until("> ")
            device.ask("ota", "version 1.2.0")
            device.read_until("> ")
            assert "\nconfirmed" in "\n" + device.ask("confirm")
        assert device.misuse == []


def test_a_rom_of_235_kb_is_fetched_written_checked_and_booted_in_time(built: Built, server: Server) -> None:
    sound = Rom.from_bytes(built.roms["1.1.0"][1])
    large = Rom(sound.entry, sound.irom + os.urandom(0x38000), sound.sections, sound.params).to_bytes()
    assert len(large) > 235_000
    server.files["rom1.bin"] = large
    taken = []
    for _ in range(3):  # the machine may be busy with other tests
        with Device(built.device(), server.port) as device:
            device.read_until("> ")
            start = time.monotonic()
            device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
            taken.append(time.monotonic() - start)
        assert_slot(device.flash, 1, large)
    assert min(taken) < 1.5

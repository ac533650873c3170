"""The example application in the emulator, and the server that it updates from, which misbehaves if told."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rbootimg.emulator.network import relay
from rbootimg.emulator.qemu import machine
from rbootimg.flash.bootconfig import BootConfig
from rbootimg.layout.model import LoaderOptions
from rbootimg.rom.format import Rom
from support import chip
from support.programs import run_module
from support.project import ROOT

EXAMPLE = ROOT / "examples" / "ota"
TUTORIAL = ROOT / "tests" / "ota" / "tutorial"
"""An application of the client without signatures, with the calls of rBoot's tutorial."""
PACKAGE = ROOT / "rbootimg"
SLOTS = (0x2000, 0x82000)


def loader(options: LoaderOptions) -> bytes:
    """Our boot loader, for a flash of 1 MB."""
    image = chip.loader(options)
    return image[:2] + b"\x00\x20" + image[4:]  # QIO, 1 MB


def copy_example(directory: Path, source: Path = EXAMPLE) -> Path:
    """The example without what was built there."""
    return shutil.copytree(
        source, directory, ignore=shutil.ignore_patterns("build", ".sconsign.dblite", "*.elf", "*.bin")
    )


def run_scons(directory: Path, *arguments: str, typed: str = "") -> str:
    """Run scons, which must succeed; what it printed."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("RBOOT", "SDK"))}
    done = run_module("SCons", "-Q", *arguments, cwd=directory, env=surroundings, typed=typed)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def build_example(directory: Path, version: str, *flags: str) -> tuple[bytes, bytes]:
    """The ROMs of the tutorial's application in `version`, for both slots, compiled with `flags` too."""
    copy = copy_example(directory / version, TUTORIAL)
    chip = f"RBOOT_CCFLAGS=-mlongcalls -mtext-section-literals {' '.join(flags)}"
    run_scons(copy, f"RBOOT_VERSION={version}", chip)
    return tuple((copy / "build" / "emulator" / "app" / f"rom{slot}.bin").read_bytes() for slot in (0, 1))  # type: ignore[return-value]


@functools.cache
def example(version: str, *flags: str) -> tuple[bytes, bytes]:
    """The same, built once."""
    with tempfile.TemporaryDirectory() as directory:
        return build_example(Path(directory), version, *flags)


def release(version: str) -> dict[str, bytes]:
    """The files of the example in `version`, as a server has them."""
    rom0, rom1 = example(version)
    return {"version": f"{version}\n".encode(), "rom0.bin": rom0, "rom1.bin": rom1}


@functools.cache
def large(version: str) -> bytes:
    """The example for slot 1 with so much irom that it has 235 KB."""
    sound = Rom.from_bytes(example(version)[1])
    return Rom(sound.entry, sound.irom + os.urandom(0x38000), sound.sections, sound.params).to_bytes()


def large_release(version: str) -> dict[str, bytes]:
    return {**release(version), "rom1.bin": large(version)}


def flash(loader: bytes, roms: Mapping[int, bytes], current: int = 0) -> bytes:
    """A 1 MB flash with `roms` by slot."""
    chip = bytearray(b"\xff" * 0x100000)
    chip[: len(loader)] = loader
    config = BootConfig(SLOTS, current).to_bytes()
    chip[0x1000 : 0x1000 + len(config)] = config
    for slot, data in roms.items():
        chip[SLOTS[slot] : SLOTS[slot] + len(data)] = data
    return bytes(chip)


def new_device(rtc: bool = True, version: str = "1.0.0", slot: int = 0, flags: Sequence[str] = ()) -> bytes:
    """The flash of a device with the example in one slot; `rtc`: its loader heeds RTC data."""
    return flash(loader(LoaderOptions(rtc=rtc)), {slot: example(version, *flags)[slot]}, slot)


def current(chip: bytes) -> int:
    """The ROM that the config says to boot."""
    return BootConfig.from_bytes(chip[0x1000:]).current_rom


def assert_slot(chip: bytes, slot: int, rom: bytes) -> None:
    assert chip[SLOTS[slot] : SLOTS[slot] + len(rom)] == rom


Answer = Callable[[socket.socket, bytes], None]


class Server:
    """Serves `files` by HTTP/1.0 on a port of this machine.

    `answer`, if set, does it otherwise once, for a ROM; `answers` has what does so for each request of a file.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.answer: Answer | None = None
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            request = b""
            while b"\r\n\r\n" not in request:
                part = client.recv(4096)
                if not part:
                    return
                request += part
            name = request.split()[1].decode().lstrip("/")
            self.requests.append(name)
            body = self.files.get(name)
            answer, self.answer = (self.answer, None) if name.endswith(".bin") else (None, self.answer)
            answer = answer or self.answers.get(name)
            try:
                if answer is not None:
                    answer(client, body or b"")
                elif body is None:
                    client.sendall(b"HTTP/1.0 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n")
                else:
                    client.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            except OSError:
                pass  # the device has closed


class Device:
    """An ESP8266 that has been switched on. Use it with `with`; then `flash` is its flash and `report` what it did."""

    def __init__(
        self, chip: bytes, port: int, *settings: str, options: Sequence[str] = (), files: Sequence[int] = ()
    ) -> None:
        self._chip = chip
        self._port = port
        self._settings = settings
        self._options = options
        self._files = files
        self.uart = ""
        self._read = 0
        self.flash = chip
        self.report: list[str] = []

    def __enter__(self) -> Device:
        self._directory = tempfile.TemporaryDirectory()
        self._relay = relay(Path(self._directory.name), "127.0.0.1", self._port)
        self._relay.__enter__()
        settings = ["uart-in=/dev/stdin", "uart-out=/dev/stdout", "resets=16", *self._settings]
        options = ["-serial", "null", *self._options]
        self._machine = machine(Path(self._directory.name), self._chip, settings, options, self._files)
        self._qemu = self._machine.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._machine.__exit__(None, None, None)
        directory = Path(self._directory.name)
        self.flash = (directory / "flash").read_bytes()
        self.report = (directory / "report").read_text().splitlines()
        self._relay.__exit__(None, None, None)
        self._directory.cleanup()

    @property
    def operations(self) -> list[str]:
        """What changed the flash."""
        return [line for line in self.report if line.startswith(("write", "erase"))]

    @property
    def misuse(self) -> list[str]:
        return [line for line in self.report if line.startswith(("misuse", "crash"))]

    def cut(self) -> None:
        """The power goes now."""
        self._qemu.kill()
        self._qemu.wait()

    def type(self, line: str) -> None:
        assert self._qemu.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the power is gone
            os.write(self._qemu.stdin.fileno(), line.encode() + b"\n")

    def read_until(self, text: str, seconds: float = 20.0) -> str:
        """What is printed, from where the last call ended to the end of `text`; or to the end of all, if that comes."""
        assert self._qemu.stdout is not None
        deadline = time.monotonic() + seconds
        start = self._read
        while (found := self.uart.find(text, start)) < 0:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self.uart}"
            if select.select([self._qemu.stdout], [], [], left)[0]:
                data = os.read(self._qemu.stdout.fileno(), 65536)
                if not data:
                    return self.uart[start:]
                self.uart += data.decode(errors="replace")
        self._read = found + len(text)
        return self.uart[start : self._read]

    def ask(self, line: str, until: str = "> ") -> str:
        """What the command line answers."""
        self.type(line)
        return self.read_until(until)


def update_and_confirm(device: Device, version: str) -> None:
    """Types what it takes, for as long as the device has power."""
    device.read_until("> ")
    device.ask("ota", f"version {version}")
    device.read_until("> ")
    device.ask("confirm")


def assert_good(chip: bytes, server: Server, *settings: str) -> None:
    """A device that has been switched on with `chip` runs, updates to 1.2.0, and keeps that."""
    server.files = release("1.2.0")
    with Device(chip, server.port, *settings) as device:
        assert "\r\nversion 1." in device.read_until("> ")
        assert "\nconfirmed" in "\n" + device.ask("confirm")
        device.ask("ota", "\r\nversion 1.2.0, ROM ")
        device.read_until("> ")
        assert "\nconfirmed" in "\n" + device.ask("confirm")
        device.ask("restart", "\r\nversion 1.2.0, ROM ")
    assert device.misuse == []
    server.files = release("1.1.0")

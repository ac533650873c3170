"""The example application in the emulator, and the server that it updates from, which misbehaves if told."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import chip
from conftest import ROOT

from rbootimg.bootconfig import BootConfig
from rbootimg.emulator import machine
from rbootimg.flashmap import LoaderOptions
from rbootimg.relay import qemu_options, relay

EXAMPLE = ROOT / "examples" / "ota"
PACKAGE = ROOT / "rbootimg"
SLOTS = (0x2000, 0x82000)


def loader(options: LoaderOptions) -> bytes:
    """Our boot loader, for a flash of 1 MB."""
    image = chip.loader(options)
    return image[:2] + b"\x00\x20" + image[4:]  # QIO, 1 MB


def build_example(folder: Path, version: str) -> tuple[bytes, bytes]:
    """The ROMs of the example in `version`, for both slots."""
    copy = folder / version
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("build", ".sconsign.dblite"))
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("RBOOT")}
    command = [sys.executable, "-m", "SCons", "-Q", f"VERSION={version}"]
    subprocess.run(command, cwd=copy, env=surroundings, check=True, capture_output=True)
    return tuple((copy / "build" / "app" / f"rom{slot}.bin").read_bytes() for slot in (0, 1))  # type: ignore[return-value]


def flash(loader: bytes, roms: Mapping[int, bytes], current: int = 0) -> bytes:
    """A 1 MB flash with `roms` by slot."""
    chip = bytearray(b"\xff" * 0x100000)
    chip[: len(loader)] = loader
    config = BootConfig(SLOTS, current).to_bytes()
    chip[0x1000 : 0x1000 + len(config)] = config
    for slot, data in roms.items():
        chip[SLOTS[slot] : SLOTS[slot] + len(data)] = data
    return bytes(chip)


Answer = Callable[[socket.socket, bytes], None]


class Server:
    """Serves `files` by HTTP/1.0 on a port of this machine; `answer`, if set, does it otherwise once."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.answer: Answer | None = None
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

    def __init__(self, chip: bytes, port: int, *settings: str) -> None:
        self._chip = chip
        self._port = port
        self._settings = settings
        self.uart = ""
        self._read = 0
        self.flash = chip
        self.report: list[str] = []

    def __enter__(self) -> Device:
        self._folder = tempfile.TemporaryDirectory()
        self._relay = relay("127.0.0.1", self._port)
        options = qemu_options(self._relay.__enter__())
        settings = ["uart-in=/dev/stdin", "uart-out=/dev/stdout", "resets=16", *self._settings]
        self._machine = machine(Path(self._folder.name), self._chip, settings, options)
        self._qemu = self._machine.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._machine.__exit__(None, None, None)
        folder = Path(self._folder.name)
        self.flash = (folder / "flash").read_bytes()
        self.report = (folder / "report").read_text().splitlines()
        self._relay.__exit__(None, None, None)
        self._folder.cleanup()

    @property
    def operations(self) -> list[str]:
        """What changed the flash."""
        return [line for line in self.report if line.startswith(("write", "erase"))]

    @property
    def misuse(self) -> list[str]:
        return [line for line in self.report if line.startswith(("misuse", "crash"))]

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

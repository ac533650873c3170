"""TCP connections for an application in the emulator, through two FIFOs in QEMU's directory: `net-in` and `net-out`.

The FIFOs transfer frames: a size of two bytes, high byte first, then the data. The size 0xFFFF without data requests a
connection and confirms it; 0 closes it, and reports that it was closed or refused. See firmware/ota/port/emulator.

QEMU's serial port is not used, as it loses input: one thread fills its 16 bytes and another one empties them without
a lock (target/xtensa/xtensa-semi.c).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingError

_CONNECT = b"\xff\xff"
_CLOSE = b"\0\0"
_MAX_DATA = 1460
"""Bytes of data in a frame: as in a TCP segment on Ethernet. A write of that size to a FIFO is atomic (PIPE_BUF)."""
_TIMEOUT = 10.0


class _ClosedError(Exception):
    """The relay must end."""


@dataclass(frozen=True)
class _Device:
    """The descriptors of the FIFOs, and of a pipe that becomes readable when the relay must end."""

    sent: int
    received: int
    stop: int

    def wait(self, server: socket.socket | None) -> list[int]:
        """Wait for input from the device or `server`; return the readable descriptors. Raises _ClosedError."""
        readable, _, _ = select.select([self.stop, self.sent, *([server.fileno()] if server else [])], [], [])
        if self.stop in readable:
            raise _ClosedError
        return readable

    def put(self, frame: bytes) -> None:
        """Send the device a frame as soon as its FIFO has room."""
        while True:
            self._wait_for(self.received)
            with contextlib.suppress(BlockingIOError):  # the ROM itself has filled the FIFO
                os.write(self.received, frame)
                return

    def send(self, data: bytes, server: socket.socket) -> None:
        """Send the server all of `data`. Raises OSError if it has closed the connection or does not accept data."""
        while data:
            self._wait_for(server.fileno(), _TIMEOUT)
            data = data[server.send(data) :]

    def _wait_for(self, descriptor: int, timeout: float | None = None) -> None:
        """Wait until the descriptor is writable. Raises TimeoutError, or _ClosedError if the relay must end."""
        readable, writable, _ = select.select([self.stop], [descriptor], [], timeout)
        if readable:
            raise _ClosedError
        if not writable:
            raise TimeoutError


def parse_address(text: str) -> tuple[str, int]:
    """Parse the host and the port of `localhost:8080` or `[::1]:8080`. Raises SettingError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 0x10000:
        raise SettingError(f"invalid address {text!r}: expected HOST:PORT, e.g. localhost:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)


@contextlib.contextmanager
def relay(directory: Path, host: str, port: int) -> Iterator[None]:
    """Connect the device emulated in `directory` to `host` and `port` when it asks, one connection at a time."""
    with contextlib.ExitStack() as stack:
        # Open for reading and writing, so that open() does not wait for the other side.
        received, sent = (_make_fifo(directory / name, stack) for name in ("net-in", "net-out"))
        stop, stopping = os.pipe()
        stack.callback(os.close, stop)
        thread = threading.Thread(target=_serve, args=(_Device(sent, received, stop), (host, port)), daemon=True)
        thread.start()
        stack.callback(thread.join)  # before the FIFOs that it uses are closed
        stack.callback(os.close, stopping)
        yield


def _make_fifo(path: Path, stack: contextlib.ExitStack) -> int:
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    stack.callback(os.close, descriptor)
    return descriptor


def _serve(device: _Device, address: tuple[str, int]) -> None:
    server: socket.socket | None = None
    pending = b""
    try:
        while True:
            readable = device.wait(server)
            if device.sent in readable:
                with contextlib.suppress(BlockingIOError):  # the ROM itself has read it
                    pending += os.read(device.sent, 0x10000)
                while (frame := _first_frame(pending)) is not None:
                    pending = pending[len(frame) :]
                    server = _handle_frame(frame, device, server, address)
            elif server is not None:
                server = _forward(device, server)
    except _ClosedError:
        if server is not None:
            server.close()


def _first_frame(data: bytes) -> bytes | None:
    """Return the frame at the start of `data` if it is complete."""
    size = 2 if data[:2] == _CONNECT else 2 + int.from_bytes(data[:2], "big")
    return data[:size] if len(data) >= max(size, 2) else None


def _handle_frame(
    frame: bytes, device: _Device, server: socket.socket | None, address: tuple[str, int]
) -> socket.socket | None:
    """Handle a frame from the device; return the current connection."""
    if frame not in (_CONNECT, _CLOSE):
        if server is not None:  # else the device does not yet know that it is closed
            with contextlib.suppress(OSError):  # the next read reports it
                device.send(frame[2:], server)
        return server
    if server is not None:  # a connection from before a reset, if the device requests one now
        server.close()
    if frame == _CLOSE:
        if server is not None:
            device.put(_CLOSE)
        return None
    try:
        server = socket.create_connection(address, _TIMEOUT)
    except OSError:
        device.put(_CLOSE)
        return None
    device.put(_CONNECT)
    return server


def _forward(device: _Device, server: socket.socket) -> socket.socket | None:
    """Pass data from the server to the device; return the connection unless the server has closed it."""
    try:
        data = server.recv(_MAX_DATA)
    except OSError:
        data = b""
    device.put(len(data).to_bytes(2, "big") + data)
    if data:
        return server
    server.close()
    return None

"""TCP connections for an application in the emulator, whose network is two FIFOs beside QEMU: `net-in` and `net-out`.

In these travel frames: two bytes of size, high byte first, then so many bytes of data. The size 0xFFFF without data
asks for a connection, and says that there is one; 0 ends it, and says that it has ended or could not be made. See
firmware/ota/port/emulator.

Not QEMU's serial port: its 16 bytes of input are filled by one thread and emptied by another without a lock
(target/xtensa/xtensa-semi.c), so that now and then some are lost.
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

from ..errors import EmulatorError

_CONNECT = b"\xff\xff"
_CLOSE = b"\0\0"
_MOST = 1460
"""Bytes of data in a frame: as in a TCP segment on Ethernet. A FIFO takes so much whole or not at all (PIPE_BUF)."""
_TIMEOUT = 10.0


class _StoppedError(Exception):
    """The relay is to end."""


@dataclass(frozen=True)
class _Device:
    """The descriptors of the FIFOs, and of one that becomes readable when all is over."""

    sent: int
    received: int
    stop: int

    def wait(self, server: socket.socket | None) -> list[int]:
        """The descriptors that have something to read, of the device and of `server`, as soon as one has."""
        readable, _, _ = select.select([self.stop, self.sent, *([server.fileno()] if server else [])], [], [])
        if self.stop in readable:
            raise _StoppedError
        return readable

    def put(self, frame: bytes) -> None:
        """Give the device a frame, as soon as there is room."""
        while True:
            self._wait_for(self.received)
            with contextlib.suppress(BlockingIOError):  # the device itself has filled its FIFO meanwhile
                os.write(self.received, frame)
                return

    def send(self, data: bytes, server: socket.socket) -> None:
        """Give the server all of `data`, as soon as it takes it. Raises OSError if it has gone, or takes none."""
        while data:
            self._wait_for(server.fileno(), _TIMEOUT)
            data = data[server.send(data) :]

    def _wait_for(self, descriptor: int, timeout: float | None = None) -> None:
        """Until the descriptor can be written to. Raises TimeoutError, or _StoppedError if all is over."""
        readable, writable, _ = select.select([self.stop], [descriptor], [], timeout)
        if readable:
            raise _StoppedError
        if not writable:
            raise TimeoutError


def parse_address(text: str) -> tuple[str, int]:
    """The host and the port of `localhost:8080` or `[::1]:8080`. Raises EmulatorError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 0x10000:
        raise EmulatorError(f"{text!r} is not HOST:PORT, such as localhost:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)


@contextlib.contextmanager
def relay(folder: Path, host: str, port: int) -> Iterator[None]:
    """Connects the emulated device in `folder` to `host` and `port`, whenever it asks; until the end of the `with`.

    One connection at a time.
    """
    with contextlib.ExitStack() as at_the_end:
        # For both ways, so that nobody waits in open() for the other side.
        received, sent = (_fifo(folder / name, at_the_end) for name in ("net-in", "net-out"))
        stop, stopping = os.pipe()
        at_the_end.callback(os.close, stop)
        thread = threading.Thread(target=_serve, args=(_Device(sent, received, stop), (host, port)), daemon=True)
        thread.start()
        at_the_end.callback(thread.join)  # however long: it uses what is closed next
        at_the_end.callback(os.close, stopping)
        yield


def _fifo(path: Path, at_the_end: contextlib.ExitStack) -> int:
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    at_the_end.callback(os.close, descriptor)
    return descriptor


def _serve(device: _Device, address: tuple[str, int]) -> None:
    server: socket.socket | None = None
    pending = b""
    try:
        while True:
            readable = device.wait(server)
            if device.sent in readable:
                with contextlib.suppress(BlockingIOError):  # the device itself has read it
                    pending += os.read(device.sent, 0x10000)
                while (frame := _frame(pending)) is not None:
                    pending = pending[len(frame) :]
                    server = _obey(frame, device, server, address)
            elif server is not None:
                server = _pass_on(device, server)
    except _StoppedError:
        if server is not None:
            server.close()


def _frame(data: bytes) -> bytes | None:
    """The frame that `data` begins with, if it is whole."""
    size = 2 if data[:2] == _CONNECT else 2 + int.from_bytes(data[:2], "big")
    return data[:size] if len(data) >= max(size, 2) else None


def _obey(
    frame: bytes, device: _Device, server: socket.socket | None, address: tuple[str, int]
) -> socket.socket | None:
    """Does what a frame of the device asks for; the connection that there is then."""
    if frame not in (_CONNECT, _CLOSE):
        if server is not None:  # else the device has not heard yet that it is closed
            with contextlib.suppress(OSError):  # which a read tells too
                device.send(frame[2:], server)
        return server
    if server is not None:  # of before a reset, if the device now asks for one
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


def _pass_on(device: _Device, server: socket.socket) -> socket.socket | None:
    """Gives the device what the server has sent; the connection, if there still is one."""
    try:
        data = server.recv(_MOST)
    except OSError:
        data = b""
    device.put(len(data).to_bytes(2, "big") + data)
    if data:
        return server
    server.close()
    return None

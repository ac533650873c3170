"""TCP connections for an application in the emulator, whose network is QEMU's serial port.

On that port travel frames: two bytes of size, high byte first, then so many bytes of data. The size 0xFFFF without
data asks for a connection, and says that there is one; 0 ends it, and says that it has ended or could not be made. See
firmware/ota/port/emulator.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterator

_CONNECT = b"\xff\xff"
_CLOSE = b"\0\0"
_MOST = 1460
"""Bytes of data in a frame: as in a TCP segment on Ethernet."""
_TIMEOUT = 10.0


@contextlib.contextmanager
def relay(host: str, port: int) -> Iterator[int]:
    """Connects one emulated device to `host` and `port`, whenever it asks; the TCP port for QEMU's -chardev socket.

    One connection at a time. It ends with the `with`.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, (host, port)), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(_TIMEOUT)


def qemu_options(port: int) -> list[str]:
    """QEMU's options that put its first serial port on the relay at `port`."""
    return ["-chardev", f"socket,id=net,host=127.0.0.1,port={port},nodelay=on", "-serial", "chardev:net"]


def _serve(listener: socket.socket, address: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        device, _ = listener.accept()
        with device:
            device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _relay(device, address)


def _relay(device: socket.socket, address: tuple[str, int]) -> None:
    server: socket.socket | None = None
    pending = b""
    try:
        while True:
            readable, _, _ = select.select([device] if server is None else [device, server], [], [])
            if device in readable:
                received = device.recv(0x10000)
                if not received:
                    return
                pending += received
                while (frame := _frame(pending)) is not None:
                    pending = pending[len(frame) :]
                    server = _obey(frame, device, server, address)
            elif server is not None:
                server = _pass_on(device, server)
    finally:
        if server is not None:
            server.close()


def _frame(data: bytes) -> bytes | None:
    """The frame that `data` begins with, if it is whole."""
    size = 2 if data[:2] == _CONNECT else 2 + int.from_bytes(data[:2], "big")
    return data[:size] if len(data) >= max(size, 2) else None


def _obey(
    frame: bytes, device: socket.socket, server: socket.socket | None, address: tuple[str, int]
) -> socket.socket | None:
    """Does what a frame of the device asks for; the connection that there is then."""
    if frame == _CONNECT:
        try:
            server = socket.create_connection(address, _TIMEOUT)
        except OSError:
            device.sendall(_CLOSE)
            return None
        device.sendall(_CONNECT)
        return server
    if server is None:
        return None  # the device has not heard yet that it is closed
    if frame != _CLOSE:
        with contextlib.suppress(OSError):  # which a read tells too
            server.sendall(frame[2:])
        return server
    server.close()
    device.sendall(_CLOSE)
    return None


def _pass_on(device: socket.socket, server: socket.socket) -> socket.socket | None:
    """Gives the device what the server has sent; the connection, if there still is one."""
    try:
        data = server.recv(_MOST)
    except OSError:
        data = b""
    device.sendall(len(data).to_bytes(2, "big") + data)
    if data:
        return server
    server.close()
    return None

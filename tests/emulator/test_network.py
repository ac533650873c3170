"""The emulated device's network, seen from the device: frames in two FIFOs, a TCP connection behind them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rbootimg.emulator.network import relay

CONNECT, CLOSE = b"\xff\xff", b"\0\0"


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


@dataclass(frozen=True)
class Device:
    received: int
    sent: int

    def send(self, data: bytes) -> None:
        os.write(self.sent, data)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            assert select.select([self.received], [], [], 10)[0], f"only {data!r} came"
            data += os.read(self.received, size - len(data))
        return data

    def is_silent(self) -> bool:
        return not select.select([self.received], [], [], 0.1)[0]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture
def device(tmp_path: Path, listener: socket.socket) -> Iterator[Device]:
    with relay(tmp_path, *listener.getsockname()):
        # As QEMU opens them: for one way each, which must not wait.
        yield Device(os.open(tmp_path / "net-in", os.O_RDONLY), os.open(tmp_path / "net-out", os.O_WRONLY))


def connect(device: Device, listener: socket.socket) -> socket.socket:
    device.send(CONNECT)
    server, _ = listener.accept()
    server.settimeout(10)
    assert device.read(2) == CONNECT
    return server


def test_a_connection_carries_data_both_ways_until_the_server_ends_it(device: Device, listener: socket.socket) -> None:
    with connect(device, listener) as server:
        device.send(frame(b"GET /")[:3])  # in pieces as they come
        device.send(frame(b"GET /")[3:] + frame(b"version"))
        with server.makefile("rb") as stream:
            assert stream.read(12) == b"GET /version"
        server.sendall(b"1.0.0\n")
        assert device.read(8) == frame(b"1.0.0\n")
    assert device.read(2) == CLOSE


def test_a_frame_holds_1460_bytes_at_most(device: Device, listener: socket.socket) -> None:
    sent = os.urandom(100_000)
    received = b""
    with connect(device, listener) as server:
        server.sendall(sent)
        while len(received) < len(sent):
            size = int.from_bytes(device.read(2), "big")
            assert 0 < size <= 1460
            received += device.read(size)
    assert received == sent


def test_the_device_ends_a_connection_and_makes_another(device: Device, listener: socket.socket) -> None:
    with connect(device, listener) as server:
        device.send(CLOSE)
        assert server.recv(1) == b""
        assert device.read(2) == CLOSE
    with connect(device, listener) as server:
        device.send(frame(b"x"))
        assert server.recv(1) == b"x"


def test_a_device_that_was_reset_gets_a_new_connection_and_the_old_one_ends(
    device: Device, listener: socket.socket
) -> None:
    with connect(device, listener) as old, connect(device, listener) as new:
        assert old.recv(1) == b""
        new.sendall(b"x")
        assert device.read(3) == frame(b"x")


def test_without_a_server_the_connection_is_closed_at_once(device: Device, listener: socket.socket) -> None:
    listener.close()
    device.send(CONNECT)
    assert device.read(2) == CLOSE
    device.send(frame(b"nobody hears it") + CLOSE)
    assert device.is_silent()


def test_it_ends_while_nobody_reads(tmp_path: Path, listener: socket.socket) -> None:
    """As when the power is cut in the middle of a download."""
    with relay(tmp_path, *listener.getsockname()):
        device = Device(os.open(tmp_path / "net-in", os.O_RDONLY), os.open(tmp_path / "net-out", os.O_WRONLY))
        server = connect(device, listener)
        server.sendall(bytes(200_000))  # more than a FIFO holds
        time.sleep(0.2)
        start = time.monotonic()
    assert time.monotonic() - start < 5
    server.settimeout(10)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    server.close()


def test_it_ends_while_the_server_takes_nothing(tmp_path: Path, listener: socket.socket) -> None:
    with relay(tmp_path, *listener.getsockname()):
        device = Device(os.open(tmp_path / "net-in", os.O_RDONLY), os.open(tmp_path / "net-out", os.O_WRONLY))
        server = connect(device, listener)
        os.set_blocking(device.sent, False)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # until all on the way is full
            try:
                device.send(frame(bytes(1400)))
            except BlockingIOError:
                if not select.select([], [device.sent], [], 0.4)[1]:
                    break
        start = time.monotonic()
    assert time.monotonic() - start < 5
    server.close()


def test_a_device_that_fills_its_own_fifo_does_not_hold_up_the_end(tmp_path: Path, listener: socket.socket) -> None:
    with relay(tmp_path, *listener.getsockname()):
        device = Device(os.open(tmp_path / "net-in", os.O_RDWR), os.open(tmp_path / "net-out", os.O_RDWR))
        os.set_blocking(device.received, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(device.received, bytes(4096))
        device.send(CONNECT)
        time.sleep(0.1)
        start = time.monotonic()
    assert time.monotonic() - start < 5

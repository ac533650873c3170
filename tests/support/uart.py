"""The two ends of a serial line: a pseudo-terminal for the program, and bits at a baud rate for the device.

A pseudo-terminal alone passes bytes at any rate. Here what the device sends is sampled at the rate that the program has
set, as a UART does: at another rate other bytes come out, and a NUL for each without a stop bit (termios(3), PARMRK).
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from serial import rfc2217

TCGETS2 = 0x802C542A  # asm-generic/ioctls.h


class Device:
    """A device at `port` that sends at the baud rate `rate`."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.received = b""
        self._line, self._end = pty.openpty()
        self.port = os.ttyname(self._end)
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Device:
        self._reader.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Let the port disappear."""
        self._stop.set()
        self._reader.join()
        for descriptor in (self._line, self._end):
            if descriptor >= 0:
                os.close(descriptor)
        self._line = self._end = -1

    def send(self, text: str | bytes) -> None:
        """Send `text`, 16 bytes at a time in the time that they take."""
        data = text.encode() if isinstance(text, str) else text
        for at in range(0, len(data), 16):
            part = data[at : at + 16]
            os.write(self._line, sampled(part, self.rate, self.programs_rate))
            time.sleep(10 * len(part) / self.rate)

    @property
    def programs_rate(self) -> int:
        """The baud rate that the program has set: c_ispeed of struct termios2."""
        settings = fcntl.ioctl(self._end, TCGETS2, bytes(44))
        return int(struct.unpack_from("I", settings, 36)[0])

    def _read(self) -> None:
        while not self._stop.is_set():
            if select.select([self._line], [], [], 0.02)[0]:
                self.received += os.read(self._line, 1024)


def sampled(data: bytes, sent_at: int, read_at: int) -> bytes:
    """What a UART at `read_at` baud reads of `data` that was sent at `sent_at` baud: 8 bits, no parity, 1 stop bit."""
    if sent_at == read_at:
        return data
    levels = [1, *(level for byte in data for level in (0, *(byte >> bit & 1 for bit in range(8)), 1)), 1]

    def level(time: float) -> int:
        at = int(time * sent_at)
        return levels[at] if at < len(levels) else 1

    def read() -> Iterator[int]:
        time, step, end = 0.0, 1 / (16 * read_at), len(levels) / sent_at
        while time < end:
            if level(time):  # idle
                time += step
                continue
            bits = [level(time + (number + 1.5) / read_at) for number in range(9)]
            has_stop = bits.pop()
            yield sum(bit << number for number, bit in enumerate(bits)) if has_stop else 0
            time += 9.5 / read_at
            while not level(time) and time < end:
                time += step

    return bytes(read())


class NetworkPort:
    """A serial port on the network at `url` (RFC 2217, by pyserial's own server side), which has DTR and RTS.

    `lines` are the changes of these, such as ("rts", True); True is the low level of the chip's pin.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool]] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> NetworkPort:
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        client, _ = self._server.accept()
        with client:
            port = _ModemLines(self.lines)
            manager = rfc2217.PortManager(port, _Connection(client))
            while data := client.recv(1024):
                for _ in manager.filter(data):
                    pass


class _Connection:
    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def write(self, data: bytes) -> None:
        self._client.sendall(data)


class _ModemLines:
    """What pyserial's server side controls."""

    bytesize, parity, stopbits, rtscts, xonxoff = 8, "N", 1, False, False
    cts = dsr = ri = cd = break_condition = False
    baudrate = 0

    def __init__(self, lines: list[tuple[str, bool]]) -> None:
        self.__dict__["_lines"] = lines

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("dtr", "rts"):
            self._lines.append((name, bool(value)))
        self.__dict__[name] = value

    def reset_input_buffer(self) -> None:
        """Do nothing: there is no input."""

    reset_output_buffer = reset_input_buffer

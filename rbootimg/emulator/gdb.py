"""QEMU's GDB stub: break points, memory, registers."""

from __future__ import annotations

import socket
import struct
import subprocess
import time
from collections.abc import Iterable

from ..layout.memory import Region

_POLL = 0.005
_LONGEST_ANSWER = 1 << 20


class StoppedError(Exception):
    """The machine ended, or the time is over, before it was where the proof wants it."""


class Debugger:
    """As much of GDB's remote protocol as the proof needs. Source: GDB manual, appendix E."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = b""

    def run_to(self, address: int, otherwise: str) -> None:
        """Run up to the next time that `address` is reached. Raises StoppedError, which says `otherwise`."""
        try:
            self._ask("s")  # off the address at which it stands
            self._ask(f"Z0,{address:x},4")
            if not self._ask("c").startswith(b"T"):
                raise ConnectionError
            self._ask(f"z0,{address:x},4")
        except OSError:
            raise StoppedError(otherwise) from None

    def run_on(self, qemu: subprocess.Popen[bytes], hardware: Iterable[Region], seconds: float) -> str:
        """Run until `hardware` is touched, the machine ends, or QEMU has worked for `seconds`; which of them."""
        for region in hardware:
            self._ask(f"Z4,{region.start:x},{region.size:x}")
        clock = ~qemu.pid << 3 | 2  # the process's CPU time: clock_getcpuclockid(3), which Python does not have
        end = time.clock_gettime(clock) + seconds
        self._send("c")
        while time.clock_gettime(clock) < end and time.monotonic() < self._deadline:
            try:
                answer = self._answer(time.monotonic() + _POLL)
            except TimeoutError:
                continue
            except OSError:
                return "end"
            return "hardware" if b"watch:" in answer else "end"
        return "still running"

    def arguments(self) -> tuple[int, int]:
        """The first two arguments of the function at whose start the machine stands: registers a2 and a3."""
        registers = self._ask("g")
        a2, a3 = struct.unpack_from("<II", bytes.fromhex(registers.decode()), 8)
        return a2, a3

    def read(self, address: int, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = min(size - len(data), 1024)
            answer = self._ask(f"m{address + len(data):x},{part:x}")
            if len(answer) != 2 * part:  # an error's number: nothing is there
                break
            data += bytes.fromhex(answer.decode())
        return bytes(data)

    def _ask(self, command: str) -> bytes:
        self._send(command)
        return self._answer(self._deadline)

    def _send(self, command: str) -> None:
        text = command.encode()
        self._connection.sendall(b"+$%s#%02x" % (text, sum(text) % 256))

    def _answer(self, deadline: float) -> bytes:
        while True:
            start = self._buffer.find(b"$")
            end = self._buffer.find(b"#", start)
            if 0 <= start < end and len(self._buffer) >= end + 3:
                answer = self._buffer[start + 1 : end]
                self._buffer = self._buffer[end + 3 :]
                self._connection.sendall(b"+")
                return answer
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._connection.recv(65536)
            self._buffer += data
            # Semihosting lets an application write to any of QEMU's descriptors, this one included.
            if not data or len(self._buffer) > _LONGEST_ANSWER:
                raise ConnectionError
            if time.monotonic() > deadline:
                raise TimeoutError

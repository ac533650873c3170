"""QEMU's GDB stub: breakpoints, memory, registers."""

from __future__ import annotations

import enum
import socket
import struct
import subprocess
import time
from collections.abc import Iterable

from ..layout.memory import Region

_POLL = 0.005
_MAX_ANSWER = 1 << 20


class NotReachedError(Exception):
    """The machine ended before it reached an address."""


class StopReason(enum.Enum):
    """The reason why run_on() stopped; the values are those in the output of `rbootimg prove`."""

    HARDWARE = "hardware"
    END = "end"
    TIME = "still running"


class Debugger:
    """The part of GDB's remote protocol that a proof needs. Source: GDB manual, appendix E."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = b""

    def run_to(self, address: int, error: str) -> None:
        """Run until `address` is reached. Raises NotReachedError(error) if the machine ends before."""
        try:
            self._ask("s")  # step past the current address
            self._ask(f"Z0,{address:x},4")
            if not self._ask("c").startswith(b"T"):
                raise ConnectionError
            self._ask(f"z0,{address:x},4")
        except OSError:
            raise NotReachedError(error) from None

    def run_on(self, qemu: subprocess.Popen[bytes], hardware: Iterable[Region], seconds: float) -> StopReason:
        """Run until `hardware` is accessed, the machine ends, or QEMU has used `seconds` of CPU time."""
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
                return StopReason.END
            return StopReason.HARDWARE if b"watch:" in answer else StopReason.END
        return StopReason.TIME

    def arguments(self) -> tuple[int, int]:
        """Return the first two arguments of the function at whose start the machine is: registers a2 and a3."""
        registers = self._ask("g")
        a2, a3 = struct.unpack_from("<II", bytes.fromhex(registers.decode()), 8)
        return a2, a3

    def read(self, address: int, size: int) -> bytes:
        """Read `size` bytes of memory at `address`; fewer if the rest is unmapped."""
        data = bytearray()
        while len(data) < size:
            part = min(size - len(data), 1024)
            answer = self._ask(f"m{address + len(data):x},{part:x}")
            if len(answer) != 2 * part:  # an error number: unmapped memory
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
            # With semihosting an application can write to any of QEMU's descriptors, this one too.
            if not data or len(self._buffer) > _MAX_ANSWER:
                raise ConnectionError
            if time.monotonic() > deadline:
                raise TimeoutError

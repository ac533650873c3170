"""An ESP8266 in its serial boot loader, on a TCP port, so that the real esptool can write its flash.

It answers what esptool 5 asks of the mask ROM and of the stub that esptool loads, which is not run: from the
end of its download on this stands for it. Source: esptool's documentation, "Serial Protocol".
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from types import TracebackType

SECTOR = 0x1000
CHIP_MAGIC, UART_CLKDIV = 0x40001000, 0x60000014
SPI_USR2, SPI_W0 = 0x60000224, 0x60000240
READ_ID = 0x9F
FLASH_ID_4MB = 0x1640EF

BEGIN, DATA, MEM_END, SYNC, READ_REG, WRITE_REG, DEFL_BEGIN, DEFL_DATA, MD5 = 2, 3, 6, 8, 10, 9, 16, 17, 19
SILENT_END = 0xD3  # "run user code" has no answer


class FakeChip:
    """The chip; `flash` is what is in it. Use it with `with`, and `port` for esptool."""

    def __init__(self, flash: bytes, flash_id: int = FLASH_ID_4MB) -> None:
        self.flash = bytearray(flash)
        self.flash_id = flash_id
        self.commands: list[int] = []
        self._registers = {CHIP_MAGIC: 0xFFF0C101, UART_CLKDIV: 26_000_000 * 2 // 115_200}
        self._is_stub = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def port(self) -> str:
        return f"socket://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> FakeChip:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.close()
        self._thread.join(10)

    def _serve(self) -> None:
        line, _ = self._server.accept()
        with line:
            for packet in _packets(line):
                _, command, length, _ = struct.unpack_from("<BBHI", packet)
                self.commands.append(command)
                for answer in self._answers(command, packet[8 : 8 + length]):
                    line.sendall(b"\xc0" + answer.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0")

    def _answers(self, command: int, data: bytes) -> Iterator[bytes]:
        value, body = 0 if self._is_stub else 0x20120707, b""
        if command == READ_REG:
            (address,) = struct.unpack("<I", data)
            value = self._read(address)
        elif command == WRITE_REG:
            address, new, _, _ = struct.unpack("<IIII", data)
            self._registers[address] = new
        elif command in (BEGIN, DEFL_BEGIN):
            size, _, _, self._at = struct.unpack_from("<IIII", data)
            self._decompress = zlib.decompressobj() if command == DEFL_BEGIN else None
            first = self._at // SECTOR * SECTOR
            end = -(-(self._at + size) // SECTOR) * SECTOR if size else first
            self.flash[first:end] = b"\xff" * (end - first)
        elif command in (DATA, DEFL_DATA):
            self._write(self._decompress.decompress(data[16:]) if self._decompress else data[16:])
        elif command == MD5:
            address, size, _, _ = struct.unpack("<IIII", data)
            body = hashlib.md5(self.flash[address : address + size]).digest()
        elif command == SILENT_END:
            return
        answer = struct.pack("<BBHI", 1, command, len(body) + 2, value) + body + b"\0\0"
        yield from [answer] * (8 if command == SYNC else 1)
        if command == MEM_END:
            self._is_stub = True
            yield b"OHAI"

    def _read(self, address: int) -> int:
        if address == SPI_W0:
            return self.flash_id if self._registers.get(SPI_USR2, 0) & 0xFF == READ_ID else 0
        return self._registers[address] if address in (CHIP_MAGIC, UART_CLKDIV) else 0

    def _write(self, data: bytes) -> None:
        """As a flash does: bits can only be cleared."""
        for offset, byte in enumerate(data, self._at):
            self.flash[offset] &= byte
        self._at += len(data)


def _packets(line: socket.socket) -> Iterator[bytes]:
    packet = b""
    while received := line.recv(0x10000):
        *whole, packet = (packet + received).split(b"\xc0")
        for part in filter(None, whole):
            yield part.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")

"""Check that an application maps the megabyte of its slot again after an access to the flash.

The NONOS SDK calls Cache_Read_Enable_New to do so. Its own version in libmain.a maps the first or second megabyte, the
one that the SDK's boot loader would have started. Sources: libmain.a of NONOS SDK 2.0.0 to 3.0.6 and master; the
instruction formats of the Xtensa ISA.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FitError
from ..layout.memory import WINDOW_SIZE
from . import elf
from .elf import Elf

if TYPE_CHECKING:
    from ..layout.model import Slot

SYMBOL = "Cache_Read_Enable_New"

_CACHE_READ_ENABLE = 0x40004678  # mask ROM
_MAX_SIZE = 1024
"""The maximum size of a function that is disassembled; the SDK's has about 100 bytes."""
_MAX_FUNCTIONS = 16
_PAIR = 3  # a3: the second argument of Cache_Read_Enable


def check_mapping(data: bytes, slot: Slot | None) -> None:
    """Raise FitError if the application in the ELF file `data` maps another megabyte than that of `slot`.

    An application without Cache_Read_Enable_New is not checked, nor is a stripped ELF: see mapping_notes(). Raises
    ElfError if the ELF is invalid.
    """
    if (problem := mapping_problem(data, slot)) is not None:
        raise FitError(problem)


def mapping_problem(data: bytes, slot: Slot | None) -> str | None:
    """Return the message of check_mapping(), or None. Raises ElfError if the ELF is invalid."""
    if slot is None or slot.address < WINDOW_SIZE:
        return None
    app = elf.parse_elf(data)
    memory = _Memory(app)
    # A crafted file can have any number of such symbols, of any size.
    functions = {(symbol.address, symbol.size) for symbol in elf.elf_symbols(data) if symbol.name == SYMBOL}
    small = sorted((address, size) for address, size in functions if size <= _MAX_SIZE)[:_MAX_FUNCTIONS]
    if not any(_is_sdk_function(memory, _code(memory, address, size)) for address, size in small):
        return None
    return (
        f"{SYMBOL} is the SDK's function, which maps the first or second megabyte of the flash instead of that of "
        f"{slot.label}; build the application with RbootApp or override the function (docs/how-to/big-flash.md)"
    )


def mapping_notes(data: bytes, slot: Slot | None) -> tuple[str, ...]:
    """List the check that check_mapping() skipped for lack of symbols. Raises ElfError if it is invalid."""
    if slot is None or slot.address < WINDOW_SIZE or elf.elf_symbols(data):
        return ()
    app = elf.parse_elf(data)
    if not any(struct.pack("<I", _CACHE_READ_ENABLE) in section.data for section in app.sections):
        return ()
    return (f"no symbols: not checked that {SYMBOL} maps the megabyte of {slot.label}",)


class _Instruction(NamedTuple):
    """An instruction of 3 bytes, or of 2 if `narrow`, with the field names of the ISA."""

    address: int
    word: int
    narrow: bool

    @property
    def op0(self) -> int:
        return self.word & 15

    @property
    def t(self) -> int:
        return self.word >> 4 & 15

    @property
    def s(self) -> int:
        return self.word >> 8 & 15

    @property
    def r(self) -> int:
        return self.word >> 12 & 15


class _Memory:
    """The contents of an application's memory, indexed by address."""

    def __init__(self, app: Elf) -> None:
        self._sections = sorted((section for section in app.sections if section.data), key=lambda each: each.address)
        self._starts = [section.address for section in self._sections]

    def read(self, address: int, size: int) -> bytes:
        """Return the `size` bytes at `address`, or none if they are not all in one section."""
        number = bisect_right(self._starts, address) - 1
        if number < 0 or address + size > self._sections[number].end:
            return b""
        start = address - self._starts[number]
        return self._sections[number].data[start : start + size]


def _code(memory: _Memory, address: int, size: int) -> list[_Instruction]:
    """Decode the instructions of the `size` bytes at `address`."""
    return list(_instructions(memory.read(address, size), address))


def _instructions(code: bytes, address: int) -> Iterator[_Instruction]:
    at = 0
    while at < len(code):
        narrow = 8 <= code[at] & 15 <= 13
        size = 2 if narrow else 3
        yield _Instruction(address + at, int.from_bytes(code[at : at + size], "little"), narrow)
        at += size


def _is_sdk_function(memory: _Memory, instructions: list[_Instruction]) -> bool:
    """Whether the `instructions` are those of the SDK's function, in any version of the SDK.

    It calls Cache_Read_Enable with the constant 0 for the pair of megabytes; a byte in RAM, compared with 1, selects
    one of the two. It stores nothing.
    """
    calls = any(each.op0 == 1 and _literal(memory, each) == _CACHE_READ_ENABLE for each in instructions)
    compares = any(each.op0 == 6 and each.word & 0xF0 == 0x60 and each.r == 1 for each in instructions)  # bnei …, 1
    reads_byte = any(each.op0 == 2 and each.r == 0 for each in instructions)  # l8ui
    pairs = [_constant(each) for each in instructions if _PAIR in _written_registers(each)]
    return (
        calls and compares and reads_byte and bool(pairs) and set(pairs) == {0} and not any(map(_stores, instructions))
    )


def _literal(memory: _Memory, load: _Instruction) -> int | None:
    """Return the word that an l32r loads."""
    word = memory.read(((load.address + 3) & ~3) + (((load.word >> 8) - 0x10000) << 2), 4)
    return int.from_bytes(word, "little") if word else None


def _constant(move: _Instruction) -> int | None:
    """Return the value of a movi or movi.n, None for another instruction."""
    if move.op0 == 12 and not move.word & 0x80:  # movi.n
        return (move.word & 0x70) | move.r
    if move.op0 == 2 and move.r == 10:  # movi
        return move.s << 8 | move.word >> 16
    return None


def _written_registers(each: _Instruction) -> tuple[int, ...]:
    """Return the register that an instruction writes, if compilers use it for arguments."""
    if each.op0 in (1, 8):  # l32r, l32i.n
        return (each.t,)
    if each.op0 == 2:  # loads, addi, addmi, movi; not stores
        return (each.t,) if each.r in (0, 1, 2, 9, 10, 11, 12, 13) else ()
    if each.op0 in (10, 11):  # add.n, addi.n
        return (each.r,)
    if each.op0 == 12:
        return () if each.word & 0x80 else (each.s,)  # beqz.n, bnez.n; movi.n
    if each.op0 == 13:
        return (each.t,) if each.r == 0 else ()  # mov.n; ret.n and the like
    # Format RRR includes calls and others whose field r is 0, which is not a3.
    return (each.r,) if each.op0 == 0 else ()


def _stores(each: _Instruction) -> bool:
    """Whether the instruction stores to memory other than the stack."""
    is_store = each.op0 == 9 or (each.op0 == 2 and each.r in (4, 5, 6))
    return is_store and each.s != 1

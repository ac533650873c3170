"""Whether an application maps the megabyte of its slot after an access to the flash. No files.

The NONOS SDK calls Cache_Read_Enable_New for it, and has one in libmain.a that maps the first or the second
megabyte: the one that the SDK's own boot loader would have started. Facts: libmain.a of NONOS SDK 2.0.0 to 3.0.6 and
master; the instruction formats are those of the Xtensa ISA.
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
_LARGEST = 1024
"""The bytes of a function that may be the SDK's, which has some 100."""
_MOST_PLACES = 16
_PAIR = 3  # a3: the second argument of Cache_Read_Enable


def check_mapping(data: bytes, slot: Slot | None) -> None:
    """Raise FitError if the application in the ELF file `data` maps another megabyte of the flash than that of `slot`.

    What has no Cache_Read_Enable_New is the application's own business; of a stripped ELF nothing is known, see
    mapping_notes(). Raises ElfError.
    """
    if (problem := mapping_problem(data, slot)) is not None:
        raise FitError(problem)


def mapping_problem(data: bytes, slot: Slot | None) -> str | None:
    """The message of check_mapping(), None if there is nothing wrong. Raises ElfError."""
    if slot is None or slot.address < WINDOW_SIZE:
        return None
    app = elf.parse(data)
    memory = _Memory(app)
    # A file can have any number of symbols of this name, each as large as it likes: not a linked program.
    places = {(symbol.address, symbol.size) for symbol in elf.symbols(data) if symbol.name == SYMBOL}
    small = sorted((address, size) for address, size in places if size <= _LARGEST)[:_MOST_PLACES]
    if not any(_is_sdks(memory, _code(memory, address, size)) for address, size in small):
        return None
    return (
        f"{SYMBOL} is the SDK's, which maps the first megabytes of the flash after each access, and not that of "
        f"{slot.label}: the application would run other code; build it with RbootApp, or override the function (see "
        "the README, Flash above 1 MB)"
    )


def mapping_notes(data: bytes, slot: Slot | None) -> tuple[str, ...]:
    """What check_mapping() could not check, as the ELF file `data` has no symbols; else nothing. Raises ElfError."""
    if slot is None or slot.address < WINDOW_SIZE or elf.symbols(data):
        return ()
    app = elf.parse(data)
    if not any(struct.pack("<I", _CACHE_READ_ENABLE) in section.data for section in app.sections):
        return ()
    return (f"the ELF has no symbols, so it was not checked that {SYMBOL} is not the SDK's, which maps other flash",)


class _Instruction(NamedTuple):
    """An instruction of 3 bytes, or of 2 if it is `narrow`; the fields as the ISA calls them."""

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
    """What an application has where, for many look-ups."""

    def __init__(self, app: Elf) -> None:
        self._sections = sorted((section for section in app.sections if section.data), key=lambda each: each.address)
        self._starts = [section.address for section in self._sections]

    def read(self, address: int, size: int) -> bytes:
        """The `size` bytes at `address`; none if they are not all in one section."""
        number = bisect_right(self._starts, address) - 1
        if number < 0 or address + size > self._sections[number].end:
            return b""
        start = address - self._starts[number]
        return self._sections[number].data[start : start + size]


def _code(memory: _Memory, address: int, size: int) -> list[_Instruction]:
    """The instructions of the `size` bytes at `address`."""
    return list(_instructions(memory.read(address, size), address))


def _instructions(code: bytes, address: int) -> Iterator[_Instruction]:
    at = 0
    while at < len(code):
        narrow = 8 <= code[at] & 15 <= 13
        size = 2 if narrow else 3
        yield _Instruction(address + at, int.from_bytes(code[at : at + size], "little"), narrow)
        at += size


def _is_sdks(memory: _Memory, instructions: list[_Instruction]) -> bool:
    """Whether a function with these `instructions` does what that of all versions of the SDK does.

    Cache_Read_Enable gets the constant 0 for the pair of megabytes, and which of the two a byte in RAM tells, which is
    compared with 1. It stores nothing, so it does not find out anything either.
    """
    calls = any(each.op0 == 1 and _literal(memory, each) == _CACHE_READ_ENABLE for each in instructions)
    compares = any(each.op0 == 6 and each.word & 0xF0 == 0x60 and each.r == 1 for each in instructions)  # bnei …, 1
    reads_byte = any(each.op0 == 2 and each.r == 0 for each in instructions)  # l8ui
    pairs = [_constant(each) for each in instructions if _PAIR in _written(each)]
    return (
        calls and compares and reads_byte and bool(pairs) and set(pairs) == {0} and not any(map(_stores, instructions))
    )


def _literal(memory: _Memory, load: _Instruction) -> int | None:
    """The word that an l32r loads."""
    word = memory.read(((load.address + 3) & ~3) + (((load.word >> 8) - 0x10000) << 2), 4)
    return int.from_bytes(word, "little") if word else None


def _constant(move: _Instruction) -> int | None:
    """The value that a movi or movi.n gives a register, if that is what it is."""
    if move.op0 == 12 and not move.word & 0x80:  # movi.n
        return (move.word & 0x70) | move.r
    if move.op0 == 2 and move.r == 10:  # movi
        return move.s << 8 | move.word >> 16
    return None


def _written(each: _Instruction) -> tuple[int, ...]:
    """The register that an instruction changes, of those that compilers use for arguments."""
    if each.op0 in (1, 8):  # l32r, l32i.n
        return (each.t,)
    if each.op0 == 2:  # loads, addi, addmi, movi; not the stores
        return (each.t,) if each.r in (0, 1, 2, 9, 10, 11, 12, 13) else ()
    if each.op0 in (10, 11):  # add.n, addi.n
        return (each.r,)
    if each.op0 == 12:
        return () if each.word & 0x80 else (each.s,)  # beqz.n, bnez.n; movi.n
    if each.op0 == 13:
        return (each.t,) if each.r == 0 else ()  # mov.n; ret.n and the like
    # Among those of format RRR are calls and others whose field r is 0: a3 is safe from them.
    return (each.r,) if each.op0 == 0 else ()


def _stores(each: _Instruction) -> bool:
    """Whether it stores anything but to the stack."""
    is_store = each.op0 == 9 or (each.op0 == 2 and each.r in (4, 5, 6))
    return is_store and each.s != 1

"""An application ELF's bytes -> entry, sections and symbols. No files.

Source of the format: System V ABI, chapter 4, and Xtensa's machine number.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from .errors import ElfError

# EI_CLASS; EI_DATA, with e_type and e_machine in that order
_BITS = MappingProxyType({1: 32, 2: 64})
_ORDERS = MappingProxyType({1: ("little", "<HH"), 2: ("big", ">HH")})
_EM_XTENSA = 94
# Those of computers, where a wrong compiler's output most likely runs.
_MACHINES = MappingProxyType({3: "386", 40: "ARM", 62: "X86_64", _EM_XTENSA: "XTENSA", 183: "AARCH64", 243: "RISCV"})
_ET_EXEC = 2
# e_entry, e_shoff, e_shentsize, e_shnum, e_shstrndx
_FILE_HEADER = struct.Struct("<24xI4xI10xHHH")
_SECTION_HEADER = struct.Struct("<10I")

_SHT_NULL, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS = 0, 2, 3, 8
_SHF_ALLOC = 0x2  # takes memory while the program runs

# st_name, st_value, st_size, st_info, st_other, st_shndx; the type is st_info's low half
_SYMBOL = "<IIIBBH"
_SYMBOL_KINDS = MappingProxyType({0: "notype", 1: "object", 2: "func"})


@dataclass(frozen=True)
class Section:
    """A section that takes memory on the chip: `size` bytes at link `address`.

    `data` is empty for one that is only reserved there, like .bss; else it has `size` bytes.
    """

    name: str
    address: int
    size: int
    data: bytes = field(repr=False)

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class Elf:
    """An application: its `entry` address and the sections that take memory, in file order."""

    entry: int
    sections: tuple[Section, ...]

    def find(self, name: str) -> Section | None:
        """The section called `name` if it has bytes to load, else None."""
        for section in self.sections:
            if section.name == name and section.data:
                return section
        return None


@dataclass(frozen=True)
class Symbol:
    """A name for the `size` bytes at link `address`. `kind` is `func`, `object`, or `notype` for a label.

    `size` is 0 where the source states none, as assembly often does.
    """

    name: str
    address: int
    size: int
    kind: str


def parse(data: bytes) -> Elf:
    """The application in the ELF file `data`.

    Raises ElfError if it is not a whole, linked, 32-bit little-endian Xtensa ELF with sections.
    """
    if not data.startswith(b"\x7fELF"):
        raise ElfError("not an ELF file" if data else "the file is empty")
    _check_kind(data)
    entry, headers, names_at = _headers(data)
    if not headers:
        raise ElfError("the ELF has no sections; do not strip its section headers")
    names = _names(headers, names_at, data)
    found = [_section(name, section, data) for name, section in zip(names, headers)]
    sections = tuple(section for section in found if section is not None)
    twice = [name for name, count in Counter(section.name for section in sections).items() if count > 1]
    if twice:
        raise ElfError(f"the ELF has more than one section {twice[0]}; merge them in the linker script")
    return Elf(entry, sections)


class _Header(NamedTuple):
    """A section header."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


def _check_kind(data: bytes) -> None:
    """Raise ElfError if the ELF is none of a program for the ESP8266."""
    if len(data) < _FILE_HEADER.size or data[4] not in _BITS or data[5] not in _ORDERS:
        raise _damaged("its header")
    bits, (order, layout) = _BITS[data[4]], _ORDERS[data[5]]
    kind, machine = struct.unpack_from(layout, data, 16)
    if (bits, order, machine) != (32, "little", _EM_XTENSA):
        raise ElfError(
            f"a {bits}-bit {order}-endian ELF for {_MACHINES.get(machine, machine)}, not for the ESP8266 "
            "(32-bit little-endian Xtensa); build it with xtensa-lx106-elf-gcc"
        )
    if kind != _ET_EXEC:
        raise ElfError("not a linked program but an object file or a library; link it first")


def _headers(data: bytes) -> tuple[int, list[_Header], int]:
    """The entry address, the section headers, and the number of the one with the sections' names."""
    entry, start, step, count, names = _FILE_HEADER.unpack_from(data)
    end = start + count * _SECTION_HEADER.size
    if count and (step != _SECTION_HEADER.size or end > len(data)):
        raise _damaged("its section headers")
    return entry, [_Header(*fields) for fields in _SECTION_HEADER.iter_unpack(data[start:end] if count else b"")], names


def _names(headers: Sequence[_Header], names: int, data: bytes) -> list[str]:
    """The sections' names, in the order of their headers."""
    if names >= len(headers) or headers[names].type != _SHT_STRTAB:
        raise _damaged("no section names")
    texts = _content(headers[names], data)
    try:
        found = [texts[header.name : texts.index(b"\0", header.name)].decode() for header in headers]
    except ValueError:
        raise _damaged("a section's name") from None
    if not all(map(str.isprintable, found)):  # messages have them, and are one line
        raise _damaged("a section's name")
    return found


def _damaged(what: object) -> ElfError:
    return ElfError(f"the ELF is damaged or cut off ({what}); link it again")


def symbols(data: bytes) -> tuple[Symbol, ...]:
    """The names of bytes on the chip in the ELF file `data`, in file order; none if it was stripped.

    Left out are symbols without a section (undefined, absolute), those that stand behind the last byte of
    theirs (`_text_end`), and the names of files and sections. Raises ElfError as `parse` does.
    """
    parse(data)
    _, headers, _ = _headers(data)
    table = next((header for header in headers if header.type == _SHT_SYMTAB), None)
    try:
        return () if table is None else tuple(_symbols(table, headers, data))
    except (struct.error, ValueError, LookupError) as error:
        raise _damaged(error) from None


def place(symbols: Sequence[Symbol], address: int) -> str | None:
    """The name of what is at `address`: `user_init+0x8`; None if no symbol covers it.

    A label without a size covers what is up to the next symbol.
    """

    def covering(where: int) -> list[Symbol]:
        return [symbol for symbol in symbols if symbol.address <= where < symbol.address + symbol.size]

    found = covering(address)
    if not found:
        labels = [symbol for symbol in symbols if symbol.address <= address]
        nearest = max((symbol.address for symbol in labels), default=0)
        # A label within a function is not the start of something behind it.
        found = [] if covering(nearest) else [symbol for symbol in labels if symbol.address == nearest]
    if not found:
        return None
    innermost = max(found, key=lambda symbol: symbol.address)
    distance = address - innermost.address
    return f"{innermost.name}+{distance:#x}" if distance else innermost.name


def _symbols(table: _Header, headers: Sequence[_Header], data: bytes) -> Iterator[Symbol]:
    names = _content(headers[table.link], data)
    # Names may share bytes, so a small file could name gigabytes. An entry has 16 bytes: this is 256 for each.
    letters_left = 16 * len(data)
    for name_at, address, size, info, _, index in struct.iter_unpack(_SYMBOL, _content(table, data)):
        kind = _SYMBOL_KINDS.get(info & 0xF)
        if kind is None or not 0 < index < len(headers):
            continue
        section = headers[index]
        if not section.flags & _SHF_ALLOC or not 0 <= address - section.address < section.size:
            continue
        name = names[name_at : names.index(b"\0", name_at)]
        letters_left -= len(name)
        if letters_left < 0:
            raise ElfError("the ELF is damaged (its symbols' names overlap); link it again")
        if name:
            yield Symbol(name.decode(errors="replace"), address, size, kind)


def _content(header: _Header, data: bytes) -> bytes:
    return data[header.offset : header.offset + header.size]


def _section(name: str, header: _Header, data: bytes) -> Section | None:
    """The section, or None if it takes no memory on the chip; its bytes must be there all the same."""
    start, size = header.offset, header.size
    in_file = header.type not in (_SHT_NOBITS, _SHT_NULL)
    if in_file and start + size > len(data):
        raise ElfError(
            f"section {name} ends {start + size - len(data):,} bytes behind the end of the file, which is cut off; "
            "link it again"
        )
    if not header.flags & _SHF_ALLOC or not size:
        return None
    return Section(name, header.address, size, data[start : start + size] if in_file else b"")

"""An application ELF's bytes -> entry, sections and symbols. No files.

Source of the format: System V ABI, chapters 4 and 5 (ELF header, sections, symbol table).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from .errors import ElfError

# The ELF header, of which the first 16 bytes and e_machine are the same in all ELFs: e_ident, e_type, e_machine,
# e_version, e_entry, e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx.
_FILE = struct.Struct("<16sHHIIIIIHHHHHH")
_MACHINE = slice(18, 20)
_BITS = MappingProxyType({1: 32, 2: 64})  # EI_CLASS
_ORDERS: Mapping[int, Literal["little", "big"]] = MappingProxyType({1: "little", 2: "big"})  # EI_DATA
_EXECUTABLE = 2  # e_type
_XTENSA = 94  # e_machine; of the others those that are taken for it by mistake
_MACHINES = MappingProxyType({3: "386", 40: "ARM", 62: "X86_64", _XTENSA: "XTENSA", 183: "AARCH64", 243: "RISCV"})

_NULL, _SYMBOL_TABLE, _STRINGS, _NO_BITS = 0, 2, 3, 8  # sh_type
_ALLOC = 0x2  # sh_flags: takes memory while the program runs

# st_name, st_value, st_size, st_info, st_other, st_shndx; the type is st_info's low half
_SYMBOL = "<IIIBBH"
_SYMBOL_KINDS = MappingProxyType({0: "notype", 1: "object", 2: "func"})


class Section(NamedTuple):
    """A section that takes memory on the chip: `size` bytes at link `address`.

    `data` is empty for one that is only reserved there, like .bss; else it has `size` bytes.
    """

    name: str
    address: int
    size: int
    data: bytes

    @property
    def end(self) -> int:
        return self.address + self.size

    def __repr__(self) -> str:
        return f"Section({self.name!r}, {self.address:#x}, {self.size})"


class Elf(NamedTuple):
    """An application: its `entry` address and the sections that take memory, in file order."""

    entry: int
    sections: tuple[Section, ...]

    def find(self, name: str) -> Section | None:
        """The section called `name` if it has bytes to load, else None."""
        for section in self.sections:
            if section.name == name and section.data:
                return section
        return None


class Symbol(NamedTuple):
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
    kind, entry, names_at, headers = _headers(data)
    if kind != _EXECUTABLE:
        raise ElfError("not a linked program but an object file or a library; link it first")
    if not headers:
        raise ElfError("the ELF has no sections; do not strip its section headers")
    names = _names(names_at, headers, data)
    found = [_section(name, section, data) for name, section in zip(names, headers)]
    sections = tuple(section for section in found if section is not None)
    twice = [name for name, count in Counter(section.name for section in sections).items() if count > 1]
    if twice:
        raise ElfError(f"the ELF has more than one section {twice[0]}; merge them in the linker script")
    return Elf(entry, sections)


class _Header(NamedTuple):
    """A section header: sh_name, sh_type and so on."""

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


_HEADER = struct.Struct("<10I")


def _headers(data: bytes) -> tuple[int, int, int, list[_Header]]:
    """The file's type, its entry, the number of the section with the sections' names, and the section headers."""
    if len(data) < _FILE.size:
        raise _damaged("its header")
    try:
        bits, order = _BITS[data[4]], _ORDERS[data[5]]
        machine = int.from_bytes(data[_MACHINE], order)
        if (bits, order, machine) != (32, "little", _XTENSA):
            raise ElfError(
                f"a {bits}-bit {order}-endian ELF for {_MACHINES.get(machine, machine)}, not for the ESP8266 "
                "(32-bit little-endian Xtensa); build it with xtensa-lx106-elf-gcc"
            )
        _, kind, _, _, entry, _, start, *_, step, count, names_at = _FILE.unpack_from(data)
        if count and step != _HEADER.size:
            raise _damaged(f"section headers of {step} bytes")
        places = range(start, start + count * _HEADER.size, _HEADER.size)
        return kind, entry, names_at, [_Header(*_HEADER.unpack_from(data, place)) for place in places]
    except (struct.error, LookupError):
        raise _damaged("its headers") from None


def _damaged(what: object) -> ElfError:
    return ElfError(f"the ELF is damaged or cut off ({what}); link it again")


def _names(index: int, headers: Sequence[_Header], data: bytes) -> list[str]:
    """The sections' names, in the order of their headers; section `index` has them."""
    if index >= len(headers) or headers[index].type != _STRINGS:
        raise _damaged("no section names")
    texts = _content(headers[index], data)
    try:
        found = [texts[at : texts.index(b"\0", at)].decode() for at in (header.name for header in headers)]
    except ValueError:
        raise _damaged("a section's name") from None
    if not all(map(str.isprintable, found)):  # messages have them, and are one line
        raise _damaged("a section's name")
    return found


def symbols(data: bytes) -> tuple[Symbol, ...]:
    """The names of bytes on the chip in the ELF file `data`, in file order; none if it was stripped.

    Left out are symbols without a section (undefined, absolute), those that stand behind the last byte of
    theirs (`_text_end`), and the names of files and sections. Raises ElfError as `parse` does.
    """
    parse(data)
    *_, headers = _headers(data)
    table = next((header for header in headers if header.type == _SYMBOL_TABLE), None)
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
        if not section.flags & _ALLOC or not 0 <= address - section.address < section.size:
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
    in_file = header.type not in (_NO_BITS, _NULL)
    if in_file and start + size > len(data):
        raise ElfError(
            f"section {name} ends {start + size - len(data):,} bytes behind the end of the file, which is cut off; "
            "link it again"
        )
    if not header.flags & _ALLOC or not size:
        return None
    return Section(name, header.address, size, data[start : start + size] if in_file else b"")

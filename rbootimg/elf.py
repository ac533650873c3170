"""An application ELF's bytes -> entry and sections. The only user of pyelftools."""

from __future__ import annotations

import io
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from .errors import ElfError

# sh_flags (System V ABI, section header): takes memory while the program runs; holds instructions.
_SHF_ALLOC, _SHF_EXECINSTR = 0x2, 0x4

# st_name, st_value, st_size, st_info, st_other, st_shndx (System V ABI, symbol table; the type is st_info's low half)
_SYMBOL = "<IIIBBH"
_SYMBOL_KINDS = MappingProxyType({0: "notype", 1: "object", 2: "func"})
_LOCAL = 0  # the binding, st_info's high half
ENTRY_NAME = "call_user_start"
"""The entry function of the SDK (eagle.app.v6.ld), of rBoot and of our own linker script."""


class Section(NamedTuple):
    """A section that takes memory on the chip: `size` bytes at link `address`.

    `data` is empty for one that is only reserved there, like .bss; else it has `size` bytes. `executable`: its flags
    say that it holds instructions.
    """

    name: str
    address: int
    size: int
    data: bytes
    executable: bool = True

    @property
    def end(self) -> int:
        return self.address + self.size

    def __repr__(self) -> str:
        return f"Section({self.name!r}, {self.address:#x}, {self.size})"


class Symbol(NamedTuple):
    """A name for the `size` bytes at link `address`. `kind` is `func`, `object`, or `notype` for a label.

    `size` is 0 where the source states none, as assembly often does. `local`: other objects do not see it, as with C's
    `static`.
    """

    name: str
    address: int
    size: int
    kind: str
    local: bool = False


class Elf(NamedTuple):
    """An application: its `entry` address and the sections that take memory, in file order.

    `entry_symbols` are the symbols that begin or lie around the entry, and those that are called like the SDK's entry
    function; None if the ELF has no symbols, as after `strip`.
    """

    entry: int
    sections: tuple[Section, ...]
    entry_symbols: tuple[Symbol, ...] | None = None

    def find(self, name: str) -> Section | None:
        """The section called `name` if it has bytes to load, else None."""
        for section in self.sections:
            if section.name == name and section.data:
                return section
        return None


def parse(data: bytes) -> Elf:
    """The application in the ELF file `data`.

    Raises ElfError if it is not a whole, linked, 32-bit little-endian Xtensa ELF with sections.
    """
    if not data.startswith(b"\x7fELF"):
        raise ElfError("not an ELF file" if data else "the file is empty")
    header, headers = _headers(data)
    bits, order = header["e_ident"]["EI_CLASS"], header["e_ident"]["EI_DATA"]
    if (bits, order, header["e_machine"]) != ("ELFCLASS32", "ELFDATA2LSB", "EM_XTENSA"):
        raise ElfError(
            f"a {bits[-2:]}-bit {'little' if order == 'ELFDATA2LSB' else 'big'}-endian ELF for "
            f"{str(header['e_machine']).removeprefix('EM_')}, not for the ESP8266 (32-bit little-endian Xtensa); "
            "build it with xtensa-lx106-elf-gcc"
        )
    if header["e_type"] != "ET_EXEC":
        raise ElfError("not a linked program but an object file or a library; link it first")
    if not headers:
        raise ElfError("the ELF has no sections; do not strip its section headers")
    names = _names(header, headers, data)
    found = [_section(name, section, data) for name, section in zip(names, headers)]
    sections = tuple(section for section in found if section is not None)
    twice = [name for name, count in Counter(section.name for section in sections).items() if count > 1]
    if twice:
        raise ElfError(f"the ELF has more than one section {twice[0]}; merge them in the linker script")
    return Elf(header["e_entry"], sections, _entry_symbols(header["e_entry"], headers, data))


def _headers(data: bytes) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """The ELF header and the section headers, as pyelftools names their fields and values."""
    # Not above: a build with nothing to do never gets here. And not all of pyelftools, of which ELFFile
    # loads debug formats that take longer than the rest of a packing.
    from elftools.common.exceptions import ELFError
    from elftools.common.utils import struct_parse
    from elftools.elf.structs import ELFStructs

    try:
        structs = ELFStructs(little_endian=data[5] == 1, elfclass=64 if data[4] == 2 else 32)
        structs.create_basic_structs()
        stream = io.BytesIO(data)
        header = struct_parse(structs.Elf_Ehdr, stream, stream_pos=0)
        ident = header["e_ident"]
        if not str(ident["EI_CLASS"]).startswith("ELFCLASS") or not str(ident["EI_DATA"]).startswith("ELFDATA2"):
            raise ValueError("no known class or byte order")
        structs.create_advanced_structs(header["e_type"], header["e_machine"], ident["EI_OSABI"])
        start, step, count = header["e_shoff"], header["e_shentsize"], header["e_shnum"]
        if count and step != structs.Elf_Shdr.sizeof():
            raise ValueError(f"section headers of {step} bytes")
        places = range(start, start + count * step, step) if count else ()
        return header, [struct_parse(structs.Elf_Shdr, stream, stream_pos=place) for place in places]
    # A damaged file shows in many ways below pyelftools; here they become one.
    except (ELFError, struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ElfError(f"the ELF is damaged or cut off ({error}); link it again") from None


def _names(header: Mapping[str, Any], headers: Sequence[Mapping[str, Any]], data: bytes) -> list[str]:
    """The sections' names, in the order of their headers."""
    index = header["e_shstrndx"]
    if index >= len(headers) or headers[index]["sh_type"] != "SHT_STRTAB":
        raise ElfError("the ELF is damaged or cut off (no section names); link it again")
    texts = _content(headers[index], data)
    try:
        found = [texts[at : texts.index(b"\0", at)].decode() for at in (section["sh_name"] for section in headers)]
    except ValueError:
        raise ElfError("the ELF is damaged or cut off (a section's name); link it again") from None
    if not all(map(str.isprintable, found)):  # messages have them, and are one line
        raise ElfError("the ELF is damaged or cut off (a section's name); link it again")
    return found


def symbols(data: bytes) -> tuple[Symbol, ...]:
    """The names of bytes on the chip in the ELF file `data`, in file order; none if it was stripped.

    Left out are symbols without a section (undefined, absolute), those that stand behind the last byte of
    theirs (`_text_end`), and the names of files and sections. Raises ElfError as `parse` does.
    """
    parse(data)
    return _read_symbols(_headers(data)[1], data, lambda name_at, address, size: True) or ()


def _entry_symbols(entry: int, headers: Sequence[Mapping[str, Any]], data: bytes) -> tuple[Symbol, ...] | None:
    names = _symbol_names(headers, data)
    called = {names.rfind(b"\0", 0, match.start()) + 1 for match in re.finditer(ENTRY_NAME.encode(), names)}

    def is_wanted(name_at: int, address: int, size: int) -> bool:
        return address <= entry < address + (size or 1) or name_at in called

    return _read_symbols(headers, data, is_wanted)


def _symbol_table(headers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return next((header for header in headers if header["sh_type"] == "SHT_SYMTAB" and header["sh_size"]), None)


def _symbol_names(headers: Sequence[Mapping[str, Any]], data: bytes) -> bytes:
    table = _symbol_table(headers)
    return _content(headers[table["sh_link"]], data) if table and table["sh_link"] < len(headers) else b""


def _read_symbols(
    headers: Sequence[Mapping[str, Any]], data: bytes, is_wanted: Callable[[int, int, int], bool]
) -> tuple[Symbol, ...] | None:
    """The symbols that are wanted by their name's offset, address and size; None if there are none at all."""
    table = _symbol_table(headers)
    try:
        return None if table is None else tuple(_symbols(table, headers, data, is_wanted))
    except (struct.error, ValueError, LookupError) as error:
        raise ElfError(f"the ELF is damaged or cut off ({error}); link it again") from None


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


def _symbols(
    table: Mapping[str, Any],
    headers: Sequence[Mapping[str, Any]],
    data: bytes,
    is_wanted: Callable[[int, int, int], bool],
) -> Iterator[Symbol]:
    names = _content(headers[table["sh_link"]], data)
    # Names may share bytes, so a small file could name gigabytes. An entry has 16 bytes: this is 256 for each.
    letters_left = 16 * len(data)
    for name_at, address, size, info, _, index in struct.iter_unpack(_SYMBOL, _content(table, data)):
        kind = _SYMBOL_KINDS.get(info & 0xF)
        if kind is None or not is_wanted(name_at, address, size) or not 0 < index < len(headers):
            continue
        section = headers[index]
        if not section["sh_flags"] & _SHF_ALLOC or not 0 <= address - section["sh_addr"] < section["sh_size"]:
            continue
        name = names[name_at : names.index(b"\0", name_at)]
        letters_left -= len(name)
        if letters_left < 0:
            raise ElfError("the ELF is damaged (its symbols' names overlap); link it again")
        if name:
            yield Symbol(name.decode(errors="replace"), address, size, kind, info >> 4 == _LOCAL)


def _content(header: Mapping[str, Any], data: bytes) -> bytes:
    return data[header["sh_offset"] : header["sh_offset"] + header["sh_size"]]


def _section(name: str, header: Mapping[str, Any], data: bytes) -> Section | None:
    """The section, or None if it takes no memory on the chip; its bytes must be there all the same."""
    start, size = header["sh_offset"], header["sh_size"]
    in_file = header["sh_type"] not in ("SHT_NOBITS", "SHT_NULL")
    if in_file and start + size > len(data):
        raise ElfError(
            f"section {name} ends {start + size - len(data):,} bytes behind the end of the file, which is cut off; "
            "link it again"
        )
    if not header["sh_flags"] & _SHF_ALLOC or not size:
        return None
    executable = bool(header["sh_flags"] & _SHF_EXECINSTR)
    return Section(name, header["sh_addr"], size, data[start : start + size] if in_file else b"", executable)

"""An application ELF's bytes -> entry and sections. The only user of pyelftools, for the file's header.

Section headers and symbols are read with `struct`, which takes a hundredth of the time: a linked program can have more
than 65,280 sections (System V ABI, extended section numbering).
"""

from __future__ import annotations

import io
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import ElfError

# System V ABI, section header: sh_type and sh_flags (takes memory while the program runs; holds instructions).
_SHT_NULL, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS, _SHT_SYMTAB_SHNDX = 0, 2, 3, 8, 18
_SHF_ALLOC, _SHF_EXECINSTR = 0x2, 0x4
# From the first on a section's number says something else where it has 16 bits; the second: it stands elsewhere.
_SHN_LORESERVE, _SHN_XINDEX = 0xFF00, 0xFFFF

# st_name, st_value, st_size, st_info, st_other, st_shndx (System V ABI, symbol table; the type is st_info's low half)
_SYMBOL = "<IIIBBH"
_SYMBOL_KINDS = MappingProxyType({0: "notype", 1: "object", 2: "func"})
_LOCAL = 0  # the binding, st_info's high half

# sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link; sh_info, sh_addralign and sh_entsize are not used.
_SECTION_HEADER = struct.Struct("<7I12x")
_LONGEST_NAME = 500  # letters of a section's name
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


class _Header(NamedTuple):
    """A section header; `link` is the number of the section that goes with it."""

    name_at: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


def parse_elf(data: bytes) -> Elf:
    """The application in the ELF file `data`.

    Raises ElfError if it is not a whole, linked, 32-bit little-endian Xtensa ELF with sections.
    """
    entry, headers, names_index = _headers(data)
    names = _section_names(names_index, headers, data)
    _check_places(names, headers, data)
    found = [_section(name, section, data) for name, section in zip(names, headers)]
    sections = tuple(section for section in found if section is not None)
    twice = [name for name, count in Counter(section.name for section in sections).items() if count > 1]
    if twice:
        raise ElfError(f"the ELF has more than one section {twice[0]}; merge them in the linker script")
    return Elf(entry, sections, _entry_symbols(entry, headers, data))


def _headers(data: bytes) -> tuple[int, list[_Header], int]:
    """The entry, the section headers, and the number of the section that has their names."""
    header = _file_header(data)
    bits, order = header["e_ident"]["EI_CLASS"], header["e_ident"]["EI_DATA"]
    if (bits, order, header["e_machine"]) != ("ELFCLASS32", "ELFDATA2LSB", "EM_XTENSA"):
        raise ElfError(
            f"a {bits[-2:]}-bit {'little' if order == 'ELFDATA2LSB' else 'big'}-endian ELF for "
            f"{str(header['e_machine']).removeprefix('EM_')}, not for the ESP8266 (32-bit little-endian Xtensa); "
            "build it with xtensa-lx106-elf-gcc"
        )
    if header["e_type"] != "ET_EXEC":
        raise ElfError("not a linked program but an object file or a library; link it first")
    start, step, count, names_index = (header[name] for name in ("e_shoff", "e_shentsize", "e_shnum", "e_shstrndx"))
    if not start:
        raise _no_sections()
    if step != _SECTION_HEADER.size:
        raise _damaged(f"section headers of {step} bytes")
    first = _Header._make(_SECTION_HEADER.unpack_from(data, _inside(data, start, step)))
    # What does not fit the 16 bits of these fields stands in section header 0.
    count = count or first.size
    names_index = first.link if names_index == _SHN_XINDEX else names_index
    if not count:
        raise _no_sections()
    table = memoryview(data)[_inside(data, start, count * step) : start + count * step]
    return header["e_entry"], [*map(_Header._make, _SECTION_HEADER.iter_unpack(table))], names_index


def _inside(data: bytes, start: int, size: int) -> int:
    """`start`, if all of the section headers from there on are in the file. Raises ElfError."""
    if start + size > len(data):
        raise _damaged(f"section headers end {start + size - len(data):,} bytes behind the end of the file")
    return start


def _no_sections() -> ElfError:
    return ElfError("the ELF has no sections; do not strip its section headers")


def _damaged(how: object) -> ElfError:
    return ElfError(f"the ELF is damaged or cut off ({how}); link it again")


def _file_header(data: bytes) -> Mapping[str, Any]:
    """The ELF header, as pyelftools names its fields and values."""
    if not data.startswith(b"\x7fELF"):
        raise ElfError("not an ELF file" if data else "the file is empty")
    # Not above: a build with nothing to do never gets here. And not all of pyelftools, of which ELFFile
    # loads debug formats that take longer than the rest of a packing.
    from elftools.common.exceptions import ELFError
    from elftools.common.utils import struct_parse
    from elftools.elf.structs import ELFStructs

    try:
        structs = ELFStructs(little_endian=data[5] == 1, elfclass=64 if data[4] == 2 else 32)
        structs.create_basic_structs()
        header: Mapping[str, Any] = struct_parse(structs.Elf_Ehdr, io.BytesIO(data), stream_pos=0)
        ident = header["e_ident"]
        if not str(ident["EI_CLASS"]).startswith("ELFCLASS") or not str(ident["EI_DATA"]).startswith("ELFDATA2"):
            raise ValueError("no known class or byte order")
    # A damaged file shows in many ways below pyelftools; here they become one.
    except (ELFError, struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise _damaged(error) from None
    return header


class _Names:
    """The names in a string table. They may share bytes, so that a small file could name gigabytes: that is refused."""

    def __init__(self, table: _Header, data: bytes, whose: str) -> None:
        self._texts = _content(table, data)
        # Linkers do share the ends of names; all of a good ELF's together are about as long as its string tables.
        self._left = 4 * len(data)
        self._whose = whose

    def at(self, offset: int) -> bytes:
        """The name at `offset`. Raises ElfError."""
        end = self._texts.find(b"\0", offset)
        if end < 0:
            raise _damaged(f"a {self._whose}'s name")
        self._left -= end - offset
        if self._left < 0:
            raise _damaged(f"its {self._whose}s' names overlap")
        return self._texts[offset:end]

    def with_text(self, text: bytes) -> Callable[[int], bool]:
        """A function that says of an offset in the table whether the name there has `text` in it. Takes linear time."""
        first: list[int] = []
        last: list[int] = []
        end = 0
        while (found := self._texts.find(text, end)) >= 0:
            # A name that begins behind the last `text` before its end has none.
            begin, end = self._texts.rfind(b"\0", end, found) + 1 or end, self._texts.find(b"\0", found)
            end = len(self._texts) if end < 0 else end
            first.append(begin)
            last.append(self._texts.rfind(text, found, end))

        def has_text(offset: int) -> bool:
            number = bisect_right(first, offset) - 1
            return number >= 0 and offset <= last[number]

        return has_text


def _section_names(index: int, headers: Sequence[_Header], data: bytes) -> list[str]:
    """The sections' names, in the order of their headers."""
    if index >= len(headers) or headers[index].type != _SHT_STRTAB:
        raise _damaged("no section names")
    names = _Names(headers[index], data, "section")
    try:
        found = [names.at(section.name_at).decode() for section in headers]
    except ValueError:
        raise _damaged("a section's name") from None
    # Messages have them, and are one line; tables have one in each row.
    if not all(name.isprintable() and len(name) <= _LONGEST_NAME for name in found):
        raise _damaged("a section's name")
    return found


def elf_symbols(data: bytes) -> tuple[Symbol, ...]:
    """The names of bytes on the chip in the ELF file `data`, in file order; none if it was stripped.

    Left out are symbols without a section (undefined, absolute), those that stand behind the last byte of
    theirs (`_text_end`), and the names of files and sections. Raises ElfError as `parse` does.
    """
    parse_elf(data)
    return _read_symbols(_headers(data)[1], data, lambda name_at, address, size: True) or ()


def _entry_symbols(entry: int, headers: Sequence[_Header], data: bytes) -> tuple[Symbol, ...] | None:
    table = _symbol_table(headers)
    if table is None:
        return None
    is_called = _symbol_names(table, headers, data).with_text(ENTRY_NAME.encode())

    def is_wanted(name_at: int, address: int, size: int) -> bool:
        return address <= entry < address + (size or 1) or is_called(name_at)

    return _read_symbols(headers, data, is_wanted)


def _symbol_table(headers: Sequence[_Header]) -> _Header | None:
    return next((header for header in headers if header.type == _SHT_SYMTAB and header.size), None)


def _symbol_names(table: _Header, headers: Sequence[_Header], data: bytes) -> _Names:
    if table.link >= len(headers):
        raise _damaged("no symbol names")
    return _Names(headers[table.link], data, "symbol")


def _read_symbols(
    headers: Sequence[_Header], data: bytes, is_wanted: Callable[[int, int, int], bool]
) -> tuple[Symbol, ...] | None:
    """The symbols that are wanted by their name's offset, address and size; None if there are none at all."""
    table = _symbol_table(headers)
    try:
        return None if table is None else tuple(_symbols(table, headers, data, is_wanted))
    except struct.error as error:
        raise _damaged(error) from None


def describe_address(symbols: Sequence[Symbol], address: int) -> str | None:
    """The name of what is at `address`: `user_init+0x8`; None if no symbol covers it.

    A label without a size covers what is up to the next symbol.
    """

    def covering(where: int) -> list[Symbol]:
        return [symbol for symbol in symbols if symbol.address <= where < symbol.address + symbol.size]

    found = covering(address)
    if not found:
        labels = [symbol for symbol in symbols if symbol.address <= address]
        nearest = max((symbol.address for symbol in labels), default=0)
        # A label within a function is not the start of something after it.
        found = [] if covering(nearest) else [symbol for symbol in labels if symbol.address == nearest]
    if not found:
        return None
    innermost = max(found, key=lambda symbol: symbol.address)
    distance = address - innermost.address
    return f"{innermost.name}+{distance:#x}" if distance else innermost.name


def _symbols(
    table: _Header,
    headers: Sequence[_Header],
    data: bytes,
    is_wanted: Callable[[int, int, int], bool],
) -> Iterator[Symbol]:
    names = _symbol_names(table, headers, data)
    more_indexes = _more_indexes(table, headers, data)
    for number, entry in enumerate(struct.iter_unpack(_SYMBOL, _content(table, data))):
        name_at, address, size, info, _, index = entry
        kind = _SYMBOL_KINDS.get(info & 0xF)
        if kind is None or not is_wanted(name_at, address, size):
            continue
        if index == _SHN_XINDEX:
            if len(more_indexes) < 4 * (number + 1):
                raise _damaged("the number of a symbol's section is missing")
            index = struct.unpack_from("<I", more_indexes, 4 * number)[0]
        elif index >= _SHN_LORESERVE:
            continue
        if not 0 < index < len(headers):
            continue
        section = headers[index]
        if not section.flags & _SHF_ALLOC or not 0 <= address - section.address < section.size:
            continue
        if name := names.at(name_at):
            yield Symbol(name.decode(errors="replace"), address, size, kind, info >> 4 == _LOCAL)


def _more_indexes(table: _Header, headers: Sequence[_Header], data: bytes) -> bytes:
    """For each symbol of `table` 4 bytes, the number of its section where st_shndx does not hold it, if there are any.

    System V ABI: SHT_SYMTAB_SHNDX.
    """
    for header in headers:
        if header.type == _SHT_SYMTAB_SHNDX and header.link < len(headers) and headers[header.link] is table:
            return _content(header, data)
    return b""


def _content(header: _Header, data: bytes) -> bytes:
    return data[header.offset : header.offset + header.size]


def _check_places(names: Sequence[str], headers: Sequence[_Header], data: bytes) -> None:
    """Raise ElfError if a section is not all in the file, or if those for the chip have more bytes than the file."""
    loaded = 0
    for name, header in zip(names, headers):
        if not _is_in_file(header):
            continue
        missing = header.offset + header.size - len(data)
        if missing > 0:
            raise ElfError(
                f"section {name} ends {missing:,} bytes behind the end of the file, which is cut off; link it again"
            )
        loaded += header.size if header.flags & _SHF_ALLOC else 0
    if loaded > len(data):  # a small file could have gigabytes of sections
        raise _damaged("its sections overlap in the file")


def _is_in_file(header: _Header) -> bool:
    return header.type not in (_SHT_NOBITS, _SHT_NULL)


def _section(name: str, header: _Header, data: bytes) -> Section | None:
    """The section, or None if it takes no memory on the chip."""
    if not header.flags & _SHF_ALLOC or not header.size:
        return None
    executable = bool(header.flags & _SHF_EXECINSTR)
    content = _content(header, data) if _is_in_file(header) else b""
    return Section(name, header.address, header.size, content, executable)

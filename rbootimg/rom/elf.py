"""Parse an application ELF: entry point, sections, symbols.

pyelftools parses the file header. Section headers and symbols are read with `struct`, a hundred times faster: a linked
program can have more than 65,280 sections (System V ABI, extended section numbering).
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
from ..text import counted

# System V ABI, section header: sh_type and sh_flags (takes memory while the program runs; holds instructions).
_SHT_NULL, _SHT_SYMTAB, _SHT_STRTAB, _SHT_NOBITS, _SHT_SYMTAB_SHNDX = 0, 2, 3, 8, 18
_SHF_ALLOC, _SHF_EXECINSTR = 0x2, 0x4
# In 16-bit section numbers: the first reserved value, and the value for a number that is stored elsewhere.
_SHN_LORESERVE, _SHN_XINDEX = 0xFF00, 0xFFFF

# st_name, st_value, st_size, st_info, st_other, st_shndx (System V ABI, symbol table; the type is st_info's low half)
_SYMBOL = "<IIIBBH"
_SYMBOL_KINDS = MappingProxyType({0: "notype", 1: "object", 2: "func"})
_LOCAL = 0  # the binding, st_info's high half

# sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size, sh_link; sh_info, sh_addralign and sh_entsize are not used.
_SECTION_HEADER = struct.Struct("<7I12x")
_MAX_NAME = 500  # characters of a section's name
ENTRY_NAME = "call_user_start"
"""The entry function of the SDK (eagle.app.v6.ld), of rBoot and of baremetal.ld."""


class Section(NamedTuple):
    """A section that uses memory on the chip: `size` bytes at link `address`.

    `data` has `size` bytes, or none for reserved memory such as .bss. `executable` is the flag for instructions.
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
    """A name of `size` bytes at link `address`. `kind` is `func`, `object`, or `notype` for a label.

    `size` is 0 if the source does not state it, as often in assembly. `local` symbols are those with C's `static`.
    """

    name: str
    address: int
    size: int
    kind: str
    local: bool = False


class Elf(NamedTuple):
    """An application: its `entry` address and the sections that use memory, in file order.

    `entry_symbols` are the symbols at or around the entry point, and those whose name contains that of the SDK's entry
    function; None if the ELF was stripped of its symbols.
    """

    entry: int
    sections: tuple[Section, ...]
    entry_symbols: tuple[Symbol, ...] | None = None

    def find(self, name: str) -> Section | None:
        """Return the section called `name`; None if there is none with data."""
        for section in self.sections:
            if section.name == name and section.data:
                return section
        return None


class _Header(NamedTuple):
    """A section header; `link` is the number of the associated section."""

    name_at: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


def parse_elf(data: bytes) -> Elf:
    """Parse the ELF file `data`.

    Raises ElfError unless it is a complete, linked, 32-bit little-endian Xtensa ELF with sections.
    """
    entry, headers, names_index = _headers(data)
    names = _section_names(names_index, headers, data)
    _check_contents(names, headers, data)
    found = [_section(name, section, data) for name, section in zip(names, headers)]
    sections = tuple(section for section in found if section is not None)
    duplicates = [name for name, count in Counter(section.name for section in sections).items() if count > 1]
    if duplicates:
        raise ElfError(f"two sections are called {duplicates[0]}; merge them in the linker script")
    return Elf(entry, sections, _entry_symbols(entry, headers, data))


def _headers(data: bytes) -> tuple[int, list[_Header], int]:
    """Return the entry point, the section headers, and the number of the section with their names."""
    header = _file_header(data)
    bits, order = header["e_ident"]["EI_CLASS"], header["e_ident"]["EI_DATA"]
    if (bits, order, header["e_machine"]) != ("ELFCLASS32", "ELFDATA2LSB", "EM_XTENSA"):
        raise ElfError(
            f"not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got {bits[-2:]}-bit "
            f"{'little' if order == 'ELFDATA2LSB' else 'big'}-endian {str(header['e_machine']).removeprefix('EM_')}"
        )
    if header["e_type"] != "ET_EXEC":
        raise ElfError("not an executable (ET_EXEC); link it first")
    start, step, count, names_index = (header[name] for name in ("e_shoff", "e_shentsize", "e_shnum", "e_shstrndx"))
    if not start:
        raise _no_sections()
    if step != _SECTION_HEADER.size:
        raise _corrupt(f"section headers of {step} bytes")
    first = _Header._make(_SECTION_HEADER.unpack_from(data, _inside(data, start, step)))
    # Values that do not fit 16 bits are in section header 0.
    count = count or first.size
    names_index = first.link if names_index == _SHN_XINDEX else names_index
    if not count:
        raise _no_sections()
    table = memoryview(data)[_inside(data, start, count * step) : start + count * step]
    return header["e_entry"], [*map(_Header._make, _SECTION_HEADER.iter_unpack(table))], names_index


def _inside(data: bytes, start: int, size: int) -> int:
    """Return `start` if the section headers there are all in the file. Raises ElfError if not."""
    if start + size > len(data):
        raise _corrupt(f"section headers extend {counted(start + size - len(data), 'byte')} past the end of the file")
    return start


def _no_sections() -> ElfError:
    return ElfError("no section headers; do not strip them")


def _corrupt(reason: object) -> ElfError:
    return ElfError(f"corrupt or truncated ELF ({reason})")


def _file_header(data: bytes) -> Mapping[str, Any]:
    """Parse the ELF header, with pyelftools' names of fields and values."""
    if not data.startswith(b"\x7fELF"):
        raise ElfError("not an ELF file" if data else "empty file")
    # Imported here because a build with nothing to do needs no ELF; not ELFFile, which loads debug formats for longer
    # than packing takes.
    from elftools.common.exceptions import ELFError
    from elftools.common.utils import struct_parse
    from elftools.elf.structs import ELFStructs

    try:
        structs = ELFStructs(little_endian=data[5] == 1, elfclass=64 if data[4] == 2 else 32)
        structs.create_basic_structs()
        header: Mapping[str, Any] = struct_parse(structs.Elf_Ehdr, io.BytesIO(data), stream_pos=0)
        ident = header["e_ident"]
        if not str(ident["EI_CLASS"]).startswith("ELFCLASS") or not str(ident["EI_DATA"]).startswith("ELFDATA2"):
            raise ValueError("unknown class or byte order")
    # pyelftools raises many exceptions for a corrupt file.
    except (ELFError, struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise _corrupt(error) from None
    return header


class _Names:
    """The names in a string table. Names may share bytes, so their total size is limited."""

    def __init__(self, table: _Header, data: bytes, owner: str) -> None:
        self._texts = _content(table, data)
        # Linkers share the ends of names; in a valid ELF all names together are about as long as the string tables.
        self._left = 4 * len(data)
        self._owner = owner

    def read(self, offset: int) -> bytes:
        """Return the name at `offset`. Raises ElfError if it does not end, or if the names are too long in total."""
        end = self._texts.find(b"\0", offset)
        if end < 0:
            raise _corrupt(f"a {self._owner}'s name")
        self._left -= end - offset
        if self._left < 0:
            raise _corrupt(f"{self._owner} names overlap")
        return self._texts[offset:end]

    def matcher(self, text: bytes) -> Callable[[int], bool]:
        """Return a function that tells whether the name at an offset contains `text`, in linear time."""
        first: list[int] = []
        last: list[int] = []
        end = 0
        while (found := self._texts.find(text, end)) >= 0:
            # A name that begins after the last `text` before its end does not contain it.
            begin, end = self._texts.rfind(b"\0", end, found) + 1 or end, self._texts.find(b"\0", found)
            end = len(self._texts) if end < 0 else end
            first.append(begin)
            last.append(self._texts.rfind(text, found, end))

        def contains(offset: int) -> bool:
            number = bisect_right(first, offset) - 1
            return number >= 0 and offset <= last[number]

        return contains


def _section_names(index: int, headers: Sequence[_Header], data: bytes) -> list[str]:
    """Read the names of the sections, in the order of `headers`."""
    if index >= len(headers) or headers[index].type != _SHT_STRTAB:
        raise _corrupt("no section names")
    names = _Names(headers[index], data, "section")
    try:
        found = [names.read(section.name_at).decode() for section in headers]
    except ValueError:
        raise _corrupt("a section's name") from None
    # Names appear in messages of one line and in tables.
    if not all(name.isprintable() and len(name) <= _MAX_NAME for name in found):
        raise _corrupt("a section's name")
    return found


def elf_symbols(data: bytes) -> tuple[Symbol, ...]:
    """Read the symbols of the ELF file `data`, in file order; none if it was stripped.

    Omits symbols without a section (undefined, absolute), those after the last byte of their section (`_text_end`), and
    the names of files and sections. Raises ElfError as parse_elf() does.
    """
    parse_elf(data)
    return _read_symbols(_headers(data)[1], data, lambda name_at, address, size: True) or ()


def _entry_symbols(entry: int, headers: Sequence[_Header], data: bytes) -> tuple[Symbol, ...] | None:
    table = _symbol_table(headers)
    if table is None:
        return None
    has_entry_name = _symbol_names(table, headers, data).matcher(ENTRY_NAME.encode())

    def is_selected(name_at: int, address: int, size: int) -> bool:
        return address <= entry < address + (size or 1) or has_entry_name(name_at)

    return _read_symbols(headers, data, is_selected)


def _symbol_table(headers: Sequence[_Header]) -> _Header | None:
    return next((header for header in headers if header.type == _SHT_SYMTAB and header.size), None)


def _symbol_names(table: _Header, headers: Sequence[_Header], data: bytes) -> _Names:
    if table.link >= len(headers):
        raise _corrupt("no symbol names")
    return _Names(headers[table.link], data, "symbol")


def _read_symbols(
    headers: Sequence[_Header], data: bytes, is_selected: Callable[[int, int, int], bool]
) -> tuple[Symbol, ...] | None:
    """Read the symbols selected by name offset, address and size; None without a symbol table."""
    table = _symbol_table(headers)
    try:
        return None if table is None else tuple(_symbols(table, headers, data, is_selected))
    except struct.error as error:
        raise _corrupt(error) from None


def describe_address(symbols: Sequence[Symbol], address: int) -> str | None:
    """Return the symbol at `address` with an offset: `user_init+0x8`; None if no symbol covers it.

    A label without a size extends to the next symbol.
    """

    def covering(position: int) -> list[Symbol]:
        return [symbol for symbol in symbols if symbol.address <= position < symbol.address + symbol.size]

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
    is_selected: Callable[[int, int, int], bool],
) -> Iterator[Symbol]:
    names = _symbol_names(table, headers, data)
    large_indexes = _large_indexes(table, headers, data)
    for number, entry in enumerate(struct.iter_unpack(_SYMBOL, _content(table, data))):
        name_at, address, size, info, _, index = entry
        kind = _SYMBOL_KINDS.get(info & 0xF)
        if kind is None or not is_selected(name_at, address, size):
            continue
        if index == _SHN_XINDEX:
            if len(large_indexes) < 4 * (number + 1):
                raise _corrupt("missing section number of a symbol")
            index = struct.unpack_from("<I", large_indexes, 4 * number)[0]
        elif index >= _SHN_LORESERVE:
            continue
        if not 0 < index < len(headers):
            continue
        section = headers[index]
        if not section.flags & _SHF_ALLOC or not 0 <= address - section.address < section.size:
            continue
        if name := names.read(name_at):
            yield Symbol(name.decode(errors="replace"), address, size, kind, info >> 4 == _LOCAL)


def _large_indexes(table: _Header, headers: Sequence[_Header], data: bytes) -> bytes:
    """Return 4 bytes for each symbol of `table`: its section number if that does not fit st_shndx.

    Source: System V ABI, SHT_SYMTAB_SHNDX.
    """
    for header in headers:
        if header.type == _SHT_SYMTAB_SHNDX and header.link < len(headers) and headers[header.link] is table:
            return _content(header, data)
    return b""


def _content(header: _Header, data: bytes) -> bytes:
    return data[header.offset : header.offset + header.size]


def _check_contents(names: Sequence[str], headers: Sequence[_Header], data: bytes) -> None:
    """Raise ElfError if a section ends after the file, or if the sections to load are larger than the file."""
    loaded = 0
    for name, header in zip(names, headers):
        if not _is_in_file(header):
            continue
        missing = header.offset + header.size - len(data)
        if missing > 0:
            raise ElfError(f"truncated ELF: section {name} extends {counted(missing, 'byte')} past the end of the file")
        loaded += header.size if header.flags & _SHF_ALLOC else 0
    if loaded > len(data):  # a small file could have gigabytes of overlapping sections
        raise _corrupt("sections overlap in the file")


def _is_in_file(header: _Header) -> bool:
    return header.type not in (_SHT_NOBITS, _SHT_NULL)


def _section(name: str, header: _Header, data: bytes) -> Section | None:
    """Return the section, or None if it uses no memory on the chip."""
    if not header.flags & _SHF_ALLOC or not header.size:
        return None
    executable = bool(header.flags & _SHF_EXECINSTR)
    content = _content(header, data) if _is_in_file(header) else b""
    return Section(name, header.address, header.size, content, executable)

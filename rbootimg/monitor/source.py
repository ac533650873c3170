"""Find the source line of an address: with addr2line of the toolchain, else in DWARF with pyelftools, which is slower.

Function names come from the symbols if there is no debug information.
"""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import error_subject
from ..fileio import read_file
from ..rom.demangle import demangle
from ..rom.elf import Symbol, describe_address, elf_symbols, parse_elf
from ..rom.limited import run_limited

ADDR2LINE = "xtensa-lx106-elf-addr2line"
"""The program of the toolchain. That of the host's binutils may not know Xtensa."""

_SECONDS = 20.0  # a few hundred addresses in an ELF of 5 MB take 0.2
_MEMORY = 1 << 30
_MAX_OUTPUT = 1 << 22
_LINE = re.compile(r"(?P<file>.+):(?P<line>[0-9]+|\?)(?: \(discriminator [0-9]+\))?")
_CALL0_OPCODE, _CALL0_MASK = 0x05, 0x3F


class Location(NamedTuple):
    """A place in the source. None is for what is unknown."""

    function: str | None
    file: str | None = None
    line: int | None = None


class Program:
    """The code of an ELF, to look up addresses. Nothing but the file is read before the first address."""

    def __init__(self, path: Path, addr2line: str | None = None) -> None:
        """Read the ELF; `addr2line` is the program to use (default: ADDR2LINE on PATH).

        Raises ElfError or OSError.
        """
        self.path = path
        self.data = read_file(path)
        with error_subject(path):
            self.elf = parse_elf(self.data)
        self._addr2line = shutil.which(addr2line or ADDR2LINE)
        self._known: dict[int, tuple[Location, ...]] = {}

    def has_code(self, address: int) -> bool:
        """Whether there is an instruction or a constant of a section with code at `address`."""
        return self._code(address) is not None

    def is_return_address(self, address: int) -> bool:
        """Whether the instruction before `address` is a call.

        Source: Xtensa ISA, CALL0 and CALLX0, the only calls of the call0 ABI; both have 3 bytes.
        """
        found = self._code(address - 3)
        if found is None or len(found) < 3:
            return False
        return found[0] & _CALL0_MASK == _CALL0_OPCODE or (
            found[0] == 0xC0 and not found[1] & 0xF0 and not found[2]  # callx0
        )

    def _code(self, address: int) -> bytes | None:
        for section in self.elf.sections:
            if section.executable and section.address <= address < section.address + len(section.data):
                at = address - section.address
                return section.data[at : at + 3]
        return None

    @functools.cached_property
    def has_lines(self) -> bool:
        """Whether the ELF has debug information for source lines."""
        return b".debug_line\0" in self.data

    @property
    def missing(self) -> str | None:
        """What is missing to find source lines and inlined functions, None if nothing is."""
        if not self.has_lines:
            return "source lines are unknown: the ELF was built without -g in CCFLAGS (the ROM is the same with it)"
        return None if self._addr2line else f"inlined functions are not listed: {ADDR2LINE} is not on PATH"

    def find(self, addresses: Iterable[int]) -> dict[int, tuple[Location, ...]]:
        """Return the place of each address, followed by those that it is inlined into, the innermost first.

        An address without a known function is mapped to an empty tuple. Raises ElfError for corrupt symbols.
        """
        addresses = [*dict.fromkeys(addresses)]
        if new := [address for address in addresses if address not in self._known]:
            self._known.update(self._demangled(self._find(new)))
        return {address: self._known[address] for address in addresses}

    def _find(self, addresses: Sequence[int]) -> dict[int, tuple[Location, ...]]:
        found: dict[int, tuple[Location, ...]] = {}
        if self.has_lines:
            found = self._ask(addresses) if self._addr2line else self._in_dwarf(addresses)
        return {address: found.get(address) or self._by_symbol(address) for address in addresses}

    def _by_symbol(self, address: int) -> tuple[Location, ...]:
        name = describe_address(self._symbols, address)
        return (Location(name),) if name else ()

    @functools.cached_property
    def _symbols(self) -> tuple[Symbol, ...]:
        with error_subject(self.path):
            return tuple(symbol for symbol in elf_symbols(self.data) if symbol.kind != "object")

    def _ask(self, addresses: Sequence[int]) -> dict[int, tuple[Location, ...]]:
        """Ask addr2line. For each address it prints the address, then two lines for each place."""
        assert self._addr2line
        lines = "".join(f"{address:#x}\n" for address in addresses).encode()
        command = [self._addr2line, "-a", "-f", "-i", "-e", os.path.abspath(self.path)]
        output = run_limited(command, lines, seconds=_SECONDS, max_output=_MAX_OUTPUT, memory=_MEMORY)
        found: dict[int, list[Location]] = {}
        places: list[Location] = []
        words = iter(output.decode(errors="replace").splitlines())
        for word in words:
            if re.fullmatch("0x[0-9a-f]{8,16}", word):
                places = found.setdefault(int(word, 16), [])
                continue
            match = _LINE.fullmatch(next(words, ""))
            if match is None or match["file"] == "??":
                continue
            line = int(match["line"]) if match["line"].isdecimal() else 0
            places.append(Location(word if word != "??" else None, match["file"], line or None))
        return {address: tuple(each) for address, each in found.items() if each}

    def _in_dwarf(self, addresses: Sequence[int]) -> dict[int, tuple[Location, ...]]:
        found: dict[int, tuple[Location, ...]] = {}
        for address in addresses:
            if place := self._lines.place(address):
                name = describe_address(self._symbols, address)
                found[address] = (Location(name and name.partition("+")[0], *place),)
        return found

    @functools.cached_property
    def _lines(self) -> _Lines:
        return _Lines(_rows(self.data))

    def _demangled(self, found: Mapping[int, tuple[Location, ...]]) -> dict[int, tuple[Location, ...]]:
        names = demangle(place.function for places in found.values() for place in places if place.function)
        return {
            address: tuple(place._replace(function=names.get(place.function or "", place.function)) for place in places)
            for address, places in found.items()
        }


class _Lines:
    """The line table of a program: ranges of addresses, each with a file and a line."""

    def __init__(self, rows: Iterable[tuple[int, int, str, int]]) -> None:
        self._rows = sorted(rows)
        self._starts = [row[0] for row in self._rows]

    def place(self, address: int) -> tuple[str, int] | None:
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return None
        _, end, file, line = self._rows[at]
        return (file, line) if address < end else None


def _rows(data: bytes) -> Iterator[tuple[int, int, str, int]]:
    """Read the line table with pyelftools: start, end, file and line of each range. Stops where it is corrupt."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info(relocate_dwarf_sections=False)
        read: set[int] = set()  # units may share a table, in a crafted file thousands of them
        for unit in dwarf.iter_CUs():
            top = unit.get_top_DIE()
            offset = top.attributes.get("DW_AT_stmt_list")
            if offset is None or offset.value in read:
                continue
            read.add(offset.value)
            directory = top.attributes.get("DW_AT_comp_dir")
            program = dwarf.line_program_for_CU(unit)
            if program is None:
                continue
            names = _FileNames(program.header, directory.value.decode(errors="replace") if directory else "")
            before = None
            for entry in program.get_entries():
                state = entry.state
                if state is None:
                    continue
                if before is not None and before.address < state.address:
                    yield before.address, state.address, names.of(before.file), before.line
                before = None if state.end_sequence else state
    # pyelftools raises many exceptions for corrupt debug information.
    except (ELFError, struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError, AssertionError):
        return


class _FileNames:
    """The names of the files in a line table. Before DWARF 5 files count from 1 and directory 0 is the compiler's."""

    def __init__(self, header: Mapping[str, object], directory: str) -> None:
        self._header = header
        self._directory = directory

    def of(self, number: int) -> str:
        header: Mapping[str, object] = self._header
        is_old = int(header["version"]) < 5  # type: ignore[call-overload]
        entry = header["file_entry"][number - is_old]  # type: ignore[index]
        directories: Sequence[bytes] = header["include_directory"]  # type: ignore[assignment]
        at = entry.dir_index - is_old
        parent = directories[at].decode(errors="replace") if at >= 0 else ""
        return os.path.normpath(os.path.join(self._directory, parent, entry.name.decode(errors="replace")))


def describe(place: Location, directory: str | None = None) -> str:
    """Return `record at main.c:18`; a file below `directory` (default: the current one) is relative to it."""
    name = place.function or "unknown function"
    if place.file is None:
        return name
    base = os.path.abspath(directory or os.curdir)
    file = place.file
    if file.startswith(f"{base}/"):
        file = os.path.relpath(file, base)
    return f"{name} at {file}" + (f":{place.line}" if place.line else "")

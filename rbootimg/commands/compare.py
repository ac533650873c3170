"""`rbootimg compare`: check that two ROMs are one application."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ElfError, RbootError, error_subject
from ..fileio import read_file
from ..rom import elf
from ..rom.compare import RomDifference, compare_roms
from ..rom.demangle import demangle
from ..rom.format import RamSection, Rom
from ..rom.linkaddress import find_link_address
from ..rom.pack import irom
from ..views.messages import print_result
from ..views.rom import MAX_DIFFERENCES, comparison_text

DESCRIPTION = (
    "Check that two ROMs are one application linked for two slots: only relocated words may differ. "
    "The exit status is 1 if there are other differences."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="ROM0.BIN", help="the first ROM")
    parser.add_argument("other", type=Path, metavar="ROM1.BIN", help="the second ROM")
    parser.add_argument(
        "--elf0", type=Path, metavar="APP.ELF", help="name the symbols at differences, from the ELF of ROM0.BIN"
    )
    parser.add_argument("--elf1", type=Path, metavar="APP.ELF", help="the same for ROM1.BIN")


def run(options: argparse.Namespace) -> None:
    """Print the differences. Raises RbootError if the ROMs are not one application."""
    first = _read(options.file, options.elf0)
    second = _read(options.other, options.elf1)
    links = None if first.link is None or second.link is None else (first.link, second.link)
    comparison = compare_roms(first.rom, second.rom, links)

    text = comparison_text(comparison, _names((first, second), comparison.differences[:MAX_DIFFERENCES]))
    if comparison.same_app:
        print_result([text])
    else:
        print(text)
        raise RbootError(f"not the same application as {options.other}")


@dataclass(frozen=True)
class _Side:
    """One of the two ROMs; `link` is its link address, None if unknown."""

    rom: Rom
    link: int | None
    symbols: tuple[elf.Symbol, ...] = ()

    def name(self, difference: RomDifference) -> str | None:
        """Return the symbol at a difference in this ROM."""
        start = self.link
        if difference.ram_section is not None:
            start = self.rom.sections[difference.ram_section].address
        return None if start is None else elf.describe_address(self.symbols, start + difference.offset)


def _names(sides: Sequence[_Side], differences: Sequence[RomDifference]) -> Callable[[RomDifference], str]:
    """Create a function that names the symbols at a difference. c++filt runs once for all."""
    found = {(at.ram_section, at.offset): [*filter(None, (side.name(at) for side in sides))] for at in differences}
    readable = demangle(name for names in found.values() for name in names)

    def names_at(at: RomDifference) -> str:
        return " | ".join(dict.fromkeys(readable.get(name, name) for name in found[at.ram_section, at.offset]))

    return names_at


def _read(path: Path, elf_path: Path | None) -> _Side:
    """Read a ROM and its ELF. Raises ElfError if the ROM was not packed from that ELF."""
    with error_subject(path):
        rom = Rom.from_bytes(read_file(path))
    if elf_path is None:
        return _Side(rom, find_link_address(rom).link_address)
    data = read_file(elf_path)
    with error_subject(elf_path):
        app = elf.parse_elf(data)
        code = irom(app)
        symbols = elf.elf_symbols(data)
    sections = {RamSection(section.address, section.data) for section in app.sections}
    if Rom(rom.entry, code.data, rom.sections).irom != rom.irom or not sections.issuperset(rom.sections):
        raise ElfError(f"not the ELF of {path}: the contents differ", subject=elf_path)
    return _Side(rom, code.address, symbols)

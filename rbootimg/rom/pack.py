"""An application ELF -> the ROM for a slot, and what of the chip's memory it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ElfError, FitError
from ..layout.memory import DRAM, IRAM, Region, Usage
from ..layout.params import DEFAULT_PARAMS, FlashParams
from . import fit
from .elf import Elf, Section
from .entry import NO_SYMBOLS, entry_problem
from .format import ALIGNMENT, RamSection, Rom

if TYPE_CHECKING:
    from ..layout.model import Slot

IROM_SECTION = ".irom0.text"
"""The section that stays in flash; its name is fixed in the SDK, in rBoot and in esptool2."""

RAM_SECTIONS = (".text", ".data", ".rodata")
"""The sections that the boot loader copies to RAM unless others are asked for, in this order."""


def pack(
    elf: Elf,
    sections: Sequence[str] | None = None,
    params: FlashParams = DEFAULT_PARAMS,
    irom_checksum: bool = False,
    slot: Slot | None = None,
) -> Rom:
    """The ROM of the application `elf`.

    `sections` names the RAM sections in the order they get in the ROM, and each must be there;
    without it they are those of RAM_SECTIONS that exist and are not empty. Given a `slot`, the
    application must be linked for it and the ROM fit into it.

    Raises ElfError if a section is missing or named twice, FitError if the application is linked for another slot,
    reaches beyond the RAM or breaks another rule of fit.problems(), or if its entry is not the start of a function.
    """
    flash_code = irom(elf)
    if sections is None:
        ram = [section for name in RAM_SECTIONS if (section := elf.find(name))]
        if not ram:
            raise ElfError(f"none of the sections {', '.join(RAM_SECTIONS)} has data; name those to load")
    else:
        ram = [find_section(elf, name) for name in sections]
        if not ram:
            raise ElfError("no section to load is named; name at least one")
        if twice := next((name for name in sections if sections.count(name) > 1), None):
            raise ElfError(f"section {twice} is named twice; name each section once")
    _check_memory(elf, ram)
    if (problem := entry_problem(elf)) is not None:
        raise FitError(problem)
    if slot is not None:
        fit.check_link(flash_code.address, slot)
    rom = Rom(
        entry=elf.entry,
        irom=flash_code.data,
        sections=tuple(RamSection(section.address, section.data) for section in ram),
        params=params,
        irom_checksum=irom_checksum,
    )
    return fit.check(rom, slot)


def irom(elf: Elf) -> Section:
    """The section that stays in flash. Raises ElfError if there is none."""
    return find_section(elf, IROM_SECTION)


def warnings(elf: Elf, rom: Rom) -> tuple[str, ...]:
    """What is not an error, but should be known: loadable sections left out, checks that could not be made."""
    packed = {section.address for section in rom.sections}
    left_out = tuple(
        f"section {section.name} ({section.size:,} bytes at {section.address:#x}) is not in the ROM; "
        "if the application needs it, name it among the sections"
        for section in elf.sections
        if section.data and section.name != IROM_SECTION and section.address not in packed
    )
    return left_out if elf.entry_symbols is not None else (*left_out, NO_SYMBOLS)


def difference(elf: Elf, rom: Rom, link_address: int) -> str | None:
    """In what `rom`, whose irom runs at `link_address`, is not one that was packed from `elf`; None if it is one.

    What counts is what the ROM puts into memory, not the options that it was packed with: which sections are loaded
    and in what order, also merged as esptool does with adjacent ones, flash parameters, checksum.
    """
    parts = [("flash code", link_address, rom.irom)]
    parts += ((f"RAM section {number}", *section) for number, section in enumerate(rom.sections) if section.data)
    for name, address, data in parts:
        sections = [each for each in elf.sections if each.data and address <= each.address < address + len(data)]
        first = next((each for each in sections if each.address == address), None)
        if first is None:
            return f"it has nothing that starts at {address:#x}, where the ROM's {name} is"
        merged = bytearray(max(each.end for each in sections) - address)
        for each in sections:
            merged[each.address - address : each.end - address] = each.data
        # The padding of a section may be where another one begins.
        if not any(_is_padded(found, data) for found in (first.data, bytes(merged))):
            return f"its bytes at {address:#x} are not the ROM's {name}"
    if elf.entry != rom.entry:
        return f"it starts at {elf.entry:#x}, and the ROM at {rom.entry:#x}"
    return None


def _is_padded(found: bytes, data: bytes) -> bool:
    return len(data) - len(found) < ALIGNMENT and data == found.ljust(len(data), b"\0")


def find_section(elf: Elf, name: str) -> Section:
    """The section called `name`. Raises ElfError if the ELF has none with data."""
    section = elf.find(name)
    if section is None:
        there = ", ".join(section.name for section in elf.sections if section.data) or "none"
        raise ElfError(f"no section {name} with data in the ELF; it has {there}")
    return section


def _check_memory(elf: Elf, loaded: Sequence[Section]) -> None:
    for section in loaded:
        if not any(region.start <= section.address < region.end for region in (IRAM, DRAM)):
            raise FitError(
                f"{section.name} is at {section.address:#x}, neither in the IRAM (from {IRAM.start:#x}) nor in the "
                f"DRAM (from {DRAM.start:#x}); check the linker script"
            )
    for region in (IRAM, DRAM):
        for section in _in_region(elf, region):
            if section.end > region.end:
                raise FitError(
                    f"{section.name} ends at {section.end:#x}, {section.end - region.end:,} bytes behind the "
                    f"{region.name} ({region.size:,} bytes from {region.start:#x})"
                )


def _in_region(elf: Elf, region: Region) -> list[Section]:
    return [section for section in elf.sections if region.start <= section.address < region.end]


def usage(elf: Elf, rom_size: int, slot: Slot | None = None) -> tuple[Usage, ...]:
    """How many bytes the application takes in IRAM and DRAM, and its ROM in the flash slot.

    RAM counts from the region's start to the end of its last section, .bss and gaps included.
    """
    ram = tuple(Usage(region.name, _extent(elf, region), region.size) for region in (IRAM, DRAM))
    return (*ram, Usage("flash", rom_size, slot.size if slot else None))


def _extent(elf: Elf, region: Region) -> int:
    return max((section.end for section in _in_region(elf, region)), default=region.start) - region.start

"""Pack an application ELF into the ROM for a slot, and measure its memory usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ElfError, FitError, RomError
from ..layout.memory import DRAM, IRAM, Region, Usage
from ..layout.params import DEFAULT_PARAMS, FlashParams
from ..text import counted
from . import fit
from .elf import Elf, Section, parse_elf
from .entry import NO_SYMBOLS, entry_problem
from .format import ALIGNMENT, RamSection, Rom

if TYPE_CHECKING:
    from ..layout.model import Slot

IROM_SECTION = ".irom0.text"
"""The section with the flash code. The SDK, rBoot and esptool2 use the same name."""

RAM_SECTIONS = (".text", ".data", ".rodata")
"""The default sections that the boot loader copies to RAM, in this order."""


def pack(
    elf: Elf,
    sections: Sequence[str] | None = None,
    params: FlashParams = DEFAULT_PARAMS,
    irom_checksum: bool = False,
    slot: Slot | None = None,
) -> Rom:
    """Pack the application `elf` into a ROM.

    `sections` are the names of the RAM sections in ROM order; the default is those of RAM_SECTIONS that are not empty.
    With a `slot`, the application must be linked for it and the ROM must fit.

    Raises ElfError if a section is missing or named twice, FitError if the application is linked for another slot,
    breaks another rule of fit.problems(), or if its entry point is not the start of a function.
    """
    flash_code = irom(elf)
    if sections is None:
        ram = [section for name in RAM_SECTIONS if (section := elf.find(name))]
        if not ram:
            raise ElfError(f"none of the sections {', '.join(RAM_SECTIONS)} has data")
    else:
        ram = [find_section(elf, name) for name in sections]
        if not ram:
            raise ElfError("no sections to load: expected at least one name")
        if duplicate := next((name for name in sections if sections.count(name) > 1), None):
            raise ElfError(f"section {duplicate} is named twice")
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
    """Return the section with the flash code. Raises ElfError if there is none."""
    return find_section(elf, IROM_SECTION)


def warnings(elf: Elf, rom: Rom) -> tuple[str, ...]:
    """List warnings about the packed `rom`: sections with data that were left out, skipped checks."""
    packed = {section.address for section in rom.sections}
    left_out = tuple(
        f"section {section.name} ({counted(section.size, 'byte')} at {section.address:#x}) is not in the ROM; "
        "add it to the sections to load if the application needs it"
        for section in elf.sections
        if section.data and section.name != IROM_SECTION and section.address not in packed
    )
    return left_out if elf.entry_symbols is not None else (*left_out, NO_SYMBOLS)


def difference(elf: Elf, rom: Rom, link_address: int) -> str | None:
    """Describe how `rom`, with irom at `link_address`, differs from a ROM packed from `elf`; None if it does not.

    Only the contents of memory are compared, not the options of packing: selection and order of sections, merging of
    adjacent sections (as esptool does), flash parameters, kind of checksum.
    """
    parts = [("flash code", link_address, rom.irom)]
    parts += ((f"RAM section {number}", *section) for number, section in enumerate(rom.sections) if section.data)
    for name, address, data in parts:
        sections = [each for each in elf.sections if each.data and address <= each.address < address + len(data)]
        first = next((each for each in sections if each.address == address), None)
        if first is None:
            return f"no section starts at {address:#x}, where the ROM has {name}"
        merged = bytearray(max(each.end for each in sections) - address)
        for each in sections:
            merged[each.address - address : each.end - address] = each.data
        # The padding of a section may overlap the next section.
        if not any(_is_padded(found, data) for found in (first.data, bytes(merged))):
            return f"contents at {address:#x} do not match the ROM's {name}"
    if elf.entry != rom.entry:
        return f"entry point {elf.entry:#x}, expected {rom.entry:#x} as in the ROM"
    return None


def matches(elf: bytes, rom: bytes, link_address: int) -> bool:
    """Whether the ROM was packed from the ELF file, see difference(). False if one of them is invalid."""
    try:
        return difference(parse_elf(elf), Rom.from_bytes(rom), link_address) is None
    except (ElfError, RomError):
        return False


def _is_padded(found: bytes, data: bytes) -> bool:
    return len(data) - len(found) < ALIGNMENT and data == found.ljust(len(data), b"\0")


def find_section(elf: Elf, name: str) -> Section:
    """Return the section called `name`. Raises ElfError if there is none with data."""
    section = elf.find(name)
    if section is None:
        found = ", ".join(section.name for section in elf.sections if section.data) or "none"
        raise ElfError(f"no section {name} with data; sections with data: {found}")
    return section


def _check_memory(elf: Elf, loaded: Sequence[Section]) -> None:
    for section in loaded:
        if not any(region.start <= section.address < region.end for region in (IRAM, DRAM)):
            raise FitError(
                f"section {section.name} at {section.address:#x} is outside the RAM: expected IRAM (from "
                f"{IRAM.start:#x}) or DRAM (from {DRAM.start:#x}); check the linker script"
            )
    for region in (IRAM, DRAM):
        for section in _in_region(elf, region):
            if section.end > region.end:
                raise FitError(
                    f"section {section.name} overflows {region.name} by {counted(section.end - region.end, 'byte')}: "
                    f"ends at {section.end:#x}, expected at most {region.end:#x}"
                )


def _in_region(elf: Elf, region: Region) -> list[Section]:
    return [section for section in elf.sections if region.start <= section.address < region.end]


def usage(elf: Elf, rom_size: int, slot: Slot | None = None) -> tuple[Usage, ...]:
    """Measure the application's bytes in IRAM and DRAM, and those of its ROM in the slot.

    RAM usage is counted from the region's start to the end of its last section, including .bss and gaps.
    """
    ram = tuple(Usage(region.name, _extent(elf, region), region.size) for region in (IRAM, DRAM))
    return (*ram, Usage("flash", rom_size, slot.size if slot else None))


def _extent(elf: Elf, region: Region) -> int:
    return max((section.end for section in _in_region(elf, region)), default=region.start) - region.start

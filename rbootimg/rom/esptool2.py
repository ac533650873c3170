"""The output formats of esptool2, byte for byte: ROMs, images for the mask ROM, libraries, C headers."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ElfError, FitError
from ..layout.params import DEFAULT_PARAMS, FlashParams
from .elf import Elf, Section
from .format import RamSection, Rom
from .format import old_image as make_old_image
from .pack import IROM_SECTION

BOOT1_IROM_OFFSET = 0x10000
"""The offset of the flash code in a -boot1 image; 0xFF fills the gap. Source: esptool2 2.0.0."""


def lib(elf: Elf) -> bytes:
    """Make the output of `-lib`: the flash code without header or padding. Raises ElfError if there is none."""
    return _section(elf, IROM_SECTION).data


def header(elf: Elf, sections: Sequence[str]) -> bytes:
    """Make the output of `-header`: entry point and `sections` in C, as rBoot includes its second stage.

    Lines end in CR LF. A dot in a section name becomes an underscore; the including file must define `uint32_t` and
    `uint8_t`. Raises ElfError if a section is missing.
    """
    lines = [f"const uint32_t entry_addr = {elf.entry:#010x};"]
    for section in (_section(elf, name) for name in sections):
        name = section.name.replace(".", "_")
        lines += (
            "",
            f"const uint32_t {name}_addr = {section.address:#010x};",
            f"const uint32_t {name}_len = {section.size};",
            f"const uint8_t  {name}_data[] = {{",
            *_rows(section.data),
            "};",
        )
    return "".join(f"{line}\r\n" for line in lines).encode()


def old_image(elf: Elf, sections: Sequence[str], params: FlashParams = DEFAULT_PARAMS) -> bytes:
    """Make the output of `-boot0`: an image that the mask ROM boots from flash 0, such as rBoot, without flash code.

    Raises ElfError if a section is missing, RomError if there are too many.
    """
    return make_old_image(elf.entry, _ram_sections(elf, sections), params)


def boot1_image(elf: Elf, sections: Sequence[str], params: FlashParams = DEFAULT_PARAMS) -> bytes:
    """Make the output of `-boot1`: an old image, 0xFF up to BOOT1_IROM_OFFSET, and the flash code without padding.

    Raises ElfError if a section is missing, RomError if there are too many, FitError if the old image overlaps the
    flash code.
    """
    image = old_image(elf, sections, params)
    if len(image) > BOOT1_IROM_OFFSET:
        raise FitError(
            f"RAM sections have {len(image):,} bytes, {len(image) - BOOT1_IROM_OFFSET:,} more than fit before the "
            f"flash code at {BOOT1_IROM_OFFSET:#x}; use -boot2"
        )
    return image.ljust(BOOT1_IROM_OFFSET, b"\xff") + lib(elf)


def rom(elf: Elf, sections: Sequence[str], params: FlashParams = DEFAULT_PARAMS, irom_checksum: bool = False) -> Rom:
    """Make the output of `-boot2`: an rBoot ROM. Sections may be at any address, as in esptool2 but unlike pack.pack().

    Raises ElfError if a section is missing, RomError if there are too many.
    """
    return Rom(elf.entry, lib(elf), _ram_sections(elf, sections), params, irom_checksum)


def _ram_sections(elf: Elf, names: Sequence[str]) -> tuple[RamSection, ...]:
    return tuple(RamSection(section.address, section.data) for section in (_section(elf, name) for name in names))


def _section(elf: Elf, name: str) -> Section:
    """Return the section. Raises ElfError in esptool2's words, which scripts may look for."""
    section = elf.find(name)
    if section is None:
        reserved = any(section.name == name for section in elf.sections)
        raise ElfError(f"Section '{name}' {'has no data to read' if reserved else 'not found in elf file'}.")
    return section


def _rows(data: bytes, width: int = 16) -> list[str]:
    rows = (data[start : start + width] for start in range(0, len(data), width))
    return ["  " + " ".join(f"{byte:#04x}," for byte in row) for row in rows]

"""The rules that a ROM must keep to run: one place for packing, verifying, proving, publishing and flash images.

rBoot looks at magic, lengths and checksum only (check_image, rBoot 1.4.2): it copies a RAM section to whatever address
the ROM names. These are the rules of the chip and of what runs while the ROM is loaded. The update client in C has the
same ones (firmware/ota/ota_verify.c).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import FitError
from ..layout.memory import DRAM, IRAM, Region, slot_of_link
from .format import Rom

if TYPE_CHECKING:
    from ..layout.model import Slot

MAX_SECTIONS = 16
"""RAM sections in an image; esptool 5.6 (bin_image.py, verify) takes no more."""

_WORD = 4


def problems(rom: Rom, slot: Slot | None = None, link_address: int | None = None) -> tuple[str, ...]:
    """Why `rom` would not run, or not from `slot`; empty if it would, as far as its bytes tell.

    - Each RAM section is inside the DRAM (0x3FFE8000 to 0x3FFFC000) or the IRAM (0x40100000 to 0x40108000), at a
      multiple of 4: the mask ROM's SPIRead stores words. The loader's second stage (rBoot: 0x4010FC00) and its stack
      (above 0x3FFFC000) are outside both, so that no section is copied over what copies it.
    - No two sections overlap, and there are at most 16.
    - The entry is inside a section in IRAM, at a multiple of 4: no function starts elsewhere, as CALL0 reaches only
      such addresses (Xtensa ISA).
    - The ROM is not larger than the `slot`, and its link address, where that is known, is the slot's.

    The checksum is right in every Rom; which kind a loader wants is for Rom.from_bytes().
    """
    return (*_memory_problems(rom), *(slot_problems(rom.size, slot, link_address) if slot else ()))


def check(rom: Rom, slot: Slot | None = None, link_address: int | None = None) -> Rom:
    """`rom`, if it has no problems(). Raises FitError with the first of them."""
    for problem in problems(rom, slot, link_address):
        raise FitError(problem)
    return rom


def read(data: bytes, irom_checksum: bool | None = None, slot: Slot | None = None, slots: Sequence[Slot] = ()) -> Rom:
    """The ROM in the bytes `data`, checked for `slot`, one of the layout's `slots`.

    Given `slots`, the link address is looked for in the ROM's words, about 25 ms for 1 MB; where it cannot be told, it
    is not checked. `irom_checksum` is as for Rom.from_bytes(). Raises RomError for bytes that are not a valid ROM,
    FitError for a ROM that would not run from the slot.
    """
    rom = check(Rom.from_bytes(data, irom_checksum), slot)
    if slot is None or not slots:
        return rom
    from .linkaddress import linked_elsewhere  # not for those who only check a ROM's own rules

    return check(rom, slot, linked_elsewhere(rom, slot, slots))


def _memory_problems(rom: Rom) -> list[str]:
    found = []
    if len(rom.sections) > MAX_SECTIONS:
        found.append(f"{len(rom.sections)} RAM sections: expected at most {MAX_SECTIONS}")
    places = []
    for number, section in enumerate(rom.sections):
        start, end = section.address, section.address + len(section.data)
        if start % _WORD:
            found.append(f"RAM section {number} at {start:#x}: expected an address that is a multiple of {_WORD}")
        if not any(region.start <= start and end <= region.end for region in (DRAM, IRAM)):
            found.append(
                f"RAM section {number}, {start:#x} to {end:#x}, is outside the RAM: expected {_range(DRAM)} or "
                f"{_range(IRAM)}; the loader would overwrite itself or the chip's own memory"
            )
        if section.data:
            places.append((start, end, number))
    for (_, end, one), (start, _, other) in itertools.pairwise(sorted(places)):
        if start < end:
            found.append(f"RAM sections {one} and {other} overlap at {start:#x}")
    inside = any(start <= rom.entry < end and IRAM.start <= start < IRAM.end for start, end, _ in places)
    if not inside:
        found.append(f"entry point {rom.entry:#x} is outside the RAM sections in IRAM; check the script's ENTRY()")
    elif rom.entry % _WORD:
        found.append(
            f"entry point {rom.entry:#x}: expected a multiple of {_WORD}, where functions start; check the script's "
            "ENTRY()"
        )
    return found


def _range(region: Region) -> str:
    return f"{region.name} ({region.start:#x} to {region.end:#x})"


def slot_problems(size: int, slot: Slot, link_address: int | None) -> list[str]:
    """Why a ROM of `size` bytes would not run from `slot`; also for images that are no Rom, as corrupt ones."""
    found = []
    if size > slot.size:
        found.append(
            f"the ROM has {size:,} bytes, {size - slot.size:,} more than {slot.label} holds ({slot.size:,}); "
            "make the application smaller or the slot larger"
        )
    if link_address is not None and link_address != slot.link_address:
        address = slot_of_link(link_address)
        where = "" if address is None else f" (for a slot at {address:#x})"
        found.append(
            f"the ROM is linked at {link_address:#x}{where}, but {slot.label} runs at {slot.link_address:#x}; use the "
            "ROM that was linked for this slot"
        )
    return found

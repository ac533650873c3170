"""The rules for a ROM that runs, and the messages about a ROM that breaks them.

Used by everything that makes, checks or publishes a ROM: packing, `verify`, `info`, `split`, flash images, boot
prediction, proofs, bundles, and the checks of web roots and URLs. The update client in C has the same rules
(firmware/ota/ota_verify.c).

rBoot checks only magic, lengths and checksum (check_image, rBoot 1.4.2), and copies a RAM section to whatever address
the ROM names. The rules here are those of the chip and of the code that runs while the ROM is loaded.
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
"""RAM sections in an image. Source: esptool 5.6 (bin_image.py, verify)."""

_WORD = 4


def problems(rom: Rom, slot: Slot | None = None, link_address: int | None = None) -> tuple[str, ...]:
    """List why `rom` would not run, or not from `slot`; empty if nothing is wrong.

    - Each RAM section is inside DRAM (0x3FFE8000 to 0x3FFFC000) or IRAM (0x40100000 to 0x40108000), at a multiple of
      4: the mask ROM's SPIRead stores words. The loader's second stage (rBoot: 0x4010FC00) and its stack (above
      0x3FFFC000) are outside both, so that no section overwrites the code that copies it.
    - No two sections overlap, and there are at most 16.
    - The entry point is inside a section in IRAM, at a multiple of 4: CALL0 reaches only such addresses (Xtensa ISA).
    - The ROM is not larger than `slot`, and is linked for it, if `link_address` is given.

    The checksum of a Rom is always valid; Rom.from_bytes() checks which kind it is.
    """
    return (*_memory_problems(rom), *(slot_problems(rom.size, slot, link_address) if slot else ()))


def check(rom: Rom, slot: Slot | None = None) -> Rom:
    """Return `rom`. Raises FitError with the first of its problems()."""
    for problem in problems(rom, slot):
        raise FitError(problem)
    return rom


def read(data: bytes, irom_checksum: bool | None = None, slot: Slot | None = None, slots: Sequence[Slot] = ()) -> Rom:
    """Parse a ROM and check that it runs from `slot`, which is one of the layout's `slots`.

    Without `slots` the link address is not checked; see find_link_problem(). `irom_checksum` is that of
    Rom.from_bytes(). Raises RomError if `data` is not a valid ROM, FitError if it would not run from the slot.
    """
    rom = check(Rom.from_bytes(data, irom_checksum), slot)
    if slot is not None and slots and (problem := find_link_problem(rom, slot, slots)) is not None:
        raise FitError(problem)
    return rom


def slot_problems(size: int, slot: Slot, link_address: int | None) -> list[str]:
    """List why an image of `size` bytes would not run from `slot`; unlike problems() for corrupt images too."""
    found = (size_problem(size, slot), None if link_address is None else link_problem(link_address, slot))
    return [problem for problem in found if problem is not None]


def size_problem(size: int, slot: Slot) -> str | None:
    """The message about a ROM of `size` bytes that is larger than `slot`; None if it fits."""
    if size <= slot.size:
        return None
    return f"ROM has {size:,} bytes, {size - slot.size:,} more than {slot.label} holds ({slot.size:,})"


def link_problem(link_address: int, slot: Slot) -> str | None:
    """The message about flash code that is linked for another slot than `slot`; None if it is linked for `slot`."""
    if link_address == slot.link_address:
        return None
    return f"{_linked_at(link_address)}, expected {slot.link_address:#x} for {slot.label}"


def no_slot_problem(link_address: int, slots: Sequence[Slot]) -> str | None:
    """The message about flash code that is linked for none of the layout's `slots`; None if it is for one."""
    if any(slot.link_address == link_address for slot in slots):
        return None
    expected = " or ".join(f"{address:#x}" for address in sorted({slot.link_address for slot in slots}))
    return f"{_linked_at(link_address)}, expected {expected} for a slot of the layout"


def find_link_problem(rom: Rom, slot: Slot, slots: Sequence[Slot]) -> str | None:
    """The link_problem() of a bare ROM; None also if its link address cannot be determined.

    The address is searched for in the ROM's words, which takes about 25 ms for 1 MB; the addresses of the layout's
    `slots` are the likeliest ones.
    """
    from .linkaddress import find_link_address  # only for callers that pass slots

    found = find_link_address(rom, [other.link_address for other in slots]).link_address
    return None if found is None else link_problem(found, slot)


def check_link(link_address: int, slot: Slot) -> None:
    """Raise FitError unless flash code at `link_address` is linked for `slot`."""
    if (problem := link_problem(link_address, slot)) is not None:
        raise FitError(problem)


def _linked_at(link_address: int) -> str:
    address = slot_of_link(link_address)
    return f"linked at {link_address:#x}" + ("" if address is None else f" (slot at {address:#x})")


def _memory_problems(rom: Rom) -> list[str]:
    found = []
    if len(rom.sections) > MAX_SECTIONS:
        found.append(f"{len(rom.sections)} RAM sections: expected at most {MAX_SECTIONS}")
    ranges = []
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
            ranges.append((start, end, number))
    for (_, end, one), (start, _, other) in itertools.pairwise(sorted(ranges)):
        if start < end:
            found.append(f"RAM sections {one} and {other} overlap at {start:#x}")
    inside = any(start <= rom.entry < end and IRAM.start <= start < IRAM.end for start, end, _ in ranges)
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

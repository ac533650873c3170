"""The contents of an image: a ROM, valid or corrupt, or an image for the mask ROM. No files."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ..errors import RomError
from ..fileio import sha256_hex
from ..layout.memory import WINDOW, memory_at, slots_of_link
from ..layout.params import FlashParams
from ..rom import fit
from ..rom.format import IROM_COUNT, IROM_MAGIC, RAM_MAGIC, Outline, Rom, check_old_image, image_size, outline
from ..rom.linkaddress import Detection, find_link_address
from .common import common_json

if TYPE_CHECKING:
    from ..layout.model import Slot

ROM: Final = "rom"
OLD_IMAGE: Final = "old image"
ROM_START = bytes((IROM_MAGIC, IROM_COUNT))
OLD_START = bytes((RAM_MAGIC,))
"""The first bytes of images of these kinds."""

_CRC_SIZE = 4


class ImagePart(NamedTuple):
    """A section: `size` bytes at link `address`, None if unknown; `memory` as returned by memory_at()."""

    name: str
    address: int | None
    size: int
    memory: str


class ChecksumKind(enum.Enum):
    """The bytes that a checksum covers; the values are those in JSON."""

    RAM = "ram"
    RAM_AND_IROM = "ram+irom"
    BOTH = "both"
    """Both give the same checksum."""


class Checksum(NamedTuple):
    """The `stored` byte, and the checksums calculated over the RAM sections, and with irom if the image has one."""

    stored: int
    ram: int
    ram_and_irom: int | None

    @property
    def matches(self) -> ChecksumKind | None:
        """The kind of checksum that the stored byte is, None if it is invalid."""
        if self.stored == self.ram:
            return ChecksumKind.BOTH if self.ram == self.ram_and_irom else ChecksumKind.RAM
        return ChecksumKind.RAM_AND_IROM if self.stored == self.ram_and_irom else None


class ImageInfo(NamedTuple):
    """An image that rBoot (`kind` ROM) or the mask ROM (`kind` OLD_IMAGE) starts.

    `size` and `sha256` are those of the complete file. `checksum` is None in a truncated image. `esptool_crc` is
    whether the CRC after the checksum is valid, None without one; `trailing` is the number of other bytes after the
    checksum, which a ROM must not have. `link` is None in an image for the mask ROM. `slots` are the layout's slots
    with its link address, none if that is unknown. `appbin_user` is as in Rom.
    """

    kind: Literal["rom", "old image"]
    size: int
    sha256: str
    params: FlashParams
    entry: int
    sections: tuple[ImagePart, ...]
    checksum: Checksum | None
    esptool_crc: bool | None
    trailing: int
    link: Detection | None
    slots: tuple[Slot, ...]
    problems: tuple[str, ...]
    appbin_user: int = 0

    @property
    def slot(self) -> Slot | None:
        """The first of `slots` that is large enough, else the largest."""
        return first_slot(self.slots, self.size)


def image_info(data: bytes, slots: Sequence[Slot] = (), irom_checksum: bool | None = None) -> ImageInfo:
    """Describe the image in `data`, valid or not; `slots` are the layout's slots.

    `irom_checksum` is as for Rom.from_bytes(). Raises RomError if no image begins there.
    """
    found = outline(data)
    full_sum = None if found.irom is None else found.full_sum
    checksum = None if found.stored is None else Checksum(found.stored, found.ram_sum, full_sum)
    problems: list[str] = []
    try:
        if found.irom is not None:
            Rom.from_bytes(data, irom_checksum)
        else:
            check_old_image(data)
    except RomError as error:
        problems.append(str(error))
    link = None
    rom = _as_rom(found)
    if rom is not None:
        link = find_link_address(rom, [slot.link_address for slot in slots])
        if found.stored is not None:  # else the missing sections of a truncated image would be problems too
            problems += fit.problems(rom)
    link_address = link.link_address if link else None
    fitting = fitting_slots(link_address, slots)
    problems += placement_problems(link_address, first_slot(fitting, len(data)), slots, len(data))
    trailing, crc = 0 if found.size is None else len(data) - found.size, None
    if trailing == _CRC_SIZE:
        trailing, crc = 0, image_size(data) == len(data)
    sections = tuple(
        ImagePart(f"RAM section {number}", section.address, len(section.data), memory_at(section.address))
        for number, section in enumerate(found.sections)
    )
    if found.irom is not None:
        sections = (ImagePart("irom", link_address, len(found.irom), WINDOW.name), *sections)
    return ImageInfo(
        OLD_IMAGE if found.irom is None else ROM,
        len(data),
        sha256_hex(data),
        found.params,
        found.entry,
        sections,
        checksum,
        crc,
        trailing,
        link,
        fitting,
        tuple(problems),
        found.appbin_user,
    )


def rom_info(data: bytes, irom_checksum: bool | None = None) -> ImageInfo:
    """Describe the ROM in `data`, valid or not; else as image_info(). Raises RomError if no ROM begins there."""
    if not data.startswith(ROM_START):
        Rom.from_bytes(data)  # raises
    return image_info(data, (), irom_checksum)


def _as_rom(found: Outline) -> Rom | None:
    """Return the contents as a valid ROM, to find its link address."""
    with contextlib.suppress(RomError):
        return Rom(found.entry, found.irom or b"", found.sections)
    return None


def fitting_slots(link_address: int | None, slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """Return the slots with this link address, which can be one in each megabyte; a single slot in any case."""
    if len(slots) == 1:
        return tuple(slots)
    return tuple(slot for slot in slots if slot.link_address == link_address)


def first_slot(slots: Sequence[Slot], size: int) -> Slot | None:
    """Return the first of `slots` with room for `size` bytes, else the largest; None if there are none."""
    return next((slot for slot in slots if slot.size >= size), max(slots, key=lambda slot: slot.size, default=None))


def placement_problems(address: int | None, slot: Slot | None, slots: Sequence[Slot], size: int) -> list[str]:
    """Return why a ROM of `size` bytes, linked at `address`, would not run from `slot`, or from any of `slots`."""
    if slot is not None:
        return fit.slot_problems(size, slot, address)
    problem = fit.no_slot_problem(address, slots) if slots and address is not None else None
    return [] if problem is None else [problem]


def image_json(found: ImageInfo) -> dict[str, object]:
    """Return the JSON values that rbootimg.analysis.identify describes."""
    mode, size, freq = found.params.names()
    checksum = found.checksum
    return common_json(found) | {
        "flash": {"mode": mode, "size": size, "freq": freq},
        "entry": found.entry,
        "sections": [part_json(part) for part in found.sections],
        "checksum": checksum
        and {
            "stored": checksum.stored,
            "ram": checksum.ram,
            "ram_and_irom": checksum.ram_and_irom,
            "matches": checksum.matches and checksum.matches.value,
        },
        "esptool_crc": found.esptool_crc,
        "appbin_user": found.appbin_user or None,
        "trailing": found.trailing,
        "link": found.link and _link_json(found.link),
        "slot": found.slot and slot_json(found.slot, found.size),
        "slots": [slot_json(slot, found.size) for slot in found.slots],
    }


def part_json(part: ImagePart) -> dict[str, object]:
    """Return the JSON values of a section."""
    return {"name": part.name, "address": part.address, "size": part.size, "memory": part.memory}


def slot_json(slot: Slot, size: int | None) -> dict[str, object]:
    """Return the JSON values of a slot with a ROM of `size` bytes, None if unknown."""
    return {"address": slot.address, "size": slot.size, "free": None if size is None else slot.size - size}


def _link_json(link: Detection) -> dict[str, object]:
    own = link.own
    return {
        "address": link.link_address,
        "slot": own and own.slot_address,
        "slots": [] if link.link_address is None else list(slots_of_link(link.link_address)),
        "words": link.words,
        "inside": own and own.inside,
        "starts": own and own.starts,
        "reason": link.reason,
    }

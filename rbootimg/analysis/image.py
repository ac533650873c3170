"""What is known of an image: a ROM, sound or not, or one for the mask ROM. No files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ..errors import RomError
from ..fileio import sha256_hex
from ..layout.memory import WINDOW, memory_at, slots_of_link
from ..layout.params import FlashParams
from ..rom import fit
from ..rom.format import Outline, Rom, check_old_image, image_size, outline
from ..rom.linkaddress import Detection, find_link_address

if TYPE_CHECKING:
    from ..layout.model import Slot
from .common import common_json

ROM: Final = "rom"
OLD_IMAGE: Final = "old image"
# With what files of these kinds begin.
ROM_START = b"\xea\x04"
OLD_START = b"\xe9"
CONFIG_START = b"\xe1\x01"
_CRC_SIZE = 4


class ImagePart(NamedTuple):
    """A section: `size` bytes at link `address`, None if it is not known; `memory` as flash.memory_at() says."""

    name: str
    address: int | None
    size: int
    memory: str


class Checksum(NamedTuple):
    """The `stored` byte, and what the bytes give: over the RAM sections, and with irom if the image has one."""

    stored: int
    ram: int
    ram_and_irom: int | None

    @property
    def matches(self) -> str | None:
        """Which sum the stored byte is: ram, ram+irom, both, or None."""
        if self.stored == self.ram:
            return "both" if self.ram == self.ram_and_irom else "ram"
        return "ram+irom" if self.stored == self.ram_and_irom else None


class ImageInfo(NamedTuple):
    """An image with which the mask ROM or rBoot starts; `kind` is ROM or OLD_IMAGE.

    `size` and `sha256` are of all its bytes, in a file of all that is in it. `checksum` is None if it is cut off,
    `esptool_crc` whether the CRC behind it is right, None without one; `trailing` counts other bytes behind it, which
    a ROM must not have. `link` is None if nobody asked which slot it is linked for. `slots` are those that it is for:
    of a layout all that its link fits, none if that is not known. `appbin_user` is as in Rom.
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
        """The first of `slots` that has room for it."""
        return first_slot(self.slots, self.size)


def image_info(data: bytes, slots: Sequence[Slot] = (), irom_checksum: bool | None = None) -> ImageInfo:
    """The image that `data` are. Raises RomError if they are none."""
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
        if found.stored is not None:  # of a truncated image the missing sections would be called problems
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


def _as_rom(found: Outline) -> Rom | None:
    """The ROM as if it were sound, to ask which slot it is linked for."""
    with contextlib.suppress(RomError):
        return Rom(found.entry, found.irom or b"", found.sections)
    return None


def fitting_slots(link_address: int | None, slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """The slots that an image is for: the only one, or all with its link address, as in several megabytes."""
    if len(slots) == 1:
        return tuple(slots)
    return tuple(slot for slot in slots if slot.link_address == link_address)


def first_slot(slots: Sequence[Slot], size: int) -> Slot | None:
    """The first of `slots` with room for `size` bytes, else the largest; None if there are none."""
    return next((slot for slot in slots if slot.size >= size), max(slots, key=lambda slot: slot.size, default=None))


def placement_problems(address: int | None, slot: Slot | None, slots: Sequence[Slot], size: int) -> list[str]:
    """What is wrong with a ROM of `size` bytes that is linked for `address`, and to be in `slot` or one of `slots`."""
    if slot is not None:
        return fit.slot_problems(size, slot, address)
    if slots and address is not None:
        return [
            f"the ROM is linked at {address:#x}, but no slot of the layout runs there; use the ROM that is for a slot"
        ]
    return []


def image_json(found: ImageInfo) -> dict[str, object]:
    """The values for `json.dumps`, as rbootimg.analysis.identify describes them."""
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
            "matches": checksum.matches,
        },
        "esptool_crc": found.esptool_crc,
        "appbin_user": found.appbin_user or None,
        "trailing": found.trailing,
        "link": found.link and _link_json(found.link),
        "slot": found.slot and slot_json(found.slot, found.size),
        "slots": [slot_json(slot, found.size) for slot in found.slots],
    }


def part_json(part: ImagePart) -> dict[str, object]:
    """The same for a section."""
    return {"name": part.name, "address": part.address, "size": part.size, "memory": part.memory}


def slot_json(slot: Slot, size: int | None) -> dict[str, object]:
    """The same for a slot with a ROM of `size` bytes, None if that is not known."""
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

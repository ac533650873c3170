"""The contents of an application's ELF. No files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import ElfError, RbootError
from ..fileio import sha256_hex
from ..layout.memory import Usage, memory_at, slot_of_link, slots_of_link
from ..layout.model import Slot
from ..rom import elf
from ..rom.pack import IROM_SECTION, pack, usage
from .common import common_json
from .image import ImagePart, first_slot, fitting_slots, part_json, placement_problems, slot_json

ELF: Final = "elf"


@dataclass(frozen=True)
class ElfInfo:
    """An application's ELF.

    `link_address` is that of irom. If a ROM can be packed from it, `memories` is that ROM's memory usage and `rom_size`
    its size in bytes. `slots` are the slots that it is linked for, as in ImageInfo.
    """

    size: int
    sha256: str
    entry: int | None
    sections: tuple[ImagePart, ...]
    link_address: int | None
    memories: tuple[Usage, ...]
    problems: tuple[str, ...]
    rom_size: int | None = None
    slots: tuple[Slot, ...] = ()
    kind: Literal["elf"] = ELF


def elf_info(data: bytes, slots: Sequence[Slot] = ()) -> ElfInfo:
    """Describe the ELF in `data`; `slots` are the layout's slots."""
    digest = sha256_hex(data)
    try:
        app = elf.parse_elf(data)
    except ElfError as error:
        return ElfInfo(len(data), digest, None, (), None, (), (str(error),))
    sections = tuple(
        ImagePart(section.name, section.address, section.size, memory_at(section.address)) for section in app.sections
    )
    irom = app.find(IROM_SECTION)
    memories: tuple[Usage, ...] = ()
    problems: list[str] = []
    link_address = irom.address if irom else None
    fitting = fitting_slots(link_address, slots)
    size = None
    with contextlib.suppress(RbootError):  # programs other than applications are valid too
        size = pack(app).size
        slot = first_slot(fitting, size)
        memories = usage(app, size, slot)
        problems = placement_problems(link_address, slot, slots, size)
    return ElfInfo(len(data), digest, app.entry, sections, link_address, memories, tuple(problems), size, fitting)


def elf_json(found: ElfInfo) -> dict[str, object]:
    """Return the JSON values that rbootimg.analysis.identify describes."""
    link = None
    if found.link_address is not None:
        slots = list(slots_of_link(found.link_address))
        link = {"address": found.link_address, "slot": slot_of_link(found.link_address), "slots": slots}
    return common_json(found) | {
        "entry": found.entry,
        "sections": [part_json(part) for part in found.sections],
        "link": link,
        "slots": [slot_json(slot, found.rom_size) for slot in found.slots],
        "memories": [{"name": at.name, "used": at.used, "available": at.available} for at in found.memories],
    }

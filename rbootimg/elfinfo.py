"""What is known of an application's ELF. No files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from . import elf
from .errors import ElfError, RbootError
from .flash import Usage, memory_at, slot_of_link
from .flashmap import Slot
from .imageinfo import Part, common_json, misplaced, part_json, sha256
from .pack import IROM_SECTION, pack, usage

ELF: Final = "elf"


@dataclass(frozen=True)
class ElfInfo:
    """An application's ELF. `link_address` is that of irom; `memories` are what its ROM takes, if one can be packed."""

    size: int
    sha256: str
    entry: int | None
    sections: tuple[Part, ...]
    link_address: int | None
    memories: tuple[Usage, ...]
    problems: tuple[str, ...]
    kind: Literal["elf"] = ELF


def elf_info(data: bytes, slots: Sequence[Slot] = ()) -> ElfInfo:
    """The ELF that `data` are; `slots` are those that its ROM can be for."""
    digest = sha256(data)
    try:
        app = elf.parse(data)
    except ElfError as error:
        return ElfInfo(len(data), digest, None, (), None, (), (str(error),))
    sections = tuple(
        Part(section.name, section.address, section.size, memory_at(section.address)) for section in app.sections
    )
    irom = app.find(IROM_SECTION)
    memories: tuple[Usage, ...] = ()
    problems: list[str] = []
    slot = slots[0] if len(slots) == 1 else next((at for at in slots if irom and at.link_address == irom.address), None)
    with contextlib.suppress(RbootError):  # other programs than applications are sound too
        size = pack(app).size
        memories = usage(app, size, slot)
        problems = misplaced(irom.address if irom else None, slot, slots, size)
    return ElfInfo(len(data), digest, app.entry, sections, irom.address if irom else None, memories, tuple(problems))


def elf_json(found: ElfInfo) -> dict[str, object]:
    """The values for `json.dumps`, as rbootimg.info describes them."""
    slot = None if found.link_address is None else slot_of_link(found.link_address)
    return common_json(found) | {
        "entry": found.entry,
        "sections": [part_json(part) for part in found.sections],
        "link": None if found.link_address is None else {"address": found.link_address, "slot": slot},
        "memories": [{"name": at.name, "used": at.used, "available": at.available} for at in found.memories],
    }

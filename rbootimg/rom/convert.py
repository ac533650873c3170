"""An ELF file -> its ROM, with all checks of an application: the one procedure of the command line and of SCons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..layout.params import DEFAULT_PARAMS, FlashParams
from . import elf, mapping, pack
from .elf import Elf
from .format import Rom

if TYPE_CHECKING:
    from ..layout.model import Slot


class Conversion(NamedTuple):
    """A ROM, the application it was packed from, and warnings for the user."""

    app: Elf
    rom: Rom
    warnings: tuple[str, ...]


def convert(
    data: bytes,
    sections: Sequence[str] | None = None,
    params: FlashParams = DEFAULT_PARAMS,
    irom_checksum: bool = False,
    slot: Slot | None = None,
) -> Conversion:
    """Pack the ELF file `data` and check that the application maps the flash of its slot.

    Raises ElfError and FitError as pack() and check_mapping() do.
    """
    app = elf.parse_elf(data)
    rom = pack.pack(app, sections, params, irom_checksum, slot)
    mapping.check_mapping(data, slot)
    return Conversion(app, rom, (*pack.warnings(app, rom), *mapping.mapping_notes(data, slot)))

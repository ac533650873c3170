"""What a flash image is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SettingError
from ..layout.model import FlashLayout
from .variables import text

if TYPE_CHECKING:
    from ..flash.image import FlashPiece


class FlashContents(NamedTuple):
    """What goes into a flash image: nodes, and the layout that says where."""

    layout: FlashLayout
    loader: Any
    roms: list[Any]
    files: dict[str, Any]
    current_rom: int


def number(env: Any, name: str, default: int = 0) -> int:
    """A variable that is a number. Raises LayoutError."""
    value = text(env, name)
    if value and not value.isdecimal():
        raise SettingError(f"{name} is {value!r}; write a number")
    return int(value or default)


def pieces_of(contents: FlashContents) -> tuple[FlashPiece, ...]:
    """The checked pieces of a flash image."""
    from ..flash.image import flash_pieces, make_boot_config  # not for every build

    loader = contents.loader.get_contents()
    return flash_pieces(
        contents.layout,
        loader,
        {number: rom.get_contents() for number, rom in enumerate(contents.roms)},
        make_boot_config(contents.layout, loader, contents.current_rom),
        {name: file.get_contents() for name, file in contents.files.items()},
    )

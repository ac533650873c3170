"""The contents of a flash image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..layout.model import FlashLayout

if TYPE_CHECKING:
    from ..flash.image import FlashPiece


class FlashContents(NamedTuple):
    """The nodes that a flash image is assembled from, and the layout with their addresses."""

    layout: FlashLayout
    loader: Any
    roms: list[Any]
    files: dict[str, Any]
    current_rom: int


def pieces_of(contents: FlashContents) -> tuple[FlashPiece, ...]:
    """The checked pieces of a flash image. Their files must be built."""
    from ..flash.image import flash_pieces, make_boot_config  # not for every build

    loader = contents.loader.get_contents()
    return flash_pieces(
        contents.layout,
        loader,
        {number: rom.get_contents() for number, rom in enumerate(contents.roms)},
        make_boot_config(contents.layout, loader, contents.current_rom),
        {name: file.get_contents() for name, file in contents.files.items()},
    )

"""A flash layout as a sequence of segments without gaps, and the colour of each kind."""

from __future__ import annotations

from dataclasses import dataclass

from .memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS
from .model import FlashMap

FREE = "free"


@dataclass(frozen=True)
class Piece:
    """A row of the layout: `size` bytes at flash `address`, of a `kind` that has a colour, with its `key`.

    `kind` is loader, config, slot, region or free; `link_address` is None for what is not linked.
    """

    key: str
    kind: str
    name: str
    address: int
    size: int
    link_address: int | None = None

    @property
    def end(self) -> int:
        return self.address + self.size


def pieces(layout: FlashMap) -> tuple[Piece, ...]:
    """All of the flash from 0 to its end, without gaps: what is in use, and what is free between."""
    used = [
        Piece("L", "loader", "loader", 0, CONFIG_ADDRESS),
        Piece("C", "config", "rBoot config", CONFIG_ADDRESS, FIRST_SLOT_ADDRESS - CONFIG_ADDRESS),
    ]
    for slot in layout.slots:
        name = f"slot {slot.number}{f' ({slot.name})' if slot.name else ''}"
        used.append(Piece(str((slot.number or 0) % 10), "slot", name, slot.address, slot.size, slot.link_address))
    for number, region in enumerate(sorted(layout.regions, key=lambda region: region.address)):
        used.append(Piece(chr(ord("a") + number % 26), "region", region.name, region.address, region.size))
    used.sort(key=lambda piece: piece.address)
    found: list[Piece] = []
    at = 0
    for piece in used:
        if piece.address > at:
            found.append(_free(at, piece.address))
        found.append(piece)
        at = piece.end
    return (*found, _free(at, layout.size.bytes)) if at < layout.size.bytes else tuple(found)


def _free(start: int, end: int) -> Piece:
    return Piece(".", FREE, FREE, start, end - start)


# Colours with enough contrast to black text (WCAG AA), told apart by the colour-blind too.
COLOURS = {"loader": "#f0b27a", "config": "#f7dc6f", "slot": "#85c1e9", "region": "#a9dfbf", FREE: "#eeeeee"}

"""A flash layout as a sequence of segments without gaps, and the colour of each kind of segment."""

from __future__ import annotations

from dataclasses import dataclass

from .memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS
from .model import FlashLayout

FREE = "free"


@dataclass(frozen=True)
class Segment:
    """`size` bytes at flash `address`.

    `kind` is loader, config, slot, region or free, a key of COLOURS; `key` is the character for drawings.
    `link_address` is None unless it is a slot.
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


def layout_segments(layout: FlashLayout) -> tuple[Segment, ...]:
    """Divide the flash from 0 to its end into used and free segments."""
    used = [
        Segment("L", "loader", "loader", 0, CONFIG_ADDRESS),
        Segment("C", "config", "rBoot config", CONFIG_ADDRESS, FIRST_SLOT_ADDRESS - CONFIG_ADDRESS),
    ]
    for slot in layout.slots:
        name = f"slot {slot.number}{f' ({slot.name})' if slot.name else ''}"
        used.append(Segment(str((slot.number or 0) % 10), "slot", name, slot.address, slot.size, slot.link_address))
    for number, region in enumerate(sorted(layout.regions, key=lambda region: region.address)):
        used.append(Segment(chr(ord("a") + number % 26), "region", region.name, region.address, region.size))
    used.sort(key=lambda segment: segment.address)
    found: list[Segment] = []
    at = 0
    for segment in used:
        if segment.address > at:
            found.append(_free(at, segment.address))
        found.append(segment)
        at = segment.end
    return (*found, _free(at, layout.size.bytes)) if at < layout.size.bytes else tuple(found)


def _free(start: int, end: int) -> Segment:
    return Segment(".", FREE, FREE, start, end - start)


# Enough contrast to black text (WCAG AA), and distinct for colour-blind readers.
COLOURS = {"loader": "#f0b27a", "config": "#f7dc6f", "slot": "#85c1e9", "region": "#a9dfbf", FREE: "#eeeeee"}

"""What is said of ROMs, their sizes and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a start of the command line need not load
    from ..flash.image import FlashPiece
    from ..layout.memory import Usage
    from ..layout.model import Slot
    from ..rom.compare import Comparison, RomDifference
from .tables import Heading, Table, percent, plain, printable


def rom_table(name: str, slot: Slot | None, link_address: int, usages: Iterable[Usage]) -> str:
    """The table for one ROM: where it belongs and what of each memory it takes."""
    return plain((Heading(rom_place(name, slot, link_address)), usage_table(usages)))


def rom_place(name: str, slot: Slot | None, link_address: int) -> str:
    """Where a ROM belongs: the line above its table."""
    return f"{name}: {f'{slot.label}, ' if slot else ''}linked at {link_address:#x}"


def usage_table(usages: Iterable[Usage], head: str = "memory") -> Table:
    """What is taken of each memory, under a heading for their names."""
    known = tuple(usages)
    rows = (
        (at.name, f"{at.used:,}", f"{at.available:,}" if at.available else "", percent(at.used, at.available))
        for at in known
    )
    shares = tuple(at.used / at.available if at.available else None for at in known)
    return Table((head, "bytes", "of", "%"), tuple(rows), "<>>>", shares)


MOST_DIFFERENCES = 20
"""So many of two ROMs are shown."""


def compared(
    comparison: Comparison, name: Callable[[RomDifference], str] = lambda difference: "", most: int = MOST_DIFFERENCES
) -> str:
    """What differs between two ROMs, at the most so many differences in their contents.

    `name` says what is at the place of a difference, nothing if that is not known.
    """
    if comparison.same_app:
        if not comparison.relocated:
            return "nothing differs: both are linked for the same address"
        return f"{comparison.relocated:,} words relocated by {comparison.delta:#x}, nothing else differs"
    lines = [f"{comparison.relocated:,} words relocated by {comparison.delta:#x}, and else:"]
    lines += (f"  {clause}" for clause in comparison.structure)
    lines += (f"  {_difference(difference, name(difference))}" for difference in comparison.differences[:most])
    if len(comparison.differences) > most:
        lines.append(f"  and {len(comparison.differences) - most:,} more differences")
    return "\n".join(lines)


def pieces_table(pieces: Sequence[FlashPiece], names: Sequence[str]) -> str:
    """What stands where in a flash; `names` are those of the pieces, or of their files."""
    rows = (
        (f"{piece.address:#08x}", f"{piece.end:#08x}", f"{len(piece.data):,}", name)
        for piece, name in zip(pieces, names)
    )
    return plain((Table(("start", "end", "bytes", ""), tuple(rows), ">>><"),))


def _difference(difference: RomDifference, name: str, most: int = 16) -> str:
    place = f"{difference.section}+{difference.offset:#x}"
    if difference.address is not None:
        place += f" at {difference.address:#x}"
    if name:
        place += f" in {printable(name)}"
    cut = " …" if len(difference.a) > most else ""
    return f"{place}: {difference.a[:most].hex(' ')}{cut} | {difference.b[:most].hex(' ')}{cut}"

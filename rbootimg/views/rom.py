"""Terminal output about ROMs: sizes, summaries, differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..text import counted, printable
from .tables import Heading, Table, percent, plain

if TYPE_CHECKING:  # not needed to start the command line
    from ..flash.image import FlashPiece
    from ..layout.memory import Usage
    from ..layout.model import Slot
    from ..rom.compare import Comparison, RomDifference


def rom_table(name: str, slot: Slot | None, link_address: int, usages: Iterable[Usage]) -> str:
    """Format the table of a ROM: its slot and link address, and the memory that it uses."""
    return plain((Heading(rom_heading(name, slot, link_address)), usage_table(usages)))


def rom_heading(name: str, slot: Slot | None, link_address: int) -> str:
    """Format the line above a ROM's table: its slot and link address."""
    return f"{name}: {f'{slot.label}, ' if slot else ''}linked at {link_address:#x}"


def usage_table(usages: Iterable[Usage], head: str = "memory") -> Table:
    """Make the table of memory usage; `head` is the heading of the first column."""
    known = tuple(usages)
    rows = (
        (at.name, f"{at.used:,}", f"{at.available:,}" if at.available else "", percent(at.used, at.available))
        for at in known
    )
    shares = tuple(at.used / at.available if at.available else None for at in known)
    return Table((head, "bytes", "of", "%"), tuple(rows), "<>>>", shares)


MAX_DIFFERENCES = 20
"""The number of differences between two ROMs that are printed."""


def comparison_text(
    comparison: Comparison,
    name: Callable[[RomDifference], str] = lambda difference: "",
    max_count: int = MAX_DIFFERENCES,
) -> str:
    """Format the differences of two ROMs, of their contents the first `max_count`.

    `name` returns the symbol at a difference, or an empty string.
    """
    if comparison.same_app:
        if not comparison.relocated:
            return "no differences; both are linked at the same address"
        return f"{counted(comparison.relocated, 'word')} relocated by {comparison.delta:#x}, no other differences"
    lines = [f"{counted(comparison.relocated, 'word')} relocated by {comparison.delta:#x}; other differences:"]
    lines += (f"  {clause}" for clause in comparison.structure)
    lines += (f"  {_difference(difference, name(difference))}" for difference in comparison.differences[:max_count])
    if len(comparison.differences) > max_count:
        lines.append(f"  and {counted(len(comparison.differences) - max_count, 'more difference')}")
    return "\n".join(lines)


def pieces_table(pieces: Sequence[FlashPiece], names: Sequence[str]) -> str:
    """Format the address ranges of the pieces of a flash image; `names` are those of the pieces or of their files."""
    rows = (
        (f"{piece.address:#08x}", f"{piece.end:#08x}", f"{len(piece.data):,}", name)
        for piece, name in zip(pieces, names)
    )
    return plain((Table(("start", "end", "bytes", ""), tuple(rows), ">>><"),))


def _difference(difference: RomDifference, name: str, max_bytes: int = 16) -> str:
    place = f"{difference.section}+{difference.offset:#x}"
    if difference.address is not None:
        place += f" at {difference.address:#x}"
    if name:
        place += f" in {printable(name)}"
    ellipsis = " …" if len(difference.a) > max_bytes else ""
    return f"{place}: {difference.a[:max_bytes].hex(' ')}{ellipsis} | {difference.b[:max_bytes].hex(' ')}{ellipsis}"

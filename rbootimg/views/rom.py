"""What is said of ROMs, their sizes and differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..text import printable
from .tables import Table, percent

if TYPE_CHECKING:  # what a start of the command line need not load
    from ..flash.image import FlashPiece
    from ..layout.memory import Usage
    from ..layout.model import Slot
    from ..rom.compare import Comparison, RomDifference
    from ..rom.format import Rom


def rom_table(name: str, slot: Slot | None, link_address: int, usages: Iterable[Usage]) -> str:
    """The table for one ROM: where it belongs and what of each memory it takes."""
    lines = [rom_place(name, slot, link_address)]
    for usage in usages:
        if usage.available is None:
            lines.append(f"  {usage.name:<5} {usage.used:>9,} bytes")
        else:
            share = 100 * usage.used / usage.available
            lines.append(f"  {usage.name:<5} {usage.used:>9,} of {usage.available:>9,} bytes  {share:5.1f} %")
    return "\n".join(lines)


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


def verified(name: str, size: int, rom: Rom) -> str:
    """The line for a ROM that is sound."""
    sections = f"{len(rom.sections)} RAM section{'s' * (len(rom.sections) > 1)}"
    covers = "RAM sections and irom" if rom.irom_checksum else "RAM sections"
    return (
        f"{name}: ok, {size:,} bytes, entry {rom.entry:#x}, {len(rom.irom):,} bytes of irom, "
        f"{sections}, checksum {rom.checksum:#04x} over {covers}"
    )


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
    width = max(len("bytes"), *(len(f"{len(piece.data):,}") for piece in pieces))
    rows = [f"{'start':>8}  {'end':>8}  {'bytes':>{width}}"]
    rows += (
        f"{piece.address:#08x}  {piece.end:#08x}  {len(piece.data):>{width},}  {name}"
        for piece, name in zip(pieces, names)
    )
    return "\n".join(rows)


def _difference(difference: RomDifference, name: str, most: int = 16) -> str:
    place = f"{difference.section}+{difference.offset:#x}"
    if difference.address is not None:
        place += f" at {difference.address:#x}"
    if name:
        place += f" in {printable(name)}"
    cut = " …" if len(difference.a) > most else ""
    return f"{place}: {difference.a[:most].hex(' ')}{cut} | {difference.b[:most].hex(' ')}{cut}"

"""What people read after a ROM was packed or checked: plain text, aligned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a start of the command line need not load
    from .compare import Comparison, Difference
    from .flash import Slot
    from .flashimage import Piece
    from .pack import Usage
    from .rom import Rom


def rom_table(name: str, slot: Slot | None, link_address: int, usages: Iterable[Usage]) -> str:
    """The table for one ROM: where it belongs and what of each memory it takes."""
    place = f"{slot.label}, " if slot else ""
    lines = [f"{name}: {place}linked at {link_address:#x}"]
    for usage in usages:
        if usage.available is None:
            lines.append(f"  {usage.name:<5} {usage.used:>9,} bytes")
        else:
            share = 100 * usage.used / usage.available
            lines.append(f"  {usage.name:<5} {usage.used:>9,} of {usage.available:>9,} bytes  {share:5.1f} %")
    return "\n".join(lines)


def verified(name: str, size: int, rom: Rom) -> str:
    """The line for a ROM that is sound."""
    sections = f"{len(rom.sections)} RAM section{'s' * (len(rom.sections) > 1)}"
    covers = "RAM sections and irom" if rom.irom_checksum else "RAM sections"
    return (
        f"{name}: ok, {size:,} bytes, entry {rom.entry:#x}, {len(rom.irom):,} bytes of irom, "
        f"{sections}, checksum {rom.checksum:#04x} over {covers}"
    )


def compared(comparison: Comparison, most: int = 20) -> str:
    """What differs between two ROMs, at the most so many differences in their contents."""
    if comparison.same_app:
        if not comparison.relocated:
            return "nothing differs: both are linked for the same address"
        return f"{comparison.relocated:,} words relocated by {comparison.delta:#x}, nothing else differs"
    lines = [f"{comparison.relocated:,} words relocated by {comparison.delta:#x}, and else:"]
    lines += (f"  {clause}" for clause in comparison.structure)
    lines += (f"  {_difference(difference)}" for difference in comparison.differences[:most])
    if len(comparison.differences) > most:
        lines.append(f"  and {len(comparison.differences) - most:,} more differences")
    return "\n".join(lines)


def pieces_table(pieces: Sequence[Piece], names: Sequence[str]) -> str:
    """What stands where in a flash; `names` are those of the pieces, or of their files."""
    width = max(len("bytes"), *(len(f"{len(piece.data):,}") for piece in pieces))
    rows = [f"{'start':>8}  {'end':>8}  {'bytes':>{width}}"]
    rows += (
        f"{piece.address:#08x}  {piece.end:#08x}  {len(piece.data):>{width},}  {name}"
        for piece, name in zip(pieces, names)
    )
    return "\n".join(rows)


def _difference(difference: Difference, most: int = 16) -> str:
    place = f"{difference.section}+{difference.offset:#x}"
    if difference.address is not None:
        place += f" at {difference.address:#x}"
    cut = " …" if len(difference.a) > most else ""
    return f"{place}: {difference.a[:most].hex(' ')}{cut} | {difference.b[:most].hex(' ')}{cut}"

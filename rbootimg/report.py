"""What people read after a ROM was packed or checked: plain text, aligned."""

from __future__ import annotations

from collections.abc import Iterable

from .flash import Slot
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

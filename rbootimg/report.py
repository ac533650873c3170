"""What people read after a ROM was packed or checked: plain text, aligned, or tables for that and for a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # what a start of the command line need not load
    from .flash.image import Piece
    from .layout.memory import Usage
    from .layout.model import Slot
    from .release import Release
    from .rom.compare import Comparison, Difference
    from .rom.format import Rom
    from .webroot import Listed, Published


class Heading(NamedTuple):
    """A line of its own; `good` tells a terminal its colour, None is neither good nor bad."""

    text: str
    good: bool | None = None


class Table(NamedTuple):
    """Rows of texts, under `heads` if there are any; `align` has a `<` or `>` for each column.

    `shares` says for each row how full something is, which a terminal draws: 1 is full, None draws nothing.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    shares: tuple[float | None, ...] = ()


def plain(blocks: Iterable[Heading | Table]) -> str:
    """The blocks as text. A table behind a heading is indented; else an empty line stands between two blocks."""
    lines: list[str] = []
    indent = ""
    previous: Heading | Table | None = None
    for block in blocks:
        if previous is not None and (isinstance(previous, Table) or isinstance(block, Heading)):
            lines.append("")
        if isinstance(block, Heading):
            lines.append(printable(block.text))
            indent = "  "
        else:
            lines += ((indent + line).rstrip() for line in _lines(block))
        previous = block
    return "\n".join(lines)


def _lines(table: Table) -> Iterator[str]:
    rows = [[printable(cell) for cell in row] for row in ((table.heads, *table.rows) if table.heads else table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, table.align, widths))


def printable(text: str) -> str:
    """`text` as it may be printed: names come from files, and must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


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


def percent(size: int, whole: int | None) -> str:
    """What of the `whole` it is, with a decimal; nothing if there is no whole."""
    return f"{100 * size / whole:.1f}" if whole else ""


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
    comparison: Comparison, name: Callable[[Difference], str] = lambda difference: "", most: int = MOST_DIFFERENCES
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


def pieces_table(pieces: Sequence[Piece], names: Sequence[str]) -> str:
    """What stands where in a flash; `names` are those of the pieces, or of their files."""
    width = max(len("bytes"), *(len(f"{len(piece.data):,}") for piece in pieces))
    rows = [f"{'start':>8}  {'end':>8}  {'bytes':>{width}}"]
    rows += (
        f"{piece.address:#08x}  {piece.end:#08x}  {len(piece.data):>{width},}  {name}"
        for piece, name in zip(pieces, names)
    )
    return "\n".join(rows)


def published(found: Published, folder: str = "") -> list[str]:
    """What devices get now, a line for each ROM and other file; `folder` is where the application's files are."""
    release = found.release
    if found.repaired:
        return [f"{release.app} {release.version} was damaged and is whole again; {found.before} stays current"]
    what = f"{release.app} {release.version} is current{' already' * (not found.changed)}"
    if found.left_out:
        what += f"; it has the same ROMs and stays as it is, without {' and '.join(found.left_out)} given now"
    if not found.changed:
        return [what]
    before = f", before it {found.before}" if found.before else ""
    return [what + before, *_files(release, folder)]


def rolled_back(found: Published, folder: str = "") -> list[str]:
    """What devices get again, a line for each ROM and other file; `folder` is where the application's files are."""
    release = found.release
    if not found.changed:
        return published(found)
    if found.before == release.version:
        return [f"{release.app} {release.version} is current already; its files are in place again"]
    instead = f", instead of {found.before}" if found.before else ""
    return [f"{release.app} {release.version} is current again{instead}", *_files(release, folder)]


def _files(release: Release, folder: str) -> list[str]:
    files = {rom.file.name: rom.file for rom in release.roms}
    others = ((release.recovery.file,) if release.recovery else ()) + release.data_files
    files |= {f"{release.folder}/{file.name}": file for file in others}
    return [
        f"  {os.path.join(folder, name)}  {file.size:,} bytes  sha256 {file.sha256}" for name, file in files.items()
    ]


def releases(found: Mapping[str, Sequence[Listed]]) -> str:
    """The releases of each application, a line for each."""
    lines = []
    for app, every in found.items():
        lines.append(app)
        width = max(len(listed.version) for listed in every)
        for listed in every:
            state = "current" if listed.current else "previous" if listed.previous else ""
            date = listed.release.date or "" if listed.release else ""
            lines.append(f"  {listed.version:<{width}}  {state:<8}  {date:<10}  {rom_sizes(listed.release)}")
    return "".join(f"{line}\n" for line in lines)


def rom_sizes(release: Release | None) -> str:
    """The sizes of a release's ROMs, of its recovery ROM, and of its data files together, for a table."""
    if release is None:
        return "its manifest cannot be read"
    sizes = " + ".join(f"{rom.file.size:,}" for rom in release.roms) + " bytes"
    if release.recovery:
        sizes += f", recovery {release.recovery.file.size:,} bytes"
    if release.data_files:
        count = len(release.data_files)
        sizes += f", {count} file{'s' * (count > 1)} ({sum(file.size for file in release.data_files):,} bytes)"
    return sizes


def _difference(difference: Difference, name: str, most: int = 16) -> str:
    place = f"{difference.section}+{difference.offset:#x}"
    if difference.address is not None:
        place += f" at {difference.address:#x}"
    if name:
        place += f" in {printable(name)}"
    cut = " …" if len(difference.a) > most else ""
    return f"{place}: {difference.a[:most].hex(' ')}{cut} | {difference.b[:most].hex(' ')}{cut}"

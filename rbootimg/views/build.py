"""What a build prints about its ROMs, proofs and releases.

Without Rich, which would take a second for the table of a thousand ROMs.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..text import counted, printable
from .messages import Style, has_colours, styled
from .release import about_update, omission_text
from .tables import Table, percent, plain
from .terminal import is_terminal, share_colour

if TYPE_CHECKING:  # not needed by each of the functions
    from ..layout.memory import Usage
    from ..layout.model import Slot
    from ..release.manifest import Release
    from ..release.webroot import Published

_MEMORIES = ("IRAM", "DRAM", "flash")
_MAX_BAR = 16
_BAR, _ASCII_BAR = ("━", "╸", "─"), ("=", "-", ".")
"""A full, a half and an empty column of a bar; the second where stdout cannot encode the first."""
_MAX_NAMES = 4
"""The number of applications or ROMs up to which a line lists them instead of counting them."""


class RomUsage(NamedTuple):
    """The `usages` of a ROM by memory, with its slot and link address if they are known."""

    name: str
    slot: Slot | None
    link_address: int | None
    usages: Mapping[str, Usage]


def print_roms(roms: Sequence[RomUsage], end: str = "") -> None:
    """Print the table of the ROMs and `end`, in one write, as other jobs of a build print too."""
    drawn = _draw(roms, shutil.get_terminal_size().columns) if is_terminal() else plain((_table(roms),))
    sys.stdout.write(_encodable(f"\n{drawn}\n{end}"))


def _encodable(text: str) -> str:
    """Replace what stdout cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _table(roms: Sequence[RomUsage], with_total: bool = True, with_percent: bool = True) -> Table:
    rows = []
    for rom in roms:
        slot = rom.slot
        row = [rom.name, f"{'' if slot.number is None else f'{slot.number} at '}{slot.address:#x}" if slot else ""]
        row.append("" if rom.link_address is None else f"{rom.link_address:#x}")
        for memory in _MEMORIES:
            usage = rom.usages.get(memory)
            used, total = (usage.used, usage.available) if usage else (None, None)
            row.append("" if used is None else f"{used:,}")
            row += [f"{total:,}" if total else ""] * with_total
            row += [percent(used or 0, total)] * with_percent
        rows.append(tuple(row))
    heads = [word for memory in _MEMORIES for word in (memory, *("of",) * with_total, *("%",) * with_percent)]
    return Table(("ROM", "slot", "linked at", *heads), tuple(rows), "<<<" + ">" * len(heads))


class _Drawing(NamedTuple):
    """The cells of a table to draw, the width of each column and of the bar after each memory's columns.

    If `is_stacked` the name is in a line of its own.
    """

    table: Table
    widths: tuple[int, ...]
    bar: int
    is_stacked: bool


def _draw(roms: Sequence[RomUsage], width: int) -> str:
    """Draw the table with bars. Nothing is cut: a narrow terminal gets fewer columns, or a second line for names."""
    drawing = _choose_drawing(roms, width)
    lines = []
    for cells, rom in zip((drawing.table.heads, *drawing.table.rows), (None, *roms)):
        table = drawing.table
        padded = [f"{printable(cell):{side}{size}}" for cell, side, size in zip(cells, table.align, drawing.widths)]
        if drawing.is_stacked:
            lines.append(styled(padded[0].rstrip(), Style.DIM) if rom is None else padded[0].rstrip())
            padded[0] = ""
        per_memory = (len(padded) - 3) // len(_MEMORIES)
        for at, memory in enumerate(_MEMORIES):
            padded[3 + (at + 1) * per_memory - 1] += f" {_bar(rom and rom.usages.get(memory), drawing.bar)}"
        line = "  ".join(padded).rstrip()
        lines.append(styled(line, Style.DIM) if rom is None else line)
    return "\n".join(lines)


def _choose_drawing(roms: Sequence[RomUsage], width: int) -> _Drawing:
    """Choose the drawing with the most columns whose bars have room."""
    for is_stacked in (False, True):
        for with_total, with_percent, least in ((True, True, 8), (False, True, 6), (False, False, 4)):
            table = _table(roms, with_total, with_percent)
            widths = tuple(max(len(printable(cell)) for cell in column) for column in zip(table.heads, *table.rows))
            used = sum(widths[is_stacked:]) + 2 * (len(widths) - 1) + len(_MEMORIES)
            bar = min(_MAX_BAR, (width - used) // len(_MEMORIES))
            if bar >= least:
                return _Drawing(table, widths, bar, is_stacked)
    return _Drawing(table, widths, 0, is_stacked=True)


def _bar(usage: Usage | None, width: int) -> str:
    if not (width and usage and usage.available):
        return " " * width
    share = min(usage.used / usage.available, 1)
    halves = max(round(share * width * 2), int(usage.used > 0))
    full, half, empty = _BAR if _encodable("".join(_BAR)) == "".join(_BAR) else _ASCII_BAR
    used = full * (halves // 2) + half * (halves % 2)
    free = (empty if has_colours(sys.stdout) else " ") * (width - len(used))
    return styled(used, Style[share_colour(share).upper()]) + styled(free, Style.DIM)


class ProvedRoms(NamedTuple):
    """An application whose `roms` boot with the `loader`; `before` this build that was proved already."""

    app: str
    roms: int
    loader: str
    before: bool


def proof_line(proved: Sequence[ProvedRoms]) -> str:
    """Format one line about the ROMs that are proved, those of this build first."""
    old, new = [each for each in proved if each.before], [each for each in proved if not each.before]
    with_apps = len(proved) > 1
    if not new:
        return f"proved before: {_rom_count(old, with_apps)} with {_loaders(old)}"
    line = f"proved {_rom_count(new, with_apps)} with {_loaders(new)}, every byte in place"
    return f"{line}; proved before: {_rom_count(old, with_apps)}" if old else line


def _rom_count(proved: Sequence[ProvedRoms], with_apps: bool) -> str:
    count = sum(each.roms for each in proved)
    names = list(dict.fromkeys(each.app for each in proved))
    apps = ", ".join(names) if len(names) <= _MAX_NAMES else f"{len(names):,} applications"
    return f"{counted(count, 'ROM')}{f' of {apps}' * with_apps}"


def _loaders(proved: Sequence[ProvedRoms]) -> str:
    return ", ".join(dict.fromkeys(each.loader for each in proved))


def published_line(result: Published, directory: str) -> str:
    """Format one line about a publication to `directory`, the application's directory."""
    from ..release.webroot import Outcome

    release, place = result.release, f"{result.release.app} {result.release.version}"
    if result.outcome is Outcome.REPAIRED:
        return f"repaired {place} in {directory}; {result.before} is still current"
    details = f"({_release_sizes(release)}), {_proved_by(release.roms[0].proved_by)}"
    if result.outcome in (Outcome.UNCHANGED, Outcome.ANNOUNCED):
        line = f"{place} is current already in {directory} {details}"
    elif result.before == release.version:
        done = "replaced" if result.outcome is Outcome.REPLACED else "repaired"
        line = f"{done} {place} in {directory} {details}"
    else:
        line = f"published {place} to {directory} {details}{f', previously {result.before}' if result.before else ''}"
    return line + about_update(result) + omission_text(result)


def published_files_line(app: str, directory: str, sizes: Sequence[int], loader: str | None, changed: bool) -> str:
    """Format one line about the ROMs of an application without a version, in slot order."""
    start = f"published {app} to" if changed else f"{app} is current already in"
    return f"{start} {directory} ({_rom_sizes(sizes)}), {_proved_by(loader)}, without a version"


def rolled_back_line(result: Published, directory: str) -> str:
    """Format one line about a rollback in `directory`, the application's directory."""
    from ..release.webroot import Outcome

    release, place = result.release, f"{result.release.app} {result.release.version}"
    sizes = f"({_release_sizes(release)}){about_update(result)}"
    if result.outcome in (Outcome.UNCHANGED, Outcome.ANNOUNCED):
        return f"{place} is current already in {directory} {sizes}"
    if result.before == release.version:
        return f"repaired {place} in {directory}, which was current already {sizes}"
    instead = f" instead of {result.before}" if result.before else ""
    return f"{place} is current again{instead} in {directory} {sizes}"


def _release_sizes(release: Release) -> str:
    parts = [_rom_sizes([rom.file.size for rom in release.roms])]
    if release.recovery:
        parts.append(f"recovery {release.recovery.file.size:,} B")
    if release.data_files:
        total = sum(file.size for file in release.data_files)
        parts.append(f"{counted(len(release.data_files), 'file')} {total:,} B")
    return ", ".join(parts)


def _rom_sizes(sizes: Sequence[int]) -> str:
    if len(sizes) > _MAX_NAMES:
        return f"{len(sizes)} ROMs {sum(sizes):,} B"
    return ", ".join(f"rom{number} {size:,} B" for number, size in enumerate(sizes))


def _proved_by(loader: str | None) -> str:
    return f"proved with {loader}" if loader else "not proved"

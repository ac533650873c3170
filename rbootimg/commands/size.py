"""`rbootimg size`: an application's memory usage."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..analysis import budget, size
from ..analysis.image import first_slot
from ..errors import FitError, error_subject
from ..fileio import read_file, write_output
from ..rom import pack
from ..rom.demangle import demangle
from ..rom.elf import Elf, parse_elf
from ..views import terminal, treemap
from ..views.size import difference_tables, excess_text, markdown_report, tables
from .arguments import count, limit
from .common import check_not_input, json_argument, print_json, read_layout

if TYPE_CHECKING:
    from ..layout.memory import Usage
    from ..layout.model import FlashLayout

DESCRIPTION = (
    "Report memory usage by section, symbol, object and library; with another build the changes since then. With "
    "--fail-over the exit status is 1 if a limit is exceeded."
)


_NEXT_TO_ELF = Path("")

EPILOG = """\
Examples:
  rbootimg size app.elf --map --by object
  rbootimg size app.elf old.elf
  rbootimg size app.elf --against build/webroot --format markdown \\
      --fail-over IRAM=95% --fail-over rom=+4KB"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="APP.ELF", help="the linked application")
    parser.add_argument("old", type=Path, nargs="?", metavar="OLD.ELF", help="another build to compare with")
    parser.add_argument(
        "--map",
        type=Path,
        nargs="?",
        const=_NEXT_TO_ELF,
        metavar="APP.MAP",
        help="the map file of APP.ELF (-Wl,-Map=), for usage by object and library (default: APP.map next to it)",
    )
    parser.add_argument(
        "--old-map", type=Path, nargs="?", const=_NEXT_TO_ELF, metavar="OLD.MAP", help="the map file of OLD.ELF"
    )
    parser.add_argument(
        "--by",
        choices=size.GROUPINGS,
        help="print only this table and draw this treemap (default: all tables; treemap by symbol)",
    )
    parser.add_argument(
        "--top", type=count, default=20, metavar="N", help="maximum rows per table, 0 for all (default: 20)"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a treemap as SVG to this file")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        help="compare with this build: an ELF as OLD.ELF, or the directory of a release or of an application in a web "
        "root, if the ELFs were published",
    )
    parser.add_argument(
        "--fail-over",
        dest="limits",
        type=limit,
        action="append",
        default=[],
        metavar="MEMORY=LIMIT",
        help="fail if IRAM, DRAM or rom is larger: a size such as 460KB, a percentage such as 95%%, or +4KB more than "
        "the other build; repeatable",
    )
    parser.add_argument(
        "--layout", metavar="LAYOUT", help="the layout with the slot of the ROM, for a limit such as rom=95%%"
    )
    parser.add_argument(
        "--format",
        choices=("text", "markdown"),
        default="text",
        help="print tables as text, or as Markdown for a merge request (default: text)",
    )
    json_argument(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Print the tables, and write the treemap."""
    if options.old and options.against:
        options.usage_error("OLD.ELF and --against are mutually exclusive")
    if options.json and options.format == "markdown":
        options.usage_error("--json and --format markdown are mutually exclusive")
    if options.against and not options.against.is_dir():
        options.old, options.against = options.against, None
    if options.old_map and not options.old:
        options.usage_error("--old-map requires OLD.ELF")
    if options.by in ("object", "library") and not (
        options.map and (options.old_map or not (options.old or options.against))
    ):
        options.usage_error(f"--by {options.by} requires the map file of each ELF: use --map and --old-map")
    if options.map is _NEXT_TO_ELF:
        options.map = options.file.with_suffix(".map")
    if options.old_map is _NEXT_TO_ELF:
        options.old_map = options.old.with_suffix(".map")
    check_not_input(options.svg, filter(None, (options.file, options.old, options.map, options.old_map)))
    new = _build(read_file(options.file), options.map)
    old = _old_build(options, new)
    difference = size.compare_sizes(old.sizes, new.sizes) if old else None
    needs_names = options.json or options.limits or options.by in (None, "symbol")
    names = demangle(size.symbol_names(new.sizes, difference)) if needs_names else {}
    excesses = _excesses(options, new, old, difference, names)
    if options.svg:
        group = options.by or "symbol"
        labels = names if group == "symbol" else {}
        parts = new.sizes.by[group]
        cells = (treemap.Cell(labels.get(part.name, part.name), part.size, part.region) for part in parts)
        write_output(options.svg, treemap.render(cells, f"{options.file.name} by {group}").encode())
    if options.json:
        print_json({"file": str(options.file), **size.as_json(new.sizes, difference, names)})
    else:
        _show(options, new, difference, names, excesses)
    if excesses:
        sys.stdout.flush()  # or a log of both has the error before the tables
        raise FitError("; ".join(excesses))


class _Build(NamedTuple):
    """An application and its sizes."""

    app: Elf
    sizes: size.Sizes

    def usages(self, layout: FlashLayout | None) -> tuple[Usage, ...]:
        """Measure the usage of the memories, and of the slot in `layout` that the application is linked for."""
        rom_size, address = pack.pack(self.app).size, pack.irom(self.app).address
        slots = [slot for slot in layout.slots if slot.link_address == address] if layout else []
        return pack.usage(self.app, rom_size, first_slot(slots, rom_size))


def _build(data: bytes, map_file: Path | None) -> _Build:
    map_text = None if map_file is None else read_file(map_file).decode(errors="replace")
    return _Build(parse_elf(data), size.measure(data, map_text))


def _old_build(options: argparse.Namespace, new: _Build) -> _Build | None:
    """Read the build to compare with: OLD.ELF, or that of a release for the same slot as the `new` one."""
    if options.old:
        with error_subject(options.old):
            return _build(read_file(options.old), options.old_map)
    if options.against:
        from ..release.elfs import published_elf

        with error_subject(options.against):
            return _build(published_elf(options.against, pack.irom(new.app).address), None)
    return None


def _excesses(
    options: argparse.Namespace,
    new: _Build,
    old: _Build | None,
    difference: size.SizeDifference | None,
    names: Mapping[str, str],
) -> list[str]:
    """Describe the limits that are exceeded."""
    if not options.limits:
        return []
    layout = read_layout(options.layout) if options.layout else None
    usages, before = new.usages(layout), old.usages(layout) if old else ()
    with error_subject("--fail-over"):
        found = budget.find_excesses(options.limits, usages, before)
    return [excess_text(excess, budget.contributors(excess, new.app, new.sizes, difference), names) for excess in found]


def _show(
    options: argparse.Namespace,
    new: _Build,
    difference: size.SizeDifference | None,
    names: Mapping[str, str],
    excesses: Iterable[str],
) -> None:
    groupings = (options.by,) if options.by else size.GROUPINGS
    title = str(options.file)
    if difference:
        title += f" compared with {options.old or options.against}"
        blocks = difference_tables(difference, groupings, options.top, names)
    else:
        blocks = tables(new.sizes, groupings, options.top, names)
    if options.format == "markdown":
        print(markdown_report(title, blocks, excesses, groupings))
    else:
        terminal.show(blocks)

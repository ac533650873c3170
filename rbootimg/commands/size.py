"""`rbootimg size`: an application's memory usage."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..analysis import size
from ..errors import error_subject
from ..fileio import read_file, write_output
from ..rom.demangle import demangle
from ..views import terminal, treemap
from ..views.size import difference_tables, tables
from .arguments import count
from .common import check_not_input, json_argument, print_json

DESCRIPTION = "Report memory usage by section, symbol, object and library; with OLD.ELF the changes since that build."


_NEXT_TO_ELF = Path("")

EPILOG = """\
Examples:
  rbootimg size app.elf --map --by object
  rbootimg size app.elf old.elf"""


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
    json_argument(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Print the tables, and write the treemap."""
    if options.old_map and not options.old:
        options.usage_error("--old-map requires OLD.ELF")
    if options.by in ("object", "library") and not (options.map and (options.old_map or not options.old)):
        options.usage_error(f"--by {options.by} requires the map file of each ELF: use --map and --old-map")
    if options.map is _NEXT_TO_ELF:
        options.map = options.file.with_suffix(".map")
    if options.old_map is _NEXT_TO_ELF:
        options.old_map = options.old.with_suffix(".map")
    check_not_input(options.svg, filter(None, (options.file, options.old, options.map, options.old_map)))
    sizes = size.measure(read_file(options.file), _map_text(options.map))
    difference = None
    if options.old:
        with error_subject(options.old):
            old = size.measure(read_file(options.old), _map_text(options.old_map))
        difference = size.compare_sizes(old, sizes)
    names = demangle(size.symbol_names(sizes, difference)) if options.json or options.by in (None, "symbol") else {}
    if options.svg:
        group = options.by or "symbol"
        shown = names if group == "symbol" else {}
        cells = (treemap.Cell(shown.get(part.name, part.name), part.size, part.region) for part in sizes.by[group])
        write_output(options.svg, treemap.render(cells, f"{options.file.name} by {group}").encode())
    if options.json:
        print_json({"file": str(options.file), **size.as_json(sizes, difference, names)})
        return
    groupings = (options.by,) if options.by else size.GROUPINGS
    if difference:
        terminal.show(difference_tables(difference, groupings, options.top, names))
    else:
        terminal.show(tables(sizes, groupings, options.top, names))


def _map_text(path: Path | None) -> str | None:
    return None if path is None else read_file(path).decode(errors="replace")

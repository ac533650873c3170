"""`rbootimg size`: what takes the memory."""

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
from .common import check_not_input

DESCRIPTION = "Bytes per memory, by section, symbol, object and library; with OLD.ELF what changed since then."


_BESIDE = Path("")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="APP.ELF", help="the linked application")
    parser.add_argument("old", type=Path, nargs="?", metavar="OLD.ELF", help="another build, to compare with")
    parser.add_argument(
        "--map",
        type=Path,
        nargs="?",
        const=_BESIDE,
        metavar="APP.MAP",
        help="its map file (-Wl,-Map=): by object and library too; without a name the one beside APP.ELF",
    )
    parser.add_argument(
        "--old-map", type=Path, nargs="?", const=_BESIDE, metavar="OLD.MAP", help="the map file of OLD.ELF"
    )
    parser.add_argument(
        "--by",
        choices=size.GROUPINGS,
        help="only this table, and what a picture shows (default: all; the picture: symbol)",
    )
    parser.add_argument("--top", type=count, default=20, metavar="N", help="rows of a table, 0 for all (default: 20)")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw a treemap to this file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Print the tables, and draw the picture that was asked for."""
    if options.old_map and not options.old:
        options.usage_error("--old-map goes with OLD.ELF")
    if options.by in ("object", "library") and not (options.map and (options.old_map or not options.old)):
        options.usage_error(f"--by {options.by} takes the map file of each ELF: --map, --old-map")
    if options.map is _BESIDE:
        options.map = options.file.with_suffix(".map")
    if options.old_map is _BESIDE:
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
        cut = options.by or "symbol"
        shown = names if cut == "symbol" else {}
        cells = (treemap.Cell(shown.get(part.name, part.name), part.size, part.region) for part in sizes.by[cut])
        write_output(options.svg, treemap.render(cells, f"{options.file.name} by {cut}").encode())
    if options.json:
        import json  # not for every start

        print(json.dumps({"file": str(options.file), **size.as_json(sizes, difference, names)}, indent=2))
        return
    cuts = (options.by,) if options.by else size.GROUPINGS
    if difference:
        terminal.show(difference_tables(difference, cuts, options.top, names))
    else:
        terminal.show(tables(sizes, cuts, options.top, names))


def _map_text(path: Path | None) -> str | None:
    return None if path is None else read_file(path).decode(errors="replace")

"""`rbootimg layout`: a flash layout as a drawing, an SVG image, a C header or a JSON Schema."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..fileio import write_output
from ..flash import clientheader
from ..layout import presets
from ..layout.sdk_partitions import sdk_partitions
from ..views.layout import drawing, summary, svg, table, title
from ..views.tables import Table, plain
from .common import check_not_input, read_layout

DESCRIPTION = "Draw a flash layout to scale, with a table of its slots and regions. Without LAYOUT, list the presets."

SCHEMA = Path(__file__).parents[1] / "schemas" / "layout.schema.json"

EPILOG = """\
Examples:
  rbootimg layout 4MB-big
  rbootimg layout layout.toml --svg -o layout.svg"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", nargs="?", metavar="LAYOUT", help="a layout file (TOML) or a preset")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--svg", action="store_true", help="write an SVG image")
    form.add_argument(
        "--sdk-partitions", action="store_true", help="write the C header with the partition table for NONOS SDK 3"
    )
    form.add_argument(
        "--client-header", action="store_true", help="write the C header for the update client (rboot-layout.h)"
    )
    form.add_argument(
        "--schema",
        action="store_true",
        help="write the JSON Schema of layout files, for editors; without LAYOUT",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to this file (default: stdout)")
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Print or write the layout."""
    check_not_input(options.output, [options.file] if options.file else [])
    if options.schema:
        if options.file is not None:
            options.usage_error("--schema and LAYOUT are mutually exclusive: all layout files have the same schema")
        text = SCHEMA.read_text(encoding="utf-8")
    elif options.file is None:
        if options.svg or options.sdk_partitions or options.client_header:
            options.usage_error("LAYOUT is required with --svg, --sdk-partitions and --client-header")
        rows = tuple((name, summary(found)) for name, found in presets.LAYOUT_PRESETS.items())
        text = plain((Table((), rows, "<<"),)) + "\n"
    else:
        found = read_layout(options.file)
        if options.svg:
            text = svg(found)
        elif options.sdk_partitions:
            text = sdk_partitions(found)
        elif options.client_header:
            text = clientheader.client_header(found)
        else:
            parts = (title(found), drawing(found), table(found))
            text = "\n\n".join(parts) + "\n"
    if options.output is None:
        print(text, end="")
    else:
        write_output(options.output, text.encode())

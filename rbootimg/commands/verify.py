"""`rbootimg verify`: check a ROM."""

from __future__ import annotations

import argparse

from ..analysis.common import check_problems
from ..analysis.identify import as_json
from ..analysis.image import rom_info
from ..fileio import read_file
from ..views import info
from ..views.messages import print_result
from .common import json_argument, print_json

DESCRIPTION = (
    "Check the headers, sections, checksum and entry point of a ROM. The exit status is 1 if it is invalid. With "
    "--json the output is that of `rbootimg info --json`."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="ROM.BIN", help="the ROM")
    parser.add_argument(
        "--irom-checksum",
        action=argparse.BooleanOptionalAction,
        help="require a checksum with or without irom (default: accept either, a weaker check)",
    )
    json_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Print the contents of a valid ROM. Raises RbootError if it is invalid."""
    found = rom_info(read_file(options.file), options.irom_checksum)
    if options.json:
        print_json({"file": options.file, **as_json(found)})
    check_problems(found)
    if not options.json:
        print_result([info.verified(options.file, found)])

"""`rbootimg compare`: whether two ROMs are one application."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import report
from ..compare import compare
from ..detect import detect
from ..errors import RbootError
from .common import read_rom

DESCRIPTION = (
    "Compare two ROMs: the same application, linked for two slots, differs in relocated words only. "
    "The exit status is 1 if anything else differs."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="ROM0.BIN", help="the one ROM")
    parser.add_argument("other", type=Path, metavar="ROM1.BIN", help="the other")


def run(options: argparse.Namespace) -> None:
    """Print what differs."""
    roms = [read_rom(path) for path in (options.file, options.other)]
    links = [detect(rom).link_address for rom in roms]
    known = (links[0], links[1]) if links[0] is not None and links[1] is not None else None
    comparison = compare(roms[0], roms[1], known)
    print(report.compared(comparison))
    if not comparison.same_app:
        raise RbootError(f"not the same application as {options.other}")

"""`rbootimg info`: what a file is and what is in it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis import identify
from ..errors import RbootError
from ..fileio import read_file
from ..views import info, terminal
from .arguments import flash_slot
from .common import read_layout, sized_slot

if TYPE_CHECKING:
    from ..layout.model import FlashLayout, Slot

DESCRIPTION = (
    "Say what a file is and what is in it: a ROM, an image for the mask ROM, a whole flash, a boot config, an ELF. "
    "The exit status is 1 if something is wrong with it."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="the file")
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--layout", metavar="LAYOUT", help="a layout file (TOML) or preset with the slots, and what else is in a flash"
    )
    place.add_argument("--slot", type=flash_slot, metavar="ADDRESS[:SIZE]", help="the slot that the ROM is for")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> None:
    """Print what is in the file, and raise RbootError if something is wrong with it."""
    found = identify.identify(read_file(options.file), *_places(options))
    if options.json:
        import json  # not for every start

        print(json.dumps({"file": options.file, **identify.as_json(found)}, indent=2))
    else:
        terminal.show(info.blocks(options.file, found))
    if found.problems:
        more = len(found.problems) - 1
        raise RbootError(found.problems[0] + (f" (and {more} more)" if more else ""))


def _places(options: argparse.Namespace) -> tuple[Sequence[Slot], FlashLayout | None]:
    """The slots and the layout that are known."""
    if options.layout:
        layout = read_layout(options.layout)
        return layout.slots, layout
    return (sized_slot(options.slot),) if options.slot else (), None

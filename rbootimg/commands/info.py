"""`rbootimg info`: identify a file and describe its contents."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..analysis import identify
from ..analysis.common import check_problems
from ..fileio import read_file
from ..views import info, terminal
from .arguments import flash_slot
from .common import json_argument, print_json, read_layout, sized_slot

if TYPE_CHECKING:
    from ..layout.model import FlashLayout, Slot

DESCRIPTION = (
    "Identify a file and describe its contents: a ROM, an image for the mask ROM, a flash image, a boot config, an "
    "ELF, an update file or a public key. The exit status is 1 if it is invalid."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="FILE", help="the file")
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--layout",
        metavar="LAYOUT",
        help="show which slots of this layout, a file (TOML) or a preset, the contents are for",
    )
    place.add_argument("--slot", type=flash_slot, metavar="ADDRESS[:SIZE]", help="show whether the ROM fits this slot")
    json_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Print the contents of the file. Raises RbootError if it is invalid."""
    data = read_file(options.file)
    if data.startswith((b"rbootimg-update ", b"untrusted comment: ")):
        _describe_update(options, data)
        return
    found = identify.identify(data, *_slots_and_layout(options))
    if options.json:
        print_json({"file": options.file, **identify.as_json(found)})
    else:
        terminal.show(info.blocks(options.file, found))
    check_problems(found)


def _describe_update(options: argparse.Namespace, data: bytes) -> None:
    """Print the contents of an update file or a public key. Raises RbootError if it is invalid."""
    from ..release import updateinfo  # for these files alone
    from ..views import signing_info

    found = updateinfo.identify(data)
    if options.json:
        print_json({"file": options.file, **updateinfo.as_json(found)})
    else:
        terminal.show(signing_info.blocks(options.file, found))
    check_problems(found)


def _slots_and_layout(options: argparse.Namespace) -> tuple[Sequence[Slot], FlashLayout | None]:
    if options.layout:
        layout = read_layout(options.layout)
        return layout.slots, layout
    return (sized_slot(options.slot),) if options.slot else (), None

"""`rbootimg flash-image`: loader, config, ROMs and data -> a flash image, or a file for each piece."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from ..errors import error_subject
from ..fileio import read_file, write_directory, write_output
from ..flash.image import FlashPiece, assemble, flash_pieces, make_boot_config, warnings
from ..flash.loader import check_loader
from ..flash.regions import INIT_DATA_REGION
from ..layout.model import FlashLayout
from ..views import rom
from ..views.messages import print_warning
from .arguments import files_by_slot, region_and_file, slot_and_file, slot_number
from .common import check_not_input, layout_argument, read_layout

_Key = TypeVar("_Key")

DESCRIPTION = (
    "Build a complete flash image from loader, config, ROMs and data, and check each against the layout. "
    "The layout's flash size, mode and frequency are written to the loader's header."
)

EPILOG = """\
Examples:
  rbootimg flash-image --layout 1MB --loader rboot.bin --rom rom0.bin \\
      --rom rom1.bin -o flash.bin"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    inputs(parser)
    parser.add_argument(
        "--no-config", action="store_true", help="do not write the config sector; rBoot creates its default"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FLASH.BIN", help="write the complete image to this file")
    parser.add_argument(
        "--pieces",
        type=Path,
        metavar="DIRECTORY",
        help="write each piece to a file in this directory, named after its address",
    )


def inputs(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the contents of a flash image."""
    layout_argument(parser)
    parser.add_argument("--loader", type=Path, required=True, metavar="RBOOT.BIN", help="add this boot loader")
    parser.add_argument(
        "--rom",
        type=slot_and_file,
        action="append",
        required=True,
        metavar="[SLOT=]ROM.BIN",
        help="add this ROM; repeatable, in slot order or with slot numbers",
    )
    parser.add_argument("--current", type=slot_number, metavar="SLOT", help="boot this slot (default: 0)")
    parser.add_argument("--init-data", type=Path, metavar="FILE", help="add the SDK's esp_init_data_default.bin")
    parser.add_argument(
        "--file",
        dest="files",
        type=region_and_file,
        action="append",
        default=[],
        metavar="REGION=FILE",
        help="add a file to a region of the layout, such as a file system; repeatable",
    )
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Write the image, its pieces or both, and list the pieces."""
    if not (options.output or options.pieces):
        options.usage_error("--output or --pieces is required")
    if options.no_config and options.current is not None:
        options.usage_error("--current and --no-config are mutually exclusive")
    layout, pieces = read_pieces(options, not options.no_config, options.output)
    names = [piece.name for piece in pieces]
    if options.pieces:
        names = write_pieces(options.pieces, pieces)
    is_file = not options.output or write_output(options.output, assemble(pieces, layout.size.bytes))
    print(rom.pieces_table(pieces, names), file=sys.stdout if is_file else sys.stderr)


def read_pieces(
    options: argparse.Namespace, with_config: bool = True, output: Path | None = None
) -> tuple[FlashLayout, tuple[FlashPiece, ...]]:
    """Read the files that inputs() names; return the layout and the checked pieces. Warnings go to stderr.

    Raises RbootError for invalid input, or if `output` is an input.
    """
    layout = read_layout(options.layout)
    roms = files_by_slot(options.rom, "--rom", options.usage_error)
    files = dict(options.files)
    if options.init_data:
        if INIT_DATA_REGION in files:
            options.usage_error(f"--init-data and --file {INIT_DATA_REGION}= are mutually exclusive")
        files[INIT_DATA_REGION] = options.init_data
    check_not_input(output, [options.layout, options.loader, *roms.values(), *files.values()])
    loader = read_file(options.loader)
    with error_subject(options.loader):
        check_loader(loader, layout)
    config = make_boot_config(layout, loader, options.current or 0) if with_config else None
    pieces = flash_pieces(layout, loader, _contents(roms), config, _contents(files))
    for warning in warnings(layout, pieces):
        print_warning(f"rbootimg: {options.layout}", warning)
    return layout, pieces


def _contents(paths: Mapping[_Key, Path]) -> dict[_Key, bytes]:
    return {key: read_file(path) for key, path in paths.items()}


def write_pieces(directory: Path, pieces: Iterable[FlashPiece]) -> list[str]:
    """Write each piece to a file in `directory`, which is created if needed. Returns the paths."""
    contents = {piece.file_name: piece.data for piece in pieces}
    write_directory(directory, contents)
    return [str(directory / name) for name in contents]

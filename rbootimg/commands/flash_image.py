"""`rbootimg flash-image`: loader, config, ROMs and data, checked, as one image or as the files of its pieces."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from ..fileio import read_file, write_folder, write_output
from ..flash.image import INIT_DATA_REGION, FlashPiece, assemble, flash_pieces, make_boot_config, warnings
from ..layout.model import FlashLayout
from ..views import rom
from .arguments import files_by_slot, region_and_file, slot_and_file, slot_number
from .common import check_not_input, read_layout

_Key = TypeVar("_Key")

DESCRIPTION = (
    "Put loader, config, ROMs and data together to a whole flash, each checked against the layout. "
    "The loader's header gets the layout's flash size, mode and frequency."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    inputs(parser)
    parser.add_argument("--no-config", action="store_true", help="leave the config to rBoot: its default must do")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FLASH.BIN", help="where the whole flash goes, as one file"
    )
    parser.add_argument("--pieces", type=Path, metavar="FOLDER", help="where each piece goes, named for its address")


def inputs(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what goes into a flash."""
    parser.add_argument(
        "--layout",
        dest="file",
        required=True,
        metavar="LAYOUT",
        help="a layout file (TOML) or the name of a preset; `rbootimg layout` lists them",
    )
    parser.add_argument("--loader", type=Path, required=True, metavar="RBOOT.BIN", help="the boot loader")
    parser.add_argument(
        "--rom",
        type=slot_and_file,
        action="append",
        required=True,
        metavar="[SLOT=]ROM.BIN",
        help="a ROM; repeat it, in the order of the slots or with their numbers",
    )
    parser.add_argument("--current", type=slot_number, metavar="SLOT", help="the slot that boots (default: 0)")
    parser.add_argument("--init-data", type=Path, metavar="FILE", help="the SDK's esp_init_data_default.bin")
    parser.add_argument(
        "--file",
        dest="files",
        type=region_and_file,
        action="append",
        default=[],
        metavar="REGION=FILE",
        help="what goes into a region of the layout, such as a file system; repeat it",
    )
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Write the flash, its pieces or both, and say what stands where."""
    if not (options.output or options.pieces):
        options.usage_error("give --output, --pieces or both")
    if options.no_config and options.current is not None:
        options.usage_error("--current says what the config boots; leave --no-config out")
    layout, pieces = read_pieces(options, not options.no_config, options.output)
    names = [piece.name for piece in pieces]
    if options.pieces:
        names = write_pieces(options.pieces, pieces)
    is_file = not options.output or write_output(options.output, assemble(pieces, layout.size.bytes))
    print(rom.pieces_table(pieces, names), file=sys.stdout if is_file else sys.stderr)


def read_pieces(
    options: argparse.Namespace, with_config: bool = True, output: Path | None = None
) -> tuple[FlashLayout, tuple[FlashPiece, ...]]:
    """The layout and the checked pieces that inputs() ask for; warnings go to stderr.

    Raises RbootError if `output` is one of the inputs.
    """
    layout = read_layout(options.file)
    roms = files_by_slot(options.rom, "--rom", options.usage_error)
    files = dict(options.files)
    if options.init_data:
        if INIT_DATA_REGION in files:
            options.usage_error(f"--init-data and --file {INIT_DATA_REGION}= are the same region; give one of them")
        files[INIT_DATA_REGION] = options.init_data
    check_not_input(output, [options.file, options.loader, *roms.values(), *files.values()])
    loader = read_file(options.loader)
    config = make_boot_config(layout, loader, options.current or 0) if with_config else None
    pieces = flash_pieces(layout, loader, _contents(roms), config, _contents(files))
    for warning in warnings(layout, pieces):
        print(f"rbootimg: {options.file}: warning: {warning}", file=sys.stderr)
    return layout, pieces


def _contents(paths: Mapping[_Key, Path]) -> dict[_Key, bytes]:
    return {key: read_file(path) for key, path in paths.items()}


def write_pieces(folder: Path, pieces: Iterable[FlashPiece]) -> list[str]:
    """Write each piece to a file in `folder`, made if need be; the files' names."""
    contents = {piece.file_name: piece.data for piece in pieces}
    write_folder(folder, contents)
    return [str(folder / name) for name in contents]

"""`rbootimg split`: a flash dump -> files."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import FileSystemError, FitError, RbootError, RomError
from ..fileio import read_file, write_tree
from ..flash import littlefs
from ..flash.image import FlashPiece, split
from ..rom import fit
from ..views import rom
from ..views.messages import print_warning
from .common import layout_argument, read_layout
from .flash_image import write_pieces

DESCRIPTION = (
    "Split a flash dump into files: loader, config, ROMs, regions and unassigned areas. Erased areas are skipped. The "
    "files of a LittleFS go to a directory beside its image."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "file", type=Path, metavar="FLASH.BIN", help="the dump, as written by `esptool read-flash 0 ALL`"
    )
    layout_argument(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="DIRECTORY",
        help="write the files to this directory, each named after its address",
    )


def run(options: argparse.Namespace) -> None:
    """Write the pieces and list them. Raises RbootError if all of the flash is erased."""
    layout = read_layout(options.layout)
    pieces = split(read_file(options.file), layout)
    if not pieces:
        raise RbootError("the dump is blank")
    slots = {slot.address for slot in layout.slots}
    for piece in pieces:
        if piece.address in slots:
            try:
                fit.read(piece.data, layout.loader.irom_checksum)
            except (RomError, FitError) as error:
                print_warning(f"rbootimg: {options.file}", f"{piece.name}: {error}")
    print(rom.pieces_table(pieces, write_pieces(options.output, pieces)))
    for piece in pieces:
        if piece.address not in slots and littlefs.find_superblock(piece.data):
            _write_files(options, piece)


def _write_files(options: argparse.Namespace, piece: FlashPiece) -> None:
    """Write the files of a LittleFS to a directory, which has the name of the image without `.bin`."""
    try:
        files = littlefs.read_file_system(piece.data)
    except FileSystemError as error:
        print_warning(f"rbootimg: {options.file}", f"{piece.name}: {error}")
        return
    directory = options.output / Path(piece.file_name).stem
    write_tree(directory, files)
    print(rom.file_system_line(f"{directory}/", files))

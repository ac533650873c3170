"""`rbootimg file-system`: a directory -> a LittleFS image."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import error_subject
from ..fileio import list_tree, read_file, write_output
from ..flash import littlefs
from ..flash.regions import find_region
from ..views.messages import print_result
from ..views.rom import file_system_line
from .arguments import count, directory
from .common import check_not_input, layout_argument, read_layout

DESCRIPTION = (
    "Make a LittleFS image of the files in a directory, for a region of the layout. Files named .DS_Store and "
    "directories named .git are left out. Requires the package littlefs-python."
)

EPILOG = """\
Examples:
  rbootimg file-system www --layout board.toml --region files -o www.bin
  rbootimg flash-image --layout board.toml --loader rboot.bin --rom rom0.bin \\
      --file files=www.bin -o flash.bin"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("directory", type=directory, metavar="DIRECTORY", help="the directory with the files")
    layout_argument(parser)
    parser.add_argument("--region", required=True, metavar="NAME", help="make an image as large as this region")
    parser.add_argument(
        "--block-size",
        type=count,
        default=littlefs.BLOCK_SIZES[0],
        metavar="BYTES",
        help=f"set the block size of the device's driver: {' or '.join(map(str, littlefs.BLOCK_SIZES))} "
        f"(default: {littlefs.BLOCK_SIZES[0]})",
    )
    parser.add_argument(
        "--name-max",
        type=count,
        default=littlefs.NAME_MAX,
        metavar="BYTES",
        help=f"set the maximum length of a file name (default: {littlefs.NAME_MAX})",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="write the image to this file")


def run(options: argparse.Namespace) -> None:
    """Write the image."""
    with error_subject(options.layout):
        region = find_region(read_layout(options.layout), options.region)
    with error_subject(options.directory):
        paths = list_tree(options.directory)
        check_not_input(options.output, (options.directory / path for path in paths))
        files = {path: read_file(options.directory / path) for path in paths}
        image = littlefs.make_file_system(files, region.size, options.block_size, options.name_max)
    if write_output(options.output, image):
        print_result([file_system_line(str(options.output), files)])

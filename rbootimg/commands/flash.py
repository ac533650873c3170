"""`rbootimg flash`: loader, config, ROMs and data -> a device."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import tempfile
from pathlib import Path

from ..emulator.rundir import name_temporary_directory
from ..errors import error_subject
from ..flash import writer
from ..views.messages import print_note
from .arguments import baud_rate
from .flash_image import inputs, read_pieces, write_pieces

DESCRIPTION = (
    "Write a flash image, as flash-image builds it, to a device with esptool. "
    "This includes the boot config: the device then boots the slot of --current."
)

EPILOG = """\
Examples:
  rbootimg flash --layout 1MB --loader rboot.bin --rom rom0.bin -p /dev/ttyUSB0
  rbootimg flash --layout 1MB --loader rboot.bin --rom 1=rom1.bin --current 1 \\
      --dry-run"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    inputs(parser)
    parser.add_argument("-p", "--port", help="use this serial port (default: detected by esptool)")
    parser.add_argument("-b", "--baud", type=baud_rate, help="set the baud rate (default: that of esptool)")
    parser.add_argument(
        "--before", choices=writer.BEFORE, help=f"set the reset before writing (default: {writer.BEFORE[0]})"
    )
    parser.add_argument(
        "--after", choices=writer.AFTER, help=f"set the reset after writing (default: {writer.AFTER[0]})"
    )
    parser.add_argument(
        "--pieces",
        type=Path,
        metavar="DIRECTORY",
        help="keep the files for esptool in this directory (default: a temporary one)",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the esptool command instead of running it; --pieces writes its files",
    )


def run(options: argparse.Namespace) -> None:
    """Write the device, or print the esptool command."""
    _, pieces = read_pieces(options)
    addresses = [piece.address for piece in pieces]

    def command(names: list[str]) -> list[str]:
        files = zip(addresses, names)
        return writer.command_line(files, options.port, options.baud, options.before, options.after)

    if options.dry_run:
        if options.pieces:
            names = write_pieces(options.pieces, pieces)
        else:
            names = [piece.file_name for piece in pieces]
            print_note("rbootimg", "use --pieces DIRECTORY to write these files")
        print(shlex.join(["esptool", *command(names)]))
        return
    with error_subject(options.port or "<auto-detected port>"), contextlib.ExitStack() as at_the_end:
        if options.pieces:
            names = write_pieces(options.pieces, pieces)
        else:
            with name_temporary_directory():
                directory = at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="rbootimg-"))
                names = write_pieces(Path(directory), pieces)
        writer.run(command(names))

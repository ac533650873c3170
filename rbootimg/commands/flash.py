"""`rbootimg flash`: loader, config, ROMs and data, checked, into a device."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import tempfile
from pathlib import Path

from ..emulator.rundir import name_temporary_folder
from ..errors import error_subject
from ..flash import writer
from .arguments import baud_rate
from .flash_image import inputs, read_pieces, write_pieces

DESCRIPTION = (
    "Write loader, config, ROMs and data to a device with esptool, exactly what flash-image puts together. "
    "The config goes with them, so the device starts the slot of --current whichever it ran from before."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    inputs(parser)
    parser.add_argument("-p", "--port", help="the serial port (default: esptool looks for it)")
    parser.add_argument("-b", "--baud", type=baud_rate, help="the baud rate (default: esptool's)")
    parser.add_argument("--before", choices=writer.BEFORE, help=f"default: {writer.BEFORE[0]}")
    parser.add_argument("--after", choices=writer.AFTER, help=f"default: {writer.AFTER[0]}")
    parser.add_argument("--pieces", type=Path, metavar="FOLDER", help="where the files go that esptool writes")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print esptool's command line and write no device; with --pieces it can be run as it is",
    )


def run(options: argparse.Namespace) -> None:
    """Write the device, or print how esptool would."""
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
            print("rbootimg: --pieces FOLDER writes these files", file=sys.stderr)
        print(shlex.join(["esptool", *command(names)]))
        return
    with error_subject(options.port or "<auto-detected port>"), contextlib.ExitStack() as at_the_end:
        if options.pieces:
            names = write_pieces(options.pieces, pieces)
        else:
            with name_temporary_folder():
                folder = at_the_end.enter_context(tempfile.TemporaryDirectory(prefix="rbootimg-"))
                names = write_pieces(Path(folder), pieces)
        writer.run(command(names))

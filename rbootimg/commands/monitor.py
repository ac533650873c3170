"""`rbootimg monitor`: the UART of a device or of the emulator, with crashes decoded."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from ..emulator import network, qemu
from ..errors import error_subject
from ..fileio import read_file
from ..monitor import port as serial_port
from ..views import monitor as view
from .arguments import baud_rate, converter
from .common import check_confinement
from .decode import elf_arguments, elf_finder

DESCRIPTION = (
    "Show what a device prints, and decode each exception and stack dump: cause, functions, files and lines. With "
    "--emulate the device is a flash image in QEMU. The baud rate is recognized. Typed keys are sent to the device."
)

_KEYS = "\n".join(f"  {key:16} {what}" for key, what in serial_port.KEYS)
EPILOG = f"""\
Keys:
{_KEYS}

Examples:
  rbootimg monitor --port /dev/ttyUSB0 --reset
  rbootimg monitor --timestamps --log today.txt
  rbootimg monitor --emulate flash.bin --elf app/rom0.elf"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "-p",
        "--port",
        help="use this serial port, or a URL such as socket://HOST:PORT or rfc2217://HOST:PORT (default: the only USB "
        "serial port)",
    )
    parser.add_argument(
        "-b",
        "--baud",
        type=baud_rate,
        help="set the baud rate (default: 74880 or 115200, whichever is readable)",
    )
    parser.add_argument("--reset", action="store_true", help="reset the device first, to see how it boots")
    parser.add_argument(
        "--emulate", type=Path, metavar="FLASH.BIN", help="run this flash image in QEMU instead of a device"
    )
    parser.add_argument(
        "--net",
        type=converter(network.parse_address),
        metavar="HOST:PORT",
        help="with --emulate: forward the application's connections to HOST:PORT",
    )
    parser.add_argument("--timestamps", action="store_true", help="begin each line with the time")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append all that is shown to FILE")
    elf_arguments(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Show the output until Ctrl-C. Raises PortError, or EmulatorError if no ROM started or if it crashed."""
    if options.emulate and (options.port or options.baud or options.reset):
        options.usage_error("--emulate cannot be combined with --port, --baud or --reset")
    if options.net and not options.emulate:
        options.usage_error("--net requires --emulate")
    flash = read_file(options.emulate) if options.emulate else None
    finder = elf_finder(options, flash)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(options.log, "a", encoding="utf-8")) if options.log else None
        timestamp = view.local_time if options.timestamps else None
        if flash is None:
            view.monitor_port(options.port, options.baud, finder, log=log, timestamp=timestamp, reset=options.reset)
            return
        check_confinement()
        with error_subject(options.emulate):
            conditions = qemu.BootOptions(net=options.net)
            qemu.check(view.monitor_emulator(flash, conditions, finder, log=log, timestamp=timestamp))

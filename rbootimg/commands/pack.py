"""`rbootimg pack`: an ELF -> a ROM."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..fileio import read_file, write_output
from ..layout.params import FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams, flash_size
from ..rom.convert import convert
from ..rom.pack import RAM_SECTIONS, irom, usage
from ..views import tables, terminal
from ..views.messages import print_warning
from ..views.rom import rom_heading, rom_table, usage_table
from .arguments import converter, flash_slot
from .common import check_not_input, sized_slot

DESCRIPTION = (
    "Pack an application ELF into an rBoot ROM and report its memory usage. With the same options the ROM has the same "
    "bytes as that of esptool2."
)

EPILOG = """\
Examples:
  rbootimg pack app.elf -o rom0.bin --slot 0x2000
  rbootimg pack app.elf -o rom0.bin --flash-size 4MB --irom-checksum"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="APP.ELF", help="the linked application")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="ROM.BIN", help="write the ROM to this file"
    )
    parser.add_argument(
        "--section",
        action="append",
        metavar="NAME",
        help="load this section to RAM; repeatable, in the order of the ROM "
        f"(default: {' '.join(RAM_SECTIONS)}, except empty ones)",
    )
    parser.add_argument(
        "--flash-size",
        type=converter(lambda text: flash_size(text).name),
        metavar="SIZE",
        help=f"set the flash size in the header: {', '.join(FLASH_SIZES)} (default: 512KB)",
    )
    parser.add_argument(
        "--flash-mode",
        type=str.lower,
        choices=tuple(FLASH_MODES),
        default="qio",
        help="set the flash mode in the header (default: %(default)s)",
    )
    parser.add_argument(
        "--flash-freq",
        type=str.lower,
        choices=tuple(FLASH_FREQS),
        default="40m",
        help="set the flash frequency in the header (default: %(default)s)",
    )
    parser.add_argument(
        "--irom-checksum",
        action="store_true",
        help="include the flash code in the checksum, for rBoot built with BOOT_IROM_CHKSUM",
    )
    parser.add_argument(
        "--slot",
        type=flash_slot,
        metavar="ADDRESS[:SIZE]",
        help="check that the application is linked for the slot at this flash address and fits into it",
    )


def run(options: argparse.Namespace) -> None:
    """Write the ROM and print its memory usage."""
    data = read_file(options.file)
    check_not_input(options.output, [options.file])
    slot = options.slot and sized_slot(options.slot, options.flash_size)
    params = FlashParams.from_names(options.flash_mode, options.flash_size or "512KB", options.flash_freq)
    app, rom, warnings = convert(data, options.section, params, options.irom_checksum, slot)
    for warning in warnings:
        print_warning(f"rbootimg: {options.file}", warning)
    is_file = write_output(options.output, rom.to_bytes())
    place = (str(options.output), slot, irom(app).address)
    usages = usage(app, rom.size, slot)
    if is_file and terminal.is_terminal():
        terminal.show((tables.Heading(rom_heading(*place), good=True), usage_table(usages)))
    else:
        print(rom_table(*place, usages), file=sys.stdout if is_file else sys.stderr)  # stdout may be the ROM

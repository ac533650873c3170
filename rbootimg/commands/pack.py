"""`rbootimg pack`: an ELF into a ROM."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..fileio import read_file, write_output
from ..layout.params import FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams, flash_size
from ..rom import elf
from ..rom.mapping import check_mapping, mapping_notes
from ..rom.pack import RAM_SECTIONS, irom, pack, usage, warnings
from ..views import tables, terminal
from ..views.rom import rom_heading, rom_table, usage_table
from .common import as_argument, as_slot, check_not_input, sized_slot

DESCRIPTION = "Pack an application ELF into an rBoot ROM. With the same choices the bytes are esptool2's."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="APP.ELF", help="the linked application")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ROM.BIN", help="where the ROM goes")
    parser.add_argument(
        "--section",
        action="append",
        metavar="NAME",
        help="a section to load to RAM; repeat it, the order is the ROM's "
        f"(default: those of {' '.join(RAM_SECTIONS)} that have data)",
    )
    parser.add_argument(
        "--flash-size",
        type=as_argument(lambda text: flash_size(text).name),
        metavar="SIZE",
        help=f"{', '.join(FLASH_SIZES)} (default: 512KB)",
    )
    parser.add_argument(
        "--flash-mode", type=str.lower, choices=tuple(FLASH_MODES), default="qio", help="default: %(default)s"
    )
    parser.add_argument(
        "--flash-freq", type=str.lower, choices=tuple(FLASH_FREQS), default="40m", help="default: %(default)s"
    )
    parser.add_argument("--irom-checksum", action="store_true", help="for rBoot built with BOOT_IROM_CHKSUM")
    parser.add_argument(
        "--slot",
        type=as_slot,
        metavar="ADDRESS[:SIZE]",
        help="the slot's flash address: checks that the application is linked for it and fits",
    )


def run(options: argparse.Namespace) -> None:
    """Write the ROM and print what it takes."""
    program = read_file(options.file)
    app = elf.parse_elf(program)
    check_not_input(options.output, [options.file])
    slot = options.slot and sized_slot(options.slot, options.flash_size)
    params = FlashParams.from_names(options.flash_mode, options.flash_size or "512KB", options.flash_freq)
    rom = pack(app, options.section, params, options.irom_checksum, slot)
    data = rom.to_bytes()
    check_mapping(program, slot)
    for warning in (*warnings(app, rom), *mapping_notes(program, slot)):
        print(f"rbootimg: {options.file}: warning: {warning}", file=sys.stderr)
    is_file = write_output(options.output, data)
    place = (str(options.output), slot, irom(app).address)
    usages = usage(app, len(data), slot)
    if is_file and terminal.is_terminal():
        terminal.show((tables.Heading(rom_heading(*place), good=True), usage_table(usages)))
    else:
        print(rom_table(*place, usages), file=sys.stdout if is_file else sys.stderr)  # the ROM went to stdout

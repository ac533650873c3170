"""`rbootimg verify`: whether rBoot would start a ROM."""

from __future__ import annotations

import argparse

from ..fileio import read_file
from ..rom import fit
from ..rom.format import Rom
from ..views.rom import rom_summary

DESCRIPTION = "Check the headers, sections and checksum of a ROM; either kind of checksum will do."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", metavar="ROM.BIN", help="the ROM")
    parser.add_argument(
        "--irom-checksum",
        action=argparse.BooleanOptionalAction,
        help="the kind of checksum it must have (default: either will do, which finds a little less)",
    )
    parser.add_argument("--json", action="store_true", help="print what is in it as JSON")


def run(options: argparse.Namespace) -> None:
    """Print what is in a sound ROM."""
    data = read_file(options.file)
    rom = fit.read(data, options.irom_checksum)
    if options.json:
        import json  # not for every start

        print(json.dumps(_as_json(options.file, len(data), rom), indent=2))
    else:
        print(rom_summary(options.file, len(data), rom))


def _as_json(name: str, size: int, rom: Rom) -> dict[str, object]:
    return {
        "file": name,
        "size": size,
        "entry": rom.entry,
        "irom": {"size": len(rom.irom)},
        "sections": [{"address": section.address, "size": len(section.data)} for section in rom.sections],
        "flash": {"mode": rom.params.mode, "size": rom.params.size, "freq": rom.params.freq},
        "checksum": {"value": rom.checksum, "irom": rom.irom_checksum},
        "esptool_crc": rom.esptool_crc,
    }

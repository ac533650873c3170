"""`rbootimg prove`: that a whole flash boots each of its ROMs, with every byte in place."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..emulator import proof as prove
from ..errors import error_subject
from ..fileio import read_file
from ..rom import elf
from ..views.tables import Table, plain
from .arguments import files_by_slot, slot_and_file, timeout
from .common import check_confinement, read_layout

DESCRIPTION = (
    "Boot each ROM of a whole flash in QEMU, compare RAM and flash at its entry with the ELF that it was packed from, "
    "and let it run on until it touches hardware that the emulator does not have. The loader's config is set to each "
    "ROM in turn; the file stays as it is. The exit status is 1 if a byte differs or a ROM is not started or crashes."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FLASH.BIN", help="the whole flash")
    parser.add_argument(
        "--layout", required=True, metavar="LAYOUT", help="a layout file (TOML) or the name of a preset"
    )
    parser.add_argument(
        "--elf",
        type=slot_and_file,
        action="append",
        required=True,
        metavar="[SLOT=]APP.ELF",
        help="what a ROM was packed from; repeat it, in the order of the slots or with their numbers",
    )
    parser.add_argument(
        "--section", action="append", metavar="NAME", help="a section that is loaded to RAM; repeat it (default: all)"
    )
    parser.add_argument("--timeout", type=timeout, default=5.0, metavar="S", help="seconds for each ROM (default: 5)")
    parser.add_argument("--json", action="store_true", help="print what was proved as JSON")
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Print what was proved."""
    check_confinement()
    layout = read_layout(options.layout)
    elfs: dict[int, elf.Elf] = {}
    for number, path in files_by_slot(options.elf, "--elf", options.usage_error).items():
        with error_subject(path):
            elfs[number] = elf.parse_elf(read_file(path))
    proofs = prove.prove(read_file(options.file), layout, elfs, options.section, options.timeout)
    if options.json:
        import json  # not for every start

        found = [
            {
                "rom": proof.number,
                "address": proof.slot.address,
                "entry": proof.entry,
                "bytes": proof.size,
                "reached": proof.reached,
            }
            for proof in proofs
        ]
        print(json.dumps({"file": str(options.file), "proved": found}, indent=2))
        return
    rows = (
        (
            str(proof.number),
            f"{proof.slot.address:#010x}",
            f"{proof.entry:#x}",
            f"{proof.size:,}",
            "in place",
            proof.reached,
        )
        for proof in proofs
    )
    print(plain((Table(("ROM", "address", "entry", "bytes", "", "ran until"), tuple(rows), "<<<><<"),)))

"""`rbootimg prove`: verify in the emulator that each ROM of a flash image boots."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..emulator.proof import SlotProof, prove
from ..errors import error_subject
from ..fileio import read_file
from ..rom import elf
from ..text import counted
from ..views import terminal
from ..views.progress import progress
from ..views.tables import Heading, Table
from .arguments import files_by_slot, slot_and_file, timeout
from .common import check_confinement, json_argument, layout_argument, print_json, read_layout

DESCRIPTION = (
    "Boot each ROM of a flash image in QEMU, compare RAM and flash at its entry point with the ELF that it was packed "
    "from, and run it until it accesses hardware that is not emulated. Each ROM in turn is made the current one; the "
    "file is not changed. The exit status is 1 if a byte differs, or if a ROM does not start or crashes."
)

EPILOG = """\
Examples:
  rbootimg prove flash.bin --layout 1MB --elf rom0.elf --elf rom1.elf"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FLASH.BIN", help="the flash image")
    layout_argument(parser)
    parser.add_argument(
        "--elf",
        type=slot_and_file,
        action="append",
        required=True,
        metavar="[SLOT=]APP.ELF",
        help="the ELF that a ROM was packed from; repeatable, in slot order or with slot numbers",
    )
    parser.add_argument(
        "--section", action="append", metavar="NAME", help="a section that is loaded to RAM; repeatable (default: all)"
    )
    parser.add_argument(
        "--timeout", type=timeout, default=5.0, metavar="S", help="time limit in seconds for each ROM (default: 5)"
    )
    json_argument(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Print the proofs. Raises ProofError for a ROM that does not boot."""
    check_confinement()
    layout = read_layout(options.layout)
    elfs: dict[int, elf.Elf] = {}
    for number, path in files_by_slot(options.elf, "--elf", options.usage_error).items():
        with error_subject(path):
            elfs[number] = elf.parse_elf(read_file(path))
    flash = read_file(options.file)
    proofs: list[SlotProof] = []
    with progress("proving", len(elfs)) as advance:
        for number in sorted(elfs):
            proofs += prove(flash, layout, {number: elfs[number]}, options.section, options.timeout)
            advance()
    if options.json:
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
        print_json({"file": str(options.file), "proved": found})
        return
    rows = (
        (
            str(proof.number),
            f"{proof.slot.address:#010x}",
            f"{proof.entry:#x}",
            f"{proof.size:,}",
            proof.reached,
        )
        for proof in proofs
    )
    heading = Heading(f"{options.file}: {counted(len(proofs), 'ROM')} proved to boot, every byte in place", good=True)
    terminal.show((heading, Table(("ROM", "address", "entry", "bytes", "ran until"), tuple(rows), "<<<><")))

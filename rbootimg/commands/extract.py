"""`rbootimg extract`: a ROM -> a file for each section."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..fileio import read_file, write_directory
from ..layout.memory import WINDOW, memory_at
from ..rom.format import Rom
from ..rom.pack import IROM_SECTION
from ..text import counted
from ..views import terminal
from ..views.tables import Heading, Table

DESCRIPTION = "Write each section of a ROM to a file. Files of an earlier run are replaced."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="ROM.BIN", help="the ROM")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="write the files to this directory (default: NAME-sections for NAME.bin)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the files and list them."""
    rom = Rom.from_bytes(read_file(options.file))
    directory = options.output or Path(f"{options.file.stem}-sections")
    files = [(f"{IROM_SECTION[1:]}.bin", rom.irom, "", WINDOW.name)]
    for number, section in enumerate(rom.sections):
        name = f"section{number}-{section.address:08x}.bin"
        files.append((name, section.data, f"{section.address:#x}", memory_at(section.address)))
    write_directory(directory, {name: data for name, data, _, _ in files})
    rows = tuple((name, address, f"{len(data):,}", memory) for name, data, address, memory in files)
    table = Table(("file", "address", "bytes", "memory"), rows, "<<><")
    terminal.show((Heading(f"{options.file}: {counted(len(files), 'file')} in {directory}", good=True), table))

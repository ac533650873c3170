"""`rbootimg decode`: crashes in a log to functions, files and lines."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..fileio import read_file
from ..monitor.decoder import LogDecoder, LogLine, LogReport, decode_log
from ..monitor.elfs import ElfFinder, KnownElf, known_elfs
from ..views.monitor import MonitorView
from .arguments import slot_and_file
from .common import (
    app_argument,
    elf_archive,
    elf_archive_argument,
    json_argument,
    print_json,
    web_root_argument,
)

DESCRIPTION = (
    "Print a log with each exception and stack dump decoded: cause, functions, files and lines. The ELF is that of the "
    "ROM that was running: given with --elf, found by the ROM's digest with --flash, or by the version that the "
    "application printed, among the published and the archived ELFs."
)

EPILOG = """\
Examples:
  rbootimg decode log.txt
  rbootimg decode log.txt --elf app/rom0.elf --elf app/rom1.elf
  cat /dev/ttyUSB0 | rbootimg decode -"""

_CHUNK = 1 << 16


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the log; - for stdin")
    elf_arguments(parser)
    json_argument(parser)


def elf_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which ELFs there are."""
    parser.add_argument(
        "--elf",
        type=slot_and_file,
        action="append",
        default=[],
        metavar="[SLOT=]APP.ELF",
        help="the ELF of a ROM; repeatable, the slot is found by its link address",
    )
    parser.add_argument(
        "--flash", type=Path, metavar="FLASH.BIN", help="the flash of the device, to find the ELF by the ROM's digest"
    )
    app_argument(parser)
    elf_archive_argument(parser, "look in")
    web_root_argument(parser)


def elf_finder(options: argparse.Namespace, flash: bytes | None = None) -> ElfFinder:
    """Return the finder for the arguments; --flash takes precedence over `flash`.

    Raises WebRootError, SettingError or OSError.
    """
    given = tuple(KnownElf(path, slot=slot) for slot, path in options.elf)
    for elf in given:
        read_file(elf.path)  # to report a missing file now, and not at a crash
    archive = elf_archive(options)
    known = known_elfs(options.web_root, archive, options.app)
    if options.flash:
        flash = read_file(options.flash)
    searched = ", ".join(map(str, (options.web_root, *((archive,) if archive else ()))))
    return ElfFinder((*given, *known), flash, searched=searched)


def run(options: argparse.Namespace) -> None:
    """Print the decoded log, or its reports as JSON."""
    finder = elf_finder(options)
    with _open(options.file) as file:
        if options.json:
            text = (line.decode(errors="replace") for line in iter(lambda: file.readline(_CHUNK), b""))
            reports = [_as_json(each) for each in decode_log(text, finder) if not isinstance(each, LogLine)]
            print_json({"file": str(options.file), "reports": reports})
            return
        view = MonitorView(LogDecoder(finder))
        while data := file.read1(_CHUNK):  # type: ignore[attr-defined] # of a buffered file
            view.feed(data)
        view.close()


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        yield file


def _as_json(report: LogReport) -> dict[str, object]:
    running, elf = report.running, report.elf
    return {
        "kind": report.kind.value,
        "rom": running.rom,
        "app": running.app,
        "version": running.version,
        "cause": report.cause,
        "address": report.address,
        "frames": [
            {
                "role": frame.role,
                "address": frame.address,
                "places": [dict(zip(place._fields, place)) for place in frame.places],
            }
            for frame in report.frames
        ],
        "elf": elf and {**dataclasses.asdict(elf), "path": str(elf.path), "origin": elf.origin.value},
        "remarks": list(report.remarks),
    }

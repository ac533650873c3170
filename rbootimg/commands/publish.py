"""`rbootimg publish`: a release into a web root."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from ..errors import error_subject
from ..fileio import read_file
from ..release import bundle as release
from ..release import manifest, webroot
from ..release.version import from_git, given, source_date
from ..views import release as report
from .common import read_layout, wait_argument, web_root_argument

DESCRIPTION = (
    "Make ROMs the current release of an application: all of it or nothing. What devices are fetching just then they "
    "get to the end as it was."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("roms", type=Path, nargs="+", metavar="ROM.BIN", help="the ROMs, in the order of the slots")
    parser.add_argument("--app", required=True, metavar="NAME", help="the application")
    parser.add_argument(
        "--layout", required=True, help="a layout file (TOML) or the name of a preset; `rbootimg layout` lists them"
    )
    parser.add_argument(
        "--version", help="a semantic version (default: $RBOOT_VERSION, else that of the checkout by its tags)"
    )
    parser.add_argument(
        "--device",
        default=os.environ.get("RBOOT_DEVICE") or manifest.DEVICE,
        metavar="CLASS",
        help=f"what devices it is for (default: $RBOOT_DEVICE, else {manifest.DEVICE})",
    )
    parser.add_argument("--date", help="the date to show, as 2026-11-23 (default: of $SOURCE_DATE_EPOCH, else none)")
    parser.add_argument(
        "--elf",
        type=Path,
        action="append",
        default=[],
        metavar="ROM.ELF",
        help="publish the ELF of a ROM too, for its symbols; one for each, in the order of the ROMs",
    )
    parser.add_argument(
        "--file",
        dest="data_files",
        type=_name_and_path,
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="add a data file such as a web UI to releases/VERSION/ and the manifest, under NAME; repeat it",
    )
    parser.add_argument(
        "--checksum-files",
        action="store_true",
        help="publish a rom0.bin.sha256 and so on beside the ROMs, as sha256sum writes them",
    )
    parser.add_argument(
        "--recovery",
        type=_slot_and_path,
        metavar="SLOT=ROM.BIN",
        help="add a ROM of another application, for a slot of its own, as releases/VERSION/recovery.bin",
    )
    parser.add_argument("--proved-by", metavar="LOADER", help="the loader with which all the ROMs were proved to boot")
    parser.add_argument(
        "--in-folder",
        action="store_true",
        default=None,
        help="give the application a folder of its name (default: only if there are others that have one)",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a release of the same version, or take a ROM away, for the desk"
    )
    parser.add_argument("--allow-downgrade", action="store_true", help="even if the current release is newer")
    wait_argument(parser)
    web_root_argument(parser)
    parser.set_defaults(usage_error=parser.error)


def _name_and_path(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=") if "=" in text else (Path(text).name, "", text)
    if not (name and path):
        raise argparse.ArgumentTypeError(f"invalid file {text!r}: expected PATH or NAME=PATH")
    return name, Path(path)


def _slot_and_path(text: str) -> tuple[int, Path]:
    match = re.fullmatch(r"([0-9]{1,3})=(.+)", text, re.DOTALL)
    if not match:
        raise argparse.ArgumentTypeError(
            f"invalid recovery ROM {text!r}: expected SLOT=ROM.BIN, such as 2=recovery.bin"
        )
    return int(match[1]), Path(match[2])


def run(options: argparse.Namespace) -> None:
    """Publish, and say what devices get now."""
    names = [name for name, _ in options.data_files]
    for name in names:
        if names.count(name) > 1:
            options.usage_error(f"--file {name} is given twice; name one of them with --file NAME=PATH")
    layout = read_layout(options.layout)
    with error_subject("--app"):
        manifest.check_name(options.app)
    version = _version(options)
    if options.date is not None:
        with error_subject("--date"):
            manifest.check_date(options.date)
    recovery = None
    if options.recovery:
        slot, path = options.recovery
        recovery = release.Recovery(slot, read_file(path), options.proved_by)
    bundle = release.make_bundle(
        options.app,
        version,
        [read_file(path) for path in options.roms],
        layout,
        device=options.device,
        date=options.date or source_date(os.environ),
        elfs=[read_file(path) for path in options.elf],
        proved_by=options.proved_by,
        called={
            **{manifest.rom_name(number): str(path) for number, path in enumerate(options.roms)},
            **{manifest.elf_name(number): str(path) for number, path in enumerate(options.elf)},
            **({manifest.RECOVERY: str(options.recovery[1])} if options.recovery else {}),
        },
        files={name: read_file(path) for name, path in options.data_files},
        recovery=recovery,
        checksum_files=options.checksum_files,
    )
    (published,) = webroot.publish(
        options.web_root,
        [bundle],
        in_folders=options.in_folder,
        force=options.force,
        fewer_roms=options.force,
        allow_downgrade=options.allow_downgrade,
        timeout=options.wait,
    )
    print("\n".join(report.published(published)))


def _version(options: argparse.Namespace) -> str:
    """--version, else $RBOOT_VERSION, else that of the git checkout. Raises VersionError."""
    for name, value in (("--version", options.version), ("$RBOOT_VERSION", os.environ.get("RBOOT_VERSION") or None)):
        if value is not None:
            with error_subject(name):
                return given(value)
    return from_git(Path())

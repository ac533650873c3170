"""`rbootimg publish`: publish a release to a web root."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from ..errors import error_subject
from ..fileio import read_file
from ..release import bundle, manifest, names, webroot
from ..release.version import from_git, normalize, release_date, tag_notes
from ..views import release as report
from .common import read_layout, wait_argument, web_root_argument

DESCRIPTION = (
    "Make ROMs the current release of an application, all of them or none. Downloads in progress finish with the old "
    "files."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("roms", type=Path, nargs="+", metavar="ROM.BIN", help="the ROMs in the order of the slots")
    parser.add_argument("--app", required=True, metavar="NAME", help="the name of the application")
    parser.add_argument(
        "--layout", required=True, help="a layout file (TOML) or a preset; `rbootimg layout` lists the presets"
    )
    parser.add_argument(
        "--version", help="semantic version (default: $RBOOT_VERSION, else from the tags of the git checkout)"
    )
    parser.add_argument(
        "--device",
        default=os.environ.get("RBOOT_DEVICE") or manifest.DEVICE,
        metavar="CLASS",
        help=f"class of devices (default: $RBOOT_DEVICE, else {manifest.DEVICE})",
    )
    parser.add_argument(
        "--date",
        help="release date as YYYY-MM-DD (default: that of $SOURCE_DATE_EPOCH, else of the commit in the git checkout)",
    )
    parser.add_argument(
        "--elf",
        type=Path,
        action="append",
        default=[],
        metavar="ROM.ELF",
        help="also publish the ELF of a ROM, for its symbols; once for each ROM, in their order",
    )
    parser.add_argument(
        "--file",
        dest="data_files",
        type=_name_and_path,
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="add a data file such as a web UI to releases/VERSION/ and the manifest, under NAME; repeatable",
    )
    parser.add_argument(
        "--notes",
        type=Path,
        metavar="FILE",
        help="release notes in Markdown (default: the message of the version's annotated git tag)",
    )
    parser.add_argument(
        "--checksum-files",
        action="store_true",
        help="add a file such as rom0.bin.sha256 for each ROM, as sha256sum writes it",
    )
    parser.add_argument(
        "--recovery",
        type=_slot_and_path,
        metavar="SLOT=ROM.BIN",
        help="add a ROM of another application for another slot, as releases/VERSION/recovery.bin",
    )
    parser.add_argument(
        "--proved-by", metavar="LOADER", help="name of the loader with which all the ROMs were proved to boot"
    )
    parser.add_argument(
        "--in-directory",
        action="store_true",
        default=None,
        help="publish to a directory of the application's name (default: only if the web root has such directories)",
    )
    parser.add_argument(
        "--force", action="store_true", help="overwrite a published version or drop a ROM (development only)"
    )
    parser.add_argument("--allow-downgrade", action="store_true", help="publish even if the current release is newer")
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
    """Publish, and print the current files."""
    files = [name for name, _ in options.data_files]
    for name in files:
        if files.count(name) > 1:
            options.usage_error(f"--file {name} is given twice; rename one with --file NAME=PATH")
    layout = read_layout(options.layout)
    with error_subject("--app"):
        names.check_app_name(options.app)
    version = _version(options)
    if options.date is not None:
        with error_subject("--date"):
            manifest.check_date(options.date)
    roms = [read_file(path) for path in options.roms]
    release = bundle.make_bundle(options.app, version, roms, layout, _release_options(options, version))
    (published,) = webroot.publish(
        options.web_root,
        [release],
        in_directories=options.in_directory,
        force=options.force,
        allow_missing_roms=options.force,
        allow_downgrade=options.allow_downgrade,
        timeout=options.wait,
    )
    print("\n".join(report.published(published)))


def _release_options(options: argparse.Namespace, version: str) -> bundle.ReleaseOptions:
    """Read the files of a release other than the ROMs. Raises OSError."""
    recovery = None
    if options.recovery:
        slot, path = options.recovery
        recovery = bundle.RecoveryRom(slot, read_file(path), options.proved_by)
    return bundle.ReleaseOptions(
        device=options.device,
        date=options.date or release_date(os.environ, Path()),
        proved_by=options.proved_by,
        elfs=[read_file(path) for path in options.elf],
        data_files={name: read_file(path) for name, path in options.data_files},
        recovery=recovery,
        checksum_files=options.checksum_files,
        notes=read_file(options.notes) if options.notes else tag_notes(Path(), version),
        display_names={
            **{names.rom_name(number): str(path) for number, path in enumerate(options.roms)},
            **{names.elf_name(number): str(path) for number, path in enumerate(options.elf)},
            **({names.RECOVERY: str(options.recovery[1])} if options.recovery else {}),
            **({names.NOTES: str(options.notes)} if options.notes else {}),
        },
    )


def _version(options: argparse.Namespace) -> str:
    """Return --version, else $RBOOT_VERSION, else the version of the git checkout. Raises VersionError."""
    for name, value in (("--version", options.version), ("$RBOOT_VERSION", os.environ.get("RBOOT_VERSION") or None)):
        if value is not None:
            with error_subject(name):
                return normalize(value)
    return from_git(Path())

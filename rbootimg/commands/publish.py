"""`rbootimg publish`: publish a release to a web root."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import error_subject
from ..fileio import read_file
from ..layout.model import Slot
from ..release import bundle, datafiles, elfarchive, manifest, names, webroot
from ..release.version import from_git, normalize, release_date, tag_notes
from ..rom.pack import matches
from ..views import release as report
from ..views.messages import print_result, print_warning
from ..views.progress import progress
from .arguments import name_and_file, name_and_region, recovery_rom
from .common import (
    elf_archive,
    elf_archive_argument,
    layout_argument,
    read_layout,
    wait_argument,
    web_root_argument,
)
from .signer import read_signer, sign_arguments, warn_of_new_key

DESCRIPTION = (
    "Make ROMs the current release of an application, all of them or none. Downloads in progress finish with the old "
    "files."
)

EPILOG = """\
Examples:
  rbootimg publish rom0.bin rom1.bin --app clock --layout 1MB --version 1.2.0
  rbootimg publish rom0.bin --app clock --layout four-1MB --file www/index.html"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("roms", type=Path, nargs="+", metavar="ROM.BIN", help="the ROMs in the order of the slots")
    parser.add_argument("--app", required=True, metavar="NAME", help="the name of the application")
    layout_argument(parser)
    parser.add_argument(
        "--version",
        help="set the version, e.g. 1.2.0 (default: $RBOOT_VERSION, else from the tags of the git checkout)",
    )
    parser.add_argument(
        "--device",
        default=os.environ.get("RBOOT_DEVICE") or manifest.DEVICE,
        metavar="CLASS",
        help=f"set the class of devices (default: $RBOOT_DEVICE, else {manifest.DEVICE})",
    )
    parser.add_argument(
        "--date",
        help="set the release date, as YYYY-MM-DD (default: that of $SOURCE_DATE_EPOCH, else of the commit)",
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
        type=name_and_file,
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="add a data file such as a web UI to releases/VERSION/ and the manifest, under NAME; repeatable",
    )
    parser.add_argument(
        "--file-region",
        dest="file_regions",
        type=name_and_region,
        action="append",
        default=[],
        metavar="NAME=REGION",
        help="record that the data file NAME is for this region of the layout; repeatable",
    )
    parser.add_argument(
        "--notes",
        type=Path,
        metavar="FILE",
        help="publish release notes in Markdown (default: the message of the annotated git tag of the version)",
    )
    parser.add_argument(
        "--checksum-files",
        action="store_true",
        help="add a file such as rom0.bin.sha256 for each ROM, as sha256sum writes it",
    )
    parser.add_argument(
        "--recovery",
        type=recovery_rom,
        metavar="SLOT=ROM.BIN",
        help="add a ROM of another application for another slot, as releases/VERSION/recovery.bin",
    )
    parser.add_argument(
        "--proved-by", metavar="LOADER", help="record that all ROMs were proved to boot with this loader"
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
    sign_arguments(parser)
    elf_archive_argument(parser, "keep the ELFs of the ROMs, those of --elf or those beside the ROMs, in")
    wait_argument(parser)
    web_root_argument(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Publish, and print the current files."""
    files = [name for name, _ in options.data_files]
    for name in files:
        if files.count(name) > 1:
            options.usage_error(f"--file {name} is given twice; rename one with --file NAME=PATH")
    layout = read_layout(options.layout)
    _check_texts(options)
    archive = elf_archive(options)
    version = _version(options)
    roms = [read_file(path) for path in options.roms]
    contents = _release_options(options, version)
    with error_subject("--file"):
        datafiles.check(contents.data_files)
    if contents.recovery:
        with error_subject("--recovery"):
            bundle.check_recovery_slot(options.app, contents.recovery.slot, len(roms), len(layout.slots))
    release = bundle.make_bundle(options.app, version, roms, layout, contents)
    signer = read_signer(options)
    with progress("publishing"):
        (published,) = webroot.publish(
            options.web_root,
            [release],
            in_directories=options.in_directory,
            force=options.force,
            allow_missing_roms=options.force,
            allow_downgrade=options.allow_downgrade,
            signer=signer,
            timeout=options.wait,
        )
    if archive:
        _archive_elfs(options, archive, version, roms, layout.slots)
    print_result(report.published(published))
    warn_of_new_key(published)


def _archive_elfs(
    options: argparse.Namespace, archive: Path, version: str, roms: Sequence[bytes], slots: Sequence[Slot]
) -> None:
    """Keep the ELFs of --elf, else those beside the ROMs. The release is published: what fails here is a warning."""
    elfs = options.elf or [path.with_suffix(".elf") for path in options.roms]
    try:
        built = [
            elfarchive.BuiltRom(f"rom{number}", rom, elf)
            for number, (path, rom, slot) in enumerate(zip(elfs, roms, slots))
            if path.is_file() and matches(elf := read_file(path), rom, slot.link_address)
        ]
        elfarchive.store_elfs(archive, options.app, version, built)
    except OSError as error:
        print_warning("rbootimg", elfarchive.failure(error))


def _check_texts(options: argparse.Namespace) -> None:
    """Check options that are part of the manifest. Raises SettingError with the option as subject."""
    for option, check, text in (
        ("--app", names.check_app_name, options.app),
        ("--date", manifest.check_date, options.date),
        ("--device", bundle.check_device_class, options.device),
        ("--proved-by", bundle.check_loader_name, options.proved_by),
    ):
        if text is not None:
            with error_subject(option):
                check(text)


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
        file_regions=dict(options.file_regions),
        recovery=recovery,
        checksum_files=options.checksum_files,
        notes=read_file(options.notes) if options.notes else tag_notes(Path(), version),
        display_names={
            **{names.rom_name(number): str(path) for number, path in enumerate(options.roms)},
            **{names.elf_name(number): str(path) for number, path in enumerate(options.elf)},
            **({names.RECOVERY: str(options.recovery[1])} if options.recovery else {}),
            names.NOTES: str(options.notes or f"message of the git tag of {version}"),
        },
    )


def _version(options: argparse.Namespace) -> str:
    """Return --version, else $RBOOT_VERSION, else the version of the git checkout. Raises VersionError."""
    for name, value in (("--version", options.version), ("$RBOOT_VERSION", os.environ.get("RBOOT_VERSION") or None)):
        if value is not None:
            with error_subject(name):
                return normalize(value)
    return from_git(Path())

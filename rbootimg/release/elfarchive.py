"""An archive of ELFs, to find that of a ROM in the field: the next build replaces those of a build.

ARCHIVE/APP/VERSION/rom0-SHA256.elf has the ELF that the ROM with this SHA-256 was packed from. It is not part of the
web root, as ELFs have the names and paths of the sources. The directory above may be served too: only its
owner can read the archive, and its name begins with a dot, which our own server hides. Nothing deletes its files.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import SettingError
from ..fileio import read_file, sha256_hex, write_atomic

NO_ARCHIVE = "none"
"""The setting for not keeping an archive."""
UNVERSIONED = "unversioned"
"""The directory of ROMs without a version; not a semantic version."""

_DIRECTORY_MODE = 0o700  # even a web server that serves the directory above cannot read it
_NAME = re.compile(r"(rom(?P<slot>[0-9]{1,3})|recovery)-(?P<sha256>[0-9a-f]{64})\.elf")


class BuiltRom(NamedTuple):
    """A ROM called `name`, such as rom0 or recovery, with the ELF that it was packed from."""

    name: str
    rom: bytes
    elf: bytes


class ArchivedElf(NamedTuple):
    """An ELF in an archive. `slot` is None for that of a recovery ROM, `version` is empty without one."""

    path: Path
    app: str
    version: str
    slot: int | None
    rom_sha256: str


@functools.lru_cache  # all applications of a project ask for the same few
def archive_directory(setting: str, web_root: Path) -> Path | None:
    """Return the archive of a web root: `setting`, by default .WEBROOT-elfs beside it; None for NO_ARCHIVE.

    Raises SettingError if it is the web root or in it, where it would be served.
    """
    if setting == NO_ARCHIVE:
        return None
    root = web_root if web_root.name not in ("", "..") else Path(os.path.abspath(web_root))
    archive = Path(setting) if setting else root.with_name(f".{root.name}-elfs")
    if Path(os.path.realpath(archive)).is_relative_to(os.path.realpath(root)):
        raise SettingError(f"{archive} is in the web root, which is public; expected another directory")
    return archive


def store_elfs(archive: Path, app: str, version: str, roms: Iterable[BuiltRom]) -> None:
    """Write the ELFs of `roms`; one of the same ROM is replaced. Raises OSError with a file name."""
    directory = archive / app / (version or UNVERSIONED)
    for built in roms:
        path = directory / f"{built.name}-{sha256_hex(built.rom)}.elf"
        if path.is_file() and path.stat().st_size == len(built.elf) and read_file(path) == built.elf:
            continue
        _make_directory(archive)
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(path, built.elf)


def failure(error: OSError) -> str:
    """Return a warning: a release is published also where its ELFs cannot be kept."""
    return f"ELFs not archived: {error.filename}: {error.strerror}; choose another directory with RBOOT_ELF_ARCHIVE"


def _make_directory(archive: Path) -> None:
    """Create the archive, which only its owner can read; an existing one keeps its mode."""
    if not archive.is_dir():
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.mkdir(_DIRECTORY_MODE, exist_ok=True)


def archived_elfs(archive: Path, app: str | None = None) -> tuple[ArchivedElf, ...]:
    """List the ELFs in an archive, all or those of `app`; none if it does not exist. Raises OSError."""
    if not archive.is_dir():
        return ()
    apps = [archive / app] if app else sorted(archive.iterdir())
    return tuple(
        ArchivedElf(
            path,
            path.parts[-3],
            path.parts[-2] if path.parts[-2] != UNVERSIONED else "",
            int(match["slot"]) if match["slot"] else None,
            match["sha256"],
        )
        for directory in apps
        for path in sorted(directory.glob("*/*.elf"))
        if (match := _NAME.fullmatch(path.name))
    )

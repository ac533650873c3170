"""What is said of releases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .tables import Heading, Table, plain

if TYPE_CHECKING:  # what a start of the command line need not load
    from ..release.manifest import Release
    from ..release.webroot import ListedRelease, Published


def published(found: Published, folder: str = "") -> list[str]:
    """What devices get now, a line for each ROM and other file; `folder` is where the application's files are."""
    release = found.release
    if found.repaired:
        return [f"{release.app} {release.version} was damaged and is whole again; {found.before} stays current"]
    what = f"{release.app} {release.version} is current{' already' * (not found.changed)}"
    if found.left_out:
        what += f"; it has the same ROMs and stays as it is, without {' and '.join(found.left_out)} given now"
    if not found.changed:
        return [what]
    before = f", before it {found.before}" if found.before else ""
    return [what + before, *_files(release, folder)]


def rolled_back(found: Published, folder: str = "") -> list[str]:
    """What devices get again, a line for each ROM and other file; `folder` is where the application's files are."""
    release = found.release
    if not found.changed:
        return published(found)
    if found.before == release.version:
        return [f"{release.app} {release.version} is current already; its files are in place again"]
    instead = f", instead of {found.before}" if found.before else ""
    return [f"{release.app} {release.version} is current again{instead}", *_files(release, folder)]


def _files(release: Release, folder: str) -> list[str]:
    files = {rom.file.name: rom.file for rom in release.roms}
    others = ((release.recovery.file,) if release.recovery else ()) + release.data_files
    files |= {f"{release.folder}/{file.name}": file for file in others}
    return [
        f"  {os.path.join(folder, name)}  {file.size:,} bytes  sha256 {file.sha256}" for name, file in files.items()
    ]


def releases(found: Mapping[str, Sequence[ListedRelease]]) -> str:
    """The releases of each application, a line for each."""
    blocks: list[Heading | Table] = []
    for app, every in found.items():
        rows = tuple(
            (
                listed.version,
                "current" if listed.current else "previous" if listed.previous else "",
                listed.release.date or "" if listed.release else "",
                rom_sizes(listed.release),
            )
            for listed in every
        )
        blocks += (Heading(app), Table((), rows, "<<<<"))
    return f"{plain(blocks)}\n" if blocks else ""


def rom_sizes(release: Release | None) -> str:
    """The sizes of a release's ROMs, of its recovery ROM, and of its data files together, for a table."""
    if release is None:
        return "its manifest cannot be read"
    sizes = " + ".join(f"{rom.file.size:,}" for rom in release.roms) + " bytes"
    if release.recovery:
        sizes += f", recovery {release.recovery.file.size:,} bytes"
    if release.data_files:
        count = len(release.data_files)
        sizes += f", {count} file{'s' * (count > 1)} ({sum(file.size for file in release.data_files):,} bytes)"
    return sizes

"""Switch a web root to another release, so that a crash at any point leaves either the old one or the new one.

1. The new release is written to releases/.rbootimg-next, flushed and read back; then the current files and the
   history, under names that begin with .rbootimg-. A failure up to here leaves everything as it was.
2. history.json is replaced, which makes the new release current; if the process is killed after this, the next command
   continues. For several applications at once .rbootimg.switch, which lists them, is written before; so all of them
   change with that file.
3. releases/.rbootimg-next becomes releases/VERSION.
4. The current files are replaced: the ROMs, the manifest, `version`, the page, the update file. Each is replaced in one
   step, so that a download in progress finishes with the old bytes. The manifest refers to the ROMs in
   releases/VERSION, which are there since step 3, so the ROMs of any manifest that a device reads are there and match
   it.

   A device installs a release that is newer than its own. If `version` is newer than the ROMs, it installs one,
   reboots, is still older than `version`, and installs it again, until the next command if the process was killed
   there. So `version` and the manifest are replaced after the ROMs, but before them if the old file is newer than the
   new release. The file itself decides, so it does not matter whether this is a release, a rollback, a repair, or the
   rest of an interrupted switch. The update file is the very last one, or the very first in the same way: what it
   announces is in releases/VERSION, and its signature has the digests. It comes from the history with its signature,
   so that the rest of an interrupted switch needs no key.

   A checksum file is replaced right after its ROM, whichever release is newer: a client that gets a new one gets its
   ROM. In between, and if the process is killed there, it belongs to another ROM, and clients refuse the ROM.

The time of a current file is always later than that of the file that it replaces, also after a rollback: servers and
caches compare only times and sizes, and two releases can have both in common.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import WebRootError
from ..fileio import read_file
from . import page
from .bundle import Bundle
from .history import History
from .manifest import Release
from .names import MANIFEST, NOTES, PAGE, RELEASES, STYLE, VERSION
from .storage import error_path, has_content, make_directory, remove, sync, write
from .tree import (
    HISTORY,
    NEXT,
    SWITCH,
    UNFINISHED,
    CorruptReleaseError,
    NoHistoryError,
    announced_version,
    current_files,
    outdated_files,
    pending_directories,
    pending_version,
    read_history,
    release_or_none,
    unexpected_files,
    version_content,
)
from .update import UPDATE
from .version import is_newer


def stage_release(directory: Path, bundle: Bundle, before: History | None) -> None:
    """Write a release to releases/.rbootimg-next, and read it back."""
    release_directory = directory / RELEASES / NEXT
    with error_path(directory / RELEASES):
        remove(release_directory)
        make_directory(release_directory)
    current = release_or_none(directory, before.current) if before else None
    files = {
        **bundle.contents,
        VERSION: version_content(bundle.release),
        STYLE: page.stylesheet().encode(),
        PAGE: page.release_page(bundle.release, current, bundle.contents.get(NOTES)).encode(),
        MANIFEST: bundle.release.to_json(),  # last: it completes the release
    }
    for name, data in files.items():
        with error_path(directory / RELEASES / bundle.release.version / name):
            write(release_directory / name, data)
    sync(release_directory)
    for name, data in files.items():
        if (release_directory / name).read_bytes() != data:
            raise WebRootError(
                "content differs from what was written; check the disk", subject=release_directory / name
            )


def stage_current(root: Path, directory: Path, history: History) -> None:
    """Write the current files and the history under temporary names (the end of step 1).

    Raises CorruptReleaseError if the release that becomes current is corrupt.
    """
    stage_files(directory, current_files(root, directory, history))
    stage_files(directory / RELEASES, {HISTORY: history.to_json()})


def stage_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write those `files` that are missing or differ in `directory` under temporary names."""
    for name, data in files.items():
        path, staged = directory / name, directory / f"{UNFINISHED}{name}"
        if path.is_dir():
            raise WebRootError("expected a file, got a directory; move it away", subject=path)
        with error_path(path):
            if has_content(path, data):
                remove(staged)
            elif not has_content(staged, data):
                write(staged, data, later_than=path)


def commit(directory: Path, names: Iterable[str]) -> bool:
    """Replace files by the staged ones, each in one step; return whether there was any."""
    changed = False
    for name in names:
        with error_path(directory / name), contextlib.suppress(FileNotFoundError):  # an unchanged file is not staged
            os.replace(directory / f"{UNFINISHED}{name}", directory / name)
            changed = True
    return changed


def switch(root: Path, directories: Sequence[Path]) -> None:
    """Do steps 2 to 4 in each of `directories`. Raises CorruptReleaseError if a release is corrupt."""
    if len(directories) > 1:
        with clean_on_error(root, *directories), error_path(root):
            staged = root / f"{UNFINISHED}switch"
            write(staged, json.dumps([directory.name for directory in directories]).encode())
            os.replace(staged, root / SWITCH)
        sync(root)
        _commit_histories(directories)
    else:
        with clean_on_error(*directories):
            commit(directories[0] / RELEASES, (HISTORY,))
        sync(directories[0] / RELEASES)
    for directory in directories:
        _complete(root, directory, read_history(directory))
    remove(root / SWITCH)


def _commit_histories(directories: Iterable[Path]) -> None:
    for directory in directories:
        commit(directory / RELEASES, (HISTORY,))
        sync(directory / RELEASES)


def resume_switch(root: Path) -> frozenset[Path]:
    """Continue an interrupted switch of several applications; return the directories of those that changed."""
    directories = pending_directories(root)
    _commit_histories(directories)
    changed = set()
    for directory in directories:
        with contextlib.suppress(NoHistoryError):
            if repair(root, directory, read_history(directory)):
                changed.add(directory)
    remove(root / SWITCH)
    return frozenset(changed)


def repair(root: Path, directory: Path, history: History) -> bool:
    """Complete an interrupted switch, and repair the current files; return whether anything changed."""
    # A corrupt release must not prevent the next one.
    with contextlib.suppress(CorruptReleaseError):
        return _complete(root, directory, history)
    return False


def _complete(root: Path, directory: Path, history: History) -> bool:
    """Do steps 3 and 4, or the rest of them; return whether anything changed.

    Raises CorruptReleaseError if the release is corrupt.
    """
    version = pending_version(directory, history)
    if version:
        _install(directory / RELEASES / NEXT, directory / RELEASES / version)
    files = current_files(root, directory, history)
    stage_files(directory, files)
    announcing = (UPDATE, MANIFEST, VERSION)
    first = [name for name in announcing if is_newer(announced_version(directory, name), history.current)]
    roms = [name for name in files if name not in (*announcing, STYLE, PAGE)]
    changed = False
    for names in (first, roms):
        if commit(directory, names):
            sync(directory)  # else a power cut could keep the later files without these
            changed = True
    for name in outdated_files(directory, history, files):
        (directory / name).unlink()
        changed = True
    changed |= commit(directory, files)
    sync(directory)
    clean(directory)
    return version is not None or changed


def _install(source: Path, target: Path) -> None:
    """Do step 3. An existing release of this version, corrupt or to be replaced, is replaced file by file."""
    if target.exists():
        release = Release.from_json(read_file(source / MANIFEST))
        for entry in sorted(source.iterdir()):
            if entry.name != MANIFEST:
                _replace(entry, target / entry.name)
        for entry in unexpected_files(target, release):
            entry.unlink()
        _replace(source / MANIFEST, target / MANIFEST)  # last: until then the release is pending
        sync(target)
        source.rmdir()
    else:
        with error_path(target):
            os.rename(source, target)
    sync(target.parent)


def _replace(source: Path, target: Path) -> None:
    with error_path(target):
        if target.is_dir():
            remove(target)
        os.replace(source, target)


@contextlib.contextmanager
def clean_on_error(*directories: Path) -> Iterator[None]:
    """Remove temporary files from `directories` if an error is raised within."""
    try:
        yield
    except BaseException:
        for directory in directories:
            with contextlib.suppress(OSError):
                clean(directory)
        raise


def clean(directory: Path) -> None:
    """Remove the temporary files of a command that was killed or failed."""
    for place in (directory, directory / RELEASES):
        for entry in place.glob(f"{UNFINISHED}*"):
            remove(entry)

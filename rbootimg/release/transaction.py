"""How a web root goes over to another release, so that a crash at any point leaves the old one or the new.

1. The new release is written to releases/.rbootimg-next, flushed and read back; then the copies and the history,
   under names that begin with .rbootimg-. Whatever fails up to here leaves everything as it was.
2. history.json is replaced. From here on the new release is current; if we are killed, the next command goes on.
   For several applications at once .rbootimg.switch, which names them, is put in place before; so it is that file
   with which all of them have changed.
3. releases/.rbootimg-next becomes releases/VERSION.
4. The copies are put in place: the ROMs, the manifest, `version`, the page. Each is replaced in one step, so that a
   download which has begun ends with the old bytes. The manifest names the ROMs in releases/VERSION, which are there
   since step 3, so whatever manifest a device reads, its ROMs are there and are those that it describes.

   A device installs what is newer than itself. Where `version` is newer than the ROMs, it installs one, reboots, is
   still older than `version`, and installs it again, for as long as that is so: until the next command if we are killed
   there. So `version` and the manifest are replaced after the ROMs, but before them where the one that is there is
   newer than the release that comes. That is decided by the file itself, so it does not matter whether this is a
   release, a rollback, a repair, or the rest of a switch that was interrupted.

   A checksum file is replaced right after its ROM, whichever release is newer: who finds a new one finds its ROM. In
   between, and if we are killed there, it is that of another ROM, and a client refuses what is there.

A copy's time is always later than that of the file it replaces, also on the way back: servers and caches compare
times and sizes only, and two releases can have both in common.
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
from .manifest import MANIFEST, RELEASES, VERSION, Release
from .storage import has_content, make_folder, naming, remove, sync, write
from .tree import (
    HISTORY,
    NEXT,
    SWITCH,
    UNFINISHED,
    DamagedError,
    NoHistoryError,
    current_files,
    outdated,
    pending,
    pending_version,
    pointed_to,
    read_history,
    readable,
    unexpected_files,
    version_file,
)
from .version import is_newer


def stage_release(folder: Path, bundle: Bundle, before: History | None) -> None:
    """Write the release to where it waits, and read it back."""
    place = folder / RELEASES / NEXT
    with naming(folder / RELEASES):
        remove(place)
        make_folder(place)
    current = readable(folder, before.current) if before else None
    files = {
        **bundle.contents,
        VERSION: version_file(bundle.release),
        page.STYLE: page.STYLESHEET.encode(),
        page.PAGE: page.release_page(bundle.release, current).encode(),
        MANIFEST: bundle.release.to_json(),  # last: with it the release is whole
    }
    for name, data in files.items():
        with naming(folder / RELEASES / bundle.release.version / name):
            write(place / name, data)
    sync(place)
    for name, data in files.items():
        if (place / name).read_bytes() != data:
            raise WebRootError("reads back as something else than was written; look at the disk", subject=place / name)


def stage(folder: Path, history: History) -> None:
    """The end of step 1: write all that is to be put in place, so that no more than names have to change.

    Raises DamagedError if the release is not whole.
    """
    stage_files(folder, current_files(folder, history))
    stage_files(folder / RELEASES, {HISTORY: history.to_json()})


def stage_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write those of the `files` that do not stand in `folder`, each beside its place."""
    for name, data in files.items():
        path, staged = folder / name, folder / f"{UNFINISHED}{name}"
        if path.is_dir():
            raise WebRootError("is a folder; move it away", subject=path)
        with naming(path):
            if has_content(path, data):
                remove(staged)
            elif not has_content(staged, data):
                write(staged, data, later_than=path)


def commit(folder: Path, names: Iterable[str]) -> bool:
    """Put what was staged in place, each in one step; whether there was any."""
    found = False
    for name in names:
        with naming(folder / name), contextlib.suppress(FileNotFoundError):  # what stands already was not staged
            os.replace(folder / f"{UNFINISHED}{name}", folder / name)
            found = True
    return found


def switch(root: Path, folders: Sequence[Path]) -> None:
    """Steps 2 to 4, for what was staged in each of `folders`. Raises DamagedError if a release is not whole."""
    if len(folders) > 1:
        with cleaning(root, *folders), naming(root):
            staged = root / f"{UNFINISHED}switch"
            write(staged, json.dumps([folder.name for folder in folders]).encode())
            os.replace(staged, root / SWITCH)
        sync(root)
        _put_histories(folders)
    else:
        with cleaning(*folders):
            commit(folders[0] / RELEASES, (HISTORY,))
        sync(folders[0] / RELEASES)
    for folder in folders:
        _finish(folder, read_history(folder))
    remove(root / SWITCH)


def _put_histories(folders: Iterable[Path]) -> None:
    for folder in folders:
        commit(folder / RELEASES, (HISTORY,))
        sync(folder / RELEASES)


def resume(root: Path) -> None:
    """Go on with the switch of several applications that was broken off, if one was."""
    folders = pending(root)
    _put_histories(folders)
    for folder in folders:
        with contextlib.suppress(NoHistoryError):
            repair(folder, read_history(folder))
    remove(root / SWITCH)


def recovered(folder: Path) -> History:
    """What is current, after a switch that was broken off is finished. Raises NoHistoryError."""
    history = read_history(folder)
    repair(folder, history)
    return history


def repair(folder: Path, history: History) -> bool:
    """Finish a switch that was broken off, and put right what devices find; whether there was anything to do."""
    # A release that is damaged is no reason not to publish another.
    with contextlib.suppress(DamagedError):
        return _finish(folder, history)
    return False


def _finish(folder: Path, history: History) -> bool:
    """Steps 3 and 4, from wherever they were broken off; whether there was anything left of them.

    Raises DamagedError if the release is not whole.
    """
    version = pending_version(folder, history)
    if version:
        _install(folder / RELEASES / NEXT, folder / RELEASES / version)
    files = current_files(folder, history)
    stage_files(folder, files)
    pointers = (MANIFEST, VERSION)
    first = [name for name in pointers if is_newer(pointed_to(folder, name), history.current)]
    roms = [name for name in files if name not in (*pointers, page.STYLE, page.PAGE)]
    changed = False
    for names in (first, roms):
        if commit(folder, names):
            sync(folder)  # so that a power cut does not leave what comes after these without them
            changed = True
    for name in outdated(folder, history, files):
        (folder / name).unlink()  # better none than an older one
        changed = True
    changed |= commit(folder, files)
    sync(folder)
    clean(folder)
    return version is not None or changed


def _install(place_before: Path, place: Path) -> None:
    """Step 3. A release of this version that stands there, forced to change or damaged, is replaced file by file."""
    if place.exists():
        release = Release.from_json(read_file(place_before / MANIFEST))
        for entry in sorted(place_before.iterdir()):
            if entry.name != MANIFEST:
                _replace(entry, place / entry.name)
        for entry in unexpected_files(place, release):
            entry.unlink()
        _replace(place_before / MANIFEST, place / MANIFEST)  # last: until then the release waits
        sync(place)
        place_before.rmdir()
    else:
        with naming(place):
            os.rename(place_before, place)
    sync(place.parent)


def _replace(source: Path, target: Path) -> None:
    with naming(target):
        if target.is_dir():
            remove(target)
        os.replace(source, target)


@contextlib.contextmanager
def cleaning(*folders: Path) -> Iterator[None]:
    """Leave nothing behind of what fails."""
    try:
        yield
    except BaseException:
        for folder in folders:
            with contextlib.suppress(OSError):
                clean(folder)
        raise


def clean(folder: Path) -> None:
    """Remove what a command left that was killed or failed."""
    for place in (folder, folder / RELEASES):
        for entry in place.glob(f"{UNFINISHED}*"):
            remove(entry)

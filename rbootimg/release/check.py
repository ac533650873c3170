"""Whether a web root is what was published: releases against their manifests, what devices find against the current."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Hint, RbootError
from ..fileio import read_file
from . import page
from .history import History, newest_first
from .manifest import MANIFEST, RELEASES, VERSION, digest
from .storage import FILE_MODE, FOLDER_MODE
from .tree import (
    HISTORY,
    SWITCH,
    UNFINISHED,
    DamagedError,
    NoHistoryError,
    app_folders,
    current_files,
    index,
    outdated,
    pending,
    pending_version,
    read_history,
    readable,
    unexpected_files,
    version_file,
)
from .webroot import read_locked


@dataclass(frozen=True)
class Problem:
    """What is wrong with the file `name` of a web root."""

    name: str
    text: str


def check_web_root(web_root: Path) -> tuple[Problem, ...]:
    """What is wrong: every file against its manifest, and the current files against the current release.

    Raises WebRootError if there is nothing to check.
    """
    with read_locked(web_root) as root:
        found = [*_check_switch(root)]
        for folder in app_folders(root):
            found += _check_app(folder, named=folder != root)
        for name, data in index(root).items():
            wrong = _wrong(root / name, digest(data), "the applications have", "publish or roll back any of them")
            found += ((root / name, text) for text in wrong)
        return tuple(Problem(str(path.relative_to(root)), text) for path, text in found)


_Found = Iterator[tuple[Path, str]]
"""Files and folders, and what is wrong with each."""


def _check_switch(root: Path) -> _Found:
    """Several applications that were to change together may not all have done so."""
    folders = pending(root)
    if not folders:
        return
    try:
        wanted = folders[0] / RELEASES / f"{UNFINISHED}{HISTORY}"
        history = History.from_json(read_file(wanted)) if wanted.exists() else read_history(folders[0])
    except RbootError:
        return  # which is told where that application is checked
    names = ", ".join(folder.name for folder in folders)
    yield root / SWITCH, f"the switch of {names} was broken off; {_rollback(history, named=True)} goes on with it"


def _rollback(history: History, named: bool) -> str:
    """The command that goes to the current release, and mends it on the way."""
    return f"`rbootimg rollback {history.current}{f' --app {shlex.quote(history.app)}' if named else ''}`"


def _check_app(folder: Path, named: bool) -> _Found:
    path = folder / RELEASES / HISTORY
    try:
        history = read_history(folder)
    except NoHistoryError as error:
        yield path, f"{error.message}; {Hint.HISTORY.command_line}"
        return
    back = _rollback(history, named)
    yield from _closed(folder / RELEASES)
    waits = pending_version(folder, history)
    for name, manifest in history.manifests.items():
        if name == waits:
            yield folder / RELEASES / name, f"the switch to {name} was broken off; {back} goes on with it"
        else:
            # Pruning would not touch the two.
            pruned = "" if name in (history.current, history.previous) else ", or let `rbootimg prune` delete it"
            yield from _check_release(folder, name, manifest, f"publish the same again{pruned}")
    with contextlib.suppress(DamagedError):
        yield from _check_current(folder, history, back)


def _check_release(folder: Path, name: str, manifest: str, remedy: str) -> _Found:
    """The files in releases/VERSION; the manifest should have the SHA-256 `manifest`."""
    place = folder / RELEASES / name
    if not place.is_dir():
        yield place, "is no folder; move it away" if place.exists() else f"is missing; {remedy}"
        return
    yield from _closed(place)
    wrong = [*_wrong(place / MANIFEST, manifest, "was published", remedy)]
    yield from ((place / MANIFEST, text) for text in wrong)
    release = readable(folder, name)
    if wrong or release is None:
        return
    expected = {file.name: file.sha256 for file in release.files} | {VERSION: digest(version_file(release))}
    for file, sha256 in expected.items():
        yield from ((place / file, text) for text in _wrong(place / file, sha256, "its manifest says", remedy))
    for file in (page.PAGE, page.STYLE):
        yield from ((place / file, text) for text in _wrong(place / file, None, "", remedy))
    yield from ((stray, f"is no file of {name}; delete it") for stray in unexpected_files(place, release))


def _check_current(folder: Path, history: History, back: str) -> _Found:
    """What devices find. Raises DamagedError if there is no release to go by."""
    files = current_files(folder, history)
    for name, data in files.items():
        # Pages are in no manifest: another version of rbootimg may have written this one.
        made = name in (page.PAGE, page.STYLE)
        expected = f"this rbootimg writes for {history.current}" if made else f"{history.current} has"
        wrong = _wrong(folder / name, digest(data), expected, f"{back} puts it right")
        yield from ((folder / name, text) for text in wrong)
    for name in outdated(folder, history, files):
        what = "ROM" if name.endswith(".bin") else "checksum file"
        yield folder / name, f"is no {what} of {history.current}, which is current; delete it"
    releases = [readable(folder, name) for name in newest_first(history.manifests)]
    last = {rom.file.name: release.version for release in reversed(releases) if release for rom in release.roms}
    for name in sorted(last.keys() - files.keys()):
        yield (
            folder / name,
            f"is in {last[name]} but not in {history.current}, which is current; publish a release with it",
        )


def _wrong(path: Path, sha256: str | None, expected: str, remedy: str) -> Iterator[str]:
    """What is wrong with a file that should have this SHA-256, if one is given, which is what is `expected`."""
    try:
        if sha256 is not None and digest(read_file(path)) != sha256:
            yield f"is not what {expected}; {remedy}"
        if path.stat().st_mode & FILE_MODE != FILE_MODE:
            yield f"cannot be read by the web server; its mode should be {FILE_MODE:o}"
    except FileNotFoundError:
        yield f"is missing; {remedy}"
    except IsADirectoryError:
        yield "is a folder; move it away"
    except OSError as error:
        yield f"cannot be read: {error.strerror}"


def _closed(folder: Path) -> _Found:
    if folder.stat().st_mode & FOLDER_MODE != FOLDER_MODE:
        yield folder, f"cannot be entered by the web server; its mode should be {FOLDER_MODE:o}"

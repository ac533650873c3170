"""Check the files of a web root: the releases against their manifests, the current files against their release."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import Hint, ManifestError, RbootError, WebRootError
from ..fileio import read_file, sha256_hex
from . import page
from .finding import Finding
from .history import History, newest_first
from .names import MANIFEST, PAGE, RELEASES, STYLE, VERSION
from .signify import PublicKey
from .storage import DIRECTORY_MODE, FILE_MODE
from .tree import (
    HISTORY,
    SWITCH,
    UNFINISHED,
    CorruptReleaseError,
    NoHistoryError,
    announced_version,
    app_directories,
    current_files,
    index_files,
    outdated_files,
    pending_directories,
    pending_version,
    read_history,
    read_release,
    release_or_none,
    unexpected_files,
    version_content,
)
from .update import UPDATE, is_readable_version
from .updatecheck import content_problems, describe_signed, signature_problem
from .webroot import read_locked

_Problems = Iterator[tuple[Path, str]]
"""Files and directories, and the problem with each."""


def check_web_root(web_root: Path, keys: Sequence[PublicKey] = ()) -> tuple[Finding, ...]:
    """Return the faults of a web root: files that do not match their manifest or the current release.

    With `keys` also an update file that none of them signed. A note tells who signed one. Raises WebRootError if there
    is nothing to check.
    """
    with read_locked(web_root) as root:
        problems = [*_check_switch(root)]
        notes = []
        for directory in app_directories(root):
            problems += _check_app(root, directory, keys)
            notes += [*_signature_notes(directory, keys)]
        for name, data in index_files(root).items():
            found = _page_problems(root / name, data, "the applications", "publish or roll back any of them")
            problems += ((root / name, text) for text in found)
        faults = (Finding(str(path.relative_to(root)), text) for path, text in problems)
        return (*faults, *(Finding(str(path.relative_to(root)), text, fault=False) for path, text in notes))


def _check_switch(root: Path) -> _Problems:
    """Check that a switch of several applications is complete."""
    directories = pending_directories(root)
    if not directories:
        return
    try:
        staged = directories[0] / RELEASES / f"{UNFINISHED}{HISTORY}"
        history = History.from_json(read_file(staged)) if staged.exists() else read_history(directories[0])
    except RbootError:
        return  # reported where that application is checked
    names = ", ".join(directory.name for directory in directories)
    yield root / SWITCH, f"interrupted switch of {names}; run {_rollback_command(history, named=True)} to complete it"


def _rollback_command(history: History, named: bool) -> str:
    """Return the command that rolls back to the current release, which repairs the current files."""
    return f"`rbootimg rollback {history.current}{f' --app {shlex.quote(history.app)}' if named else ''}`"


def _check_app(root: Path, directory: Path, keys: Sequence[PublicKey]) -> _Problems:
    path = directory / RELEASES / HISTORY
    try:
        history = read_history(directory)
    except NoHistoryError as error:
        yield path, f"{error.message}; {Hint.HISTORY.command_line}"
        return
    command = _rollback_command(history, named=directory != root)
    yield from _check_access(directory / RELEASES)
    pending = pending_version(directory, history)
    for version, manifest in history.manifests.items():
        if version == pending:
            yield directory / RELEASES / version, f"interrupted switch to {version}; run {command} to complete it"
        else:
            # Prune keeps the current and the previous release.
            prune = "" if version in (history.current, history.previous) else ", or delete it with `rbootimg prune`"
            yield from _check_release(directory, version, manifest, f"publish the same release again{prune}")
    with contextlib.suppress(CorruptReleaseError, ManifestError):  # reported by _check_release()
        yield from _check_current(root, directory, history, command)
    yield from ((directory / UPDATE, text) for text in _update_problems(directory, history, keys, command))


def _check_release(directory: Path, version: str, manifest: str, remedy: str) -> _Problems:
    """Check the files in releases/VERSION, whose manifest should have the SHA-256 `manifest`."""
    place = directory / RELEASES / version
    if not place.is_dir():
        yield place, "not a directory; move it away" if place.exists() else f"missing; {remedy}"
        return
    yield from _check_access(place)
    problems = [*_file_problems(place / MANIFEST, manifest, "the history", remedy)]
    yield from ((place / MANIFEST, text) for text in problems)
    if problems:
        return
    try:
        release = read_release(directory, version)
    except WebRootError as error:
        yield place / MANIFEST, error.message
        return
    expected = {file.name: file.sha256 for file in release.files}
    expected[VERSION] = sha256_hex(version_content(release))
    for name, sha256 in expected.items():
        yield from ((place / name, text) for text in _file_problems(place / name, sha256, "its manifest", remedy))
    for name in (PAGE, STYLE):
        yield from ((place / name, text) for text in _file_problems(place / name, None, "", remedy))
    yield from ((path, f"not a file of {version}; delete it") for path in unexpected_files(place, release))


def _check_current(root: Path, directory: Path, history: History, command: str) -> _Problems:
    """Check the files that devices get. Raises CorruptReleaseError if the current release is corrupt."""
    files = current_files(root, directory, history)
    for name, data in files.items():
        remedy = f"run {command} to repair it"
        if name in (PAGE, STYLE):
            expected = f"the page that this rbootimg writes for {history.current}"
            problems = _page_problems(directory / name, data, expected, remedy)
        else:
            problems = _file_problems(directory / name, sha256_hex(data), history.current, remedy)
        yield from ((directory / name, text) for text in problems)
    for name in outdated_files(directory, history, files):
        kind = "ROM" if name.endswith(".bin") else "checksum file"
        yield directory / name, f"not a {kind} of the current release {history.current}; delete it"
    releases = [release_or_none(directory, version) for version in newest_first(history.manifests)]
    newest = {rom.file.name: release.version for release in reversed(releases) if release for rom in release.roms}
    for name in sorted(newest.keys() - files.keys()):
        yield (
            directory / name,
            f"in {newest[name]}, but not in the current release {history.current}; publish a release with this ROM",
        )


def _page_problems(path: Path, data: bytes, expected: str, remedy: str) -> Iterator[str]:
    """Yield the problems with a page that should be `data`. No manifest has the SHA-256 of a page.

    One that another version of rbootimg wrote may differ; the next publication replaces it.
    """
    with contextlib.suppress(OSError):
        if not page.is_current(read_file(path)):
            return _file_problems(path, None, expected, remedy)
    return _file_problems(path, sha256_hex(data), expected, remedy)


def _update_problems(directory: Path, history: History, keys: Sequence[PublicKey], command: str) -> Iterator[str]:
    """Yield the problems with the update file of the history; _check_current() compares that in the directory."""
    file = history.update_file
    if file is None:
        announced = announced_version(directory, UPDATE)
        if announced not in ("", history.current):
            yield f"announces {announced}: expected {history.current}; run {command} to repair it"
        elif keys:
            yield f"the history has none: an older rbootimg wrote it; run {command} with the key to add it"
        return
    release = release_or_none(directory, history.current)
    problems = [*content_problems(file.update, release)] if release else []
    withdrawn = [known for known in history.withdrawn if is_readable_version(known)]
    if file.update.withdrawn != tuple(withdrawn[len(withdrawn) - len(file.update.withdrawn) :]):
        problems.append("other withdrawn versions than in the history")
    yield from (f"{problem}; run {command} to replace it" for problem in problems)
    if keys and (problem := signature_problem(file, keys)):
        yield problem


def _signature_notes(directory: Path, keys: Sequence[PublicKey]) -> _Problems:
    with contextlib.suppress(NoHistoryError):
        file = read_history(directory).update_file
        if file and file.signed.number:
            yield directory / UPDATE, describe_signed(file, keys)


def _file_problems(path: Path, sha256: str | None, expected: str, remedy: str) -> Iterator[str]:
    """Yield the problems with a file whose SHA-256 should be `sha256`, if given, so that it matches `expected`."""
    try:
        if sha256 is not None and sha256_hex(read_file(path)) != sha256:
            yield f"does not match {expected}; {remedy}"
        if path.stat().st_mode & FILE_MODE != FILE_MODE:
            yield f"not readable for the web server: expected mode {FILE_MODE:o}"
    except FileNotFoundError:
        yield f"missing; {remedy}"
    except IsADirectoryError:
        yield "expected a file, got a directory; move it away"
    except OSError as error:
        yield f"cannot be read: {error.strerror}"


def _check_access(directory: Path) -> _Problems:
    if directory.stat().st_mode & DIRECTORY_MODE != DIRECTORY_MODE:
        yield directory, f"not accessible for the web server: expected mode {DIRECTORY_MODE:o}"

"""Publish releases to a web root that devices fetch from, roll back, prune and list them.

An application has its own directory, or the web root itself if it is the only one. That contains

    releases/VERSION/       the release: ROMs, data files, notes, manifest, version, page; never changes
    releases/history.json   which releases there are, and which are and were current
    rom0.bin, rom1.bin, …, manifest.json, version, style.css, index.html    copies from the current release,
                            and rom0.bin.sha256 … if it has them
    update                  the update file, a copy from the history

All are plain files. transaction.py describes how they change.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ..errors import Hint, PublishError, RbootError, WebRootError
from ..fileio import not_a_directory, resolve, sha256_hex
from .bundle import Bundle
from .history import History, ListedRelease, list_history, newest_first
from .issuing import issue_update
from .manifest import Release
from .names import RELEASES
from .plan import Action, StoredVersion, plan_release
from .signing import Signer
from .storage import error_path, locked, make_directory, remove, sync
from .transaction import (
    clean,
    clean_on_error,
    commit,
    repair,
    resume_switch,
    stage_current,
    stage_files,
    stage_release,
    switch,
)
from .tree import (
    HISTORY,
    LOCK,
    UNFINISHED,
    NoHistoryError,
    app_directories,
    app_of,
    current_rom_names,
    empty_history,
    history_from_manifest,
    history_from_releases,
    index_files,
    known_directories,
    read_history,
    read_release,
    read_releases,
    release_directories,
    release_or_none,
    resolve_root,
    verified_release,
)
from .update import UpdateFile

WAIT = 30.0
"""Seconds to wait for another publisher."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Outcome(enum.Enum):
    """What a command did for an application."""

    SWITCHED = "the release became current, or its current files were repaired"
    REPLACED = "the current release was replaced by another one of its version"
    UNCHANGED = "the release was current already"
    ANNOUNCED = "the release was current already; its update file is new, as with another key"
    REPAIRED = "a corrupt release was repaired; another one stays current"


class Omission(enum.Enum):
    """A part of a release that was not published, because a stored release with the same ROMs never changes."""

    ELFS = "ELFs"
    PROOF = "proof"
    DATE = "date"
    CHECKSUM_FILES = "checksum files"
    NOTES = "release notes"


@dataclass(frozen=True)
class Published:
    """The result of a publication or rollback for an application, whose directory is `directory`.

    `before` is the version that was current before, None if there was none or it is unknown. `update` is the
    update file, None if a command wrote none, and `update_before` the one before.
    """

    directory: Path
    release: Release
    outcome: Outcome
    before: str | None
    omitted: tuple[Omission, ...] = ()
    update: UpdateFile | None = None
    update_before: UpdateFile | None = None

    @property
    def changed(self) -> bool:
        """Whether any file changed."""
        return self.outcome is not Outcome.UNCHANGED


class _Change(NamedTuple):
    """The staged history of an application, and the result to report."""

    history: History
    published: Published


# Commands


def publish(
    web_root: Path,
    bundles: Sequence[Bundle],
    *,
    in_directories: bool | None = None,
    force: bool | Collection[str] = False,
    allow_missing_roms: bool | Collection[str] = False,
    allow_downgrade: bool | Collection[str] = False,
    signer: Signer | None = None,
    timeout: float = WAIT,
) -> tuple[Published, ...]:
    """Make each of `bundles` the current release of its application, or none of them.

    The web root is created if it is missing. With `in_directories` each application has a directory of its name, and
    the web root has a page that lists them; without it the only application is in the web root itself. None keeps what
    the web root has; a new one gets directories for more than one bundle.

    `force`, `allow_missing_roms` and `allow_downgrade` are for all applications, or for the named ones. `signer` signs
    the update files, with the web root locked; where they are signed already it is required.

    A release that is current is left alone. A stored release that is corrupt is repaired, without becoming current if
    it is older. An error leaves the current releases as they are. Raises WebRootError if the web root cannot be
    written, LockError if another publisher has locked it for `timeout` seconds; PublishError if the version was
    published with other ROMs, data files or notes and not `force`, if it lacks a ROM that devices request and not
    `allow_missing_roms`, if it is older than the current one and not `allow_downgrade`, or if the update file cannot be
    made without another key; SigningError if it cannot be signed.
    """
    with _web_root_errors(web_root):
        root = resolve(web_root)
        make_directory(root)
        with _write_locked(root, timeout) as (_, resumed):
            directories = _directories(root, bundles, in_directories)
            starts = [_publication_start(root, directory, resumed) for directory in directories]
            with clean_on_error(root, *directories):
                changes = [
                    _stage_bundle(
                        root,
                        directory,
                        bundle,
                        before,
                        repaired,
                        force=_applies(force, bundle),
                        allow_missing_roms=_applies(allow_missing_roms, bundle),
                        allow_downgrade=_applies(allow_downgrade, bundle),
                        signer=signer,
                    )
                    for directory, bundle, (before, repaired) in zip(directories, bundles, starts)
                ]
            return _switch(root, changes)


def rollback(
    web_root: Path,
    release: str | None = None,
    app: str | None = None,
    *,
    allow_missing_roms: bool = False,
    signer: Signer | None = None,
    date: str | None = None,
    timeout: float = WAIT,
) -> Published:
    """Make another version, `release`, current again, by default the previous one (History.previous).

    With `release` a missing or invalid history is rebuilt from the stored releases. `app` is needed if the web root
    has several applications. `signer` is as for publish(); `date`, YYYY-MM-DD, is that in the update file. Raises
    WebRootError, SigningError, and PublishError if the release lacks a ROM that devices request and not
    `allow_missing_roms`, or if the update file cannot be made without another key.
    """
    options = _RollbackOptions(release, allow_missing_roms, signer, date)
    with _web_root_errors(web_root), _write_locked(resolve_root(web_root), timeout) as (root, resumed):
        return _roll_back(root, [_directory_of(root, app)], options, resumed)[0]


def rollback_all(
    web_root: Path,
    release: str | None = None,
    apps: Sequence[str] | None = None,
    *,
    allow_missing_roms: bool = False,
    signer: Signer | None = None,
    date: str | None = None,
    timeout: float = WAIT,
) -> tuple[Published, ...]:
    """Roll back every application in the web root, or each of `apps`; or none of them if one fails."""
    options = _RollbackOptions(release, allow_missing_roms, signer, date)
    with _web_root_errors(web_root), _write_locked(resolve_root(web_root), timeout) as (root, resumed):
        directories = app_directories(root) if apps is None else [_directory_of(root, app) for app in apps]
        return _roll_back(root, directories, options, resumed)


def prune(web_root: Path, keep: int, app: str | None = None, timeout: float = WAIT) -> tuple[str, ...]:
    """Delete all releases but the `keep` newest, the current and the previous one; return the deleted versions.

    `app` is needed if the web root has several applications. The update file stays as it is: devices may still run
    deleted versions that were rolled back. Raises WebRootError.
    """
    with _web_root_errors(web_root), _write_locked(resolve_root(web_root), timeout) as (root, _):
        directory = _directory_of(root, app)
        before = read_history(directory)
        history = before.pruned(keep)
        # Also releases that are not in the history: a killed prune left them.
        deleted = {entry.name: None for entry in release_directories(directory)}.keys() - history.manifests
        try:
            _stage_pruned(root, directory, before, history)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # Free space for the new history. If this is killed in between, the next prune continues.
            _delete(directory, deleted)
            _stage_pruned(root, directory, before, history)
        switch(root, [directory])
        _delete(directory, deleted)
        return tuple(newest_first(dict.fromkeys(deleted)))


def list_releases(web_root: Path) -> dict[str, tuple[ListedRelease, ...]]:
    """Return the releases by application, each with the current one first and then the newest. Raises WebRootError."""
    with read_locked(web_root) as root:
        return {
            history.app: _listed(directory, history)
            for directory, history in ((directory, read_history(directory)) for directory in app_directories(root))
        }


def _listed(directory: Path, history: History) -> tuple[ListedRelease, ...]:
    listed = list_history(history, read_releases(directory, history))
    return tuple(sorted(listed, key=lambda each: not each.current))  # stable: the others stay in their order


def list_updates(web_root: Path) -> dict[str, UpdateFile | None]:
    """Return the update files by application, None for one that has none yet. Raises WebRootError."""
    with read_locked(web_root) as root:
        histories = [read_history(directory) for directory in app_directories(root)]
        return {history.app: history.update_file for history in histories}


def has_releases(web_root: Path) -> bool:
    """Whether any application in the web root has a release. Raises WebRootError."""
    with _web_root_errors(web_root):
        return web_root.is_dir() and bool(known_directories(web_root))


# Locking and errors


@contextlib.contextmanager
def read_locked(web_root: Path) -> Iterator[Path]:
    """Keep publishers out of the web root, and return its resolved path. Raises WebRootError."""
    with _web_root_errors(web_root), locked(resolve_root(web_root) / LOCK, WAIT, shared=True):
        yield resolve_root(web_root)


@contextlib.contextmanager
def _write_locked(root: Path, timeout: float) -> Iterator[tuple[Path, Collection[Path]]]:
    """Keep all others out of the web root, and complete an interrupted switch.

    Returns `root` and the directories of the applications that changed thereby.
    """
    with locked(root / LOCK, timeout):
        yield root, resume_switch(root)


@contextlib.contextmanager
def _web_root_errors(web_root: Path) -> Iterator[None]:
    """Name files in errors relative to `web_root` as the caller wrote it; raise OSError as WebRootError."""
    try:
        yield
    except RbootError as error:
        error.subject = _as_written(error.subject or web_root, web_root)
        raise
    except (FileExistsError, NotADirectoryError) as error:
        path = Path(error.filename or web_root)
        reason = not_a_directory(path) if os.path.islink(path) else "not a directory, or a file is in its path"
        raise WebRootError(reason, subject=_as_written(path, web_root)) from None
    except OSError as error:
        hint = Hint.SPACE if error.errno in _FULL else None
        subject = _as_written(error.filename or web_root, web_root)
        raise WebRootError(str(error.strerror), subject=subject, hint=hint) from None


def _as_written(subject: object, web_root: Path) -> object:
    """Return `subject` relative to `web_root` if it is a file in it, `web_root` if it is one of its parents."""
    path, root = str(subject), os.path.realpath(web_root)
    if root.startswith(f"{path}/"):
        return web_root
    if path == root or path.startswith(f"{root}/"):
        return web_root / os.path.relpath(path, root)
    return subject


# The applications' directories


def _directory_of(root: Path, app: str | None) -> Path:
    apps = {app_of(directory): directory for directory in app_directories(root)}
    if app is None and len(apps) > 1:
        raise WebRootError(f"the web root has several applications: {', '.join(apps)}", hint=Hint.APP)
    if app is None:
        return next(iter(apps.values()))
    check_known(app, apps)
    return apps[app]


def check_known(app: str, apps: Iterable[str]) -> None:
    """Raise WebRootError unless the web root has the application `app`; `apps` are those that it has."""
    if app not in apps:
        raise WebRootError(f"unknown application {app!r}: expected one of {', '.join(apps)}")


def _directories(root: Path, bundles: Sequence[Bundle], in_directories: bool | None) -> list[Path]:
    """Return the directory of each application. Raises PublishError if the web root is divided otherwise."""
    names = [bundle.release.app for bundle in bundles]
    if len(set(names)) < len(names):
        raise PublishError("two releases of one application: expected one; publish them one after the other")
    known = known_directories(root)
    if in_directories is None:
        in_directories = len(bundles) > 1 or any(directory != root for directory in known)
    if not in_directories:
        if len(bundles) > 1:
            raise PublishError("several applications need a directory each")
        if known and known != [root]:
            raise PublishError(
                f"the web root has a directory for each application, such as {known[0].name}; publish {names[0]} to "
                "its own directory too"
            )
        return [root]
    if known == [root]:
        raise PublishError(
            f"the web root is that of {app_of(root)} alone and cannot have directories for other applications; use "
            "another web root"
        )
    for directory in known:
        app = app_of(directory)
        if app in names and directory.name != app:
            raise PublishError(f"{directory.name} has the releases of {app}; rename it to {app}")
    return [root / name for name in names]


# Publication


def _applies(to: bool | Collection[str], bundle: Bundle) -> bool:
    return to if isinstance(to, bool) else bundle.release.app in to


def _publication_start(root: Path, directory: Path, resumed: Collection[Path]) -> tuple[History | None, bool]:
    """Create the application's directory, and complete an interrupted switch.

    Returns the history if there is one, and whether any current file changed.
    """
    make_directory(directory / RELEASES)
    try:
        history = read_history(directory)
        repaired = repair(root, directory, history) or directory in resumed
    except NoHistoryError:
        if release_directories(directory):
            raise
        clean(directory)
        return history_from_manifest(directory), False
    return history, repaired


def _stage_bundle(
    root: Path,
    directory: Path,
    bundle: Bundle,
    before: History | None,
    repaired: bool,
    *,
    force: bool,
    allow_missing_roms: bool,
    allow_downgrade: bool,
    signer: Signer | None,
) -> _Change:
    """Stage the release of `bundle` as the current one. `repaired` tells whether current files changed already."""
    release = bundle.release
    current = before.current if before else None
    _check_directory(directory, release, before)
    stored = _stored_version(directory, release.version, before)
    action = plan_release(release, current, stored, force=force, allow_downgrade=allow_downgrade)
    if action is Action.REPAIR_OLDER and before:
        stage_release(directory, bundle, before)
        stage_current(root, directory, before)
        return _Change(before, Published(directory, release, Outcome.REPAIRED, current))
    if not allow_missing_roms:
        _check_missing_roms(directory, release, current)
    omitted: tuple[Omission, ...] = ()
    manifest = sha256_hex(release.to_json())
    if action is Action.KEEP and stored and stored.release:
        omitted = _omissions(stored.release, release)
        release, manifest = stored.release, stored.manifest
    else:
        stage_release(directory, bundle, before)
    # If `releases` was lost, the release that devices get is not among the stored ones.
    is_known = before and (directory / RELEASES / HISTORY).exists()
    start = before if before and is_known else empty_history(directory, release.app)
    history = issue_update(start.published(release.version, manifest), release, signer, bundle.release.date)
    stage_current(root, directory, history)
    if action is Action.KEEP and before and replace(before, update=history.update) == history and not repaired:
        outcome = Outcome.UNCHANGED if before == history else Outcome.ANNOUNCED
    else:
        outcome = Outcome.REPLACED if action is Action.REPLACE and current == release.version else Outcome.SWITCHED
    updates = history.update_file, start.update_file
    return _Change(history, Published(directory, release, outcome, current, omitted, *updates))


def _check_directory(directory: Path, release: Release, before: History | None) -> None:
    if before and before.app != release.app:
        raise PublishError(
            f"the web root is that of {before.app}, whose devices would get {release.app}; use another web root"
        )
    place = directory / RELEASES / release.version
    if place.exists() and not place.is_dir():
        raise WebRootError("not a directory; move it away", subject=place)


def _stored_version(directory: Path, version: str, before: History | None) -> StoredVersion | None:
    manifest = before.manifests.get(version) if before else None
    return StoredVersion(manifest, verified_release(directory, version, manifest)) if manifest else None


def _omissions(stored: Release, release: Release) -> tuple[Omission, ...]:
    """Return the parts of `release` that are not in the `stored` one with the same ROMs."""
    pairs = tuple(zip(stored.all_roms, release.all_roms))
    omitted = {
        Omission.ELFS: any(new.elf not in (None, old.elf) for old, new in pairs),
        Omission.PROOF: any(new.proved_by not in (None, old.proved_by) for old, new in pairs),
        Omission.DATE: release.date not in (None, stored.date),
        Omission.CHECKSUM_FILES: release.checksum_files and not stored.checksum_files,
        Omission.NOTES: release.notes not in (None, stored.notes),
    }
    return tuple(omission for omission, is_omitted in omitted.items() if is_omitted)


def _check_missing_roms(directory: Path, release: Release, current: str | None) -> None:
    """Raise PublishError if `release` lacks a ROM that devices request now: those would get no further release."""
    requested = current_rom_names(directory)
    before = release_or_none(directory, current) if current else None
    if before:
        requested |= {rom.file.name for rom in before.roms}
    missing = sorted(requested - {rom.file.name for rom in release.roms})
    if missing:
        raise PublishError(
            f"{release.version} of {release.app} lacks {', '.join(missing)}, which devices request: expected a ROM for "
            "each slot",
            hint=Hint.FORCE,
        )


# Rollback


class _RollbackOptions(NamedTuple):
    release: str | None
    allow_missing_roms: bool
    signer: Signer | None
    date: str | None


def _roll_back(
    root: Path, directories: Sequence[Path], options: _RollbackOptions, resumed: Collection[Path]
) -> tuple[Published, ...]:
    starts = [_rollback_start(root, directory, options.release, resumed) for directory in directories]
    with clean_on_error(root, *directories):
        changes = [_stage_rollback(root, directory, start, options) for directory, start in zip(directories, starts)]
    return _switch(root, changes)


class _RollbackStart(NamedTuple):
    """An application before a rollback: its `current` version if that is known, and whether files were repaired."""

    history: History
    current: str | None
    repaired: bool


def _rollback_start(root: Path, directory: Path, release: str | None, resumed: Collection[Path]) -> _RollbackStart:
    try:
        history = read_history(directory)
        repaired = repair(root, directory, history) or directory in resumed
        return _RollbackStart(history, history.current, repaired)
    except NoHistoryError:
        if release is None:
            raise
        return _RollbackStart(history_from_releases(directory), None, True)


def _stage_rollback(root: Path, directory: Path, start: _RollbackStart, options: _RollbackOptions) -> _Change:
    """Stage a release that was published before as the current one."""
    before = start.history
    version = _rollback_version(start, options.release)
    found = read_release(directory, version)
    if not options.allow_missing_roms:
        _check_missing_roms(directory, found, start.current)
    history = issue_update(before.rolled_back(version), found, options.signer, options.date)
    stage_current(root, directory, history)
    if replace(before, update=history.update) == history and not start.repaired:
        outcome = Outcome.UNCHANGED if before == history else Outcome.ANNOUNCED
    else:
        outcome = Outcome.SWITCHED
    updates = history.update_file, before.update_file
    return _Change(history, Published(directory, found, outcome, start.current, (), *updates))


def _rollback_version(start: _RollbackStart, release: str | None) -> str:
    """Return the version to roll back to. Raises WebRootError if there is none."""
    app = start.history.app
    versions = newest_first(start.history.manifests)
    if release is None:
        if start.history.previous is not None:
            return start.history.previous
        if len(versions) == 1:
            raise WebRootError(f"{start.current} is the only release of {app}; publish another one")
        others = ", ".join(version for version in versions if version != start.current)
        raise WebRootError(
            f"there is no previous release of {app} to roll back to; available: {others}", hint=Hint.ROLLBACK
        )
    if release not in start.history.manifests:
        raise WebRootError(f"unknown release {release!r} of {app}; available: {', '.join(versions) or 'none'}")
    return release


# Both


def _switch(root: Path, changes: Sequence[_Change]) -> tuple[Published, ...]:
    """Make the staged releases current, and update the page that lists several applications."""
    published = tuple(change.published for change in changes)
    directories = [each.directory for each in published]
    current = {each.directory: each.release for each in published if each.outcome is not Outcome.REPAIRED}
    pages = index_files(root, current)
    with clean_on_error(root, *directories):
        stage_files(root, pages)
    switch(root, directories)
    if commit(root, pages):
        sync(root)
    return published


# Pruning


def _stage_pruned(root: Path, directory: Path, before: History, history: History) -> None:
    repair(root, directory, before)
    with clean_on_error(directory):
        stage_current(root, directory, history)


def _delete(directory: Path, versions: Iterable[str]) -> None:
    """Delete releases, each in one step for its readers."""
    for version in versions:
        path = directory / RELEASES / version
        with contextlib.suppress(FileNotFoundError), error_path(path):  # may have been deleted to free space
            hidden = path.rename(path.with_name(f"{UNFINISHED}{version}"))
            remove(hidden)

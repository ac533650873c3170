"""A web root that devices fetch from: a release goes in whole or not at all, and can be taken back.

In an application's folder, which is the web root itself if there is only one, stand

    releases/VERSION/       the release: ROMs, data files, manifest, version, page; nothing here changes any more
    releases/history.json   which releases there are, and which are and were current
    rom0.bin, rom1.bin, …, manifest.json, version, style.css, index.html    copies of those of the current release,
                            and rom0.bin.sha256 … if it has them

All are plain files. switch.py says how they change.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import Hint, PublishError, RbootError, WebRootError
from ..fileio import not_a_directory, resolve
from .bundle import Bundle
from .history import History, newest_first
from .manifest import RELEASES, Release, digest
from .storage import locked, make_folder, naming, remove, sync
from .transaction import clean, cleaning, commit, recovered, repair, resume, stage, stage_files, stage_release, switch
from .tree import (
    HISTORY,
    LOCK,
    UNFINISHED,
    NoHistoryError,
    app_folders,
    app_of,
    found_by_devices,
    index,
    known_folders,
    read_history,
    readable,
    release_folders,
    release_of,
    resolve_root,
    seen_by_devices,
    verified_release,
    without_history,
)
from .version import parse

WAIT = 30.0
"""How many seconds to wait for another publisher."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Published:
    """What became of a release: its application's `folder`, and whether anything `changed`.

    `before` is the version that was current until then, None if there was none or it is not known. `repaired` is a
    release that was damaged and is whole again, without being the current one. `left_out` are the parts of what was
    to be published that an unchanged release did not take.
    """

    folder: Path
    release: Release
    changed: bool
    before: str | None
    repaired: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedRelease:
    """A release that is in a web root, None if its manifest cannot be read."""

    version: str
    release: Release | None
    current: bool
    previous: bool


class _Change(NamedTuple):
    """What is staged for an application, and what there will be to say of it."""

    history: History
    published: Published


# The operations


def publish(
    web_root: Path,
    bundles: Sequence[Bundle],
    *,
    in_folders: bool | None = None,
    force: bool | Collection[str] = False,
    fewer_roms: bool | Collection[str] = False,
    allow_downgrade: bool | Collection[str] = False,
    timeout: float = WAIT,
) -> tuple[Published, ...]:
    """Make each of `bundles` the current release of its application, or none of them, in a web root that is made if
    need be.

    With `in_folders` each application has a folder of its name, and the web root a page with all of them; without
    it the only one is at the root. None leaves that to the web root as it is, and to the number of `bundles`.

    `force`, `fewer_roms` and `allow_downgrade` are for all applications, or for those that they name.

    A release that is current already is left alone; one that was published, is not current and is corrupt is repaired,
    without becoming current if it is older. Raises an error, and leaves the current releases as they are: WebRootError
    if the web root cannot be written, LockError if another publisher has it for `timeout` seconds, PublishError if the
    version was published with other ROMs or data files and not `force`, if it lacks a ROM that devices find now and not
    `fewer_roms`, or if it is older than the current one and not `allow_downgrade`.
    """
    with _web_root_errors(web_root):
        root = resolve(web_root)
        make_folder(root)
        with _write_locked(root, timeout):
            folders = _folders(root, bundles, in_folders)
            befores = [_before(folder, bundle.release) for folder, bundle in zip(folders, bundles)]
            with cleaning(root, *folders):
                changes = [
                    _prepared(
                        folder, bundle, before, *(_applies(to, bundle) for to in (force, fewer_roms, allow_downgrade))
                    )
                    for folder, bundle, before in zip(folders, bundles, befores)
                ]
            return _switched(root, changes)


def _applies(to: bool | Collection[str], bundle: Bundle) -> bool:
    return to if isinstance(to, bool) else bundle.release.app in to


def rollback(
    web_root: Path,
    release: str | None = None,
    app: str | None = None,
    *,
    fewer_roms: bool = False,
    timeout: float = WAIT,
) -> Published:
    """Make another `release` current again, by default the previous one: see History.previous.

    With `release` a history that is missing or damaged is made anew from the releases that there are.
    `app` is needed if the web root has several applications. Raises WebRootError, and PublishError if the release lacks
    a ROM that devices find now and not `fewer_roms`.
    """
    with _web_root_errors(web_root), _write_locked(resolve_root(web_root), timeout) as root:
        return _go_back(root, [_folder_of(root, app)], release, fewer_roms)[0]


def rollback_all(
    web_root: Path,
    release: str | None = None,
    apps: Sequence[str] | None = None,
    *,
    fewer_roms: bool = False,
    timeout: float = WAIT,
) -> tuple[Published, ...]:
    """The same for every application in the web root, or for each of `apps`; or for none."""
    with _web_root_errors(web_root), _write_locked(resolve_root(web_root), timeout) as root:
        folders = app_folders(root) if apps is None else [_folder_of(root, app) for app in apps]
        return _go_back(root, folders, release, fewer_roms)


def prune(web_root: Path, keep: int, app: str | None = None, timeout: float = WAIT) -> tuple[str, ...]:
    """Delete all releases but the `keep` newest, the current and the previous one; returns their versions.

    `app` is needed if the web root has several applications. Raises WebRootError.
    """
    with _web_root_errors(web_root), _write_locked(resolve_root(web_root), timeout) as root:
        folder = _folder_of(root, app)
        before = read_history(folder)
        history = before.pruned(keep)
        # Also those that no history names: a prune that was killed had left them.
        gone = {place.name: None for place in release_folders(folder)}.keys() - history.manifests
        try:
            _stage_pruned(folder, before, history)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # There is no room for a new history until something is gone. If we are killed now, the next prune goes on.
            _delete(folder, gone)
            _stage_pruned(folder, before, history)
        switch(root, [folder])
        _delete(folder, gone)
        return tuple(newest_first(dict.fromkeys(gone)))


def list_releases(web_root: Path) -> dict[str, tuple[ListedRelease, ...]]:
    """The releases by application, each with the current one first and then the newest. Raises WebRootError."""
    with read_locked(web_root) as root:
        found = {}
        for folder in app_folders(root):
            history = read_history(folder)
            order = [history.current, *(name for name in newest_first(history.manifests) if name != history.current)]
            found[history.app] = tuple(
                ListedRelease(name, readable(folder, name), name == history.current, name == history.previous)
                for name in order
            )
        return found


def has_releases(web_root: Path) -> bool:
    """Whether there is a release in the web root, at its top or in a folder. Raises WebRootError."""
    with _web_root_errors(web_root):
        return web_root.is_dir() and bool(known_folders(web_root))


@contextlib.contextmanager
def read_locked(web_root: Path) -> Iterator[Path]:
    """The web root, while nobody changes it. Raises WebRootError."""
    with _web_root_errors(web_root), locked(resolve_root(web_root) / LOCK, WAIT, shared=True):
        yield resolve_root(web_root)


@contextlib.contextmanager
def _write_locked(root: Path, timeout: float) -> Iterator[Path]:
    """The web root, while nobody else changes it, and with nothing half done."""
    with locked(root / LOCK, timeout):
        resume(root)
        yield root


@contextlib.contextmanager
def _web_root_errors(web_root: Path) -> Iterator[None]:
    """Let errors name files as the caller names the `web_root`; what the system refuses is a WebRootError."""
    try:
        yield
    except RbootError as error:
        error.subject = _as_named(error.subject or web_root, web_root)
        raise
    except (FileExistsError, NotADirectoryError) as error:
        place = Path(error.filename or web_root)
        reason = not_a_directory(place) if os.path.islink(place) else "not a folder, or it has a file in its path"
        raise WebRootError(reason, subject=_as_named(place, web_root)) from None
    except OSError as error:
        hint = Hint.SPACE if error.errno in _FULL else None
        subject = _as_named(error.filename or web_root, web_root)
        raise WebRootError(str(error.strerror), subject=subject, hint=hint) from None


def _as_named(subject: object, web_root: Path) -> object:
    """`subject`, if it is a file below the web root, with the path that the caller uses for that."""
    path, root = str(subject), os.path.realpath(web_root)
    if path == root or path.startswith(f"{root}/"):
        return web_root / os.path.relpath(path, root)
    return subject


# Which applications, and where


def _folder_of(root: Path, app: str | None) -> Path:
    apps = {app_of(folder): folder for folder in app_folders(root)}
    if app is None and len(apps) > 1:
        raise WebRootError(f"there are several applications, {', '.join(apps)}", hint=Hint.APP)
    if app is not None and app not in apps:
        raise WebRootError(f"there is no application {app!r}, but {', '.join(apps)}")
    return apps[app] if app is not None else next(iter(apps.values()))


def _folders(root: Path, bundles: Sequence[Bundle], in_folders: bool | None) -> list[Path]:
    """The folder of each application. Raises PublishError where they do not go with what the web root has."""
    names = [bundle.release.app for bundle in bundles]
    if len(set(names)) < len(names):
        raise PublishError("two releases of one application at once; publish one after the other")
    known = known_folders(root)
    if in_folders is None:
        in_folders = len(bundles) > 1 or any(folder != root for folder in known)
    if not in_folders:
        if len(bundles) > 1:
            raise PublishError("several applications need a folder each")
        if known and known != [root]:
            raise PublishError(
                f"the web root has applications in folders, such as {known[0].name}; put {names[0]} there"
            )
        return [root]
    if known == [root]:
        raise PublishError(
            f"the web root has {app_of(root)} at its top, where its devices look, so it cannot have "
            "folders for several applications; choose another web root"
        )
    for folder in known:
        app = app_of(folder)
        if app in names and folder.name != app:
            raise PublishError(
                f"{folder.name} has the releases of {app}; call it {app}, or move it out of the web root"
            )
    return [root / name for name in names]


# What is to change


def _before(folder: Path, release: Release) -> History | None:
    """What was published until now, None if that is nothing; in a folder that is made if need be."""
    make_folder(folder / RELEASES)
    try:
        return recovered(folder)
    except NoHistoryError:
        if release_folders(folder):
            raise
        clean(folder)
        return seen_by_devices(folder)


def _prepared(
    folder: Path, bundle: Bundle, before: History | None, force: bool, fewer_roms: bool, allow_downgrade: bool
) -> _Change:
    """Stage the release of `bundle` as the current one."""
    release = bundle.release
    if before and before.app != release.app:
        raise PublishError(
            f"the web root is that of {before.app}, whose devices would get {release.app}; choose another one"
        )
    place = folder / RELEASES / release.version
    if place.exists() and not place.is_dir():
        raise WebRootError("not a folder; move it away", subject=place)
    manifest = digest(release.to_json())
    published = before.manifests.get(release.version) if before else None
    old = verified_release(folder, release.version, published) if published else None
    if before and parse(release.version) < parse(before.current) and not allow_downgrade:
        if published == manifest and old is None:
            stage_release(folder, bundle, before)
            stage(folder, before)
            return _Change(before, Published(folder, release, changed=True, before=before.current, repaired=True))
        raise PublishError(
            f"{release.version} of {release.app} is older than {before.current}, which is current; raise the version",
            hint=Hint.DOWNGRADE,
        )
    if not fewer_roms:
        _check_roms(folder, release, before.current if before else None)
    staged = False
    left_out: tuple[str, ...] = ()
    if published and old and old.same_roms(release) and not (force and old != release):
        manifest = published
        left_out = _left_out(old, release)
        release = old
    elif published is None or force or (old is None and published == manifest):
        stage_release(folder, bundle, before)
        staged = True
    else:
        if old is None:
            what = "and is damaged"
        elif [rom.file for rom in old.all_roms] != [rom.file for rom in release.all_roms]:
            what = "with other ROMs"
        elif old.data_files != release.data_files:
            what = "with other files"
        else:
            what = "for another device class or layout"
        raise PublishError(
            f"{release.version} of {release.app} was published already, {what}; raise the version", hint=Hint.FORCE
        )
    # Where `releases` is lost, what devices still find is not among the releases.
    start = before if before and (folder / RELEASES / HISTORY).exists() else History(release.app, (), {})
    history = start.published(release.version, manifest)
    stage(folder, history)
    changed = staged or before != history
    return _Change(history, Published(folder, release, changed, before.current if before else None, left_out=left_out))


def _left_out(old: Release, new: Release) -> tuple[str, ...]:
    """What of `new`, which has the same ROMs, is not in `old`, which does not change any more."""
    pairs = tuple(zip(old.all_roms, new.all_roms))
    return tuple(
        what
        for what, differs in (
            ("the ELFs", any(b.elf not in (None, a.elf) for a, b in pairs)),
            ("the proof", any(b.proved_by not in (None, a.proved_by) for a, b in pairs)),
            ("the date", new.date not in (None, old.date)),
            ("the checksum files", new.checksum_files and not old.checksum_files),
        )
        if differs
    )


def _go_back(root: Path, folders: Sequence[Path], release: str | None, fewer_roms: bool) -> tuple[Published, ...]:
    befores = [_before_back(folder, release) for folder in folders]
    with cleaning(root, *folders):
        changes = [
            _prepared_back(folder, before, current, mended, release, fewer_roms)
            for folder, (before, current, mended) in zip(folders, befores)
        ]
    return _switched(root, changes)


def _before_back(folder: Path, release: str | None) -> tuple[History, str | None, bool]:
    """What was published until now, the version that is current if that is known, and whether files were put right."""
    try:
        before = read_history(folder)
        return before, before.current, repair(folder, before)
    except NoHistoryError:
        if release is None:
            raise
        return without_history(folder), None, True


def _prepared_back(
    folder: Path, before: History, current: str | None, mended: bool, release: str | None, fewer_roms: bool
) -> _Change:
    """Stage a release that was published before as the current one."""
    wanted = before.previous if release is None else release
    known = newest_first(before.manifests)
    if wanted is None and len(known) == 1:
        raise WebRootError(f"{current} is the only release of {before.app} so far; publish another one")
    if wanted is None:
        others = ", ".join(version for version in known if version != current)
        raise WebRootError(
            f"no release of {before.app} was current before {current}, or it was taken back; there are {others}",
            hint=Hint.ROLLBACK,
        )
    if wanted not in before.manifests:
        there_are = f"there are {', '.join(known)}" if known else "publish one"
        raise WebRootError(f"there is no release {wanted!r} of {before.app}; {there_are}")
    history = before.rolled_back(wanted)
    stage(folder, history)
    back = release_of(folder, wanted)
    if not fewer_roms:
        _check_roms(folder, back, current)
    return _Change(history, Published(folder, back, mended or before != history, current))


def _switched(root: Path, changes: Sequence[_Change]) -> tuple[Published, ...]:
    """Put in place what is staged, and the page above several applications."""
    published = tuple(change.published for change in changes)
    folders = [found.folder for found in published]
    pages = index(root, {found.folder: found.release for found in published if not found.repaired})
    with cleaning(root, *folders):
        stage_files(root, pages)
    switch(root, folders)
    if commit(root, pages):
        sync(root)
    return published


def _check_roms(folder: Path, release: Release, current: str | None) -> None:
    """Raise PublishError if devices find a ROM now that `release` does not have: those in the other slot would not
    get any further release.
    """
    found = found_by_devices(folder)
    known = readable(folder, current) if current else None
    if known:
        found |= {rom.file.name for rom in known.roms}
    missing = sorted(found - {rom.file.name for rom in release.roms})
    if missing:
        raise PublishError(
            f"{release.version} of {release.app} has no {', '.join(missing)}, which devices find now and ask for from "
            "the other slot; publish a ROM for each slot",
            hint=Hint.FORCE,
        )


def _stage_pruned(folder: Path, before: History, history: History) -> None:
    repair(folder, before)
    with cleaning(folder):
        stage(folder, history)


def _delete(folder: Path, names: Iterable[str]) -> None:
    """Delete releases, each at once for whoever reads it."""
    for name in names:
        place = folder / RELEASES / name
        with contextlib.suppress(FileNotFoundError), naming(place):  # deleted already, for want of room
            hidden = place.rename(place.with_name(f"{UNFINISHED}{name}"))
            remove(hidden)

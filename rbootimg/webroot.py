"""A web root that devices fetch from: a release goes in whole or not at all, and can be taken back.

In an application's folder, which is the web root itself if there is only one, stand

    releases/VERSION/       the release: ROMs, manifest, version, page; nothing here changes any more
    releases/history.json   which releases there are, and which are and were current
    rom0.bin, rom1.bin, …, manifest.json, version, style.css, index.html    copies of those of the current release

All are plain files. A switch to another release goes like this:

1. The new release is written to releases/.rbootimg-next, flushed and read back; then the copies, under names
   that begin with .rbootimg-. Whatever fails up to here leaves the old release as it was.
2. history.json is replaced. From here on the new release is current; if we are killed, the next command goes on.
3. releases/.rbootimg-next becomes releases/VERSION.
4. The copies are put in place, in the order above. Each is replaced in one step, so that a download which has
   begun ends with the old bytes. The manifest names the ROMs in releases/VERSION, which are there since step 3, so
   whatever manifest a device reads, its ROMs are there and are those that it describes. `version` comes after the
   ROMs, so that a device never reads a new version and then gets an older ROM.

A copy's time is always later than that of the file it replaces, also on the way back: servers and caches compare
times and sizes only, and two releases can have both in common.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import page
from .durable import FILE_MODE, FOLDER_MODE, locked, make_folder, remove, stands, sync, write
from .errors import PublishError, VersionError, Way
from .release import MANIFEST, RELEASES, VERSION, Bundle, History, NewerSchemaError, Release, digest, newest_first
from .version import parse

LOCK = ".rbootimg.lock"
"""Stays in the web root, empty. The lock on it ends with the process that holds it."""
HISTORY = "history.json"
_UNFINISHED = ".rbootimg-"
"""How the names begin of what is not in place yet."""
_NEXT = f"{_UNFINISHED}next"

WAIT = 30.0
"""How many seconds to wait for another publisher."""

_ROM = re.compile(r"rom[0-9]+\.bin")


class _DamagedError(PublishError):
    """A release whose files are not those of its manifest."""


class _NoHistoryError(PublishError):
    """Releases without a history.json that can be read: nobody knows which is current."""


@dataclass(frozen=True)
class Published:
    """What became of a release: its application's `folder`, and whether anything `changed`.

    `before` is the version that was current until then, None if there was none or it is not known.
    """

    folder: Path
    release: Release
    changed: bool
    before: str | None


@dataclass(frozen=True)
class Listed:
    """A release that is in a web root, None if its manifest cannot be read."""

    version: str
    release: Release | None
    current: bool
    previous: bool


@dataclass(frozen=True)
class Problem:
    """What is wrong with the file `name` of a web root."""

    name: str
    text: str


# The operations


def publish(
    web_root: Path,
    bundles: Sequence[Bundle],
    *,
    in_folders: bool | None = None,
    force: bool = False,
    fewer_roms: bool = False,
    allow_downgrade: bool = False,
    timeout: float = WAIT,
) -> tuple[Published, ...]:
    """Make each of `bundles` the current release of its application, in a web root that is made if need be.

    With `in_folders` each application has a folder of its name, and the web root a page with all of them; without
    it the only one is at the root. None leaves that to the web root as it is, and to the number of `bundles`.
    All are written before the first becomes current.

    What is current already is left alone. Raises PublishError, and leaves the current releases as they are, if the
    web root cannot be written, if another publisher has it for `timeout` seconds, if the version was published
    with other ROMs and not `force`, if it lacks a ROM that devices find now and not `fewer_roms`, or if it is older
    than the current one and not `allow_downgrade`.
    """
    with _errors(web_root):
        root = web_root.resolve()
        make_folder(root)
        with locked(root / LOCK, timeout):
            folders = _folders(root, bundles, in_folders)
            with _cleaning(*folders):
                switches = [
                    _prepared(folder, bundle, force, fewer_roms, allow_downgrade)
                    for folder, bundle in zip(folders, bundles)
                ]
            for folder, (_, history, _) in zip(folders, switches):
                _switch(folder, history)
            _write_index(root)
    return tuple(
        Published(folder, bundle.release, changed, before.current if before else None)
        for folder, bundle, (before, _, changed) in zip(folders, bundles, switches)
    )


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
    `app` is needed if the web root has several applications. Raises PublishError, also if the release lacks a ROM
    that devices find now and not `fewer_roms`.
    """
    with _errors(web_root), locked(_existing(web_root) / LOCK, timeout):
        return _go_back(web_root, [_folder_of(web_root, app)], release, fewer_roms)[0]


def rollback_all(
    web_root: Path, release: str | None = None, *, fewer_roms: bool = False, timeout: float = WAIT
) -> tuple[Published, ...]:
    """The same for every application in the web root, or for none."""
    with _errors(web_root), locked(_existing(web_root) / LOCK, timeout):
        return _go_back(web_root, _app_folders(_existing(web_root)), release, fewer_roms)


def prune(web_root: Path, keep: int, app: str | None = None, timeout: float = WAIT) -> tuple[str, ...]:
    """Delete all releases but the `keep` newest, the current and the previous one; returns their versions.

    `app` is needed if the web root has several applications. Raises PublishError.
    """
    with _errors(web_root), locked(_existing(web_root) / LOCK, timeout):
        folder = _folder_of(web_root, app)
        before = _recovered(folder)
        history = before.pruned(keep)
        with _cleaning(folder):
            _stage(folder, history)
        _switch(folder, history)
        releases = folder / RELEASES
        # Also those that no history names: a prune that was killed had left them.
        gone = {entry.name: None for entry in releases.iterdir() if _is_release(entry)}.keys() - history.manifests
        for name in gone:
            (releases / name).rename(releases / f"{_UNFINISHED}{name}")  # from here on nobody can read half of it
        _clean(folder)
        return tuple(newest_first(dict.fromkeys(gone)))


def releases(web_root: Path) -> dict[str, tuple[Listed, ...]]:
    """The releases by application, each with the current one first and then the newest. Raises PublishError."""
    with _errors(web_root), locked(_existing(web_root) / LOCK, WAIT, shared=True):
        found = {}
        for folder in _app_folders(_existing(web_root)):
            history = _read_history(folder)
            order = [history.current, *(name for name in newest_first(history.manifests) if name != history.current)]
            found[history.app] = tuple(
                Listed(name, _readable(folder, name), name == history.current, name == history.previous)
                for name in order
            )
        return found


def has_releases(web_root: Path) -> bool:
    """Whether there is a release in the web root, at its top or in a folder."""
    return web_root.is_dir() and bool(_known_folders(web_root))


def check(web_root: Path) -> tuple[Problem, ...]:
    """What is wrong: every file against its manifest, and the current files against the current release.

    Raises PublishError if there is nothing to check.
    """
    with _errors(web_root), locked(_existing(web_root) / LOCK, WAIT, shared=True):
        root = _existing(web_root)
        found = [problem for folder in _app_folders(root) for problem in _check_app(root, folder)]
        for name, data in _index(root).items():
            texts = _wrong(root / name, digest(data), "the applications have", "publish or roll back any of them")
            found += (Problem(name, text) for text in texts)
        return tuple(found)


# Which applications, and where


def _existing(web_root: Path) -> Path:
    root = web_root.resolve()
    if not root.exists():
        raise PublishError("there is no such folder; nothing was published here")
    if not root.is_dir():
        raise PublishError("this is no folder, so it is no web root")
    return root


def _app_folders(root: Path) -> list[Path]:
    """The folders of the applications, of which there is at least one."""
    found = _known_folders(root)
    apps: dict[str, Path] = {}
    for folder in found:
        app = _app_of(folder)
        if (other := apps.setdefault(app, folder)) != folder:  # a copy, perhaps: nobody knows which is meant
            raise PublishError(f"{other.name} and {folder.name} both have {app}; move one out of the web root")
    if not found:
        for folder in (root, *sorted(root.iterdir())):
            if seen := _manifest(folder):
                raise PublishError(
                    f"there is no release left, only the files of {seen.app} {seen.version}", Way.RELEASE
                )
        every = (*sorted(root.glob("rom*.bin")), *sorted(root.glob("*/rom*.bin")))
        plain = [path.relative_to(root) for path in every if _ROM.fullmatch(path.name)]
        if plain:
            raise PublishError(f"there is {plain[0]}, published without a version, but no release", Way.RELEASE)
        raise PublishError(f"nothing was published here: there is no {RELEASES}/{HISTORY}")
    return found


def _known_folders(root: Path) -> list[Path]:
    def has_app(folder: Path) -> bool:
        return (folder / RELEASES / HISTORY).is_file() or bool(_release_folders(folder))

    return [root] if has_app(root) else [folder for folder in sorted(root.iterdir()) if has_app(folder)]


def _release_folders(folder: Path) -> list[Path]:
    """The folders of releases, also of those that no history names."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [entry for entry in sorted((folder / RELEASES).iterdir()) if _is_release(entry)]
    return []


def _app_of(folder: Path) -> str:
    """The name of the application in `folder`, also if its history is lost."""
    try:
        return _read_history(folder).app
    except _NoHistoryError:
        return _without_history(folder).app


def _folder_of(web_root: Path, app: str | None) -> Path:
    apps = {_app_of(folder): folder for folder in _app_folders(_existing(web_root))}
    if app is None and len(apps) > 1:
        raise PublishError(f"there are several applications, {', '.join(apps)}", Way.APP)
    if app is not None and app not in apps:
        raise PublishError(f"there is no application {app!r}, but {', '.join(apps)}")
    return apps[app] if app is not None else next(iter(apps.values()))


def _folders(root: Path, bundles: Sequence[Bundle], in_folders: bool | None) -> list[Path]:
    """The folder of each application. Raises PublishError where they do not go with what the web root has."""
    names = [bundle.release.app for bundle in bundles]
    if len(set(names)) < len(names):
        raise PublishError("two releases of one application at once; publish one after the other")
    known = _known_folders(root)
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
            f"the web root has {_app_of(root)} at its top, where its devices look, so it cannot have "
            "folders for several applications; choose another web root"
        )
    for folder in known:
        app = _app_of(folder)
        if app in names and folder.name != app:
            raise PublishError(
                f"{folder.name} has the releases of {app}; call it {app}, or move it out of the web root"
            )
    return [root / name for name in names]


# The switch


def _prepared(
    folder: Path, bundle: Bundle, force: bool, fewer_roms: bool, allow_downgrade: bool
) -> tuple[History | None, History, bool]:
    """Step 1: the history until now, the one with the release of `bundle` as current, and whether anything changes."""
    release = bundle.release
    make_folder(folder / RELEASES)
    start = History(release.app, (), {})
    before: History | None
    try:
        before = start = _recovered(folder)
    except _NoHistoryError:
        if _release_folders(folder):
            raise
        _clean(folder)
        before = _seen_by_devices(folder)
    if before and before.app != release.app:
        raise PublishError(
            f"the web root is that of {before.app}, whose devices would get {release.app}; choose another one"
        )
    if before and parse(release.version) < parse(before.current) and not allow_downgrade:
        raise PublishError(
            f"{release.version} of {release.app} is older than {before.current}, which is current; raise the version",
            Way.DOWNGRADE,
        )
    if not fewer_roms:
        _check_roms(folder, release, before.current if before else None)
    place = folder / RELEASES / release.version
    if place.exists() and not place.is_dir():
        raise PublishError(f"{place} is not a folder; move it away")
    manifest = digest(release.to_json())
    published = before.manifests.get(release.version) if before else None
    old = _whole(folder, release.version, published) if published else None
    staged = False
    if published and old and old.same_roms(release) and not (force and old != release):
        manifest = published  # with the proof and the date that it was published with first
    elif published is None or force or (old is None and published == manifest):
        _stage_release(folder, bundle, before)
        staged = True
    else:
        if old is None:
            what = "and is damaged"
        elif old.files == release.files:
            what = "for another device class or layout"
        else:
            what = "with other ROMs"
        raise PublishError(
            f"{release.version} of {release.app} was published already, {what}; raise the version", Way.FORCE
        )
    history = start.published(release.version, manifest)
    _stage(folder, history)
    return before, history, staged or before != history


def _go_back(web_root: Path, folders: Sequence[Path], release: str | None, fewer_roms: bool) -> tuple[Published, ...]:
    with _cleaning(*folders):
        switches = [_prepared_back(folder, release, fewer_roms) for folder in folders]
    for folder, (_, history) in zip(folders, switches):
        _switch(folder, history)
    _write_index(_existing(web_root))
    return tuple(published for published, _ in switches)


def _prepared_back(folder: Path, release: str | None, fewer_roms: bool) -> tuple[Published, History]:
    """Step 1 of a rollback: what it comes to, and the history with it."""
    try:
        before = _read_history(folder)
        current: str | None = before.current
        mended = _mended(folder, before)
    except _NoHistoryError:
        if release is None:
            raise
        before, current, mended = _without_history(folder), None, True
    wanted = before.previous if release is None else release
    known = newest_first(before.manifests)
    if wanted is None and len(known) == 1:
        raise PublishError(f"{current} is the only release of {before.app} so far; publish another one")
    if wanted is None:
        others = ", ".join(version for version in known if version != current)
        raise PublishError(
            f"no release of {before.app} was current before {current}, or it was taken back; there are {others}",
            Way.ROLLBACK,
        )
    if wanted not in before.manifests:
        there_are = f"there are {', '.join(known)}" if known else "publish one"
        raise PublishError(f"there is no release {wanted!r} of {before.app}; {there_are}")
    history = before.rolled_back(wanted)
    _stage(folder, history)
    back = _release(folder, wanted)
    if not fewer_roms:
        _check_roms(folder, back, current)
    return Published(folder, back, mended or before != history, current), history


def _check_roms(folder: Path, release: Release, current: str | None) -> None:
    """Raise PublishError if devices find a ROM now that `release` does not have: those in the other slot would not
    get any further release.
    """
    found = {entry.name for entry in folder.iterdir() if _ROM.fullmatch(entry.name) and not entry.is_dir()}
    known = _readable(folder, current) if current else None
    if known:
        found |= {rom.file.name for rom in known.roms}
    missing = sorted(found - {rom.file.name for rom in release.roms})
    if missing:
        raise PublishError(
            f"{release.version} of {release.app} has no {', '.join(missing)}, which devices find now and ask for from "
            "the other slot; publish a ROM for each slot",
            Way.FORCE,
        )


def _whole(folder: Path, name: str, manifest: str) -> Release | None:
    """The release in the web root whose manifest has that SHA-256, or None if it is damaged."""
    try:
        return Release.from_json(_contents(folder / RELEASES / name, manifest)[MANIFEST])
    except _DamagedError:
        return None


def _stage_release(folder: Path, bundle: Bundle, before: History | None) -> None:
    """Write the release to where it waits, and read it back."""
    place = folder / RELEASES / _NEXT
    remove(place)
    make_folder(place)
    current = _readable(folder, before.current) if before else None
    files = {
        **bundle.contents,
        VERSION: _version_file(bundle.release),
        page.STYLE: page.STYLESHEET.encode(),
        page.PAGE: page.release_page(bundle.release, current).encode(),
        MANIFEST: bundle.release.to_json(),  # last: with it the release is whole
    }
    for name, data in files.items():
        write(place / name, data)
    sync(place)
    for name, data in files.items():
        if (place / name).read_bytes() != data:
            raise PublishError(f"{place / name} reads back as something else than was written; look at the disk")


def _stage(folder: Path, history: History) -> None:
    """The end of step 1: write all that is to be put in place, so that no more than names have to change."""
    _stage_copies(folder, _copies(folder, history))
    _stage_copies(folder / RELEASES, {HISTORY: history.to_json()})


def _switch(folder: Path, history: History) -> None:
    """Steps 2 to 4."""
    with _cleaning(folder):
        _put(folder / RELEASES, (HISTORY,))
    sync(folder / RELEASES)
    _finish(folder, history)


def _finish(folder: Path, history: History) -> bool:
    """Steps 3 and 4, from wherever they were broken off; whether there was anything left of them.

    Raises _DamagedError if the release is not whole.
    """
    waited = _waits(folder, history)
    if waited:
        _install(folder / RELEASES / _NEXT, folder / RELEASES / history.current)
    copies = _copies(folder, history)
    _stage_copies(folder, copies)
    changed = _put(folder, copies)
    for entry in _stray_roms(folder, copies):
        entry.unlink()  # better none than an older one
        changed = True
    sync(folder)
    _clean(folder)
    return waited or changed


def _stray_roms(folder: Path, copies: Mapping[str, bytes]) -> list[Path]:
    """The ROMs of slots that the current release does not have."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if _ROM.fullmatch(entry.name) and entry.name not in copies and not entry.is_dir()
    ]


def _mended(folder: Path, history: History) -> bool:
    """Finish a switch that was broken off, and put right what devices find; whether there was anything to do."""
    # A release that is damaged is no reason not to publish another.
    with contextlib.suppress(_DamagedError):
        return _finish(folder, history)
    return False


def _recovered(folder: Path) -> History:
    """What is current, after a switch that was broken off is finished."""
    history = _read_history(folder)
    _mended(folder, history)
    return history


def _waits(folder: Path, history: History) -> bool:
    """Whether the current release is still where it was written to."""
    try:
        return digest((folder / RELEASES / _NEXT / MANIFEST).read_bytes()) == history.manifests[history.current]
    except FileNotFoundError:
        return False


def _install(waiting: Path, place: Path) -> None:
    """Step 3. A release of this version that stands there, which happens by force only, is replaced file by file."""
    if place.exists():
        names = [*sorted(entry.name for entry in waiting.iterdir() if entry.name != MANIFEST), MANIFEST]
        for name in names:
            os.replace(waiting / name, place / name)
        sync(place)
        waiting.rmdir()
    else:
        os.rename(waiting, place)
    sync(place.parent)


def _copies(folder: Path, history: History) -> dict[str, bytes]:
    """The files of the current release beside `releases`, in the order in which they are switched."""
    name = _NEXT if _waits(folder, history) else history.current
    contents = _contents(folder / RELEASES / name, history.manifests[history.current])
    release = Release.from_json(contents[MANIFEST])
    known = {
        version: release if version == history.current else _readable(folder, version)
        for version in newest_first(history.manifests)
    }
    before = known[history.previous] if history.previous else None
    return {
        **{rom.file.name: contents[rom.file.name] for rom in release.roms},
        MANIFEST: contents[MANIFEST],
        VERSION: _version_file(release),
        page.STYLE: page.STYLESHEET.encode(),
        page.PAGE: page.app_page(release, before, known).encode(),
    }


def _contents(place: Path, manifest: str) -> dict[str, bytes]:
    """The files of a release whose manifest has the SHA-256 `manifest`. Raises _DamagedError."""
    try:
        contents = {MANIFEST: (place / MANIFEST).read_bytes()}
        if digest(contents[MANIFEST]) != manifest:
            raise _DamagedError(f"{place / MANIFEST} is not what was published; publish it again, or another version")
        for file in Release.from_json(contents[MANIFEST]).files:
            contents[file.name] = (place / file.name).read_bytes()
            if digest(contents[file.name]) != file.sha256:
                raise _DamagedError(
                    f"{place / file.name} is not what its manifest says; publish it again, or another version"
                )
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _DamagedError(f"{error.filename} is missing; publish it again, or another version") from None
    return contents


def _write_index(root: Path) -> None:
    files = _index(root)
    if files:
        with _cleaning(root):
            _stage_copies(root, files)
            _put(root, files)
        sync(root)


def _index(root: Path) -> dict[str, bytes]:
    """The page above several applications, if there are several."""
    folders = _known_folders(root)
    if folders in ([], [root]):
        return {}
    shown = [release for release in map(_manifest, folders) if release]
    return {page.STYLE: page.STYLESHEET.encode(), page.PAGE: page.index_page(shown).encode()}


# Reading


def _read_history(folder: Path) -> History:
    """Raises _NoHistoryError if there is none to go by, with what else is known of the current release."""
    path = folder / RELEASES / HISTORY
    try:
        return History.from_json(path.read_bytes())
    except FileNotFoundError:
        reason = "is missing, which says what is current"
    except NewerSchemaError as error:
        raise PublishError(f"{path}: {error}") from None
    except PublishError as error:
        reason = f"does not say what is current: {error}"
    seen = _manifest(folder)
    known = newest_first({place.name: None for place in _release_folders(folder)})
    about = [f"{MANIFEST} is that of {seen.version}"] if seen else []
    about += [f"there are {', '.join(known)}"] if known else ["there is no release"]
    raise _NoHistoryError(f"{path} {reason}; {', '.join(about)}", Way.HISTORY)


def _without_history(folder: Path) -> History:
    """The releases that there are, with none as the current one. Raises PublishError for one that cannot be read."""
    manifests = {}
    apps: set[str] = set()
    for place in _release_folders(folder):
        release = _release(folder, place.name)
        if release.version != place.name or apps - {release.app}:
            raise PublishError(f"{place} has {release.version} of {release.app}; move it away")
        apps.add(release.app)
        manifests[place.name] = digest((place / MANIFEST).read_bytes())
    return History(apps.pop() if apps else folder.name, (), manifests)


def _seen_by_devices(folder: Path) -> History | None:
    """A history of the one release whose manifest stands beside a folder `releases` that is lost, if there is one."""
    release = _manifest(folder)
    if release is None:
        return None
    return History(release.app, (), {}).published(release.version, digest((folder / MANIFEST).read_bytes()))


def _manifest(folder: Path) -> Release | None:
    """The release whose manifest devices find."""
    try:
        return Release.from_json((folder / MANIFEST).read_bytes())
    except (PublishError, OSError):
        return None


def _release(folder: Path, name: str) -> Release:
    path = folder / RELEASES / name / MANIFEST
    try:
        return Release.from_json(path.read_bytes())
    except FileNotFoundError:
        raise PublishError(f"{path} is missing; move {path.parent} away") from None
    except PublishError as error:
        raise PublishError(f"{path}: {error}; move {path.parent} away") from None


def _readable(folder: Path, name: str) -> Release | None:
    try:
        return _release(folder, name)
    except (PublishError, OSError):
        return None


def _version_file(release: Release) -> bytes:
    return f"{release.version}\n".encode()


def _is_release(entry: Path) -> bool:
    try:
        parse(entry.name)
    except VersionError:
        return False
    return entry.is_dir()


def _check_app(root: Path, folder: Path) -> Iterator[Problem]:
    def problem(path: Path, text: str) -> Problem:
        return Problem(str(path.relative_to(root)), text)

    try:
        history = _read_history(folder)
    except _NoHistoryError as error:
        text = str(error).removeprefix(f"{folder / RELEASES / HISTORY} ")
        yield problem(folder / RELEASES / HISTORY, f"{text}; `rbootimg rollback VERSION` makes it anew")
        return
    again = "publish the same again"
    back = f"`rbootimg rollback {history.current}{f' --app {shlex.quote(history.app)}' if folder != root else ''}`"
    yield from (problem(folder / RELEASES, text) for text in _closed(folder / RELEASES))
    for name, manifest in history.manifests.items():
        place = folder / RELEASES / name
        if name == history.current and _waits(folder, history):
            yield problem(place, f"the switch to {name} was broken off; {back} goes on with it")
            continue
        if not place.is_dir():
            yield problem(place, f"is missing; {again}")
            continue
        yield from (problem(place, text) for text in _closed(place))
        path = place / MANIFEST
        if not path.is_file() or digest(path.read_bytes()) != manifest:
            what = "is not what was published" if path.is_file() else "is missing"
            yield problem(path, f"{what}; {again}")
            continue
        release = _release(folder, name)
        expected = {file.name: file.sha256 for file in release.files} | {VERSION: digest(_version_file(release))}
        for file, sha256 in expected.items():
            yield from (
                problem(place / file, text) for text in _wrong(place / file, sha256, "its manifest says", again)
            )
        for file in (MANIFEST, page.PAGE, page.STYLE):
            yield from (problem(place / file, text) for text in _wrong(place / file))
    with contextlib.suppress(_DamagedError):
        copies = _copies(folder, history)
        for file, data in copies.items():
            texts = _wrong(folder / file, digest(data), f"{history.current} has", f"{back} puts it right")
            yield from (problem(folder / file, text) for text in texts)
        for entry in _stray_roms(folder, copies):
            yield problem(entry, f"is no ROM of {history.current}, which is current; delete it")
        others = [_readable(folder, name) for name in newest_first(history.manifests)]
        last = {rom.file.name: other.version for other in reversed(others) if other for rom in other.roms}
        for file in sorted(last.keys() - copies.keys()):
            text = f"is in {last[file]} but not in {history.current}, which is current; publish a release with it"
            yield problem(folder / file, text)


def _wrong(path: Path, sha256: str | None = None, expected: str = "", remedy: str = "") -> Iterator[str]:
    """What is wrong with a file that should have this SHA-256, which is what is `expected`."""
    advice = f"; {remedy}" if remedy else ""
    try:
        if sha256 is not None and digest(path.read_bytes()) != sha256:
            yield f"is not what {expected}{advice}"
        if path.stat().st_mode & FILE_MODE != FILE_MODE:
            yield f"cannot be read by the web server; its mode should be {FILE_MODE:o}"
    except FileNotFoundError:
        yield f"is missing{advice}"


def _closed(folder: Path) -> Iterator[str]:
    if folder.stat().st_mode & FOLDER_MODE != FOLDER_MODE:
        yield f"cannot be entered by the web server; its mode should be {FOLDER_MODE:o}"


# Writing


def _stage_copies(folder: Path, copies: Mapping[str, bytes]) -> None:
    """Write those of `copies` that do not stand in `folder`, each beside its place."""
    for name, data in copies.items():
        path, staged = folder / name, folder / f"{_UNFINISHED}{name}"
        if path.is_dir():
            raise PublishError(f"{path} is a folder; move it away")
        if stands(path, data):
            remove(staged)
        elif not stands(staged, data):
            write(staged, data, later_than=path)


def _put(folder: Path, names: Iterable[str]) -> bool:
    """Put what was staged in place, each in one step; whether there was any."""
    found = False
    for name in names:
        with contextlib.suppress(FileNotFoundError):  # what stands already was not staged
            os.replace(folder / f"{_UNFINISHED}{name}", folder / name)
            found = True
    return found


@contextlib.contextmanager
def _cleaning(*folders: Path) -> Iterator[None]:
    """Leave nothing behind of what fails."""
    try:
        yield
    except BaseException:
        for folder in folders:
            with contextlib.suppress(OSError):
                _clean(folder)
        raise


def _clean(folder: Path) -> None:
    """Remove what a command left that was killed or failed."""
    for place in (folder, folder / RELEASES):
        for entry in place.glob(f"{_UNFINISHED}*"):
            remove(entry)


@contextlib.contextmanager
def _errors(web_root: Path) -> Iterator[None]:
    """What the system refuses, as a PublishError."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise PublishError(f"{error.filename or web_root} is not a folder, or has a file in its path") from None
    except OSError as error:
        if error.filename in (None, str(web_root)):
            raise PublishError(f"{error.strerror}") from None
        raise PublishError(f"{error.filename}: {error.strerror}") from None

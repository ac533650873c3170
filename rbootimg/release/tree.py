"""What stands in a web root: the names in it, and reading them. webroot.py says what they are for."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import Hint, ManifestError, RbootError, VersionError, WebRootError
from ..fileio import read_file, resolve
from . import page
from .history import History, newest_first
from .manifest import MANIFEST, RELEASES, VERSION, NewerSchemaError, Release, checksum_line, checksum_name, digest
from .version import parse

LOCK = ".rbootimg.lock"
"""Stays in the web root, empty, for those only who can write there. The lock ends with the process that holds it."""
SWITCH = ".rbootimg.switch"
"""In a web root of several applications the folders of those that are being switched together, as JSON."""
HISTORY = "history.json"
UNFINISHED = ".rbootimg-"
"""How the names begin of what is not in place yet."""
NEXT = f"{UNFINISHED}next"
"""The folder, in `releases`, where a release is written."""

_ROM = re.compile(r"rom[0-9]+\.bin")
_ROM_OR_ELF = re.compile(r"rom[0-9]+\.(bin|elf)")
_CHECKSUM_LINE = re.compile(rb"[0-9a-f]{64}  (rom[0-9]+\.bin)\n")


class DamagedError(WebRootError):
    """A release whose files are not those of its manifest."""


class NoHistoryError(WebRootError):
    """Releases without a history.json that can be read: nobody knows which is current."""


# Which applications, and where


def resolve_root(web_root: Path) -> Path:
    """The web root itself, behind any link to it. Raises WebRootError if it is no folder."""
    root = resolve(web_root)
    if not root.exists():
        raise WebRootError("there is no such folder; nothing was published here")
    if not root.is_dir():
        raise WebRootError("this is no folder, so it is no web root")
    return root


def known_folders(root: Path) -> list[Path]:
    """The folders of the applications: the root, or some in it, or none."""
    if _has_app(root):
        return [root]
    # A folder that we may not enter, such as lost+found, is nobody's application.
    return [folder for folder in sorted(root.iterdir()) if os.access(folder, os.X_OK) and _has_app(folder)]


def _has_app(folder: Path) -> bool:
    return (folder / RELEASES / HISTORY).is_file() or bool(release_folders(folder))


def app_folders(root: Path) -> list[Path]:
    """The same, of which there must be at least one. Raises WebRootError."""
    found = known_folders(root)
    apps: dict[str, Path] = {}
    for folder in found:
        app = app_of(folder)
        if (other := apps.setdefault(app, folder)) != folder:  # a copy, perhaps: nobody knows which is meant
            raise WebRootError(f"{other.name} and {folder.name} both have {app}; move one out of the web root")
    if not found:
        for folder in (root, *sorted(root.iterdir())):
            if seen := published_release(folder):
                raise WebRootError(
                    f"there is no release left, only the files of {seen.app} {seen.version}", hint=Hint.RELEASE
                )
        every = (*sorted(root.glob("rom*.bin")), *sorted(root.glob("*/rom*.bin")))
        plain = [path.relative_to(root) for path in every if _ROM.fullmatch(path.name)]
        if plain:
            raise WebRootError(f"there is {plain[0]}, published without a version, but no release", hint=Hint.RELEASE)
        raise WebRootError(f"nothing was published here: there is no {RELEASES}/{HISTORY}")
    return found


def app_of(folder: Path) -> str:
    """The name of the application in `folder`, also if its history is lost."""
    try:
        return read_history(folder).app
    except NoHistoryError:
        return without_history(folder).app


def index(root: Path, current: Mapping[Path, Release] | None = None) -> dict[str, bytes]:
    """The page above several applications, if there are several; `current` are releases that are about to be so."""
    current = current or {}
    folders = sorted({*known_folders(root), *current})
    if folders in ([], [root]):
        return {}
    releases = [release for folder in folders if (release := current.get(folder) or published_release(folder))]
    return {page.STYLE: page.STYLESHEET.encode(), page.PAGE: page.index_page(releases).encode()}


# The history


def read_history(folder: Path) -> History:
    """Raises NoHistoryError if there is none to go by, with what else is known of the current release."""
    path = folder / RELEASES / HISTORY
    try:
        return History.from_json(read_file(path))
    except FileNotFoundError:
        reason = "is missing, which says what is current"
    except NewerSchemaError as error:
        raise WebRootError(error.message, subject=path) from None
    except ManifestError as error:
        reason = f"does not say what is current: {error}"
    seen = published_release(folder)
    known = newest_first({place.name: None for place in release_folders(folder)})
    about = [f"{MANIFEST} is that of {seen.version}"] if seen else []
    about += [f"there are {', '.join(known)}"] if known else ["there is no release"]
    raise NoHistoryError(f"{reason}; {', '.join(about)}", subject=path, hint=Hint.HISTORY)


def without_history(folder: Path) -> History:
    """The releases that there are, with none as the current one. Raises WebRootError for one that cannot be read."""
    manifests = {}
    apps: set[str] = set()
    for place in release_folders(folder):
        release = release_of(folder, place.name)
        if release.version != place.name or apps - {release.app}:
            raise WebRootError(f"has {release.version} of {release.app}; move it away", subject=place)
        apps.add(release.app)
        manifests[place.name] = digest(read_file(place / MANIFEST))
    return History(apps.pop() if apps else folder.name, (), manifests)


def seen_by_devices(folder: Path) -> History | None:
    """A history of the one release whose manifest stands beside a folder `releases` that is lost, if there is one."""
    release = published_release(folder)
    if release is None:
        return None
    return History(release.app, (), {}).published(release.version, digest(read_file(folder / MANIFEST)))


def pending(root: Path) -> list[Path]:
    """The folders of the applications that are being switched together; those that are still there.

    None if that cannot be read: each application is whole by itself.
    """
    try:
        names = json.loads(read_file(root / SWITCH))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    known = names if isinstance(names, list) else []
    return [folder for folder in sorted(root.iterdir()) if folder.name in known and (folder / RELEASES).is_dir()]


# The releases


def is_release(entry: Path) -> bool:
    """Whether this is a release's folder, by its name."""
    try:
        parse(entry.name)
    except VersionError:
        return False
    return entry.is_dir()


def release_folders(folder: Path) -> list[Path]:
    """The folders of releases, also of those that no history names."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [entry for entry in sorted((folder / RELEASES).iterdir()) if is_release(entry)]
    return []


def published_release(folder: Path) -> Release | None:
    """The release whose manifest devices find."""
    try:
        return Release.from_json(read_file(folder / MANIFEST))
    except (ManifestError, OSError):
        return None


def release_of(folder: Path, name: str) -> Release:
    """The release in the folder of that name. Raises WebRootError."""
    path = folder / RELEASES / name / MANIFEST
    try:
        return Release.from_json(read_file(path))
    except FileNotFoundError:
        raise WebRootError(f"is missing; move {path.parent} away", subject=path) from None
    except ManifestError as error:
        raise WebRootError(f"{error}; move {path.parent} away", subject=path) from None


def readable(folder: Path, name: str) -> Release | None:
    """The same, None if it cannot be read."""
    try:
        return release_of(folder, name)
    except (RbootError, OSError):
        return None


def verified_release(folder: Path, name: str, manifest: str) -> Release | None:
    """The release in the folder of that name whose manifest has the SHA-256 `manifest`, None if it is damaged."""
    try:
        return Release.from_json(contents(folder / RELEASES / name, manifest)[MANIFEST])
    except DamagedError:
        return None


def contents(place: Path, manifest: str) -> dict[str, bytes]:
    """The files of a release whose manifest has the SHA-256 `manifest`. Raises DamagedError."""
    again = "publish it again, or another version"
    try:
        found = {MANIFEST: read_file(place / MANIFEST)}
        if digest(found[MANIFEST]) != manifest:
            raise DamagedError(f"is not what was published; {again}", subject=place / MANIFEST)
        for file in Release.from_json(found[MANIFEST]).files:
            found[file.name] = read_file(place / file.name)
            if digest(found[file.name]) != file.sha256:
                raise DamagedError(f"is not what its manifest says; {again}", subject=place / file.name)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DamagedError(f"is missing; {again}", subject=error.filename) from None
    return found


def version_file(release: Release) -> bytes:
    """What `version` has to say."""
    return f"{release.version}\n".encode()


def pointed_to(folder: Path, name: str) -> str:
    """The version that devices find in the manifest or the file `version`, by its `name`; empty if there is none."""
    if name == MANIFEST:
        release = published_release(folder)
        return release.version if release else ""
    try:
        return read_file(folder / name).decode("latin-1").removesuffix("\n")
    except OSError:
        return ""


def pending_version(folder: Path, history: History) -> str | None:
    """The version of a release in `history` that is still where it was written to."""
    try:
        manifest = digest(read_file(folder / RELEASES / NEXT / MANIFEST))
    except FileNotFoundError:
        return None
    return next((name for name, known in history.manifests.items() if known == manifest), None)


def current_files(folder: Path, history: History) -> dict[str, bytes]:
    """The files of the current release beside `releases`, the pages last.

    Raises DamagedError.
    """
    name = NEXT if pending_version(folder, history) == history.current else history.current
    stored = contents(folder / RELEASES / name, history.manifests[history.current])
    release = Release.from_json(stored[MANIFEST])
    known = {
        version: release if version == history.current else readable(folder, version)
        for version in newest_first(history.manifests)
    }
    before = known[history.previous] if history.previous else None
    roms: dict[str, bytes] = {}
    for rom in release.roms:
        # Each with its checksum file right after it: switch.py puts them in place in this order.
        names = (rom.file.name, checksum_name(rom.file.name))
        roms |= {name: stored[name] for name in names if name in stored}
    return {
        **roms,
        MANIFEST: stored[MANIFEST],
        VERSION: version_file(release),
        page.STYLE: page.STYLESHEET.encode(),
        page.PAGE: page.app_page(release, before, known).encode(),
    }


def found_by_devices(folder: Path) -> set[str]:
    """The names of the ROMs beside `releases`."""
    return {entry.name for entry in folder.iterdir() if _ROM.fullmatch(entry.name) and not entry.is_dir()}


def outdated(folder: Path, history: History, files: Mapping[str, bytes]) -> list[str]:
    """The names of what devices find beside `releases` and the current release, which has `files`, does not have.

    That is each other ROM. A checksum file that is right may be somebody else's, unless one of the releases has any.
    """
    found = found_by_devices(folder)
    for path in folder.glob("rom*.bin.sha256"):
        name = path.name.removesuffix(".sha256")
        line = path.read_bytes() if path.is_file() else b""
        match = _CHECKSUM_LINE.fullmatch(line)
        if match is None or match[1].decode() != name:
            continue
        right = name in files and line == checksum_line(name, digest(files[name]))
        releases = () if not right else (readable(folder, known) for known in history.manifests)
        if not right or any(release and release.checksum_files for release in releases):
            found.add(path.name)
    return sorted(found - files.keys())


def unexpected_files(place: Path, release: Release) -> list[Path]:
    """The ROMs and ELFs in `place`, and the files of the manifest there, that `release` does not have."""
    names = {file.name for file in release.files}
    there = published_release(place)
    described = {file.name for file in there.files} if there else set()
    return [
        entry
        for entry in sorted(place.iterdir())
        if (_ROM_OR_ELF.fullmatch(entry.name) or entry.name in described)
        and entry.name not in names
        and not entry.is_dir()
    ]

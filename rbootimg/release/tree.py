"""Read the files of a web root. webroot.py describes its directories."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import Hint, ManifestError, RbootError, VersionError, WebRootError, error_subject
from ..fileio import read_file, resolve, sha256_hex
from . import page
from .history import History, list_history, newest_first
from .manifest import NewerSchemaError, Release
from .names import MANIFEST, NOTES, PAGE, RELEASES, STYLE, VERSION, checksum_line, checksum_name
from .signing import signer_name
from .update import MAX_UPDATE_SIZE, UPDATE, encode_name, parse_update_file
from .version import parse

LOCK = ".rbootimg.lock"
"""Stays in the web root, empty, accessible only to users with write access there. The lock ends with its process."""
SWITCH = ".rbootimg.switch"
"""In a web root of several applications: the directories of those that are being switched together, as JSON."""
HISTORY = "history.json"
UNFINISHED = ".rbootimg-"
"""The prefix of files and directories that are not in place yet."""
NEXT = f"{UNFINISHED}next"
"""The directory, in `releases`, where a release is written."""

_ROM = re.compile(r"rom[0-9]+\.bin")
_ROM_OR_ELF = re.compile(r"rom[0-9]+\.(bin|elf)")
_CHECKSUM_LINE = re.compile(rb"[0-9a-f]{64}  (rom[0-9]+\.bin)\n")


class CorruptReleaseError(WebRootError):
    """A release whose files do not match its manifest."""


class NoHistoryError(WebRootError):
    """Releases without a valid history.json: the current release is unknown."""


# Applications


def resolve_root(web_root: Path) -> Path:
    """Return the web root with all links resolved. Raises WebRootError if it is not a directory."""
    root = resolve(web_root)
    if not root.exists():
        raise WebRootError("no such directory; nothing was published here")
    if not root.is_dir():
        raise WebRootError("not a directory")
    return root


def known_directories(root: Path) -> list[Path]:
    """Return the directories of the applications: the root, or some in it, or none."""
    if _has_app(root):
        return [root]
    # Directories that cannot be accessed, such as lost+found, are skipped.
    return [directory for directory in sorted(root.iterdir()) if os.access(directory, os.X_OK) and _has_app(directory)]


def _has_app(directory: Path) -> bool:
    return (directory / RELEASES / HISTORY).is_file() or bool(release_directories(directory))


def app_directories(root: Path) -> list[Path]:
    """Return the directories of the applications. Raises WebRootError if there is none."""
    directories = known_directories(root)
    apps: dict[str, Path] = {}
    for directory in directories:
        app = app_of(directory)
        if (other := apps.setdefault(app, directory)) != directory:  # perhaps a copy: which one is meant is unknown
            raise WebRootError(f"{other.name} and {directory.name} both have {app}; move one out of the web root")
    if not directories:
        raise _no_release_error(root)
    return directories


def _no_release_error(root: Path) -> WebRootError:
    for directory in (root, *sorted(root.iterdir())):
        if release := published_release(directory):
            return WebRootError(
                f"there is no release, only the files of {release.app} {release.version}", hint=Hint.RELEASE
            )
    every = (*sorted(root.glob("rom*.bin")), *sorted(root.glob("*/rom*.bin")))
    unversioned = [path.relative_to(root) for path in every if _ROM.fullmatch(path.name)]
    if unversioned:
        return WebRootError(
            f"there is no release, only {unversioned[0]}, published without a version", hint=Hint.RELEASE
        )
    return WebRootError(f"nothing was published here: missing {RELEASES}/{HISTORY}")


def app_of(directory: Path) -> str:
    """Return the name of the application in `directory`, also if its history is lost."""
    try:
        return read_history(directory).app
    except NoHistoryError:
        return history_from_releases(directory).app


def index_files(root: Path, current: Mapping[Path, Release] | None = None) -> dict[str, bytes]:
    """Return the files of the page that lists several applications, none for a single one.

    `current` has releases that are about to become current, by directory.
    """
    current = current or {}
    directories = sorted({*known_directories(root), *current})
    if directories in ([], [root]):
        return {}
    releases = [
        release for directory in directories if (release := current.get(directory) or published_release(directory))
    ]
    return {STYLE: page.stylesheet().encode(), PAGE: page.index_page(releases).encode()}


# The history


def read_history(directory: Path) -> History:
    """Read history.json. Raises NoHistoryError, which tells what else is known, if it is missing or invalid."""
    path = directory / RELEASES / HISTORY
    try:
        return History.from_json(read_file(path))
    except FileNotFoundError:
        reason = "missing, so the current release is unknown"
    except NewerSchemaError as error:
        raise WebRootError(error.message, subject=path) from None
    except ManifestError as error:
        reason = f"invalid, so the current release is unknown: {error}"
    release = published_release(directory)
    known = newest_first({entry.name: None for entry in release_directories(directory)})
    facts = [f"{MANIFEST} is that of {release.version}"] if release else []
    facts += [f"available: {', '.join(known)}"] if known else ["there is no release"]
    raise NoHistoryError(f"{reason}; {', '.join(facts)}", subject=path, hint=Hint.HISTORY)


def history_from_releases(directory: Path) -> History:
    """Return a history with all releases in `directory` and none current. Raises WebRootError for an unreadable one."""
    manifests = {}
    apps: set[str] = set()
    for entry in release_directories(directory):
        release = read_release(directory, entry.name)
        if release.version != entry.name or apps - {release.app}:
            raise WebRootError(f"contains {release.version} of {release.app}; move it away", subject=entry)
        apps.add(release.app)
        manifests[entry.name] = sha256_hex(read_file(entry / MANIFEST))
    return empty_history(directory, apps.pop() if apps else directory.name, manifests)


def history_from_manifest(directory: Path) -> History | None:
    """Return a history with only the release of the manifest in `directory`, for a lost directory `releases`."""
    release = published_release(directory)
    if release is None:
        return None
    return empty_history(directory, release.app).published(release.version, sha256_hex(read_file(directory / MANIFEST)))


def empty_history(directory: Path, app: str, manifests: Mapping[str, str] = MappingProxyType({})) -> History:
    """Return a history without a current release. It continues the update file in `directory`, if that is of `app`."""
    try:
        data = read_file(directory / UPDATE, MAX_UPDATE_SIZE)
        update = parse_update_file(data).update
    except (ManifestError, OSError):
        return History(app, (), manifests)
    if update.app != encode_name(app):
        return History(app, (), manifests)
    return History(app, (), manifests, update.withdrawn, data)


def pending_directories(root: Path) -> list[Path]:
    """Return the directories of the applications that are being switched together.

    None if that file cannot be parsed: each application is complete by itself.
    """
    try:
        names = json.loads(read_file(root / SWITCH))
    except (FileNotFoundError, ValueError, RecursionError):
        return []
    known = names if isinstance(names, list) else []
    return [
        directory for directory in sorted(root.iterdir()) if directory.name in known and (directory / RELEASES).is_dir()
    ]


# The releases


def release_directories(directory: Path) -> list[Path]:
    """Return the directories of releases, also of those that are not in the history."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [entry for entry in sorted((directory / RELEASES).iterdir()) if _is_release(entry)]
    return []


def _is_release(entry: Path) -> bool:
    try:
        parse(entry.name)
    except VersionError:
        return False
    return entry.is_dir()


def published_release(directory: Path) -> Release | None:
    """Return the release whose manifest devices get, None without a valid one."""
    try:
        return Release.from_json(read_file(directory / MANIFEST))
    except (ManifestError, OSError):
        return None


def read_release(directory: Path, version: str) -> Release:
    """Read the manifest in releases/VERSION. Raises WebRootError if it is missing or invalid."""
    path = directory / RELEASES / version / MANIFEST
    try:
        return Release.from_json(read_file(path))
    except FileNotFoundError:
        raise WebRootError(f"missing; move {path.parent} away", subject=path) from None
    except ManifestError as error:
        raise WebRootError(f"{error}; move {path.parent} away", subject=path) from None


def release_or_none(directory: Path, version: str) -> Release | None:
    """Read the manifest in releases/VERSION; None if that fails."""
    try:
        return read_release(directory, version)
    except (RbootError, OSError):
        return None


def read_releases(directory: Path, history: History) -> dict[str, Release | None]:
    """Read the manifests of all releases of a history, None for an unreadable one."""
    return {version: release_or_none(directory, version) for version in history.manifests}


def verified_release(directory: Path, version: str, manifest: str) -> Release | None:
    """Return the release in releases/VERSION, None if it is corrupt; `manifest` is the SHA-256 of its manifest."""
    try:
        return Release.from_json(read_contents(directory / RELEASES / version, manifest)[MANIFEST])
    except CorruptReleaseError:
        return None


def read_contents(directory: Path, manifest: str) -> dict[str, bytes]:
    """Read the files of a release whose manifest has the SHA-256 `manifest`.

    Raises CorruptReleaseError if a file is not as published, ManifestError if this rbootimg cannot read the manifest.
    """
    remedy = "publish it again, or another version"
    try:
        contents = {MANIFEST: read_file(directory / MANIFEST)}
        if sha256_hex(contents[MANIFEST]) != manifest:
            raise CorruptReleaseError(f"does not match the history; {remedy}", subject=directory / MANIFEST)
        with error_subject(directory / MANIFEST):
            release = Release.from_json(contents[MANIFEST])
        for file in release.files:
            contents[file.name] = read_file(directory / file.name)
            if sha256_hex(contents[file.name]) != file.sha256:
                raise CorruptReleaseError(f"does not match its manifest; {remedy}", subject=directory / file.name)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise CorruptReleaseError(f"missing; {remedy}", subject=error.filename) from None
    return contents


def version_content(release: Release) -> bytes:
    """Return the content of the file `version`."""
    return f"{release.version}\n".encode()


def announced_version(directory: Path, name: str) -> str:
    """Return the version that devices read in `name`: manifest, update file or `version`; empty without one."""
    if name == MANIFEST:
        release = published_release(directory)
        return release.version if release else ""
    if name == UPDATE:
        with contextlib.suppress(ManifestError, OSError):
            return parse_update_file(read_file(directory / UPDATE)).update.version
        return ""
    try:
        return read_file(directory / name).decode("latin-1").removesuffix("\n")
    except OSError:
        return ""


def pending_version(directory: Path, history: History) -> str | None:
    """Return the version of a release in `history` that is still in the directory where it was written."""
    try:
        manifest = sha256_hex(read_file(directory / RELEASES / NEXT / MANIFEST))
    except FileNotFoundError:
        return None
    return next((version for version, known in history.manifests.items() if known == manifest), None)


def current_files(root: Path, directory: Path, history: History) -> dict[str, bytes]:
    """Return the files of the current release for the application's directory in the web root.

    The pages come last, and after them the update file.

    Raises CorruptReleaseError.
    """
    name = NEXT if pending_version(directory, history) == history.current else history.current
    stored = read_contents(directory / RELEASES / name, history.manifests[history.current])
    release = Release.from_json(stored[MANIFEST])
    releases = read_releases(directory, history) | {history.current: release}
    # Also for a command that was given the directory of one of several applications as web root.
    has_index = directory != root or (root.parent / LOCK).is_file()
    update = history.update_file
    notes = stored[NOTES] if release.notes else None  # else a data file of an earlier rbootimg may have this name
    roms: dict[str, bytes] = {}
    for rom in release.roms:
        # Each with its checksum file right after it: transaction.py commits them in this order.
        names = (rom.file.name, checksum_name(rom.file.name))
        roms |= {name: stored[name] for name in names if name in stored}
    return {
        **roms,
        MANIFEST: stored[MANIFEST],
        VERSION: version_content(release),
        STYLE: page.stylesheet().encode(),
        PAGE: page.app_page(
            list_history(history, releases),
            notes,
            has_index=has_index,
            signed_with=signer_name(update.signed) if update else None,
        ).encode(),
        **({} if history.update is None else {UPDATE: history.update}),
    }


def current_rom_names(directory: Path) -> set[str]:
    """Return the names of the ROMs in the application's directory, which devices request."""
    return {entry.name for entry in directory.iterdir() if _ROM.fullmatch(entry.name) and not entry.is_dir()}


def outdated_files(directory: Path, history: History, files: Mapping[str, bytes]) -> list[str]:
    """Return the names of ROMs and checksum files in the application's directory that are not among `files`.

    A correct checksum file may be the user's own, unless one of the releases has checksum files.
    """
    names = current_rom_names(directory)
    for path in directory.glob("rom*.bin.sha256"):
        name = path.name.removesuffix(".sha256")
        line = path.read_bytes() if path.is_file() else b""
        match = _CHECKSUM_LINE.fullmatch(line)
        if match is None or match[1].decode() != name:
            continue
        correct = name in files and line == checksum_line(name, sha256_hex(files[name]))
        releases = () if not correct else (release_or_none(directory, known) for known in history.manifests)
        if not correct or any(release and release.checksum_files for release in releases):
            names.add(path.name)
    return sorted(names - files.keys())


def unexpected_files(directory: Path, release: Release) -> list[Path]:
    """Return the ROMs and ELFs in `directory`, and the files of its manifest, that `release` does not have."""
    names = {file.name for file in release.files}
    other = published_release(directory)
    described = {file.name for file in other.files} if other else set()
    return [
        entry
        for entry in sorted(directory.iterdir())
        if (_ROM_OR_ELF.fullmatch(entry.name) or entry.name in described)
        and entry.name not in names
        and not entry.is_dir()
    ]

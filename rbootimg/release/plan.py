"""Decide what publishing a release means for a web root that may have it already. Reads and writes no files."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ..errors import Hint, PublishError
from ..fileio import sha256_hex
from .manifest import Release
from .version import parse


class Action(enum.Enum):
    """What publishing a release does."""

    ADD = "add the version and make it current"
    KEEP = "make the stored release of the version, with the same ROMs and no other notes, current"
    REPAIR = "write the same release again and make it current"
    REPAIR_OLDER = "write the same release again; a newer one stays current"
    REPLACE = "replace the stored release of the version and make it current"


@dataclass(frozen=True)
class StoredVersion:
    """A version that is in the history: the SHA-256 of its manifest, and its release, None if that is corrupt."""

    manifest: str
    release: Release | None


def plan_release(
    release: Release, current: str | None, stored: StoredVersion | None, *, force: bool, allow_downgrade: bool
) -> Action:
    """Decide what publishing `release` does. `current` is the current version; `stored` has that of `release`.

    Raises PublishError if the release is older than the current one and not `allow_downgrade`, or if its version was
    published with other content and not `force`.
    """
    is_corrupt = stored is not None and stored.release is None and stored.manifest == sha256_hex(release.to_json())
    if current is not None and parse(release.version) < parse(current) and not allow_downgrade:
        if is_corrupt:
            return Action.REPAIR_OLDER
        raise PublishError(
            f"{release.version} of {release.app} is older than the current {current}",
            hint=Hint.DOWNGRADE,
        )
    if stored is None:
        return Action.ADD
    if stored.release and not _difference(stored.release, release) and not (force and stored.release != release):
        return Action.KEEP
    if is_corrupt:
        return Action.REPAIR
    if force:
        return Action.REPLACE
    difference = _difference(stored.release, release) if stored.release else "and is corrupt"
    raise PublishError(
        f"{release.version} of {release.app} was published already {difference}: a published version cannot change",
        hint=Hint.FORCE,
    )


def _difference(stored: Release, release: Release) -> str:
    """Describe a difference for which `release` is refused; empty if there is none.

    Notes that are missing in one of them are none: a build has some only once its commit has a tag with a message.
    """
    if stored.same_roms(release):
        return "with other release notes" if stored.notes and release.notes not in (None, stored.notes) else ""
    if [rom.file for rom in stored.all_roms] != [rom.file for rom in release.all_roms]:
        return "with other ROMs"
    if stored.data_files != release.data_files:
        return "with other data files"
    return "for another device class or layout"

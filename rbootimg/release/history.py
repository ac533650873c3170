"""The releases of an application, and the versions that were current one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import ManifestError
from . import version
from .manifest import MAX_HISTORY_SIZE, SCHEMA, Reader, Release, as_manifest_error, to_json


@dataclass(frozen=True)
class History:
    """The content of history.json.

    `versions` were current one after the other, the current one last, without those that were rolled back;
    `manifests` has the SHA-256 of each release's manifest by version.

    history.json alone decides which release is current: all other files can be made from it and the releases.
    """

    app: str
    versions: tuple[str, ...]
    manifests: Mapping[str, str]

    @property
    def current(self) -> str:
        """The version that devices get."""
        return self.versions[-1]

    @property
    def previous(self) -> str | None:
        """The version that was current before and was not rolled back, None if there is none.

        A rollback goes there, one further back each time, and pruning keeps it.
        """
        return self.before(self.current)

    def before(self, release: str) -> str | None:
        """Return the version that was current before `release` became current, None if there was none.

        For a version that was rolled back this is the next lower one of `versions`.
        """
        if release in self.versions:
            position = self.versions.index(release)
            return self.versions[position - 1] if position else None
        lower = (known for known in self.versions if version.parse(known) < version.parse(release))
        return max(lower, key=version.parse, default=None)

    def is_rolled_back(self, release: str) -> bool:
        """Whether `release` was current and then rolled back.

        False if it is older than all of `versions`: so are the releases before the one that rebuilt a lost history.
        """
        return release not in self.versions and self.before(release) is not None

    def published(self, release: str, manifest: str) -> History:
        """Return this history after `release`, whose manifest has the SHA-256 `manifest`, has become current."""
        versions = (*(known for known in self.versions if known != release), release)
        return History(self.app, versions, {**self.manifests, release: manifest})

    def rolled_back(self, release: str) -> History:
        """Return this history after a rollback to `release`, which may be one that was rolled back itself."""
        if release not in self.versions:
            return replace(self, versions=(*self.versions, release))
        return replace(self, versions=self.versions[: self.versions.index(release) + 1])

    def pruned(self, keep: int) -> History:
        """Return this history with only the `keep` newest releases, the current and the previous one."""
        kept = {*newest_first(self.manifests)[:keep], self.current, self.previous}
        return History(
            self.app,
            tuple(known for known in self.versions if known in kept),
            {known: manifest for known, manifest in self.manifests.items() if known in kept},
        )

    def to_json(self) -> bytes:
        """Return history.json."""
        manifests = {known: self.manifests[known] for known in newest_first(self.manifests)}
        return to_json({"schema": SCHEMA, "app": self.app, "versions": list(self.versions), "manifests": manifests})

    @classmethod
    def from_json(cls, data: bytes) -> History:
        """Parse history.json. Raises ManifestError if it is invalid."""
        top = Reader.start(data, "history", MAX_HISTORY_SIZE)
        manifests = top.object("manifests")
        history = cls(
            top.app_name(),
            tuple(top.strings("versions")),
            {known: manifests.string(known) for known in manifests.values},
        )
        with as_manifest_error(top.where):
            newest_first(history.manifests)
        if not history.versions or not history.manifests.keys() >= set(history.versions):
            raise ManifestError("history: versions: expected at least one, and each with a manifest")
        return history


@dataclass(frozen=True)
class ListedRelease:
    """A release in a web root; `release` is None if its manifest cannot be read.

    `before` is the release that was current before it, None if there was none or its manifest cannot be read.
    """

    version: str
    release: Release | None
    before: Release | None
    current: bool
    previous: bool
    rolled_back: bool

    @property
    def label(self) -> str:
        """What a list says next to the version, empty for most."""
        if self.current:
            return "current"
        if self.previous:
            return "previous"
        return "rolled back" if self.rolled_back else ""


def list_history(history: History, releases: Mapping[str, Release | None]) -> tuple[ListedRelease, ...]:
    """Return the releases of a history, the highest version first; `releases` has those that could be read."""
    return tuple(
        ListedRelease(
            version=known,
            release=releases.get(known),
            before=releases.get(history.before(known) or ""),
            current=known == history.current,
            previous=known == history.previous,
            rolled_back=history.is_rolled_back(known),
        )
        for known in newest_first(history.manifests)
    )


def newest_first(versions: Mapping[str, object]) -> list[str]:
    """Return the versions, the highest first. Raises VersionError for an invalid one."""
    return sorted(versions, key=version.parse, reverse=True)

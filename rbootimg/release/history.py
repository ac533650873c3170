"""The releases of an application, and the versions that were current one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import ManifestError
from . import version
from .manifest import MAX_HISTORY_SIZE, SCHEMA, Reader, as_manifest_error, to_json


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
        return self.versions[-2] if len(self.versions) > 1 else None

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


def newest_first(versions: Mapping[str, object]) -> list[str]:
    """Return the versions, the highest first. Raises VersionError for an invalid one."""
    return sorted(versions, key=version.parse, reverse=True)

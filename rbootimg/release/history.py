"""Which releases an application has, and which were current."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import ManifestError
from . import version
from .manifest import MOST_HISTORY, SCHEMA, _json, _Reader, as_manifest_error


@dataclass(frozen=True)
class History:
    """What history.json says: the versions of `app` that were current one after the other, the current one last,
    without those that were taken back; and for each release that there is, the SHA-256 of its manifest.

    It is the one file that decides which release is current: all others can be made from it and the releases.
    """

    app: str
    versions: tuple[str, ...]
    manifests: Mapping[str, str]

    @property
    def current(self) -> str:
        return self.versions[-1]

    @property
    def previous(self) -> str | None:
        """What was current before the current one and was not taken back: where a rollback goes to, one further each
        time, and what pruning keeps. None if there is none.
        """
        return self.versions[-2] if len(self.versions) > 1 else None

    def published(self, release: str, manifest: str) -> History:
        """This history after `release`, with the SHA-256 `manifest`, has become current."""
        versions = (*(known for known in self.versions if known != release), release)
        return History(self.app, versions, {**self.manifests, release: manifest})

    def rolled_back(self, release: str) -> History:
        """This history after it went back to `release`, or forth again to one that was taken back."""
        if release not in self.versions:
            return replace(self, versions=(*self.versions, release))
        return replace(self, versions=self.versions[: self.versions.index(release) + 1])

    def pruned(self, keep: int) -> History:
        """This history with the `keep` newest releases, the current and the previous one alone."""
        kept = {*newest_first(self.manifests)[:keep], self.current, self.previous}
        return History(
            self.app,
            tuple(known for known in self.versions if known in kept),
            {known: manifest for known, manifest in self.manifests.items() if known in kept},
        )

    def to_json(self) -> bytes:
        """history.json."""
        manifests = {known: self.manifests[known] for known in newest_first(self.manifests)}
        return _json({"schema": SCHEMA, "app": self.app, "versions": list(self.versions), "manifests": manifests})

    @classmethod
    def from_json(cls, data: bytes) -> History:
        """The history in history.json. Raises ManifestError if it is none."""
        top = _Reader.start(data, "the history", MOST_HISTORY)
        manifests = top.within("manifests")
        found = cls(
            top.app_name(),
            tuple(top.texts("versions")),
            {known: manifests.text(known) for known in manifests.values},
        )
        with as_manifest_error(top.where):
            newest_first(found.manifests)
        if not found.versions or not found.manifests.keys() >= set(found.versions):
            raise ManifestError("the history: its versions are not those of its manifests")
        return found


def newest_first(versions: Mapping[str, object]) -> list[str]:
    """The versions, the highest first."""
    return sorted(versions, key=version.parse, reverse=True)

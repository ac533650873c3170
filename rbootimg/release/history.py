"""The releases of an application, and the versions that were current one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import ManifestError
from . import version
from .manifest import MAX_HISTORY_SIZE, SCHEMA, Reader, Release, as_manifest_error, to_json
from .update import UpdateFile, encode_name, parse_update_file


@dataclass(frozen=True)
class History:
    """The content of history.json.

    `versions` were current one after the other, the current one last, without those that were rolled back;
    `manifests` has the SHA-256 of each release's manifest by version.

    `withdrawn` has the versions that were rolled back, the oldest rollback first, also of releases that were pruned:
    devices may still run them. One that becomes current again is withdrawn no longer; an update file from before, which
    withdraws it, has a lower serial.

    `update` is the update file with its signature, None in a history of an rbootimg that wrote none.

    history.json alone decides which release is current: all other files can be made from it and the releases, without
    the key that signed the update file.
    """

    app: str
    versions: tuple[str, ...]
    manifests: Mapping[str, str]
    withdrawn: tuple[str, ...] = ()
    update: bytes | None = None

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

    @property
    def update_file(self) -> UpdateFile | None:
        """The update file, parsed."""
        return None if self.update is None else parse_update_file(self.update)

    def published(self, release: str, manifest: str) -> History:
        """Return this history after `release`, whose manifest has the SHA-256 `manifest`, has become current."""
        versions = (*(known for known in self.versions if known != release), release)
        withdrawn = tuple(known for known in self.withdrawn if known != release)
        return replace(self, versions=versions, manifests={**self.manifests, release: manifest}, withdrawn=withdrawn)

    def rolled_back(self, release: str) -> History:
        """Return this history after a rollback to `release`, which may be one that was rolled back itself."""
        if release in self.versions:
            end = self.versions.index(release) + 1
            versions, left = self.versions[:end], self.versions[end:]
        else:
            versions = (*self.versions, release)
            # Without `versions` a lost history is rebuilt: any of the releases may have been current.
            left = self.versions[-1:] or tuple(reversed(newest_first(self.manifests)))
            left = tuple(known for known in left if version.is_newer(known, release))
        withdrawn = tuple(dict.fromkeys(known for known in (*self.withdrawn, *left) if known != release))
        return replace(self, versions=versions, withdrawn=withdrawn)

    def pruned(self, keep: int) -> History:
        """Return this history with only the `keep` newest releases, the current and the previous one."""
        kept = {*newest_first(self.manifests)[:keep], self.current, self.previous}
        return replace(
            self,
            versions=tuple(known for known in self.versions if known in kept),
            manifests={known: manifest for known, manifest in self.manifests.items() if known in kept},
        )

    def to_json(self) -> bytes:
        """Return history.json."""
        manifests = {known: self.manifests[known] for known in newest_first(self.manifests)}
        return to_json(
            {
                "schema": SCHEMA,
                "app": self.app,
                "versions": list(self.versions),
                "manifests": manifests,
                "withdrawn": list(self.withdrawn),
                **({} if self.update is None else {"update": self.update.decode()}),
            }
        )

    @classmethod
    def from_json(cls, data: bytes) -> History:
        """Parse history.json. Raises ManifestError if it is invalid."""
        top = Reader.start(data, "history", MAX_HISTORY_SIZE)
        manifests = top.object("manifests")
        history = cls(
            top.app_name(),
            tuple(top.strings("versions")),
            {known: manifests.string(known) for known in manifests.values},
            update=top.string("update").encode() if "update" in top.values else None,
        )
        with as_manifest_error(top.where):
            newest_first(history.manifests)
        if not history.versions or not history.manifests.keys() >= set(history.versions):
            raise ManifestError("history: versions: expected at least one, and each with a manifest")
        withdrawn = top.strings("withdrawn") if "withdrawn" in top.values else _rolled_back(history)
        return replace(history, withdrawn=_check_withdrawn(withdrawn, history.current), update=_check_update(history))


def _rolled_back(history: History) -> list[str]:
    """Return the versions that were rolled back, for a history of an rbootimg that did not record them.

    Not those that are older than all of `versions`: after a lost history was rebuilt these are not known to be.
    """
    return [
        known
        for known in reversed(newest_first(history.manifests))
        if known not in history.versions and history.before(known) is not None
    ]


def _check_withdrawn(withdrawn: Sequence[str], current: str) -> tuple[str, ...]:
    with as_manifest_error("history: withdrawn"):
        newest_first(dict.fromkeys(withdrawn))
    if current in withdrawn or len(set(withdrawn)) < len(withdrawn):
        raise ManifestError("history: withdrawn: expected each version once, and not the current one")
    return tuple(withdrawn)


def _check_update(history: History) -> bytes | None:
    """Return the update file. Raises ManifestError if it is not that of the current version."""
    try:
        file = history.update_file
    except ManifestError as error:
        raise ManifestError(f"history: update: {error}") from None
    if file and (file.update.app, file.update.version) != (encode_name(history.app), history.current):
        raise ManifestError(
            f"history: update: expected {history.current} of {history.app}, got {file.update.version} of "
            f"{file.update.app}"
        )
    return history.update


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
            rolled_back=known in history.withdrawn,
        )
        for known in newest_first(history.manifests)
    )


def newest_first(versions: Mapping[str, object]) -> list[str]:
    """Return the versions, the highest first. Raises VersionError for an invalid one."""
    return sorted(versions, key=version.parse, reverse=True)

"""The decision what publishing a release does, without files."""

from __future__ import annotations

import pytest
from support.releases import SPARE, make

from rbootimg.errors import Hint, PublishError
from rbootimg.fileio import sha256_hex
from rbootimg.release.manifest import Release
from rbootimg.release.plan import Action, StoredVersion, plan_release

RELEASE = make("1.1.0").release
DATED = make("1.1.0", date="2026-11-23").release
NOTED = make("1.1.0", notes=b"new").release
OTHER = make("1.1.0", size=128).release


def stored(release: Release) -> StoredVersion:
    return StoredVersion(sha256_hex(release.to_json()), release)


def corrupt(release: Release) -> StoredVersion:
    return StoredVersion(sha256_hex(release.to_json()), None)


def plan(
    version: StoredVersion | None,
    current: str | None = "1.0.0",
    release: Release = RELEASE,
    *,
    force: bool = False,
    allow_downgrade: bool = False,
) -> Action:
    return plan_release(release, current, version, force=force, allow_downgrade=allow_downgrade)


def test_a_version_that_is_not_stored_is_added() -> None:
    assert plan(None, None) is plan(None) is plan(None, force=True) is Action.ADD
    assert plan(None, "1.2.0", allow_downgrade=True) is Action.ADD


@pytest.mark.parametrize("current", ["1.0.0", "1.1.0"])
def test_a_stored_release_with_the_same_roms_is_kept(current: str) -> None:
    assert plan(stored(RELEASE), current) is plan(stored(DATED), current) is Action.KEEP
    assert plan(stored(RELEASE), current, force=True) is Action.KEEP
    assert plan(stored(NOTED), current) is plan(stored(RELEASE), current, NOTED) is Action.KEEP
    assert plan(stored(NOTED), current, NOTED) is Action.KEEP


def test_a_corrupt_release_is_repaired() -> None:
    assert plan(corrupt(RELEASE)) is plan(corrupt(RELEASE), "1.1.0") is Action.REPAIR
    assert plan(corrupt(RELEASE), "1.2.0", allow_downgrade=True) is Action.REPAIR


def test_an_older_corrupt_release_is_repaired_without_becoming_current() -> None:
    assert plan(corrupt(RELEASE), "1.2.0") is plan(corrupt(RELEASE), "1.2.0", force=True) is Action.REPAIR_OLDER


def test_with_force_a_stored_release_is_replaced() -> None:
    for version in (stored(OTHER), corrupt(OTHER), stored(DATED), stored(NOTED)):
        assert plan(version, force=True) is Action.REPLACE


@pytest.mark.parametrize(
    ("version", "difference"),
    [
        (stored(OTHER), "with other ROMs"),
        (stored(make("1.1.0", files=(("a", b"x"),)).release), "with other data files"),
        (stored(make("1.1.0", device="board-b").release), "for another device class or layout"),
        (stored(make("1.1.0", layout=SPARE).release), "for another device class or layout"),
        (corrupt(OTHER), "and is corrupt"),
    ],
)
def test_a_published_version_with_other_content_is_refused(version: StoredVersion, difference: str) -> None:
    with pytest.raises(PublishError) as refused:
        plan(version)
    assert str(refused.value) == (
        f"1.1.0 of blink was published already {difference}: a published version cannot change"
    )
    assert refused.value.hint is Hint.FORCE


@pytest.mark.parametrize("version", [None, stored(RELEASE), stored(OTHER), corrupt(OTHER)])
def test_an_older_release_is_refused(version: StoredVersion | None) -> None:
    for force in (False, True):
        with pytest.raises(PublishError) as refused:
            plan(version, "1.2.0", force=force)
        assert str(refused.value) == "1.1.0 of blink is older than the current 1.2.0"
        assert refused.value.hint is Hint.DOWNGRADE


def test_a_published_version_with_other_notes_is_refused() -> None:
    other = make("1.1.0", notes=b"newer").release
    with pytest.raises(
        PublishError, match=r"^1\.1\.0 of blink was published already with other release notes: a publis"
    ):
        plan(stored(NOTED), release=other)
    assert plan(stored(NOTED), release=other, force=True) is Action.REPLACE

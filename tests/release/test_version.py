"""Versions of releases: their form, and the version of a git checkout."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rbootimg.errors import CheckoutError, Hint, SettingError, VersionError
from rbootimg.release.version import from_describe, from_git, parse, release_date, tag_notes


@pytest.mark.parametrize("text", ["0.0.0", "1.2.0", "1.2.0-rc.1", "1.2.1-0.dev.5.gabc1234567.dirty"])
def test_a_semantic_version_is_its_own_text(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "v1.2.0", "01.2.0", "1.2.0-", "1.2.0-01", "1.2.0 ", "1.2.0\n", "1.2.0-ä", "../1.2.0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(VersionError, match=r"invalid version .*: expected semver, e\.g\. 1\.2\.0 or 1\.2\.0-rc\.1$"):
        parse(text)


def test_build_metadata_is_refused_as_it_makes_nothing_newer() -> None:
    with pytest.raises(VersionError, match=r"'1\.2\.0\+b1': build metadata is not supported; use '1\.2\.0'$"):
        parse("1.2.0+b1")


def test_a_version_too_long_for_a_directory_is_refused() -> None:
    with pytest.raises(VersionError, match="expected at most 100 characters, got 206"):
        parse("1.2.0-" + "x" * 200)


@pytest.mark.parametrize(
    ("described", "version"),
    [
        ("v1.2.0-0-gabc1234567", "1.2.0"),
        ("1.2.0-0-gabc1234567\n", "1.2.0"),
        ("v1.2.0-5-gabc1234567", "1.2.1-0.dev.5.gabc1234567"),
        ("v1.2.0-0-gabc1234567-dirty", "1.2.1-0.dev.0.gabc1234567.dirty"),
        ("v1.2.0-rc.1-0-gabc1234567", "1.2.0-rc.1"),
        ("v1.2.0-rc.1-5-gabc1234567-dirty", "1.2.0-rc.1.0.dev.5.gabc1234567.dirty"),
    ],
)
def test_what_git_describes_is_a_version(described: str, version: str) -> None:
    assert from_describe(described) == version


def test_commits_behind_a_tag_are_newer_than_it_and_older_than_the_next() -> None:
    described = ("v1.2.0-rc.1-0-gabc", "v1.2.0-rc.1-5-gabc", "v1.2.0-0-gabc", "v1.2.0-9-gabc", "v1.2.0-10-gabc")
    versions = [parse(from_describe(text)) for text in described]
    assert versions == sorted(versions)
    assert versions[-1] < parse("1.2.1")


@pytest.mark.parametrize(
    ("tag", "later"),
    [
        ("v1.2.0", "1.2.1-alpha"),
        ("v1.2.0", "1.2.1-beta.1"),
        ("v1.2.0", "1.2.1-1"),
        ("v1.2.0-rc", "1.2.0-rc.1"),
        ("v1.2.0-rc.1", "1.2.0-rc.1.1"),
        ("v1.2.0-rc.1", "1.2.0-rc.2"),
        ("v1.2.0-rc1", "1.2.0-rc2"),
    ],
)
def test_a_later_prerelease_tag_is_newer_than_the_commits_before_it(tag: str, later: str) -> None:
    tagged, behind = (parse(from_describe(f"{tag}-{count}-gabc")) for count in (0, 5))
    assert tagged < behind < parse(later)


@pytest.mark.parametrize("text", ["", "abc1234", "v1.2-0-gabc", "v1.2.0+b-0-gabc"])
def test_what_is_no_version_asks_for_one(text: str) -> None:
    with pytest.raises(VersionError, match="cannot get a version from") as refused:
        from_describe(text)
    assert refused.value.hint is Hint.VERSION


def git(directory: Path, *arguments: str) -> str:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, check=True, env=environment, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a version tag, that nothing around it changes."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git(tmp_path, "init", "-q")
    (tmp_path / "main.c").write_text("int main;\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1.2.0")
    git(tmp_path, "tag", "latest")
    return tmp_path


def test_a_checkout_has_the_version_of_its_tag(checkout: Path) -> None:
    (checkout / "sub").mkdir()
    assert from_git(checkout) == from_git(checkout / "sub") == "1.2.0"


def test_a_changed_checkout_has_a_version_of_its_own(checkout: Path) -> None:
    (checkout / "main.c").write_text("int other;\n")
    version = from_git(checkout)
    assert version.startswith("1.2.1-0.dev.0.g")
    assert version.endswith(".dirty")
    assert from_git(checkout) == version


def test_untracked_files_are_no_change_as_for_git(checkout: Path) -> None:
    (checkout / "new.c").write_text("int new;\n")
    assert from_git(checkout) == "1.2.0"


def missing(directory: Path) -> str:
    """Return the error for a checkout without a version."""
    with pytest.raises(VersionError) as refused:
        from_git(directory)
    assert type(refused.value) is VersionError
    assert refused.value.hint is Hint.VERSION
    return str(refused.value)


def test_without_a_checkout_or_git_the_version_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert re.search("^no version: git reports 'fatal: not a git repository .*'$", missing(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing(tmp_path) == "no version: cannot run git (No such file or directory)"


def test_without_a_version_tag_one_is_asked_for(checkout: Path) -> None:
    git(checkout, "tag", "-d", "v1.2.0", "latest")
    assert re.search(
        "^no version: expected a tag such as v1.2.0, but git reports 'fatal: No names found, .*'$", missing(checkout)
    )
    git(checkout, "branch", "first")
    git(checkout, "checkout", "-q", "--orphan", "unrelated")
    git(checkout, "commit", "-q", "-m", "another first")
    git(checkout, "tag", "v1.0.0")
    git(checkout, "checkout", "-q", "first")
    with pytest.raises(CheckoutError, match=r"none of the tags \(v1.0.0\) is a version of this commit or an ear"):
        from_git(checkout)


def test_a_checkout_of_somebody_else_is_told_with_what_git_proposes(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own switch for its tests
    with pytest.raises(CheckoutError) as refused:
        from_git(checkout)
    text = str(refused.value)
    assert text.startswith("git describe failed: \"fatal: detected dubious ownership in repository at '")
    assert text.endswith(f'call: git config --global --add safe.directory {checkout}"')
    assert "\n" not in text
    assert refused.value.hint is Hint.VERSION


def _empty_objects(checkout: Path) -> None:
    for file in (checkout / ".git/objects").glob("??/*"):
        file.unlink()
        file.touch()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_empty_objects, "is empty.*fatal: loose object .* is corrupt"),
        (lambda checkout: (checkout / ".git/config").write_text("[x\n"), "fatal: bad config line 1"),
        (lambda checkout: (checkout / ".git/HEAD").unlink(), "fatal: not a git repository \\(or any"),
        (lambda checkout: (checkout / ".git/index").write_text("x"), "index file smaller than expected"),
    ],
)
def test_a_checkout_that_git_cannot_read_is_not_one_without_a_tag(
    checkout: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(checkout)
    with pytest.raises(CheckoutError, match=f"^git describe failed: .*{words}.*$") as refused:
        from_git(checkout)
    assert "\n" not in str(refused.value)


# The date and the notes of a release


def test_the_date_is_that_of_the_variable_else_of_the_commit(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-23T23:30:00-0200")  # in UTC the next day
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "second")
    (checkout / "sub").mkdir()
    (checkout / "main.c").write_text("int changed;\n")
    assert release_date({}, checkout) == release_date({}, checkout / "sub") == "2026-11-24"
    assert release_date({"SOURCE_DATE_EPOCH": ""}, checkout) == "2026-11-24"
    assert release_date({"SOURCE_DATE_EPOCH": "1700000000"}, checkout) == "2023-11-14"
    assert release_date({"SOURCE_DATE_EPOCH": "253402300799"}, checkout) == "9999-12-31"
    for text in ("now", " 5 ", "1_000", "\u0665", "5.0", "-1", "253402300800", "9" * 400):
        with pytest.raises(SettingError, match=r"^SOURCE_DATE_EPOCH: invalid time '.{1,80}': expected seconds since"):
            release_date({"SOURCE_DATE_EPOCH": text}, checkout)
    other = tmp_path_factory.mktemp("other")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(other.parent))
    assert release_date({}, other) is None
    git(other, "init", "-q")
    assert release_date({}, other) is None  # there is no commit
    monkeypatch.setenv("PATH", str(other))
    assert release_date({}, checkout) is None


@pytest.mark.parametrize("seconds", ["253402300800", "99999999999999999", "18446744073709551615"])
def test_a_commit_after_the_year_9999_has_no_date(checkout: Path, seconds: str) -> None:
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    commit = f"tree {tree}\nauthor a <a@b> {seconds} +0000\ncommitter a <a@b> {seconds} +0000\n\nm\n"
    (checkout / "commit").write_text(commit)
    git(checkout, "reset", "-q", "--hard", git(checkout, "hash-object", "-t", "commit", "-w", "commit"))
    assert release_date({}, checkout) is None


@pytest.mark.parametrize(
    ("message", "notes"),
    [
        ("Better:\n- sleeps\n- wakes\n\nMore", b"Better:\n- sleeps\n- wakes\n\nMore\n"),
        ("v1.3.0:\n- sleeps\n- wakes", b"- sleeps\n- wakes\n"),
        ("\ufeffv1.3.0\n\n- sleeps", b"- sleeps\n"),
        ("Longer battery life\n\n- Sleeps *deeply*\n- <b>", b"Longer battery life\n\n- Sleeps *deeply*\n- <b>\n"),
        ("Release 1.3.0\n\n- Sleeps", b"- Sleeps\n"),
        ("v1.3.0\n\nLänger.\n\nNeu.\n", "Länger.\n\nNeu.\n".encode()),
        ("1.3.0", None),
        ("version 1.3.0.", None),
        ("v1.3.0 sleeps", b"v1.3.0 sleeps\n"),
    ],
)
@pytest.mark.parametrize("prefix", ["v", ""])
def test_the_message_of_a_versions_annotated_tag_is_its_notes(
    checkout: Path, prefix: str, message: str, notes: bytes | None
) -> None:
    git(checkout, "tag", "-a", f"{prefix}1.3.0", "-m", message)
    assert tag_notes(checkout, "1.3.0") == notes
    assert tag_notes(checkout, "1.2.0") is None  # not annotated
    assert tag_notes(checkout, "1.4.0") is None
    git(checkout, "commit", "-q", "--allow-empty", "-m", "second")
    assert tag_notes(checkout, "1.3.0") is None  # of another commit


def test_without_a_checkout_there_are_no_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert tag_notes(tmp_path, "1.2.0") is None


@pytest.mark.needs("ssh-keygen")
def test_the_signature_of_a_tag_is_not_in_its_notes(checkout: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={key}")
    git(checkout, *signing, "tag", "-s", "v1.3.0", "-m", "v1.3.0\n\nSleeps:\n- deeply")
    assert "SIGNATURE" in git(checkout, "cat-file", "tag", "v1.3.0")
    assert tag_notes(checkout, "1.3.0") == b"Sleeps:\n- deeply\n"

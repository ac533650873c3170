"""A release's version: one exact form, and what a git checkout is called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rbootimg.errors import NoVersionError, VersionError, Way
from rbootimg.version import from_describe, from_git, parse


@pytest.mark.parametrize("text", ["0.0.0", "1.2.0", "1.2.0-rc.1", "1.2.1-dev.5.gabc1234567.dirty"])
def test_a_semantic_version_is_its_own_text(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "v1.2.0", "01.2.0", "1.2.0-", "1.2.0-01", "1.2.0 ", "1.2.0\n", "1.2.0-ä", "../1.2.0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(VersionError, match=r"is no semantic version; write one such as 1\.2\.0"):
        parse(text)


def test_build_metadata_is_refused_as_it_makes_nothing_newer() -> None:
    with pytest.raises(VersionError, match=r"'1\.2\.0\+b1' has build metadata.*write 1\.2\.0, or"):
        parse("1.2.0+b1")


def test_a_version_too_long_for_a_folder_is_refused() -> None:
    with pytest.raises(VersionError, match="has 206 characters; write at most 100"):
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
    assert versions[-1] < parse("1.2.1-0.dev.11.gabc") < parse("1.2.1-alpha") < parse("1.2.1-beta.1") < parse("1.2.1")
    assert versions[1] < parse("1.2.0-rc.1.1") < parse("1.2.0-rc.2")


@pytest.mark.parametrize("text", ["", "abc1234", "v1.2-0-gabc", "v1.2.0+b-0-gabc"])
def test_what_is_no_version_asks_for_one(text: str) -> None:
    with pytest.raises(VersionError, match="is no") as refused:
        from_describe(text)
    assert refused.value.way is Way.VERSION


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, env=environment, capture_output=True)

    git("init", "-q")
    (tmp_path / "main.c").write_text("int main;\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    git("tag", "v1.2.0")
    git("tag", "latest")
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


def test_files_that_git_does_not_know_are_no_change(checkout: Path) -> None:
    (checkout / "notes").write_text("mine")
    assert from_git(checkout) == "1.2.0"


def test_a_git_that_refuses_is_no_missing_tag(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    with pytest.raises(VersionError, match=r"git cannot tell the version: it says .fatal: detected dubious") as refused:
        from_git(checkout)
    assert not isinstance(refused.value, NoVersionError)
    assert refused.value.way is Way.VERSION
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    (checkout / ".git/HEAD").write_text("ref: refs/heads/none\n")
    with pytest.raises(NoVersionError, match="tag a commit"):
        from_git(checkout)


def test_without_a_checkout_or_git_the_version_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(VersionError, match=r"git says 'fatal: not a git repository.*tag a commit"):
        from_git(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VersionError, match=r"git does not start \(No such file or directory\)$"):
        from_git(tmp_path)

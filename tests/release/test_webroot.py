"""The web root: its files after each command, after a kill at any point, and after a failed system call."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import stat
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import semver
from support.keys import signer
from support.releases import SPARE, make, make_roms, tree, with_recovery

from rbootimg._version import __version__
from rbootimg.errors import Hint, LockError, PublishError, RbootError, WebRootError
from rbootimg.release import datafiles, signing, storage, transaction, webroot
from rbootimg.release import tree as tree_module
from rbootimg.release.bundle import Bundle
from rbootimg.release.check import check_web_root
from rbootimg.release.finding import Finding
from rbootimg.release.history import History
from rbootimg.release.manifest import Release
from rbootimg.release.tree import LOCK, NEXT, SWITCH
from rbootimg.release.update import parse_update_file
from rbootimg.release.webroot import Omission, Outcome, list_releases, prune, publish, rollback, rollback_all
from rbootimg.rom.format import Rom
from rbootimg.views import release as report

NOBODY = 65534

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="acts as another user")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "www" / "firmware"


def put(root: Path, *releases: str | Bundle, **options: object) -> None:
    for release in releases:
        publish(root, [make(release) if isinstance(release, str) else release], **options)


def with_files(version: str, **options: object) -> Bundle:
    """A release with two data files, one of which is of its version."""
    return make(version, files=(("ui.html", version.encode()), ("ca.der", b"\x30")), **options)


def with_sums(version: str, **options: object) -> Bundle:
    return make(version, checksum_files=True, **options)


def with_all(version: str) -> Bundle:
    """A release with all optional parts."""
    return with_recovery(version, files=(("ui.html", version.encode()),), elfs=(b"elf",) * 2, checksum_files=True)


def history(directory: Path) -> History:
    return History.from_json((directory / "releases/history.json").read_bytes())


def assert_current(directory: Path, version: str, rom_count: int = 2) -> None:
    for slot, data in enumerate(make_roms(version, count=rom_count)):
        assert (directory / f"rom{slot}.bin").read_bytes() == data
    assert (directory / "version").read_bytes() == f"{version}\n".encode()
    assert (directory / "manifest.json").read_bytes() == (directory / f"releases/{version}/manifest.json").read_bytes()
    assert f"<h1>blink {version}</h1>" in (directory / "index.html").read_text()
    assert history(directory).current == version
    assert (directory / "update").read_bytes() == history(directory).update
    assert parse_update_file((directory / "update").read_bytes()).update.version == version
    assert check_web_root(directory) == ()
    assert not list(directory.rglob(".rbootimg-*"))


# Publishing


def test_a_release_is_current_and_stored(root: Path) -> None:
    (published,) = publish(root, [make("1.0.0", elfs=(b"elf 0", b"elf 1"))])
    assert (published.directory, published.changed, published.before) == (root, True, None)
    assert list(tree(root)) == [
        "index.html",
        "manifest.json",
        "releases/1.0.0/index.html",
        "releases/1.0.0/manifest.json",
        "releases/1.0.0/rom0.bin",
        "releases/1.0.0/rom0.elf",
        "releases/1.0.0/rom1.bin",
        "releases/1.0.0/rom1.elf",
        "releases/1.0.0/style.css",
        "releases/1.0.0/version",
        "releases/history.json",
        "rom0.bin",
        "rom1.bin",
        "style.css",
        "update",
        "version",
    ]
    assert_current(root, "1.0.0")


def test_the_next_release_leaves_the_first_as_it_was(root: Path) -> None:
    put(root, "1.0.0")
    first = tree(root / "releases/1.0.0")
    assert publish(root, [make("1.1.0")])[0].before == "1.0.0"
    assert_current(root, "1.1.0")
    assert tree(root / "releases/1.0.0") == first


def test_the_same_releases_give_the_same_bytes_anywhere(root: Path, tmp_path: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    put(tmp_path / "other", "1.0.0", "1.1.0")
    assert tree(root) == tree(tmp_path / "other")


def test_a_release_that_is_current_already_is_left_alone(root: Path) -> None:
    put(root, "1.0.0")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert not publish(root, [make("1.0.0", date="2026-11-23")])[0].changed
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_publishing_the_current_release_again_tells_whether_files_were_repaired(root: Path) -> None:
    put(root, "1.0.0")
    (root / "rom0.bin").write_bytes(b"x")
    (published,) = publish(root, [make("1.0.0")])
    assert (published.outcome, published.before) == (Outcome.SWITCHED, "1.0.0")
    assert report.published(published) == ["blink 1.0.0 is current already; its files were repaired"]
    (published,) = publish(root, [make("1.0.0")])
    assert report.published(published) == ["blink 1.0.0 is current already"]


def test_publishing_again_after_a_killed_switch_tells_what_it_completed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    for again in (lambda: publish(root, [make("1.1.0"), make("1.1.0", "clock")]), lambda: rollback_all(root, "1.0.0")):
        with monkeypatch.context() as patch:
            patch.setattr(transaction, "_complete", lambda *_: sys.exit())
            patch.setattr(webroot, "repair", lambda *_: False)
            with pytest.raises(SystemExit):
                again()
        assert [(each.outcome, each.before == each.release.version) for each in again()] == [
            (Outcome.SWITCHED, True)
        ] * 2
        assert [each.outcome for each in again()] == [Outcome.UNCHANGED] * 2


def test_the_web_server_may_read_everything(root: Path) -> None:
    before = os.umask(0o077)
    try:
        put(root, "1.0.0", "1.1.0")
    finally:
        os.umask(before)
    for path in (root, *root.rglob("*")):
        if path.name != LOCK:
            wanted = 0o755 if path.is_dir() else 0o644
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_the_same_version_with_other_roms_is_refused_unless_forced(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    other = make("1.1.0", size=128)
    before = tree(root)
    with pytest.raises(PublishError, match=r"1\.1\.0 of blink was published already with other ROMs: a published ver"):
        publish(root, [other])
    assert tree(root) == before
    publish(root, [other], force=True)
    assert (root / "rom0.bin").read_bytes() == (root / "releases/1.1.0/rom0.bin").read_bytes()
    assert (root / "rom0.bin").read_bytes() == make_roms("1.1.0", 128)[0]
    assert check_web_root(root) == ()


def test_the_difference_to_a_published_version_is_named(root: Path) -> None:
    put(root, "1.0.0")
    with pytest.raises(PublishError, match=r"1\.0\.0 of blink was published already for another device class or lay"):
        publish(root, [make("1.0.0", device="lamp")])
    (root / "releases/1.0.0/rom0.bin").unlink()
    with pytest.raises(PublishError, match=r"1\.0\.0 of blink was published already and is corrupt: a published"):
        publish(root, [make("1.0.0", device="lamp")])


def test_force_also_replaces_the_proof(root: Path) -> None:
    put(root, "1.0.0")
    assert publish(root, [make("1.0.0", proved_by="rBoot 1.4.2")], force=True)[0].changed
    assert json.loads((root / "manifest.json").read_bytes())["roms"][0]["proved_by"] == "rBoot 1.4.2"
    assert check_web_root(root) == ()


def test_a_forced_release_leaves_no_file_of_the_old_build(root: Path) -> None:
    publish(root, [make("1.0.0", elfs=(b"elf 0", b"elf 1"))])
    (root / "releases/1.0.0/rom0.bin.sig").write_bytes(b"mine")
    publish(root, [make("1.0.0", size=128, count=1)], force=True, allow_missing_roms=True)
    assert {path.name for path in (root / "releases/1.0.0").iterdir()} == {
        "index.html",
        "manifest.json",
        "rom0.bin",
        "rom0.bin.sig",
        "style.css",
        "version",
    }
    assert check_web_root(root) == ()
    (root / "releases/1.0.0/rom1.elf").write_bytes(b"old")
    assert check_web_root(root) == (Finding("releases/1.0.0/rom1.elf", "not a file of 1.0.0; delete it"),)


def test_data_files_are_in_the_releases_own_directory_alone(root: Path) -> None:
    put(root, "1.0.0", with_files("1.1.0"))
    assert (root / "releases/1.1.0/ui.html").read_bytes() == b"1.1.0"
    assert (root / "releases/1.1.0/ca.der").read_bytes() == b"\x30"
    assert not list(root.glob("ui.html"))
    assert not publish(root, [with_files("1.1.0")])[0].changed
    assert_current(root, "1.1.0")
    put(root, with_files("1.2.0"), "1.3.0")
    assert_current(root, "1.3.0")
    assert rollback(root).release == with_files("1.2.0").release
    assert_current(root, "1.2.0")
    put(root, "1.3.0", "1.4.0")
    assert prune(root, 0) == ("1.2.0", "1.1.0", "1.0.0")
    assert not list(root.rglob("ui.html"))
    assert_current(root, "1.4.0")


def test_no_data_file_can_have_the_name_of_another_file_of_a_release(root: Path) -> None:
    put(root, with_all("1.0.0"))
    names = {path.name for path in (root / "releases/1.0.0").iterdir()} - {"ui.html"}
    assert len(names) == 12
    for name in names:
        with pytest.raises(PublishError, match=f"invalid data file name '{name}': reserved for another"):
            make("1.1.0", files=((name, b"x"),))


@pytest.mark.parametrize("files", [(), (("ui.html", b"<a>"), ("ca.der", b"\x30")), (("ui.html", b"1.1.0"),)])
def test_the_same_version_with_other_data_files_is_refused_unless_forced(
    root: Path, files: tuple[tuple[str, bytes], ...]
) -> None:
    put(root, with_files("1.1.0"))
    (root / "releases/1.1.0/ui.html.sig").write_bytes(b"mine")
    before = tree(root)
    with pytest.raises(PublishError, match=r"1\.1\.0 of blink was published already with other data files: a publ"):
        publish(root, [make("1.1.0", files=files)])
    assert tree(root) == before
    publish(root, [make("1.1.0", files=files)], force=True)
    assert check_web_root(root) == ()
    names = {path.name for path in (root / "releases/1.1.0").iterdir()}
    assert names & {"ui.html", "ca.der", "ui.html.sig"} == {name for name, _ in files} | {"ui.html.sig"}
    for name, data in files:
        assert (root / "releases/1.1.0" / name).read_bytes() == data


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.unlink(), "missing; publish the same release again, or delete it with `rbootimg prune`"),
        (
            lambda path: path.write_bytes(b"x"),
            "does not match its manifest; publish the same release again, or delete",
        ),
    ],
)
def test_a_data_file_that_is_not_as_published_is_found_and_repaired(
    root: Path, damage: Callable[[Path], object], text: str
) -> None:
    put(root, with_files("1.0.0"), "1.1.0", "1.2.0")
    path = root / "releases/1.0.0/ui.html"
    damage(path)
    (problem,) = check_web_root(root)
    assert problem.path == "releases/1.0.0/ui.html"
    assert problem.text.startswith(text)
    with pytest.raises(WebRootError, match=r"releases/1\.0\.0/ui\.html: (missing|does not match its manifest); pub"):
        rollback(root, "1.0.0")
    assert publish(root, [with_files("1.0.0")])[0].outcome is Outcome.REPAIRED
    assert path.read_bytes() == b"1.0.0"
    assert_current(root, "1.2.0")


def test_notes_are_in_the_releases_own_directory_alone(root: Path) -> None:
    put(root, "1.0.0", make("1.1.0", notes=b"news"))
    assert (root / "releases/1.1.0/notes.md").read_bytes() == b"news"
    assert not (root / "notes.md").exists()
    assert not publish(root, [make("1.1.0", notes=b"news")])[0].changed
    put(root, make("1.2.0", notes=b"more"))
    rollback(root)
    assert_current(root, "1.1.0")
    put(root, "1.3.0", "1.4.0")
    assert prune(root, 0) == ("1.2.0", "1.1.0", "1.0.0")
    assert not list(root.rglob("notes.md"))
    assert_current(root, "1.4.0")


def test_the_same_version_with_other_notes_is_refused_unless_forced(root: Path) -> None:
    put(root, make("1.0.0", notes=b"news"))
    before = tree(root)
    with pytest.raises(PublishError, match=r"1\.0\.0 of blink was published already with other release notes: a publ"):
        publish(root, [make("1.0.0", notes=b"better")])
    assert not publish(root, [make("1.0.0")])[0].changed
    assert tree(root) == before
    publish(root, [make("1.0.0", notes=b"better")], force=True)
    assert (root / "releases/1.0.0/notes.md").read_bytes() == b"better"
    assert check_web_root(root) == ()
    publish(root, [make("1.0.0")], force=True)
    assert not (root / "releases/1.0.0/notes.md").exists()
    assert check_web_root(root) == ()
    (published,) = publish(root, [make("1.0.0", notes=b"late")])
    assert not published.changed
    assert published.omitted == (Omission.NOTES,)
    assert report.published(published)[0].endswith("was kept, without the new release notes")


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_notes_that_are_not_as_published_are_found_and_repaired(root: Path, damage: Callable[[Path], object]) -> None:
    put(root, make("1.0.0", notes=b"news"), "1.1.0")
    path = root / "releases/1.0.0/notes.md"
    damage(path)
    assert [problem.path for problem in check_web_root(root)] == ["releases/1.0.0/notes.md"]
    with pytest.raises(WebRootError, match=r"releases/1\.0\.0/notes\.md: (missing|does not match its manifest); pub"):
        rollback(root, "1.0.0")
    assert publish(root, [make("1.0.0", notes=b"news")])[0].outcome is Outcome.REPAIRED
    assert path.read_bytes() == b"news"
    assert_current(root, "1.1.0")


def test_a_data_file_called_as_the_notes_stays_in_the_releases_of_earlier_versions(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(datafiles, "is_notes", lambda name: False)
        put(root, make("1.0.0", files=(("notes.md", b"mine"),)))
    put(root, "1.1.0")
    assert check_web_root(root) == ()
    rollback(root)
    assert_current(root, "1.0.0")
    assert "Release notes" not in (root / "index.html").read_text()
    put(root, "1.1.0", "1.2.0")
    assert prune(root, 0) == ("1.0.0",)


def test_a_page_of_another_rbootimg_is_no_fault(root: Path) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    pages = [path for name in ("index.html", "style.css") for path in (root / name, root / "blink" / name)]
    for path in pages:
        path.write_bytes(path.read_bytes().replace(f"rbootimg {__version__}".encode(), b"rbootimg 0.0.1"))
    assert check_web_root(root) == ()
    for path in pages:
        path.chmod(0o600)
    assert {finding.text for finding in check_web_root(root)} == {"not readable for the web server: expected mode 644"}
    for path in pages:
        path.write_bytes(path.read_bytes()[:100])  # which rbootimg wrote it is not in there, or it was this one
        path.chmod(0o644)
    (root / "style.css").unlink()
    assert len(check_web_root(root)) >= 3
    put(root / "blink", "1.1.0")
    assert_current(root / "blink", "1.1.0")


def labels(root: Path) -> list[str]:
    [listed] = list_releases(root).values()
    return [f"{each.version} {each.label}".rstrip() for each in listed]


def test_the_list_says_which_release_is_current_previous_or_rolled_back(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    assert labels(root) == ["1.3.0 current", "1.2.0 previous", "1.1.0", "1.0.0"]
    rollback(root, "1.1.0")
    assert labels(root) == ["1.1.0 current", "1.3.0 rolled back", "1.2.0 rolled back", "1.0.0 previous"]
    put(root, "1.4.0")
    [listed] = list_releases(root).values()
    assert {each.version: each.before and each.before.version for each in listed} == {
        "1.4.0": "1.1.0",
        "1.3.0": "1.1.0",
        "1.2.0": "1.1.0",
        "1.1.0": "1.0.0",
        "1.0.0": None,
    }
    rollback(root, "1.3.0")  # one that was rolled back itself
    assert labels(root) == ["1.3.0 current", "1.4.0 previous", "1.2.0 rolled back", "1.1.0", "1.0.0"]
    (root / "releases/history.json").unlink()
    rollback(root, "1.3.0")
    # The update file still lists 1.2.0.
    assert labels(root) == ["1.3.0 current", "1.4.0 rolled back", "1.2.0 rolled back", "1.1.0", "1.0.0"]
    (root / "releases/history.json").unlink()
    (root / "update").unlink()
    rollback(root, "1.3.0")
    assert labels(root) == ["1.3.0 current", "1.4.0 rolled back", "1.2.0", "1.1.0", "1.0.0"]


def test_a_recovery_rom_is_in_the_releases_own_directory_alone(root: Path) -> None:
    """Not where devices request the ROM for their slot."""
    root.mkdir(parents=True)
    (root / "recovery.bin").write_bytes(b"mine")
    put(root, with_recovery("1.0.0"))
    assert (root / "releases/1.0.0/recovery.bin").read_bytes() == with_recovery("1.0.0").contents["recovery.bin"]
    assert_current(root, "1.0.0")
    put(root, make("1.1.0", layout=SPARE), with_recovery("1.2.0"))
    assert not (root / "rom2.bin").exists()
    assert not (root / "releases/1.1.0/recovery.bin").exists()
    rollback(root)
    assert_current(root, "1.1.0")
    rollback(root)
    assert_current(root, "1.0.0")
    put(root, "1.3.0", "1.4.0")
    assert prune(root, 0) == ("1.2.0", "1.1.0", "1.0.0")
    assert [path.read_bytes() for path in root.rglob("recovery.bin")] == [b"mine"]
    assert check_web_root(root) == ()


def test_the_same_version_with_another_recovery_rom_is_refused_unless_forced(root: Path) -> None:
    put(root, with_recovery("1.0.0"))
    before = tree(root)
    for other in (with_recovery("1.0.0", "other"), make("1.0.0", layout=SPARE)):
        with pytest.raises(PublishError, match=r"1\.0\.0 of blink was published already with other ROMs: a published"):
            publish(root, [other])
        assert tree(root) == before
    proved = replace(with_recovery("1.0.0").release.recovery, proved_by="loader")
    bundle = with_recovery("1.0.0")
    again = Bundle(replace(bundle.release, recovery=proved), bundle.contents)
    assert publish(root, [again])[0].omitted == (Omission.PROOF,)
    publish(root, [make("1.0.0", layout=SPARE)], force=True)
    assert not (root / "releases/1.0.0/recovery.bin").exists()
    assert_current(root, "1.0.0")


def test_a_recovery_rom_that_is_not_as_published_is_found_and_repaired(root: Path) -> None:
    put(root, with_recovery("1.0.0"))
    (root / "releases/1.0.0/recovery.bin").write_bytes(b"x")
    assert check_web_root(root) == (
        Finding("releases/1.0.0/recovery.bin", "does not match its manifest; publish the same release again"),
    )
    assert publish(root, [with_recovery("1.0.0")])[0].changed
    assert_current(root, "1.0.0")


def sums(directory: Path) -> dict[str, str]:
    """The versions of the ROMs that the checksum files in a directory are for."""
    versions = ("1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")
    known = {hashlib.sha256(rom).hexdigest(): version for version in versions for rom in make_roms(version)}
    found = {path.name: path.read_text().partition("  ") for path in sorted(directory.glob("*.sha256"))}
    for name, (_, _, of) in found.items():
        assert of == name.removesuffix(".sha256") + "\n"
    return {name: known[digest] for name, (digest, _, _) in found.items()}


def test_checksum_files_come_and_go_with_their_roms(root: Path) -> None:
    put(root, "1.0.0", with_sums("1.1.0"))
    both = {"rom0.bin.sha256": "1.1.0", "rom1.bin.sha256": "1.1.0"}
    assert sums(root) == sums(root / "releases/1.1.0") == both
    assert_current(root, "1.1.0")
    put(root, "1.2.0")
    assert sums(root) == {}
    assert_current(root, "1.2.0")
    rollback(root)
    assert sums(root) == both
    assert_current(root, "1.1.0")
    publish(root, [with_sums("1.3.0", count=1)], allow_missing_roms=True)
    assert sums(root) == {"rom0.bin.sha256": "1.3.0"}
    rollback(root, "1.0.0")
    assert sums(root) == {}
    assert prune(root, 0) == ("1.3.0", "1.2.0", "1.1.0")
    assert_current(root, "1.0.0")


def test_a_forced_release_without_checksum_files_has_none(root: Path) -> None:
    put(root, with_sums("1.0.0"))
    assert not publish(root, [make("1.0.0")])[0].changed
    assert sums(root)
    publish(root, [make("1.0.0", date="2026-11-23")], force=True)
    assert not list((root / "releases").rglob("*.sha256"))
    assert check_web_root(root) == ()
    assert publish(root, [with_sums("1.0.0", date="2026-11-23")])[0].omitted == (Omission.CHECKSUM_FILES,)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rom0.bin.sha256", "does not match 1.1.0; run `rbootimg rollback 1.1.0` to repair it"),
        ("releases/1.1.0/rom0.bin.sha256", "does not match its manifest; publish the same release again"),
    ],
)
def test_a_checksum_file_that_is_not_as_published_is_found_and_repaired(root: Path, name: str, text: str) -> None:
    put(root, with_sums("1.1.0"))
    (root / name).write_bytes(b"x")
    assert check_web_root(root) == (Finding(name, text),)
    publish(root, [with_sums("1.1.0")])
    assert_current(root, "1.1.0")


def test_a_checksum_file_of_the_user_stays_while_it_is_correct(root: Path) -> None:
    put(root, "1.0.0")
    line = f"{hashlib.sha256(make_roms('1.0.0')[0]).hexdigest()}  rom0.bin\n"
    (root / "rom0.bin.sha256").write_text(line)
    (root / "rom1.bin.sha256").write_text("SHA256 (rom1.bin) = mine\n")
    assert not rollback(root, "1.0.0").changed
    assert check_web_root(root) == ()
    assert (root / "rom0.bin.sha256").read_text() == line
    put(root, "1.1.0")
    assert [path.name for path in root.glob("*.sha256")] == ["rom1.bin.sha256"]
    (root / "rom0.bin.sha256").write_text(line)
    problem = Finding("rom0.bin.sha256", "not a checksum file of the current release 1.1.0; delete it")
    assert check_web_root(root) == (problem,)
    (root / "rom0.bin.sha256").unlink()
    put(root, with_sums("1.2.0"))
    assert_current(root, "1.2.0")
    assert sums(root) == {"rom0.bin.sha256": "1.2.0", "rom1.bin.sha256": "1.2.0"}


@pytest.mark.parametrize(
    ("now", "change", "steps"),
    [
        (
            with_sums("1.0.0"),
            lambda root: put(root, with_sums("1.1.0")),
            ["rom0.bin", "rom0.bin.sha256", "rom1.bin", "rom1.bin.sha256", "manifest.json", "version"],
        ),
        (
            with_sums("1.1.0"),
            lambda root: rollback(root),
            ["update", "manifest.json", "version", "rom0.bin", "rom0.bin.sha256", "rom1.bin", "rom1.bin.sha256"],
        ),
        (
            with_sums("1.0.0"),
            lambda root: put(root, "1.1.0"),
            ["rom0.bin", "rom1.bin", "-rom0.bin.sha256", "-rom1.bin.sha256", "manifest.json", "version"],
        ),
    ],
    ids=["up", "down", "without"],
)
def test_a_checksum_file_comes_right_after_its_rom_up_and_down(
    root: Path, now: Bundle, change: Callable[[Path], object], steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client refuses any mix, and a client that gets a new checksum gets its ROM."""
    put(root, with_sums("1.0.0"), *([now] if now != with_sums("1.0.0") else []))
    done: list[str] = []
    replace_file, unlink = os.replace, Path.unlink

    def replaced(source: Path, target: Path) -> None:
        replace_file(source, target)
        done.append(target.name)

    def removed(path: Path, **options: object) -> None:
        unlink(path, **options)
        if path.parent == root and not path.name.startswith(".rbootimg"):
            done.append(f"-{path.name}")

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(Path, "unlink", removed)
    change(root)
    assert done == ["history.json", *steps, "index.html", *(["update"] if steps[0] != "update" else [])]


def test_parts_that_are_not_published_are_named(root: Path) -> None:
    put(root, "1.0.0")
    again = make("1.0.0", elfs=(b"elf 0", b"elf 1"), proved_by="loader", date="2026-11-23")
    (published,) = publish(root, [again])
    assert not published.changed
    assert published.omitted == (Omission.ELFS, Omission.PROOF, Omission.DATE)
    assert published.release == make("1.0.0").release
    assert report.published(published) == [
        "blink 1.0.0 is current already; the stored release has the same ROMs and was kept, without the new ELFs and "
        "proof and date"
    ]
    assert publish(root, [again], force=True)[0].omitted == ()
    assert publish(root, [make("1.0.0")])[0].omitted == ()


def test_an_older_version_is_refused_unless_allowed(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    with pytest.raises(PublishError, match=r"1\.0\.5 of blink is older than the current 1\.1\.0$") as refused:
        put(root, "1.0.5")
    assert refused.value.hint is Hint.DOWNGRADE
    assert_current(root, "1.1.0")
    put(root, "1.0.5", allow_downgrade=True)
    assert_current(root, "1.0.5")
    assert history(root).previous == "1.1.0"


def test_a_prerelease_is_older_than_its_release(root: Path) -> None:
    put(root, "1.0.0-rc.9", "1.0.0-rc.10", "1.0.0")
    with pytest.raises(PublishError, match="is older"):
        put(root, "1.0.0-rc.11")


MISSING_ROM = r"1\.1\.0 of blink lacks rom1\.bin, which devices request: expected a ROM for each slot$"


def test_a_rom_that_devices_request_is_not_removed_unless_allowed(root: Path) -> None:
    """Devices that run from the other slot would never get another release."""
    put(root, "1.0.0")
    before = tree(root)
    with pytest.raises(PublishError, match=MISSING_ROM) as refused:
        publish(root, [make("1.1.0", count=1)], force=True, allow_downgrade=True)
    assert refused.value.hint is Hint.FORCE
    assert tree(root) == before
    (root / "rom1.bin").unlink()  # which the manifest still has
    with pytest.raises(PublishError, match=MISSING_ROM):
        publish(root, [make("1.1.0", count=1)])
    publish(root, [make("1.1.0", count=1)], allow_missing_roms=True)
    assert not (root / "rom1.bin").exists()
    assert check_web_root(root) == (
        Finding("rom1.bin", "in 1.0.0, but not in the current release 1.1.0; publish a release with this ROM"),
    )
    publish(root, [make("1.2.0", count=1)])
    assert (root / "rom0.bin").read_bytes() == make_roms("1.2.0", count=1)[0]
    rollback(root, "1.0.0")
    assert_current(root, "1.0.0")


def test_nor_is_one_by_a_rollback(root: Path) -> None:
    publish(root, [make("1.0.0", count=1)])
    put(root, "1.1.0")
    before = tree(root)
    with pytest.raises(PublishError, match=r"1\.0\.0 of blink lacks rom1\.bin, which devices request"):
        rollback(root)
    assert tree(root) == before
    rollback(root, allow_missing_roms=True)
    assert (root / "version").read_text() == "1.0.0\n"
    assert not (root / "rom1.bin").exists()


def test_an_application_may_have_a_single_rom(root: Path) -> None:
    publish(root, [make("1.0.0", count=1)])
    publish(root, [make("1.1.0", count=1)])
    assert_current(root, "1.1.0", rom_count=1)


def test_roms_without_a_release_are_not_taken_away_either(root: Path) -> None:
    root.mkdir(parents=True)
    for name in ("rom0.bin", "rom1.bin"):
        (root / name).write_bytes(b"flat")
    with pytest.raises(PublishError, match=MISSING_ROM):
        publish(root, [make("1.1.0", count=1)])
    assert (root / "rom1.bin").read_bytes() == b"flat"


def test_a_rom_of_no_release_is_found(root: Path) -> None:
    put(root, "1.0.0")
    (root / "rom2.bin").write_bytes(b"x")
    assert check_web_root(root) == (Finding("rom2.bin", "not a ROM of the current release 1.0.0; delete it"),)


def test_roms_that_were_published_without_a_version_are_replaced(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "rom0.bin").write_bytes(b"flat")
    (root / "notes.txt").write_bytes(b"mine")
    put(root, "1.0.0")
    assert_current(root, "1.0.0")
    assert (root / "notes.txt").read_bytes() == b"mine"


def test_a_file_is_always_newer_than_the_one_it_replaces(root: Path) -> None:
    """Servers and caches compare files of one size by seconds, and take an earlier time for no change."""
    times = []
    put(root, "1.0.0")
    for step in (lambda: put(root, "1.1.0"), lambda: rollback(root), lambda: rollback(root, "1.1.0")):
        times.append(int((root / "rom0.bin").stat().st_mtime))
        step()
    times.append(int((root / "rom0.bin").stat().st_mtime))
    assert times == sorted(set(times))


def test_a_download_in_progress_finishes_with_the_old_bytes(root: Path) -> None:
    put(root, "1.0.0")
    with (root / "rom0.bin").open("rb") as download:
        start = download.read(10)
        put(root, "1.1.0")
        assert start + download.read() == make_roms("1.0.0")[0]


def test_the_switch_goes_roms_manifest_version_page_update_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "1.0.0")
    replaced: list[str] = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if target == root / "manifest.json":
            for rom in Release.from_json(source.read_bytes()).roms:
                assert (root / f"releases/1.1.0/{rom.file.name}").read_bytes() == make_roms("1.1.0")[rom.slot]
        real(source, target)
        replaced.append(str(target.relative_to(root)))

    monkeypatch.setattr(os, "replace", replace)
    put(root, "1.1.0")
    announced = ["manifest.json", "version"]
    assert replaced == ["releases/history.json", "rom0.bin", "rom1.bin", *announced, "index.html", "update"]
    for back in (lambda: rollback(root), lambda: put(root, "1.0.5-rc.1", allow_downgrade=True)):
        put(root, "1.1.0", allow_downgrade=True)
        replaced.clear()
        monkeypatch.setattr(os, "replace", lambda *paths: (real(*paths), replaced.append(Path(paths[1]).name)))
        back()
        assert replaced == ["history.json", "update", *announced, "rom0.bin", "rom1.bin", "index.html"]


def test_files_replaced_first_are_on_the_disk_before_the_rest(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may keep the last rename without the earlier ones."""
    put(root, "1.0.0", "1.1.0")
    done: list[str] = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (real(*paths), done.append(Path(paths[1]).name)))
    monkeypatch.setattr(transaction, "sync", lambda directory: done.append("sync") if directory == root else None)
    announced, roms = ["manifest.json", "version"], ["rom0.bin", "rom1.bin", "sync"]
    rollback(root)
    assert done[-10:] == ["history.json", "update", *announced, "sync", *roms, "index.html", "sync"]
    put(root, "1.2.0")
    assert done[-8:] == [*roms, *announced, "index.html", "update", "sync"]


# Several applications


def test_several_applications_have_a_directory_each_and_a_page_above(root: Path) -> None:
    publish(root, [make("1.0.0"), make("2.0.0", "clock")])
    assert sorted(path.name for path in root.iterdir()) == [
        ".rbootimg.lock",
        "blink",
        "clock",
        "index.html",
        "style.css",
    ]
    publish(root, [make("2.1.0", "clock")])
    assert_current(root / "blink", "1.0.0")
    page = (root / "index.html").read_text()
    assert '<a href="blink/index.html">blink</a></td><td class="version">1.0.0</td>' in page
    assert '<a href="clock/index.html">clock</a></td><td class="version">2.1.0</td>' in page
    assert check_web_root(root) == ()
    rollback(root, app="clock")
    assert '<td class="version">2.0.0</td>' in (root / "index.html").read_text()


def test_with_several_applications_one_must_be_named(root: Path) -> None:
    publish(root, [make("1.0.0"), make("2.0.0", "clock")])
    with pytest.raises(WebRootError, match=r"the web root has several applications: blink, clock$") as refused:
        rollback(root)
    assert refused.value.hint is Hint.APP
    with pytest.raises(WebRootError, match="unknown application 'x': expected one of blink, clock"):
        prune(root, 1, app="x")


def test_if_one_of_several_cannot_be_published_none_is(root: Path) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    before = tree(root)
    with pytest.raises(PublishError, match=r"0\.9\.0 of clock is older"):
        publish(root, [make("1.1.0"), make("0.9.0", "clock")])
    assert tree(root) == before


def test_a_page_that_cannot_be_written_keeps_the_releases_back(root: Path) -> None:
    (root / "index.html").mkdir(parents=True)
    with pytest.raises(WebRootError, match=r"index\.html: expected a file, got a directory; move it away"):
        publish(root, [make("1.0.0")], in_directories=True)
    assert not list(root.rglob("rom0.bin"))
    assert not list(root.rglob(".rbootimg-*"))


def test_a_directory_without_access_is_not_an_application(root: Path) -> None:
    publish(root, [make("1.0.0"), make("2.0.0", "clock")])
    (root / "lost+found").mkdir(mode=0)

    def as_another_user() -> bool:
        if os.getuid() == 0:
            os.setuid(65534)
        return check_web_root(root) == () and list(list_releases(root)) == ["blink", "clock"]

    for path in root.parents:
        if path.stat().st_mode & 0o005 != 0o005 and path.stat().st_uid == os.getuid():
            path.chmod(0o755)
    child = os.fork()
    if child == 0:
        os._exit(0 if as_another_user() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_application_in_two_directories_is_neither(root: Path) -> None:
    """For example after a backup: a rollback must not happen in the copy."""
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    publish(root, [make("1.1.0")])
    shutil.copytree(root / "blink", root / "old")
    for command in (
        check_web_root,
        list_releases,
        lambda root: rollback(root, app="blink"),
        lambda root: prune(root, 1, "blink"),
    ):
        with pytest.raises(WebRootError, match=r"blink and old both have blink; move one out of the web root$"):
            command(root)
    shutil.rmtree(root / "blink")
    with pytest.raises(PublishError, match=r"old has the releases of blink; rename it to blink$"):
        publish(root, [make("1.2.0")])
    (root / "old").rename(root / "blink")
    publish(root, [make("1.2.0")])
    assert_current(root / "blink", "1.2.0")


def test_the_page_above_several_applications_is_checked(root: Path) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    (root / "index.html").write_text("")
    (root / "style.css").unlink()
    assert check_web_root(root) == (
        Finding("style.css", "missing; publish or roll back any of them"),
        Finding("index.html", "does not match the applications; publish or roll back any of them"),
    )
    rollback(root, "1.0.0", "clock")
    assert check_web_root(root) == ()
    (root / "clock/version").unlink()
    assert check_web_root(root) == (
        Finding("clock/version", "missing; run `rbootimg rollback 1.0.0 --app clock` to repair it"),
    )


def test_an_application_does_not_move_or_get_anothers_devices(root: Path, tmp_path: Path) -> None:
    put(root, "1.0.0")
    with pytest.raises(PublishError, match="the web root is that of blink, whose devices would get clock"):
        publish(root, [make("1.0.0", "clock")])
    with pytest.raises(PublishError, match="the web root is that of blink alone and cannot have directories for other"):
        publish(root, [make("1.1.0")], in_directories=True)
    publish(tmp_path / "other", [make("1.0.0")], in_directories=True)
    with pytest.raises(PublishError, match="the web root has a directory for each application, such as blink; pub"):
        publish(tmp_path / "other", [make("1.0.0", "clock")], in_directories=False)


# Back, list, prune


def test_rollback_goes_to_the_previous_release_and_further(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0")
    found = rollback(root)
    assert (found.release.version, found.before) == ("1.1.0", "1.2.0")
    assert_current(root, "1.1.0")
    rollback(root)
    assert_current(root, "1.0.0")
    with pytest.raises(
        WebRootError,
        match=r"there is no previous release of blink to roll back to; available: 1\.2\.0, 1\.1\.0$",
    ) as refused:
        rollback(root)
    assert refused.value.hint is Hint.ROLLBACK
    assert_current(root, "1.0.0")
    rollback(root, "1.2.0")
    assert_current(root, "1.2.0")
    for version in ("9.9.9", ""):
        with pytest.raises(WebRootError, match=f"unknown release '{version}' of blink; available: 1.2.0, 1.1.0, 1.0.0"):
            rollback(root, version)


def test_all_applications_are_rolled_back_or_none(root: Path) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    put(root, "1.1.0")
    before = tree(root)
    with pytest.raises(WebRootError, match=r"1\.0\.0 is the only release of clock; publish another one$"):
        rollback_all(root)
    assert tree(root) == before
    assert not list(root.rglob(".rbootimg-*"))
    publish(root, [make("1.1.0", "clock")])
    assert [back.release.app for back in rollback_all(root)] == ["blink", "clock"]
    assert_current(root / "blink", "1.0.0")
    (root / "clock/releases/history.json").unlink()
    assert [back.changed for back in rollback_all(root, "1.0.0")] == [False, True]
    assert check_web_root(root) == ()


def test_the_only_release_cannot_be_rolled_back(root: Path) -> None:
    put(root, "1.0.0")
    with pytest.raises(WebRootError, match=r"1\.0\.0 is the only release of blink; publish another one"):
        rollback(root)


def test_list_rollback_and_prune_mean_the_same_by_previous(root: Path) -> None:
    put(root, *(f"1.{minor}.0" for minor in range(8)))
    rollback(root, "1.5.0")
    put(root, "1.8.0")
    rollback(root, "1.7.0")  # forth again to one that was taken back
    for previous in ("1.8.0", "1.5.0", "1.4.0"):
        assert [each.version for each in list_releases(root)["blink"] if each.previous] == [previous]
        prune(root, 6)
        assert rollback(root).release.version == previous


def test_the_list_has_the_current_release_first_then_the_newest(root: Path) -> None:
    put(root, "1.9.0", "1.10.0", "1.11.0")
    rollback(root)
    listed = list_releases(root)["blink"]
    assert [(each.version, each.current, each.previous) for each in listed] == [
        ("1.10.0", True, False),
        ("1.11.0", False, False),
        ("1.9.0", False, True),
    ]
    assert listed[0].release == make("1.10.0").release


def test_prune_keeps_the_newest_the_current_and_the_previous(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0")
    rollback(root, "1.1.0")
    assert prune(root, 1) == ("1.3.0", "1.2.0")
    assert sorted(path.name for path in (root / "releases").iterdir() if path.is_dir()) == ["1.0.0", "1.1.0", "1.4.0"]
    assert_current(root, "1.1.0")
    page = (root / "index.html").read_text()
    assert "releases/1.4.0/index.html" in page
    assert "releases/1.2.0" not in page
    assert prune(root, 1) == ()


def test_a_pruned_version_can_be_published_again(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0")
    prune(root, 0)
    publish(root, [make("1.0.0", size=128)], allow_downgrade=True)
    assert check_web_root(root) == ()


# Checks


@pytest.mark.parametrize(
    ("damage", "problems"),
    [
        (
            lambda root: (root / "rom0.bin").write_bytes(b"x"),
            [("rom0.bin", "does not match 1.1.0; run `rbootimg rollback 1.1.0` to repair it")],
        ),
        (
            lambda root: (root / "version").unlink(),
            [("version", "missing; run `rbootimg rollback 1.1.0` to repair it")],
        ),
        (
            lambda root: (root / "releases/1.0.0").chmod(0o700),
            [("releases/1.0.0", "not accessible for the web server: expected mode 755")],
        ),
        (lambda root: (root / "releases").chmod(0o750), [("releases", "not accessible for the web server")]),
        (
            lambda root: (root / "rom1.bin").chmod(0o600),
            [("rom1.bin", "not readable for the web server: expected")],
        ),
        (
            lambda root: (root / "releases/1.0.0/rom1.bin").write_bytes(b"x"),
            [("releases/1.0.0/rom1.bin", "does not match its manifest; publish the same release again")],
        ),
        (
            lambda root: (root / "releases/1.0.0/manifest.json").write_bytes(b"{}"),
            [
                ("releases/1.0.0/manifest.json", "does not match the history"),
                ("index.html", "does not match the page that this rbootimg writes for 1.1.0"),
            ],
        ),
        (
            lambda root: shutil.rmtree(root / "releases/1.0.0"),
            [
                ("releases/1.0.0", "missing; publish the same release again"),
                ("index.html", "does not match the page that this rbootimg writes for 1.1.0"),
            ],
        ),
        (lambda root: (root / "releases/1.1.0/rom0.bin").unlink(), [("releases/1.1.0/rom0.bin", "missing")]),
    ],
)
def test_check_finds_each_file_that_is_not_as_published(
    root: Path, damage: Callable[[Path], object], problems: list[tuple[str, str]]
) -> None:
    put(root, "1.0.0", "1.1.0")
    assert check_web_root(root) == ()
    damage(root)
    found = check_web_root(root)
    assert [problem.path for problem in found] == [name for name, _ in problems]
    for problem, (_, text) in zip(found, problems):
        assert problem.text.startswith(text)
    put(root, "1.2.0")  # which no damage keeps from being published
    assert (root / "rom0.bin").read_bytes() == make_roms("1.2.0")[0]


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_check_reports_a_manifest_that_it_cannot_read(root: Path, version: str) -> None:
    """Also one that is as published: a later rbootimg may have written it."""
    put(root, "1.0.0", "1.1.0")
    manifest = root / "releases" / version / "manifest.json"
    old = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_bytes(manifest.read_bytes().replace(b'"schema": 1', b'"schema": 9'))
    history = root / "releases/history.json"
    history.write_text(history.read_text().replace(old, hashlib.sha256(manifest.read_bytes()).hexdigest()))
    problems = {problem.path: problem.text for problem in check_web_root(root)}
    assert "unknown schema 9" in problems[f"releases/{version}/manifest.json"]


def test_a_corrupt_release_is_neither_rolled_back_to_nor_taken_for_published(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    (root / "releases/1.0.0/rom0.bin").write_bytes(b"x")
    with pytest.raises(WebRootError, match=r"releases/1\.0\.0/rom0\.bin: does not match its manifest"):
        rollback(root)
    assert (root / "version").read_text() == "1.1.0\n"
    (root / "releases/1.1.0/rom0.bin").unlink()
    assert publish(root, [make("1.1.0")])[0].changed
    assert (root / "releases/1.1.0/rom0.bin").read_bytes() == make_roms("1.1.0")[0]


@pytest.mark.parametrize("data", [b"[]", b"", b'{"schema": 1', None])
def test_a_lost_history_is_rebuilt_by_a_rollback_to_a_named_version(root: Path, data: bytes | None) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0")
    rollback(root)
    path = root / "releases/history.json"
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    before = tree(root)
    commands = (lambda: put(root, "1.3.0"), lambda: rollback(root), lambda: prune(root, 1), lambda: list_releases(root))
    for command in commands:
        with pytest.raises(
            WebRootError,
            match=r"history\.json: (missing|invalid), so the current release is unknown.*; manifest\.json is that of "
            r"1\.1\.0, available: 1\.2\.0, 1\.1\.0, 1\.0\.0$",
        ) as refused:
            command()
        assert refused.value.hint is Hint.HISTORY
    (problem,) = check_web_root(root)
    assert problem.path == "releases/history.json"
    assert problem.text.endswith(f"available: 1.2.0, 1.1.0, 1.0.0; {Hint.HISTORY.command_line}")
    with pytest.raises(WebRootError, match=r"unknown release '9\.9\.9' of blink; available: 1\.2\.0, 1\.1\.0, 1\.0\.0"):
        rollback(root, "9.9.9")
    assert tree(root) == before
    back = rollback(root, "1.1.0")
    assert (back.changed, back.before) == (True, None)
    assert_current(root, "1.1.0")
    assert [each.version for each in list_releases(root)["blink"]] == ["1.1.0", "1.2.0", "1.0.0"]
    put(root, "1.3.0")
    assert rollback(root).release.version == "1.1.0"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda place: (place / "manifest.json").unlink(), r"1\.0\.0/manifest\.json: missing; move \S+/1\.0\.0 away"),
        (lambda place: (place / "manifest.json").write_bytes(b"{"), r"manifest: not JSON; move \S+/1\.0\.0 away"),
        (
            lambda place: place.rename(place.parent / "1.0.1"),
            r"releases/1\.0\.1: contains 1\.0\.0 of blink; move",
        ),
    ],
)
def test_a_history_is_not_rebuilt_without_an_unreadable_release(
    root: Path, damage: Callable[[Path], object], message: str
) -> None:
    put(root, "1.0.0", "1.1.0")
    (root / "releases/history.json").unlink()
    damage(root / "releases/1.0.0")
    with pytest.raises(WebRootError, match=message):
        rollback(root, "1.1.0")
    assert not (root / "releases/history.json").exists()


def test_a_history_of_a_later_rbootimg_is_left_alone(root: Path) -> None:
    put(root, "1.0.0")
    path = root / "releases/history.json"
    path.write_bytes(path.read_bytes().replace(b'"schema": 1', b'"schema": 2'))
    for command in (lambda: put(root, "1.1.0"), lambda: rollback(root, "1.0.0"), lambda: check_web_root(root)):
        with pytest.raises(WebRootError, match=r"history\.json: history: unknown schema 2: expected 1; update"):
            command()


def test_without_stored_releases_the_next_is_compared_with_the_current_files(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    shutil.rmtree(root / "releases")
    for command in (check_web_root, list_releases, rollback, lambda root: prune(root, 1)):
        with pytest.raises(WebRootError, match=r"there is no release, only the files of blink 1\.1\.0$"):
            command(root)
    with pytest.raises(PublishError, match=r"1\.0\.5 of blink is older than the current 1\.1\.0"):
        put(root, "1.0.5")
    with pytest.raises(PublishError, match="the web root is that of blink"):
        publish(root, [make("1.2.0", "clock")])
    with pytest.raises(PublishError, match=r"1\.1\.0 of blink was published already and is corrupt"):
        publish(root, [make("1.1.0", size=128)])
    assert publish(root, [make("1.2.0")])[0].before == "1.1.0"
    assert_current(root, "1.2.0")
    assert history(root).versions == ("1.2.0",)


def test_the_loss_of_one_history_does_not_touch_the_other_applications(root: Path) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    (root / "blink/releases/history.json").unlink()
    publish(root, [make("1.1.0", "clock")])
    page = (root / "index.html").read_text()
    assert '<td class="version">1.0.0</td>' in page
    assert '<td class="version">1.1.0</td>' in page
    rollback(root, "1.0.0", "blink")
    assert check_web_root(root) == ()


def test_a_corrupt_older_release_is_repaired_without_becoming_current(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    before = tree(root)
    for damage in (
        lambda: (root / "releases/1.0.0/rom0.bin").write_bytes(b"x"),
        lambda: (root / "releases/1.0.0/manifest.json").unlink(),
        lambda: shutil.rmtree(root / "releases/1.0.0"),
    ):
        damage()
        assert check_web_root(root)
        (published,) = publish(root, [make("1.0.0")])
        assert (published.changed, published.outcome, published.before) == (True, Outcome.REPAIRED, "1.1.0")
        assert report.published(published) == ["blink 1.0.0 repaired; 1.1.0 is still current"]
        assert check_web_root(root) == ()
        assert_current(root, "1.1.0")
        after = tree(root)
        page = "releases/1.0.0/index.html"  # which compares with what is current now
        assert {**after, page: b""} == {**before, page: b""}
    with pytest.raises(PublishError, match="is older than"):
        put(root, "1.0.0")
    (root / "releases/1.0.0/rom0.bin").unlink()
    with pytest.raises(PublishError, match="is older than"):
        publish(root, [make("1.0.0", size=128)])


def test_check_continues_after_a_directory_in_place_of_a_file(root: Path) -> None:
    put(root, "0.9.0", "1.0.0", "1.1.0")
    (root / "releases/1.1.0/rom0.bin").unlink()
    (root / "releases/1.1.0/rom0.bin").mkdir()
    (root / "releases/0.9.0/manifest.json").unlink()
    (root / "releases/0.9.0/manifest.json").mkdir()
    shutil.rmtree(root / "releases/1.0.0")
    (root / "releases/1.0.0").write_bytes(b"mine")
    assert check_web_root(root) == (
        Finding("releases/1.1.0/rom0.bin", "expected a file, got a directory; move it away"),
        Finding("releases/1.0.0", "not a directory; move it away"),
        Finding("releases/0.9.0/manifest.json", "expected a file, got a directory; move it away"),
    )


def test_a_rollback_to_the_current_release_repairs_its_files(root: Path) -> None:
    put(root, "1.0.0")
    assert not rollback(root, "1.0.0").changed
    (root / "rom0.bin").write_bytes(b"x")
    assert rollback(root, "1.0.0").changed
    assert_current(root, "1.0.0")


def test_roms_without_a_release_are_distinguished_from_nothing(root: Path) -> None:
    (root / "clock").mkdir(parents=True)
    for command in (check_web_root, list_releases, rollback, lambda root: prune(root, 1)):
        with pytest.raises(WebRootError, match=r"nothing was published here: missing releases/history\.json$"):
            command(root)
    for name in ("clock/rom1.bin", "rom0.bin"):
        (root / name).write_bytes(b"flat")
        for command in (check_web_root, list_releases, rollback, lambda root: prune(root, 1)):
            with pytest.raises(
                WebRootError, match=f"there is no release, only {name}, published without a version$"
            ) as refused:
                command(root)
            assert refused.value.hint is Hint.RELEASE


def test_a_web_root_must_be_a_directory(root: Path) -> None:
    root.parent.mkdir()
    root.write_bytes(b"mine")
    for command in (check_web_root, list_releases, rollback, lambda root: prune(root, 1)):
        with pytest.raises(WebRootError, match=r"not a directory$"):
            command(root)


def test_an_empty_web_root_is_refused(root: Path) -> None:
    for command in (check_web_root, list_releases, rollback, lambda root: prune(root, 1)):
        with pytest.raises(WebRootError, match="no such directory; nothing was published here"):
            command(root)
    assert not root.exists()


# Killed

CHANGES = {"open", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.chown"}
CHANGES |= {"os.utime", "os.truncate"}
"""The audit events of what changes files and directories; os.replace() is os.rename, and os.fchmod() os.chmod.

Data is written between the `open` of a descriptor and the `os.chmod` that follows. test_nothing_changes_without_a_step
shows that no other call changes anything; so did a comparison with strace, once by hand: over two releases, a rollback
and a prune both count 44 openat to write, 99 rename, 108 unlink, 40 chmod, 24 utime, 2 mkdir, 2 rmdir and 1 chown.
"""

_at_step: list[Callable[[str, tuple[object, ...]], object]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _at_step and event in CHANGES and (event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)):
        act = _at_step.pop()  # what that does is no step
        act(event, arguments)
        _at_step.append(act)


@functools.cache
def _add_audit() -> None:
    sys.addaudithook(_audit)  # which nothing removes


def at_each_step(operation: Callable[[], object], act: Callable[[str, tuple[object, ...]], object]) -> None:
    """Do `operation`, and `act` before each of its calls that change a file or a directory, and after the last."""
    _add_audit()
    _at_step.append(act)
    try:
        operation()
    finally:
        _at_step.clear()
    act("end", ())


def kill_at(step: int, operation: Callable[[], object]) -> bool:
    """Do `operation` in a process of its own, killed before that step; False if it ended before."""
    child = os.fork()
    if child == 0:
        left = step

        def count(*_: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            at_each_step(operation, count)
            os._exit(0)
        except BaseException:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def steps_of(operation: Callable[[], object], root: Path) -> list[int]:
    """The steps of the operation, its end among them, before which `root` is another than before the last."""
    states: list[object] = []
    at_each_step(operation, lambda *_: states.append(state_of(root)))
    return [number for number, state in enumerate(states) if number == 0 or state != states[number - 1]]


def state_of(root: Path) -> tuple[object, ...]:
    """All that can be seen of `root` but the times at which files were read."""
    seen: list[object] = []
    for directory, _, names, descriptor in os.fwalk(root):
        for name in (".", *names):
            info = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            what = (info.st_ino, info.st_mode, info.st_uid, info.st_gid, info.st_nlink)
            seen.append((directory, name, *what, *(() if name == "." else (info.st_size, info.st_mtime_ns))))
    return tuple(sorted(seen))  # type: ignore[type-var]


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in memory, where flushing takes no time."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as directory:
        yield Path(directory)


def identity(rom: bytes) -> str:
    """The version that an application of make_roms() is compiled with, forced or not."""
    return Rom.from_bytes(rom).sections[0].data.rstrip(b"\0").decode()


@dataclass(frozen=True)
class Found:
    """The files of an application that devices get at one moment: ROMs by number, empty if missing."""

    version: str
    manifest: str
    roms: tuple[str, str]

    @classmethod
    def in_directory(cls, directory: Path) -> Found:
        files = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
        version = files.get("version", b"").decode().removesuffix("\n")
        manifest = json.loads(files.get("manifest.json", b'{"version": ""}'))["version"]
        roms = tuple(identity(files[name]) if name in files else "" for name in ("rom0.bin", "rom1.bin"))
        return cls(version, manifest, roms)

    def installs(self, own: str, slot: int, by: str) -> list[str]:
        """Return the versions that a device installs one after the other: it installs what is newer than itself."""
        installed = []
        newest = getattr(self, by)
        while newest and semver.Version.parse(newest) > own and len(installed) < 8:
            slot = 1 - slot
            if not self.roms[slot]:
                break  # status 404: it goes on with what it has
            own = self.roms[slot]
            installed.append(own)
        return installed


def assert_no_loop(moments: list[Found], versions: set[str]) -> None:
    """Assert that a device that reads the version at one moment and the ROM at any later one stops updating."""
    for now in moments:
        for by in ("version", "manifest"):
            for slot in (0, 1):
                for own in versions:
                    # One update at most: a second one is that to what it was told before, and did not get.
                    assert len(now.installs(own, slot, by)) <= 1, (now, own, by)


def assert_consistent(root: Path, versions: set[str]) -> None:
    """Assert that devices find a complete and known release, whichever way they look for it."""
    roms = {hashlib.sha256(data).hexdigest() for version in versions for data in make_roms(version)}
    if (root / "manifest.json").exists():
        manifest = json.loads((root / "manifest.json").read_bytes())
        assert manifest["version"] in versions
        for file in (*manifest["roms"], *manifest.get("files", []), *filter(None, [manifest.get("recovery")])):
            data = (root / file["path"]).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file["size"], file["sha256"])
        for place in (root / f"releases/{manifest['version']}",) * manifest.get("checksum_files", False):
            for rom in manifest["roms"]:
                name = rom["path"].rpartition("/")[2]
                assert (place / f"{name}.sha256").read_text() == f"{rom['sha256']}  {name}\n"
    for name in ("rom0.bin", "rom1.bin"):
        if (root / name).exists():
            assert hashlib.sha256((root / name).read_bytes()).hexdigest() in roms
        if (root / f"{name}.sha256").exists():
            digest, of = (root / f"{name}.sha256").read_text().split("  ")
            assert digest in roms
            assert of == f"{name}\n"
    if (root / "version").exists():
        assert (root / "version").read_text().removesuffix("\n") in versions
    if (root / "update").exists():
        update = parse_update_file((root / "update").read_bytes()).update
        for rom in update.roms:
            data = (root / f"releases/{update.version}/rom{rom.slot}.bin").read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (rom.size, rom.sha256)
    if (root / "releases/history.json").exists():
        for version, digest in history(root).manifests.items():
            directories = [root / "releases" / name for name in (version, ".rbootimg-next")]
            assert digest in [
                hashlib.sha256((directory / "manifest.json").read_bytes()).hexdigest()
                for directory in directories
                if (directory / "manifest.json").exists()
            ]


OPERATIONS = {
    "first release": ([], lambda root: put(root, "1.3.0")),
    "next release": (["1.0.0", "1.1.0", "1.2.0"], lambda root: put(root, "1.3.0")),
    "rollback": (["1.0.0", "1.1.0", "1.2.0"], lambda root: rollback(root, "1.0.0")),
    "prune": (["0.1.0", "1.0.0", "1.1.0", "1.2.0"], lambda root: prune(root, 1)),
    "history anew": (["1.0.0", "1.1.0", "1.2.0"], lambda root: rollback(root, "1.2.0")),
    "forced release": (["1.0.0", "1.1.0", "1.2.0"], lambda root: publish(root, [make("1.2.0", size=64)], force=True)),
    "files": (["1.0.0", with_files("1.2.0")], lambda root: publish(root, [with_files("1.3.0")])),
    "files back": ([with_files("1.0.0"), "1.1.0", with_files("1.2.0")], lambda root: rollback(root, "1.0.0")),
    "forced files": (["1.0.0", with_files("1.2.0")], lambda root: publish(root, [make("1.2.0")], force=True)),
    "checksum files": (["1.0.0", with_sums("1.2.0")], lambda root: publish(root, [with_sums("1.3.0")])),
    "checksum files back": ([with_sums("1.0.0"), with_sums("1.2.0")], lambda root: rollback(root, "1.0.0")),
    "checksum files gone": ([with_sums("1.0.0"), "1.1.0", with_sums("1.2.0")], lambda root: put(root, "1.3.0")),
    "recovery": ([with_recovery("1.1.0"), "1.2.0"], lambda root: publish(root, [with_recovery("1.3.0")])),
    "recovery back": ([with_recovery("1.0.0"), with_recovery("1.2.0")], lambda root: rollback(root, "1.0.0")),
}


def versions_of(stands: Iterable[str | Bundle]) -> set[str]:
    return {release if isinstance(release, str) else release.release.version for release in stands}


SWITCHES = {
    **OPERATIONS,
    "downgrade": (["1.0.0", "1.2.0"], lambda root: put(root, "1.1.0", allow_downgrade=True)),
    "forced downgrade": (
        ["1.1.0", "1.2.0"],
        lambda root: publish(root, [make("1.1.0", size=128)], force=True, allow_downgrade=True),
    ),
    "one back": (["1.0.0", "1.2.0-rc.1", "1.2.0"], rollback),
    "forth again": (["1.0.0", "1.1.0", "1.2.0"], lambda root: (rollback(root), rollback(root, "1.2.0"))),
    "fewer ROMs": (["1.0.0"], lambda root: publish(root, [make("1.3.0", count=1)], allow_missing_roms=True)),
    "fewer ROMs back": (
        ["1.2.0"],
        lambda root: publish(root, [make("1.0.0", count=1)], allow_missing_roms=True, allow_downgrade=True),
    ),
    "forced with fewer ROMs": (
        ["1.2.0"],
        lambda root: publish(root, [make("1.2.0", size=128, count=1)], force=True, allow_missing_roms=True),
    ),
    "without a version": (
        ["1.0.0", "1.2.0"],
        lambda root: ((root / "version").unlink(), rollback(root)),
    ),
    "version of nobody": (
        ["1.0.0", "1.2.0"],
        lambda root: ((root / "version").write_bytes(b"1.2.0+build\n"), rollback(root)),
    ),
    "history anew, back": (
        ["1.0.0", "1.2.0"],
        lambda root: ((root / "releases/history.json").unlink(), rollback(root, "1.0.0")),
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_no_device_installs_again_and_again_at_any_step_of_any_switch(memory: Path, name: str) -> None:
    """With a kill at each step or without; also at each step of the next command, which continues."""
    stands, operation = SWITCHES[name]
    versions = {"0.1.0", "1.0.0", "1.1.0", "1.2.0-rc.1", "1.2.0", "1.3.0", "1.4.0"}
    start, root = memory / "start", memory / "root"
    put(start, *stands)
    start.mkdir(exist_ok=True)
    moments: dict[Found, Path] = {}
    seen: list[tuple[str, int]] = []

    def look(*_: object) -> None:
        now = [(entry.name, entry.inode()) for entry in os.scandir(root)]
        if now != seen and (found := Found.in_directory(root)) not in moments:
            moments[found] = memory / f"killed{len(moments)}"
            shutil.copytree(root, moments[found], copy_function=os.link)
        seen[:] = now

    shutil.copytree(start, root, copy_function=os.link)
    at_each_step(lambda: operation(root), look)
    assert_no_loop(list(moments), versions)
    few = ("prune", "history anew", "forced release", "forced files", "forced with fewer ROMs")
    assert len(moments) > 3 or name in few
    for killed in list(moments.values()):
        root = killed
        if stands and not (root / "releases/history.json").exists():
            at_each_step(lambda: rollback(root, "1.0.0"), look)  # noqa: B023 # called at once
        at_each_step(lambda: put(root, "1.4.0"), look)  # noqa: B023
        assert (root / "version").read_bytes() == b"1.4.0\n"
    assert_no_loop(list(moments), versions)


TRACED = tuple(module.__file__ for module in (webroot, tree_module, transaction, storage))


@pytest.mark.parametrize("name", ["recovery", "forced files", "checksum files gone", "prune"])
def test_nothing_changes_without_a_step(memory: Path, name: str) -> None:
    """Each state between two lines of the code is one at which a step kills."""
    stands, operation = OPERATIONS[name]
    root = memory / "root"
    put(root, *stands)
    (root / LOCK).chmod(0o644)  # so that it is replaced, too
    lines: dict[object, str] = {}
    steps: set[object] = set()

    def trace(frame: types.FrameType, event: str, _: object) -> object:
        if frame.f_code.co_filename not in TRACED or not _at_step:
            return None
        if event in ("line", "return"):
            lines[state_of(root)] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        at_each_step(lambda: operation(root), lambda *_: steps.add(state_of(root)))
    finally:
        sys.settrace(before)
    assert len(lines) > 10
    assert {line for state, line in lines.items() if state not in steps} == set()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_file_is_on_the_disk_before_it_gets_its_name(
    memory: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stands, operation = OPERATIONS[name]
    put(memory, *stands)
    if name == "history anew":
        (memory / "releases/history.json").unlink()
    real = os.fsync
    written: set[int] = set()
    flushed: set[int] = set()
    renamed = 0

    def fsync(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal renamed
        if event == "open" and isinstance(arguments[0], int):
            written.add(os.fstat(arguments[0]).st_ino)
            flushed.discard(os.fstat(arguments[0]).st_ino)
        if event == "os.rename":
            source = os.fspath(arguments[0])  # type: ignore[arg-type]
            renamed += 1
            inodes = {entry.stat().st_ino for entry in (Path(source), *Path(source).glob("*"))}
            if Path(source).name == NEXT:
                written.add(os.stat(source).st_ino)
            assert inodes & written <= flushed, source

    monkeypatch.setattr(os, "fsync", fsync)
    at_each_step(lambda: operation(memory), look)
    assert renamed


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_any_point_the_web_root_is_consistent_and_the_next_publish_works(memory: Path, name: str) -> None:
    stands, operation = OPERATIONS[name]
    start = memory / "start"
    put(start, *stands)
    if name == "forced release":
        publish(start, [make("1.2.0", size=128)], force=True)
    if name == "history anew":
        (start / "releases/history.json").unlink()
    start.mkdir(exist_ok=True)
    root = memory / "root"
    shutil.copytree(start, root, copy_function=os.link)  # nothing is written in place
    for kill, step in enumerate(steps_of(lambda: operation(root), root)):
        shutil.rmtree(root)
        shutil.copytree(start, root, copy_function=os.link)  # nothing is written in place
        assert kill_at(step, lambda: operation(root))
        assert_no_loop([Found.in_directory(root)], {"0.1.0", *versions_of(stands), "1.3.0"})
        if "forced" not in name:  # of which a device may see the old manifest with the new ROM
            assert_consistent(root, {*versions_of(stands), "1.3.0"})
            if stands:
                assert (root / "rom0.bin").exists()
                assert (root / "manifest.json").exists()
        if name == "history anew" and not (root / "releases/history.json").exists():
            operation(root)
        publish(root, [make("1.4.0", checksum_files=kill % 2 == 1)])
        assert_current(root, "1.4.0")
        assert set(sums(root).values()) == {"1.4.0"} if kill % 2 else sums(root) == {}


SIGNED = {
    "publish": lambda root: publish(root, [make("1.2.0")], signer=signer()),
    "rollback": lambda root: rollback(root, signer=signer()),
    "another key": lambda root: publish(root, [make("1.1.0")], signer=signer("spare")),
}


@pytest.mark.parametrize("name", SIGNED)
def test_killed_at_any_point_a_signed_switch_is_finished_without_the_key(memory: Path, name: str) -> None:
    start, root = memory / "start", memory / "root"
    keys = [signer().public, signer("spare").public]
    for version in ("1.0.0", "1.1.0"):
        publish(start, [make(version)], signer=signer())
    shutil.copytree(start, root, copy_function=os.link)
    finished = 0
    for step in steps_of(lambda: SIGNED[name](root), root):
        shutil.rmtree(root)
        shutil.copytree(start, root, copy_function=os.link)
        assert kill_at(step, lambda: SIGNED[name](root))
        assert_consistent(root, {"1.0.0", "1.1.0", "1.2.0"})
        assert signing.verify(parse_update_file((root / "update").read_bytes()).signed, keys)
        finished += (root / "update").read_bytes() != history(root).update
        rollback(root, history(root).current)
        assert (root / "update").read_bytes() == history(root).update
        assert [finding for finding in check_web_root(root, keys) if finding.fault] == []
    assert finished


def test_an_interrupted_switch_is_found_and_completed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "1.0.0")
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "_complete", lambda *_: sys.exit())
        patch.setattr(webroot, "repair", lambda *_: False)
        with pytest.raises(SystemExit):
            put(root, "1.1.0")
    assert check_web_root(root)[0] == Finding(
        "releases/1.1.0", "interrupted switch to 1.1.0; run `rbootimg rollback 1.1.0` to complete it"
    )
    rollback(root, "1.1.0")
    assert_current(root, "1.1.0")


OF_TWO = {
    "publish": lambda root: publish(root, [make("1.3.0"), make("1.3.0", "clock")]),
    "rollback": lambda root: rollback_all(root, "1.1.0"),
}


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[", b"{}", b'["../blink", "/etc", 5]', b""])
def test_a_corrupt_record_of_a_switch_is_ignored(root: Path, data: bytes) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    (root / SWITCH).write_bytes(data)
    assert check_web_root(root) == ()
    publish(root, [make("1.1.0"), make("1.1.0", "clock")])
    assert_current(root / "blink", "1.1.0")
    assert not (root / SWITCH).exists()


@pytest.mark.parametrize("name", OF_TWO)
def test_killed_at_any_point_both_applications_have_changed_or_neither(memory: Path, name: str) -> None:
    start, root = memory / "start", memory / "root"
    for version in ("1.1.0", "1.2.0"):
        publish(start, [make(version), make(version, "clock")])
    shutil.copytree(start, root, copy_function=os.link)
    went_on = 0
    for step in steps_of(lambda: OF_TWO[name](root), root):
        shutil.rmtree(root)
        shutil.copytree(start, root, copy_function=os.link)
        assert kill_at(step, lambda: OF_TWO[name](root))
        for app in ("blink", "clock"):
            assert_consistent(root / app, {"1.1.0", "1.2.0", "1.3.0"})
            assert_no_loop([Found.in_directory(root / app)], {"0.1.0", "1.1.0", "1.2.0", "1.3.0"})
        currents = {history(root / app).current for app in ("blink", "clock")}
        if (root / SWITCH).exists():
            went_on += 1
            problem = check_web_root(root)[0]
            version = "1.3.0" if name == "publish" else "1.1.0"
            assert problem == Finding(
                ".rbootimg.switch",
                f"interrupted switch of blink, clock; run `rbootimg rollback {version} --app blink` to complete it",
            )
            rollback(root, version, app="blink")
            assert {history(root / app).current for app in ("blink", "clock")} == {version}
            assert check_web_root(root) == ()
        else:
            assert len(currents) == 1
        publish(root, [make("1.4.0"), make("1.4.0", "clock")])
        for app in ("blink", "clock"):
            assert (root / app / "version").read_text() == "1.4.0\n"
            assert (root / app / "rom0.bin").read_bytes() == make_roms("1.4.0")[0]
        assert check_web_root(root) == ()
        assert not list(root.rglob(".rbootimg-*"))
        assert not (root / SWITCH).exists()
    assert went_on > 10


def test_publishers_at_once_come_one_after_the_other(root: Path) -> None:
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            try:
                put(root, f"1.{number}.0", allow_downgrade=True)
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert len(history(root).manifests) == 8
    assert_current(root, history(root).current)


# The lock


Act = Callable[[], object]


@contextlib.contextmanager
def process(act: Act, user: int | None = None, group: int = NOBODY) -> Iterator[int]:
    """Start another process, of another user if one is given, that waits after `act`; its process id."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if user is not None:
                os.setgroups([])
                os.setgid(group)
                os.setuid(user)
            act()
            os.write(told, b"done")
            time.sleep(60)
        except BaseException as error:
            os.write(told, repr(error).encode())
        finally:
            os._exit(0)
    os.close(told)
    try:
        assert os.read(ready, 1000) == b"done"
        yield child
    finally:
        os.close(ready)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


held: list[object] = []
"""Keeps objects until the process ends."""


def hold(path: Path, timeout: float = 0) -> None:
    """Publish again and again."""
    lock = storage.locked(path, timeout)
    lock.__enter__()
    held.append(lock)


def is_busy(act: Act) -> bool:
    """Whether `act` ends because somebody holds the lock."""
    return "locked by another rbootimg that is publishing: waited " in (error_of(act) or "")


def reachable(root: Path) -> None:
    """Let all users enter the directories above `root`."""
    for path in root.parents:
        if path.stat().st_mode & 0o005 != 0o005 and path.stat().st_uid == os.getuid():
            path.chmod(0o755)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_lock_ends_with_its_holder(root: Path) -> None:
    put(root, "1.0.0")
    with process(lambda: hold(root / LOCK)):
        assert error_of(lambda: put(root, "1.1.0", timeout=0.1)) == (
            f"{root}: locked by another rbootimg that is publishing: waited 0.1 seconds; try again later"
        )
        assert history(root).current == "1.0.0"
    put(root, "1.1.0", timeout=0)
    assert_current(root, "1.1.0")


READERS_LOCKS = {
    "flock": lambda file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "shared flock": lambda file: fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "fcntl": lambda file: fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB),
}


@needs_root
@pytest.mark.parametrize("kind", READERS_LOCKS)
@pytest.mark.parametrize("old_mode", [None, 0o644, 0o604, 0o664, 0o640], ids=lambda mode: f"{mode or 0:o}")
def test_who_can_only_read_the_web_root_does_not_hold_up_a_publisher(
    root: Path, kind: str, old_mode: int | None
) -> None:
    """Nor if an older version or `chmod -R a+r` made the lock file readable for all."""
    put(root, "1.0.0")
    reachable(root)
    lock = root / LOCK
    if old_mode is not None:
        lock.chmod(old_mode)
        os.chown(lock, -1, NOBODY if old_mode & 0o040 else -1)

    def lock_as_reader() -> None:
        try:
            descriptor = os.open(lock, os.O_RDONLY)
        except PermissionError:
            assert old_mode is None
        else:
            READERS_LOCKS[kind](descriptor)

    with process(lock_as_reader, NOBODY):
        put(root, "1.1.0", timeout=0.2)
        assert mode(lock) == 0o600
    assert_current(root, "1.1.0")
    assert lock.stat().st_size == 0
    assert not list(root.glob("*.new"))


def test_a_lock_that_becomes_readable_is_still_held(root: Path) -> None:
    put(root, "1.0.0")
    with process(lambda: hold(root / LOCK)):
        (root / LOCK).chmod(0o644)
        assert is_busy(lambda: put(root, "1.1.0", timeout=0.1))
    put(root, "1.1.0", timeout=0)


@pytest.mark.parametrize("kind", ["this kernel's", "another system's"])
@pytest.mark.parametrize("old_mode", [None, 0o600, 0o644], ids=lambda mode: f"{mode or 0:o}")
def test_one_at_a_time_has_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_mode: int | None, kind: str
) -> None:
    """Processes and threads, also while the file is created or replaced."""
    if kind == "another system's":
        monkeypatch.delattr(fcntl, "F_OFD_SETLK")
    lock, count = tmp_path / "lock", tmp_path / "count"
    count.write_text("0")
    processes, threads, rounds = 3, 2, 2

    def add_one() -> None:
        with storage.locked(lock, 60):
            number = int(count.read_text())
            time.sleep(0.002)
            count.write_text(str(number + 1))

    for _ in range(rounds):
        if old_mode is not None:
            lock.touch()
            lock.chmod(old_mode)
        children = []
        for _ in range(processes):
            child = os.fork()
            if child == 0:
                adding = [threading.Thread(target=add_one) for _ in range(threads)]
                for thread in adding:
                    thread.start()
                for thread in adding:
                    thread.join()
                os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * processes
    assert int(count.read_text()) == processes * threads * rounds
    assert sorted(os.listdir(tmp_path)) == ["count", "lock"]


def test_where_files_have_no_modes_there_is_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on FAT or CIFS, where all files seem to be readable for all."""
    monkeypatch.setattr(os, "fchmod", lambda *_: None)
    monkeypatch.setattr(storage, "_fit_mode", lambda *_: False)
    for _ in range(2):
        with storage.locked(tmp_path / "lock", 0), pytest.raises(LockError), storage.locked(tmp_path / "lock", 0):
            pass


def test_a_lock_that_is_replaced_each_time_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_is_at", lambda *_: False)
    with (
        pytest.raises(WebRootError, match="locked by another rbootimg"),
        storage.locked(tmp_path / "lock", 0),
    ):
        pass


def test_a_killed_replacement_of_the_lock_is_continued(tmp_path: Path) -> None:
    for name in ("lock", "lock.new"):
        (tmp_path / name).touch()
    (tmp_path / "lock").chmod(0o644)
    (tmp_path / "lock.new").chmod(0o600)
    with storage.locked(tmp_path / "lock", 0):
        assert mode(tmp_path / "lock") == 0o600
    assert os.listdir(tmp_path) == ["lock"]


def link_to(name: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(name)


@pytest.mark.parametrize(
    ("make_it", "what"),
    [
        (link_to("../target"), "a symbolic link"),
        (link_to("../nothing"), "a symbolic link"),
        (link_to("../directory"), "a symbolic link"),
        (link_to(LOCK), "a symbolic link"),
        (Path.mkdir, "a directory"),
        (os.mkfifo, "a special file"),
        (lambda path: socket.socket(socket.AF_UNIX).bind(str(path)), "a special file"),
    ],
    ids=["link", "dangling", "to a directory", "to itself", "directory", "pipe", "socket"],
)
def test_an_obstacle_in_place_of_the_lock_is_refused_and_left_alone(
    root: Path, tmp_path: Path, make_it: Callable[[Path], None], what: str
) -> None:
    put(root, "1.0.0")
    lock = root / LOCK
    lock.unlink()
    (root.parent / "directory").mkdir()
    target = root.parent / "target"
    target.write_bytes(b"mine")
    target.chmod(0o644)
    here = os.getcwd()
    os.chdir(root)  # a socket's path is short
    try:
        make_it(Path(LOCK))
    finally:
        os.chdir(here)
    before = lock.lstat()
    message = f"{lock}: expected the publishers' lock file, got {what}; move it away"
    for command in (
        lambda: put(root, "1.1.0"),
        lambda: rollback(root),
        lambda: prune(root, 1),
        lambda: check_web_root(root),
    ):
        assert error_of(command) == message
    assert os.path.samestat(lock.lstat(), before)
    assert (target.read_bytes(), mode(target), target.stat().st_nlink) == (b"mine", 0o644, 1)
    assert sorted(os.listdir(root.parent)) == ["directory", "firmware", "target"]
    assert history(root).current == "1.0.0"


@needs_root
def test_who_can_write_the_web_root_can_lock_it(root: Path) -> None:
    root.mkdir(parents=True)
    reachable(root)
    os.chown(root, -1, 4711)
    root.chmod(0o775)
    put(root, "1.0.0")
    lock = root / LOCK
    assert (mode(lock), lock.stat().st_gid) == (0o660, 4711)
    with process(lambda: hold(lock), NOBODY, group=4711):
        assert is_busy(lambda: put(root, "1.1.0", timeout=0))
    root.chmod(0o755)
    put(root, "1.1.0")
    assert mode(lock) == 0o600
    root.chmod(0o1777)
    put(root, "1.2.0")
    assert mode(lock) == 0o666
    with process(lambda: hold(lock), NOBODY):
        pass


@needs_root
@pytest.mark.parametrize("sticky", [0, 0o1000])
def test_a_lock_that_another_user_left_for_all_to_read_is_replaced_where_that_is_allowed(
    root: Path, sticky: int
) -> None:
    put(root, "1.0.0")
    reachable(root)
    lock = root / LOCK
    lock.chmod(0o644)
    os.chown(root, -1, 4711)
    root.chmod(0o775 | sticky)

    def lock_it() -> None:
        if sticky:
            with pytest.raises(PermissionError) as refused:
                hold(lock)
            assert refused.value.filename == str(lock)
        else:
            hold(lock)

    with process(lock_it, NOBODY, group=4711):
        assert sorted(path.name for path in root.glob(f"{lock.name}*")) == [lock.name]
        if not sticky:
            assert (mode(lock), lock.stat().st_uid, lock.stat().st_gid) == (0o660, NOBODY, 4711)
            assert is_busy(lambda: put(root, "1.1.0", timeout=0))
    put(root, "1.1.0")


@needs_root
def test_root_does_not_lock_the_owner_of_the_web_root_out(root: Path) -> None:
    put(root, "1.0.0")
    reachable(root)
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    (root / LOCK).chmod(0o644)
    put(root, "1.1.0")
    with process(lambda: hold(root / LOCK), NOBODY):
        pass


@needs_root
def test_who_may_not_write_the_web_root_is_told_so_and_holds_up_nobody(root: Path) -> None:
    put(root, "1.0.0")
    reachable(root)
    for _ in range(2):

        def publish_it() -> None:
            assert error_of(lambda: put(root, "1.1.0")) == f"{root}: Permission denied"

        with process(publish_it, NOBODY):
            put(root, "1.0.0", timeout=0)
        (root / LOCK).unlink()


@needs_root
def test_readers_without_write_access_do_not_wait_for_the_lock(root: Path) -> None:
    put(root, "1.0.0")
    reachable(root)
    with process(lambda: hold(root / LOCK)):

        def look() -> None:
            assert check_web_root(root) == ()
            assert list(list_releases(root)) == ["blink"]

        with process(look, NOBODY):
            pass


# Refused by the system


def refusal(root: Path, version: str = "1.1.0") -> str:
    """Assert that publishing is refused and leaves the current release as it was; return the one-line reason."""
    before = tree(root)
    with pytest.raises(WebRootError) as refused:
        put(root, version)
    assert "\n" not in str(refused.value)
    assert tree(root) == before
    return str(refused.value)


def error_of(operation: Callable[[], object]) -> str | None:
    try:
        operation()
    except RbootError as error:
        return str(error)
    return None


def test_a_full_disk_leaves_the_old_release(root: Path) -> None:
    put(root, "1.0.0")
    big = make("1.1.0", size=65536)
    before = tree(root)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, limits[1]))
    try:
        with pytest.raises(WebRootError, match=r"rom0\.bin: File too large$"):
            publish(root, [big])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(root) == before
    assert_current(root, "1.0.0")


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "mkdir", "utime", "fchmod", "rename"])
def test_whatever_call_fails_the_release_is_the_old_or_the_new(
    memory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Each call of each kind once: a full or broken disk can fail any of them."""
    real = getattr(os, call)
    for number in range(1000):
        root = memory / str(number)
        put(root, with_all("1.0.0"))
        left = number

        def fails(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == -1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            failure = error_of(lambda: put(root, with_all("1.1.0")))  # noqa: B023 # called at once
        assert failure is None or failure.endswith("No space left on device")
        assert_consistent(root, {"1.0.0", "1.1.0"})
        if failure and history(root).current == "1.0.0":
            assert_current(root, "1.0.0")
        put(root, with_all("1.1.0"))
        assert_current(root, "1.1.0")
        if left >= 0:
            assert number > 0
            return
    pytest.fail("there is no end")


@pytest.mark.parametrize("directory", [".", "releases"])
def test_a_directory_that_may_not_be_written_is_named_and_the_old_release_stays(root: Path, directory: str) -> None:
    put(root, "1.0.0")
    if os.getuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    (root / directory).chmod(0o555)
    reachable(root)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            put(root, "1.1.0")
        except RbootError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    text = os.read(read, 1000).decode()
    (root / directory).chmod(0o755)
    assert text.startswith(f"{root / directory}".removesuffix("/."))
    assert text.endswith(": Permission denied")
    assert_current(root, "1.0.0")


def test_a_file_where_a_directory_should_be_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    for place in (tmp_path / "file", tmp_path / "file" / "www"):
        with pytest.raises(WebRootError, match="not a directory, or a file is in its path"):
            put(place, "1.0.0")
    root.mkdir(parents=True)
    (root / "releases").write_bytes(b"mine")
    assert refusal(root) == f"{root}/releases: not a directory, or a file is in its path"
    (root / "releases").unlink()
    put(root, "1.0.0")
    (root / "releases/1.1.0").write_bytes(b"mine")
    assert refusal(root) == f"{root}/releases/1.1.0: not a directory; move it away"


@pytest.mark.parametrize("name", ["rom1.bin", "manifest.json", "version", "index.html"])
def test_a_directory_where_a_file_should_be_is_named(root: Path, name: str) -> None:
    put(root, "1.0.0")
    (root / name).unlink()
    (root / name).mkdir()
    assert refusal(root) == f"{root}/{name}: expected a file, got a directory; move it away"


def test_a_web_root_may_be_a_link_and_on_another_file_system(tmp_path: Path, memory: Path) -> None:
    (memory / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(memory / "real")
    put(link, "1.0.0", "1.1.0")
    rollback(link)
    assert link.is_symlink()
    assert_current(memory / "real", "1.0.0")


def test_readers_without_write_access_can_list_and_check(root: Path) -> None:
    put(root, "1.0.0")
    (root / LOCK).unlink()
    assert check_web_root(root) == ()
    assert list(list_releases(root)) == ["blink"]
    assert not (root / LOCK).exists()


def test_readers_wait_for_a_publisher(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "1.0.0")
    monkeypatch.setattr(webroot, "WAIT", 0.1)
    with process(lambda: hold(root / LOCK)):
        assert is_busy(lambda: check_web_root(root))
    with webroot.read_locked(root), webroot.read_locked(root):
        assert is_busy(lambda: put(root, "1.1.0", timeout=0))


def test_prune_frees_space_on_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0", "1.3.0")
    real = storage.write

    def write(path: Path, data: bytes, later_than: Path | None = None) -> None:
        if (root / "releases/1.0.0").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data, later_than)

    monkeypatch.setattr(transaction, "write", write)
    with pytest.raises(WebRootError, match=r"No space left on device$") as full:
        rollback(root)
    assert full.value.hint is Hint.SPACE
    assert_current(root, "1.3.0")
    assert prune(root, 1) == ("1.1.0", "1.0.0")
    assert_current(root, "1.3.0")
    rollback(root)
    assert_current(root, "1.2.0")

"""What cannot be written: one line that says why and names the place, and all that was there before stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.images import loader, rom
from support.project import VECTORS
from support.refusals import LONG, Outcome, outcomes, prepare
from support.releases import make, tree

from rbootimg.errors import WebRootError
from rbootimg.fileio import write_atomic, write_directory, write_output
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.presets import preset_layout
from rbootimg.release import unversioned, webroot

LAYOUT = preset_layout("1MB")

DANGLING = "a dangling symbolic link to nowhere"
LOOP = "a symbolic link loop"
CLOSED = "Permission denied: no write permission for directory closed"
SHUT = "Permission denied: no search permission for directory shut"

PATHS = {
    "file/out": "file is not a directory",
    "file/a/out": "file is not a directory",
    "dangling/out": f"dangling is {DANGLING}",
    "loop": LOOP,
    "loop/out": f"loop is {LOOP}",
    LONG: "File name too long",
    f"{LONG}/out": "File name too long",
    "closed/out": CLOSED,
    "shut/out": SHUT,
    "shut/a/out": SHUT,
    "read-only/out": "Read-only file system",
    "/proc/out": "cannot create a file there",
}
"""Where neither a file nor a directory can be made, and why."""

FILES = {
    **PATHS,
    "no/out": "there is no directory no",
    "directory": "Is a directory",
    "closed/old": CLOSED,
    "read-only/old": "Read-only file system",
    "dangling-deep": "there is no directory {}/nowhere",
    "full/out": "No space left on device",
}

DIRECTORIES = {
    **PATHS,
    "file": "not a directory",
    "directory/old": "not a directory",
    "dangling": DANGLING,
    "dangling-deep": "a dangling symbolic link to nowhere/out",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The places, and beside them what commands read."""
    (tmp_path / "places").mkdir()
    prepare(tmp_path / "places")
    pieces = flash_pieces(LAYOUT, loader(), {0: rom(0, "big")}, make_boot_config(LAYOUT, loader()))
    inputs = {"rboot.bin": loader(), "rom.bin": rom(0, "big"), "flash.bin": assemble(pieces, LAYOUT.size.bytes)}
    for name, data in inputs.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path / "places"


ELF = str(VECTORS / "big.rom0.elf")
FLASH_IMAGE = ["--layout", "1MB", "--loader", "../rboot.bin", "--rom", "../rom.bin"]

WRITES_A_FILE = {
    "pack": ["pack", ELF, "-o"],
    "layout": ["layout", "1MB", "--svg", "-o"],
    "size": ["size", ELF, "--svg"],
    "flash-image": ["flash-image", *FLASH_IMAGE, "-o"],
}

WRITES_A_DIRECTORY = {
    "extract": (["extract", "../rom.bin", "-o"], "irom0.text.bin"),
    "split": (["split", "../flash.bin", "--layout", "1MB", "-o"], "0x000000-loader.bin"),
    "flash-image": (["flash-image", *FLASH_IMAGE, "--pieces"], "0x000000-loader.bin"),
    "flash": (["flash", *FLASH_IMAGE, "--dry-run", "--pieces"], "0x000000-loader.bin"),
}


def last_lines(found: list[Outcome]) -> list[str]:
    """What each command said at last, if it failed and nothing changed. flash-image warns before that."""
    assert {(outcome.status, outcome.changed) for outcome in found} == {(1, False)}, found
    assert all(outcome.error.count("\n") - outcome.error.count("warning: ") == 1 for outcome in found)
    return [outcome.error.splitlines()[-1] for outcome in found]


@pytest.mark.parametrize("name", WRITES_A_FILE)
def test_a_file_that_cannot_be_written_is_named_with_the_reason(directory: Path, name: str) -> None:
    found = outcomes(directory, [[*WRITES_A_FILE[name], path] for path in FILES])
    assert last_lines(found) == [f"rbootimg: {path}: {reason.format(directory)}" for path, reason in FILES.items()]


@pytest.mark.parametrize("name", WRITES_A_DIRECTORY)
def test_a_directory_that_cannot_be_filled_is_named_with_the_reason(directory: Path, name: str) -> None:
    command, file = WRITES_A_DIRECTORY[name]
    full = {f"{path}/{file}": "No space left on device" for path in ("full", "full/out")}
    paths = [*DIRECTORIES, "full", "full/out"]
    found = outcomes(directory, [[*command, path] for path in paths])
    assert last_lines(found) == [f"rbootimg: {path}: {reason}" for path, reason in {**DIRECTORIES, **full}.items()]


def test_esptool2_says_it_in_its_words(directory: Path) -> None:
    command = ["esptool2", "-quiet", "-lib", ELF]
    found = outcomes(directory, [[*command, path] for path in FILES])
    assert [(outcome.error, outcome.changed) for outcome in found] == [
        (f"Error: Failed to open output file '{path}' for writing: {reason.format(directory)}.\n", False)
        for path, reason in FILES.items()
    ]


def test_without_room_for_temporary_files_their_directory_is_named(directory: Path) -> None:
    commands = [["flash", *FLASH_IMAGE, "--port", "/dev/none"], ["boot", "../flash.bin"]]
    found = outcomes(directory, commands, TMPDIR=str(directory / "small"))
    hint = "set $TMPDIR to another temporary directory"
    assert last_lines(found) == [f"rbootimg: {directory}/small: No space left on device; {hint}"] * 2


# Web roots

PUBLISH = ["publish", "../rom.bin", "--app", "blink", "--layout", "1MB", "--version", "1.0.0", "--web-root"]
NOT_A_DIRECTORY = "not a directory, or a file is in its path"
WEB_ROOTS = {
    "file": NOT_A_DIRECTORY,
    "file/www": NOT_A_DIRECTORY,
    "loop": LOOP,
    "loop/www": f"loop is {LOOP}",
    LONG: "File name too long",
    "closed": "Permission denied",
    "closed/www": "Permission denied",
    "shut/www": "Permission denied",
    "read-only": "Read-only file system",
    "read-only/www": "Read-only file system",
    "/proc/www": "cannot create a directory there",
}


def test_a_web_root_that_cannot_be_written_is_named_with_the_reason(directory: Path) -> None:
    found = outcomes(directory, [[*PUBLISH, path] for path in WEB_ROOTS])
    assert last_lines(found) == [f"rbootimg: {path}: {reason.format(directory)}" for path, reason in WEB_ROOTS.items()]


def test_a_web_root_without_room_names_the_file_of_the_release(directory: Path) -> None:
    (found,) = outcomes(directory, [[*PUBLISH, "full/www"]])
    assert found.error == (
        "rbootimg: full/www/releases/1.0.0/rom0.bin: No space left on device; free space with `rbootimg prune`\n"
    )


@pytest.mark.parametrize("command", ["rollback", "check", "releases", "prune --keep 1"])
def test_a_web_root_that_leads_back_to_itself_is_refused(directory: Path, command: str) -> None:
    found = outcomes(directory, [[*command.split(), "--web-root", path] for path in ("loop", "loop/www")])
    assert last_lines(found) == [f"rbootimg: loop: {LOOP}", f"rbootimg: loop/www: loop is {LOOP}"]


def test_a_web_root_that_may_not_be_written_keeps_its_release(directory: Path) -> None:
    root = directory / "www"
    webroot.publish(root, [make("1.0.0"), make("1.0.0", "clock")])
    webroot.publish(root, [make("1.1.0"), make("1.1.0", "clock")])
    (root / "blink/releases").chmod(0o555)
    publish_next = ["publish", "../rom.bin", "--app", "blink", "--layout", "1MB", "--version", "2.0.0", "--force"]
    commands = [publish_next, ["rollback", "--app", "blink"]]
    found = outcomes(directory, [[*command, "--web-root", "www"] for command in commands])
    assert last_lines(found) == [
        "rbootimg: www/blink/releases: Permission denied",
        "rbootimg: www/blink/releases/history.json: Permission denied",
    ]


def test_whether_there_are_releases_names_the_web_root_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "www").symlink_to("loop")
    assert not webroot.has_releases(tmp_path / "www")
    with pytest.raises(WebRootError) as refused:
        webroot.has_releases(tmp_path / LONG)
    assert str(refused.value) == f"{tmp_path / LONG}: File name too long"


@pytest.mark.parametrize("place", ["releases", "releases/history.json", "rom0.bin", "blink"])
def test_a_dangling_link_in_a_web_root_is_told_as_that_or_replaced(tmp_path: Path, place: str) -> None:
    root = tmp_path / "www"
    path = root / place
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")

    def publish_it() -> None:
        webroot.publish(root, [make("1.0.0")], in_directories=place == "blink")

    if place in ("releases", "blink"):
        with pytest.raises(WebRootError) as refused:
            publish_it()
        assert str(refused.value) == f"{path}: {DANGLING}"
        assert os.readlink(path) == "nowhere"
    else:
        publish_it()
        assert not path.is_symlink()
    assert not (path.parent / "nowhere").exists()


def test_bare_roms_name_what_is_in_their_way(directory: Path) -> None:
    for path, (subject, reason) in {
        "file": ("file", "not a directory"),
        "file/www": ("file", "not a directory"),
        "dangling": ("dangling", DANGLING),
        "loop": ("loop", LOOP),
        "loop/www": ("loop/www", f"{directory}/loop is {LOOP}"),
        "/proc/www": ("/proc/www", "cannot create a directory there"),
    }.items():
        with pytest.raises(WebRootError) as refused:
            unversioned.publish_files({"rom0.bin": b"new"}, directory / path)
        assert str(refused.value) == f"{directory / subject}: cannot write the web root: {reason}"


def test_a_prune_that_cannot_write_the_history_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "www"
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        webroot.publish(root, [make(version)])
    before = tree(root)
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if target.name == "history.json":
            raise PermissionError(1, "Operation not permitted", str(source), None, str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(WebRootError) as refused:
        webroot.prune(root, 1)
    assert str(refused.value) == f"{root}/releases/history.json: Operation not permitted"
    assert tree(root) == before


# Several files


def test_of_several_files_all_are_as_before_if_one_cannot_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").symlink_to("nowhere")
    (tmp_path / "a").chmod(0o604)
    before = (tmp_path / "a").lstat()
    with pytest.raises(IsADirectoryError) as refused:
        write_directory(tmp_path, {"a": b"new", "b": b"new", "new": b"new", "c": b"new", "d": b"new"})
    assert refused.value.filename == str(tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]
    assert os.path.samestat((tmp_path / "a").lstat(), before)
    assert ((tmp_path / "a").read_bytes(), before.st_mode & 0o777) == (b"old", 0o604)
    assert os.readlink(tmp_path / "b") == "nowhere"


def test_where_files_have_no_links_what_was_replaced_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(IsADirectoryError):
        write_directory(tmp_path, {"a": b"new", "b": b"new"})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_link_is_written_through_to_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    assert write_output(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_loop_of_links_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=LOOP):
        write_output(tmp_path / "loop", b"new")
    assert os.readlink(tmp_path / "loop") == "loop"
    write_atomic(tmp_path / "loop", b"new")  # which is told to
    assert (tmp_path / "loop").read_bytes() == b"new"

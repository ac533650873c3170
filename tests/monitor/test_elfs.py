"""The ELF of the running ROM: by the ROM's digest, by the version that it printed, by its slot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import chip, crashes

from rbootimg.errors import SettingError
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.monitor.decoder import LogReport, decode_log
from rbootimg.monitor.elfs import ElfFinder, KnownElf, Origin, Running, known_elfs
from rbootimg.release import webroot
from rbootimg.release.bundle import ReleaseOptions, make_bundle
from rbootimg.release.elfarchive import BuiltRom, archive_directory, archived_elfs, store_elfs
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.pack import pack
from rbootimg.serve.responses import answer

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

LAYOUT = crashes.LAYOUT
WEB_ROOT, ARCHIVE = Path("webroot"), Path(".webroot-elfs")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def elfs(value: int) -> list[bytes]:
    return [crashes.elf(slot, value=value) for slot in (0, 1)]


def roms(value: int) -> list[bytes]:
    return [pack(parse_elf(elf)).to_bytes() for elf in elfs(value)]


def publish(version: str, value: int, *, archive: bool = True, public: bool = False, force: bool = False) -> None:
    options = ReleaseOptions(elfs=elfs(value) if public else ())
    webroot.publish(WEB_ROOT, [make_bundle("sensor", version, roms(value), LAYOUT, options)], force=force)
    if archive:
        pairs = zip(roms(value), elfs(value))
        store_elfs(ARCHIVE, "sensor", version, [BuiltRom(f"rom{at}", *pair) for at, pair in enumerate(pairs)])


def flash(value: int) -> bytes:
    loader = chip.loader(LAYOUT.loader)
    pieces = flash_pieces(LAYOUT, loader, dict(enumerate(roms(value))), make_boot_config(LAYOUT, loader))
    return assemble(pieces, LAYOUT.size.bytes)


def report(log: str, *given: KnownElf, flash: bytes | None = None) -> LogReport:
    finder = ElfFinder([*given, *known_elfs(WEB_ROOT, ARCHIVE)], flash, searched="webroot")
    [found] = [each for each in decode_log(log.splitlines(), finder) if isinstance(each, LogReport)]
    return found


def crash(rom: int, value: int, line: str = "") -> str:
    pc = crashes.address(crashes.elf(rom, value=value), "record") + 4
    return f"{crashes.boot_log(rom)}{line}\n{crashes.exception(pc)}"


def content(found: LogReport) -> bytes:
    assert found.elf
    return found.elf.path.read_bytes()


def test_the_printed_version_selects_the_archived_elf_of_its_release() -> None:
    publish("1.1.0", 11)
    publish("1.2.0", 12)
    found = report(crash(1, 11, "sensor 1.1.0"))
    assert content(found) == crashes.elf(1, value=11)
    assert found.remarks == ()
    assert found.elf
    assert (found.elf.origin, found.elf.app, found.elf.version, found.elf.slot) == (
        Origin.ARCHIVE,
        "sensor",
        "1.1.0",
        1,
    )


def test_without_a_version_it_is_said_that_the_current_release_is_assumed() -> None:
    publish("1.1.0", 11)
    publish("1.2.0", 12)
    webroot.rollback(WEB_ROOT)
    found = report(crash(0, 11))
    assert content(found) == crashes.elf(0, value=11)
    assert found.remarks == ("assuming the current release 1.1.0: the UART shows no version of the application",)


def test_a_version_without_an_elf_is_reported_and_no_other_one_is_used() -> None:
    publish("1.2.0", 12)
    found = report(crash(0, 12, "sensor 1.0.0"))
    assert found.elf is None
    assert found.remarks == ("no ELF of sensor 1.0.0, ROM 0; searched webroot",)
    assert [frame.places for frame in found.frames] == [()]


def test_published_elfs_are_found_without_an_archive() -> None:
    publish("1.2.0", 12, archive=False, public=True)
    found = report(crash(1, 12, "version 1.2.0, ROM 1"))
    assert found.elf
    assert found.elf.path == WEB_ROOT / "releases/1.2.0/rom1.elf"
    assert found.elf.is_current


def test_in_a_web_root_of_several_applications_too() -> None:
    for app in ("sensor", "clock"):
        bundle = make_bundle(app, "1.2.0", roms(12), LAYOUT, ReleaseOptions(elfs=elfs(12)))
        webroot.publish(WEB_ROOT, [bundle], in_directories=True)
    paths = {each.path for each in known_elfs(WEB_ROOT, None)}
    assert paths == {WEB_ROOT / f"{app}/releases/1.2.0/rom{at}.elf" for app in ("sensor", "clock") for at in (0, 1)}
    assert all(path.is_file() for path in paths)
    assert {each.app for each in known_elfs(WEB_ROOT, None, "clock")} == {"clock"}
    assert "several applications are published; select one with --app NAME" in report(crash(0, 12)).remarks
    assert report(crash(0, 12, "clock 1.2.0")).remarks == ()


def test_of_a_version_that_was_replaced_the_published_build_is_used() -> None:
    publish("1.2.0", 12)
    publish("1.2.0", 13, force=True)
    os.utime(next(ARCHIVE.glob("*/*/rom0*")), (2**31, 2**31))
    found = report(crash(0, 13, "sensor 1.2.0"))
    assert content(found) == crashes.elf(0, value=13)


def test_the_flash_says_which_build_it_is_whatever_the_release() -> None:
    publish("1.1.0", 11)
    publish("1.2.0", 12)
    found = report(crash(0, 11), flash=flash(11))
    assert content(found) == crashes.elf(0, value=11)
    assert found.remarks == ()


def test_a_given_elf_is_compared_with_the_rom_in_the_flash(directory: Path) -> None:
    for value in (11, 12):
        Path(f"{value}.elf").write_bytes(crashes.elf(0, value=value))
    given = [KnownElf(Path("11.elf")), KnownElf(Path("12.elf"))]
    assert content(report(crash(0, 12), *given, flash=flash(12))) == crashes.elf(0, value=12)
    other = report(crash(0, 12), given[0], flash=flash(12))
    assert "no ELF matches the ROM in the flash image" in other.remarks[0]


def test_after_an_update_the_printed_version_counts_and_not_an_old_flash_image() -> None:
    publish("1.1.0", 11)
    publish("1.2.0", 12)
    assert content(report(crash(0, 12, "sensor 1.2.0"), flash=flash(11))) == crashes.elf(0, value=12)


def test_given_elfs_are_selected_by_their_link_address(directory: Path) -> None:
    for slot in (0, 1):
        Path(f"{slot}.elf").write_bytes(crashes.elf(slot))
    finder = ElfFinder([KnownElf(Path("0.elf")), KnownElf(Path("1.elf"))])
    for slot in (0, 1):
        found = finder.find(Running(slot, LAYOUT.slots[slot].address))
        assert found.elf
        assert found.elf.path == Path(f"{slot}.elf")


def test_an_unreadable_elf_is_reported(directory: Path) -> None:
    Path("rom0.elf").write_bytes(b"\x7fELF")
    found = report(crash(0, 12), KnownElf(Path("rom0.elf")))
    assert found.elf is None
    assert "rom0.elf: corrupt or truncated ELF" in found.remarks[0]


# The archive


def test_the_archive_is_beside_the_web_root_and_only_its_owner_can_read_it() -> None:
    publish("1.2.0", 12)
    assert archive_directory("", WEB_ROOT) == ARCHIVE
    assert ARCHIVE.stat().st_mode & 0o777 == 0o700
    assert [(each.app, each.version, each.slot) for each in archived_elfs(ARCHIVE)] == [
        ("sensor", "1.2.0", 0),
        ("sensor", "1.2.0", 1),
    ]


def test_a_server_of_the_directory_above_does_not_serve_the_archive(directory: Path) -> None:
    publish("1.2.0", 12)
    [path, _] = ARCHIVE.glob("sensor/1.2.0/*.elf")
    assert answer(directory, "GET", str(path), {}).status == 404
    assert answer(directory, "GET", "webroot/rom0.bin", {}).status == 200


def test_an_existing_archive_keeps_its_mode() -> None:
    ARCHIVE.mkdir()
    ARCHIVE.chmod(0o750)
    publish("1.2.0", 12)
    assert ARCHIVE.stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("name", ["webroot", "webroot/elfs", "link/elfs"])
def test_an_archive_in_the_web_root_is_refused(name: str) -> None:
    WEB_ROOT.mkdir()
    Path("link").symlink_to("webroot")
    with pytest.raises(SettingError, match="is in the web root, which is public"):
        archive_directory(name, WEB_ROOT)


def test_there_may_be_no_archive() -> None:
    assert archive_directory("none", WEB_ROOT) is None
    assert archived_elfs(Path("missing")) == ()


def test_other_files_in_the_archive_are_ignored() -> None:
    publish("1.2.0", 12)
    Path(ARCHIVE, "sensor", "1.2.0", "notes.elf").write_text("mine")
    Path(ARCHIVE, "README").write_text("mine")
    assert len(archived_elfs(ARCHIVE)) == 2


def test_a_rom_without_a_version_and_a_recovery_rom_are_kept_too() -> None:
    store_elfs(ARCHIVE, "sensor", "", [BuiltRom("recovery", roms(12)[1], elfs(12)[1])])
    [found] = archived_elfs(ARCHIVE)
    assert (found.version, found.slot) == ("", None)
    assert found.path.parent == ARCHIVE / "sensor" / "unversioned"

"""A release: what its manifest says, which ROMs may be in one, and the history of those that were current."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from support.images import elf, rom, silent_rom
from support.releases import LAYOUT, THREE, make, with_recovery
from support.strategies import releases

from rbootimg.errors import ManifestError, PublishError, SettingError, VersionError
from rbootimg.fileio import sha256_hex
from rbootimg.layout import presets, tomlfile
from rbootimg.layout.model import FlashLayout
from rbootimg.layout.params import FlashParams
from rbootimg.release import datafiles
from rbootimg.release.bundle import RecoveryRom, ReleaseOptions, make_bundle
from rbootimg.release.history import History
from rbootimg.release.manifest import Release
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.pack import pack


@given(releases())
def test_a_manifest_gives_the_release_again(release: Release) -> None:
    assert Release.from_json(release.to_json()) == release


def test_the_manifest_is_the_documented_one() -> None:
    roms = [rom(0), rom(1)]
    elfs = [elf(0), elf(1)]
    options = ReleaseOptions(device="board-b", elfs=elfs, proved_by="rBoot 1.4.2")
    found = make_bundle("blink", "1.2.0", roms, LAYOUT, options)
    manifest = json.loads(found.release.to_json())
    flash = manifest.pop("flash")
    assert manifest == {
        "schema": 1,
        "app": "blink",
        "version": "1.2.0",
        "device": "board-b",
        "date": None,
        "roms": [
            {
                "slot": slot,
                "path": f"releases/1.2.0/rom{slot}.bin",
                "size": len(roms[slot]),
                "sha256": sha256_hex(roms[slot]),
                "flash_address": address,
                "slot_size": size,
                "link_address": link,
                "checksum": "ram",
                "proved_by": "rBoot 1.4.2",
                "elf": {
                    "path": f"releases/1.2.0/rom{slot}.elf",
                    "size": len(elfs[slot]),
                    "sha256": sha256_hex(elfs[slot]),
                },
            }
            for slot, address, size, link in ((0, 0x2000, 0x80000, 0x40202010), (1, 0x82000, 0x79000, 0x40282010))
        ],
    }
    assert flash["size"] == 0x100000
    assert flash["parts"][:3] == [
        {"kind": "loader", "name": "loader", "address": 0, "size": 0x1000},
        {"kind": "config", "name": "rBoot config", "address": 0x1000, "size": 0x1000},
        {"kind": "slot", "name": "slot 0", "address": 0x2000, "size": 0x80000},
    ]
    assert found.contents == {"rom0.bin": roms[0], "rom0.elf": elfs[0], "rom1.bin": roms[1], "rom1.elf": elfs[1]}


def test_a_manifest_may_have_keys_that_came_later() -> None:
    release = make("1.0.0").release
    values = json.loads(release.to_json())
    values["roms"][0]["later"] = values["later"] = 1
    assert Release.from_json(json.dumps(values).encode()) == release


def test_data_files_are_in_the_manifest_by_name() -> None:
    files = {"ui.html": b"<p>", "ca.der": b"\x30"}
    found = make_bundle("blink", "1.2.0", [rom(0), rom(1)], LAYOUT, ReleaseOptions(data_files=files))
    assert json.loads(found.release.to_json())["files"] == [
        {"name": name, "path": f"releases/1.2.0/{name}", "size": len(files[name]), "sha256": sha256_hex(files[name])}
        for name in ("ca.der", "ui.html")
    ]
    assert found.contents == {"rom0.bin": rom(0), "rom1.bin": rom(1), **files}
    options = ReleaseOptions(data_files=dict(reversed(files.items())))
    assert make_bundle("blink", "1.2.0", [rom(0), rom(1)], LAYOUT, options) == found


def test_a_release_without_data_files_has_the_manifest_it_always_had() -> None:
    release = make("1.0.0").release
    assert b'"files"' not in release.to_json()
    assert Release.from_json(release.to_json()).data_files == ()


def test_a_recovery_rom_is_another_application_in_a_slot_of_its_own() -> None:
    recovery = rom(1, "tiny")
    options = ReleaseOptions(proved_by="rBoot 1.4.2", recovery=RecoveryRom(1, recovery, "mine"))
    found = make_bundle("blink", "1.2.0", [rom(0)], LAYOUT, options)
    manifest = json.loads(found.release.to_json())
    assert manifest["recovery"] == {
        "slot": 1,
        "path": "releases/1.2.0/recovery.bin",
        "size": len(recovery),
        "sha256": sha256_hex(recovery),
        "flash_address": 0x82000,
        "slot_size": 0x79000,
        "link_address": 0x40282010,
        "checksum": "ram",
        "proved_by": "mine",
    }
    assert [entry["slot"] for entry in manifest["roms"]] == [0]
    assert found.contents == {"rom0.bin": rom(0), "recovery.bin": recovery}
    assert b"recovery" not in make("1.0.0").release.to_json()
    options = ReleaseOptions(recovery=RecoveryRom(2, silent_rom()))
    three = make_bundle("blink", "1.2.0", [rom(0), rom(1)], THREE, options)
    assert three.release.recovery.proved_by is None


@pytest.mark.parametrize(
    ("slot", "data", "flash", "message"),
    [
        (2, b"x" * 99, THREE, r"recovery\.bin of blink: not published: bad magic of the ROM: found 0x78"),
        (2, silent_rom(0x20000), THREE, r"recovery\.bin of blink: not published: ROM has 131,120 bytes, 48 more"),
        (
            2,
            rom(1),
            THREE,
            r"recovery\.bin of blink: not published: linked at 0x40282010 \(slot at 0x82000\), expected 0x402c2010 for "
            r"slot 2 at 0xc2000$",
        ),
        (0, silent_rom(), THREE, "invalid slot 0 of the recovery ROM: expected 2, unused by blink"),
        (3, silent_rom(), THREE, "invalid slot 3 of the recovery ROM: expected 2, unused by blink"),
        (
            1,
            silent_rom(),
            presets.preset_layout("four-1MB"),
            "invalid slot 1 of the recovery ROM: expected 2 or 3, unused",
        ),
        (
            1,
            silent_rom(),
            LAYOUT,
            r"blink has a ROM for each of the layout's 2 slots; add a slot to the layout for ",
        ),
    ],
)
def test_a_recovery_rom_that_would_not_run_from_its_slot_makes_no_release(
    slot: int, data: bytes, flash: FlashLayout, message: str
) -> None:
    options = ReleaseOptions(same_build=True, recovery=RecoveryRom(slot, data))
    with pytest.raises(PublishError, match=f"^{message}") as refused:
        make_bundle("blink", "1.0.0", [rom(0), rom(1)], flash, options)
    assert "\n" not in str(refused.value)


def test_a_recovery_rom_is_called_what_the_user_calls_it_and_its_loader_has_a_name() -> None:
    options = ReleaseOptions(recovery=RecoveryRom(1, b""), display_names={"recovery.bin": "old.bin"})
    with pytest.raises(PublishError, match=r"^old\.bin: not published: "):
        make_bundle("blink", "1.0.0", [rom(0)], LAYOUT, options)
    options = ReleaseOptions(recovery=RecoveryRom(1, rom(1, "tiny"), " "))
    with pytest.raises(SettingError, match=r"^invalid loader name ' ': expected one such as 'rBoot 1\.4\.2'$"):
        make_bundle("blink", "1.0.0", [rom(0)], LAYOUT, options)


def test_checksum_files_are_as_sha256sum_writes_them() -> None:
    options = ReleaseOptions(recovery=RecoveryRom(1, rom(1, "tiny")), checksum_files=True)
    found = make_bundle("blink", "1.2.0", [rom(0)], LAYOUT, options)
    assert json.loads(found.release.to_json())["checksum_files"] is True
    assert found.contents == {
        "rom0.bin": rom(0),
        "rom0.bin.sha256": f"{sha256_hex(rom(0))}  rom0.bin\n".encode(),
        "recovery.bin": rom(1, "tiny"),
        "recovery.bin.sha256": f"{sha256_hex(rom(1, 'tiny'))}  recovery.bin\n".encode(),
    }
    assert {file.name: file.sha256 for file in found.release.files} == {
        name: sha256_hex(data) for name, data in found.contents.items()
    }
    assert b"checksum_files" not in make("1.0.0").release.to_json()


INVALID = "expected up to 100 letters, digits, '.', '_' or '-', and a letter, a digit or '_' first"
BAD_NAMES = {
    **dict.fromkeys(
        ("", ".", "..", ".hidden", "-x", "a b", "a/b", "../x", "/x", "a\\b", "a%2e", "a?b", "a#b", "a:b", "a\n", "é"),
        INVALID,
    ),
    **dict.fromkeys(
        ("rom0.bin", "ROM0.BIN", "rom12.elf", "rom1-from-1.0.0.delta", "rom0.bin.sha256", "x.sha256", "recovery.bin"),
        "reserved for another file of a release",
    ),
    "x" * 101: INVALID,
    "update": "reserved for another file of a release",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_data_file_has_a_name_that_is_safe_everywhere_and_no_other_file_of_a_release_has(name: str) -> None:
    message = f"^invalid data file name .*: {BAD_NAMES[name]}$"
    with pytest.raises(PublishError, match=message):
        make("1.0.0", files=((name, b"x"),))
    values = json.loads(make("1.0.0", files=(("ui.html", b"x"),)).release.to_json())
    values["files"][0]["name"] = name
    with pytest.raises(ManifestError, match=f"^manifest: {message[1:]}"):
        Release.from_json(json.dumps(values).encode())


def test_notes_are_in_the_manifest_and_among_the_files() -> None:
    found = make("1.2.0", notes="# Größer\n".encode())
    entry = json.loads(found.release.to_json())["notes"]
    assert entry == {
        "path": "releases/1.2.0/notes.md",
        "size": 11,
        "sha256": sha256_hex("# Größer\n".encode()),
    }
    assert found.contents["notes.md"].decode() == "# Größer\n"
    assert Release.from_json(found.release.to_json()) == found.release
    assert found.release.files[-1] == found.release.notes
    assert "notes" not in json.loads(make("1.2.0").release.to_json())


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (b"", "release notes are empty"),
        (b" \n", "release notes are empty"),
        (b"\xef\xbb\xbf\n", "release notes are empty"),
        (b"Gr\xf6\xdfer", "release notes are not UTF-8: invalid byte at offset 2"),
        (b"x" * 65537, "release notes are too large: expected at most 65,536 bytes, got 65,537"),
    ],
)
def test_invalid_notes_are_refused(notes: bytes, message: str) -> None:
    with pytest.raises(PublishError, match=f"^notes.md of blink: {message}$"):
        make("1.0.0", notes=notes)
    options = ReleaseOptions(notes=notes, display_names={"notes.md": "NEWS"})
    with pytest.raises(PublishError, match=f"^NEWS: {message}$"):
        make_bundle("blink", "1.0.0", [rom(0), rom(1)], LAYOUT, options)
    make("1.0.0", notes=b"x" * 65536)


@pytest.mark.parametrize("name", ["notes.md", "Notes.MD"])
def test_a_release_of_an_earlier_rbootimg_may_have_a_data_file_with_the_name_of_the_notes(name: str) -> None:
    with pytest.raises(PublishError, match=f"invalid data file name '{name}': reserved for another file of a release"):
        make("1.0.0", files=((name, b"x"),))
    values = json.loads(make("1.0.0", files=(("ui.html", b"x"),)).release.to_json())
    values["files"][0]["name"] = name
    release = Release.from_json(json.dumps(values).encode())
    assert [file.name for file in release.data_files] == [name]
    values["notes"] = {key: values["files"][0][key] for key in ("path", "size", "sha256")}
    with pytest.raises(ManifestError, match=r"^manifest: files: notes\.md is the file of the release notes$"):
        Release.from_json(json.dumps(values).encode())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((("ui.html", b"x"), ("UI.html", b"y")), "names 'ui.html' and 'UI.html' differ only in case"),
        ((("ui.html", b""),), "'ui.html' is empty: devices cannot tell it from a failed reply"),
        ((("ui.html", b"12345"),), r"'ui.html' is too large: expected at most 4 bytes \(the largest flash\), got 5"),
    ],
)
def test_a_data_file_of_invalid_name_or_size_is_refused(
    files: tuple[tuple[str, bytes], ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert datafiles.MAX_SIZE == 16 << 20
    monkeypatch.setattr(datafiles, "MAX_SIZE", 4)
    with pytest.raises(PublishError, match=f"^data file {message}$"):
        make("1.0.0", files=files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(recovery=m["roms"][1]), r"manifest: recovery: slot 1 has a ROM of the application"),
        (lambda m: m.update(recovery=[]), r"manifest: invalid 'recovery': expected an object"),
        (lambda m: m.update(recovery={"slot": 2}), r"manifest: recovery: missing 'flash_address': expected a number"),
        (lambda m: m.update(files={}), r"manifest: invalid 'files': expected a list"),
        (lambda m: m.update(notes="x"), r"manifest: invalid 'notes': expected an object"),
        (
            lambda m: m.update(notes={**m["files"][0], "size": 0}),
            r"manifest: notes: invalid size: expected 1 to 65536, ",
        ),
        (lambda m: m.update(notes={**m["files"][0], "size": 65537}), r"manifest: notes: invalid size: .*, got 65537$"),
        (lambda m: m.update(checksum_files=1), r"manifest: invalid 'checksum_files': expected true or false"),
        (lambda m: m.update(files=["x"]), r"manifest: files: not a JSON object"),
        (lambda m: m.update(files=m["files"] * 2), r"manifest: files: duplicate name"),
        (lambda m: m["files"][0].pop("sha256"), r"manifest: files: missing 'sha256': expected a string"),
        (lambda m: m["roms"][0].update(sha256="A" * 64), r"manifest: roms: invalid sha256: expected 64 lower-case"),
        (lambda m: m["roms"][0].pop("path"), r"manifest: roms: missing 'path': expected a string"),
        (
            lambda m: m["files"][0].update(size=2**32),
            r"manifest: files: invalid size: expected 0 to 4294967295, got 4294967296",
        ),
        (lambda m: m.update(schema=2), r"manifest: unknown schema 2: expected 1; update rbootimg"),
        (lambda m: m.pop("schema"), r"manifest: missing 'schema': expected a number"),
        (lambda m: m.update(app="../x"), r"manifest: invalid application name '\.\./x'"),
        (lambda m: m.update(version="../x"), r"manifest: invalid version '\.\./x': expected semver"),
        (
            lambda m: m["roms"][0].update(checksum="rom"),
            r"manifest: roms: invalid checksum 'rom': expected one of ram, ",
        ),
        (lambda m: m["flash"]["parts"][0].update(kind="x"), r"manifest: flash: parts: invalid kind 'x': expected one "),
        (lambda m: m.update(roms={}), r"manifest: invalid 'roms': expected a list"),
        (lambda m: m.update(roms=[1]), r"manifest: roms: not a JSON object"),
        (lambda m: m["roms"].reverse(), r"manifest: roms: ROM 0 is for slot 1: expected slot 0"),
        (lambda m: m["roms"][0].update(size=-1), r"manifest: roms: invalid size: expected 0 to 4294967295, got -1"),
        (lambda m: m["roms"][0].update(size=True), r"manifest: roms: invalid size: expected 0 to 4294967295, got True"),
        (lambda m: m["roms"][0].pop("sha256"), r"manifest: roms: missing 'sha256': expected a string"),
        # What a page could not draw, or not in finite time.
        (
            lambda m: m["flash"].update(size=0),
            r"manifest: flash: invalid size 0: expected a power of two from 256 KB to 16 MB",
        ),
        (
            lambda m: m["flash"].update(size=0x1000001),
            r"manifest: flash: invalid size 16777217: expected a power of two from 256 KB to 16 MB",
        ),
        (
            lambda m: m["flash"].update(size=10**4000),
            r"manifest: flash: invalid size: expected 0 to 4294967295, got above 2\^64",
        ),
        (lambda m: m["flash"]["parts"][1].update(size=0), r"manifest: invalid part at 0x1000 of 0 bytes: expected"),
        (lambda m: m["flash"]["parts"][1].update(address=0xFFF), r"manifest: invalid part at 0xfff of 4,096 bytes"),
        (lambda m: m["flash"]["parts"][-1].update(size=0x10000), r"manifest: invalid part at 0x\w+ of 65,536 bytes"),
        (
            lambda m: m["roms"][1].update(slot_size=0),
            r"manifest: roms: invalid slot_size: expected 1 to 4294967295, got 0",
        ),
        (lambda m: m["roms"][1].update(flash_address=0xFFFFF), r"manifest: slot 1 is outside the flash"),
        (
            lambda m: m["roms"][1].update(size=0x90000),
            r"manifest: ROM has 589,824 bytes, .* more than slot 1 at 0x82000",
        ),
        (lambda m: m.update(device="\ud800"), r"manifest: device: unpaired surrogate in the string"),
        (
            lambda m: m.update(later="x" * (1 << 20)),
            r"manifest: too large: expected at most 1,048,576 bytes, got [\d,]+",
        ),
    ],
)
def test_an_invalid_manifest_is_refused(change: Callable[[dict[str, object]], object], message: str) -> None:
    values = json.loads(make("1.0.0", files=(("ui.html", b"x"),)).release.to_json())
    change(values)
    with pytest.raises(ManifestError, match=f"^{message}"):
        Release.from_json(json.dumps(values).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError, match=r"^manifest: not JSON$"):
        Release.from_json(data)


def test_a_manifest_leads_to_no_other_file() -> None:
    values = json.loads(make("1.0.0").release.to_json())
    values["roms"][0]["path"] = "../../etc/passwd"
    assert Release.from_json(json.dumps(values).encode()).roms[0].file.name == "rom0.bin"
    values = json.loads(with_recovery("1.0.0").release.to_json())
    values["recovery"]["path"] = "../../etc/passwd"
    assert Release.from_json(json.dumps(values).encode()) == with_recovery("1.0.0").release


@pytest.mark.parametrize(
    ("roms", "options", "message"),
    [
        ([], {}, "^blink has 0 ROMs: expected one for each slot$"),
        ([b"x" * 99], {}, r"rom0\.bin of blink: not published: bad magic of the ROM: found 0x78"),
        ([rom(0, irom_checksum=True)], {}, "the ROM may have the other kind of checksum"),
        (
            [silent_rom(0x80000)],
            {},
            "rom0.bin of blink: not published: ROM has 524,336 bytes, 48 more than slot 0 at 0x2000 holds",
        ),
        ([rom(0)] * 3, {}, "blink has 3 ROMs for 2 slots"),
        ([rom(0)], {"elfs": [elf(0)] * 2}, "blink has 2 ELFs for 1 ROM: expected one for each or none"),
        (
            [rom(1), rom(0)],
            {},
            r"rom0\.bin of blink: linked at 0x40282010 \(slot at 0x82000\), expected 0x40202010 for slot 0 at 0x2000; ",
        ),
        ([rom(0), silent_rom()], {}, r"rom1\.bin of blink: not the same application as rom0\.bin of blink; build both"),
        ([rom(0), rom(1)], {"elfs": [b""]}, "blink has 1 ELF for 2 ROMs"),
        ([rom(0)], {"device": " "}, "invalid device class ' ': expected a word such as esp8266"),
        ([rom(0)], {"device": "a\nb"}, "invalid device class"),
        ([rom(0)], {"date": "today"}, "invalid date 'today': expected YYYY-MM-DD"),
        ([rom(0)], {"date": "2026-02-30"}, "invalid date '2026-02-30': expected YYYY-MM-DD"),
        ([rom(0)], {"date": "20261123"}, "invalid date '20261123': expected YYYY-MM-DD"),
    ],
)
def test_roms_and_options_that_are_invalid_are_refused(
    roms: list[bytes], options: dict[str, object], message: str
) -> None:
    with pytest.raises((PublishError, SettingError), match=message):
        make_bundle("blink", "1.0.0", roms, LAYOUT, ReleaseOptions(**options))


SUMMED = tomlfile.parse_layout('preset = "1MB"\n[loader]\nirom_checksum = true\n')


def test_an_elf_goes_with_its_rom_whatever_that_was_packed_with() -> None:
    options = {"sections": [".rodata", ".text"], "params": FlashParams.from_names("dio", "4MB", "80m")}
    roms = [pack(parse_elf(elf(slot)), irom_checksum=True, **options).to_bytes() for slot in (0, 1)]
    found = make_bundle("blink", "1.0.0", roms, SUMMED, ReleaseOptions(elfs=[elf(0), elf(1)]))
    assert [entry.elf.sha256 for entry in found.release.roms if entry.elf] == [sha256_hex(elf(0)), sha256_hex(elf(1))]


MISMATCH = r"rom{0}\.elf of blink: does not match rom{0}\.bin of blink: {1}; pass the ELF of each ROM"


@pytest.mark.parametrize(
    ("elfs", "slot", "clause"),
    [
        ([b"elf 0", elf(1)], 0, "not an ELF file"),
        ([b"", elf(1)], 0, "empty file"),
        ([elf(0), elf(1)[:400]], 1, "corrupt or truncated ELF .*"),
        ([elf(1), elf(0)], 0, "no section starts at 0x40202010, where the ROM has flash code"),
        ([elf(0), elf(0)], 1, "no section starts at 0x40282010, where the ROM has flash code"),
        ([elf(0), elf(1, "tiny")], 1, "contents at 0x40282010 do not match the ROM's flash code"),
    ],
)
def test_an_elf_that_its_rom_was_not_packed_from_makes_no_release(elfs: list[bytes], slot: int, clause: str) -> None:
    with pytest.raises(PublishError, match=f"^{MISMATCH.format(slot, clause)}, in the order of the ROMs$"):
        make_bundle("blink", "1.0.0", [rom(0), rom(1)], LAYOUT, ReleaseOptions(elfs=elfs))


@pytest.mark.parametrize(
    ("roms", "message"),
    [
        ([rom(0), b"x"], r"new\.bin: not published: "),
        ([rom(0), silent_rom(0x80000)], r"new\.bin: not published: ROM has 524,336 bytes, .* more than slot 1"),
        ([rom(0), rom(0)], r"new\.bin: linked at 0x40202010"),
        ([rom(0), silent_rom()], r"new\.bin: not the same application as rom0\.bin of blink"),
        ([rom(0), rom(1)], r"new\.elf: does not match new\.bin: no section starts"),
    ],
)
def test_errors_name_files_as_the_user_does(roms: list[bytes], message: str) -> None:
    options = ReleaseOptions(elfs=[elf(0)] * 2, display_names={"rom1.bin": "new.bin", "rom1.elf": "new.elf"})
    with pytest.raises(PublishError, match=f"^{message}"):
        make_bundle("blink", "1.0.0", roms, LAYOUT, options)


def test_a_release_needs_a_semantic_version() -> None:
    with pytest.raises(VersionError):
        make("1.0")


def test_a_history_goes_forth_and_back() -> None:
    history = History("blink", (), {}).published("1.0.0", "a").published("1.1.0", "b").published("1.2.0", "c")
    assert (history.current, history.previous) == ("1.2.0", "1.1.0")
    back = history.rolled_back("1.1.0")
    assert (back.current, back.previous) == ("1.1.0", "1.0.0")
    assert back.rolled_back("1.0.0").previous is None
    assert back.rolled_back("1.2.0") == history
    assert back.published("1.3.0", "d").previous == "1.1.0"
    assert History.from_json(back.to_json()) == back


def test_pruning_keeps_the_newest_the_current_and_the_previous() -> None:
    history = History("blink", (), {})
    for minor in range(12):
        history = history.published(f"1.{minor}.0", "")
    back = history.rolled_back("1.3.0")
    assert set(back.pruned(2).manifests) == {"1.11.0", "1.10.0", "1.3.0", "1.2.0"}
    assert back.pruned(2).versions == ("1.2.0", "1.3.0")
    assert set(back.pruned(0).manifests) == {"1.3.0", "1.2.0"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"schema": 1, "app": "a", "versions": [], "manifests": {}}',
            "versions: expected at least one, and each with a manifest",
        ),
        ('{"schema": 1, "app": "a", "versions": ["1.0.0"], "manifests": {}}', "versions: expected at least one"),
        (
            '{"schema": 1, "app": "a", "versions": [1], "manifests": {}}',
            "invalid 'versions': expected a list of strings",
        ),
        (
            '{"schema": 1, "app": "a", "versions": ["x"], "manifests": {"x": ""}}',
            "invalid version 'x': expected semver",
        ),
    ],
)
def test_an_invalid_history_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=f"^history: {message}"):
        History.from_json(text.encode())

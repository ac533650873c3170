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
from rbootimg.layout import presets, tomlfile
from rbootimg.layout.model import FlashLayout
from rbootimg.layout.params import FlashParams
from rbootimg.release import datafiles
from rbootimg.release.bundle import Recovery, make_bundle
from rbootimg.release.history import History
from rbootimg.release.manifest import Release, digest
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.pack import pack


@given(releases())
def test_a_manifest_gives_the_release_again(release: Release) -> None:
    assert Release.from_json(release.to_json()) == release


def test_the_manifest_is_the_documented_one() -> None:
    roms = [rom(0), rom(1)]
    elfs = [elf(0), elf(1)]
    found = make_bundle("blink", "1.2.0", roms, LAYOUT, device="board-b", elfs=elfs, proved_by="rBoot 1.4.2")
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
                "sha256": digest(roms[slot]),
                "flash_address": address,
                "slot_size": size,
                "link_address": link,
                "checksum": "ram",
                "proved_by": "rBoot 1.4.2",
                "elf": {
                    "path": f"releases/1.2.0/rom{slot}.elf",
                    "size": len(elfs[slot]),
                    "sha256": digest(elfs[slot]),
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
    found = make_bundle("blink", "1.2.0", [rom(0), rom(1)], LAYOUT, files=files)
    assert json.loads(found.release.to_json())["files"] == [
        {"name": name, "path": f"releases/1.2.0/{name}", "size": len(files[name]), "sha256": digest(files[name])}
        for name in ("ca.der", "ui.html")
    ]
    assert found.contents == {"rom0.bin": rom(0), "rom1.bin": rom(1), **files}
    assert make_bundle("blink", "1.2.0", [rom(0), rom(1)], LAYOUT, files=dict(reversed(files.items()))) == found


def test_a_release_without_data_files_has_the_manifest_it_always_had() -> None:
    release = make("1.0.0").release
    assert b'"files"' not in release.to_json()
    assert Release.from_json(release.to_json()).data_files == ()


def test_a_recovery_rom_is_another_application_in_a_slot_of_its_own() -> None:
    recovery = rom(1, "tiny")
    found = make_bundle(
        "blink", "1.2.0", [rom(0)], LAYOUT, proved_by="rBoot 1.4.2", recovery=Recovery(1, recovery, "mine")
    )
    manifest = json.loads(found.release.to_json())
    assert manifest["recovery"] == {
        "slot": 1,
        "path": "releases/1.2.0/recovery.bin",
        "size": len(recovery),
        "sha256": digest(recovery),
        "flash_address": 0x82000,
        "slot_size": 0x79000,
        "link_address": 0x40282010,
        "checksum": "ram",
        "proved_by": "mine",
    }
    assert [entry["slot"] for entry in manifest["roms"]] == [0]
    assert found.contents == {"rom0.bin": rom(0), "recovery.bin": recovery}
    assert b"recovery" not in make("1.0.0").release.to_json()
    three = make_bundle("blink", "1.2.0", [rom(0), rom(1)], THREE, recovery=Recovery(2, silent_rom()))
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
        (0, silent_rom(), THREE, "invalid slot 0 of the recovery ROM: expected 2, for which blink has no ROM"),
        (3, silent_rom(), THREE, "invalid slot 3 of the recovery ROM: expected 2, for which blink has no ROM"),
        (
            1,
            silent_rom(),
            presets.preset_layout("four-1MB"),
            "invalid slot 1 of the recovery ROM: expected 2 or 3, for which",
        ),
        (
            1,
            silent_rom(),
            LAYOUT,
            r"blink has a ROM for each of the layout's slots \(2\): add a slot to the layout for ",
        ),
    ],
)
def test_a_recovery_rom_that_would_not_run_from_its_slot_makes_no_release(
    slot: int, data: bytes, flash: FlashLayout, message: str
) -> None:
    with pytest.raises(ManifestError, match=f"^{message}") as refused:
        make_bundle("blink", "1.0.0", [rom(0), rom(1)], flash, one_build=True, recovery=Recovery(slot, data))
    assert "\n" not in str(refused.value)


def test_a_recovery_rom_is_called_what_the_user_calls_it_and_its_loader_has_a_name() -> None:
    with pytest.raises(ManifestError, match=r"^old\.bin is not published"):
        make_bundle("blink", "1.0.0", [rom(0)], LAYOUT, recovery=Recovery(1, b""), called={"recovery.bin": "old.bin"})
    with pytest.raises(PublishError, match="' ' is no loader's name"):
        make_bundle("blink", "1.0.0", [rom(0)], LAYOUT, recovery=Recovery(1, rom(1, "tiny"), " "))


def test_checksum_files_are_as_sha256sum_writes_them() -> None:
    found = make_bundle("blink", "1.2.0", [rom(0)], LAYOUT, recovery=Recovery(1, rom(1, "tiny")), checksum_files=True)
    assert json.loads(found.release.to_json())["checksum_files"] is True
    assert found.contents == {
        "rom0.bin": rom(0),
        "rom0.bin.sha256": f"{digest(rom(0))}  rom0.bin\n".encode(),
        "recovery.bin": rom(1, "tiny"),
        "recovery.bin.sha256": f"{digest(rom(1, 'tiny'))}  recovery.bin\n".encode(),
    }
    assert {file.name: file.sha256 for file in found.release.files} == {
        name: digest(data) for name, data in found.contents.items()
    }
    assert b"checksum_files" not in make("1.0.0").release.to_json()


INVALID = "expected up to 100 letters, digits, '.', '_' or '-', beginning with a letter, a digit or '_'"
BAD_NAMES = {
    **dict.fromkeys(
        ("", ".", "..", ".hidden", "-x", "a b", "a/b", "../x", "/x", "a\\b", "a%2e", "a?b", "a#b", "a:b", "a\n", "é"),
        INVALID,
    ),
    **dict.fromkeys(
        ("rom0.bin", "ROM0.BIN", "rom12.elf", "rom1-from-1.0.0.delta", "rom0.bin.sha256", "x.sha256", "recovery.bin"),
        "the name is reserved; choose another",
    ),
    "x" * 101: INVALID,
    "update": "the name is reserved; choose another",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_data_file_has_a_name_that_is_safe_everywhere_and_no_other_file_of_a_release_has(name: str) -> None:
    message = f"^a release cannot carry a file called .*: {BAD_NAMES[name]}$"
    with pytest.raises(PublishError, match=message):
        make("1.0.0", files=((name, b"x"),))
    values = json.loads(make("1.0.0", files=(("ui.html", b"x"),)).release.to_json())
    values["files"][0]["name"] = name
    with pytest.raises(ManifestError, match=f"^the manifest: {message[1:]}"):
        Release.from_json(json.dumps(values).encode())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((("ui.html", b"x"), ("UI.html", b"y")), "both 'ui.html' and 'UI.html': they differ only in case"),
        ((("ui.html", b""),), "'ui.html': it is empty, which devices take for a failed reply"),
        ((("ui.html", b"12345"),), r"'ui.html': it has 5 bytes, more than the largest flash \(4\)"),
    ],
)
def test_what_no_device_could_use_is_no_data_file(
    files: tuple[tuple[str, bytes], ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert datafiles.MAX_SIZE == 16 << 20
    monkeypatch.setattr(datafiles, "MAX_SIZE", 4)
    with pytest.raises(PublishError, match=f"^a release cannot carry {message}$"):
        make("1.0.0", files=files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(recovery=m["roms"][1]), r"the manifest's recovery ROM is for slot 1, which has a ROM al"),
        (lambda m: m.update(recovery=[]), r"the manifest has no object 'recovery'"),
        (lambda m: m.update(recovery={"slot": 2}), r"the manifest: recovery has no number 'flash_address'"),
        (lambda m: m.update(files={}), r"the manifest has no list 'files'"),
        (lambda m: m.update(checksum_files=1), r"the manifest has no true or false 'checksum_files'"),
        (lambda m: m.update(files=["x"]), r"the manifest: files is no object"),
        (lambda m: m.update(files=m["files"] * 2), r"the manifest: files has the same name twice"),
        (lambda m: m["files"][0].pop("sha256"), r"the manifest: files has no text 'sha256'"),
        (lambda m: m["roms"][0].update(sha256="A" * 64), r"the manifest: roms: invalid sha256: expected 64 lower-case"),
        (lambda m: m["roms"][0].pop("path"), r"the manifest: roms has no text 'path'"),
        (lambda m: m["files"][0].update(size=2**32), r"the manifest: files: size does not fit 32 bits"),
        (lambda m: m.update(schema=2), r"the manifest has schema 2, not 1; update rbootimg"),
        (lambda m: m.pop("schema"), r"the manifest has no number 'schema'"),
        (lambda m: m.update(app="../x"), r"an application cannot be called '\.\./x'"),
        (lambda m: m.update(version="../x"), r"the manifest: '\.\./x' is no semantic version"),
        (lambda m: m.update(roms={}), r"the manifest has no list 'roms'"),
        (lambda m: m.update(roms=[1]), r"the manifest: roms is no object"),
        (lambda m: m["roms"].reverse(), r"the manifest's ROM 0 is for slot 1"),
        (lambda m: m["roms"][0].update(size=-1), r"the manifest: roms: size is -1"),
        (lambda m: m["roms"][0].update(size=True), r"the manifest: roms: size is True"),
        (lambda m: m["roms"][0].pop("sha256"), r"the manifest: roms has no text 'sha256'"),
        # What a page could not draw, or not in finite time.
        (lambda m: m["flash"].update(size=0), r"the manifest: flash: size is 0, which no flash has"),
        (lambda m: m["flash"].update(size=0x1000001), r"the manifest: flash: size is 16777217, which no flash has"),
        (lambda m: m["flash"].update(size=10**4000), r"the manifest: flash: size does not fit 32 bits"),
        (lambda m: m["flash"]["parts"][1].update(size=0), r"the manifest: the part at 0x1000 with 0 bytes is not"),
        (lambda m: m["flash"]["parts"][1].update(address=0xFFF), r"the manifest: the part at 0xfff with 4,096 bytes"),
        (lambda m: m["flash"]["parts"][-1].update(size=0x10000), r"the manifest: the part at 0x\w+ with 65,536 bytes"),
        (lambda m: m["roms"][1].update(slot_size=0), r"the manifest: roms: slot_size is 0"),
        (lambda m: m["roms"][1].update(flash_address=0xFFFFF), r"the manifest: slot 1 is not in the flash"),
        (
            lambda m: m["roms"][1].update(size=0x90000),
            r"the manifest: ROM has 589,824 bytes, .* more than slot 1 at 0x82000 holds",
        ),
        (lambda m: m.update(device="\ud800"), r"the manifest: device has half a character"),
        (lambda m: m.update(later="x" * (1 << 20)), r"the manifest has [\d,]+ bytes; expected at most 1,048,576"),
    ],
)
def test_what_is_no_manifest_is_refused(change: Callable[[dict[str, object]], object], message: str) -> None:
    values = json.loads(make("1.0.0", files=(("ui.html", b"x"),)).release.to_json())
    change(values)
    with pytest.raises(ManifestError, match=f"^{message}"):
        Release.from_json(json.dumps(values).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(SettingError, match="the manifest is not JSON"):
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
        ([], {}, "blink has no ROMs"),
        ([b"x" * 99], {}, r"rom0\.bin of blink: not published: bad magic of the ROM: found 0x78"),
        ([rom(0, irom_checksum=True)], {}, "the ROM may have the other kind of checksum"),
        (
            [silent_rom(0x80000)],
            {},
            "rom0.bin of blink: not published: ROM has 524,336 bytes, 48 more than slot 0 at 0x2000 holds",
        ),
        ([rom(0)] * 3, {}, "blink has 3 ROMs for 2 slots"),
        ([rom(0)], {"elfs": [elf(0)] * 2}, "blink has 2 ELFs for 1 ROM; give one for each, or none"),
        (
            [rom(1), rom(0)],
            {},
            r"rom0\.bin of blink: linked at 0x40282010 \(slot at 0x82000\), expected 0x40202010 for slot 0 at 0x2000; ",
        ),
        ([rom(0), silent_rom()], {}, r"rom1\.bin of blink is not the same application as rom0\.bin of blink"),
        ([rom(0), rom(1)], {"elfs": [b""]}, "blink has 1 ELF for 2 ROMs"),
        ([rom(0)], {"device": " "}, "' ' is no device class"),
        ([rom(0)], {"device": "a\nb"}, "is no device class"),
        ([rom(0)], {"date": "today"}, "'today' is no date; write it as 2026-11-23"),
        ([rom(0)], {"date": "2026-02-30"}, "'2026-02-30' is no date; write it as 2026-11-23"),
        ([rom(0)], {"date": "20261123"}, "'20261123' is no date; write it as 2026-11-23"),
    ],
)
def test_what_a_device_could_not_use_makes_no_release(
    roms: list[bytes], options: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        make_bundle("blink", "1.0.0", roms, LAYOUT, **options)


SUMMED = tomlfile.parse_layout('preset = "1MB"\n[loader]\nirom_checksum = true\n')


def test_an_elf_goes_with_its_rom_whatever_that_was_packed_with() -> None:
    options = {"sections": [".rodata", ".text"], "params": FlashParams.from_names("dio", "4MB", "80m")}
    roms = [pack(parse_elf(elf(slot)), irom_checksum=True, **options).to_bytes() for slot in (0, 1)]
    found = make_bundle("blink", "1.0.0", roms, SUMMED, elfs=[elf(0), elf(1)])
    assert [entry.elf.sha256 for entry in found.release.roms if entry.elf] == [digest(elf(0)), digest(elf(1))]


NOT_ITS = r"rom{0}\.elf of blink is not what rom{0}\.bin of blink was packed from: {1}; name the ELF of each ROM"


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
    with pytest.raises(PublishError, match=f"^{NOT_ITS.format(slot, clause)}, in the order of the ROMs$"):
        make_bundle("blink", "1.0.0", [rom(0), rom(1)], LAYOUT, elfs=elfs)


@pytest.mark.parametrize(
    ("roms", "message"),
    [
        ([rom(0), b"x"], r"new\.bin: not published: "),
        ([rom(0), silent_rom(0x80000)], r"new\.bin: not published: ROM has 524,336 bytes, .* more than slot 1"),
        ([rom(0), rom(0)], r"new\.bin: linked at 0x40202010"),
        ([rom(0), silent_rom()], r"new\.bin is not the same application as rom0\.bin of blink"),
        ([rom(0), rom(1)], r"new\.elf is not what new\.bin was packed from: it has nothing"),
    ],
)
def test_errors_call_a_file_what_the_user_calls_it(roms: list[bytes], message: str) -> None:
    with pytest.raises(SettingError, match=f"^{message}"):
        make_bundle(
            "blink", "1.0.0", roms, LAYOUT, elfs=[elf(0)] * 2, called={"rom1.bin": "new.bin", "rom1.elf": "new.elf"}
        )


@pytest.mark.parametrize("app", ["", ".", "..", ".hidden", "a/b", "a\\b", "a\0", "a\n", "releases", "index.html"])
def test_an_application_needs_a_name_that_can_be_a_folders(app: str) -> None:
    with pytest.raises(SettingError, match="cannot be called"):
        make("1.0.0", app)


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
        ('{"schema": 1, "app": "a", "versions": [], "manifests": {}}', "its versions are not those of its manifests"),
        ('{"schema": 1, "app": "a", "versions": ["1.0.0"], "manifests": {}}', "its versions are not those"),
        ('{"schema": 1, "app": "a", "versions": [1], "manifests": {}}', "versions has what is no text"),
        ('{"schema": 1, "app": "a", "versions": ["x"], "manifests": {"x": ""}}', "'x' is no semantic version"),
    ],
)
def test_what_is_no_history_is_refused(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=f"the history: {message}"):
        History.from_json(text.encode())

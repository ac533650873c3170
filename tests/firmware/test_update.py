"""The signed update client on the host, under the sanitizers: what it accepts, what it refuses and why."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from support import ota_host
from support.ota_host import REASONS, reply
from support.update_host import (
    PROD,
    SLOT_SIZES,
    SPARE,
    STRANGER,
    Chip,
    Key,
    build_client,
    new_flash,
    rom,
    server,
    update,
)

from rbootimg.errors import SettingError
from rbootimg.flash.clientheader import client_header
from rbootimg.layout.presets import preset_layout
from rbootimg.release.clientkeys import keys_header
from rbootimg.release.update import is_in_rollout

pytestmark = pytest.mark.needs("gcc")

LOWEST = "0.9.0"

NewChip = Callable[..., Chip]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> NewChip:
    """A device whose client has the keys PROD and SPARE and a floor, unless told otherwise."""
    programs = {}

    def new(*keys: Key, floor: str = LOWEST, layout: str = "", **options: object) -> Chip:
        keys = keys or (PROD, SPARE)
        if (keys, floor, layout) not in programs:
            directory = tmp_path_factory.mktemp("client")
            flags = [f'-DRBOOT_LOWEST_VERSION="{floor}"'] if floor else []
            if layout:
                (directory / "rboot-layout.h").write_text(client_header(preset_layout(layout)))
                flags += ["-DRBOOT_LAYOUT", f"-I{directory}"]
            programs[keys, floor, layout] = build_client(directory, *keys, options=flags)
        return Chip(programs[keys, floor, layout], **options)  # type: ignore[arg-type]

    return new


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> NewChip:
    """A device whose client has no keys."""
    program = build_client(tmp_path_factory.mktemp("unsigned"))
    return lambda **options: Chip(program, **options)


# An update


@pytest.mark.parametrize("has_rtc", [True, False])
def test_a_device_follows_release_after_release(new: NewChip, has_rtc: bool) -> None:
    chip = new(has_rtc=has_rtc)
    for serial, version in enumerate(("1.1.0", "1.2.0", "1.3.0"), 1):
        replies = server(update(version, serial), version)
        slot = 1 - chip.running
        assert chip.check(replies) == "ready"
        assert chip.requests == ["/blink/update", f"/blink/releases/{version}/rom{slot}.bin"]
        assert chip.current == (1 - slot if has_rtc else slot)
        assert (chip.reset().running, chip.version) == (slot, version)
        assert chip.check(replies) == "current"
        assert chip.requests == ["/blink/update"]
        assert chip.current == slot
        assert chip.power_cycle().version == version
    assert chip.run(None, f"serial {PROD.store_number}")[0] == "serial 3"


def test_the_first_word_of_the_rom_is_written_after_all_the_rest(new: NewChip) -> None:
    chip = new()
    assert chip.check(server(update("1.1.0", 1), "1.1.0")) == "ready"
    writes = [line for line in chip.operations if line.startswith(("write 8", "erase 8"))]
    assert writes[-1] == "write 82000 4"


def test_progress_is_of_the_transfer_and_then_of_the_verification(new: NewChip) -> None:
    chip = new()
    assert chip.check(server(update("1.1.0", 1), "1.1.0"), flags="p") == "ready"
    size = len(rom("1.1.0", 1))
    assert f"progress {size} {size}" in chip.lines


def test_while_it_runs_nothing_else_starts_and_in_the_callback_another_can(new: NewChip) -> None:
    chip = new()
    lines = chip.run({}, chip.start(), chip.start(), "check 1.0.0", "reason")
    assert lines[:4] == ["start 1", "start 0", "start 0", "reason 2 another update is running"]


@pytest.mark.parametrize(
    "change",
    [
        {"path": "blink/"},
        {"path": "/blink"},
        {"path": f"/{'a' * 250}/"},
        {"version": "1.0"},
        {"app": "bl\x7fnk"},
    ],
)
def test_what_cannot_be_a_request_does_not_start(new: NewChip, change: dict[str, str]) -> None:
    chip = new()
    assert chip.run({}, chip.start(**change), "reason")[:2] == [
        "start 0",
        "reason 1 invalid argument: request, callback or version",
    ]


def test_the_longest_request_fits(new: NewChip) -> None:
    """Whatever is added after the first check."""
    version = "1.0.0-" + "a" * 57
    offered = "2.0.0-" + "b" * 57
    chip = new()
    for length in range(60, 400):
        path = f"/{'p' * length}/"
        options = {"path": path, "version": version, "port": 54321}
        if "start 0" in chip.run({}, "crashed 3 40201234", chip.start(**options)):  # type: ignore[arg-type]
            break
        replies = {f"{path}update": reply(PROD.sign(update(offered, 1).to_bytes()))}
        chip.check(replies, "crashed 3 40201234", **options)
        assert chip.requests == [f"{path}update", f"{path}releases/{offered}/rom1.bin"]
    assert length > 80


# What is refused


def altered_rom(number: int, **changes: object) -> dict[str, object]:
    roms = list(update("1.1.0", 7).roms)
    roms[number] = replace(roms[number], **changes)  # type: ignore[arg-type]
    return {"roms": tuple(roms)}


GOOD = update("1.1.0", 7)
TEXT = GOOD.to_bytes()
SIGNED = PROD.sign(TEXT)
REFUSED = {
    "unsigned": (TEXT, "UNSIGNED"),
    "signed by a stranger": (STRANGER.sign(TEXT), "UNKNOWN_KEY"),
    "signed by a stranger who says to be prod": (
        PROD.sign(b"other")[: -len(b"other")] + TEXT,
        "BAD_SIGNATURE",
    ),
    "another serial than was signed": (SIGNED.replace(b"serial 7", b"serial 8"), "BAD_SIGNATURE"),
    "a line more": (SIGNED + b"\n", "BAD_SIGNATURE"),
    "truncated": (SIGNED[:-4], "BAD_SIGNATURE"),
    "truncated in the signature": (SIGNED[:100], "NOT_AN_UPDATE"),
    "truncated after the signature": (SIGNED[: -len(TEXT)], "BAD_SIGNATURE"),
    "signed twice": (PROD.sign(SIGNED), "NOT_AN_UPDATE"),
    "no update file": (b"<html>" * 20, "NOT_AN_UPDATE"),
    "empty": (b"", "NOT_AN_UPDATE"),
    "another form": (PROD.sign(TEXT.replace(b"update 1", b"update 2")), "NOT_AN_UPDATE"),
    "a comment with a control character": (SIGNED.replace(b"verify", b"ver\x01fy"), "NOT_AN_UPDATE"),
    "another application": (PROD.sign(replace(GOOD, app="lamp").to_bytes()), "OTHER_APP"),
    "an application whose name begins alike": (PROD.sign(replace(GOOD, app="blink2").to_bytes()), "OTHER_APP"),
    "another device class": (PROD.sign(replace(GOOD, device="sonoff").to_bytes()), "OTHER_DEVICE"),
    "no ROM for the slot": (PROD.sign(replace(GOOD, roms=GOOD.roms[:1]).to_bytes()), "NO_ROM"),
    "an empty ROM": (PROD.sign(replace(GOOD, **altered_rom(1, size=0)).to_bytes()), "NO_ROM"),
    "another slot": (PROD.sign(replace(GOOD, **altered_rom(1, flash_address=0x80000)).to_bytes()), "LAYOUT"),
    "a ROM larger than the slot": (
        PROD.sign(replace(GOOD, **altered_rom(1, size=SLOT_SIZES[1] + 1)).to_bytes()),
        "TOO_BIG",
    ),
    "too large": (PROD.sign(TEXT + b"#" * 4096), "TOO_BIG"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_refused_changes_nothing_and_the_next_good_one_works(new: NewChip, name: str) -> None:
    data, why = REFUSED[name]
    chip = new()
    before = chip.flash
    assert chip.check(server(data, "1.1.0")) == f"failed {why}"
    assert chip.requests == ["/blink/update"]
    assert chip.operations == []
    assert chip.flash == before
    chip.reset().follow(server(GOOD, "1.1.0"))


def test_a_slot_of_another_size_than_the_layout_has_is_refused(new: NewChip) -> None:
    chip = new(layout="1MB")
    data = PROD.sign(replace(GOOD, **altered_rom(1, slot_size=0x70000)).to_bytes())
    assert chip.check(server(data, "1.1.0")) == "failed LAYOUT"
    chip.follow(server(GOOD, "1.1.0"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 404 No\r\n\r\n", "STATUS"),
        (b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "REDIRECT"),
        (reply(SIGNED, len(SIGNED) + 1), "TRUNCATED"),
        (reply(SIGNED, len(SIGNED) - 1), "EXCESS_DATA"),
        (reply(SIGNED, more="Content-Encoding: gzip\r\n"), "BAD_ENCODING"),
    ],
)
def test_a_reply_that_is_refused(new: NewChip, answer: bytes, why: str) -> None:
    chip = new()
    assert chip.check({"/blink/update": answer}) == f"failed {why}"
    assert chip.operations == []


def test_every_single_byte_of_a_signed_file_counts_but_for_its_comment(new: NewChip) -> None:
    comment = range(len(b"untrusted comment: "), SIGNED.index(b"\n"))
    chip = new()
    before = chip.flash
    replies, commands = {}, []
    for at in set(range(len(SIGNED))) - set(comment):
        for mask in (1, 0x20, 0x80):
            path = f"/{at}-{mask}/"
            replies[f"{path}update"] = reply(SIGNED[:at] + bytes([SIGNED[at] ^ mask]) + SIGNED[at + 1 :])
            commands.append((path, chip.start(path=path)))
    for start in range(0, len(commands), 8):  # as many replies as the harness has
        part = commands[start : start + 8]
        lines = chip.run(
            {f"{path}update": replies[f"{path}update"] for path, _ in part},
            *(line for _, command in part for line in (command, "run")),
        )
        results = [line.split() for line in lines if line.startswith("result")]
        assert len(results) == len(part)
        reasons = {REASONS[int(words[2])] for words in results}
        assert reasons <= {"NOT_AN_UPDATE", "UNKNOWN_KEY", "BAD_SIGNATURE"}
    assert chip.flash == before


@pytest.mark.parametrize("at", range(19, 40, 7))
def test_the_comment_decides_nothing(new: NewChip, at: int) -> None:
    changed = SIGNED[:at] + b"?" + SIGNED[at + 1 :]
    assert new().check(server(changed, "1.1.0")) == "ready"


# The ROM


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply(rom("1.0.5", 1)), "DIGEST"),  # of another release
        (reply(rom("1.1.0", 1)[:-1] + b"!"), "DIGEST"),
        (reply(rom("1.1.0", 1) + b"!"), "DIGEST"),
        (reply(rom("1.1.0", 1)[:-1]), "DIGEST"),
        (reply(rom("1.1.0", 0)), "WRONG_SLOT"),
        (reply(rom("1.1.0", 1), len(rom("1.1.0", 1)) + 1), "DIGEST"),
        (reply(rom("1.1.0", 1)[:200], len(rom("1.1.0", 1))), "TRUNCATED"),
        (b"HTTP/1.1 404 No\r\n\r\n", "STATUS"),
    ],
)
def test_a_rom_that_is_not_the_announced_one_never_becomes_bootable(new: NewChip, answer: bytes, why: str) -> None:
    chip = new()
    good = server(GOOD, "1.1.0")
    assert chip.check({**good, "/blink/releases/1.1.0/rom1.bin": answer}) == f"failed {why}"
    assert chip.flash[0x82000:0x82004] == b"\xff" * 4
    assert chip.reset().version == "1.0.0"
    chip.follow(good)


def test_a_rom_of_another_size_is_refused_before_anything_is_erased(new: NewChip) -> None:
    chip = new()
    replies = {**server(GOOD), "/blink/releases/1.1.0/rom1.bin": reply(b"\xea\x04" + bytes(100))}
    assert chip.check(replies) == "failed DIGEST"
    assert chip.operations == []


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_write_that_fails_ends_the_update(new: NewChip, number: int) -> None:
    chip = new()
    assert chip.check(server(GOOD, "1.1.0"), f"fail {number}") == "failed FLASH"
    assert chip.reset().version == "1.0.0"
    chip.follow(server(GOOD, "1.1.0"))


@pytest.mark.parametrize("number", range(2, 6))  # the operations are: erase, first word, the rest, first word, record
def test_a_bit_that_is_written_wrongly_is_found(new: NewChip, number: int) -> None:
    chip = new()
    replies = server(GOOD, "1.1.0")
    result = chip.check(replies, f"flip {number}")
    if result != "ready":
        assert result in ("failed DIGEST", "failed FLASH", "failed BAD_ROM")
        assert chip.flash[0x82000:0x82004] != rom("1.1.0", 1)[:4]
        assert chip.reset().version == "1.0.0"
    chip.reset()
    chip.power_cycle().follow(replies)


# Which version


@pytest.mark.parametrize(
    ("own", "offered", "withdrawn", "result"),
    [
        ("1.0.0", "1.0.0", (), "current"),
        ("1.0.0", "0.9.9", (), "current"),
        ("1.0.0", "0.9.9", ("1.0.1",), "current"),
        ("1.0.0", "0.9.9", ("1.0.0",), "ready"),
        ("1.0.0", "0.9.0", ("1.0.0",), "ready"),
        ("1.0.0", "0.8.9", ("1.0.0",), "failed LOWEST_VERSION"),
        ("1.0.0", "1.0.1", ("1.0.0",), "ready"),
        ("1.0.0", "1.0.0-rc.1", (), "current"),
        ("1.0.0-rc.1", "1.0.0", (), "ready"),
        ("0.7.0", "0.8.0", (), "failed LOWEST_VERSION"),
    ],
)
def test_which_version_is_installed(
    new: NewChip, own: str, offered: str, withdrawn: tuple[str, ...], result: str
) -> None:
    chip = new(flash=new_flash(own))
    assert chip.check(server(update(offered, 3, withdrawn=withdrawn), offered)) == result


def test_without_a_floor_any_version_can_come_back(new: NewChip) -> None:
    assert new(floor="").check(server(update("0.0.1", 3, withdrawn=("1.0.0",)), "0.0.1")) == "ready"


def test_a_floor_that_is_no_version_lets_nothing_pass(new: NewChip) -> None:
    assert new(floor="1.0").check(server(GOOD, "1.1.0")) == "failed LOWEST_VERSION"


# Rollback


def test_a_rollback_is_followed_without_a_download(new: NewChip) -> None:
    chip = new()
    chip.follow(server(update("1.1.0", 1), "1.1.0"))
    rollback = server(update("1.0.0", 2, withdrawn=("1.1.0",)))
    assert chip.check(rollback) == "ready"
    assert chip.requests == ["/blink/update"]
    assert all(line.startswith("write 1f") for line in chip.operations)
    assert chip.reset().version == "1.0.0"
    assert chip.check(rollback) == "current"
    assert chip.power_cycle().version == "1.0.0"
    again = server(update("1.1.0", 3))  # published again, and still in the slot
    chip.follow(again)
    assert chip.version == "1.1.0"


def test_a_rom_in_the_slot_that_has_changed_is_fetched_again(new: NewChip) -> None:
    chip = new()
    chip.follow(server(update("1.1.0", 1), "1.1.0"))
    chip.flash = chip.flash[:0x2040] + b"\0" + chip.flash[0x2041:]
    assert chip.check(server(update("1.0.0", 2, withdrawn=("1.1.0",)), "1.0.0")) == "ready"
    assert chip.requests[1:] == ["/blink/releases/1.0.0/rom0.bin"]


# Rollout


def test_the_rollout_is_that_of_python(unsigned: NewChip) -> None:
    chip = unsigned()
    for number in range(12):
        device = f"{number:012x}"
        for rollout in (0, 1, 2500, 5000, 9999, 10_000):
            found = chip.check(server(update("1.1.0", 1, rollout=rollout).to_bytes()), id=device)
            assert (found != "held-back") == is_in_rollout("blink", "1.1.0", device, rollout)


def test_where_a_rollout_begins_and_ends() -> None:
    """Known values, so that neither side can change the function."""
    places = [min(n for n in range(10_001) if is_in_rollout("blink", "1.3.0", id, n)) for id in ("a1b2c3", "")]
    assert places == [7526, 7586]


def test_the_rollout_does_not_hold_back_a_rollback_nor_a_person(new: NewChip) -> None:
    held_back = server(update("1.1.0", 1, rollout=0), "1.1.0")
    assert new().check(held_back) == "held-back"
    assert new().check(held_back, flags="f") == "ready"
    assert new().check(server(update("1.1.0", 1, rollout=0, withdrawn=("1.0.0",)), "1.1.0")) == "ready"


# Trials


def test_a_rom_whose_trial_failed_is_not_tried_again_until_another_is_announced(new: NewChip) -> None:
    chip = new()
    bad = server(update("1.1.0", 1), "1.1.0")
    assert chip.check(bad) == "ready"
    assert chip.reset().check(None, seconds=30) == "failed NO_CONNECTION"
    assert chip.lines[-2] == "restart"
    assert chip.reset().version == "1.0.0"
    for _ in range(2):
        assert chip.check(bad) == "failed FAILED_TRIAL"
        assert chip.requests == ["/blink/update"]
        assert chip.operations == []
        chip.power_cycle()
    assert chip.check(bad, flags="f") == "ready", "a person asks"
    assert chip.requests == ["/blink/update"], "it is in the slot"
    assert chip.reset().check(None, seconds=30) == "failed NO_CONNECTION"
    assert chip.reset().check(bad) == "failed FAILED_TRIAL"
    chip.follow(server(update("1.2.0", 2), "1.2.0"))


def test_a_rom_that_crashes_on_trial_is_tried_twice_at_most(new: NewChip) -> None:
    chip = new()
    bad = server(update("1.1.0", 1), "1.1.0")
    for _ in range(2):
        for _ in range(3):
            assert chip.check(bad) == "ready", "also if it is not restarted yet"
        assert chip.reset().version == "1.1.0"
        assert chip.reset().version == "1.0.0"
    assert chip.check(bad) == "failed FAILED_TRIAL"


def test_a_power_cut_before_the_restart_costs_no_update(new: NewChip) -> None:
    chip = new()
    good = server(update("1.1.0", 1), "1.1.0")
    assert chip.check(good) == "ready"
    assert chip.power_cycle().version == "1.0.0"
    chip.follow(good)
    assert chip.version == "1.1.0"


def test_a_check_between_the_update_and_the_restart_changes_nothing(new: NewChip) -> None:
    chip = new()
    good = server(update("1.1.0", 1), "1.1.0")
    for _ in range(4):
        assert chip.check(good) == "ready"
    chip.reset()
    assert chip.version == "1.1.0"


def test_a_newer_release_replaces_one_that_waits_for_the_restart(new: NewChip) -> None:
    """Found: rBoot stops at a temp ROM that is incomplete, so it must not boot while it is written."""
    chip = new()
    assert chip.check(server(update("1.1.0", 1), "1.1.0")) == "ready"
    broken = {**server(update("1.2.0", 2)), "/blink/releases/1.2.0/rom1.bin": reply(rom("1.2.0", 1)[:200])}
    assert chip.check(broken) == "failed DIGEST"
    broken["/blink/releases/1.2.0/rom1.bin"] = reply(rom("1.2.0", 1)[:200], len(rom("1.2.0", 1)))
    assert chip.check(broken) == "failed TRUNCATED"
    assert chip.reset().version == "1.0.0"
    chip.follow(server(update("1.2.0", 2), "1.2.0"))


def trial(new: NewChip) -> Chip:
    chip = new()
    assert chip.check(server(GOOD, "1.1.0")) == "ready"
    return chip.reset()


def test_a_new_rom_is_permanent_as_soon_as_it_has_verified_a_file(new: NewChip) -> None:
    chip = trial(new)
    assert chip.run({}, "is-trial")[0] == "is-trial 1"
    good, down = server(GOOD), {"/blink/update": b"HTTP/1.1 503 Busy\r\n\r\n"}
    assert chip.check(down, seconds=5) == "failed STATUS"
    assert chip.check(good) == "current"
    assert chip.run({}, "is-trial")[0] == "is-trial 0"
    assert chip.power_cycle().version == "1.1.0"


@pytest.mark.parametrize(("seconds", "limit"), [(0, 300), (40, 40), (65535, 65535)])
def test_a_new_rom_without_a_server_restarts_into_the_old_one_after_the_limit(
    new: NewChip, seconds: int, limit: int
) -> None:
    chip = trial(new)
    assert chip.check(None, seconds=seconds) == "failed NO_CONNECTION"
    attempts = sum(line.startswith("connect ") for line in chip.lines)
    assert attempts == pytest.approx(limit / 10, abs=limit / 200 + 2)  # each begins 10 s after the last one
    assert chip.lines[-2] == "restart"
    assert chip.reset().version == "1.0.0"


@pytest.mark.parametrize("data", [TEXT, STRANGER.sign(TEXT), SIGNED[:-1], PROD.sign(replace(GOOD, app="x").to_bytes())])
def test_a_file_that_is_refused_confirms_nothing(new: NewChip, data: bytes) -> None:
    chip = trial(new)
    assert chip.check(server(data), seconds=30).startswith("failed ")
    assert chip.current == 0
    assert chip.reset().version == "1.0.0"


def test_a_new_rom_that_has_confirmed_itself_goes_on_to_the_next(new: NewChip) -> None:
    chip = trial(new)
    assert chip.check(server(update("1.2.0", 8), "1.2.0")) == "ready"
    assert chip.current == 1
    assert chip.reset().version == "1.2.0"


def test_a_check_that_is_for_confirmation_only_installs_nothing(new: NewChip) -> None:
    assert new().run({}, new().start("c"))[0] == "start 0", "nothing is on trial"
    chip = trial(new)
    assert chip.check(server(update("1.2.0", 8), "1.2.0"), flags="c") == "confirmed"
    assert chip.requests == ["/blink/update"]
    assert chip.power_cycle().version == "1.1.0"


def test_an_application_may_confirm_by_itself(new: NewChip) -> None:
    chip = trial(new)
    assert chip.check(None, flags="k", seconds=30) == "failed NO_CONNECTION"
    assert "restart" not in chip.lines
    assert chip.check(server(GOOD), flags="k") == "current"
    assert chip.current == 0
    assert chip.check(server(update("1.2.0", 8), "1.2.0"), flags="k") == "failed SLOT_IN_USE"
    chip.run(server(GOOD), chip.start("k"), "run", "confirm-update", f"serial {PROD.store_number}")
    assert chip.lines[-3:-1] == ["confirm-update 1", "serial 7"]
    assert chip.power_cycle().version == "1.1.0"


def test_a_confirmation_by_the_old_call_counts_too(new: NewChip) -> None:
    """Found: the trial was kept as a failed one, and a rollback to that ROM refused."""
    chip = trial(new)
    chip.run({}, chip.start("k"), "confirm")
    assert chip.power_cycle().check(server(GOOD)) == "current"
    chip.follow(server(update("1.2.0", 8), "1.2.0"))
    chip.follow(server(update("1.1.0", 9, withdrawn=("1.2.0",))))


# Serials and keys


def test_a_replay_of_an_older_file_is_refused(new: NewChip) -> None:
    """Of a release that was rolled back, published and rolled back: each replay is refused, as is an older release."""
    chip = new()
    chip.follow(server(update("1.1.0", 5), "1.1.0"))
    chip.follow(server(update("1.0.0", 6, withdrawn=("1.1.0",))))
    assert chip.check(server(update("1.1.0", 5))) == "failed OLD_SERIAL"
    chip.follow(server(update("1.1.0", 7)))
    assert chip.check(server(update("1.0.0", 6, withdrawn=("1.1.0",)))) == "failed OLD_SERIAL"
    assert chip.operations == []
    assert chip.check(server(update("1.1.0", 7))) == "current", "the same file is no replay"


def test_the_serial_rises_with_the_confirmation_and_not_before(new: NewChip) -> None:
    chip = new()
    serial = f"serial {PROD.store_number}"
    assert chip.check(server(update("1.1.0", 9), "1.1.0")) == "ready"
    assert chip.run({}, serial)[0] == "serial 0"
    chip.reset()
    assert chip.run({}, serial)[0] == "serial 0"
    assert chip.check(server(update("1.1.0", 9))) == "current"
    assert chip.run({}, serial)[0] == "serial 9"


def test_a_permanent_rom_remembers_the_serial_of_a_file_with_nothing_to_install(new: NewChip) -> None:
    chip = new()
    assert chip.check(server(update("1.0.0", 12))) == "current"
    assert chip.check(server(update("1.1.0", 11), "1.1.0")) == "failed OLD_SERIAL"
    assert chip.check(server(update("1.0.0", 12))) == "current"
    assert chip.operations == [], "once"


def test_a_key_is_replaced_by_the_next_one(new: NewChip) -> None:
    """A device with the first key gets a ROM with both, and then one with the second alone."""
    first, both, second = new(PROD).program, new(PROD, SPARE).program, new(SPARE).program
    chip = new(PROD)
    chip.program = first
    by_second = server(SPARE.sign(update("1.2.0", 2).to_bytes()), "1.2.0")
    assert chip.check(by_second) == "failed UNKNOWN_KEY"
    by_first = server(update("1.1.0", 1), "1.1.0")
    assert chip.check(by_first) == "ready"
    chip.reset().program = both
    assert chip.check(by_first) == "current"
    assert chip.check(by_second) == "ready"
    chip.reset().program = second
    assert chip.check(by_second) == "current"
    assert chip.check(server(update("1.3.0", 3), "1.3.0")) == "failed UNKNOWN_KEY"
    assert chip.check(server(SPARE.sign(update("1.3.0", 1).to_bytes()), "1.3.0")) == "failed OLD_SERIAL"
    assert chip.check(server(SPARE.sign(update("1.3.0", 3).to_bytes()), "1.3.0")) == "ready"


def test_a_stolen_key_does_not_outlive_itself(new: NewChip) -> None:
    """Its huge serial and version concern files of this key only, and the version can be rolled back."""
    chip = new()
    chip.follow(server(update("999.0.0", 4_000_000_000), "999.0.0"))
    assert chip.check(server(update("1.1.0", 8, withdrawn=("999.0.0",)), "1.1.0")) == "failed OLD_SERIAL"
    rescue = SPARE.sign(update("1.1.0", 8, withdrawn=("999.0.0",)).to_bytes())
    assert chip.check(server(rescue, "1.1.0")) == "ready"
    chip.reset()
    assert chip.version == "1.1.0"
    assert chip.check(server(rescue)) == "current"


def test_a_device_that_skipped_releases_goes_to_the_offered_one(new: NewChip) -> None:
    chip = new()
    chip.follow(server(update("1.7.0", 40, withdrawn=("1.6.0",)), "1.7.0"))
    assert chip.version == "1.7.0"


def test_with_keys_the_old_call_installs_nothing(new: NewChip) -> None:
    for requirements in ("0 0 -", f"0 0 {'00' * 32}"):
        lines = new().run({}, f"start 1 {requirements}", "reason")
        assert lines[:2] == ["start 0", f"reason {REASONS.index('UNSIGNED')} not signed"]


def test_without_keys_signed_and_unsigned_files_are_taken_and_no_serial_is_kept(unsigned: NewChip) -> None:
    """An unsigned file with a huge serial could otherwise block all that follow."""
    for data in (TEXT, SIGNED, STRANGER.sign(TEXT)):
        assert unsigned().check(server(data, "1.1.0")) == "ready"
    chip = unsigned()
    chip.follow(server(update("1.1.0", 4_000_000_000).to_bytes(), "1.1.0"))
    chip.follow(server(update("1.2.0", 2).to_bytes(), "1.2.0"))


def test_the_old_call_works_from_the_same_web_root(unsigned: NewChip) -> None:
    chip = unsigned()
    host = ota_host.Host(chip.program, chip.flash)
    assert ota_host.update(host, reply(rom("1.1.0", 1)))[-1] == "reason 0 done"


def test_the_header_has_as_many_keys_as_were_given() -> None:
    text = keys_header([PROD.public, SPARE.public])
    assert text.count("{{") == 2
    words = re.findall("0x([0-9a-f]{8})", text)
    assert b"".join(bytes.fromhex(word)[::-1] for word in words[:10]) == PROD.public.number + PROD.public.key
    for keys, why in (((), "got 0"), ((PROD,) * 2, "the same key twice"), (tuple(map(Key, "abcde")), "got 5")):
        with pytest.raises(SettingError, match=why):
            keys_header([key.public for key in keys])


# The store


def test_records_are_compacted_when_the_area_is_full_and_nothing_else_is_lost(new: NewChip) -> None:
    settings = b"settings of the application"
    flash = new_flash()
    chip = new(flash=flash[:0x1100] + settings + flash[0x1100 + len(settings) :])
    commands = [f"raise 11 {serial}" for serial in range(1, 60)]
    lines = chip.run({}, "prepare 1 5eed", "raise 22 7", *commands, "serial 11", "serial 22", "failed-trial 5eed")
    assert [line for line in lines if line.startswith(("serial", "failed"))] == [
        "serial 59",
        "serial 7",
        "failed-trial 0",
    ]
    assert [line for line in lines if line.startswith(("raise", "prepare"))].count("raise 1") == 60
    assert sum(line == "erase 1000" for line in lines) == 3
    assert chip.flash[0x1100 : 0x1100 + len(settings)] == settings
    assert chip.run({}, "serial 11", "current")[:2] == ["serial 59", "current 0"]
    assert chip.reset().running == 0


def test_the_records_outlive_a_change_of_the_current_rom(new: NewChip) -> None:
    chip = new()
    chip.run({}, "raise 11 5", "set-current 1", "set-current 0", "serial 11")
    assert "serial 5" in chip.lines


def test_a_record_that_was_interrupted_is_ignored(new: NewChip) -> None:
    for part in (0, 1, 3):
        for number in (1, 2):
            chip = new()
            chip.run({}, "raise 11 5")
            chip.run({}, f"cut {number} {part}", "raise 11 9")
            assert chip.run({}, "serial 11")[0] == "serial 5"
            assert chip.run({}, "raise 11 8", "serial 11")[-2] == "serial 8"


# Network


def test_a_name_is_resolved(new: NewChip) -> None:
    chip = new()
    assert chip.check(server(GOOD, "1.1.0"), "host updates.example 42", host="updates.example") == "ready"
    assert "resolve updates.example" in chip.lines
    assert "connect 42.0.0.0:80" in chip.lines
    assert "Host: updates.example| " in next(line for line in chip.lines if line.startswith("request"))


@pytest.mark.parametrize("known", ["host updates.example 0", "reason"], ids=["unknown", "no answer"])
def test_a_name_that_is_not_resolved(new: NewChip, known: str) -> None:
    assert new().check({}, known, host="updates.example") == "failed NO_HOST"


def test_an_answer_of_the_resolver_that_comes_late_counts_for_nothing(new: NewChip) -> None:
    chip = new()
    chip.run(server(GOOD), chip.start(host="updates.example"), "run", "resolved 42", chip.start(), "run")
    assert sum(line.startswith("connect") for line in chip.lines) == 2  # the second one: file and ROM
    assert "connect 42.0.0.0:80" not in chip.lines


@pytest.mark.parametrize("host", ["256.1.1.1", "1.2.3", "1.2.3.4.5", "1.2.3.a", "1..2.3", "0001.2.3.4", "1.2.3.4."])
def test_what_is_no_address_is_a_name(new: NewChip, host: str) -> None:
    assert f"resolve {host}" in new().run({}, new().start(host=host), "run")


def test_the_user_agent_says_how_the_device_fares(new: NewChip) -> None:
    chip = new()
    lines = chip.run(server(TEXT), "crashed 2 40201234", chip.start(port=8080), "run", chip.start(port=8080), "run")
    agents = [re.search(r"Host: (\S+)\| User-Agent: (.*?)\|", line) for line in lines if line.startswith("request")]
    assert [agent.groups() for agent in agents if agent] == [
        ("10.0.0.1:8080", "rboot-update/1 (app blink; version 1.0.0; slot 0; reset 2 40201234)"),
        ("10.0.0.1:8080", "rboot-update/1 (app blink; version 1.0.0; slot 0; failed 26; reset 2 40201234)"),
    ]
    assert REASONS[26] == "UNSIGNED"


def test_a_server_that_drips_is_given_up_after_a_minute(new: NewChip) -> None:
    chip = new()
    drops = [line for byte in b"x" * 200 for line in ("timeout", f"data {byte:02x}")]
    start = b"HTTP/1.1 200 OK\r\nX: "
    lines = chip.run({"/": b""}, chip.start(), "timeout", "connected", f"data {start.hex()}", *drops, "run")
    assert f"result failed {REASONS.index('TIMEOUT')} " in lines
    assert sum(line == "timer 500" for line in lines) == 120

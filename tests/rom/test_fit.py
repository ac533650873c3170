"""The rules of a ROM: each of them, and that every command asks for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.broken_roms import BROKEN, CODE, GOOD, with_section
from support.images import SLOTS, loader, rom

from rbootimg.analysis.identify import identify
from rbootimg.errors import FitError, PublishError, RomError
from rbootimg.flash.bootlogic import predict_boot
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.model import Slot
from rbootimg.layout.presets import preset_layout
from rbootimg.release.bundle import make_bundle
from rbootimg.release.unversioned import web_tree
from rbootimg.rom import fit
from rbootimg.rom.format import RamSection, Rom


def test_a_good_rom_has_no_problems() -> None:
    assert fit.problems(GOOD) == ()
    assert fit.check(GOOD) is GOOD
    assert fit.problems(GOOD, SLOTS[0], SLOTS[0].link_address) == ()


@pytest.mark.parametrize("address", [0x40100010, 0x40107FFC, 0x3FFE8004, 0x3FFFBFFC], ids=hex)
def test_the_ram_can_be_used_to_its_last_word(address: int) -> None:
    assert fit.problems(with_section(address, b"1234")) == ()


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_has_its_message(name: str) -> None:
    broken, message = BROKEN[name]
    [problem] = fit.problems(broken)
    assert problem.startswith(message)
    with pytest.raises(FitError, match=r"^(RAM section|17 RAM|entry point)"):
        fit.check(broken)


def test_the_slot_must_hold_it_and_be_the_one_it_is_linked_for() -> None:
    assert fit.problems(GOOD, Slot(0x2000, GOOD.size)) == ()
    assert fit.problems(GOOD, Slot(0x2000, GOOD.size - 1, 0)) == (
        f"ROM has {GOOD.size} bytes, 1 more than slot 0 at 0x2000 holds ({GOOD.size - 1})",
    )
    assert fit.problems(GOOD, SLOTS[1], SLOTS[0].link_address) == (
        "linked at 0x40202010 (slot at 0x2000), expected 0x40282010 for slot 1 at 0x82000",
    )
    assert fit.read(rom(0), slot=SLOTS[0], slots=SLOTS).entry == 0x40100004
    with pytest.raises(FitError, match=r"^linked at 0x40202010 \(slot at 0x2000\), expected 0x40282010 for slot 1"):
        fit.read(rom(0), slot=SLOTS[1], slots=SLOTS)
    with pytest.raises(RomError, match="checksum"):
        fit.read(rom(0), irom_checksum=True)


@given(st.lists(st.tuples(st.integers(0, 31), st.integers(0, 8)), min_size=1, max_size=6))
def test_overlaps_are_those_of_the_bytes(places: list[tuple[int, int]]) -> None:
    sections = tuple(RamSection(0x3FFE8000 + 4 * at, bytes(4 * words)) for at, words in places)
    used = [word for at, words in places for word in range(at, at + words)]
    found = fit.problems(GOOD._replace(sections=(CODE, *sections)))
    assert bool(found) == (len(used) != len(set(used)))


# That every way out asks for them


@pytest.mark.parametrize("name", BROKEN)
def test_no_broken_rom_is_published_flashed_or_called_valid(name: str) -> None:
    broken, message = BROKEN[name]
    data = broken.to_bytes()
    layout = preset_layout("1MB")
    with pytest.raises(PublishError) as refused:
        web_tree({"app": [data]})
    assert message in str(refused.value)
    with pytest.raises(PublishError) as refused:
        make_bundle("app", "1.0.0", [data], layout)
    assert message in str(refused.value)
    with pytest.raises(FitError) as unfit:
        flash_pieces(layout, loader(), {0: data}, make_boot_config(layout, loader()))
    assert message in str(unfit.value)
    assert any(problem.startswith(message) for problem in identify(data).problems)


@pytest.mark.parametrize("name", BROKEN)
def test_the_prediction_says_what_the_loader_does_not_look_at(name: str) -> None:
    broken, message = BROKEN[name]
    layout = preset_layout("1MB")
    good = flash_pieces(layout, loader(), {0: rom(0)}, make_boot_config(layout, loader()))
    flash = bytearray(assemble(good, layout.size.bytes))
    assert predict_boot(bytes(flash)).problems == ()
    data = broken.to_bytes()
    flash[0x2000 : 0x2000 + len(data)] = data
    found = predict_boot(bytes(flash))
    assert found.rom == 0
    assert found.problems[0].startswith(message)


@pytest.mark.parametrize("name", ["over rBoot's second stage", "entry in data", "unaligned"])
def test_verify_and_info_refuse_it(name: str, tmp_path: Path) -> None:
    broken, message = BROKEN[name]
    path = tmp_path / "rom.bin"
    path.write_bytes(broken.to_bytes())
    for command in ("verify", "info"):
        done = subprocess.run(
            [sys.executable, "-m", "rbootimg", command, path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert message in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


# Espressif's own packer


@pytest.mark.parametrize("user", [1, 2])
def test_a_rom_of_gen_appbin_is_valid_and_named(user: int) -> None:
    made = GOOD.to_bytes()
    made = made[:2] + bytes((0, user)) + made[4:]
    made = made[:34] + bytes((2, 0x2F)) + made[36:]  # the real flash bytes: DIO, 1 MB, 80 MHz
    found = fit.read(made)
    assert (found.appbin_user, found.params.describe()) == (user, "dio, 1MB, 80m")
    assert found.to_bytes() == made
    assert identify(made).problems == ()
    from rbootimg.views.info import blocks

    text = "\n".join(str(block) for block in blocks("user.bin", identify(made)))
    assert f"Espressif's gen_appbin.py, as user{user}.bin" in text
    assert "dio, 1MB, 80m" in text


@pytest.mark.parametrize("first", [(0, 3), (1, 1), (2, 0x2F)])
def test_other_differences_between_the_headers_are_a_mismatch(first: tuple[int, int]) -> None:
    made = GOOD.to_bytes()
    with pytest.raises(RomError, match="header mismatch"):
        Rom.from_bytes(made[:2] + bytes(first) + made[4:])

"""The commands flash-image, split and flash: files in, files, a table or a written device out."""

from __future__ import annotations

import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.esp8266 import FakeChip
from support.images import BIG, loader, rom
from support.programs import run_module
from support.project import ROOT, VECTORS

from rbootimg.flash.bootconfig import BootConfig
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.presets import preset_layout

INIT_DATA = bytes(range(5, 133))
INPUTS = shlex.split("--layout 1MB --loader rboot.bin --rom rom0.bin --rom rom1.bin --init-data init.bin")
PIECES = flash_pieces(
    preset_layout("1MB"),
    loader(),
    {0: rom(0), 1: rom(1)},
    make_boot_config(preset_layout("1MB"), loader()),
    {"phy_init": INIT_DATA},
)
FLASH = assemble(PIECES, 0x100000)
TABLE = """\
   start       end  bytes
0x000000  0x000050     80  loader
0x001000  0x002000  4,096  config
0x002000  0x0020f0    240  rom0
0x082000  0x0820f0    240  rom1
0x0fc000  0x0fc080    128  phy_init
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands are given, and the one to work in."""
    contents = {"rboot.bin": loader(), "rom0.bin": rom(0), "rom1.bin": rom(1), "init.bin": INIT_DATA}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Run rbootimg; what it printed to stdout and to stderr."""
    done = run_module("rbootimg", *arguments, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def refused(*arguments: str) -> str:
    out, line = run(*arguments, status=1)
    assert out == ""
    assert line.startswith("rbootimg: ")
    assert line.count("\n") == 1
    return line.removeprefix("rbootimg: ").rstrip("\n")


def wrong_usage(*arguments: str) -> str:
    return run(*arguments, status=2)[1].splitlines()[-1].partition("error: ")[2]


# flash-image


def test_flash_image_writes_the_whole_flash_and_says_what_stands_where(folder: Path) -> None:
    assert run("flash-image", *INPUTS, "-o", "flash.bin") == (TABLE, "")
    assert (folder / "flash.bin").read_bytes() == FLASH


def test_flash_image_writes_the_pieces_which_make_the_same_flash(folder: Path) -> None:
    out, _ = run("flash-image", *INPUTS, "--pieces", "a/b", "-o", "flash.bin")
    flash = bytearray(b"\xff" * 0x100000)
    for start, end, size, name in (line.split() for line in out.splitlines()[1:]):
        data = Path(name).read_bytes()
        assert int(size.replace(",", "")) == len(data) == int(end, 16) - int(start, 16)
        assert name == f"a/b/{start}-{name.rpartition('-')[2]}"
        flash[int(start, 16) : int(end, 16)] = data
    assert bytes(flash) == (folder / "flash.bin").read_bytes() == FLASH
    assert len(list((folder / "a/b").iterdir())) == len(PIECES)


def test_flash_image_to_stdout_is_the_flash_and_nothing_else() -> None:
    command = [sys.executable, "-m", "rbootimg", "flash-image", *INPUTS, "-o", "/dev/stdout"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)
    assert done.stdout == FLASH
    assert done.stderr.decode() == TABLE


def test_roms_may_come_with_their_slots_and_any_of_them_boots(folder: Path) -> None:
    layout = 'preset = "four-1MB"\n[[region]]\nname = "files"\naddress = 0x1C0000\nsize = 4096\n'
    (folder / "four.toml").write_text(layout)
    (folder / "big.bin").write_bytes(loader(BIG))
    (folder / "a=b.bin").write_bytes(b"data")
    inputs = shlex.split("--layout four.toml --loader big.bin --rom 3=rom0.bin --rom 1=rom0.bin --file files=a=b.bin")
    run("flash-image", *inputs, "--current", "3", "-o", "flash.bin")
    flash = (folder / "flash.bin").read_bytes()
    assert BootConfig.from_bytes(flash[0x1000:]).current_rom == 3
    assert flash[0x302000:].startswith(rom(0))
    assert flash[0x102000:].startswith(rom(0))
    assert flash[0x1C0000:].startswith(b"data\xff")
    assert flash[0x2000:0x102000].count(0xFF) == 0x100000


def test_missing_init_data_is_a_warning() -> None:
    _, err = run("flash-image", *INPUTS[:-2], "-o", "flash.bin")
    assert err.startswith("rbootimg: 1MB: warning: no init data for region phy_init at 0xfc000; ")
    assert err.count("\n") == 1


def test_what_does_not_go_together_is_one_line_and_nothing_is_written(folder: Path) -> None:
    arguments = ["flash-image", "--layout", "1MB", "--loader", "rboot.bin", "-o", "flash.bin", "--pieces", "pieces"]
    assert refused(*arguments, "--rom", "rom1.bin", "--rom", "rom0.bin") == (
        "1MB: the ROM for slot 0 at 0x2000: the ROM is linked at 0x40282010 (for a slot at 0x82000), but slot 0 at "
        "0x2000 runs at 0x40202010; use the ROM that was linked for this slot"
    )
    assert refused(*arguments, "--rom", "rom9.bin") == "rom9.bin: No such file or directory"
    assert refused(*arguments, "--rom", "2=rom0.bin") == ("1MB: there is no slot 2 for a ROM; the layout has 0 to 1")
    assert refused("flash-image", "--layout", "3MB", *INPUTS[2:], "-o", "flash.bin").startswith(
        "3MB: neither a file nor a preset; the presets are 512KB, 1MB"
    )
    assert refused(*arguments, "--no-config", "--rom", "1=rom1.bin", "--layout", "sming") == (
        "sming: without a config rBoot looks for ROMs at 0x2000 and 0x82000, and not for ROM 1 in slot 1 at 0x80000; "
        "write the config"
    )
    assert sorted(os.listdir(folder)) == ["init.bin", "rboot.bin", "rom0.bin", "rom1.bin"]


def test_wrong_usage_says_what_is_missing() -> None:
    assert wrong_usage("flash-image", *INPUTS) == "give --output, --pieces or both"
    assert wrong_usage("flash-image", *INPUTS[2:], "-o", "x") == "the following arguments are required: --layout"
    assert wrong_usage("flash-image", *INPUTS, "--rom", "0=rom0.bin", "-o", "x") == "there are two ROMs for slot 0"
    assert wrong_usage("flash-image", *INPUTS, "--current", "-1", "-o", "x").startswith("argument --current: ")
    assert wrong_usage("flash-image", *INPUTS, "--file", "files", "-o", "x") == (
        "argument --file: 'files' is not REGION=FILE"
    )


# split


def test_split_takes_apart_what_flash_image_made(folder: Path) -> None:
    run("flash-image", *INPUTS, "-o", "flash.bin")
    out, err = run("split", "flash.bin", "--layout", "1MB", "-o", "parts")
    assert err == ""
    assert [line.split()[-1] for line in out.splitlines()[1:]] == [f"parts/{piece.file_name}" for piece in PIECES]
    for piece in PIECES:
        assert (folder / "parts" / piece.file_name).read_bytes() == piece.data


def test_split_says_which_rom_is_not_sound(folder: Path) -> None:
    damaged = bytearray(FLASH)
    damaged[0x2000 + len(rom(0)) - 1] ^= 1
    (folder / "flash.bin").write_bytes(damaged)
    out, err = run("split", "flash.bin", "--layout", "1MB", "-o", "parts")
    assert "  240  parts/0x002000-rom0.bin\n" in out
    assert re.fullmatch(r"rbootimg: flash\.bin: warning: rom0: the checksum at offset 0xef is .*\n", err)


def test_split_refuses_what_is_no_dump_of_the_layout(folder: Path) -> None:
    (folder / "blank.bin").write_bytes(b"\xff" * 0x100000)
    assert refused("split", "blank.bin", "--layout", "1MB", "-o", "parts") == "blank.bin: the dump is blank"
    assert refused("split", "blank.bin", "--layout", "512KB", "-o", "parts").startswith(
        "blank.bin: the dump has 0x100000 bytes, but the layout's flash 0x80000; "
    )
    assert refused("split", "blank.bin", "--layout", "3MB", "-o", "parts").startswith("blank.bin: 3MB: neither a file ")


# flash

NO_RESET = ("--before", "no-reset", "--after", "no-reset")


def test_a_device_that_ran_from_slot_1_gets_all_pieces_and_starts_slot_0() -> None:
    before = bytearray(os.urandom(0x100000))
    before[0x1000:0x2000] = BootConfig((0x2000, 0x82000), current_rom=1).rewrite(bytes(0x1000))
    with FakeChip(bytes(before)) as chip:
        out, err = run("flash", *INPUTS, "--port", chip.port, "--baud", "460800", *NO_RESET)
    assert err == ""
    assert "Hash of data verified." in out
    for piece in PIECES:
        assert chip.flash[piece.address : piece.end] == piece.data
    assert BootConfig.from_bytes(bytes(chip.flash[0x1000:])).current_rom == 0
    assert chip.flash[0x3000:0x82000] == before[0x3000:0x82000]
    assert chip.flash[0xFD000:] == before[0xFD000:]


def test_a_dry_run_prints_the_line_that_does_the_same(folder: Path) -> None:
    with FakeChip(bytes(0x100000)) as chip:
        arguments = ("flash", *INPUTS, "--port", chip.port, *NO_RESET, "--dry-run")
        out, err = run(*arguments, "--pieces", "my pieces")
        assert err == ""
        assert chip.commands == []
        command = shlex.split(out)
        assert command[0] == "esptool"
        subprocess.run([sys.executable, "-m", *command], check=True, timeout=120, capture_output=True)
    for piece in PIECES:
        assert chip.flash[piece.address : piece.end] == piece.data


def test_a_dry_run_without_a_folder_writes_nothing(folder: Path) -> None:
    before = sorted(os.listdir(folder))
    out, err = run("flash", *INPUTS, "--dry-run")
    assert err == "rbootimg: --pieces FOLDER writes these files\n"
    assert out == (
        "esptool --chip esp8266 write-flash --flash-mode keep --flash-freq keep --flash-size keep "
        + " ".join(f"{piece.address:#x} {piece.file_name}" for piece in PIECES)
        + "\n"
    )
    assert sorted(os.listdir(folder)) == before


def test_no_device_is_one_line(folder: Path) -> None:
    _, err = run("flash", *INPUTS, "--port", "/dev/none", status=1)
    assert err == ("rbootimg: /dev/none: esptool: Could not open /dev/none, the port is busy or doesn't exist.\n")


def test_info_with_a_layout_lists_its_regions(folder: Path) -> None:
    (folder / "board.toml").write_text('preset = "1MB"\n[[region]]\nname = "files"\naddress = "448KB"\nsize = "4KB"\n')
    (folder / "flash.bin").write_bytes(FLASH)
    out, _ = run("info", "flash.bin", "--layout", "board.toml")
    assert "  files       0x70000   4,096  blank\n" in out
    assert "  phy_init    0xfc000   4,096  written, SHA-256 " in out


@pytest.mark.parametrize("name", ["rboot.bin", "rom0.bin", "rom1.bin", "init.bin"])
def test_a_flash_does_not_replace_what_it_is_made_of(folder: Path, name: str) -> None:
    before = (folder / name).read_bytes()
    line = refused("flash-image", *INPUTS, "-o", name)
    assert line == f"1MB: the output would replace {name}, which is an input; choose another file"
    assert (folder / name).read_bytes() == before


# Output folders


@pytest.mark.parametrize(
    "command",
    [
        ("extract", "rom0.bin", "-o"),
        ("split", "flash.bin", "--layout", "1MB", "-o"),
        ("flash-image", *INPUTS, "--pieces"),
        ("flash", *INPUTS, "--dry-run", "--pieces"),
    ],
    ids=lambda command: command[0],
)
def test_an_output_folder_is_made_and_filled_or_nothing_changes(folder: Path, command: tuple[str, ...]) -> None:
    (folder / "flash.bin").write_bytes(FLASH)
    (folder / "file").write_bytes(b"old")
    before = sorted(os.listdir(folder))
    assert refused(*command, "file") == "file: not a folder; name one for the files, there or not yet"
    assert (folder / "file").read_bytes() == b"old"
    full = subprocess.run(
        [sys.executable, "-m", "rbootimg", *command, "new/folder"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == 1
    assert full.stderr.startswith("rbootimg: new/folder/")
    assert full.stderr.endswith(": File too large\n")
    assert sorted(os.listdir(folder)) == before


# What does not go together


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--no-config", "--current", "1"], "--current says what the config boots; leave --no-config out"),
        (["--file", "phy_init=init.bin"], "--init-data and --file phy_init= are the same region; give one of them"),
    ],
)
def test_arguments_of_which_one_would_be_ignored_are_wrong_usage(more: list[str], said: str) -> None:
    assert wrong_usage("flash-image", *INPUTS, *more, "-o", "flash.bin") == said


@pytest.mark.parametrize("baud", ["0", "-5", "fast"])
def test_a_baud_rate_that_is_none_is_wrong_usage(baud: str) -> None:
    assert wrong_usage("flash", *INPUTS, f"--baud={baud}") == (
        f"argument -b/--baud: {baud!r} is no baud rate; write a number such as 460800"
    )


def test_an_empty_file_for_a_region_is_refused(folder: Path) -> None:
    (folder / "init.bin").write_bytes(b"")
    assert refused("flash-image", *INPUTS, "-o", "flash.bin").endswith(
        "the file for region phy_init at 0xfc000 is empty"
    )


@pytest.mark.parametrize("given", [["--init-data", "short.bin"], ["--file", "phy_init=short.bin"]])
@pytest.mark.parametrize("command", [["flash-image", "-o", "flash.bin"], ["flash", "--dry-run", "--pieces", "pieces"]])
def test_init_data_of_another_length_are_refused(folder: Path, command: list[str], given: list[str]) -> None:
    (folder / "short.bin").write_bytes(INIT_DATA[:-1])
    before = sorted(os.listdir(folder))
    assert refused(*command, *INPUTS[:-2], *given) == (
        "1MB: the file for region phy_init at 0xfc000 has 127 bytes: expected 128, as the SDK's "
        "esp_init_data_default.bin has"
    )
    assert sorted(os.listdir(folder)) == before


# A flash of another layout


def test_a_flash_of_another_size_than_the_layouts_is_told(folder: Path) -> None:
    (folder / "flash.bin").write_bytes(FLASH)
    line = run("info", "flash.bin", "--layout", "4MB-capped", status=1)[1]
    assert "flash.bin: the file has 0x100000 bytes, but the layout's flash 0x400000" in line
    (folder / "rom0.elf").write_bytes((VECTORS / "tiny.rom0.elf").read_bytes())
    assert refused("prove", "flash.bin", "--layout", "4MB-capped", "--elf", "rom0.elf").endswith(
        "the dump has 0x100000 bytes, but the layout's flash 0x400000; read the whole flash, or choose its layout"
    )


def test_a_config_with_other_roms_than_the_layouts_slots_is_told(folder: Path) -> None:
    (folder / "flash.bin").write_bytes(FLASH)
    line = run("info", "flash.bin", "--layout", "sming", status=1)[1]
    assert line == "rbootimg: flash.bin: rBoot has its ROMs at 0x2000, 0x82000, but the layout at 0x2000, 0x80000\n"
    assert run("info", "flash.bin", "--layout", "1MB")[1] == ""

"""The commands flash-image, split and flash."""

from __future__ import annotations

import json
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
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the input files."""
    contents = {"rboot.bin": loader(), "rom0.bin": rom(0), "rom1.bin": rom(1), "init.bin": INIT_DATA}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Run rbootimg; return its stdout and stderr."""
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


def test_flash_image_writes_the_image_and_lists_the_pieces(directory: Path) -> None:
    assert run("flash-image", *INPUTS, "-o", "flash.bin") == (TABLE, "")
    assert (directory / "flash.bin").read_bytes() == FLASH


def test_flash_image_writes_pieces_with_the_same_contents(directory: Path) -> None:
    out, _ = run("flash-image", *INPUTS, "--pieces", "a/b", "-o", "flash.bin")
    flash = bytearray(b"\xff" * 0x100000)
    for start, end, size, name in (line.split() for line in out.splitlines()[1:]):
        data = Path(name).read_bytes()
        assert int(size.replace(",", "")) == len(data) == int(end, 16) - int(start, 16)
        assert name == f"a/b/{start}-{name.rpartition('-')[2]}"
        flash[int(start, 16) : int(end, 16)] = data
    assert bytes(flash) == (directory / "flash.bin").read_bytes() == FLASH
    assert len(list((directory / "a/b").iterdir())) == len(PIECES)


def test_flash_image_to_stdout_is_only_the_image() -> None:
    command = [sys.executable, "-m", "rbootimg", "flash-image", *INPUTS, "-o", "/dev/stdout"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)
    assert done.stdout == FLASH
    assert done.stderr.decode() == TABLE


def test_roms_may_have_slot_numbers_and_any_of_them_boots(directory: Path) -> None:
    layout = 'preset = "four-1MB"\n[[region]]\nname = "files"\naddress = 0x1C0000\nsize = 4096\n'
    (directory / "four.toml").write_text(layout)
    (directory / "big.bin").write_bytes(loader(BIG))
    (directory / "a=b.bin").write_bytes(b"data")
    inputs = shlex.split("--layout four.toml --loader big.bin --rom 3=rom0.bin --rom 1=rom0.bin --file files=a=b.bin")
    run("flash-image", *inputs, "--current", "3", "-o", "flash.bin")
    flash = (directory / "flash.bin").read_bytes()
    assert BootConfig.from_bytes(flash[0x1000:]).current_rom == 3
    assert flash[0x302000:].startswith(rom(0))
    assert flash[0x102000:].startswith(rom(0))
    assert flash[0x1C0000:].startswith(b"data\xff")
    assert flash[0x2000:0x102000].count(0xFF) == 0x100000


def test_missing_init_data_is_a_warning() -> None:
    _, err = run("flash-image", *INPUTS[:-2], "-o", "flash.bin")
    assert err.startswith("rbootimg: 1MB: warning: no init data for region phy_init at 0xfc000: ")
    assert err.count("\n") == 1


def test_inputs_that_do_not_match_are_refused_and_nothing_is_written(directory: Path) -> None:
    arguments = ["flash-image", "--layout", "1MB", "--loader", "rboot.bin", "-o", "flash.bin", "--pieces", "pieces"]
    assert refused(*arguments, "--rom", "rom1.bin", "--rom", "rom0.bin") == (
        "ROM for slot 0 at 0x2000: linked at 0x40282010 (slot at 0x82000), expected 0x40202010 for slot 0 at 0x2000"
    )
    assert refused(*arguments, "--rom", "rom9.bin") == "rom9.bin: No such file or directory"
    assert refused(*arguments, "--rom", "2=rom0.bin") == "invalid slot 2 for a ROM: expected 0-1"
    assert refused("flash-image", "--layout", "3MB", *INPUTS[2:], "-o", "flash.bin").startswith(
        "3MB: neither a file nor a preset: expected one of 512KB, 1MB"
    )
    assert refused(*arguments, "--no-config", "--rom", "1=rom1.bin", "--layout", "sming") == (
        "without a config rBoot looks for ROMs at 0x2000 and 0x82000, not for ROM 1 in slot 1 at 0x80000; "
        "write the config"
    )
    assert sorted(os.listdir(directory)) == ["init.bin", "rboot.bin", "rom0.bin", "rom1.bin"]


def test_wrong_usage_names_the_argument() -> None:
    assert wrong_usage("flash-image", *INPUTS) == "--output or --pieces is required"
    assert wrong_usage("flash-image", *INPUTS[2:], "-o", "x") == "the following arguments are required: --layout"
    assert wrong_usage("flash-image", *INPUTS, "--rom", "0=rom0.bin", "-o", "x") == "--rom: slot 0 is given twice"
    assert wrong_usage("flash-image", *INPUTS, "--current", "-1", "-o", "x") == (
        "argument --current: invalid slot number '-1': expected an integer >= 0"
    )
    assert wrong_usage("flash-image", *INPUTS, "--file", "files", "-o", "x") == (
        "argument --file: invalid region file 'files': expected REGION=FILE"
    )


# split


def test_split_reverses_flash_image(directory: Path) -> None:
    run("flash-image", *INPUTS, "-o", "flash.bin")
    out, err = run("split", "flash.bin", "--layout", "1MB", "-o", "parts")
    assert err == ""
    assert [line.split()[-1] for line in out.splitlines()[1:]] == [f"parts/{piece.file_name}" for piece in PIECES]
    for piece in PIECES:
        assert (directory / "parts" / piece.file_name).read_bytes() == piece.data


def test_split_warns_of_an_invalid_rom(directory: Path) -> None:
    corrupt = bytearray(FLASH)
    corrupt[0x2000 + len(rom(0)) - 1] ^= 1
    (directory / "flash.bin").write_bytes(corrupt)
    out, err = run("split", "flash.bin", "--layout", "1MB", "-o", "parts")
    assert "  240  parts/0x002000-rom0.bin\n" in out
    assert re.fullmatch(r"rbootimg: flash\.bin: warning: rom0: bad checksum 0x\w\w at offset 0xef: .*\n", err)


def test_split_refuses_a_dump_of_another_layout(directory: Path) -> None:
    (directory / "blank.bin").write_bytes(b"\xff" * 0x100000)
    assert refused("split", "blank.bin", "--layout", "1MB", "-o", "parts") == "blank.bin: the dump is blank"
    assert refused("split", "blank.bin", "--layout", "512KB", "-o", "parts") == (
        "blank.bin: dump size 0x100000 does not match the layout's flash size 0x80000"
    )
    assert refused("split", "blank.bin", "--layout", "3MB", "-o", "parts").startswith("3MB: neither a file ")


# File systems

BOARD = 'preset = "1MB"\n[[region]]\nname = "files"\naddress = "448KB"\nsize = "64KB"\n'
WWW = {"index.html": b"<h1>hello</h1>", "css/style.css": b"body{}" * 1000}


@pytest.fixture
def www(directory: Path) -> Path:
    """A directory with files, and a layout with a region for them."""
    (directory / "board.toml").write_text(BOARD)
    for name, data in {**WWW, ".git/HEAD": b"x", "css/.DS_Store": b"x"}.items():
        (directory / "www" / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / "www" / name).write_bytes(data)
    return directory / "www"


def file_system_flash() -> None:
    run(*shlex.split("file-system www --layout board.toml --region files -o www.bin"))
    run("flash-image", *INPUTS, "--layout", "board.toml", "--file", "files=www.bin", "-o", "flash.bin")


def test_a_directory_goes_into_a_flash_image_and_back(directory: Path, www: Path) -> None:
    out, err = run(*shlex.split("file-system www --layout board.toml --region files -o www.bin"))
    assert (out, err) == ("www.bin: 2 files, 6,014 bytes\n", "")
    assert (directory / "www.bin").stat().st_size == 0x10000
    run("flash-image", *INPUTS, "--layout", "board.toml", "--file", "files=www.bin", "-o", "flash.bin")
    out, err = run("split", "flash.bin", "--layout", "board.toml", "-o", "parts")
    assert err == ""
    assert out.endswith("parts/0x070000-files/: 2 files, 6,014 bytes\n")
    assert (directory / "parts/0x070000-files.bin").read_bytes() == (directory / "www.bin").read_bytes()
    found = {
        str(path.relative_to("parts/0x070000-files")): path.read_bytes()
        for path in Path("parts/0x070000-files").rglob("*")
        if path.is_file()
    }
    assert found == WWW


def test_the_block_size_and_the_longest_name_can_be_set(directory: Path, www: Path) -> None:
    command = shlex.split("file-system www --layout board.toml --region files -o www.bin")
    run(*command, "--block-size", "8192", "--name-max", "20")
    out, _ = run("info", "www.bin")
    assert "  format    LittleFS 2.0, 8 blocks of 8,192 bytes\n  names     up to 20 bytes\n" in out
    assert refused(*command, "--block-size", "512") == "www: invalid block size 512: expected 4096 or 8192"
    assert refused(*command, "--name-max", "9") == (
        "www: 'index.html': name of 10 bytes, maximum 9; shorten it, or raise the limit if LFS_NAME_MAX of the "
        "device's driver allows it"
    )


def test_file_system_refuses_what_it_cannot_do_and_writes_nothing(directory: Path, www: Path) -> None:
    command = shlex.split("file-system www -o www.bin --layout")
    assert refused(*command, "board.toml", "--region", "other") == (
        "board.toml: unknown region 'other' for a file; the layout's regions: files, rf_cal, phy_init, sdk_params"
    )
    assert refused(*command, "board.toml", "--region", "phy_init") == (
        "www: invalid size 0x1000: expected a multiple of the block size 0x1000, two blocks or more"
    )
    assert refused("file-system", "none", *command[2:], "board.toml", "--region", "files") == (
        "none: No such file or directory"
    )
    assert refused("file-system", "www", "-o", "www/index.html", "--layout", "board.toml", "--region", "files") == (
        "www/index.html: refusing to overwrite an input file"
    )
    assert not (directory / "www.bin").exists()


def test_a_file_system_larger_than_its_region_is_refused(directory: Path, www: Path) -> None:
    file_system_flash()
    (directory / "small.toml").write_text(BOARD.replace("64KB", "32KB"))
    (directory / "cut.bin").write_bytes((directory / "www.bin").read_bytes()[:0x8000])
    line = refused("flash-image", *INPUTS, "--layout", "small.toml", "--file", "files=cut.bin", "-o", "flash.bin")
    assert line == (
        "file for region files at 0x70000: invalid LittleFS image: 16 blocks of 4,096 bytes, in 32,768 bytes"
    )


def test_split_warns_of_a_corrupt_file_system_and_writes_its_image(directory: Path, www: Path) -> None:
    file_system_flash()
    flash = bytearray((directory / "flash.bin").read_bytes())
    flash[0x70000 + 28 : 0x70000 + 30] = b"\xff\xff"
    (directory / "flash.bin").write_bytes(flash)
    out, err = run("split", "flash.bin", "--layout", "board.toml", "-o", "parts")
    assert "parts/0x070000-files.bin\n" in out
    assert err.startswith("rbootimg: flash.bin: warning: files: invalid LittleFS image: 65,535 blocks of ")
    assert not (directory / "parts/0x070000-files").exists()


def test_info_recognizes_a_file_system_alone_and_in_its_region(directory: Path, www: Path) -> None:
    file_system_flash()
    out, _ = run("info", "www.bin")
    assert out.startswith("www.bin: LittleFS image, valid\n")
    assert "  css/style.css  6,000\n  index.html        14\n" in out
    assert (
        "  files       0x70000  65,536  LittleFS 2.0, 16 blocks of 4,096 bytes, SHA-256 "
        in (run("info", "flash.bin", "--layout", "board.toml")[0])
    )
    superblock = {"version": "2.0", "block_size": 4096, "block_count": 16, "name_max": 31}
    alone = json.loads(run("info", "--json", "www.bin")[0])
    assert alone["kind"] == "littlefs"
    assert superblock.items() <= alone.items()
    assert alone["files"] == [{"path": "css/style.css", "size": 6000}, {"path": "index.html", "size": 14}]
    regions = json.loads(run("info", "--json", "flash.bin", "--layout", "board.toml")[0])["regions"]
    assert [region["littlefs"] for region in regions] == [superblock, None, None, None]


def test_info_says_that_a_file_system_is_truncated(directory: Path, www: Path) -> None:
    file_system_flash()
    (directory / "www.bin").write_bytes((directory / "www.bin").read_bytes()[:0x8000])
    out, err = run("info", "www.bin", status=1)
    assert out.startswith("www.bin: LittleFS image, invalid\n")
    assert err == "rbootimg: www.bin: invalid LittleFS image: 16 blocks of 4,096 bytes, in 32,768 bytes\n"


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


def test_a_dry_run_prints_the_equivalent_command(directory: Path) -> None:
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


def test_a_dry_run_without_pieces_writes_nothing(directory: Path) -> None:
    before = sorted(os.listdir(directory))
    out, err = run("flash", *INPUTS, "--dry-run")
    assert err == "rbootimg: note: use --pieces DIRECTORY to write these files\n"
    assert out == (
        "esptool --chip esp8266 write-flash --flash-mode keep --flash-freq keep --flash-size keep "
        + " ".join(f"{piece.address:#x} {piece.file_name}" for piece in PIECES)
        + "\n"
    )
    assert sorted(os.listdir(directory)) == before


def test_no_device_is_one_line(directory: Path) -> None:
    _, err = run("flash", *INPUTS, "--port", "/dev/none", status=1)
    assert err == ("rbootimg: /dev/none: esptool: Could not open /dev/none, the port is busy or doesn't exist.\n")


def test_info_with_a_layout_lists_its_regions(directory: Path) -> None:
    (directory / "board.toml").write_text(
        'preset = "1MB"\n[[region]]\nname = "files"\naddress = "448KB"\nsize = "4KB"\n'
    )
    (directory / "flash.bin").write_bytes(FLASH)
    out, _ = run("info", "flash.bin", "--layout", "board.toml")
    assert "  files       0x70000   4,096  blank\n" in out
    assert "  phy_init    0xfc000   4,096  written, SHA-256 " in out


@pytest.mark.parametrize("name", ["rboot.bin", "rom0.bin", "rom1.bin", "init.bin"])
def test_the_image_does_not_overwrite_an_input(directory: Path, name: str) -> None:
    before = (directory / name).read_bytes()
    line = refused("flash-image", *INPUTS, "-o", name)
    assert line == f"{name}: refusing to overwrite an input file"
    assert (directory / name).read_bytes() == before


# Output directories


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
def test_an_output_directory_is_created_and_filled_or_nothing_changes(
    directory: Path, command: tuple[str, ...]
) -> None:
    (directory / "flash.bin").write_bytes(FLASH)
    (directory / "file").write_bytes(b"old")
    before = sorted(os.listdir(directory))
    assert refused(*command, "file") == "file: not a directory"
    assert (directory / "file").read_bytes() == b"old"
    full = subprocess.run(
        [sys.executable, "-m", "rbootimg", *command, "new/directory"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20)),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert full.returncode == 1
    assert full.stderr.startswith("rbootimg: new/directory/")
    assert full.stderr.endswith(": File too large\n")
    assert sorted(os.listdir(directory)) == before


# Mutually exclusive arguments


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--no-config", "--current", "1"], "--current and --no-config are mutually exclusive"),
        (["--file", "phy_init=init.bin"], "--init-data and --file phy_init= are mutually exclusive"),
    ],
)
def test_mutually_exclusive_arguments_are_wrong_usage(more: list[str], said: str) -> None:
    assert wrong_usage("flash-image", *INPUTS, *more, "-o", "flash.bin") == said


@pytest.mark.parametrize("baud", ["0", "-5", "fast"])
def test_an_invalid_baud_rate_is_wrong_usage(baud: str) -> None:
    assert wrong_usage("flash", *INPUTS, f"--baud={baud}") == (
        f"argument -b/--baud: invalid baud rate {baud!r}: expected a positive integer, e.g. 460800"
    )


def test_an_empty_file_for_a_region_is_refused(directory: Path) -> None:
    (directory / "init.bin").write_bytes(b"")
    assert refused("flash-image", *INPUTS, "-o", "flash.bin").endswith("file for region phy_init at 0xfc000 is empty")


@pytest.mark.parametrize("given", [["--init-data", "short.bin"], ["--file", "phy_init=short.bin"]])
@pytest.mark.parametrize("command", [["flash-image", "-o", "flash.bin"], ["flash", "--dry-run", "--pieces", "pieces"]])
def test_init_data_of_another_length_is_refused(directory: Path, command: list[str], given: list[str]) -> None:
    (directory / "short.bin").write_bytes(INIT_DATA[:-1])
    before = sorted(os.listdir(directory))
    assert refused(*command, *INPUTS[:-2], *given) == (
        "invalid init data for region phy_init at 0xfc000: expected 128 bytes, as in the SDK's "
        "esp_init_data_default.bin, got 127"
    )
    assert sorted(os.listdir(directory)) == before


# A flash of another layout


def test_a_flash_size_other_than_the_layouts_is_reported(directory: Path) -> None:
    (directory / "flash.bin").write_bytes(FLASH)
    line = run("info", "flash.bin", "--layout", "4MB-capped", status=1)[1]
    assert "flash.bin: dump size 0x100000 does not match the layout's flash size 0x400000" in line
    (directory / "rom0.elf").write_bytes((VECTORS / "tiny.rom0.elf").read_bytes())
    assert refused("prove", "flash.bin", "--layout", "4MB-capped", "--elf", "rom0.elf").endswith(
        "dump size 0x100000 does not match the layout's flash size 0x400000"
    )


def test_a_config_with_other_addresses_than_the_layouts_slots_is_reported(directory: Path) -> None:
    (directory / "flash.bin").write_bytes(FLASH)
    line = run("info", "flash.bin", "--layout", "sming", status=1)[1]
    assert line == (
        "rbootimg: flash.bin: config does not match the layout: expected ROMs at 0x2000, 0x80000, got 0x2000, 0x82000\n"
    )
    assert run("info", "flash.bin", "--layout", "1MB")[1] == ""

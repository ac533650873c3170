"""Flash layouts: by name, from TOML, as a partition table, and as people see them."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbootimg.errors import LayoutError
from rbootimg.flashmap import FlashRegion, LoaderOptions, Slot, flash_map
from rbootimg.layout import PRESETS, from_toml, preset, sdk_partitions
from rbootimg.layoutview import drawing, pieces, svg, table, title

BOARD = """
flash_size = "4MB"
flash_mode = "dio"
flash_freq = "80m"

[loader]
big_flash = true
config_checksum = true
max_roms = 6

[[slot]]
name = "main"
address = 0x2000
size = "512KB"

[[slot]]
address = 0x102000

[[region]]
name = "files"
address = "2MB"
size = "1MB"
"""


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("512KB", [(0x2000, 0x40000), (0x42000, 0x39000)]),
        ("1MB", [(0x2000, 0x80000), (0x82000, 0x79000)]),
        ("2MB-capped", [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("4MB-capped", [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("8MB-capped", [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("16MB-capped", [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("2MB-big", [(0x2000, 0xFE000), (0x102000, 0xF9000)]),
        ("4MB-big", [(0x2000, 0xFE000), (0x202000, 0xFE000)]),
        ("8MB-big", [(0x2000, 0xFE000), (0x402000, 0xFE000)]),
        ("16MB-big", [(0x2000, 0xFE000), (0x802000, 0xFE000)]),
        ("four-1MB", [(0x2000, 0xFE000), (0x102000, 0xFE000), (0x202000, 0xFE000), (0x302000, 0xF9000)]),
        ("sming", [(0x2000, 0x7E000), (0x80000, 0x7B000)]),
    ],
)
def test_the_presets(name: str, slots: list[tuple[int, int]]) -> None:
    layout = preset(name)
    assert [(slot.address, slot.size) for slot in layout.slots] == slots
    assert layout.size.name == ("4MB" if name == "four-1MB" else "1MB" if name == "sming" else name.split("-")[0])
    end = layout.size.bytes
    assert [(region.name, end - region.address, region.size) for region in layout.regions] == [
        ("rf_cal", 0x5000, 0x1000),
        ("phy_init", 0x4000, 0x1000),
        ("sdk_params", 0x3000, 0x3000),
    ]
    assert from_toml(f'preset = "{name}"') == layout


def test_every_preset_has_a_test() -> None:
    assert len(PRESETS) == 12


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LayoutError, match="unknown layout '3MB'; choose one of 512KB, 1MB, 2MB-capped"):
        preset("3MB")


def test_a_layout_file_says_everything() -> None:
    layout = from_toml(BOARD)
    assert layout.size.name == "4MB"
    assert layout.params.describe() == "dio, 4MB, 80m"
    assert layout.loader == LoaderOptions(big_flash=True, config_checksum=True, max_roms=6)
    assert layout.slots == (Slot(0x2000, 0x80000, 0, "main"), Slot(0x102000, 0xFE000, 1))
    assert layout.regions[0] == FlashRegion("files", 0x200000, 0x100000)
    assert [region.name for region in layout.regions] == ["files", "rf_cal", "phy_init", "sdk_params"]


def test_a_slot_without_a_size_ends_before_a_region() -> None:
    text = 'flash_size = "1MB"\n[[slot]]\naddress = 0x2000\n[[region]]\nname = "x"\naddress = 0x40000\nsize = 0x1000\n'
    assert from_toml(text).slots == (Slot(0x2000, 0x3E000, 0),)


def test_without_slots_they_are_rboots_default_pair() -> None:
    for size, big_flash in (("512KB", False), ("4MB", False), ("4MB", True)):
        text = f'flash_size = "{size}"\nsdk_data = false\n[loader]\nbig_flash = {str(big_flash).lower()}\n'
        assert from_toml(text) == flash_map(size, big_flash=big_flash)


def test_a_file_changes_a_preset() -> None:
    layout = from_toml('preset = "four-1MB"\nflash_mode = "dout"\n[loader]\nirom_checksum = true\n')
    assert layout.slots == preset("four-1MB").slots
    assert layout.params.describe() == "dout, 4MB, 40m"
    assert layout.loader == LoaderOptions(big_flash=True, irom_checksum=True)


def test_changes_come_before_the_file() -> None:
    changes = {"flash_size": "2MB", "loader": {"max_roms": 2}, "region": []}
    layout = from_toml(BOARD, changes, [Slot(0x2000, 0, 0)])
    assert layout.size.name == "2MB"
    assert layout.loader == LoaderOptions(big_flash=True, config_checksum=True, max_roms=2)
    assert layout.slots == (Slot(0x2000, 0xFE000, 0),)


ONE_MB = 'flash_size = "1MB"\n'
REGION = '[[region]]\nname = "files"\naddress = {}\nsize = {}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flash_size", "the layout is not TOML: "),
        ("", "the layout says neither flash_size nor preset; give one of them"),
        ("flash_size = 1", "flash_size is 1; write a text in quotes"),
        ('flash_size = "3MB"', "unknown flash size '3MB'; choose one of 256KB"),
        ('preset = "big"', "unknown layout 'big'; choose one of 512KB"),
        (ONE_MB + 'flash_mode = "fast"', "unknown flash mode 'fast'; choose one of qio"),
        (ONE_MB + "slots = 2", "the layout has no 'slots'; it has preset, flash_size"),
        (ONE_MB + "sdk_data = 1", "sdk_data is 1; write true or false"),
        (ONE_MB + "loader = 1", "loader is no table"),
        (ONE_MB + "[loader]\nbig = true", r"\[loader\] has no 'big'; it has big_flash"),
        (ONE_MB + "[loader]\nbig_flash = 1", r"big_flash in \[loader\] is 1; write true or false"),
        (ONE_MB + '[loader]\ngpio = "low"', "gpio of the loader is 'low'; write '', 'rom', 'skip'"),
        (ONE_MB + "[loader]\ngpio = true", r"gpio in \[loader\] is True; write a text in quotes"),
        (ONE_MB + "[loader]\ngpio_pin = 17", "gpio_pin of the loader is 17; the pins are 0 to 16"),
        (ONE_MB + "[loader]\nmax_roms = true", r"max_roms in \[loader\] is True; write a number"),
        (ONE_MB + "[loader]\nmax_roms = 0", r"max_roms of the loader is 0; rBoot counts ROMs from 1 to 255"),
        (ONE_MB + "[loader]\nmax_roms = 1", "2 slots are more than the 1 that the loader's config has room for"),
        (ONE_MB + "slot = 1", "slot is no list of tables"),
        (ONE_MB + "slot = [1]", "slot is no list of tables"),
        (ONE_MB + "[[slot]]\nsize = 1", r"\[\[slot\]\] number 0 has no address; give it one"),
        (ONE_MB + "[[slot]]\naddress = 1.5", r"address in \[\[slot\]\] number 0: '1.5' is no address or size"),
        (ONE_MB + "[[slot]]\naddress = 0x2000\nsize = 0", r"size in \[\[slot\]\] number 0 is 0"),
        (ONE_MB + "[[slot]]\naddress = 0x2000\nname = 1", "name is 1; write a text in quotes"),
        (
            ONE_MB + '[[slot]]\naddress = 0x2000\nname = "a\\u001b[2J"',
            r"name is 'a\\x1b\[2J'; leave out what cannot be",
        ),
        (ONE_MB + "[[slot]]\naddress = 0x2000\ncolour = 1", r"\[\[slot\]\] number 0 has no 'colour'"),
        (ONE_MB + "[[region]]\naddress = 0x40000\nsize = 1", r"\[\[region\]\] number 0 has no name"),
        (ONE_MB + REGION.format("0xfa000", "0x2000"), "region files at 0xfa000 .*overlaps region rf_cal at 0xfb000"),
        (ONE_MB + REGION.format("0x1000", "0x1000"), "region files at 0x1000 overlaps rBoot's config sector"),
        (ONE_MB + REGION.format("0x40800", "0x1000"), "region files at 0x40800 does not start on a flash sector"),
        (
            ONE_MB + REGION.format("0xff000", "0x2000"),
            "region files at 0xff000 ends at 0x101000, outside the 1MB flash",
        ),
        (ONE_MB + REGION.format("0x40000", "0"), "region files at 0x40000 has 0 bytes"),
        (ONE_MB + 2 * REGION.format("0x40000", "0x1000"), "more than one region called files"),
        (
            ONE_MB + "[[slot]]\naddress = 0x2000\nsize = 0x40000\n" + REGION.format("0x40000", "0x1000"),
            "slot 0 at 0x2000 ends at 0x42000 and overlaps region files at 0x40000",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        from_toml(text)


@settings(max_examples=150)
@given(st.integers(0, len(BOARD)), st.integers(0, 20), st.text(max_size=8))
def test_a_damaged_file_gives_a_layout_or_one_error(at: int, removed: int, added: str) -> None:
    try:
        from_toml(BOARD[:at] + added + BOARD[at + removed :])
    except LayoutError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


# The partition table


def test_the_partition_table_is_the_layout() -> None:
    header = sdk_partitions(from_toml(BOARD))
    rows = re.findall(r"\{(\S.*?), 0x([0-9a-f]+), 0x([0-9a-f]+)\}", header)
    assert [(kind, int(address, 16), int(size, 16)) for kind, address, size in rows] == [
        ("SYSTEM_PARTITION_BOOTLOADER", 0, 0x1000),
        ("SYSTEM_PARTITION_CUSTOMER_BEGIN + 0", 0x1000, 0x1000),
        ("SYSTEM_PARTITION_OTA_1", 0x2000, 0x80000),
        ("SYSTEM_PARTITION_OTA_2", 0x102000, 0xFE000),
        ("SYSTEM_PARTITION_CUSTOMER_BEGIN + 1", 0x200000, 0x100000),
        ("SYSTEM_PARTITION_RF_CAL", 0x3FB000, 0x1000),
        ("SYSTEM_PARTITION_PHY_DATA", 0x3FC000, 0x1000),
        ("SYSTEM_PARTITION_SYSTEM_PARAMETER", 0x3FD000, 0x3000),
    ]
    assert "#define RBOOT_FLASH_MAP 4\n" in header


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_partition_table_compiles(tmp_path: Path, name: str) -> None:
    (tmp_path / "user_interface.h").write_text(
        "enum { SYSTEM_PARTITION_BOOTLOADER = 1, SYSTEM_PARTITION_OTA_1, SYSTEM_PARTITION_OTA_2,\n"
        "       SYSTEM_PARTITION_RF_CAL, SYSTEM_PARTITION_PHY_DATA, SYSTEM_PARTITION_SYSTEM_PARAMETER,\n"
        "       SYSTEM_PARTITION_CUSTOMER_BEGIN = 100 };\n"
        "typedef struct { int type; unsigned addr, size; } partition_item_t;\n"
    )
    (tmp_path / "partitions.h").write_text(sdk_partitions(preset(name)))
    (tmp_path / "main.c").write_text('#include "partitions.h"\nint count = RBOOT_PARTITION_COUNT;\n')
    compiler = shutil.which("xtensa-lx106-elf-gcc")
    assert compiler
    command = [compiler, "-Wall", "-Werror", "-Wno-unused", "-c", "main.c"]
    subprocess.run(command, cwd=tmp_path, check=True)


# For people


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_pieces_cover_the_flash_without_gap(name: str) -> None:
    layout = preset(name)
    at = 0
    for piece in pieces(layout):
        assert piece.address == at
        assert piece.size > 0
        at = piece.end
    assert at == layout.size.bytes


def test_the_drawing_is_to_scale() -> None:
    lines = drawing(from_toml(BOARD)).splitlines()
    assert lines == [
        "0x000000 |" + "0" * 33 + "." * 31 + "|",
        "0x100000 |." + "1" * 63 + "|",
        "0x200000 |" + "a" * 64 + "|",
        "0x300000 |" + "." * 63 + "d|",
        "one character is 16 KB",
    ]


def test_the_table_has_places_sizes_link_addresses_and_what_is_free() -> None:
    lines = table(from_toml(BOARD)).splitlines()
    assert lines[0] == "      start       end     KB   linked at"
    assert lines[3] == "0  0x002000  0x082000    512  0x40202010  slot 0 (main)"
    assert lines[4] == ".  0x082000  0x102000    512              free"
    assert lines[6] == "a  0x200000  0x300000  1,024              files"
    assert lines[-1] == "                       1,516              free in all"


def test_the_title_says_what_the_loader_must_be() -> None:
    assert title(from_toml(BOARD)) == "dio, 4MB, 80m flash; loader: big flash, config checksum, up to 6 ROMs"


def test_the_picture_is_to_scale_and_stands_alone() -> None:
    text = svg(from_toml(BOARD.replace('"files"', '"<files> & \\"more\\""')))
    assert not re.search(r"<script|href|url\(|@import|style=", text)
    space = "{http://www.w3.org/2000/svg}"
    root = ET.fromstring(text)
    widths = {}
    for group in root.iter(f"{space}g"):
        name = group.findtext(f"{space}title", "").split(":")[0]
        rect = group.find(f"{space}rect")
        assert rect is not None
        widths[name] = float(rect.attrib["width"])
    assert widths['<files> & "more"'] == pytest.approx(2 * widths["slot 0 (main)"], abs=0.02)
    assert widths["slot 1"] == pytest.approx(widths["slot 0 (main)"] * 0xFE000 / 0x80000, abs=0.02)
    right = max(float(rect.attrib.get("x", 0)) + float(rect.attrib["width"]) for rect in root.iter(f"{space}rect"))
    assert right <= float(root.attrib["width"])


def test_the_readmes_layout_file_is_one() -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    assert [slot.label for slot in from_toml(text).slots] == ["slot 0 at 0x2000", "slot 1 at 0x202000"]


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(LayoutError, match="the layout is not TOML: "):
        from_toml('flash_size = "1MB"\n[[slot]]\naddress = ' + "9" * 5000)

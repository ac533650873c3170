"""Flash layouts: by name, from TOML, as a partition table, and as people see them."""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import ROOT

from rbootimg.errors import LayoutError
from rbootimg.layout.model import FlashLayout, FlashRegion, LoaderOptions, Slot, make_flash_layout
from rbootimg.layout.params import flash_size
from rbootimg.layout.presets import LAYOUT_PRESETS, preset_layout
from rbootimg.layout.sdk_partitions import Partition, check_partitions, partition_rows, sdk_partitions
from rbootimg.layout.segments import layout_segments
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.views.layout import drawing, svg, table, title

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
    layout = preset_layout(name)
    assert [(slot.address, slot.size) for slot in layout.slots] == slots
    assert layout.size.name == ("4MB" if name == "four-1MB" else "1MB" if name == "sming" else name.split("-")[0])
    end = layout.size.bytes
    assert [(region.name, end - region.address, region.size) for region in layout.regions] == [
        ("rf_cal", 0x5000, 0x1000),
        ("phy_init", 0x4000, 0x1000),
        ("sdk_params", 0x3000, 0x3000),
    ]
    assert parse_layout(f'preset = "{name}"') == layout


def test_every_preset_has_a_test() -> None:
    assert len(LAYOUT_PRESETS) == 12


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LayoutError, match="unknown layout '3MB': expected one of 512KB, 1MB, 2MB-capped"):
        preset_layout("3MB")


def test_a_layout_file_says_everything() -> None:
    layout = parse_layout(BOARD)
    assert layout.size.name == "4MB"
    assert layout.params.describe() == "dio, 4MB, 80m"
    assert layout.loader == LoaderOptions(big_flash=True, config_checksum=True, max_roms=6)
    assert layout.slots == (Slot(0x2000, 0x80000, 0, "main"), Slot(0x102000, 0xFE000, 1))
    assert layout.regions[0] == FlashRegion("files", 0x200000, 0x100000)
    assert [region.name for region in layout.regions] == ["files", "rf_cal", "phy_init", "sdk_params"]


def test_a_slot_without_a_size_ends_before_a_region() -> None:
    text = 'flash_size = "1MB"\n[[slot]]\naddress = 0x2000\n[[region]]\nname = "x"\naddress = 0x40000\nsize = 0x1000\n'
    assert parse_layout(text).slots == (Slot(0x2000, 0x3E000, 0),)


def test_without_slots_they_are_rboots_default_pair() -> None:
    for size, big_flash in (("512KB", False), ("4MB", False), ("4MB", True)):
        text = f'flash_size = "{size}"\nsdk_data = false\n[loader]\nbig_flash = {str(big_flash).lower()}\n'
        assert parse_layout(text) == make_flash_layout(size, big_flash=big_flash)


def test_a_file_changes_a_preset() -> None:
    layout = parse_layout('preset = "four-1MB"\nflash_mode = "dout"\n[loader]\nirom_checksum = true\n')
    assert layout.slots == preset_layout("four-1MB").slots
    assert layout.params.describe() == "dout, 4MB, 40m"
    assert layout.loader == LoaderOptions(big_flash=True, irom_checksum=True)


def test_changes_come_before_the_file() -> None:
    changes = {"flash_size": "2MB", "loader": {"max_roms": 2}, "region": []}
    layout = parse_layout(BOARD, changes, [Slot(0x2000, 0, 0)])
    assert layout.size.name == "2MB"
    assert layout.loader == LoaderOptions(big_flash=True, config_checksum=True, max_roms=2)
    assert layout.slots == (Slot(0x2000, 0xFE000, 0),)


ONE_MB = 'flash_size = "1MB"\n'
REGION = '[[region]]\nname = "files"\naddress = {}\nsize = {}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flash_size", "invalid TOML: "),
        ("", "missing flash_size or preset"),
        ("flash_size = 1", "invalid flash_size 1: expected a string"),
        ('flash_size = "3MB"', "unknown flash size '3MB': expected one of 256KB"),
        ('preset = "big"', "unknown layout 'big': expected one of 512KB"),
        (ONE_MB + 'flash_mode = "fast"', "unknown flash mode 'fast': expected one of qio"),
        (ONE_MB + "slots = 2", "^unknown key 'slots': expected one of preset, flash_size"),
        (ONE_MB + "sdk_data = 1", "invalid sdk_data 1: expected true or false"),
        (ONE_MB + "loader = 1", r"loader: expected a table \[loader\]"),
        (ONE_MB + "[loader]\nbig = true", r"\[loader\]: unknown key 'big': expected one of big_flash"),
        (ONE_MB + "[loader]\nbig_flash = 1", r"\[loader\]: invalid big_flash 1: expected true or false"),
        (ONE_MB + '[loader]\ngpio = "low"', "invalid gpio 'low' of the loader: expected one of '', 'rom', 'skip'"),
        (ONE_MB + "[loader]\ngpio = true", r"\[loader\]: invalid gpio True: expected a string"),
        (ONE_MB + "[loader]\ngpio_pin = 17", "invalid gpio_pin 17 of the loader: expected 0-16"),
        (ONE_MB + "[loader]\nmax_roms = true", r"\[loader\]: invalid max_roms True: expected an integer"),
        (ONE_MB + "[loader]\nmax_roms = 0", "invalid max_roms 0 of the loader: expected 1-255"),
        (ONE_MB + "[loader]\nmax_roms = 1", "too many slots: 2, but max_roms of the loader is 1; raise max_roms"),
        (ONE_MB + "slot = 1", r"slot: expected a list of tables \[\[slot\]\]"),
        (ONE_MB + "slot = [1]", r"slot: expected a list of tables \[\[slot\]\]"),
        (ONE_MB + "[[slot]]\nsize = 1", "slot 0: missing address"),
        (ONE_MB + "[[slot]]\naddress = 1.5", "slot 0: address: invalid address or size '1.5'"),
        (ONE_MB + "[[slot]]\naddress = 0x2000\nsize = 0", "slot 0: size must be greater than 0; omit it"),
        (ONE_MB + "[[slot]]\naddress = 0x2000\nname = 1", "invalid name 1: expected a string"),
        (
            ONE_MB + '[[slot]]\naddress = 0x2000\nname = "a\\u001b[2J"',
            r"invalid name 'a\\x1b\[2J': contains non-printable characters",
        ),
        (ONE_MB + "[[slot]]\naddress = 0x2000\ncolour = 1", "slot 0: unknown key 'colour': expected one of name"),
        (ONE_MB + "[[region]]\naddress = 0x40000\nsize = 1", "region 0: missing name"),
        (ONE_MB + REGION.format("0xfa000", "0x2000"), "region files at 0xfa000 .*overlaps region rf_cal at 0xfb000"),
        (ONE_MB + REGION.format("0x1000", "0x1000"), "region files at 0x1000 overlaps rBoot's config sector"),
        (
            ONE_MB + REGION.format("0x40800", "0x1000"),
            "region files at 0x40800: invalid address: expected a multiple of the flash sector",
        ),
        (
            ONE_MB + REGION.format("0xff000", "0x2000"),
            "region files at 0xff000 ends at 0x101000, past the end of the 1MB flash",
        ),
        (
            ONE_MB + REGION.format("0x40000", "0x1800"),
            "region files at 0x40000: invalid size 0x1800: expected a multiple of the flash sector "
            r"\(0x1000\), e.g. 0x2000",
        ),
        (
            ONE_MB + "[[slot]]\naddress = 0x2000\nsize = 500000\n",
            r"slot 0 at 0x2000: invalid size 0x7a120: expected a multiple of the flash sector \(0x1000\), e.g. 0x7b000",
        ),
        (ONE_MB + "[loader]\nall_sizes = 1", r"\[loader\]: invalid all_sizes 1: expected true or false"),
        (ONE_MB + REGION.format("0x40000", "0"), "region files at 0x40000: size must be greater than 0"),
        (ONE_MB + 2 * REGION.format("0x40000", "0x1000"), "two regions are called 'files'; rename one"),
        (
            ONE_MB + "[[slot]]\naddress = 0x2000\nsize = 0x40000\n" + REGION.format("0x40000", "0x1000"),
            "slot 0 at 0x2000 ends at 0x42000 and overlaps region files at 0x40000",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        parse_layout(text)


@settings(max_examples=150)
@given(st.integers(0, len(BOARD)), st.integers(0, 20), st.text(max_size=8))
def test_a_damaged_file_gives_a_layout_or_one_error(at: int, removed: int, added: str) -> None:
    try:
        parse_layout(BOARD[:at] + added + BOARD[at + removed :])
    except LayoutError as error:
        assert str(error)  # noqa: PT017 - both outcomes are right


# The partition table


def as_numbers(header: str) -> list[tuple[str, int, int]]:
    rows = re.findall(r"\{(\S.*?), 0x([0-9a-f]+), 0x([0-9a-f]+)\}", header)
    return [(kind, int(address, 16), int(size, 16)) for kind, address, size in rows]


def test_the_partition_table_is_the_layout_with_slots_as_customer_partitions() -> None:
    header = sdk_partitions(parse_layout(BOARD))
    assert as_numbers(header) == [
        ("SYSTEM_PARTITION_BOOTLOADER", 0, 0x1000),
        ("SYSTEM_PARTITION_CUSTOMER_BEGIN + 0", 0x1000, 0x1000),
        ("SYSTEM_PARTITION_CUSTOMER_BEGIN + 1", 0x2000, 0x80000),
        ("SYSTEM_PARTITION_CUSTOMER_BEGIN + 2", 0x102000, 0xFE000),
        ("SYSTEM_PARTITION_CUSTOMER_BEGIN + 3", 0x200000, 0x100000),
        ("SYSTEM_PARTITION_RF_CAL", 0x3FB000, 0x1000),
        ("SYSTEM_PARTITION_PHY_DATA", 0x3FC000, 0x1000),
        ("SYSTEM_PARTITION_SYSTEM_PARAMETER", 0x3FD000, 0x3000),
    ]
    assert "#define RBOOT_FLASH_MAP 4\n" in header
    assert "#define RBOOT_RF_CAL_SECTOR 0x3fb\n" in header


def test_a_slots_partition_keeps_its_number_when_a_region_comes() -> None:
    slots = "[[slot]]\naddress = 0x82000\n[[slot]]\naddress = 0x20000\nsize = 0x40000\n"
    without, with_region = (
        {row.kind: row.address for row in partition_rows(parse_layout(ONE_MB + slots + more))}
        for more in ("", REGION.format("0x2000", "0x1000"))
    )
    assert {kind: with_region[kind] for kind in without} == without
    assert without[101] == 0x82000
    assert with_region[103] == 0x2000


@functools.cache
def double_of_the_sdk() -> ctypes.CDLL:
    """system_partition_table_regist() as a library, with a `flash_0` of our choice."""
    with tempfile.TemporaryDirectory() as directory:
        source, library = Path(directory) / "double.c", Path(directory) / "double.so"
        source.write_text(DOUBLE)
        options = ("-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{OTA / 'sdk'}", f"-I{OTA}")
        subprocess.run(["gcc", *options, source, "-o", library], check=True)
        return ctypes.CDLL(str(library))


OTA = ROOT / "tests" / "ota"
DOUBLE = """
#include "sdk_partitions.c"
uint32 flash_0;
SpiFlashOpResult spi_flash_read(uint32 from, uint32 *to, uint32 size)
{
    (void)from, (void)size;
    *to = flash_0;
    return SPI_FLASH_RESULT_OK;
}
"""


def accepted(rows: Sequence[Partition], size_code: int, flash_0: int | None = None) -> bool:
    """Whether the SDK takes the table in a flash whose header has the size code `flash_0`, else `size_code`."""
    library = double_of_the_sdk()
    code = size_code if flash_0 is None else flash_0
    ctypes.c_uint32.in_dll(library, "flash_0").value = code << 28 | 0x0F02E9
    words = [word for row in rows for word in (row.kind, row.address, row.size)]
    return bool(library.system_partition_table_regist((ctypes.c_uint32 * len(words))(*words), len(rows), size_code))


def own_layout(size: str, extra: str = "", big_flash: bool = True) -> FlashLayout:
    return parse_layout(f'flash_size = "{size}"\n[loader]\nbig_flash = {str(big_flash).lower()}\n{extra}')


TABLES = {
    **{name: found for name, found in LAYOUT_PRESETS.items() if name != "512KB"},
    "board": parse_layout(BOARD),
    "2MB-c1": own_layout("2MB-c1"),
    "4MB-c1": own_layout("4MB-c1", big_flash=False),
    "one slot": own_layout("1MB", "[[slot]]\naddress = 0x10000\nsize = 0x1000\n"),
    "moved calibration": own_layout("4MB", REGION.format("0x180000", "0x1000").replace("files", "rf_cal")),
    "odd names": own_layout("4MB", REGION.format("0x180000", "0x1000").replace("files", "*//* \\\\")),
}


@pytest.mark.parametrize("name", list(TABLES))
@pytest.mark.needs("gcc", "xtensa-lx106-elf-gcc")
def test_the_sdk_registers_the_table_as_the_compiler_reads_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "partitions.h").write_text(sdk_partitions(TABLES[name]))
    (tmp_path / "main.c").write_text(
        DOUBLE + '#include "partitions.h"\n'
        "int main(void)\n{\n"
        "    const partition_item_t *slot = rboot_partitions;\n"
        f"    flash_0 = {TABLES[name].size.code}u << 28;\n"
        "    while (slot->type != RBOOT_PARTITION_SLOT(0)) slot++;\n"
        f"    return !(slot->addr == {TABLES[name].slots[0].address} &&\n"
        "             system_partition_table_regist(rboot_partitions, RBOOT_PARTITION_COUNT, RBOOT_FLASH_MAP));\n}\n"
    )
    options = ("-Wall", "-Wextra", "-Werror", f"-I{OTA / 'sdk'}", f"-I{OTA}")
    subprocess.run(["gcc", *options, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run(["./main"], cwd=tmp_path, check=True)
    options = ("-Wall", "-Wextra", "-Werror", "-mlongcalls", "-c", f"-I{OTA / 'sdk'}", f"-I{OTA}")
    subprocess.run(["xtensa-lx106-elf-gcc", *options, "main.c", "-o", "main.o"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            preset_layout("512KB"),
            "NONOS SDK 3 accepts no partition table for a 512KB flash: expected one of 1MB, 2MB, 4MB, 2MB-c1",
        ),
        (own_layout("256KB"), "NONOS SDK 3 accepts no partition table for a 256KB flash"),
        (
            parse_layout(ONE_MB + "sdk_data = false"),
            "the layout lacks region 'rf_cal', which NONOS SDK 3 requires for SYSTEM_PARTITION_RF_CAL; "
            "set sdk_data = true or add the region",
        ),
        (
            parse_layout(ONE_MB + REGION.replace("files", "rf_cal").format("0xf9000", "0x2000")),
            "rf_cal at 0xf9000 has 0x2000 bytes: NONOS SDK 3 requires 0x1000 for SYSTEM_PARTITION_RF_CAL",
        ),
        (
            parse_layout(ONE_MB + REGION.replace("files", "sdk_params").format("0xe0000", "0x3000")),
            "sdk_params at 0xe0000: NONOS SDK 3 keeps its parameters at 0xfd000 in a 1MB flash "
            "regardless of the table; move the region",
        ),
    ],
)
def test_a_table_that_the_sdk_refuses_is_not_written(found: FlashLayout, message: str) -> None:
    with pytest.raises(LayoutError) as error:
        sdk_partitions(found)
    assert str(error.value).startswith(message)


@pytest.mark.needs("gcc")
def test_the_rows_of_rboots_slots_as_the_sdks_own_are_refused() -> None:
    """As rbootimg wrote them once."""
    kinds = {101: 2, 102: 3}
    rows = [replace(row, kind=kinds.get(row.kind, row.kind)) for row in partition_rows(preset_layout("1MB"))]
    assert not accepted(rows, 2)
    with pytest.raises(LayoutError, match="slot 0 at 0x2000: NONOS SDK 3 requires SYSTEM_PARTITION_OTA_1 at 0x1000"):
        check_partitions(rows, flash_size("1MB"))


@pytest.mark.needs("gcc")
def test_the_double_knows_the_map_of_the_flash() -> None:
    rows = partition_rows(preset_layout("1MB"))
    assert accepted(rows, 2)
    assert not accepted(rows, 2, flash_0=4)
    for code in (0, 1, 7, 10, 15):
        assert not accepted(rows, code)


KINDS = (1, 2, 3, 4, 5, 6, 100, 101, 102, 103)
SECTORS = st.sampled_from((0, 1, 2, 0x10, 0x81, 0x82, 0xFB, 0xFC, 0xFD, 0xFF, 0x101, 0x1FB, 0x1FC, 0x1FD, 0x200))
ROWS = st.lists(
    st.builds(
        Partition,
        st.sampled_from(KINDS),
        st.builds(lambda sector, rest: sector * 0x1000 + rest, SECTORS, st.sampled_from((0,) * 9 + (4,))),
        st.sampled_from((0x1000,) * 4 + (0x3000, 0x3000, 0x2000, 0x79000, 0x7F000, 0x101000, 0x800, 0)),
        st.just("row"),
    ),
    max_size=4,
)


@settings(max_examples=400)
@given(st.sampled_from(["1MB", "2MB", "2MB-c1", "512KB", "16MB"]), ROWS, st.sets(st.sampled_from(KINDS), max_size=4))
@pytest.mark.needs("gcc")
def test_what_passes_the_check_passes_the_sdk(size: str, more: list[Partition], without: set[int]) -> None:
    """And what the SDK takes beyond that would not work, or is not rBoot's."""
    chip = flash_size(size)
    rows = [row for row in partition_rows(own_layout(size)) if row.kind not in without] + more
    try:
        check_partitions(rows, chip)
    except LayoutError as error:
        stricter = ("keeps its parameters at", "requires both OTA_1 and OTA_2")
        assert not accepted(rows, chip.code) or any(text in str(error) for text in stricter)  # noqa: PT017
    else:
        assert accepted(rows, chip.code)


# For people


@pytest.mark.parametrize("name", list(LAYOUT_PRESETS))
def test_the_pieces_cover_the_flash_without_gap(name: str) -> None:
    layout = preset_layout(name)
    at = 0
    for piece in layout_segments(layout):
        assert piece.address == at
        assert piece.size > 0
        at = piece.end
    assert at == layout.size.bytes


def test_the_drawing_is_to_scale() -> None:
    lines = drawing(parse_layout(BOARD)).splitlines()
    assert lines == [
        "0x000000 |" + "0" * 33 + "." * 31 + "|",
        "0x100000 |." + "1" * 63 + "|",
        "0x200000 |" + "a" * 64 + "|",
        "0x300000 |" + "." * 63 + "d|",
        "one character is 16 KB",
    ]


def test_the_table_has_places_sizes_link_addresses_and_what_is_free() -> None:
    lines = table(parse_layout(BOARD)).splitlines()
    assert lines[0] == "      start       end     KB   linked at"
    assert lines[3] == "0  0x002000  0x082000    512  0x40202010  slot 0 (main)"
    assert lines[4] == ".  0x082000  0x102000    512              free"
    assert lines[6] == "a  0x200000  0x300000  1,024              files"
    assert lines[-1] == "                       1,516              free in total"


def test_the_title_says_what_the_loader_must_be() -> None:
    assert title(parse_layout(BOARD)) == "dio, 4MB, 80m flash; loader: big flash, config checksum, up to 6 ROMs"


def test_the_picture_is_to_scale_and_stands_alone() -> None:
    text = svg(parse_layout(BOARD.replace('"files"', '"<files> & \\"more\\""')))
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


def test_the_layout_file_of_the_documentation_is_valid() -> None:
    page = (ROOT / "docs" / "reference" / "layout-files.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert [slot.label for slot in parse_layout(text).slots] == ["slot 0 at 0x2000", "slot 1 at 0x202000"]


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"^line 3: word too long: expected at most 64 characters$"):
        parse_layout('flash_size = "1MB"\n[[slot]]\naddress = ' + "9" * 5000)

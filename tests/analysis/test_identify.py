"""Identifying files: each kind, valid and corrupt, as values, as JSON and as text."""

from __future__ import annotations

import functools
import hashlib
import struct
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.elf_builder import APP, EM_386, IRAM, Sec, build_elf
from support.images import ALL_SIZES, BIG, CONFIG, IROM, OLD_SIZES, VECTORS, loader, rom, silent_rom

from rbootimg.analysis.elf import ElfInfo
from rbootimg.analysis.flash import ConfigInfo, FlashInfo
from rbootimg.analysis.identify import as_json, identify
from rbootimg.analysis.image import ChecksumKind, ImageInfo
from rbootimg.errors import RbootError
from rbootimg.flash.bootconfig import BootConfig, BootMode
from rbootimg.layout.model import Slot, make_flash_layout
from rbootimg.layout.params import FlashParams
from rbootimg.layout.presets import preset_layout
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.rom.format import Rom
from rbootimg.views import info
from rbootimg.views.tables import plain

if TYPE_CHECKING:
    from rbootimg.analysis.identify import FileInfo

SLOTS = make_flash_layout("1MB").slots
IN_EACH_MEGABYTE = [megabyte * 0x100000 + 0x2000 for megabyte in range(16)]
CONFIG_SECTOR = BootConfig((0x2000, 0x82000)).to_bytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def flash(
    pieces: dict[int, bytes], size: str = "1MB", options: tuple[str, ...] = (), length: int | None = None
) -> bytes:
    """A flash with a loader built with `options`, and `pieces` by their addresses."""
    boot = bytearray(loader(*options))
    boot[2:4] = FlashParams.from_names("dio", size, "80m").to_bytes()
    content = bytearray(b"\xff" * (length or make_flash_layout(size).size.bytes))
    for address, data in {0: bytes(boot), **pieces}.items():
        content[address : address + len(data)] = data
    return bytes(content)


def region(name: str, address: int, content: bytes) -> dict[str, object]:
    """A region as JSON."""
    blank = content.count(0xFF) == len(content)
    return {
        "name": name,
        "address": address,
        "size": len(content),
        "blank": blank,
        "sha256": sha256(content),
        "littlefs": None,
    }


def text(found: FileInfo) -> str:
    return plain(info.blocks("file", found))


def image(data: bytes, slots: tuple[Slot, ...] = ()) -> ImageInfo:
    found = identify(data, slots)
    assert isinstance(found, ImageInfo)
    return found


def flash_info(data: bytes, slots: tuple[Slot, ...] = ()) -> FlashInfo:
    found = identify(data, slots)
    assert isinstance(found, FlashInfo)
    return found


# ROMs


def test_a_rom_as_json_field_by_field() -> None:
    assert as_json(identify(rom(0), SLOTS)) == {
        "kind": "rom",
        "size": 240,
        "sha256": sha256(rom(0)),
        "problems": [],
        "flash": {"mode": "qio", "size": "512KB", "freq": "40m"},
        "entry": 0x40100004,
        "sections": [
            {"name": "irom", "address": 0x40202010, "size": 112, "memory": "flash"},
            {"name": "RAM section 0", "address": 0x40100000, "size": 36, "memory": "IRAM"},
            {"name": "RAM section 1", "address": 0x3FFE8000, "size": 8, "memory": "DRAM"},
            {"name": "RAM section 2", "address": 0x3FFE8008, "size": 20, "memory": "DRAM"},
        ],
        "checksum": {"stored": 0xE3, "ram": 0xE3, "ram_and_irom": 0xC3, "matches": "ram"},
        "esptool_crc": None,
        "appbin_user": None,
        "trailing": 0,
        "link": {
            "address": 0x40202010,
            "slot": 0x2000,
            "slots": IN_EACH_MEGABYTE,
            "words": 2,
            "inside": 2,
            "starts": 1,
            "reason": "of 2 words that point into the flash window, 2 point into irom "
            "and 1 of them to the start of a function or of data",
        },
        "slot": {"address": 0x2000, "size": 0x80000, "free": 0x80000 - 240},
        "slots": [{"address": 0x2000, "size": 0x80000, "free": 0x80000 - 240}],
    }


def test_a_rom_as_text() -> None:
    assert text(identify(rom(1), SLOTS)) == (
        "file: rBoot ROM, valid\n"
        "  size      240 bytes\n"
        f"  SHA-256   {sha256(rom(1))}\n"
        "\n"
        "  flash     qio, 512KB, 40m\n"
        "  entry     0x40100004\n"
        "  checksum  0xeb, valid, over the RAM sections (with irom 0xc3)\n"
        "  linked    at 0x40282010 (slot at 0x82000): of 2 words that point into the flash window, "
        "2 point into irom and 1 of them to the start of a function or of data\n"
        "  slot      slot 1 at 0x82000, 495,376 bytes free\n"
        "\n"
        "  section        address     bytes  memory\n"
        "  irom           0x40282010    112  flash\n"
        "  RAM section 0  0x40100000     36  IRAM\n"
        "  RAM section 1  0x3ffe8000      8  DRAM\n"
        "  RAM section 2  0x3ffe8008     20  DRAM\n"
        "\n"
        "  loaded to  bytes       of    %\n"
        "  IRAM          36   32,768  0.1\n"
        "  DRAM          28   81,920  0.0\n"
        "  flash        240  495,616  0.0"
    )


@pytest.mark.parametrize(
    ("data", "matches", "expected"),
    [
        (rom(0), ChecksumKind.RAM, "0xe3, valid, over the RAM sections (with irom 0xc3)"),
        (
            rom(0, irom_checksum=True),
            ChecksumKind.RAM_AND_IROM,
            "0xc3, valid, over the RAM sections and irom (without irom 0xe3)",
        ),
        (silent_rom(), ChecksumKind.BOTH, "valid, with and without irom"),
        (rom(0)[:-1] + b"\0", None, "0x00, invalid (calculated 0xe3, with irom 0xc3)"),
        (loader(), ChecksumKind.RAM, "valid\n"),
    ],
    ids=["RAM", "irom", "both", "invalid", "loader"],
)
def test_the_checksum_says_what_it_is_over(data: bytes, matches: ChecksumKind | None, expected: str) -> None:
    found = image(data)
    assert found.checksum is not None
    assert found.checksum.matches == matches
    assert expected in text(found)


@pytest.mark.parametrize("is_valid", [True, False])
def test_esptools_crc_is_checked(is_valid: bool) -> None:
    data = bytearray(Rom.from_bytes(rom(0))._replace(esptool_crc=True).to_bytes())
    if not is_valid:
        data[-1] ^= 1
    found = image(bytes(data))
    assert (found.esptool_crc, found.trailing) == (is_valid, 0)
    assert bool(found.problems) is not is_valid
    assert f"  CRC-32    {'valid' if is_valid else 'invalid'}; appended by esptool" in text(found)


def test_an_image_for_the_mask_rom_is_told_from_a_rom() -> None:
    found = image(loader())
    assert (found.kind, found.size, found.link, found.problems) == ("old image", len(loader()), None, ())
    assert as_json(found)["checksum"] == {"stored": 0xA1, "ram": 0xA1, "ram_and_irom": None, "matches": "ram"}
    assert text(found).startswith("file: image for the mask ROM, such as a loader, valid\n")


def test_trailing_bytes_of_an_image_for_the_mask_rom_are_not_a_problem() -> None:
    found = image(loader() + b"irom")
    assert (found.trailing, found.problems) == (0, ())  # as many bytes as a CRC
    found = image(loader() + b"more irom")
    assert (found.trailing, found.problems) == (9, ())
    assert "  trailing  9 bytes after the image\n" in text(found)


@pytest.mark.parametrize(
    ("data", "problem", "sections"),
    [
        (rom(0)[:-1] + b"\0", "bad checksum 0x00 at offset 0xef: expected 0xe3 (0xc3 with irom)", 4),
        (rom(0)[:-1], "truncated image: the checksum ends at offset 0xf0, but there are only 0xef bytes", 4),
        (rom(0)[:200], "truncated image: the header of RAM section 2 ends at offset 0xcc", 3),
        (rom(0)[:60], "truncated image: irom ends at offset 0x80, but there are only 0x3c bytes", 1),
        (rom(0)[:9], "truncated image: the irom header ends at offset 0x10", 1),
        (rom(0) + b"behind", "6 trailing bytes after the checksum at offset 0xef", 4),
    ],
    ids=["checksum", "a byte missing", "in the RAM", "in irom", "in the header", "trailing"],
)
def test_a_corrupt_rom_is_described_as_far_as_possible(data: bytes, problem: str, sections: int) -> None:
    found = image(data)
    assert (found.kind, found.entry, len(found.sections)) == ("rom", 0x40100004, sections)
    assert found.problems[0].startswith(problem)
    lines = text(found).splitlines()
    assert lines[0] == "file: rBoot ROM, invalid"
    assert lines[1].startswith(f"  problem   {problem}")


def test_a_rom_for_another_slot_or_too_large_is_a_problem() -> None:
    slot = Slot(0x82000, 0x10000)
    assert image(rom(0), (slot,)).problems == (
        "linked at 0x40202010 (slot at 0x2000), expected 0x40282010 for slot at 0x82000",
    )
    assert image(rom(0), (Slot(0x2000, 200),)).problems == (
        "ROM has 240 bytes, 40 more than slot at 0x2000 holds (200)",
    )
    elsewhere = (Slot(0x42000, 0x10000), Slot(0x82000, 0x10000))
    assert image(rom(0), elsewhere).problems == (
        "linked at 0x40202010 (slot at 0x2000), expected 0x40242010 or 0x40282010 for a slot of the layout",
    )


# Slots in several megabytes

# Slots 0, 2 and 3 share a link; the ROM of 240 bytes fits two of them.
SHARED = (Slot(0x2000, 200, 0), Slot(0x82000, 0x79000, 1), Slot(0x102000, 0x1000, 2), Slot(0x202000, 240, 3))


def as_slots(slots: tuple[Slot, ...], size: int) -> list[dict[str, int]]:
    """The slots as JSON, with a ROM of `size` bytes."""
    return [{"address": slot.address, "size": slot.size, "free": slot.size - size} for slot in slots]


def test_all_slots_that_a_shared_link_fits_are_named() -> None:
    found = image(rom(0), SHARED)
    assert found.problems == ()
    assert found.slots == (SHARED[0], *SHARED[2:])
    assert "  linked    at 0x40202010 (slots at 0x2000, 0x102000, 0x202000): of 2 words" in text(found)
    assert (
        "  slot      slot 0 at 0x2000, 40 bytes too small\n"
        "            slot 2 at 0x102000, 3,856 bytes free\n"
        "            slot 3 at 0x202000, 0 bytes free\n"
    ) in text(found)
    values = as_json(found)
    assert values["slots"] == as_slots(found.slots, 240)
    assert values["slot"] == as_slots(SHARED[2:3], 240)[0]
    assert image(rom(1), SHARED).slots == SHARED[1:2]


def test_a_rom_too_large_for_all_of_them_is_compared_with_the_largest() -> None:
    small = (Slot(0x2000, 200, 0), Slot(0x102000, 230, 1), Slot(0x202000, 220, 2))
    found = image(rom(0), small)
    assert found.problems == ("ROM has 240 bytes, 10 more than slot 1 at 0x102000 holds (230)",)
    assert as_json(found)["slot"] == as_slots(small[1:2], 240)[0]
    assert as_json(found)["slots"] == as_slots(small, 240)


def test_without_a_layout_a_link_is_for_a_slot_in_each_megabyte() -> None:
    assert "  linked    at 0x40282010 (slots at 0x82000, 0x182000 and so on up to 0xf82000): of 2 words" in text(
        image(rom(1))
    )
    assert as_json(image(rom(1)))["slots"] == []
    elf = identify((VECTORS / "tiny.rom1.elf").read_bytes())
    assert "  linked    at 0x40282010 (slots at 0x82000, 0x182000 and so on up to 0xf82000)\n" in text(elf)


def test_the_slot_that_was_asked_for_is_the_one_that_is_named() -> None:
    found = image(rom(0), (Slot(0x302000, 0x1000),))
    assert "at 0x40202010 (slot at 0x302000): " in text(found)
    assert "  slot      slot at 0x302000, 3,856 bytes free\n" in text(found)


def test_all_slots_that_an_elf_is_for_are_named() -> None:
    found = identify((VECTORS / "tiny.rom0.elf").read_bytes(), SHARED)
    size = as_json(found)["memories"][-1]["used"]
    assert found.problems == ()
    assert "  linked    at 0x40202010 (slots at 0x2000, 0x102000, 0x202000)\n" in text(found)
    assert f"            slot 2 at 0x102000, {0x1000 - size:,} bytes free\n" in text(found)
    assert as_json(found)["slots"] == as_slots((SHARED[0], *SHARED[2:]), size)
    # No ROM can be packed from this program.
    broken = identify(build_elf(APP[-1:]), SHARED)
    assert as_json(broken)["slots"] == [{**slot, "free": None} for slot in as_slots((SHARED[0], *SHARED[2:]), 0)]
    assert "  slot      slot 0 at 0x2000\n            slot 2 at 0x102000\n" in text(broken)


def test_an_unknown_link_address_is_reported() -> None:
    found = image(silent_rom())
    assert found.sections[0].address is None
    assert "  linked    unknown: no word points into the flash window\n" in text(found)
    link = as_json(found)["link"]
    assert isinstance(link, dict)
    assert (link["address"], link["slot"], link["inside"]) == (None, None, None)


def test_unknown_flash_codes_are_numbers() -> None:
    data = Rom.from_bytes(rom(0))._replace(params=FlashParams(7, 15, 5)).to_bytes()
    assert as_json(identify(data))["flash"] == {"mode": 7, "size": 15, "freq": 5}
    assert "  flash     mode 7, size 15, frequency 5\n" in text(identify(data))


# Configs


def test_a_config_as_json_field_by_field() -> None:
    data = BootConfig((0x2000, 0x82000), 1, 0, BootMode.GPIO_ROM).to_bytes(checksum=True)
    assert as_json(identify(data)) == {
        "kind": "config",
        "size": 25,
        "sha256": sha256(data),
        "problems": [],
        "blank": False,
        "roms": [0x2000, 0x82000],
        "current_rom": 1,
        "gpio_rom": 0,
        "mode": 1,
        "checksum": True,
    }
    said = "  config    ROMs at 0x2000, 0x82000; current 1, GPIO 0, mode GPIO_ROM, with a checksum"
    assert said in text(identify(data))


def test_a_config_that_rboot_cannot_use_is_shown_as_it_reads_it() -> None:
    found = identify(CONFIG_SECTOR[:3] + b"\7" + CONFIG_SECTOR[4:])
    assert isinstance(found, ConfigInfo)
    assert found.problems == ("invalid current ROM 7: expected 0-1",)
    assert found.config == BootConfig((0x2000, 0x82000))
    cut = identify(CONFIG_SECTOR[:10])
    assert isinstance(cut, ConfigInfo)
    assert (cut.config, cut.problems) == (None, ("truncated config: expected 24 bytes, got 10",))


def test_a_config_for_more_roms_than_usual_is_read() -> None:
    addresses = tuple(range(0x2000, 0x12000, 0x2000))
    found = identify(BootConfig(addresses, 6).to_bytes(max_roms=8))
    assert isinstance(found, ConfigInfo)
    assert found.config == BootConfig(addresses, 6)


# ELFs


def test_an_elf_as_json_field_by_field() -> None:
    data = build_elf()
    assert as_json(identify(data)) == {
        "kind": "elf",
        "size": len(data),
        "sha256": sha256(data),
        "problems": [],
        "entry": 0x40100000,
        "sections": [
            {"name": ".text", "address": 0x40100000, "size": 8, "memory": "IRAM"},
            {"name": ".data", "address": 0x3FFE8000, "size": 4, "memory": "DRAM"},
            {"name": ".rodata", "address": 0x3FFE8004, "size": 9, "memory": "DRAM"},
            {"name": ".bss", "address": 0x3FFE8010, "size": 32, "memory": "DRAM"},
            {"name": ".irom0.text", "address": 0x40202010, "size": 17, "memory": "flash"},
        ],
        "link": {"address": 0x40202010, "slot": 0x2000, "slots": IN_EACH_MEGABYTE},
        "slots": [],
        "memories": [
            {"name": "IRAM", "used": 8, "available": 0x8000},
            {"name": "DRAM", "used": 48, "available": 0x14000},
            {"name": "flash", "used": 112, "available": None},
        ],
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            build_elf(machine=EM_386),
            "not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got 32-bit little-endian 386",
        ),
        (build_elf()[:-1], "corrupt or truncated ELF ("),
    ],
    ids=["other machine", "cut off"],
)
def test_an_invalid_elf_is_identified(data: bytes, problem: str) -> None:
    found = identify(data)
    assert isinstance(found, ElfInfo)
    assert found.problems[0].startswith(problem)
    assert text(found).startswith(f"file: ELF, invalid\n  problem   {problem}")


def test_an_elf_without_an_application_is_valid() -> None:
    found = identify(build_elf((*APP[:1], Sec(".far", 0x60000000, b"far"))))
    assert isinstance(found, ElfInfo)
    assert (found.problems, found.link_address, found.memories) == ((), None, ())
    assert found.sections[1].memory == "other"


# Flash images


def test_a_flash_as_json_field_by_field() -> None:
    config = BootConfig((0x2000, 0x82000), 1).to_bytes()
    data = flash({0x1000: config, 0x82000: rom(1) + b"an older ROM", 0xFC000: b"init data"}, options=(IROM,))
    found = identify(data)
    values = as_json(found)
    boot, sector, roms = values.pop("loader"), values.pop("config"), values.pop("roms")
    assert values == {
        "kind": "flash",
        "size": 0x100000,
        "sha256": sha256(data),
        "problems": [
            "ROM 1 at 0x82000: bad checksum 0xeb at offset 0xef: expected 0xc3 with irom; "
            "the ROM may have the other kind of checksum"
        ],
        "boots": None,
        "log": ["Rom 1 at 82000 is bad.", "Rom 0 at 2000 is bad.", "No good rom available."],
        "regions": [
            region("rf_cal", 0xFB000, b"\xff" * 0x1000),
            region("phy_init", 0xFC000, b"init data".ljust(0x1000, b"\xff")),
            region("sdk_params", 0xFD000, b"\xff" * 0x3000),
        ],
    }
    assert isinstance(boot, dict)
    assert boot["flash"] == {"mode": "dio", "size": "1MB", "freq": "80m"}
    assert (boot["kind"], boot["size"], boot["problems"]) == ("old image", len(loader(IROM)), [])
    assert (boot["version"], boot["big_flash"], boot["irom_checksum"], boot["config_checksum"]) == (
        "1.4.2",
        False,
        True,
        False,
    )
    assert isinstance(sector, dict)
    assert (sector["size"], sector["roms"], sector["current_rom"]) == (0x1000, [0x2000, 0x82000], 1)
    assert isinstance(roms, list)
    assert roms[0] == {"number": 0, "address": 0x2000, "blank": True, "rom": None, "problems": []}
    assert (roms[1]["number"], roms[1]["address"], roms[1]["blank"]) == (1, 0x82000, False)
    assert roms[1]["rom"]["sha256"] == sha256(rom(1))
    assert roms[1]["rom"]["slot"] == {"address": 0x82000, "size": 0x79000, "free": 0x79000 - 240}
    assert len(roms[1]["problems"]) == 1


def test_a_flash_with_a_layout_has_the_layouts_regions() -> None:
    layout = parse_layout(
        'flash_size = "1MB"\nsdk_data = false\n'
        '[[region]]\nname = "files"\naddress = 0xA0000\nsize = 0x2000\n'
        '[[region]]\nname = "notes"\naddress = 0x90000\nsize = 0x1000\n'
        '[[region]]\nname = "log"\naddress = 0xE0000\nsize = 0x1000\n'
    )
    data = flash({0x1000: CONFIG_SECTOR, 0x2000: rom(0), 0xA0000: b"file system"}, length=0xE0000)
    found = identify(data, layout.slots, layout)
    files = b"file system".ljust(0x2000, b"\xff")
    assert as_json(found)["regions"] == [  # without those outside the file
        region("notes", 0x90000, b"\xff" * 0x1000),
        region("files", 0xA0000, files),
    ]
    assert text(found).endswith(
        "  region  address  bytes  state\n"
        "  notes   0x90000  4,096  blank\n"
        f"  files   0xa0000  8,192  written, SHA-256 {sha256(files)}"
    )


@pytest.mark.parametrize(
    ("sizes", "second", "knows"), [(OLD_SIZES, 0x42000, False), (ALL_SIZES, 0x82000, True), ((), 0x82000, True)]
)
def test_a_flash_whose_loader_takes_it_for_512_kb_says_so(sizes: tuple[str, ...], second: int, knows: bool) -> None:
    header = loader(sizes=sizes)
    header = header[:2] + FlashParams.from_names("dio", "16MB", "80m").to_bytes() + header[4:]
    found = identify(header.ljust(0x1000, b"\xff") + b"\xff" * 0xFF000)
    assert isinstance(found, FlashInfo)
    assert [rom.address for rom in found.roms] == [0x2000, second]
    assert ("does not know this flash size and assumes 512KB" in text(found)) is not knows
    boot = as_json(found)["loader"]
    assert isinstance(boot, dict)
    assert boot["all_sizes"] == {OLD_SIZES: False, ALL_SIZES: True}.get(sizes)


def test_a_flash_as_text() -> None:
    data = flash({0x1000: CONFIG_SECTOR, 0x2000: rom(0), 0x82000: rom(1)})
    assert text(identify(data)) == (
        "file: flash image, valid\n"
        "  size      1,048,576 bytes\n"
        f"  SHA-256   {sha256(data)}\n"
        "\n"
        "  flash     dio, 1MB, 80m\n"
        "  loader    rBoot 1.4.2, 80 bytes\n"
        "  config    ROMs at 0x2000, 0x82000; current 0, GPIO 0, mode standard\n"
        "  boots     ROM 0\n"
        "  log       Booting rom 0 at 2000, load addr 2080.\n"
        "\n"
        "  ROM  address  bytes       of    %  linked at   state\n"
        "    0  0x2000     240  524,288  0.0  0x40202010  valid\n"
        "    1  0x82000    240  495,616  0.0  0x40282010  valid\n"
        "\n"
        "  region      address   bytes  state\n"
        "  rf_cal      0xfb000   4,096  blank\n"
        "  phy_init    0xfc000   4,096  blank\n"
        "  sdk_params  0xfd000  12,288  blank"
    )


@pytest.mark.parametrize(
    ("size", "options", "addresses"),
    [("1MB", (), (0x2000, 0x82000)), ("4MB", (), (0x2000, 0x82000)), ("4MB", (BIG,), (0x2000, 0x202000))],
)
def test_without_a_config_the_roms_are_those_of_rboots_default(
    size: str, options: tuple[str, ...], addresses: tuple[int, ...]
) -> None:
    found = flash_info(flash({0x2000: rom(0)}, size, options))
    assert (found.config.blank, found.config.config, found.boots, found.problems) == (True, None, 0, ())
    assert tuple(at.address for at in found.roms) == addresses
    pair = " and ".join(f"{address:#x}" for address in addresses)
    assert f"  config    blank; rBoot's default has ROMs at {pair}\n" in text(found)


@pytest.mark.parametrize("has_checksum", [True, False])
def test_a_loader_with_config_checksum_takes_only_a_config_with_one(has_checksum: bool) -> None:
    config = BootConfig((0x2000, 0x42000)).to_bytes(checksum=has_checksum)
    found = flash_info(flash({0x1000: config, 0x2000: rom(0)}, options=(CONFIG,)))
    assert (found.config.config is not None) is has_checksum
    assert found.roms[1].address == (0x42000 if has_checksum else 0x82000)
    assert [problem.startswith("config: bad config checksum") for problem in found.problems] == (
        [] if has_checksum else [True]
    )


def test_a_config_with_a_checksum_and_more_addresses_is_valid() -> None:
    config = BootConfig((0x2000, 0x82000), 1).to_bytes(8, checksum=True)
    found = flash_info(flash({0x1000: config, 0x2000: rom(0), 0x82000: rom(1)}, options=(CONFIG,)))
    assert (found.problems, found.boots) == ((), 1)


@pytest.mark.parametrize(
    ("good", "current", "boots"),
    [((0, 1, 2), 1, 1), ((0, 2), 1, 0), ((2,), 1, 2), ((1, 2), 0, 2), ((), 2, None)],
)
def test_a_bad_current_rom_lets_rboot_go_downward(good: tuple[int, ...], current: int, boots: int | None) -> None:
    addresses = (0x2000, 0x22000, 0x42000)
    pieces = {addresses[number]: silent_rom() for number in good}
    found = flash_info(flash({0x1000: BootConfig(addresses, current).to_bytes(), **pieces}))
    assert found.boots == boots
    wanted = () if current in good else (f"ROM {current} at {addresses[current]:#x} is current but blank",)
    assert found.problems == wanted
    assert f"  boots     {'nothing' if boots is None else f'ROM {boots}'}\n" in text(found)


@pytest.mark.parametrize(
    ("address", "content", "problem"),
    [
        (0x2000, b"junk", "not a ROM: starts with 6a 75 6e 6b"),
        (0x2000, rom(0)[:-1] + b"\0", "bad checksum 0x00 at offset 0xef"),
        (0x2000, rom(0)[:4] + b"\xff" * 100, "unexpected word 0xffffffff at offset 8"),
        (
            0x82000,
            rom(0),
            "linked at 0x40202010 (slot at 0x2000), expected 0x40282010 for slot 0 at 0x82000",
        ),
        (0x1000, b"", "invalid address: expected a multiple of 0x1000 from 0x2000 on"),
        (0x2004, b"", "invalid address: expected a multiple of 0x1000 from 0x2000 on"),
        (0xFFFFFFFF, b"", "outside the file"),
    ],
    ids=["junk", "checksum", "headers", "other slot", "config", "no sector", "nowhere"],
)
def test_an_invalid_rom_in_a_flash_is_reported_with_its_address(address: int, content: bytes, problem: str) -> None:
    pieces = {address: content} if content else {}
    found = flash_info(flash({0x1000: BootConfig((address,)).to_bytes(), **pieces}))
    assert found.problems[0].startswith(f"ROM 0 at {address:#x}: {problem}")
    # rBoot does not ask where a ROM is linked for.
    assert found.boots == (0 if "linked" in problem else None)


def test_an_esptool_rom_in_a_flash_is_complete() -> None:
    data = Rom.from_bytes(rom(0))._replace(esptool_crc=True).to_bytes()
    found = flash_info(flash({0x1000: CONFIG_SECTOR, 0x2000: data + b"\0 rest"}))
    assert found.problems == ()
    assert found.roms[0].image is not None
    assert (found.roms[0].image.size, found.roms[0].image.esptool_crc) == (len(data), True)


def test_a_flash_without_a_loader_or_with_a_broken_one() -> None:
    data = flash({0x1000: CONFIG_SECTOR, 0x2000: rom(0)})
    found = flash_info(b"\xff" * 0x1000 + data[0x1000:])
    assert found.problems == ("no boot loader at 0x0: the chip will not boot",)
    assert found.loader is None
    found = flash_info(data[:17] + b"\xaa" + data[18:])
    assert found.problems[0].startswith("loader: bad checksum 0xa1 at offset 0x4f")


def test_the_start_of_a_flash_is_identified() -> None:
    found = flash_info(flash({0x1000: CONFIG_SECTOR, 0x2000: rom(0)})[:0x3000])
    assert found.regions == ()
    assert found.roms[1].problems == ("outside the file",)


def test_a_layout_says_how_large_the_slots_of_a_flash_are() -> None:
    found = flash_info(flash({0x1000: CONFIG_SECTOR, 0x2000: rom(0)}), (Slot(0x2000, 0x1000),))
    assert found.roms[0].image is not None
    assert found.roms[0].image.slot == Slot(0x2000, 0x1000)


# Unknown files


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"text\n", "unknown file type: expected a ROM, flash image, boot config, ELF or LittleFS, got 74 65 78 74 …"),
        (
            b"\xea\x05" + bytes(100),
            "unknown file type: expected a ROM, flash image, boot config, ELF or LittleFS, got ea 05 00 00",
        ),
        (b"\xe9\x01", "truncated image: the header of the image ends at offset 0x8, but there are only 0x2 bytes"),
        (
            CONFIG_SECTOR + bytes(0x1000),
            "unknown file type: expected a ROM, flash image, boot config, ELF or LittleFS, got e1 01",
        ),
    ],
    ids=["empty", "text", "another magic", "two bytes", "more than a sector"],
)
def test_a_file_of_an_unknown_type_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RbootError) as refused:
        identify(data)
    assert str(refused.value).startswith(message)


# Any input


def examine(data: bytes) -> None:
    """Whatever else than RbootError comes out fails the test that calls this."""
    try:
        found = identify(data, SLOTS)
    except RbootError as error:
        messages = [str(error)]
    else:
        messages = list(found.problems)
        as_json(found)
        text(found)
    assert "\n" not in "".join(messages)


@functools.cache
def originals() -> tuple[bytes, ...]:
    small = flash({0x1000: CONFIG_SECTOR, 0x2000: rom(0), 0x3000: rom(0)}, length=0x4000)
    elf = (VECTORS / "tiny.rom0.elf").read_bytes()
    crc = Rom.from_bytes(rom(0))._replace(esptool_crc=True).to_bytes()
    return rom(0), crc, loader(), CONFIG_SECTOR, build_elf(), elf, small


@settings(max_examples=400, deadline=2000)
@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=5),
    st.integers(0, 0x5000),
    st.binary(max_size=8),
)
def test_corrupt_files_raise_only_rboot_error(
    which: int, changes: list[tuple[int, int]], length: int, tail: bytes
) -> None:
    data = bytearray(originals()[which])
    for offset, value in changes:
        # Headers are at the start and at 0x1000 and 0x2000 of a flash: half of the changes hit them.
        data[offset % len(data) if offset % 2 else (offset // 2 % 3 * 0x1000 + offset // 6 % 32) % len(data)] = value
    examine(bytes(data[:length]) + tail)


@settings(max_examples=300, deadline=2000)
@given(st.sampled_from([b"", b"\xea\x04", b"\xe9", b"\xe1\x01", b"\x7fELF\x01\x01\x01"]), st.binary(max_size=400))
def test_any_bytes_raise_only_rboot_error(start: bytes, rest: bytes) -> None:
    examine(start + rest)
    examine(loader().ljust(0x1000, b"\xff") + start + rest)
    examine(loader().ljust(0x1000, b"\xff") + CONFIG_SECTOR.ljust(0x1000, b"\xff") + start + rest)


def test_a_config_with_the_same_rom_many_times_takes_no_longer() -> None:
    big = rom(0, "big")
    config = BootConfig((0x2000,) * 255).to_bytes(max_roms=255)
    start = time.process_time()
    examine(flash({0x1000: config, 0x2000: big}))
    assert time.process_time() - start < 2


def test_lengths_that_lead_far_away_take_no_time() -> None:
    header = struct.pack("<BBHIII", 0xEA, 4, 0, IRAM, 0, 0xFFFFFFF0)
    start = time.process_time()
    for data in (header, struct.pack("<BBHI", 0xE9, 255, 0, IRAM) + struct.pack("<II", IRAM, 0) * 255):
        examine(data + bytes(0x100000))
    assert time.process_time() - start < 1


def test_a_flash_of_16_mb_takes_half_a_second() -> None:
    slots = preset_layout("four-1MB").slots
    big = rom(0, "big")
    config = BootConfig(tuple(slot.address for slot in slots)).to_bytes()
    data = flash({0x1000: config, **{slot.address: big for slot in slots}}, "16MB", (BIG,))
    start = time.process_time()
    assert flash_info(data).problems == ()
    assert time.process_time() - start < 1.5  # a loaded machine is given more


def test_an_elf_is_compared_with_its_slot() -> None:
    data = (VECTORS / "tiny.rom0.elf").read_bytes()
    found = identify(data, SLOTS)
    assert found.problems == ()
    assert as_json(found)["memories"][-1]["available"] == SLOTS[0].size
    assert identify(data, SLOTS[1:]).problems == (
        "linked at 0x40202010 (slot at 0x2000), expected 0x40282010 for slot 1 at 0x82000",
    )


@pytest.mark.parametrize("size", [0x1000, 0x100000])
def test_erased_flash_is_called_blank(size: int) -> None:
    with pytest.raises(RbootError, match=f"blank file: all {size:,} bytes are 0xff, as in erased flash"):
        identify(b"\xff" * size)

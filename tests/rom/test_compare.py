"""Comparing two ROMs: the same application linked for two slots, or what else differs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT, VECTORS

from rbootimg.layout.model import Slot
from rbootimg.layout.params import FlashParams
from rbootimg.rom import elf
from rbootimg.rom.compare import compare_roms
from rbootimg.rom.format import RamSection, Rom
from rbootimg.rom.ldscript import slot_linker_script
from rbootimg.rom.pack import pack

SCRIPTS = ROOT / "rbootimg" / "ld"
GCC = "xtensa-lx106-elf-gcc"

LINKS = (0x40202010, 0x40282010)
IRAM, DRAM = 0x40100000, 0x3FFE8000

needs_gcc = pytest.mark.needs(GCC)

# Everything that the linker moves: calls out of IRAM, tables, switches, packed and computed addresses.
APP = """
#define FLASH __attribute__((section(".irom0.text"), noinline))
extern int ets_printf(const char *, ...);
volatile unsigned sink;
static const char version[] = "version 1.0";
FLASH int first(int a) { ets_printf(version); return sink + a; }
FLASH int second(int a)
{
    switch (a) {
    case 0: sink = 3; return first(1);
    case 1: sink = 5; break;
    case 2: sink = a; break;
    case 3: sink = a * 77; break;
    case 4: ets_printf("four"); break;
    case 5: sink += 123456789; break;
    }
    return a;
}
int (*const table[])(int) = {first, second};
struct __attribute__((packed)) { char tag; int (*function)(int); short end; } odd = {1, second, 2};
unsigned flash_address = (unsigned)second - 0x40200000;
void call_user_start(void) { table[sink & 1](2); odd.function(first(flash_address)); }
"""


def build(directory: Path, slot_address: int, source: str = APP) -> Rom:
    slot = Slot(slot_address, 0x78000)
    (directory / "app.c").write_text(source)
    (directory / "app.ld").write_bytes(slot_linker_script((SCRIPTS / "baremetal.ld").read_bytes(), slot))
    flags = ("-mlongcalls", "-mtext-section-literals", "-ffreestanding", "-nostdlib", "-Os", "-w")
    command = [GCC, *flags, "-L", SCRIPTS, "-T", directory / "app.ld", directory / "app.c", "-o", directory / "app.elf"]
    subprocess.run(command, check=True)
    return pack(elf.parse_elf((directory / "app.elf").read_bytes()))


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def rom(irom: bytes = bytes(32), *ram: bytes) -> Rom:
    sections = ram or (bytes(16),)
    return Rom(IRAM, irom, tuple(RamSection(DRAM + 0x100 * number, data) for number, data in enumerate(sections)))


# Real programs


@needs_gcc
@pytest.mark.parametrize("links", [None, LINKS], ids=["inferred", "given"])
def test_an_app_linked_for_two_slots_is_the_same(tmp_path: Path, links: tuple[int, int] | None) -> None:
    result = compare_roms(build(tmp_path, 0x2000), build(tmp_path, 0x82000), links)
    assert result.same_app
    assert (result.delta, result.differences, result.structure) == (0x80000, (), ())
    assert result.relocated >= 10


@needs_gcc
def test_slots_with_one_link_address_have_the_same_bytes(tmp_path: Path) -> None:
    result = compare_roms(build(tmp_path, 0x2000), build(tmp_path, 0x102000))
    assert result.same_app
    assert (result.delta, result.relocated) == (0, 0)


@needs_gcc
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version 1.0", "version 1.1"),
        ("a * 77", "a * 78"),
        ("123456789", "123456788"),
        ("= {first, second}", "= {second, first}"),
        ('ets_printf("four")', 'ets_printf("four"), sink = 8'),
        ("short end;", "int end;"),
    ],
)
def test_another_build_is_not_the_same_app(tmp_path: Path, old: str, new: str) -> None:
    assert old in APP
    for links in (None, LINKS):
        other = build(tmp_path, 0x82000, APP.replace(old, new))
        assert not compare_roms(build(tmp_path, 0x2000), other, links).same_app


@pytest.mark.parametrize("name", ["tiny", "mixed", "big"])
def test_both_roms_of_a_vector_are_the_same_app(name: str) -> None:
    a, b = (pack(elf.parse_elf((VECTORS / f"{name}.rom{number}.elf").read_bytes())) for number in (0, 1))
    assert compare_roms(a, b, LINKS).same_app
    assert compare_roms(a, b).same_app


def test_two_vectors_are_not_the_same_app() -> None:
    a, b = (pack(elf.parse_elf((VECTORS / name).read_bytes())) for name in ("tiny.rom0.elf", "mixed.rom1.elf"))
    assert not compare_roms(a, b).same_app


# Words


@pytest.mark.parametrize("offset", range(4))
def test_a_pointer_may_stand_at_any_byte(offset: int) -> None:
    a, b = (rom(bytes(16), bytes(offset) + words(value) + bytes(4)) for value in (0x40202018, 0x40282018))
    assert compare_roms(a, b, LINKS).same_app


def test_a_carry_into_the_next_byte_is_still_one_pointer() -> None:
    a, b = (rom(bytes(16), words(value)) for value in (0x4020F018, 0x4020F018 + 0x3F000))
    result = compare_roms(a, b, (0x40202010, 0x40241010))
    assert (result.same_app, result.relocated) == (True, 1)


def test_a_pointer_that_moved_by_another_distance_differs() -> None:
    a, b = (rom(bytes(16), words(value)) for value in (0x40202018, 0x4028201C))
    (difference,) = compare_roms(a, b, LINKS).differences
    assert (difference.section, difference.offset, difference.address) == ("RAM section 0", 0, DRAM)
    assert (difference.a, difference.b) == (words(0x40202018)[:3], words(0x4028201C)[:3])


def test_a_number_that_differs_by_the_distance_is_no_pointer() -> None:
    a, b = (rom(bytes(16), words(value)) for value in (0x12345678, 0x123C5678))
    assert not compare_roms(a, b, LINKS).same_app


@pytest.mark.parametrize(("value", "same"), [(0x2010, True), (0x2020, True), (0x2021, False), (0x200F, False)])
def test_a_flash_address_must_be_in_irom(value: int, same: bool) -> None:
    a, b = (rom(bytes(16), words(number)) for number in (value, value + 0x80000))
    assert compare_roms(a, b, LINKS).same_app is same


def test_differences_come_in_runs_with_their_addresses() -> None:
    changed = bytearray(32)
    changed[1] = changed[3] = changed[20] = 7
    result = compare_roms(rom(bytes(32)), rom(bytes(changed)), LINKS)
    found = [(run.section, run.offset, run.address, len(run.a)) for run in result.differences]
    assert found == [("irom", 1, 0x40202011, 3), ("irom", 20, 0x40202024, 1)]
    assert [run.address for run in compare_roms(rom(bytes(32)), rom(bytes(changed))).differences] == [None, None]


def test_a_difference_beside_a_pointer_is_seen() -> None:
    a, b = (rom(bytes(16), words(number, pointer)) for number, pointer in ((1, 0x40202018), (2, 0x40282018)))
    result = compare_roms(a, b, LINKS)
    assert (result.relocated, [run.offset for run in result.differences]) == (1, [0])


@given(st.binary(min_size=32, max_size=64), st.integers(0, 31), st.integers(1, 255))
def test_every_changed_byte_is_seen(irom: bytes, offset: int, change: int) -> None:
    altered = bytearray(irom)
    altered[offset] ^= change
    result = compare_roms(rom(irom), rom(bytes(altered)), (LINKS[0], LINKS[0]))
    (difference,) = result.differences
    assert (difference.offset, difference.a, difference.b) == (offset, irom[offset:][:1], bytes(altered[offset:][:1]))


# Structure


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"entry": IRAM + 4}, "entry point: 0x40100000 in the first, 0x40100004 in the second"),
        ({"params": FlashParams(mode=2)}, "flash parameters: qio, 512KB, 40m in the first, dio, 512KB, 40m"),
        ({"irom_checksum": True}, "only the second has irom in its checksum"),
        ({"esptool_crc": True}, "only the second ends with esptool's CRC"),
        ({"irom": b"\1" + bytes(40)}, "irom: 32 bytes in the first, 48 in the second"),
        ({"sections": (RamSection(IRAM, bytes(16)),)}, "RAM section 0: address 0x3ffe8000 in the first, 0x40100000"),
        ({"sections": (RamSection(DRAM, bytes(8)),)}, "RAM section 0: 16 bytes in the first, 8 in the second"),
        ({"sections": (RamSection(DRAM, bytes(16)),) * 2}, "RAM sections: 1 in the first, 2 in the second"),
    ],
)
def test_what_differs_in_structure_is_said(change: dict[str, object], said: str) -> None:
    a = rom(b"\1" + bytes(31))
    result = compare_roms(a, a._replace(**change))
    assert not result.same_app
    assert [clause.startswith(said) for clause in result.structure] == [True]


def test_a_checksum_that_irom_does_not_change_says_no_kind() -> None:
    neutral = rom(b"\5\5" + bytes(30))
    assert compare_roms(neutral, neutral._replace(irom_checksum=True)).same_app


def with_word(word: int, offset: int = 8) -> Rom:
    data = bytearray(32)
    data[offset : offset + 4] = word.to_bytes(4, "little")
    return Rom(0x40100000, b"flash", (RamSection(0x40100000, bytes(data)),))


@pytest.mark.parametrize("slot", [0x2000, 0x80000, 0x42000])
def test_the_flash_address_of_the_slot_itself_is_relocated(slot: int) -> None:
    comparison = compare_roms(with_word(slot), with_word(slot + 0x80000), (0x40202010, 0x40282010))
    assert comparison.same_app
    assert comparison.relocated == 1


def test_text_and_odd_places_that_differ_by_as_much_are_not_taken_for_a_slot() -> None:
    links = (0x40202010, 0x40282010)
    one, nine = (int.from_bytes(text.ljust(4, b"\0"), "little") for text in (b"v.1", b"v.9"))
    assert nine - one == 0x80000
    assert not compare_roms(with_word(one), with_word(nine), links).same_app
    assert not compare_roms(with_word(0x10000, offset=9), with_word(0x90000, offset=9), links).same_app

"""Detecting the slot that a ROM was linked for: right, or "cannot tell", and never wrong."""

from __future__ import annotations

import functools
import random
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import ROOT, VECTORS

from rbootimg.errors import LayoutError
from rbootimg.layout.model import Slot
from rbootimg.rom import elf
from rbootimg.rom.format import RamSection, Rom
from rbootimg.rom.ldscript import slot_linker_script
from rbootimg.rom.linkaddress import find_link_address
from rbootimg.rom.pack import pack

SCRIPTS = ROOT / "rbootimg" / "ld"
GCC = "xtensa-lx106-elf-gcc"
FLAGS = ("-mlongcalls", "-mtext-section-literals", "-ffreestanding", "-nostdlib", "-Os")

SLOTS = (0x2000, 0x82000, 0x42000, 0x102000, 0x5E000)
LAYOUT = (0x40202010, 0x40282010)

needs_gcc = pytest.mark.needs(GCC)


def link_address(slot: int) -> int:
    return Slot(slot, 0x1000).link_address


# Programs

PRELUDE = """
#define FLASH __attribute__((section(".irom0.text"), noinline))
#define FLASH_WORDS __attribute__((section(".irom.text"), aligned(4)))
volatile unsigned sink;
extern int ets_printf(const char *, ...);
"""


def functions(count: int) -> str:
    """`count` functions in flash, of different lengths, half of which call an earlier one."""
    chance = random.Random(count)
    text = PRELUDE
    for number in range(count):
        body = "".join(f"sink = sink * {chance.getrandbits(16)} + a;" for _ in range(chance.randint(1, 9)))
        end = f"f{chance.randrange(number)}(a + 1)" if number % 2 else "a"
        text += f"FLASH unsigned f{number}(unsigned a) {{ {body} return {end}; }}\n"
    return text


def called(count: int) -> str:
    calls = "".join(f"f{number}({number});" for number in range(0, count, 2))
    return f"{functions(count)} void call_user_start(void) {{ {calls} }}"


def in_a_table(count: int) -> str:
    names = ",".join(f"f{number}" for number in range(count))
    return f"""{functions(count)} unsigned (*const table[])(unsigned) = {{ {names} }};
    void call_user_start(void) {{ table[sink](1); }}"""


def flash_strings(count: int) -> str:
    strings = [
        f'static const char s{number}[] FLASH_WORDS = "{"text " * (number % 9 + 1)}";' for number in range(count)
    ]
    names = ",".join(f"s{number}" for number in range(count))
    return f"""{PRELUDE} {" ".join(strings)} static const char *const table[] = {{ {names} }};
    FLASH void use(const unsigned *p) {{ sink = *p; }}
    void call_user_start(void) {{ use((const unsigned *)table[sink]); }}"""


def switches(count: int) -> str:
    cases = "".join(f"case {case}: sink = {case * 12345}; sink += a * {case}; break;" for case in range(20))
    text = PRELUDE + "".join(
        f"FLASH void f{number}(unsigned a) {{ switch (a) {{ {cases} }} sink = {number}; }}\n" for number in range(count)
    )
    return f"{text} void call_user_start(void) {{ {''.join(f'f{number}(1);' for number in range(count))} }}"


PROGRAMS = {
    "one function": called(1),
    "five functions": called(5),
    "300 functions": called(300),
    "a table of 400 functions": in_a_table(400),
    "strings in flash": flash_strings(60),
    "switches": switches(8),
}


@functools.cache
def directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="detect"))


@functools.cache
def compiled(name: str) -> Path:
    source, target = directory() / f"{name}.c", directory() / f"{name}.o"
    source.write_text(PROGRAMS[name])
    subprocess.run([GCC, *FLAGS, "-c", source, "-o", target], check=True)
    return target


@functools.cache
def linked(name: str, slot_address: int) -> Rom:
    """The program linked for a slot, which need not be a possible one."""
    slot = Slot(slot_address, 0x80000)
    script, target = directory() / f"{name}.ld", directory() / f"{name}.elf"
    script.write_bytes(slot_linker_script((SCRIPTS / "baremetal.ld").read_bytes(), slot))
    subprocess.run([GCC, "-nostdlib", "-L", SCRIPTS, "-T", script, compiled(name), "-o", target], check=True)
    return pack(elf.parse_elf(target.read_bytes()))


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def bare(irom: bytes, ram: bytes = bytes(16)) -> Rom:
    return Rom(0x40100000, irom, (RamSection(0x40100000, ram),))


# Real programs


@needs_gcc
@pytest.mark.parametrize("candidates", [None, LAYOUT], ids=["all", "layout"])
@pytest.mark.parametrize("slot", SLOTS, ids=hex)
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_link_address_of_a_program_is_found(name: str, slot: int, candidates: tuple[int, ...] | None) -> None:
    assert find_link_address(linked(name, slot), candidates).link_address == link_address(slot)


@pytest.mark.parametrize("candidates", [None, LAYOUT], ids=["all", "layout"])
@pytest.mark.parametrize("file", sorted(VECTORS.glob("*.elf")), ids=lambda file: file.name)
def test_the_link_address_of_each_vector_is_found(file: Path, candidates: tuple[int, ...] | None) -> None:
    rom = pack(elf.parse_elf(file.read_bytes()))
    assert find_link_address(rom, candidates).link_address == LAYOUT["rom1" in file.name]


@needs_gcc
@pytest.mark.parametrize("slot", [0x2000, 0x82000], ids=hex)
def test_random_bytes_behind_the_code_do_not_mislead(slot: int) -> None:
    rom = linked("300 functions", slot)
    assert find_link_address(rom._replace(irom=rom.irom + noise(300_000))).link_address == link_address(slot)


@needs_gcc
@pytest.mark.parametrize("shift", [-0x10, 4, 0x20, 0x800])
def test_a_program_linked_where_no_slot_is_is_not_given_one(shift: int) -> None:
    for name in ("300 functions", "a table of 400 functions"):
        assert find_link_address(linked(name, 0x42000 + shift)).link_address is None


@needs_gcc
def test_the_evidence_has_the_layouts_slots_with_the_likeliest_first() -> None:
    found = find_link_address(linked("300 functions", 0x82000), LAYOUT)
    own, other = found.evidence
    assert (own.link_address, own.slot_address) == (0x40282010, 0x82000)
    assert own.inside == own.starts == found.words == 150
    assert (other.slot_address, other.inside, other.starts) == (0x2000, 0, 0)
    assert found.reason == (
        "of 150 words that point into the flash window, 150 point into irom "
        "and 150 of them to the start of a function or of data"
    )


@needs_gcc
def test_the_evidence_without_a_layout_has_the_likeliest_addresses() -> None:
    found = find_link_address(linked("300 functions", 0x82000))
    assert found.evidence[0].slot_address == 0x82000
    assert len(found.evidence) == 3


# What cannot be told


def test_a_rom_without_pointers_into_flash_cannot_be_told() -> None:
    found = find_link_address(bare(bytes(range(256)) * 16))
    assert (found.link_address, found.words) == (None, 0)
    assert found.reason == "no word points into the flash window"


@pytest.mark.parametrize("size", [100, 5_000, 100_000, 1_000_000])
def test_random_bytes_cannot_be_told(size: int) -> None:
    for candidates in (None, LAYOUT):
        assert find_link_address(bare(noise(size), noise(4000)), candidates).link_address is None


def test_one_pointer_to_nothing_special_cannot_be_told() -> None:
    found = find_link_address(bare(bytes([0x55]) * 50_000, (0x40289010).to_bytes(4, "little")))
    assert (found.link_address, found.words) == (None, 1)
    assert found.reason.startswith(
        "ambiguous: words that point into the flash window fit several addresses, e.g. 0x402"
    )


def test_a_rom_larger_than_the_window_cannot_be_told() -> None:
    found = find_link_address(bare(bytes(0x100000), (0x40202010).to_bytes(4, "little")), LAYOUT)
    assert (found.link_address, found.reason) == (None, "irom is larger than any slot")


@pytest.mark.parametrize("address", [0x40202000, 0x2000, 0x40302010, 0x40202810])
def test_a_candidate_that_no_slot_has_is_refused(address: int) -> None:
    with pytest.raises(LayoutError, match=f"^invalid link address {address:#x}: expected 0x40200000 "):
        find_link_address(bare(bytes(16)), [address])


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=300), st.binary(max_size=300))
def test_no_bytes_make_it_fail(irom: bytes, ram: bytes) -> None:
    find_link_address(bare(irom, ram))
    find_link_address(bare(irom, ram), LAYOUT)


def test_a_megabyte_takes_a_tenth_of_a_second() -> None:
    rom = bare(noise(1_000_000), noise(30_000))
    start = time.process_time()
    find_link_address(rom)
    assert time.process_time() - start < 0.5  # a loaded machine is given five times as long

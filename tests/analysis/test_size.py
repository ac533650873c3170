"""Sizes: every byte counted once, by section, symbol, object and library, and what changed between two builds."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.elf_builder import (
    ABSOLUTE,
    APP,
    BSS,
    DATA,
    DRAM,
    FILE,
    FLASH,
    FUNC,
    IRAM,
    IROM0,
    NOTYPE,
    OBJECT,
    SECTION,
    SHF_ALLOC,
    SHF_WRITE,
    SHT_NOBITS,
    TEXT,
    UNDEFINED,
    Sec,
    Sym,
    build_elf,
    tables_of,
    with_symbols,
)

import rbootimg
from rbootimg.analysis import mapfile, size
from rbootimg.analysis.size import NO_SYMBOL, NOT_IN_MAP, Change, ChangeKind, MemoryPart, Sizes, compare_sizes, measure
from rbootimg.errors import ElfError, RbootError
from rbootimg.rom import elf
from rbootimg.rom.elf import Symbol
from rbootimg.views.size import difference_tables, tables
from rbootimg.views.tables import plain


def of_text(*symbols: Sym) -> dict[str, int]:
    """The sizes of what is in .text, whose 8 bytes are at IRAM."""
    return {part.name: part.size for part in measure(with_symbols(*symbols)).by["symbol"] if part.section == ".text"}


MAP = f"""
.text           {IRAM:#x}        0x8
 .text          {IRAM:#x}        0x3 build/main.o
 .text          {IRAM + 3:#x}        0x2 build/sub/main.o
 *fill*         {IRAM + 5:#x}        0x1
.data           {DRAM:#x}        0x4
                {DRAM:#x}        0x4 LONG 0x12345678
.rodata         {DRAM + 4:#x}        0x9
 .rodata        {DRAM + 4:#x}        0x9 lib/libx.a(text.o)
.bss            {DRAM + 0x10:#x}       0x20
 COMMON         {DRAM + 0x10:#x}       0x20 lib/libx.a(buffer.o)
.irom0.text     {IROM0:#x}       0x11
 .irom0.text    {IROM0:#x}       0x11 lib/libx.a(text.o)
"""


# Symbols of an ELF


def test_symbols_are_read_in_file_order() -> None:
    data = with_symbols(
        Sym("loop", IRAM, 4), Sym("_ZN3Foo3barEv", IROM0, 8, FUNC, FLASH), Sym("x", DRAM, 0, OBJECT, DATA)
    )
    assert elf.elf_symbols(data) == (
        Symbol("loop", IRAM, 4, "func", local=True),
        Symbol("_ZN3Foo3barEv", IROM0, 8, "func", local=True),
        Symbol("x", DRAM, 0, "object", local=True),
    )


def test_symbols_that_name_no_bytes_of_the_chip_are_left_out() -> None:
    data = with_symbols(
        Sym("ets_printf", 0x400024CC, 0, NOTYPE, ABSOLUTE),
        Sym("missing", 0, 0, NOTYPE, UNDEFINED),
        Sym("main.c", 0, 0, FILE, ABSOLUTE),
        Sym(".text", IRAM, 0, SECTION),
        Sym("_text_end", IRAM + 8, 0, NOTYPE),
        Sym("", IRAM, 4),
        Sym("elsewhere", IRAM, 4, FUNC, 99),
    )
    assert elf.elf_symbols(data) == ()


def test_a_stripped_elf_has_no_symbols() -> None:
    assert elf.elf_symbols(build_elf()) == ()


@pytest.mark.parametrize(
    ("names", "entries"),
    [
        (b"\0loop\0", bytes(17)),
        (b"\0loop", struct.pack("<IIIBBH", 1, IRAM, 4, FUNC, 0, TEXT)),
        (b"\0loop\0", struct.pack("<IIIBBH", 99, IRAM, 4, FUNC, 0, TEXT)),
        (b"n" * 4000 + b"\0", b"".join(struct.pack("<IIIBBH", at, IRAM, 4, FUNC, 0, TEXT) for at in range(3000))),
    ],
    ids=["half an entry", "name without an end", "name outside the table", "names that overlap"],
)
def test_a_damaged_symbol_table_is_an_error(names: bytes, entries: bytes) -> None:
    with pytest.raises(ElfError, match=r"^corrupt or truncated ELF \("):
        elf.elf_symbols(build_elf((*APP, *tables_of(names, entries, len(APP)))))


def test_names_may_share_their_ends() -> None:
    """As linkers store them; the entry's own is found in them all the same."""
    names = b"\0other\0my_call_user_start_1\0"
    at = [names.index(name) for name in (b"my_", b"call_", b"start_1", b"other")]
    entries = b"".join(struct.pack("<IIIBBH", offset, IRAM + 4, 4, FUNC, 0, TEXT) for offset in at)
    data = build_elf((*APP, *tables_of(names, entries, len(APP))))
    found = elf.parse_elf(data).entry_symbols
    assert [symbol.name for symbol in found or ()] == ["my_call_user_start_1", "call_user_start_1"]
    assert len(elf.elf_symbols(data)) == 4


def test_symbols_of_what_is_no_elf_are_the_same_error_as_its_sections() -> None:
    with pytest.raises(ElfError, match=r"^not an ELF file$"):
        elf.elf_symbols(b"no ELF")


# By region and section


def test_each_section_counts_for_the_memory_at_its_address() -> None:
    sizes = measure(build_elf())
    assert {usage.name: (usage.used, usage.available) for usage in sizes.regions} == {
        "IRAM": (8, 0x8000),
        "DRAM": (4 + 9 + 0x20, 0x14000),
        "flash": (17, None),
    }
    assert sizes.total == 8 + 45 + 17
    assert sizes.by["section"] == (
        MemoryPart(".bss", "DRAM", ".bss", 32),
        MemoryPart(".irom0.text", "flash", ".irom0.text", 17),
        MemoryPart(".rodata", "DRAM", ".rodata", 9),
        MemoryPart(".text", "IRAM", ".text", 8),
        MemoryPart(".data", "DRAM", ".data", 4),
    )


@pytest.mark.parametrize(
    ("address", "region"),
    [
        (0x3FFE7FFF, "other"),
        (0x3FFE8000, "DRAM"),
        (0x3FFFC000, "other"),
        (0x40000000, "other"),
        (0x40107FFF, "IRAM"),
        (0x40200000, "flash"),
        (0x402FFFFF, "flash"),
        (0x40300000, "other"),
    ],
)
def test_the_regions_end_where_the_chip_says(address: int, region: str) -> None:
    assert measure(build_elf([Sec(".here", address, b"x")])).by["section"][0].region == region


def test_an_unknown_memory_shows_only_if_something_is_there() -> None:
    elsewhere = measure(build_elf((*APP, Sec(".rtc", 0x60001200, b"rtc"))))
    assert [(usage.name, usage.used) for usage in elsewhere.regions][-1] == ("other", 3)


# By symbol


def test_bytes_without_a_symbol_are_shown() -> None:
    assert of_text(Sym("loop", IRAM + 4, 3)) == {"loop": 3, NO_SYMBOL: 5}


def test_without_symbols_all_bytes_are_without_a_symbol() -> None:
    assert {part.name for part in measure(build_elf()).by["symbol"]} == {NO_SYMBOL}


def test_two_names_for_one_address_count_once_with_the_larger_size() -> None:
    assert of_text(Sym("alias", IRAM), Sym("short", IRAM, 2), Sym("loop", IRAM, 8)) == {"loop": 8}


def test_a_label_reaches_to_the_next_symbol_or_the_end_of_its_section() -> None:
    labels = Sym("first", IRAM, 0, NOTYPE), Sym("last", IRAM + 6, 0, NOTYPE)
    parts = {part.name: part for part in measure(with_symbols(*labels)).by["symbol"]}
    assert parts["first"] == MemoryPart("first", "IRAM", ".text", 6, estimated=True)
    assert parts["last"] == MemoryPart("last", "IRAM", ".text", 2, estimated=True)


def test_a_label_within_a_function_is_part_of_it() -> None:
    assert of_text(Sym("loop", IRAM, 6), Sym("again", IRAM + 2, 0, NOTYPE)) == {"loop": 6, NO_SYMBOL: 2}


def test_bytes_that_two_symbols_claim_count_for_the_first() -> None:
    assert of_text(Sym("one", IRAM, 6), Sym("two", IRAM + 4, 4), Sym("inside", IRAM + 1, 2)) == {"one": 6, "two": 2}


def test_a_symbol_larger_than_its_section_ends_with_it() -> None:
    assert of_text(Sym("huge", IRAM + 2, 0xFFFFFFFF)) == {"huge": 6, NO_SYMBOL: 2}


def test_static_functions_of_the_same_name_stay_apart() -> None:
    parts = measure(with_symbols(Sym("init", IRAM, 4), Sym("init", IRAM + 4, 3))).by["symbol"]
    assert [part.size for part in parts if part.name == "init"] == [4, 3]


# By object and library


def test_objects_and_libraries_are_told_by_their_file_names() -> None:
    by = measure(build_elf(), MAP).by
    assert {(part.name, part.section): part.size for part in by["object"]} == {
        ("build/main.o", ".text"): 3,  # two main.o: these need their directories
        ("build/sub/main.o", ".text"): 2,
        ("(fill)", ".text"): 1,
        (NOT_IN_MAP, ".text"): 2,
        ("(linker script)", ".data"): 4,
        ("libx.a(text.o)", ".rodata"): 9,
        ("libx.a(buffer.o)", ".bss"): 32,
        ("libx.a(text.o)", ".irom0.text"): 17,
    }
    assert {(part.name, part.section): part.size for part in by["library"]} == {
        ("(own objects)", ".text"): 5,
        ("(fill)", ".text"): 1,
        (NOT_IN_MAP, ".text"): 2,
        ("(linker script)", ".data"): 4,
        ("libx.a", ".rodata"): 9,
        ("libx.a", ".bss"): 32,
        ("libx.a", ".irom0.text"): 17,
    }


def test_without_a_map_there_are_no_objects() -> None:
    assert set(measure(build_elf()).by) == {"section", "symbol"}


@pytest.mark.parametrize(
    ("change", "got"),
    [
        ((f"{IRAM:#x}        0x8", f"{IRAM:#x}        0x9"), "9 bytes at 0x40100000"),
        ((f".text           {IRAM:#x}", f".text           {IRAM + 16:#x}"), "8 bytes at 0x40100010"),
        ((".text           ", ".text.renamed   "), "no such section"),
    ],
)
def test_the_map_of_another_link_is_refused(change: tuple[str, str], got: str) -> None:
    with pytest.raises(
        RbootError, match=f"^map file does not match the ELF: .text: expected 8 bytes at 0x40100000, got {got};"
    ):
        measure(build_elf(), MAP.replace(*change))


# Differences


def test_a_change_is_added_removed_grown_shrunk_or_none() -> None:
    sizes = {"added": (0, 1), "removed": (1, 0), "grown": (1, 3), "shrunk": (3, 1), "same": (1, 1)}
    assert all(Change("x", "IRAM", ".text", *both).kind.value == kind for kind, both in sizes.items())


def test_a_difference_has_the_largest_change_first() -> None:
    old = with_symbols(Sym("gone", IRAM, 1), Sym("grown", IRAM + 1, 1), Sym("same", IRAM + 2, 2))
    new = with_symbols(Sym("grown", IRAM, 4), Sym("same", IRAM + 4, 2), Sym("fresh", IRAM + 6, 2))
    assert compare_sizes(measure(old), measure(new)).by["symbol"] == (
        Change(NO_SYMBOL, "IRAM", ".text", 4, 0),
        Change("grown", "IRAM", ".text", 1, 4),
        Change("fresh", "IRAM", ".text", 0, 2),
        Change("gone", "IRAM", ".text", 1, 0),
    )


def test_a_difference_has_the_totals_of_all_regions() -> None:
    old, new = (build_elf((*APP[:4], Sec(".irom0.text", IROM0, bytes(count)))) for count in (100, 60))
    assert compare_sizes(measure(old), measure(new)).regions == (
        Change("IRAM", "IRAM", "", 8, 8),
        Change("DRAM", "DRAM", "", 45, 45),
        Change("flash", "flash", "", 100, 60),
    )


def test_what_moves_to_another_section_is_removed_and_added() -> None:
    old, new = measure(with_symbols(Sym("f", IRAM, 8))), measure(with_symbols(Sym("f", IROM0, 8, FUNC, FLASH)))
    moved = {(change.region, change.kind) for change in compare_sizes(old, new).by["symbol"] if change.name == "f"}
    assert moved == {("IRAM", ChangeKind.REMOVED), ("flash", ChangeKind.ADDED)}


def test_equal_names_in_a_section_are_compared_as_one() -> None:
    old = measure(with_symbols(Sym("init", IRAM, 4), Sym("init", IRAM + 4, 4)))
    new = measure(with_symbols(Sym("init", IRAM, 3), Sym("init", IRAM + 3, 5)))
    assert compare_sizes(old, new).by["symbol"] == ()


def test_objects_are_compared_if_both_builds_have_a_map() -> None:
    with_map, without = measure(build_elf(), MAP), measure(build_elf())
    assert set(compare_sizes(with_map, without).by) == {"section", "symbol"}
    assert compare_sizes(with_map, with_map).by == {"section": (), "symbol": (), "object": (), "library": ()}


# Text and JSON

LOOP = with_symbols(Sym("loop", IRAM, 6), Sym("label", IRAM + 6, 0, NOTYPE), Sym("buffer", DRAM + 16, 32, OBJECT, BSS))


def test_the_tables_are_aligned() -> None:
    assert plain(tables(measure(LOOP), ["section", "symbol"], top=3)) == (
        """\
bytes      of    %  memory
    8  32,768  0.0  IRAM
   45  81,920  0.1  DRAM
   17               flash
   70               total

bytes  % of used  memory  section
   32       71.1  DRAM    .bss
   17      100.0  flash   .irom0.text
    9       20.0  DRAM    .rodata
   12                     (2 more)

bytes  % of used  memory  section      symbol
   32       71.1  DRAM    .bss         buffer
   17      100.0  flash   .irom0.text  (no symbol)
    9       20.0  DRAM    .rodata      (no symbol)
   12                                  (3 more)"""
    )


def test_an_estimated_size_is_marked() -> None:
    assert "\n   ~2       25.0  IRAM    .text        label\n" in plain(tables(measure(LOOP), ["symbol"], top=0)) + "\n"


def test_objects_have_a_column_for_each_region() -> None:
    assert plain(tables(measure(build_elf(), MAP), ["library"])).split("\n\n")[1] == (
        """\
IRAM  DRAM  flash  total     %  library
   0    41     17     58  82.9  libx.a
   5     0      0      5   7.1  (own objects)
   0     4      0      4   5.7  (linker script)
   2     0      0      2   2.9  (not in the map)
   1     0      0      1   1.4  (fill)"""
    )


def test_rows_that_are_not_shown_still_count() -> None:
    assert plain(tables(measure(build_elf(), MAP), ["object"], top=1)).endswith(
        """
   0    32      0     32  45.7  libx.a(buffer.o)
   8    13     17     38  54.3  (6 more)"""
    )


def test_one_row_too_many_is_shown_rather_than_counted() -> None:
    assert "more)" not in plain(tables(measure(build_elf()), ["section"], top=len(APP) - 1))


def test_large_numbers_have_separators() -> None:
    large = measure(build_elf([Sec(".bss", DRAM, type=SHT_NOBITS, flags=SHF_ALLOC | SHF_WRITE, size=12345)]))
    assert "12,345  81,920  15.1  DRAM" in plain(tables(large))


def test_the_tables_of_a_difference_show_both_builds() -> None:
    old, new = measure(with_symbols(Sym("f", IRAM, 4))), measure(with_symbols(Sym("f", IRAM, 5), Sym("g", IRAM + 5, 1)))
    assert plain(difference_tables(compare_sizes(old, new), ["section", "symbol"])) == (
        """\
old  new  change     %  memory
  8    8      +0  +0.0  IRAM
 45   45      +0  +0.0  DRAM
 17   17      +0  +0.0  flash
 70   70      +0  +0.0  total

no difference by section

old  new  change      %  kind    memory  section  symbol
  4    2      -2  -50.0  shrunk  IRAM    .text    (no symbol)
  4    5      +1  +25.0  grown   IRAM    .text    f
  0    1      +1         added   IRAM    .text    g"""
    )


def test_control_characters_in_names_are_replaced() -> None:
    text = plain(tables(measure(with_symbols(Sym("\x1b[2J\rloop", IRAM, 8)))))
    assert "\x1b" not in text
    assert "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}loop" in text


def test_json_has_the_same_values() -> None:
    old = measure(with_symbols(Sym("loop", IRAM, 4)))
    values = json.loads(json.dumps(size.as_json(measure(LOOP, MAP), compare_sizes(old, measure(LOOP)))))
    assert values["regions"][0] == {"name": "IRAM", "used": 8, "available": 0x8000}
    assert values["by"]["section"][0] == {"name": ".bss", "region": "DRAM", "section": ".bss", "size": 32}
    estimated = [part for part in values["by"]["symbol"] if part.get("estimated")]
    assert estimated == [{"name": "label", "region": "IRAM", "section": ".text", "size": 2, "estimated": True}]
    assert set(values["by"]) == {"section", "symbol", "object", "library"}
    assert {"name": "flash", "old": 17, "new": 17, "change": 0, "kind": "same"} in values["difference"]["regions"]
    assert values["difference"]["by"]["symbol"][0] == {
        "name": "(no symbol)",
        "region": "DRAM",
        "section": ".bss",
        "old": 32,
        "new": 0,
        "change": -32,
        "kind": "removed",
    }


def test_json_without_another_build_has_no_difference() -> None:
    assert size.as_json(measure(LOOP))["difference"] is None


# A real link

SOURCES = {
    "main.c": """
        extern int in_library(int), from_flash(int), twice(int);
        static int counter; int table[64]; int start = 5; const char message[] = "hello";
        __attribute__((noinline)) static int scaled(int x) { return x * 0x12345678 + counter; }
        __attribute__((section(".irom0.text"))) int in_flash(int x) { return from_flash(x) + 0x7654321; }
        void call_user_start(void) {
            counter = scaled(start); table[0] = in_library(counter) + in_flash(message[0]) + twice(2);
        }
        int unused(int x) { return x + 0x55555555; }
    """,
    "twice.S": """
        .section .text.twice, "ax"
        .global twice
        .global twice_alias
        twice: add a2, a2, a2
               ret
        .set twice_alias, twice
    """,
    "a_file_with_a_long_name.c": """
        extern int ets_printf(const char *, ...);
        static int state[5] = {1, 2, 3};
        int in_library(int x) { ets_printf("shared %d", x); ets_printf("own"); return state[x & 3] * 0x1111111; }
    """,
    "flash.c": """
        extern int ets_printf(const char *, ...);
        __attribute__((section(".irom.text"))) int from_flash(int x) { return ets_printf("shared %d", x); }
    """,
}
PREFIX = "xtensa-lx106-elf-"
FLAGS = ("-Os", "-mlongcalls", "-mtext-section-literals", "-nostdlib", "-ffreestanding", "-ffunction-sections")


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, str]:
    """An application linked with a library by the real toolchain: the ELF and its map file."""
    directory = tmp_path_factory.mktemp("size")
    scripts = Path(rbootimg.__file__).parent / "ld"

    def run(program: str, *arguments: str) -> None:
        subprocess.run([PREFIX + program, *arguments], cwd=directory, check=True, timeout=60)

    for name, text in SOURCES.items():
        (directory / name).write_text(text)
        run("gcc", *FLAGS, "-c", name, "-o", Path(name).stem + ".o")
    run("ar", "rc", "libparts.a", "a_file_with_a_long_name.o", "flash.o")
    script = (f"-L{scripts}", f"-T{scripts / 'baremetal.ld'}", "-Wl,--gc-sections,-Map=app.map")
    run("gcc", *FLAGS, *script, "main.o", "twice.o", "-L.", "-lparts", "-lgcc", "-o", "app.elf")
    return (directory / "app.elf").read_bytes(), (directory / "app.map").read_text()


@pytest.fixture(scope="module")
def real(linked: tuple[bytes, str]) -> Sizes:
    return measure(*linked)


@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_the_map_of_a_real_link_agrees_with_its_elf(linked: tuple[bytes, str]) -> None:
    data, text = linked
    outputs = {output.name: output for output in mapfile.parse(text)}
    for section in elf.parse_elf(data).sections:
        output = outputs[section.name]
        assert (output.address, output.size) == (section.address, section.size)
        assert sum(part.size for part in output.parts) == section.size


@pytest.mark.parametrize("cut", size.GROUPINGS)
@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_each_grouping_of_a_real_application_adds_up_to_its_sections(real: Sizes, cut: str) -> None:
    for section in real.by["section"]:
        assert sum(part.size for part in real.by[cut] if part.section == section.name) == section.size


@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_a_real_application_has_its_symbols_and_objects(real: Sizes) -> None:
    symbols = {part.name: (part.region, part.size) for part in real.by["symbol"]}
    assert symbols["table"] == ("DRAM", 256)
    assert symbols["state"] == ("DRAM", 20)
    assert symbols["counter"] == ("DRAM", 4)
    assert symbols["in_flash"][0] == symbols["from_flash"][0] == "flash"
    assert {"scaled", "in_library", "call_user_start"} <= {name for name, at in symbols.items() if at[0] == "IRAM"}
    assert "unused" not in symbols
    assert len({"twice", "twice_alias"} & symbols.keys()) == 1
    assert {part.name for part in real.by["object"]} >= {
        "main.o",
        "twice.o",
        "libparts.a(a_file_with_a_long_name.o)",
        "libparts.a(flash.o)",
    }
    assert {part.name for part in real.by["library"]} <= {"(own objects)", "(fill)", "libparts.a", "libgcc.a"}


@given(st.data())
@settings(max_examples=150, deadline=None)
@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_a_damaged_elf_or_map_gives_sizes_that_add_up_or_an_error(
    linked: tuple[bytes, str], data: st.DataObject
) -> None:
    app, text = bytearray(linked[0]), linked[1]
    headers_and_symbols = st.one_of(st.integers(0, 51), st.integers(int.from_bytes(app[32:36], "little"), len(app) - 1))
    for at in data.draw(st.lists(headers_and_symbols, max_size=4)):
        app[at] = data.draw(st.integers(0, 255))
    for start in data.draw(st.lists(st.integers(0, len(text)), max_size=4)):
        text = text[:start] + data.draw(st.text(max_size=8)) + text[start + data.draw(st.integers(0, 20)) :]
    try:
        sizes = measure(bytes(app), text)
    except RbootError:
        return
    assert all(sum(part.size for part in parts) == sizes.total for parts in sizes.by.values())
    assert all(part.size > 0 for parts in sizes.by.values() for part in parts)
    plain(tables(sizes))


def test_many_overlapping_sections_and_symbols_are_measured_quickly() -> None:
    sections = [Sec(f".s{at}", IRAM + at % 7, b"12345678") for at in range(2000)]
    symbols = [Sym(f"f{at}", IRAM + at % 8, at % 3, FUNC, 1) for at in range(20000)]
    data = with_symbols(*symbols, sections=sections)
    start = time.process_time()
    sizes = measure(data)
    assert time.process_time() - start < 3
    assert sum(part.size for part in sizes.by["symbol"]) == sizes.total == 16000

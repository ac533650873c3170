"""Map files of GNU ld: what each line means, and that no text does more harm than a RbootError."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rbootimg.analysis import mapfile
from rbootimg.analysis.mapfile import FILL, Contribution, OutputSection
from rbootimg.errors import RbootError

# As binutils 2.40 writes it, shortened.
HEAD = """\
Archive member included to satisfy reference by file (symbol)

lib/libx.a(a.o)               main.o (lib_a)

Discarded input sections

 .literal.unused_function
                0x00000000        0x8 main.o
 .text.unused   0x00000000       0x2b main.o

Memory Configuration

Name             Origin             Length             Attributes
iram1_0_seg      0x40100000         0x00008000
*default*        0x00000000         0xffffffff

Linker script and memory map

LOAD main.o
"""
TEXT = """\

.text           0x40100000       0x40
 *(.entry.text)
 .entry.text    0x40100000       0x1a main.o
                                 0x2e (size before relaxing)
                0x40100004                call_user_start
 *fill*         0x4010001a        0x2 
 *(.literal .text .literal.* .text.*)
 .literal.a_long_function_name
                0x4010001c        0x4 lib/libx.a(a.o)
 .text          0x40100020        0xc lib/libx.a(a.o)
                0x40100020                lib_a
                0x40100040                        . = (. + 0x14)
 *fill*         0x4010002c       0x14 
                0x40100040                        _text_end = ABSOLUTE (.)
"""  # noqa: W291
TAIL = """\
                [!provide]                        PROVIDE (ets_memset = 0x400018a4)
                0x400024cc                        PROVIDE (ets_printf = 0x400024cc)
OUTPUT(app.elf elf32-xtensa-le)

.comment        0x00000000       0x26
 .comment       0x00000000       0x26 main.o
                                 0x27 (size before relaxing)
"""
MAP = HEAD + TEXT + TAIL


def part(
    section: str, address: int, size: int, file: str = "", archive: str = "", output: str = ".text"
) -> Contribution:
    return Contribution(output, section, address, size, file, archive)


def parts_of(*lines: str, name: str = ".text", size: int = 0x40) -> tuple[Contribution, ...]:
    """What is read from `lines` in a section at 0x40100000."""
    (output,) = mapfile.parse("\n".join((f"{name:<15} 0x40100000 {size:#10x}", *lines, "")))
    return output.parts


# What is read


def test_a_map_gives_its_output_sections_with_who_added_what() -> None:
    parts = (
        part(".entry.text", 0x40100000, 0x1A, "main.o"),
        part(FILL, 0x4010001A, 2),
        part(".literal.a_long_function_name", 0x4010001C, 4, "a.o", "lib/libx.a"),
        part(".text", 0x40100020, 0xC, "a.o", "lib/libx.a"),
        part(FILL, 0x4010002C, 0x14),
    )
    assert mapfile.parse(MAP) == (OutputSection(".text", 0x40100000, 0x40, parts),)


def test_line_ends_of_windows_make_no_difference() -> None:
    assert mapfile.parse(MAP.replace("\n", "\r\n")) == mapfile.parse(MAP)


def test_headings_in_another_language_make_no_difference() -> None:
    german = MAP.replace("Linker script and memory map", "Linker-Skript und Memory-Map").replace(
        "Discarded input sections", "Verworfene Eingabesektionen"
    )
    assert mapfile.parse(german) == mapfile.parse(MAP)


def test_a_long_output_section_has_its_numbers_on_the_next_line() -> None:
    (output,) = mapfile.parse(
        TEXT.replace(".text           0x40100000", f".text.in_its_own_place\n{' ' * 16}0x40100000")
    )
    assert (output.name, output.address, output.size) == (".text.in_its_own_place", 0x40100000, 0x40)


def test_a_load_address_does_not_matter() -> None:
    loaded = TEXT.replace("      0x40\n", "      0x40 load address 0x40202010\n")
    assert mapfile.parse(loaded) == mapfile.parse(TEXT)


@pytest.mark.parametrize(
    ("path", "file", "archive"),
    [
        ("main.o", "main.o", ""),
        ("/opt/my sdk/lib/libmain.a(user_interface.o)", "user_interface.o", "/opt/my sdk/lib/libmain.a"),
        ("copy (2)/main.o", "copy (2)/main.o", ""),
        ("copy (2)/libx.a(b.o)", "b.o", "copy (2)/libx.a"),
        (r"C:\sdk\libx.a(b.o)", "b.o", r"C:\sdk\libx.a"),
        ("(odd)", "(odd)", ""),
    ],
)
def test_an_object_is_a_file_or_in_an_archive(path: str, file: str, archive: str) -> None:
    assert parts_of(f" .text          0x40100000       0x40 {path}") == (
        part(".text", 0x40100000, 0x40, file, archive),
    )


def test_data_in_the_linker_script_belongs_to_no_file() -> None:
    line = f"{' ' * 16}0x40100000        0x4 LONG 0x12345678"
    assert parts_of(line) == (part("LONG", 0x40100000, 4),)


def test_data_after_a_pattern_is_not_taken_for_its_numbers() -> None:
    line = f"{' ' * 16}0x40100000        0x4 LONG 0x12345678"
    assert parts_of(" *(.a_long_section_name)", line) == (part("LONG", 0x40100000, 4),)


def test_the_pattern_of_a_fill_is_not_a_file() -> None:
    assert parts_of(" *fill*         0x40100000        0x4 deadbeef") == (part(FILL, 0x40100000, 4),)


def test_common_symbols_are_parts_of_bss() -> None:
    assert parts_of(" COMMON         0x40100000        0xc main.o") == (part("COMMON", 0x40100000, 12, "main.o"),)


def test_two_long_names_in_a_row_are_two_names() -> None:
    lines = (" .literal.nothing_follows", " .text.something_follows", f"{' ' * 16}0x40100000        0x4 main.o")
    assert parts_of(*lines) == (part(".text.something_follows", 0x40100000, 4, "main.o"),)


def test_strings_that_were_merged_away_do_not_count() -> None:
    # ld gives such a section its old size, at the address of what comes next.
    merged = (
        " .rodata.str1.1 0x40100000       0x20 a.o",
        " .rodata.str1.1 0x40100020       0x18 b.o",
        " .rodata        0x40100020       0x20 b.o",
        " .rodata.str1.1 0x40100040       0x18 c.o",
    )
    assert parts_of(*merged) == (
        part(".rodata.str1.1", 0x40100000, 0x20, "a.o"),
        part(".rodata", 0x40100020, 0x20, "b.o"),
    )


def test_a_part_past_the_end_of_its_section_is_truncated() -> None:
    lines = (" .text 0x40100020 0xffffffff main.o", " .text 0x40100040 0x4 b.o", " .text 0x400fffff 0x8 c.o")
    assert parts_of(*lines) == (part(".text", 0x40100020, 0x20, "main.o"),)


# What is refused


@pytest.mark.parametrize("text", ["", "\n\n", HEAD, TAIL, "\x7fELF\x01\x01", "int main(void);\n"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(
        RbootError, match=r"^not a map file of GNU ld: no section with an address; link with -Wl,-Map=app.map"
    ):
        mapfile.parse(text)


edits = st.lists(st.tuples(st.integers(0, len(MAP)), st.integers(0, 40), st.text(max_size=20)), max_size=8)


@given(edits)
@example([(MAP.index("0x1a"), 4, "0x" + "f" * 30)])
@settings(max_examples=300)
def test_a_damaged_map_gives_parts_within_their_sections_or_an_error(edits: list[tuple[int, int, str]]) -> None:
    text = MAP
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    try:
        outputs = mapfile.parse(text)
    except RbootError:
        return
    for output in outputs:
        at = output.address
        for piece in output.parts:
            assert at <= piece.address < piece.end <= output.end
            at = piece.end


@pytest.mark.parametrize(
    "line",
    [
        "x" * 1_000_000,
        " " * 1_000_000,
        " .text 0x1" + " " * 1_000_000 + "x",
        " .text 0x40100000 0x4 " + "(" * 1_000_000,
        " .text 0x40100000 0x4 " + "(a" * 500_000,
        " .a_long_section_name\n" * 50_000,
        ".text 0x40100000 0x40\n .text 0x40100000 0x4 a.o\n" * 20_000,
    ],
    ids=["name", "blanks", "columns", "parentheses", "members", "names", "sections"],
)
def test_a_hostile_map_is_parsed_quickly(line: str) -> None:
    start = time.process_time()
    mapfile.parse(f"{TEXT}{line}\n{TAIL}")
    assert time.process_time() - start < 2

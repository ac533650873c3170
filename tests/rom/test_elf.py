"""ELF files: what is read from a good one, and that of a bad one only ElfError comes out."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.elf_builder import (
    APP,
    DRAM,
    EM_386,
    ET_DYN,
    ET_REL,
    IRAM,
    IROM0,
    SHF_ALLOC,
    SHN_XINDEX,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_STRTAB,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
    Sec,
    build_elf,
)
from support.project import VECTORS

from rbootimg.errors import ElfError
from rbootimg.rom import elf
from rbootimg.rom.elf import Section

# A symbol table with its null symbol, whose strings are .shstrtab: the section after it.
SYMBOLS = Sec(".symtab", type=SHT_SYMTAB, flags=0, data=bytes(16), link=len(APP) + 2, entry_size=16)


def patched(offset: int, layout: str, *values: int) -> bytes:
    """A good ELF with `values` at `offset`: 16 e_type, 32 e_shoff, 46 e_shentsize, 48 e_shnum, 50 e_shstrndx."""
    data = bytearray(build_elf())
    struct.pack_into(layout, data, offset, *values)
    return bytes(data)


# What is read


def test_entry_and_sections_are_read_in_file_order() -> None:
    app = elf.parse_elf(build_elf(entry=IRAM + 4))
    assert app.entry == IRAM + 4
    assert app.sections == (
        Section(".text", IRAM, 8, bytes(range(1, 9)), executable=True),
        Section(".data", DRAM, 4, b"data", executable=False),
        Section(".rodata", DRAM + 4, 9, b"read only", executable=False),
        Section(".bss", DRAM + 0x10, 0x20, b"", executable=False),
        Section(".irom0.text", IROM0, 17, b"code in the flash", executable=True),
    )
    assert app.entry_symbols is None


def test_the_section_headers_may_stand_before_the_data() -> None:
    assert elf.parse_elf(build_elf(headers_first=True)) == elf.parse_elf(build_elf())


def test_a_linked_program_is_read() -> None:
    app = elf.parse_elf((VECTORS / "mixed.rom0.elf").read_bytes())
    assert app.entry == 0x40100004
    assert [section.name for section in app.sections] == [".data", ".rodata", ".bss", ".text", ".irom0.text"]
    assert [hex(section.address) for section in app.sections if section.data] == [
        "0x3ffe8000",
        "0x3ffe8008",
        "0x40100000",
        "0x40202010",
    ]


def test_sections_that_take_no_memory_are_left_out() -> None:
    debug = Sec(".debug_info", data=b"a lot", flags=0)
    empty = Sec(".empty", IRAM)
    assert elf.parse_elf(build_elf((*APP, debug, empty))) == elf.parse_elf(build_elf())


def test_a_section_without_bits_takes_memory_but_has_no_data() -> None:
    # Its size is no size in the file, where so much could not be.
    app = elf.parse_elf(build_elf((Sec(".bss", DRAM, type=SHT_NOBITS, size=0x10000000),)))
    assert app.sections == (Section(".bss", DRAM, 0x10000000, b""),)
    assert app.sections[0].end == DRAM + 0x10000000
    assert app.find(".bss") is None


def test_find_gives_sections_with_data() -> None:
    app = elf.parse_elf(build_elf())
    assert app.find(".text") is app.sections[0]
    assert app.find(".bss") is None
    assert app.find(".nosuch") is None


# More sections than 16 bits count

MANY = 65_540


def with_many_sections(*, indexes: bool = True) -> bytes:
    """An ELF of MANY sections of a byte each, the last two with a symbol; without `indexes` nothing says where."""
    sections = [Sec(f".s{number}", IROM0 + number, b"\1") for number in range(MANY)]
    symbol = struct.Struct("<IIIBBH")
    first, last = MANY - 1, MANY
    entries = bytes(16) + symbol.pack(1, IROM0 + first - 1, 1, 2, 0, SHN_XINDEX)
    entries += symbol.pack(3, IROM0 + last - 1, 1, 2, 0, SHN_XINDEX)
    entries += symbol.pack(3, IROM0 + 0xFFF0, 1, 1, 0, 0xFFF1)  # absolute, although that section is there
    table = MANY + 1
    tables = (
        Sec(".symtab", type=SHT_SYMTAB, flags=0, data=entries, link=table + 1, entry_size=16),
        Sec(".strtab", type=SHT_STRTAB, flags=0, data=b"\0a\0b\0"),
        Sec(".symtab_shndx", 0, struct.pack("<4I", 0, first, last, 0), SHT_SYMTAB_SHNDX, 0, link=table),
    )
    return build_elf((*sections, *(tables if indexes else tables[:2])), entry=IROM0 + last - 1)


def test_more_sections_than_16_bits_count_are_read_as_pyelftools_reads_them() -> None:
    data = with_many_sections()
    app = elf.parse_elf(data)
    assert len(app.sections) == MANY
    assert app.sections[-1] == Section(f".s{MANY - 1}", IROM0 + MANY - 1, 1, b"\1")
    symbols = (elf.Symbol("a", IROM0 + MANY - 2, 1, "func", True), elf.Symbol("b", IROM0 + MANY - 1, 1, "func", True))
    assert elf.elf_symbols(data) == symbols
    assert app.entry_symbols == symbols[1:]
    known = ELFFile(io.BytesIO(data))
    assert (known["e_shnum"], known["e_shstrndx"]) == (0, SHN_XINDEX)
    assert known.num_sections() == MANY + 5
    assert known.get_section(MANY).name == app.sections[-1].name


def test_a_symbol_whose_section_no_table_names_is_refused() -> None:
    with pytest.raises(ElfError, match=r"^corrupt or truncated ELF \(missing section number of a symbol\)"):
        elf.elf_symbols(with_many_sections(indexes=False))


@pytest.mark.parametrize("count", [0x10000, 0xFFFFFFFF])
def test_a_number_of_sections_beyond_the_file_is_refused(count: int) -> None:
    table = int.from_bytes(build_elf()[32:36], "little")
    data = bytearray(patched(48, "<HH", 0, SHN_XINDEX))
    struct.pack_into("<I", data, table + 20, count)  # sh_size of section 0
    with pytest.raises(ElfError, match=r"section headers extend [\d,]+ bytes past the end of the file\)$"):
        elf.parse_elf(bytes(data))


# What is refused


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"\xea\x04" + bytes(100), "not an ELF file"),
        (b"#!/bin/sh\n", "not an ELF file"),
        (b"\x7fEL", "not an ELF file"),
        (
            build_elf(bits=64),
            "not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got 64-bit little-endian XTENSA",
        ),
        (
            build_elf(order=">"),
            "not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got 32-bit big-endian XTENSA",
        ),
        (
            build_elf(machine=EM_386),
            "not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got 32-bit little-endian 386",
        ),
        (
            build_elf(machine=0xABCD),
            "not an ELF for the ESP8266: expected 32-bit little-endian XTENSA, got 32-bit little-endian 43981",
        ),
        (build_elf(kind=ET_REL), "not an executable (ET_EXEC); link it first"),
        (build_elf(kind=ET_DYN), "not an executable (ET_EXEC); link it first"),
        # Stripped of its section headers: e_shoff is 0, and so is e_shnum.
        (patched(32, "<I12xHHH", 0, 0, 0, 0), "no section headers; do not strip them"),
        (
            build_elf((*APP, Sec(".text", IRAM + 0x100, b"more"))),
            "two sections are called .text; merge them in the linker script",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_application_elf_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ElfError) as refused:
        elf.parse_elf(data)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF",
        patched(4, "B", 7),  # neither 32- nor 64-bit
        patched(32, "<I", 0xFFFFFFF0),  # section headers behind the end
        patched(46, "<H", 0),  # section headers of no size
        patched(46, "<H", 0xFFFF),
        patched(48, "<H", 0xFFFF),  # more section headers than bytes
        patched(50, "<H", 0xFFFF),  # no such section for the names
    ],
    ids=["magic", "class", "shoff", "shentsize 0", "shentsize", "shnum", "shstrndx"],
)
def test_a_damaged_elf_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ElfError, match=r"\Acorrupt or truncated ELF \([^\n]+\)\Z"):
        elf.parse_elf(data)


def test_a_section_behind_the_end_of_the_file_is_refused() -> None:
    size = len(build_elf((Sec(".text", IRAM, b"1234"),)))
    cut_off = build_elf((Sec(".text", IRAM, b"1234", size=size),))
    with pytest.raises(ElfError, match=r"^truncated ELF: section \.text extends 52 bytes past the end of the file$"):
        elf.parse_elf(cut_off)


@pytest.mark.parametrize("headers_first", [False, True])
def test_an_elf_cut_off_anywhere_is_refused(headers_first: bool) -> None:
    good = build_elf(headers_first=headers_first)
    for length in range(len(good)):
        with pytest.raises(ElfError):
            elf.parse_elf(good[:length])


def test_a_linked_program_cut_off_anywhere_is_refused() -> None:
    good = (VECTORS / "tiny.rom0.elf").read_bytes()
    table = struct.unpack_from("<I", good, 32)[0]
    # All of the headers at the end, and every 97th byte of what is before: a prime, to hit all alignments.
    for length in (*range(0, table, 97), *range(table, len(good))):
        with pytest.raises(ElfError):
            elf.parse_elf(good[:length])


def parse_or_refuse(data: bytes) -> None:
    """Whatever else than ElfError comes out of parse() fails the test that calls this."""
    try:
        app = elf.parse_elf(data)
    except ElfError as error:
        app, message = None, str(error)
    if app is None:
        assert re.fullmatch("[^\n]+", message)
    else:
        assert all(len(section.data) in (0, section.size) for section in app.sections)


WITH_SYMBOLS = build_elf((*APP, SYMBOLS))


def test_the_elf_to_be_damaged_is_good() -> None:
    assert elf.parse_elf(WITH_SYMBOLS) == elf.parse_elf(build_elf())._replace(entry_symbols=())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        # Half of the bytes small: section types and indexes are, so more of those hit.
        st.tuples(st.integers(0, len(WITH_SYMBOLS) - 1), st.integers(0, 15) | st.integers(0, 255)),
        min_size=1,
        max_size=4,
    )
)
def test_of_a_damaged_elf_only_elf_error_comes_out(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(WITH_SYMBOLS)
    for offset, value in changes:
        damaged[offset] = value
    parse_or_refuse(bytes(damaged))


@pytest.mark.parametrize("section_type", [*range(20), 0x6FFFFFF6, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF, 0x70000001])
def test_any_type_of_section_with_nonsense_in_it_is_read_or_refused(section_type: int) -> None:
    for data in (b"", b"\xff" * 64, bytes(64)):
        parse_or_refuse(build_elf((*APP, Sec(".odd", IRAM + 0x1000, data, section_type, link=2))))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_of_any_bytes_only_elf_error_comes_out(tail: bytes) -> None:
    parse_or_refuse(b"\x7fELF\x01\x01\x01" + tail)


def test_a_section_name_that_is_no_utf_8_does_no_harm() -> None:
    good = build_elf((*APP, Sec(".odd-name", IRAM + 0x1000, b"1", SHT_PROGBITS, SHF_ALLOC)))
    parse_or_refuse(good.replace(b".odd-name", b"\xff\xfe\xfd\x80name"))


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.elf")), ids=lambda path: path.name)
def test_sections_and_symbols_are_those_that_pyelftools_finds(path: Path) -> None:
    with path.open("rb") as file:
        known = ELFFile(file)
        sections = [section for section in known.iter_sections() if section["sh_flags"] & 2 and section["sh_size"]]
        wanted = [
            (
                at.name,
                at["sh_addr"],
                at["sh_size"],
                b"" if at["sh_type"] == "SHT_NOBITS" else at.data(),
                bool(at["sh_flags"] & 4),
            )
            for at in sections
        ]
        names = {(at.name, at["st_value"]) for at in known.get_section_by_name(".symtab").iter_symbols()}
    found = elf.parse_elf(path.read_bytes())
    assert (found.entry, [tuple(section) for section in found.sections]) == (known["e_entry"], wanted)
    symbols = {(symbol.name, symbol.address) for symbol in elf.elf_symbols(path.read_bytes())}
    assert symbols
    assert symbols <= names


# Symbols by address


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0x1000, "outer"),
        (0x1004, "outer+0x4"),
        (0x1012, "inner+0x2"),  # the smaller one
        (0x1018, "outer+0x18"),
        (0x101F, "outer+0x1f"),  # a label within a function is not the start of something else
        (0x1020, None),
        (0x1030, "label"),
        (0x1038, "label+0x8"),
        (0x1040, "last"),
        (0x1044, None),
        (0xFFF, None),
    ],
)
def test_an_address_has_the_name_of_what_covers_it(address: int, name: str | None) -> None:
    symbols = (
        elf.Symbol("label", 0x1030, 0, "notype"),
        elf.Symbol("outer", 0x1000, 0x20, "func"),
        elf.Symbol("inner", 0x1010, 8, "func"),
        elf.Symbol(".L1", 0x101C, 0, "notype"),
        elf.Symbol("last", 0x1040, 4, "object"),
    )
    assert elf.describe_address(symbols, address) == name

"""Packing: esptool2's bytes, the order of sections, and applications that do not fit."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.elf_builder import APP, DRAM, IRAM, IROM0, IROM1, SHT_NOBITS, Sec, build_elf
from support.project import VECTORS

from rbootimg.errors import ElfError, FitError
from rbootimg.layout.memory import Usage
from rbootimg.layout.model import Slot
from rbootimg.layout.params import FlashParams
from rbootimg.rom import elf
from rbootimg.rom.elf import Elf, Section
from rbootimg.rom.entry import NO_SYMBOLS
from rbootimg.rom.format import RamSection, Rom
from rbootimg.rom.pack import difference, irom, pack, usage, warnings

SLOT0 = Slot(0x2000, 0x80000, 0)
SLOT1 = Slot(0x82000, 0x79000, 1)

TEXT, DATA, RODATA, BSS, IROM = APP


def app(*sections: Sec, entry: int = IRAM) -> Elf:
    return elf.parse_elf(build_elf(sections, entry))


# esptool2

# esptool2's options and ours. Bare numbers are the flash size in KB or the frequency in MHz.
OPTIONS = {
    "-bin": {},
    "-boot2": {},
    "-iromchksum": {"irom_checksum": True},
    "-1024": {"size": "1MB"},
    "-4096": {"size": "4MB"},
    "-16384": {"size": "16MB"},
    "-dio": {"mode": "dio"},
    "-qout": {"mode": "qout"},
    "-26.7": {"freq": "26m"},
    "-40": {"freq": "40m"},
    "-80": {"freq": "80m"},
}


def rows(error: bool) -> list[object]:
    with open(VECTORS / "expected.tsv", newline="") as file:
        table = [row for row in csv.DictReader(file, delimiter="\t") if "-boot2" in row["arguments"]]
    return [
        pytest.param(row, id=f"{row['elf']} {row['arguments']} {row['sections']}")
        for row in table
        if (row["bytes"] == "error") == error
    ]


def pack_row(row: dict[str, str]) -> Rom:
    choices: dict[str, object] = {"mode": "qio", "size": "512KB", "freq": "40m", "irom_checksum": False}
    for argument in row["arguments"].split():
        choices |= OPTIONS[argument]
    irom_checksum = choices.pop("irom_checksum")
    application = elf.parse_elf((VECTORS / row["elf"]).read_bytes())
    return pack(application, row["sections"].split(), FlashParams.from_names(**choices), irom_checksum)


@pytest.mark.parametrize("row", rows(error=False))
def test_the_bytes_are_esptool2s(row: dict[str, str]) -> None:
    rom = pack_row(row)
    data = rom.to_bytes()
    assert len(data) == rom.size == int(row["bytes"])
    assert hashlib.sha256(data).hexdigest() == row["sha256"]
    assert Rom.from_bytes(data) == rom


@pytest.mark.parametrize("row", rows(error=True))
def test_what_esptool2_refuses_is_refused(row: dict[str, str]) -> None:
    missing = row["sha256"].split("'")[1]
    with pytest.raises(ElfError, match=rf"^no section {missing} with data; sections with data: \.") as refused:
        pack_row(row)
    assert ".irom0.text" in str(refused.value)


def test_no_row_of_esptool2_is_left_out() -> None:
    assert (len(rows(error=False)), len(rows(error=True))) == (15, 2)


# Sections


def test_by_default_the_three_sections_are_packed_in_their_order_not_the_elfs() -> None:
    rom = pack(app(IROM, RODATA, BSS, DATA, TEXT))
    assert [(section.address, section.data) for section in rom.sections] == [
        (IRAM, bytes(range(1, 9))),
        (DRAM, b"data"),
        (DRAM + 4, b"read only\0\0\0"),
    ]
    assert rom.irom == b"code in the flash" + bytes(15)
    assert rom.entry == IRAM
    assert rom.params.describe() == "qio, 512KB, 40m"


def test_named_sections_are_packed_in_the_order_they_are_named() -> None:
    rom = pack(app(*APP), [".rodata", ".text", ".data"])
    assert [section.address for section in rom.sections] == [DRAM + 4, IRAM, DRAM]


def test_a_section_of_another_name_can_be_packed() -> None:
    extra = Sec(".iram.extra", IRAM + 8, b"more")
    assert [section.address for section in pack(app(*APP, extra), [".text", ".iram.extra"]).sections] == [
        IRAM,
        IRAM + 8,
    ]


@pytest.mark.parametrize(
    ("sections", "addresses"),
    [
        ((TEXT, IROM), [IRAM]),
        ((TEXT, IROM, Sec(".data", DRAM), Sec(".rodata", DRAM + 4, type=SHT_NOBITS, size=8)), [IRAM]),
    ],
    ids=["missing", "empty"],
)
def test_by_default_missing_and_empty_sections_are_skipped(sections: tuple[Sec, ...], addresses: list[int]) -> None:
    assert [section.address for section in pack(app(*sections)).sections] == addresses


@pytest.mark.parametrize(
    ("sections", "named", "message"),
    [
        ((TEXT,), None, "no section .irom0.text with data; sections with data: .text"),
        ((), None, "no section .irom0.text with data; sections with data: none"),
        ((BSS,), None, "no section .irom0.text with data; sections with data: none"),
        (
            (TEXT, Sec(".irom0.text", IROM0, type=SHT_NOBITS, size=16)),
            None,
            "no section .irom0.text with data; sections with data: .text",
        ),
        ((TEXT, IROM), [".text", ".data"], "no section .data with data; sections with data: .text, .irom0.text"),
        ((*APP,), [".bss"], "no section .bss with data; sections with data: .text, .data, .rodata, .irom0.text"),
        ((IROM, BSS), None, "none of the sections .text, .data, .rodata has data"),
        ((*APP,), [], "no sections to load: expected at least one name"),
    ],
)
def test_an_application_without_a_section_that_a_rom_needs_is_refused(
    sections: tuple[Sec, ...], named: list[str] | None, message: str
) -> None:
    with pytest.raises(ElfError) as refused:
        pack(app(*sections), named)
    assert str(refused.value) == message


def test_irom_is_the_section_that_stays_in_flash() -> None:
    assert irom(app(*APP)).address == IROM0
    with pytest.raises(ElfError, match=r"^no section \.irom0\.text with data"):
        irom(app(TEXT))


# Slots


@pytest.mark.parametrize(
    ("address", "slot"),
    [(IROM0, SLOT0), (IROM1, SLOT1), (IROM0, Slot(0x102000, 0x80000)), (0x40280010, Slot(0x80000, 0x10000))],
    ids=["slot 0", "slot 1", "second megabyte", "Sming"],
)
def test_an_application_linked_for_its_slot_is_packed(address: int, slot: Slot) -> None:
    assert pack(app(TEXT, Sec(".irom0.text", address, b"code")), slot=slot).irom == b"code" + bytes(12)


@pytest.mark.parametrize(
    ("address", "slot", "message"),
    [
        (
            IROM0,
            SLOT1,
            "linked at 0x40202010 (slot at 0x2000), expected 0x40282010 for slot 1 at 0x82000",
        ),
        (
            IROM1,
            Slot(0x2000, 0x80000),
            "linked at 0x40282010 (slot at 0x82000), expected 0x40202010 for slot at 0x2000",
        ),
        # An SDK application without OTA, whose flash code is in no place where a slot could put it.
        (
            0x40240000,
            SLOT0,
            "linked at 0x40240000, expected 0x40202010 for slot 0 at 0x2000",
        ),
        (
            0x10,
            SLOT0,
            "linked at 0x10, expected 0x40202010 for slot 0 at 0x2000",
        ),
    ],
    ids=["slot 0 in 1", "slot 1 in 0", "no OTA", "nowhere"],
)
def test_an_application_linked_for_another_slot_is_refused(address: int, slot: Slot, message: str) -> None:
    with pytest.raises(FitError) as refused:
        pack(app(TEXT, Sec(".irom0.text", address, b"code")), slot=slot)
    assert str(refused.value) == message


def test_without_a_slot_the_link_address_is_not_checked() -> None:
    assert pack(app(TEXT, Sec(".irom0.text", 0x40240000, b"code"))).irom == b"code" + bytes(12)


def test_it_is_the_packed_size_that_must_fit_to_the_byte() -> None:
    # 16 bytes of headers, irom, 16 of header and section header, 8 of .text, and 8 that end with the checksum.
    irom_size = 0x1000 - 16 - 16 - 8 - 8
    small = app(TEXT, Sec(".irom0.text", IROM0, bytes(irom_size)))
    assert pack(small, slot=Slot(0x2000, 0x1000)).size == 0x1000
    # One byte more of irom, which alone would have room, takes 16 more.
    large = app(TEXT, Sec(".irom0.text", IROM0, bytes(irom_size + 1)))
    with pytest.raises(FitError) as refused:
        pack(large, slot=Slot(0x2000, 0x1000, 0))
    assert str(refused.value) == "ROM has 4,112 bytes, 16 more than slot 0 at 0x2000 holds (4,096)"
    # A ROM is always a multiple of 16, a slot need not be.
    with pytest.raises(FitError, match=r"^ROM has 4,096 bytes, 1 more than slot at 0x2000 holds \(4,095\)$"):
        pack(small, slot=Slot(0x2000, 0xFFF))


# RAM


@pytest.mark.parametrize(
    "section",
    [
        Sec(".text", IRAM, bytes(0x8000)),
        Sec(".data", DRAM, bytes(0x14000)),
        Sec(".bss", DRAM + 0x100, type=SHT_NOBITS, size=0x13F00),
    ],
    ids=["IRAM", "DRAM", "bss"],
)
def test_the_ram_can_be_filled_to_the_last_byte(section: Sec) -> None:
    others = () if section.name == ".text" else (TEXT,)
    assert pack(app(section, *others, IROM)).sections


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            Sec(".text", IRAM, bytes(0x8001)),
            "section .text overflows IRAM by 1 byte: ends at 0x40108001, expected at most 0x40108000",
        ),
        (
            Sec(".data", DRAM, bytes(0x15000)),
            "section .data overflows DRAM by 4,096 bytes: ends at 0x3fffd000, expected at most 0x3fffc000",
        ),
        (
            # Takes no byte of the ROM, but of the RAM.
            Sec(".bss", DRAM + 0x100, type=SHT_NOBITS, size=0x13F04),
            "section .bss overflows DRAM by 4 bytes: ends at 0x3fffc004, expected at most 0x3fffc000",
        ),
    ],
    ids=["IRAM", "DRAM", "bss"],
)
def test_an_application_that_reaches_beyond_the_ram_is_refused(section: Sec, message: str) -> None:
    others = () if section.name == ".text" else (TEXT,)
    with pytest.raises(FitError) as refused:
        pack(app(section, *others, IROM))
    assert str(refused.value) == message


# Warnings and usage


def test_a_usual_application_gives_no_warnings() -> None:
    application = app(*APP)
    assert warnings(application, pack(application)) == (NO_SYMBOLS,)


def test_sections_that_are_left_out_are_named() -> None:
    vectors = Sec(".vectors", IRAM + 0x100, bytes(1024))
    application = app(*APP, vectors)
    assert warnings(application, pack(application, [".text", ".rodata"])) == (
        "section .data (4 bytes at 0x3ffe8000) is not in the ROM; "
        "add it to the sections to load if the application needs it",
        "section .vectors (1,024 bytes at 0x40100100) is not in the ROM; "
        "add it to the sections to load if the application needs it",
        NO_SYMBOLS,
    )
    assert warnings(application, pack(application, [".text", ".data", ".rodata", ".vectors"])) == (NO_SYMBOLS,)


@pytest.mark.parametrize("entry", [0, IRAM - 4, IRAM + 8, IROM0, DRAM + 4], ids=hex)
def test_an_entry_outside_of_the_code_in_iram_is_refused(entry: int) -> None:
    with pytest.raises(FitError, match=r"^entry point 0x\w+ is (outside the RAM|in \.rodata, a data section)"):
        pack(app(*APP, entry=entry))


@pytest.mark.parametrize("entry", [IRAM + 1, IRAM + 2, IRAM + 7])
def test_an_entry_where_no_function_can_start_is_refused(entry: int) -> None:
    with pytest.raises(FitError, match=f"^entry point {entry:#x}: expected a multiple of 4, where functions start"):
        pack(app(*APP, entry=entry))


@pytest.mark.parametrize("entry", [IRAM, IRAM + 4])
def test_without_symbols_an_entry_anywhere_in_the_code_is_packed(entry: int) -> None:
    assert pack(app(*APP, entry=entry)).entry == entry


def test_usage_counts_bss_and_gaps_and_the_packed_rom() -> None:
    assert usage(app(*APP), 4096, SLOT1) == (
        Usage("IRAM", 8, 0x8000),
        Usage("DRAM", 0x30, 0x14000),  # .bss begins at 0x10, behind a gap, and has 0x20 bytes
        Usage("flash", 4096, 0x79000),
    )


def test_usage_without_a_slot_and_without_ram() -> None:
    assert usage(app(IROM), 16) == (Usage("IRAM", 0, 0x8000), Usage("DRAM", 0, 0x14000), Usage("flash", 16, None))


@pytest.mark.parametrize("address", [0, 0x3FFFC000, 0x40108000, 0x60001100])
def test_a_section_that_no_ram_is_for_is_refused(address: int) -> None:
    text, flash_code = Section(".text", address, 4, bytes(4)), Section(".irom0.text", 0x40202010, 4, bytes(4))
    with pytest.raises(FitError, match=f"^section .text at {address:#x} is outside the RAM: expected IRAM .* or DRAM"):
        pack(Elf(0x40100000, (text, flash_code)))


# Which ELF a ROM was packed from

FAST = FlashParams.from_names("dio", "4MB", "80m")


@pytest.mark.parametrize(
    "rom",
    [
        pack(app(*APP)),
        pack(app(*APP), params=FAST, irom_checksum=True),
        pack(app(*APP), [".rodata", ".text"]),
        pack(app(*APP))._replace(sections=(RamSection(DRAM, b"dataread only"), RamSection(IRAM, TEXT.data))),
        pack(app(*APP))._replace(esptool_crc=True),
        pack(app(*APP))._replace(sections=(RamSection(DRAM + 99, b""), RamSection(IRAM, TEXT.data))),
    ],
    ids=["default", "options", "sections", "merged as esptool does", "crc", "an empty section"],
)
def test_a_rom_is_that_of_its_elf_whatever_it_was_packed_with(rom: Rom) -> None:
    assert difference(app(*APP), rom, IROM0) is None


@pytest.mark.parametrize("second_address", [DRAM + 5, DRAM + 8])
@pytest.mark.parametrize("merged", [False, True])
def test_padding_may_be_where_the_elf_has_other_bytes(second_address: int, merged: bool) -> None:
    first, second = Sec(".data", DRAM, b"abcde"), Sec(".rodata", second_address, b"xyz")
    sections = (RamSection(DRAM, first.data), RamSection(second_address, second.data))
    if merged:
        sections = (RamSection(DRAM, first.data.ljust(second_address - DRAM, b"\0") + second.data),)
    rom = pack(app(TEXT, first, IROM))._replace(sections=sections)
    assert difference(app(TEXT, first, second, IROM), rom, IROM0) is None


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=5), st.data())
def test_every_byte_of_what_was_packed_counts(contents: list[bytes], data: st.DataObject) -> None:
    *ram, flash = contents
    loaded, address = [TEXT], DRAM
    for number, content in enumerate(ram):
        loaded.append(Sec(f".s{number}", address, content))
        address += -(-len(content) // 4) * 4 + 4 * data.draw(st.integers(0, 2))
    sections = [*loaded, Sec(".irom0.text", IROM0, flash)]
    names = data.draw(st.permutations([section.name for section in loaded]))
    rom = pack(app(*sections), names, irom_checksum=data.draw(st.booleans()))
    assert difference(app(*sections), rom, IROM0) is None
    number = data.draw(st.integers(0, len(sections) - 1))
    altered = bytearray(sections[number].data)
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    sections[number] = replace(sections[number], data=bytes(altered))
    assert difference(app(*sections), rom, IROM0) is not None


def changed(section: Sec, data: bytes) -> tuple[Sec, ...]:
    return tuple(replace(other, data=data) if other is section else other for other in APP)


@pytest.mark.parametrize(
    ("other", "clause"),
    [
        (app(*changed(IROM, b"Code in the flash")), "contents at 0x40202010 do not match the ROM's flash code"),
        (
            app(*changed(IROM, b"code in the flash" + bytes(16))),
            "contents at 0x40202010 do not match the ROM's flash code",
        ),
        (app(*changed(IROM, b"code in the flas")), "contents at 0x40202010 do not match the ROM's flash code"),
        (app(*changed(TEXT, TEXT.data[:-1])), "contents at 0x40100000 do not match the ROM's RAM section 0"),
        (app(*changed(TEXT, TEXT.data + b"more")), "contents at 0x40100000 do not match the ROM's RAM section 0"),
        (app(*changed(DATA, b"date")), "contents at 0x3ffe8000 do not match the ROM's RAM section 1"),
        (app(TEXT, DATA, IROM), "no section starts at 0x3ffe8004, where the ROM has RAM section 2"),
        (
            app(TEXT, DATA, RODATA, replace(IROM, address=IROM1)),
            "no section starts at 0x40202010, where the ROM has flash code",
        ),
        (app(*APP, entry=IRAM + 4), "entry point 0x40100004, expected 0x40100000 as in the ROM"),
    ],
)
def test_another_elf_is_told_from_the_one_that_a_rom_was_packed_from(other: Elf, clause: str) -> None:
    assert difference(other, pack(app(*APP)), IROM0) == clause


def test_zeros_beyond_the_padding_are_not_the_elfs() -> None:
    rom = pack(app(TEXT, replace(DATA, data=b"data" + bytes(20)), IROM))
    assert (
        difference(app(TEXT, DATA, IROM), rom, IROM0) == "contents at 0x3ffe8000 do not match the ROM's RAM section 1"
    )

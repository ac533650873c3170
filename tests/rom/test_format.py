"""The ROM format: bytes there and back, and what is refused."""

from __future__ import annotations

import contextlib
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.project import VECTORS

from rbootimg.errors import RomError
from rbootimg.layout.params import FlashParams
from rbootimg.rom import elf
from rbootimg.rom.format import RamSection, Rom, check_old_image, image_size, old_image
from rbootimg.rom.pack import difference, pack

SMALL = Rom(
    entry=0x40100004,
    irom=b"flash",
    sections=(RamSection(0x40100000, b"\x01\x02\x03\x04"), RamSection(0x3FFE8000, b"\x0a")),
    params=FlashParams.from_names("dio", "1MB", "80m"),
)

# fmt: off
GOLDEN = bytes((
    0xEA, 0x04,                  # magic, and what makes it the type with irom
    0x02, 0x2F,                  # DIO, 1 MB << 4 | 80 MHz
    0x04, 0x00, 0x10, 0x40,      # entry 0x40100004
    0x00, 0x00, 0x00, 0x00,      # ignored
    0x10, 0x00, 0x00, 0x00,      # 16 bytes of irom
    *b"flash", *bytes(11),       # irom and its padding
    0xE9, 0x02,                  # magic, 2 RAM sections
    0x02, 0x2F,                  # once more
    0x04, 0x00, 0x10, 0x40,      # once more
    0x00, 0x00, 0x10, 0x40,      # section 0: address 0x40100000
    0x04, 0x00, 0x00, 0x00,      # 4 bytes
    0x01, 0x02, 0x03, 0x04,
    0x00, 0x80, 0xFE, 0x3F,      # section 1: address 0x3FFE8000
    0x04, 0x00, 0x00, 0x00,      # 4 bytes: 1 and its padding
    0x0A, 0x00, 0x00, 0x00,
    *bytes(15),                  # so that the checksum ends a block of 16
    0xE1,                        # 0xEF ^ 0x01 ^ 0x02 ^ 0x03 ^ 0x04 ^ 0x0A
))
# fmt: on

RAM_DATA = (*range(48, 52), *range(60, 64))
IROM_DATA = tuple(range(16, 32))


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def patched(offset: int, data: bytes, rom: bytes = GOLDEN) -> bytes:
    return rom[:offset] + data + rom[offset + len(data) :]


@st.composite
def roms(draw: st.DrawFn) -> Rom:
    words = st.integers(0, 2**32 - 1)
    return Rom(
        entry=draw(words),
        irom=draw(st.binary(min_size=1, max_size=70)),
        sections=tuple(draw(st.lists(st.builds(RamSection, words, st.binary(max_size=40)), min_size=1, max_size=5))),
        params=draw(st.builds(FlashParams, st.integers(0, 255), st.integers(0, 15), st.integers(0, 15))),
        irom_checksum=draw(st.booleans()),
        esptool_crc=draw(st.booleans()),
    )


# Bytes


def test_a_small_rom_byte_for_byte() -> None:
    assert SMALL.to_bytes() == GOLDEN


def test_the_irom_checksum_changes_the_last_byte_alone() -> None:
    of_irom = ord("f") ^ ord("l") ^ ord("a") ^ ord("s") ^ ord("h")
    assert SMALL._replace(irom_checksum=True).to_bytes() == GOLDEN[:-1] + bytes((GOLDEN[-1] ^ of_irom,))


def test_from_bytes_finds_what_to_bytes_was_given() -> None:
    rom = Rom.from_bytes(GOLDEN)
    assert rom == SMALL
    assert rom.params.describe() == "dio, 1MB, 80m"
    assert rom.sections[1].data == b"\x0a\0\0\0"


@pytest.mark.parametrize("used", range(1, 18))
def test_the_checksum_is_the_last_byte_of_a_block_of_16(used: int) -> None:
    rom = Rom(0, b"x", (RamSection(0, bytes(4 * used)),))
    data = rom.to_bytes()
    end_of_section = 16 + 16 + 8 + 8 + 4 * used
    assert len(data) % 16 == 0
    assert 1 <= len(data) - end_of_section <= 16
    assert data[-1] == rom.checksum == 0xEF


@settings(max_examples=150, deadline=None)
@given(roms())
def test_every_rom_survives_the_round_trip(rom: Rom) -> None:
    data = rom.to_bytes()
    again = Rom.from_bytes(data)
    assert again.to_bytes() == data
    assert rom.size == len(data) == again.size
    # Where irom does not change the sum, nobody can tell whether it was summed.
    summed = rom._replace(irom_checksum=True).checksum != rom._replace(irom_checksum=False).checksum
    assert again == (rom if summed else rom._replace(irom_checksum=False))


@settings(max_examples=200, deadline=None)
@given(roms(), st.data())
def test_a_damaged_rom_is_refused_or_gives_the_same_bytes_back(rom: Rom, data: st.DataObject) -> None:
    damaged = bytearray(rom.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert Rom.from_bytes(bytes(damaged)).to_bytes() == damaged
    except RomError:
        return


@settings(max_examples=200, deadline=None)
@given(roms(), st.binary(max_size=40))
def test_an_image_ends_where_it_ends_whatever_follows(rom: Rom, rest: bytes) -> None:
    old = old_image(rom.entry, rom.sections, rom.params)
    assert image_size(rom.to_bytes() + b"\xff" + rest) == rom.size
    assert image_size(old + b"\xff" + rest) == check_old_image(old + rest) == len(old)


@given(st.binary(max_size=100), st.sampled_from([b"", b"\xea", b"\xe9\x01", GOLDEN[:16], GOLDEN[:32], GOLDEN]))
def test_any_bytes_begin_with_an_image_or_not(tail: bytes, start: bytes) -> None:
    data = start + tail
    for measure in (image_size, check_old_image):
        with contextlib.suppress(RomError):
            assert 0 < measure(data) <= len(data)


@given(st.binary(max_size=100), st.sampled_from([b"", b"\xea", b"\xea\x04", GOLDEN[:16], GOLDEN[:32], GOLDEN]))
def test_any_bytes_are_a_rom_or_refused(tail: bytes, start: bytes) -> None:
    try:
        assert Rom.from_bytes(start + tail).to_bytes() == start + tail
    except RomError:
        return


# What is refused


@pytest.mark.parametrize("irom_checksum", [False, True])
@pytest.mark.parametrize("esptool_crc", [False, True])
def test_every_flipped_bit_that_the_checksum_covers_is_refused(irom_checksum: bool, esptool_crc: bool) -> None:
    good = SMALL._replace(irom_checksum=irom_checksum, esptool_crc=esptool_crc).to_bytes()
    covered = (*RAM_DATA, len(GOLDEN) - 1, *(IROM_DATA if irom_checksum else ()))
    for byte in covered:
        for bit in range(8 * byte, 8 * byte + 8):
            # With the CRC behind it, which covers the checksum, that is what refuses.
            with pytest.raises(RomError, match="or esptool's CRC" if esptool_crc else "bad checksum 0x"):
                Rom.from_bytes(flipped(good, bit))


def test_without_the_irom_checksum_the_irom_is_not_covered() -> None:
    damaged = flipped(GOLDEN, 8 * IROM_DATA[0])
    assert Rom.from_bytes(damaged).to_bytes() == damaged


def test_the_crc_covers_everything_before_it() -> None:
    good = SMALL._replace(esptool_crc=True).to_bytes()
    assert Rom.from_bytes(good).esptool_crc
    for bit in range(8 * len(good)):
        with pytest.raises(RomError):
            Rom.from_bytes(flipped(good, bit))


@pytest.mark.parametrize("irom_checksum", [False, True])
@pytest.mark.parametrize("esptool_crc", [False, True])
def test_a_rom_cut_off_anywhere_is_refused(irom_checksum: bool, esptool_crc: bool) -> None:
    good = SMALL._replace(irom_checksum=irom_checksum, esptool_crc=esptool_crc).to_bytes()
    for length in range(len(good)):
        if length == len(GOLDEN):
            continue  # just before the CRC: a whole ROM without one
        with pytest.raises(RomError, match=r"^truncated image: |or esptool's CRC$"):
            Rom.from_bytes(good[:length])


@pytest.mark.parametrize(
    ("offset", "what"), [(12, "irom"), (44, "RAM section 0"), (56, "RAM section 1")], ids=["irom", "first", "last"]
)
def test_a_header_that_claims_4_gb_is_refused_at_once(offset: int, what: str) -> None:
    started = time.perf_counter()
    with pytest.raises(RomError, match=f"^truncated image: {what} ends at offset 0x1000000.*only 0x50 bytes$"):
        Rom.from_bytes(patched(offset, struct.pack("<I", 0xFFFFFFF0)))
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", "truncated image: the header of the ROM ends at offset 0x8, but there are only 0x0 bytes"),
        (b"\x7fELF" + bytes(100), "ELF file, not a ROM; pack it first"),
        (patched(0, b"\xe9"), "bad magic of the ROM: found 0xe9 at offset 0x0, expected 0xea"),
        (patched(1, b"\x03"), "not an rBoot ROM with irom: byte 1 is 0x03, expected 0x04"),
        (patched(8, b"\x01"), "unexpected word 0x1 at offset 8: expected 0"),
        (patched(12, b"\x00"), "invalid irom length 0x0: expected a multiple of 16, greater than 0"),
        (patched(12, b"\x0f"), "invalid irom length 0xf: expected a multiple of 16, greater than 0"),
        (patched(32, b"\xea"), "bad magic of the RAM part: found 0xea at offset 0x20, expected 0xe9"),
        (patched(33, b"\x00"), "ROM without RAM sections"),
        (
            patched(33, b"\xff"),
            "truncated image: RAM section 3 ends at offset 0xe1000050, but there are only 0x50 bytes",
        ),
        (patched(34, b"\x00"), "header mismatch: entry or flash parameters differ between the two headers"),
        (patched(36, b"\x08"), "header mismatch: entry or flash parameters differ between the two headers"),
        (patched(44, b"\x03"), "invalid size 3 of RAM section 0: expected a multiple of 4"),
        (patched(70, b"\x01"), "invalid padding at offset 0x40: expected zeros up to the checksum"),
        (
            patched(79, b"\xe0"),
            "bad checksum 0xe0 at offset 0x4f: expected 0xe1 (0x91 with irom)",
        ),
        (GOLDEN + b"\0", "1 trailing bytes after the checksum at offset 0x4f: expected none, or esptool's CRC"),
        (GOLDEN + bytes(4), "4 trailing bytes after the checksum at offset 0x4f"),
        (GOLDEN + GOLDEN, "80 trailing bytes after the checksum at offset 0x4f"),
    ],
)
def test_what_is_no_sound_rom_is_refused(damaged: bytes, message: str) -> None:
    with pytest.raises(RomError, match=re.escape(message)):
        Rom.from_bytes(damaged)


def test_what_replace_makes_is_padded_and_checked_too() -> None:
    assert SMALL._replace(irom=b"1").irom == b"1" + bytes(15)
    assert SMALL.sections[0]._replace(data=b"12345").data == b"12345\0\0\0"


def test_a_rom_needs_flash_code() -> None:
    with pytest.raises(RomError, match=r"^no flash code: a ROM requires \.irom0\.text$"):
        SMALL._replace(irom=b"")


@pytest.mark.parametrize("count", [0, 256])
def test_a_rom_holds_1_to_255_sections(count: int) -> None:
    with pytest.raises(RomError, match=f"^{count} RAM sections: expected 1-255$"):
        SMALL._replace(sections=SMALL.sections[:1] * count)


def test_255_sections_survive_the_round_trip() -> None:
    rom = SMALL._replace(sections=SMALL.sections[:1] * 255)
    assert Rom.from_bytes(rom.to_bytes()) == rom


@pytest.mark.parametrize(
    "values",
    [
        {"entry": 2**32},
        {"entry": -1},
        {"sections": (RamSection(2**32, b"x"),)},
        {"params": FlashParams(mode=256)},
        {"params": FlashParams(size=16)},
        # Must not become another size: the frequency takes only the lower half of the byte.
        {"params": FlashParams(freq=16)},
    ],
    ids=str,
)
def test_values_that_the_format_cannot_hold_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(RomError):
        SMALL._replace(**values).to_bytes()


# The real esptool


def esptool(*arguments: object) -> str:
    command = [sys.executable, "-m", "esptool", "--chip", "esp8266", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_rom_that_esptool_made_is_read_with_its_crc(tmp_path: Path) -> None:
    path = tmp_path / "esptool.bin"
    esptool("elf2image", "--version", "2", "-o", path, VECTORS / "mixed.rom0.elf")
    data = path.read_bytes()
    rom = Rom.from_bytes(data)
    assert rom.esptool_crc
    assert rom.params.describe() == "qio, 1MB, 40m"
    assert rom.to_bytes() == data
    assert difference(elf.parse_elf((VECTORS / "mixed.rom0.elf").read_bytes()), rom, 0x40202010) is None


def test_esptool_reads_a_rom_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "ours.bin"
    app = elf.parse_elf((VECTORS / "mixed.rom0.elf").read_bytes())
    path.write_bytes(pack(app, params=FlashParams.from_names("dio", "4MB", "80m")).to_bytes())
    output = esptool("image-info", path)
    assert "Entry point: 0x40100004" in output
    assert re.search(r"Checksum: 0x[0-9a-f]{2} \(valid\)", output)
    assert re.search(r"Flash size: 4MB\s+Flash freq: 80m\s+Flash mode: DIO", output)


def test_a_rom_must_have_the_kind_of_checksum_that_is_asked_for() -> None:
    for has_irom in (False, True):
        data = SMALL._replace(irom_checksum=has_irom).to_bytes()
        assert Rom.from_bytes(data, has_irom).irom_checksum is has_irom
        with pytest.raises(RomError, match=r"the ROM may have the other kind of checksum$"):
            Rom.from_bytes(data, not has_irom)


def test_a_flip_that_makes_one_kind_of_checksum_the_other_is_found_when_the_kind_is_known() -> None:
    rom = SMALL._replace(irom=b"\x01" + bytes(15))  # the XOR of irom is one bit
    data = bytearray(rom.to_bytes())
    data[data.index(rom.sections[0].data)] ^= 0x01
    assert Rom.from_bytes(bytes(data)).irom_checksum  # taken for the other kind
    with pytest.raises(RomError, match=r"^bad checksum 0x"):
        Rom.from_bytes(bytes(data), irom_checksum=False)

from __future__ import annotations

import functools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbootimg.errors import ConfigError
from rbootimg.flash.bootconfig import BootConfig, BootMode, RtcData, infer_max_roms

TWO_ROMS = bytes.fromhex(
    "e1 01"  # magic, version
    "01"  # mode: GPIO ROM
    "01"  # current ROM
    "00"  # GPIO ROM
    "02"  # count
    "00 00"
    "00 20 00 00"  # ROM 0 at 0x2000
    "00 20 08 00"  # ROM 1 at 0x82000
    "00 00 00 00"
    "00 00 00 00"
)
CONFIG = BootConfig((0x2000, 0x82000), current_rom=1, mode=BootMode.GPIO_ROM)


def test_the_bytes_are_rboots() -> None:
    assert CONFIG.to_bytes() == TWO_ROMS
    assert BootConfig.from_bytes(TWO_ROMS) == CONFIG


def test_the_checksum_is_the_xor_of_all_before_it_from_0xef() -> None:
    # 0xEF ^ E1 ^ 01 ^ 01 ^ 01 ^ 02 ^ 20 ^ 20 ^ 08
    assert CONFIG.to_bytes(checksum=True) == TWO_ROMS + b"\x05"
    assert BootConfig.from_bytes(TWO_ROMS + b"\x05", checksum=True) == CONFIG


configs = st.integers(1, 16).flatmap(
    lambda count: st.builds(
        BootConfig,
        st.tuples(*[st.integers(0, 0xFFFFFFFF)] * count),
        st.integers(0, count - 1),
        st.integers(0, count - 1),
        st.sampled_from([BootMode(bits) for bits in range(16)]),
    )
)


@given(configs, st.integers(16, 60), st.booleans(), st.binary(max_size=50))
def test_a_config_round_trips(config: BootConfig, max_roms: int, checksum: bool, behind: bytes) -> None:
    data = config.to_bytes(max_roms, checksum)
    assert len(data) == 8 + 4 * max_roms + checksum
    assert BootConfig.from_bytes(data + behind, max_roms, checksum) == config


def test_rewriting_keeps_the_rest_of_the_sector() -> None:
    sector = TWO_ROMS + bytes(range(256)) * 15 + bytes(256 - len(TWO_ROMS))
    new = BootConfig((0x2000, 0x82000, 0x42000))
    rewritten = new.rewrite(sector, checksum=True)
    assert BootConfig.from_bytes(rewritten, checksum=True) == new
    assert rewritten[25:] == sector[25:]
    assert len(rewritten) == 4096


def test_a_sector_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"invalid config sector: expected 4,096 bytes, got 24"):
        CONFIG.rewrite(TWO_ROMS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated config: expected 24 bytes, got 0"),
        (TWO_ROMS[:-1], "truncated config: expected 24 bytes, got 23"),
        (b"\xff" * 24, "bad config magic: found ff ff, expected e1 01"),
        (b"\xe1\x02" + TWO_ROMS[2:], "bad config magic: found e1 02, expected e1 01"),
        (TWO_ROMS[:5] + b"\x00" + TWO_ROMS[6:], "needs at least one ROM"),
        (TWO_ROMS[:5] + b"\xff" + TWO_ROMS[6:], "invalid ROM count 255 in the config: expected at most 4"),
        (TWO_ROMS[:3] + b"\x02" + TWO_ROMS[4:], "invalid current ROM 2: expected 0-1"),
        (TWO_ROMS[:4] + b"\x07" + TWO_ROMS[5:], "invalid GPIO ROM 7: expected 0-1"),
        (TWO_ROMS[:2] + b"\x10" + TWO_ROMS[3:], "invalid config mode 0x10: expected only the bits 0x0f"),
    ],
)
def test_an_invalid_config_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BootConfig.from_bytes(data)


def test_every_flipped_bit_is_found_with_the_checksum() -> None:
    data = CONFIG.to_bytes(checksum=True)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ConfigError):
            BootConfig.from_bytes(bytes(flipped), checksum=True)


def test_more_roms_than_max_roms_are_refused() -> None:
    with pytest.raises(ConfigError, match="too many ROMs: 5 > MAX_ROMS 4; build rBoot with more MAX_ROMS"):
        BootConfig((0x2000,) * 5).to_bytes()


@given(st.binary(max_size=64), st.integers(1, 8), st.booleans())
def test_any_bytes_give_a_config_or_one_error(data: bytes, max_roms: int, checksum: bool) -> None:
    try:
        config = BootConfig.from_bytes(data, max_roms, checksum)
    except ConfigError:
        return
    assert BootConfig.from_bytes(config.to_bytes(max_roms, checksum), max_roms, checksum) == config


def test_rtc_data_are_rboots() -> None:
    data = bytes.fromhex("68 ae 34 23  02 00 00 01  3d 00 00 00")  # 0xEF ^ 68 ^ ae ^ 34 ^ 23 ^ 02 ^ 01
    asked = RtcData(next_mode=BootMode.TEMP_ROM, temp_rom=1)
    assert asked.to_bytes() == data
    assert RtcData.from_bytes(data) == asked


@given(st.binary(max_size=16))
def test_other_bytes_are_not_rtc_data(data: bytes) -> None:
    found = RtcData.from_bytes(data)
    checksum = functools.reduce(operator.xor, data[:8], 0xEF)
    assert (found is not None) == (len(data) > 8 and data[8] == checksum)


@pytest.mark.parametrize("max_roms", [1, 2, 4, 8, 255])
def test_max_roms_is_inferred_from_the_checksums_position(max_roms: int) -> None:
    config = BootConfig((0x2000,) * min(max_roms, 2))
    sector = config.to_bytes(max_roms, checksum=True).ljust(4096, b"\xff")
    assert BootConfig.from_bytes(sector, infer_max_roms(sector, True), checksum=True) == config
    assert infer_max_roms(sector, False) == 4

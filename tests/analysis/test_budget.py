"""Limits for memory usage: how they are written, what exceeds them, and by what."""

from __future__ import annotations

import pytest
from support.project import VECTORS

from rbootimg.analysis.budget import Excess, LimitKind, contributors, find_excesses, parse_limit
from rbootimg.analysis.size import compare_sizes, measure
from rbootimg.errors import SettingError
from rbootimg.layout.memory import Usage
from rbootimg.rom.elf import parse_elf
from rbootimg.views.size import excess_text

USAGES = (Usage("IRAM", 31200, 32768), Usage("DRAM", 100, 81920), Usage("flash", 4096, 8192))


@pytest.mark.parametrize(
    ("memory", "value", "kind", "number"),
    [
        ("IRAM", 31000, LimitKind.SIZE, 31000),
        ("iram", "30KB", LimitKind.SIZE, 30 * 1024),
        ("DRAM", "95%", LimitKind.PERCENT, 95),
        ("ROM", " 99.5% ", LimitKind.PERCENT, 99.5),
        ("rom", "+1KB", LimitKind.GROWTH, 1024),
        ("rom", "+0", LimitKind.GROWTH, 0),
    ],
)
def test_a_limit_is_a_size_a_percentage_or_a_growth(memory: str, value: object, kind: LimitKind, number: float) -> None:
    limit = parse_limit(memory, value, with_growth=True)
    assert (limit.memory.lower(), limit.kind, limit.number) == (memory.lower(), kind, number)


@pytest.mark.parametrize(
    ("memory", "value", "error"),
    [
        ("flash", "1KB", "unknown memory 'flash': expected one of IRAM, DRAM, rom"),
        ("IRAM", "101%", "invalid limit '101%' for IRAM: expected a size such as 30KB or a percentage such as 95%"),
        ("IRAM", "-1", "invalid limit '-1' for IRAM: expected a size such as 30KB or a percentage such as 95%"),
        ("IRAM", "+1KB", "invalid limit '+1KB' for IRAM: expected a size such as 30KB or a percentage such as 95%"),
        ("IRAM", True, "invalid limit 'True' for IRAM: expected a size such as 30KB or a percentage such as 95%"),
    ],
)
def test_an_invalid_limit_is_refused(memory: str, value: object, error: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_limit(memory, value)
    assert str(caught.value) == error


def test_only_what_is_over_its_limit_is_an_excess() -> None:
    written = (("IRAM", "31200"), ("IRAM", "31199"), ("IRAM", "95%"), ("IRAM", "96%"), ("rom", "50%"), ("DRAM", "0%"))
    limits = [parse_limit(*each) for each in written]
    assert find_excesses(limits, USAGES) == (
        Excess(limits[1], 31200, 31199),
        Excess(limits[2], 31200, 31129),
        Excess(limits[5], 100, 0),
    )


def test_a_growth_is_counted_from_the_other_build() -> None:
    limits = [parse_limit("rom", text, with_growth=True) for text in ("+96", "+95")]
    before = (Usage("IRAM", 0, None), Usage("flash", 4000, None))
    assert find_excesses(limits, USAGES, before) == (Excess(limits[1], 4096, 4095),)


def test_a_limit_that_cannot_be_calculated_is_an_error() -> None:
    with pytest.raises(SettingError, match="limit 95% for rom requires the slot of the ROM"):
        find_excesses([parse_limit("rom", "95%")], [Usage("flash", 1, None)])
    with pytest.raises(SettingError, match=r"limit \+1 for rom requires another build to compare with"):
        find_excesses([parse_limit("rom", "+1", with_growth=True)], USAGES)


def described(memory: str, text: str) -> str:
    """Describe what exceeds a limit in a real application."""
    data = (VECTORS / "mixed.rom0.elf").read_bytes()
    old = (VECTORS / "tiny.rom0.elf").read_bytes()
    app, sizes = parse_elf(data), measure(data)
    (excess,) = find_excesses(
        [parse_limit(memory, text, with_growth=True)],
        [Usage("IRAM", 36, 32768), Usage("DRAM", 1232, 81920), Usage("flash", 240, 450560)],
        [Usage("IRAM", 0, 32768), Usage("DRAM", 0, 81920), Usage("flash", 0, 450560)],
    )
    return excess_text(excess, contributors(excess, app, sizes, compare_sizes(measure(old), sizes)))


def test_the_largest_symbols_of_the_memory_are_named() -> None:
    assert described("IRAM", "32") == (
        "IRAM: 36 bytes, 4 over the limit of 32; largest: call_user_start 32, (no symbol, .text) 4"
    )
    assert described("DRAM", "1%").startswith(
        "DRAM: 1,232 bytes, 413 over the limit of 819 (1%); largest: zeroed 1,200, "
    )


def test_a_rom_has_no_bss() -> None:
    assert "zeroed" not in described("rom", "1")
    assert "call_user_start 32" in described("rom", "1")


def test_of_a_growth_the_symbols_that_grew_most_are_named() -> None:
    assert described("DRAM", "+1").startswith(
        "DRAM: 1,232 bytes, 1,231 over the limit of 1 (+1); grown most: zeroed +1,200, "
    )


def test_control_characters_in_names_are_replaced() -> None:
    excess = Excess(parse_limit("IRAM", 1), 2, 1)
    assert excess_text(excess, [("a\x1b", 2)]).endswith("largest: a\N{REPLACEMENT CHARACTER} 2")

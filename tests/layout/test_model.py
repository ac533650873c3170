"""Whole flashes: presets, and what a slot may be."""

from __future__ import annotations

import pytest

from rbootimg.errors import LayoutError
from rbootimg.layout.model import FlashLayout, Slot, make_flash_layout
from rbootimg.layout.params import FLASH_SIZES, flash_size


def places(layout: FlashLayout) -> list[tuple[int, int]]:
    return [(slot.address, slot.size) for slot in layout.slots]


# Presets


@pytest.mark.parametrize(
    ("size", "big_flash", "slots"),
    [
        # The last slot ends 0x5000 before the end of the flash, where the SDK's sectors begin, ...
        ("256KB", False, [(0x2000, 0x20000), (0x22000, 0x19000)]),
        ("256KB", True, [(0x2000, 0x20000), (0x22000, 0x19000)]),
        ("512KB", False, [(0x2000, 0x40000), (0x42000, 0x39000)]),
        ("512KB", True, [(0x2000, 0x40000), (0x42000, 0x39000)]),
        ("1MB", False, [(0x2000, 0x80000), (0x82000, 0x79000)]),
        ("1MB", True, [(0x2000, 0x80000), (0x82000, 0x79000)]),
        # ... or at the end of the first megabyte, which is all that rBoot uses without big flash, ...
        ("2MB", False, [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("4MB", False, [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("2MB-c1", False, [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("4MB-c1", False, [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("8MB", False, [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        ("16MB", False, [(0x2000, 0x80000), (0x82000, 0x7E000)]),
        # ... or, with it, at the end of its own megabyte, of which the flash shows one at a time.
        ("2MB", True, [(0x2000, 0xFE000), (0x102000, 0xF9000)]),
        ("2MB-c1", True, [(0x2000, 0xFE000), (0x102000, 0xF9000)]),
        ("4MB", True, [(0x2000, 0xFE000), (0x202000, 0xFE000)]),
        ("4MB-c1", True, [(0x2000, 0xFE000), (0x202000, 0xFE000)]),
        ("8MB", True, [(0x2000, 0xFE000), (0x402000, 0xFE000)]),
        ("16MB", True, [(0x2000, 0xFE000), (0x802000, 0xFE000)]),
    ],
)
def test_without_slots_the_layout_is_rboots_default_pair(
    size: str, big_flash: bool, slots: list[tuple[int, int]]
) -> None:
    layout = make_flash_layout(size, big_flash=big_flash)
    assert places(layout) == slots
    assert [slot.number for slot in layout.slots] == [0, 1]
    assert layout.size.name == size
    assert layout.big_flash is big_flash
    assert make_flash_layout(size, "", big_flash) == layout


# Slots


@pytest.mark.parametrize(
    ("address", "link_address"),
    [(0x2000, 0x40202010), (0x82000, 0x40282010), (0x42000, 0x40242010), (0x102000, 0x40202010), (0x80000, 0x40280010)],
)
def test_the_link_address_is_behind_two_headers_in_the_slots_megabyte(address: int, link_address: int) -> None:
    assert Slot(address, 0x1000).link_address == link_address


def test_a_slot_knows_its_end_what_irom_it_could_hold_and_its_name() -> None:
    assert Slot(0x82000, 0x79000).end == 0xFB000
    assert Slot(0x82000, 0x79000).irom_size == 0x78FF0
    assert Slot(0x82000, 0x79000, 1).label == "slot 1 at 0x82000"
    assert Slot(0x82000, 0x79000).label == "slot at 0x82000"


PAIR = [(0x2000, 0x40000), (0x82000, 0x10000)]


@pytest.mark.parametrize(
    "slots",
    [
        PAIR,
        "0x2000:0x40000 0x82000:0x10000",
        "0x2000:0x40000,0x82000:0x10000",
        " 8192:256KB,\n 0x82000:64k ",
        "8K:262144 532480:0x10000",
        ["0x2000:256K", "0x82000:64KB"],
        ["0x2000:256K", (0x82000, 65536)],
        (("0x2000", "256KB"), ["520k", "0x10000"]),
        [Slot(0x2000, 0x40000), Slot(0x82000, 0x10000, number=7)],
        dict(PAIR).items(),
    ],
    ids=str,
)
def test_slots_can_be_written_in_many_ways(slots: object) -> None:
    assert make_flash_layout("1MB", slots).slots == (Slot(0x2000, 0x40000, 0), Slot(0x82000, 0x10000, 1))


@pytest.mark.parametrize("slots", [0x2000, "0x2000", "8KB", [0x2000], ["0x2000"], [("8192",)]], ids=str)
def test_a_single_slot_needs_no_list_and_reaches_to_the_sdks_sectors(slots: object) -> None:
    assert make_flash_layout("1MB", slots).slots == (Slot(0x2000, 0xF9000, 0),)


def test_a_slot_without_a_size_reaches_to_the_next_whatever_the_order() -> None:
    assert places(make_flash_layout("1MB", "0x82000 0x2000 0x42000")) == [
        (0x82000, 0x79000),
        (0x2000, 0x40000),
        (0x42000, 0x40000),
    ]


def test_numbers_follow_the_order_in_which_slots_were_written() -> None:
    assert [slot.label for slot in make_flash_layout("1MB", "0x82000 0x2000").slots] == [
        "slot 0 at 0x82000",
        "slot 1 at 0x2000",
    ]


def test_a_slot_may_stand_in_the_sdks_sectors_if_one_says_so() -> None:
    assert places(make_flash_layout("1MB", "0xfc000")) == [(0xFC000, 0x4000)]
    assert places(make_flash_layout("1MB", "0x82000:504KB")) == [(0x82000, 0x7E000)]


def test_a_slot_may_fill_a_megabyte_and_slots_may_touch() -> None:
    layout = make_flash_layout("4MB", "0x2000:0xfe000 0x100000:1MB 0x200000:1MB", big_flash=True)
    assert places(layout) == [(0x2000, 0xFE000), (0x100000, 0x100000), (0x200000, 0x100000)]


def test_the_smallest_slot_is_a_sector() -> None:
    assert places(make_flash_layout("1MB", "0x2000:4KB")) == [(0x2000, 0x1000)]


def test_a_slot_off_its_sector_is_named_and_not_the_one_before_it() -> None:
    with pytest.raises(
        LayoutError, match=r"^slot 1 at 0x82800: invalid address: expected a multiple of the flash sector"
    ):
        make_flash_layout("1MB", "0x2000 0x82800")


@pytest.mark.parametrize(
    ("size", "slots", "big_flash", "message"),
    [
        (
            "1MB",
            "0x2800",
            False,
            "slot 0 at 0x2800: invalid address: expected a multiple of the flash sector (0x1000), e.g. 0x3000",
        ),
        (
            "1MB",
            "0x2000:0x80000 0x81000:0x1000",
            False,
            "slot 0 at 0x2000 ends at 0x82000 and overlaps slot 1 at 0x81000; "
            "shrink the first to 0x7f000 bytes or move one",
        ),
        (
            # Only neighbours are compared, so the order in which they were written must not matter.
            "1MB",
            "0x90000:0x1000 0x2000:0x1000 0x8f000:0x2000",
            False,
            "slot 2 at 0x8f000 ends at 0x91000 and overlaps slot 0 at 0x90000; "
            "shrink the first to 0x1000 bytes or move one",
        ),
        (
            "1MB",
            "0x1000:0x1000",
            False,
            "slot 0 at 0x1000 overlaps rBoot's config sector: expected 0x2000 or above",
        ),
        ("1MB", "0:0x1000", False, "slot 0 at 0x0 overlaps rBoot's loader: expected 0x2000 or above"),
        (
            "4MB",
            "0xff000:0x2000",
            True,
            "slot 0 at 0xff000 ends at 0x101000 and crosses the 1 MB boundary at 0x100000, "
            "but the CPU maps one megabyte at a time",
        ),
        (
            "512KB",
            "0x2000 0x42000:0x3f000",
            False,
            "slot 1 at 0x42000 ends at 0x81000, past the end of the 512KB flash (0x80000 bytes)",
        ),
        (
            "1MB",
            "0x100000",
            True,
            "slot 0 at 0x100000 ends at 0x101000, past the end of the 1MB flash (0x100000 bytes)",
        ),
        (
            "4MB",
            "0x2000 0x102000",
            False,
            "slot 1 at 0x102000 ends at 0x200000, above the first megabyte: rBoot must be built with "
            "BOOT_BIG_FLASH (big_flash)",
        ),
        ("1MB", "0x2000:0", False, "slot 0 at 0x2000: size must be greater than 0"),
        (
            "1MB",
            "0x2000:500001",
            False,
            "slot 0 at 0x2000: invalid size 0x7a121: expected a multiple of the flash sector (0x1000), e.g. 0x7b000",
        ),
        (
            "1MB",
            "0x2000:16",
            False,
            "slot 0 at 0x2000: invalid size 0x10: expected a multiple of the flash sector (0x1000), e.g. 0x1000",
        ),
        ("1MB", [], False, "no slots: a flash layout has at least one"),
        ("1MB", " , ", False, "no slots: a flash layout has at least one"),
        ("1MB", "1:2:3", False, "invalid slot 0 '1:2:3': expected an address, or an address and a size"),
        ("1MB", [(1, 2, 3)], False, "invalid slot 0 (1, 2, 3): expected an address, or an address and a size"),
        ("1MB", [0x2000, ()], False, "invalid slot 1 (): expected an address, or an address and a size"),
        ("1MB", "0x2000:lots", False, "invalid address or size 'lots': expected e.g. 0x2000, 8192 or 8KB"),
        ("1MB", -0x1000, False, "invalid address or size '-4096': expected e.g. 0x2000, 8192 or 8KB"),
        ("1MB", [None], False, "invalid address or size 'None': expected e.g. 0x2000, 8192 or 8KB"),
        ("3MB", None, False, f"unknown flash size '3MB': expected one of {', '.join(FLASH_SIZES)}"),
        ("", None, False, f"unknown flash size '': expected one of {', '.join(FLASH_SIZES)}"),
        ("32m", None, False, f"unknown flash size '32m': expected one of {', '.join(FLASH_SIZES)}"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(size: str, slots: object, big_flash: bool, message: str) -> None:
    with pytest.raises(LayoutError) as refused:
        make_flash_layout(size, slots, big_flash)
    assert str(refused.value) == message


def test_two_slots_at_one_address_are_refused_with_advice_that_can_be_followed() -> None:
    with pytest.raises(LayoutError, match=r"slot 0 at 0x2000 .*overlaps slot 1 at 0x2000; move one") as refused:
        make_flash_layout("1MB", [0x2000, 0x2000])
    assert "0x0 bytes" not in str(refused.value)


def test_a_layout_made_by_hand_is_checked_too() -> None:
    with pytest.raises(LayoutError, match="slot 1 at 0x82000 ends at 0x102000, past the end of the 1MB flash"):
        FlashLayout(flash_size("1MB"), (Slot(0x2000, 0x80000, 0), Slot(0x82000, 0x80000, 1)))
    with pytest.raises(LayoutError, match="no slots: a flash layout has at least one"):
        FlashLayout(flash_size("1MB"), ())

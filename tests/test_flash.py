"""Layouts: presets, what a slot may be, numbers, and the flash bytes of a header."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbootimg.errors import LayoutError
from rbootimg.flash import FLASH_SIZES, FlashParams, flash_size, parse_number
from rbootimg.flashmap import FlashMap, Slot, flash_map

SIZE_NAMES = "256KB, 512KB, 1MB, 2MB, 4MB, 2MB-c1, 4MB-c1, 8MB, 16MB"


def places(layout: FlashMap) -> list[tuple[int, int]]:
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
    layout = flash_map(size, big_flash=big_flash)
    assert places(layout) == slots
    assert [slot.number for slot in layout.slots] == [0, 1]
    assert layout.size.name == size
    assert layout.big_flash is big_flash
    assert flash_map(size, "", big_flash) == layout


@pytest.mark.parametrize(
    ("name", "code", "size"),
    [
        ("256KB", 1, 0x40000),
        ("512KB", 0, 0x80000),
        ("1MB", 2, 0x100000),
        ("2MB", 3, 0x200000),
        ("4MB", 4, 0x400000),
        ("2MB-c1", 5, 0x200000),
        ("4MB-c1", 6, 0x400000),
        ("8MB", 8, 0x800000),
        ("16MB", 9, 0x1000000),
    ],
)
def test_flash_sizes_have_the_headers_codes(name: str, code: int, size: int) -> None:
    assert (flash_size(name).code, flash_size(name).bytes) == (code, size)


def test_the_table_of_flash_sizes_has_no_others() -> None:
    assert ", ".join(FLASH_SIZES) == SIZE_NAMES


@pytest.mark.parametrize(
    ("spelling", "name"),
    [("1M", "1MB"), ("1mb", "1MB"), (" 512k ", "512KB"), ("2mb-C1", "2MB-c1"), ("4M-c1", "4MB-c1"), ("16M", "16MB")],
)
def test_a_flash_size_can_be_spelled_without_the_b_and_in_any_case(spelling: str, name: str) -> None:
    assert flash_size(spelling) is FLASH_SIZES[name]


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
    assert Slot(0x82000, 0x79000).label == "the slot at 0x82000"


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
    assert flash_map("1MB", slots).slots == (Slot(0x2000, 0x40000, 0), Slot(0x82000, 0x10000, 1))


@pytest.mark.parametrize("slots", [0x2000, "0x2000", "8KB", [0x2000], ["0x2000"], [("8192",)]], ids=str)
def test_a_single_slot_needs_no_list_and_reaches_to_the_sdks_sectors(slots: object) -> None:
    assert flash_map("1MB", slots).slots == (Slot(0x2000, 0xF9000, 0),)


def test_a_slot_without_a_size_reaches_to_the_next_whatever_the_order() -> None:
    assert places(flash_map("1MB", "0x82000 0x2000 0x42000")) == [
        (0x82000, 0x79000),
        (0x2000, 0x40000),
        (0x42000, 0x40000),
    ]


def test_numbers_follow_the_order_in_which_slots_were_written() -> None:
    assert [slot.label for slot in flash_map("1MB", "0x82000 0x2000").slots] == [
        "slot 0 at 0x82000",
        "slot 1 at 0x2000",
    ]


def test_a_slot_may_stand_in_the_sdks_sectors_if_one_says_so() -> None:
    assert places(flash_map("1MB", "0xfc000")) == [(0xFC000, 0x4000)]
    assert places(flash_map("1MB", "0x82000:504KB")) == [(0x82000, 0x7E000)]


def test_a_slot_may_fill_a_megabyte_and_slots_may_touch() -> None:
    layout = flash_map("4MB", "0x2000:0xfe000 0x100000:1MB 0x200000:1MB", big_flash=True)
    assert places(layout) == [(0x2000, 0xFE000), (0x100000, 0x100000), (0x200000, 0x100000)]


def test_a_slot_needs_one_byte_more_than_the_headers() -> None:
    assert places(flash_map("1MB", "0x2000:17")) == [(0x2000, 17)]


@pytest.mark.parametrize(
    ("size", "slots", "big_flash", "message"),
    [
        (
            "1MB",
            "0x2800",
            False,
            "slot 0 at 0x2800 does not start on a flash sector; use a multiple of 0x1000 such as 0x3000",
        ),
        (
            "1MB",
            "0x2000:0x80000 0x81000:0x1000",
            False,
            "slot 0 at 0x2000 ends at 0x82000 and overlaps slot 1 at 0x81000; "
            "move one or make the first at most 0x7f000 bytes",
        ),
        (
            # Only neighbours are compared, so the order in which they were written must not matter.
            "1MB",
            "0x90000:0x1000 0x2000:0x1000 0x8f000:0x1001",
            False,
            "slot 2 at 0x8f000 ends at 0x90001 and overlaps slot 0 at 0x90000; "
            "move one or make the first at most 0x1000 bytes",
        ),
        (
            "1MB",
            "0x1000:0x1000",
            False,
            "slot 0 at 0x1000 overlaps rBoot's config sector; the first free address is 0x2000",
        ),
        ("1MB", "0:0x1000", False, "slot 0 at 0x0 overlaps rBoot's loader; the first free address is 0x2000"),
        (
            "4MB",
            "0xff000:0x2000",
            True,
            "slot 0 at 0xff000 ends at 0x101000 and straddles a 1 MB boundary, which the flash window cannot; "
            "end it at 0x100000 or move it there",
        ),
        (
            "512KB",
            "0x2000 0x42000:0x3e001",
            False,
            "slot 1 at 0x42000 ends at 0x80001, outside the 512KB flash (0x80000 bytes); "
            "choose a lower address, a smaller size or a larger flash",
        ),
        (
            "1MB",
            "0x100000",
            True,
            "slot 0 at 0x100000 ends at 0x101000, outside the 1MB flash (0x100000 bytes); "
            "choose a lower address, a smaller size or a larger flash",
        ),
        (
            "4MB",
            "0x2000 0x102000",
            False,
            "slot 1 at 0x102000 ends at 0x200000, above the first megabyte, which needs an rBoot built with "
            "BOOT_BIG_FLASH; set big flash, or keep slots below 0x100000",
        ),
        ("1MB", "0x2000:0", False, "slot 0 at 0x2000 has 0 bytes, too few for any ROM"),
        ("1MB", "0x2000:16", False, "slot 0 at 0x2000 has 16 bytes, too few for any ROM"),
        ("1MB", [], False, "a flash layout needs at least one slot"),
        ("1MB", " , ", False, "a flash layout needs at least one slot"),
        ("1MB", "1:2:3", False, "slot 0 is '1:2:3'; write an address, or an address and a size"),
        ("1MB", [(1, 2, 3)], False, "slot 0 is (1, 2, 3); write an address, or an address and a size"),
        ("1MB", [0x2000, ()], False, "slot 1 is (); write an address, or an address and a size"),
        ("1MB", "0x2000:lots", False, "'lots' is no address or size; write 0x2000, 8192 or 8KB"),
        ("1MB", -0x1000, False, "'-4096' is no address or size; write 0x2000, 8192 or 8KB"),
        ("1MB", [None], False, "'None' is no address or size; write 0x2000, 8192 or 8KB"),
        ("3MB", None, False, f"unknown flash size '3MB'; choose one of {SIZE_NAMES}"),
        ("", None, False, f"unknown flash size ''; choose one of {SIZE_NAMES}"),
        ("32m", None, False, f"unknown flash size '32m'; choose one of {SIZE_NAMES}"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(size: str, slots: object, big_flash: bool, message: str) -> None:
    with pytest.raises(LayoutError) as refused:
        flash_map(size, slots, big_flash)
    assert str(refused.value) == message


def test_two_slots_at_one_address_are_refused_with_advice_that_can_be_followed() -> None:
    with pytest.raises(LayoutError, match=r"slot 0 at 0x2000 .*overlaps slot 1 at 0x2000; move one") as refused:
        flash_map("1MB", [0x2000, 0x2000])
    assert "at most 0x0 bytes" not in str(refused.value)


def test_a_layout_made_by_hand_is_checked_too() -> None:
    with pytest.raises(LayoutError, match="slot 1 at 0x82000 ends at 0x102000, outside the 1MB flash"):
        FlashMap(flash_size("1MB"), (Slot(0x2000, 0x80000, 0), Slot(0x82000, 0x80000, 1)))
    with pytest.raises(LayoutError, match="needs at least one slot"):
        FlashMap(flash_size("1MB"), ())


# Numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (0, 0),
        (8192, 8192),
        ("0", 0),
        ("8192", 8192),
        ("010", 10),  # no octal: nobody means it
        ("0x2000", 0x2000),
        ("0X2aBc", 0x2ABC),
        ("0x1b", 0x1B),  # the b is a digit here, no unit
        ("8K", 8192),
        ("8kb", 8192),
        ("8KB", 8192),
        ("1M", 0x100000),
        ("1MB", 0x100000),
        ("0x10K", 0x4000),
        ("  0x2000\t", 0x2000),
    ],
)
def test_numbers_are_read_as_python_writes_them_with_kb_and_mb(text: object, number: int) -> None:
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", " ", "x", "0x", "0xg", "-1", "+1", "1.5", "1e3", "1_000", "8 K", "8B", "8GB", "KB", "²", "٣", -1, 1.5, None,
     True, b"8", [], "1\n2"],
)  # fmt: skip
def test_what_is_no_number_is_refused(text: object) -> None:
    with pytest.raises(LayoutError, match=r"is no address or size; write 0x2000, 8192 or 8KB$"):
        parse_number(text)


def test_a_number_beyond_all_measure_is_refused() -> None:
    with pytest.raises(LayoutError):  # Python itself converts no more than 4300 digits
        flash_map("1MB", "9" * 5000)


@given(st.text(" 0123456789xXafkKmMbB-+.:_²٣\n\0", max_size=12))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        number, message = parse_number(text), ""
    except LayoutError as error:
        number, message = None, str(error)
    if number is None:
        assert message.startswith(repr(text))
    else:
        assert number >= 0


@given(st.integers(0, 2**40), st.sampled_from([str, hex, lambda number: f"{number}K"]))
def test_numbers_round_trip(number: int, write: Callable[[int], str]) -> None:
    text = write(number)
    assert parse_number(text) == number * (1024 if text.endswith("K") else 1)


# The flash bytes of a header


@pytest.mark.parametrize(
    ("names", "header"),
    [
        (("qio", "512KB", "40m"), "0000"),
        (("qout", "256KB", "26m"), "0111"),
        (("dio", "1MB", "20m"), "0222"),
        (("dout", "2MB", "80m"), "033f"),
        (("qio", "4MB", "40m"), "0040"),
        (("qio", "2MB-c1", "40m"), "0050"),
        (("qio", "4MB-c1", "40m"), "0060"),
        (("qio", "8MB", "40m"), "0080"),
        (("DIO", "16M", " 80M "), "029f"),
    ],
)
def test_names_become_the_headers_bytes(names: tuple[str, str, str], header: str) -> None:
    assert FlashParams.from_names(*names).to_bytes().hex() == header


def test_the_default_is_esptool2s() -> None:
    assert FlashParams() == FlashParams.from_names("qio", "512KB", "40m")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("qoi", "1MB", "40m"), "unknown flash mode 'qoi'; choose one of qio, qout, dio, dout"),
        (("qio", "3MB", "40m"), f"unknown flash size '3MB'; choose one of {SIZE_NAMES}"),
        (("qio", "1MB", "40"), "unknown flash frequency '40'; choose one of 40m, 26m, 20m, 80m"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_known(names: tuple[str, str, str], message: str) -> None:
    with pytest.raises(LayoutError) as refused:
        FlashParams.from_names(*names)
    assert str(refused.value) == message


@given(st.binary(min_size=2, max_size=2))
def test_any_two_header_bytes_round_trip_and_can_be_described(data: bytes) -> None:
    params = FlashParams.from_bytes(data)
    assert params.to_bytes() == data
    assert len(params.describe().split(", ")) == 3


@pytest.mark.parametrize(
    ("header", "text"),
    [("0000", "qio, 512KB, 40m"), ("029f", "dio, 16MB, 80m"), ("0423", "mode 4, 1MB, frequency 3"),
     ("0070", "qio, size 7, 40m")],
)  # fmt: skip
def test_params_are_described_by_name_and_unknown_codes_by_number(header: str, text: str) -> None:
    assert FlashParams.from_bytes(bytes.fromhex(header)).describe() == text

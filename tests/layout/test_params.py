"""Numbers, flash sizes, and the flash bytes of a header."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbootimg.errors import LayoutError
from rbootimg.layout.params import FLASH_SIZES, FlashParams, flash_size
from rbootimg.layout.units import parse_number

SIZE_NAMES = "256KB, 512KB, 1MB, 2MB, 4MB, 2MB-c1, 4MB-c1, 8MB, 16MB"


# Sizes


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
    with pytest.raises(LayoutError, match=r"^invalid address or size .*: expected e\.g\. 0x2000, 8192 or 8KB$"):
        parse_number(text)


def test_a_number_beyond_all_measure_is_refused() -> None:
    with pytest.raises(LayoutError):  # Python itself converts no more than 4300 digits
        parse_number("9" * 5000)


@given(st.text(" 0123456789xXafkKmMbB-+.:_²٣\n\0", max_size=12))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    try:
        number, message = parse_number(text), ""
    except LayoutError as error:
        number, message = None, str(error)
    if number is None:
        assert message.startswith(f"invalid address or size {text!r}: ")
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
        (("qoi", "1MB", "40m"), "unknown flash mode 'qoi': expected one of qio, qout, dio, dout"),
        (("qio", "3MB", "40m"), f"unknown flash size '3MB': expected one of {SIZE_NAMES}"),
        (("qio", "1MB", "40"), "unknown flash frequency '40': expected one of 40m, 26m, 20m, 80m"),
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

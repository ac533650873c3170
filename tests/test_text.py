"""Text made safe to print, and numbers with their nouns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbootimg.text import counted, printable, quote, shorten


@pytest.mark.parametrize(
    ("text", "expected"),
    [("größer", "größer"), ("a\x1b[2Jb\n", "a\ufffd[2Jb\ufffd"), ("a\u202eb\ud800", "a\ufffdb\ufffd"), ("", "")],
)
def test_printable_replaces_control_characters(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(), st.integers(1, 20))
def test_printable_text_is_one_short_line(text: str, max_length: int) -> None:
    result = printable(text, max_length)
    assert result.isprintable()
    assert len(result) == min(len(text), max_length)


def test_shorten_ends_with_an_ellipsis() -> None:
    assert shorten("12345", 5) == "12345"
    assert shorten("123456", 5) == "1234…"


def test_quote_escapes_and_shortens() -> None:
    assert quote("a\x1b'") == repr("a\x1b'")
    assert quote("x" * 10**6, 5) == "'xxxx…'"
    assert quote("\x00" * 100).isprintable()


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (1024, "1,024 bytes")])
def test_one_thing_is_not_in_the_plural(number: int, text: str) -> None:
    assert counted(number, "byte") == text

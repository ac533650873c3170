"""Tables as Markdown, with names from files in them."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from rbootimg.views.tables import Heading, Table, markdown

RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


def cells(text: str) -> list[str]:
    """The cells of a table as a reader sees them: their HTML without the marks of code."""
    found = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", RENDERER.render(text))
    return [html.unescape(re.sub(r"</?code>", "", cell)) for cell in found]


def test_a_table_has_aligned_columns() -> None:
    table = Table(("bytes", "memory"), (("1,200", "IRAM"), ("3", "(2 more)")), "><")
    assert markdown([Heading("sizes"), table]) == (
        "**sizes**\n\n| bytes | memory |\n| ---: | --- |\n| 1,200 | IRAM |\n| 3 | (2 more) |"
    )
    assert cells(markdown([table])) == ["bytes", "memory", "1,200", "IRAM", "3", "(2 more)"]


@pytest.mark.parametrize(
    "name",
    [
        "__start_of_it__",
        "std::vector<int*, a|b>::at()",
        "<script>alert(1)</script>",
        "memcpy@@GLIBC",
        "a`b``c",
        "`",
        "[text](http://example.com)",
        "#12 !34",
        "a\\b",
        "&amp;",
    ],
)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    assert cells(markdown([Table(("symbol",), ((name,),), "<")])) == ["symbol", name]


def test_a_table_without_a_head_is_text() -> None:
    assert markdown([Table((), (("no difference by symbol",),), "<")]) == "no difference by symbol"

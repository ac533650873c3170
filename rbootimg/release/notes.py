"""Release notes: which Markdown a release may have, and its elements for a page. Reads and writes no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..errors import PublishError
from ..templates import is_web_link

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_SIZE = 64 << 10
"""Bytes of the notes of a release."""

_MAX_URL_SIZE = 4 * MAX_SIZE
"""Characters of all URLs: a reference can be used often, so that the page would be much larger than the notes."""

_HEADINGS = ("h3", "h4", "h5", "h6", "h6", "h6")
"""For the levels of headings in the notes, which are in a section of level 2."""


class Element(NamedTuple):
    """A tag or a text in the notes.

    `tag` is the name of an HTML element, with a slash before it at its end; `newline` for a line break in the source;
    empty for plain text. `text` is the content of plain text and `code` and the URL of a link, `number` the first
    number of a list.
    """

    tag: str
    text: str = ""
    number: int = 0


def check(notes: bytes) -> None:
    """Raise PublishError unless a release can have these notes."""
    if len(notes) > MAX_SIZE:
        raise PublishError(f"release notes are too large: expected at most {MAX_SIZE:,} bytes, got {len(notes):,}")
    try:
        text = notes.decode()
    except UnicodeDecodeError as error:
        raise PublishError(f"release notes are not UTF-8: invalid byte at offset {error.start:,}") from None
    if not text.removeprefix("\ufeff").strip():
        raise PublishError("release notes are empty")


def elements(notes: bytes) -> list[Element]:
    """Parse the notes as CommonMark: a flat list in which each start has its end, without recursion.

    HTML stays text, an image becomes its description, and only a link to http, https or mailto stays a link: the notes
    are on two pages, so a relative link would lead to different files.
    """
    from markdown_it import MarkdownIt  # only for releases with notes

    # The parser drops what is nested deeper; its default of 20 is 10 lists.
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100})
    tokens = [*_flat(parser.parse(notes.decode("utf-8-sig", "replace")))]
    used = sorted({token.tag for token in tokens if token.type == "heading_open"})
    return [*_elements(tokens, dict(zip(used, _HEADINGS)))]


def _flat(tokens: Iterable[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "inline":
            yield from token.children or ()
        elif not token.hidden:  # the paragraphs of a tight list
            yield token


def _elements(tokens: Iterable[Token], headings: Mapping[str, str]) -> Iterator[Element]:
    in_link = False  # links are not nested
    url_size = 0
    for token in tokens:
        text = token.content.expandtabs(4)
        tag = headings.get(token.tag, token.tag)
        if token.type == "link_open":
            url = str(token.attrs["href"])
            url_size += len(url)
            in_link = is_web_link(url) and url_size <= _MAX_URL_SIZE
            if in_link:
                yield Element("a", url)
        elif token.type == "ordered_list_open":
            yield Element("ol", number=int(token.attrs.get("start", 1)))
        elif token.nesting > 0:
            yield Element(tag)
        elif token.nesting < 0:
            if token.type != "link_close" or in_link:
                yield Element(f"/{tag}")
        elif token.type == "softbreak":
            yield Element("newline")
        elif token.type in ("hr", "hardbreak", "code_inline"):
            yield Element(tag, text)
        elif token.type in ("fence", "code_block"):
            yield Element("pre")
            for line in text.split("\n")[:-1]:  # it ends with one
                yield from (Element("", line), Element("newline"))
            yield Element("/pre")
        else:
            yield Element("", text)

"""Headings and aligned tables as text: the one renderer of all tabular output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..text import printable


class Heading(NamedTuple):
    """A line of its own. A terminal draws it green if `good` is True, red if False."""

    text: str
    good: bool | None = None


class Table(NamedTuple):
    """Rows of cells, below `heads` if there are any; `align` has `<` or `>` for each column.

    `shares` has for each row how full something is, 1 meaning full, which a terminal draws as a bar; None draws none.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    shares: tuple[float | None, ...] = ()


def plain(blocks: Iterable[Heading | Table]) -> str:
    """Render the blocks as text. A table below a heading is indented; other blocks are separated by an empty line."""
    lines: list[str] = []
    indent = ""
    previous: Heading | Table | None = None
    for block in blocks:
        if previous is not None and (isinstance(previous, Table) or isinstance(block, Heading)):
            lines.append("")
        if isinstance(block, Heading):
            lines.append(printable(block.text))
            indent = "  "
        else:
            lines += ((indent + line).rstrip() for line in _lines(block))
        previous = block
    return "\n".join(lines)


def markdown(blocks: Iterable[Heading | Table]) -> str:
    """Render the blocks as Markdown with tables, as GitHub and GitLab show it."""
    return "\n\n".join(
        f"**{markdown_text(block.text)}**" if isinstance(block, Heading) else _grid(block) for block in blocks
    )


def _grid(table: Table) -> str:
    if not table.heads:
        return "  \n".join("  ".join(map(markdown_text, row)) for row in table.rows)
    ruler = ("---:" if side == ">" else "---" for side in table.align)
    rows = (map(markdown_text, table.heads), ruler, *(map(markdown_text, row) for row in table.rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def markdown_text(text: str) -> str:
    """Escape `text` for a cell: as code if it has characters that Markdown, HTML or mentions could be made of."""
    text = printable(text)
    if not re.search(r"[^\w .,:;+%()/~-]|_", text):
        return text
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " * (len(fence) > 1)
    return f"{fence}{space}{text.replace('|', chr(92) + '|')}{space}{fence}"


def _lines(table: Table) -> Iterator[str]:
    rows = [[printable(cell) for cell in row] for row in ((table.heads, *table.rows) if table.heads else table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, table.align, widths))


def percent(size: int, total: int | None) -> str:
    """Format `size` as a percentage of `total`, with one decimal; empty without a total."""
    return f"{100 * size / total:.1f}" if total else ""

"""Tables and headings as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..text import printable

if TYPE_CHECKING:  # what a start of the command line need not load
    pass


class Heading(NamedTuple):
    """A line of its own; `good` tells a terminal its colour, None is neither good nor bad."""

    text: str
    good: bool | None = None


class Table(NamedTuple):
    """Rows of texts, under `heads` if there are any; `align` has a `<` or `>` for each column.

    `shares` says for each row how full something is, which a terminal draws: 1 is full, None draws nothing.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    shares: tuple[float | None, ...] = ()


def plain(blocks: Iterable[Heading | Table]) -> str:
    """The blocks as text. A table behind a heading is indented; else an empty line stands between two blocks."""
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


def _lines(table: Table) -> Iterator[str]:
    rows = [[printable(cell) for cell in row] for row in ((table.heads, *table.rows) if table.heads else table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, table.align, widths))


def percent(size: int, whole: int | None) -> str:
    """What of the `whole` it is, with a decimal; nothing if there is no whole."""
    return f"{100 * size / whole:.1f}" if whole else ""

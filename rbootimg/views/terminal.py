"""Output of headings and tables: with colours and bars on a terminal, else as plain text.

Rich is loaded for a terminal only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..text import printable
from .tables import Heading, Table, plain

if TYPE_CHECKING:
    from rich.table import Table as RichTable

_BAR_WIDTH, _MIN_BAR_WIDTH = 16, 4
_LONGEST_UNFOLDED = 20  # an address, a number, a name of a memory or of a section
# The lowest share of each colour.
_COLOURS = ((0.95, "red"), (0.75, "yellow"), (0.0, "green"))


def is_terminal() -> bool:
    """Return whether stdout is a terminal with colours."""
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def share_colour(share: float) -> str:
    """Return the colour of a bar for something that is full up to `share`, 1 meaning full."""
    return next(colour for least, colour in _COLOURS if share >= least)


def show(blocks: Sequence[Heading | Table]) -> None:
    """Print the blocks. The environment variable NO_COLOR disables colours (by Rich)."""
    if is_terminal():
        _draw(blocks)
    else:
        print(plain(blocks))


def _draw(blocks: Sequence[Heading | Table]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(file=sys.stdout, highlight=False)
    indent = 0
    previous: Heading | Table | None = None
    for block in blocks:
        if previous is not None and (isinstance(previous, Table) or isinstance(block, Heading)):
            console.print()
        if isinstance(block, Heading):
            style = {True: "bold green", False: "bold red", None: "bold"}[block.good]
            console.print(Text(printable(block.text), style), soft_wrap=True)  # a path can be copied in one piece
            indent = 2
        else:
            console.print(Padding(_table(block, console.width - indent), (0, 0, 0, indent), expand=False))
        previous = block


def _table(table: Table, width: int) -> RichTable:
    """Make a table at most `width` columns wide: columns of long texts are folded, and the bars narrowed."""
    from rich.cells import cell_len
    from rich.progress_bar import ProgressBar
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, show_header=bool(table.heads), header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    lines = [table.heads, *table.rows] if table.heads else table.rows
    widths = [max((cell_len(printable(cell)) for cell in column), default=0) for column in zip(*lines)]
    bar_width = min(_BAR_WIDTH, width - sum(widths) - 2 * len(widths)) if table.shares else 0
    for at, side in enumerate(table.align):
        heading = table.heads[at] if table.heads else ""
        is_short = side == ">" or not widths or widths[at] <= _LONGEST_UNFOLDED
        drawn.add_column(heading, justify="right" if side == ">" else "left", overflow="fold", no_wrap=is_short)
    has_bars = bar_width >= _MIN_BAR_WIDTH
    if has_bars:
        drawn.add_column("", width=bar_width)
    for row, share in zip(table.rows, table.shares or (None,) * len(table.rows)):
        bar = None
        if share is not None:
            colour = share_colour(share)
            bar = ProgressBar(1, min(share, 1), _BAR_WIDTH, complete_style=colour, finished_style=colour)
        cells = [Text(printable(cell)) for cell in row]
        drawn.add_row(*cells, *([bar or ""] if has_bars else []))
    return drawn

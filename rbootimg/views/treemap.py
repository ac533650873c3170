"""Named sizes -> a treemap, as a self-contained SVG: no script, no font, no other file.

Each name is a rectangle whose area is proportional to its size; the rectangles of a group are adjacent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from .. import templates
from ..text import counted

COLOURS = MappingProxyType({"IRAM": "#f2b134", "DRAM": "#7fc4f0", "flash": "#7ccfa8", "other": "#c8c8c8"})
"""The fill of each memory region, distinguishable with colour blindness (after Okabe and Ito, 2008)."""

TEXT_COLOUR = "#111111"
"""Its contrast to each of COLOURS and to white is above the 7:1 of WCAG 2.1, level AAA."""


@dataclass(frozen=True)
class Cell:
    """A `name` with its `size` and its `group`, the memory region."""

    name: str
    size: int
    group: str


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float


class _Label(NamedTuple):
    """A text and its position in pixels."""

    x: str
    y: str
    text: str


class _Entry(NamedTuple):
    """An entry of the legend."""

    x: str
    colour: str
    labels: list[_Label]


class _Drawn(NamedTuple):
    """A rectangle of the picture."""

    name: str
    group: str
    share: str
    x: str
    y: str
    width: str
    height: str
    colour: str
    labels: list[_Label]


_FONT_SIZE = 12
# The widest of the usual monospaced fonts has 0.602 em (DejaVu Sans Mono).
_LETTER_WIDTH = 0.62 * _FONT_SIZE
_LINE_HEIGHT = 15
_PADDING = 4
_HEAD_HEIGHT = 48
_SMALLEST = 24.0  # square pixels: smaller cells are not visible


def render(cells: Iterable[Cell], title: str, width: int = 1200, height: int = 800) -> str:
    """Return the SVG of `width` x `height` pixels; it does not depend on the order of the cells.

    Names and sizes are shown where they fit, and as a tooltip. Empty cells are left out; cells too small to see are
    merged, into one per group.
    """
    groups = _groups(cell for cell in cells if cell.size > 0)
    total = sum(cell.size for group in groups for cell in group)
    picture = _Box(0, _HEAD_HEIGHT, width, max(height - _HEAD_HEIGHT, 1))
    scale = picture.width * picture.height / total if total else 0
    drawn: list[_Drawn] = []
    for group, box in zip(groups, _squarify([_size(group) for group in groups], picture)):
        shown = _without_smallest(group, _SMALLEST / scale)
        for cell, place in zip(shown, _squarify([cell.size for cell in shown], box)):
            drawn.append(_cell(cell, place, total))
    return templates.render(
        "treemap.svg",
        width=width,
        height=height,
        font_size=_FONT_SIZE,
        text_colour=TEXT_COLOUR,
        title=title,
        head=_label(title, _Box(0, 2, width, _LINE_HEIGHT + 2 * _PADDING)),
        legend=_legend(groups, total, width),
        cells=drawn,
    )


def _groups(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Return the cells of each group, the largest cell and the largest group first."""
    by_name: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (-cell.size, cell.name, cell.group)):
        by_name.setdefault(cell.group, []).append(cell)
    return sorted(by_name.values(), key=lambda group: (-_size(group), group[0].group))


def _size(cells: Iterable[Cell]) -> int:
    return sum(cell.size for cell in cells)


def _without_smallest(cells: Sequence[Cell], smallest: float) -> list[Cell]:
    """Return `cells`, largest first, with those below `smallest` merged."""
    shown = [cell for cell in cells if cell.size >= smallest]
    rest = cells[len(shown) :]
    if len(rest) < 2:
        return list(cells)
    merged = Cell(f"({len(rest):,} smaller)", _size(rest), rest[0].group)
    return sorted((*shown, merged), key=lambda cell: -cell.size)


def _squarify(sizes: Sequence[int], box: _Box) -> list[_Box]:
    """Return a box for each of `sizes`, largest first, that together fill `box` and are as square as possible."""
    import squarify  # not for a command that draws nothing

    areas = squarify.normalize_sizes(sizes, box.width, box.height)
    boxes = squarify.squarify(areas, box.x, box.y, box.width, box.height)
    return [_Box(each["x"], each["y"], each["dx"], each["dy"]) for each in boxes]


def _legend(groups: Sequence[Sequence[Cell]], total: int, width: int) -> list[_Entry]:
    entries = []
    for number, group in enumerate(groups):
        x, step = number * width / len(groups), width / len(groups)
        name = group[0].group
        labels = _label(f"{name} {_share(_size(group), total)}", _Box(x + 18, 23, step - 18, 23))
        entries.append(_Entry(f"{x + _PADDING:.1f}", _colour(name), labels))
    return entries


def _cell(cell: Cell, box: _Box, total: int) -> _Drawn:
    share = _share(cell.size, total)
    below = _Box(box.x, box.y + _LINE_HEIGHT, box.width, box.height - _LINE_HEIGHT)
    # Sizes are not shortened: a truncated number would be another one.
    sizes = [text for text in (share, f"{counted(cell.size, 'byte')}", f"{cell.size:,}") if len(text) <= _room(below)]
    name = _label(cell.name, box)
    return _Drawn(
        name=cell.name,
        group=cell.group,
        share=share,
        x=f"{box.x:.1f}",
        y=f"{box.y:.1f}",
        width=f"{box.width:.1f}",
        height=f"{box.height:.1f}",
        colour=_colour(cell.group),
        labels=[*name, *(_label(sizes[0], below) if name and sizes else [])],
    )


def _label(text: str, box: _Box) -> list[_Label]:
    """Return the text at the top of the box, shortened to its width; nothing if the box is too small."""
    fitting = _fitting(text, _room(box))
    if box.height < _LINE_HEIGHT + _PADDING or len(fitting) < min(len(text), 4):
        return []
    return [_Label(f"{box.x + _PADDING:.1f}", f"{box.y + _LINE_HEIGHT:.1f}", fitting)]


def _room(box: _Box) -> int:
    return int((box.width - 2 * _PADDING) / _LETTER_WIDTH)


def _fitting(text: str, room: int) -> str:
    """Return `text`, or its beginning and an ellipsis, in at most `room` columns."""
    # Letters beyond ASCII may take two columns or come from another font.
    columns = [1 if letter.isascii() else 2 for letter in text[: room + 1]]
    if sum(columns) <= room:
        return text
    used = 1
    for count, wide in enumerate(columns):
        used += wide
        if used > room:
            return text[:count] + "…" if count else ""
    return text


def _share(size: int, total: int) -> str:
    return f"{counted(size, 'byte')}, {100 * size / total:.1f} %"


def _colour(group: str) -> str:
    return COLOURS.get(group, COLOURS["other"])

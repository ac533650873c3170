"""A flash layout for people: a drawing to scale, a table, a picture. Values in, text out."""

from __future__ import annotations

from typing import NamedTuple

from ..layout.memory import WINDOW_SIZE
from ..layout.model import FlashLayout, GpioMode
from ..layout.segments import COLOURS, FREE, Segment, layout_segments
from ..templates import render


def title(layout: FlashLayout) -> str:
    """One line: the flash, and what the loader must have been built with."""
    options = (
        ("big flash", layout.loader.big_flash),
        ("irom checksum", layout.loader.irom_checksum),
        ("config checksum", layout.loader.config_checksum),
        ("RTC data", layout.loader.rtc),
        ("flash sizes up to 4MB only", not layout.loader.all_sizes),
        (f"GPIO {layout.loader.gpio.value} mode ({layout.loader.gpio_pin})", layout.loader.gpio is not GpioMode.NONE),
    )
    said = ", ".join(name for name, is_set in options if is_set) or "no options"
    return f"{layout.params.describe()} flash; loader: {said}, up to {layout.loader.max_roms} ROMs"


def summary(layout: FlashLayout) -> str:
    """A few words for a list of layouts: the flash and the slots' addresses."""
    slots = ", ".join(f"{slot.address:#x}" for slot in layout.slots)
    return f"{layout.size.name} flash, slots at {slots}{', big flash' * layout.big_flash}"


def drawing(layout: FlashLayout, width: int = 64) -> str:
    """The flash to scale, in lines of `width` characters that each stand for the same number of bytes.

    A line is a megabyte, or less of a smaller flash. A character is the key of the piece that has most of
    its bytes; what is smaller than a character may show in the table only.
    """
    per_line = min(layout.size.bytes, WINDOW_SIZE)
    per_character = per_line // width
    parts = layout_segments(layout)
    lines = []
    for start in range(0, layout.size.bytes, per_line):
        keys = (_key_at(parts, start + per_character * number, per_character) for number in range(width))
        lines.append(f"{start:#08x} |{''.join(keys)}|")
    return "\n".join((*lines, f"one character is {per_character / 1024:g} KB"))


def _key_at(parts: tuple[Segment, ...], start: int, size: int) -> str:
    def share(piece: Segment) -> int:
        return min(piece.end, start + size) - max(piece.address, start)

    return max(parts, key=share).key


def table(layout: FlashLayout) -> str:
    """A row for each piece of the flash, aligned: key, place, size, link address, name."""
    rows = [("", "start", "end", "KB", "linked at", "")]
    parts = layout_segments(layout)
    for piece in parts:
        link = "" if piece.link_address is None else f"{piece.link_address:#x}"
        rows.append((piece.key, f"{piece.address:#08x}", f"{piece.end:#08x}", _kilobytes(piece.size), link, piece.name))
    free = sum(piece.size for piece in parts if piece.kind == FREE)
    rows.append(("", "", "", _kilobytes(free), "", "free in all"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    cells = (("  ".join(cell.rjust(width) for cell, width in zip(row, widths)), row[5]) for row in rows)
    return "\n".join(f"{numbers}  {name}".rstrip() for numbers, name in cells)


def _kilobytes(size: int) -> str:
    return f"{size / 1024:,.10g}"


_WIDTH, _MARGIN, _BAR_START, _BAR_HEIGHT, _ROW_HEIGHT = 960, 16, 96, 48, 22
_CHARACTER = 8  # about the width of one at this font size


class _Label(NamedTuple):
    """A text and the pixels where it starts."""

    x: str
    y: str
    text: str


class _Box(NamedTuple):
    """What of a piece is in a bar; it has a name if there is room."""

    x: str
    y: int
    width: str
    colour: str
    about: str
    name: _Label | None


class _Bar(NamedTuple):
    """A megabyte of the flash, or all of a smaller one."""

    start: _Label
    boxes: list[_Box]


class _Row(NamedTuple):
    """A row of the table."""

    y: int
    colour: str
    texts: list[_Label]


def svg(layout: FlashLayout) -> str:
    """The layout as a picture: a bar to scale for each megabyte, or for all of a smaller flash, and its table.

    One self-contained file: no script, no font or style from elsewhere.
    """
    per_bar = min(layout.size.bytes, WINDOW_SIZE)
    scale = (_WIDTH - _MARGIN - _BAR_START) / per_bar
    parts = layout_segments(layout)
    bars, rows = [], []
    y = _MARGIN + 28
    for start in range(0, layout.size.bytes, per_bar):
        boxes = []
        for piece in parts:
            left, right = max(piece.address, start), min(piece.end, start + per_bar)
            if left < right:
                boxes.append(_box(_BAR_START + (left - start) * scale, y, (right - left) * scale, piece))
        bars.append(_Bar(_label(_MARGIN, y + _BAR_HEIGHT / 2 + 5, f"{start:#08x}"), boxes))
        y += _BAR_HEIGHT + 8
    for piece in parts:
        rows.append(_row(y, piece))
        y += _ROW_HEIGHT
    return render(
        "layout.svg",
        width=_WIDTH,
        height=y + _MARGIN,
        margin=_MARGIN,
        bar_height=_BAR_HEIGHT,
        title=_label(_MARGIN, _MARGIN + 12, title(layout)),
        bars=bars,
        rows=rows,
    )


def _label(x: float, y: float, text: str) -> _Label:
    return _Label(f"{x:.2f}", f"{y:.2f}", text)


def _box(x: float, y: int, width: float, piece: Segment) -> _Box:
    about = f"{piece.name}: {piece.address:#x} to {piece.end:#x}, {_kilobytes(piece.size)} KB"
    fits = len(piece.name) * _CHARACTER + _CHARACTER <= width  # what does not is in the table below
    name = _label(x + _CHARACTER / 2, y + _BAR_HEIGHT / 2 + 5, piece.name) if fits else None
    return _Box(f"{x:.2f}", y, f"{width:.2f}", COLOURS[piece.kind], about, name)


def _row(y: int, piece: Segment) -> _Row:
    link = "" if piece.link_address is None else f"linked at {piece.link_address:#x}"
    place = f"{piece.address:#x} to {piece.end:#x}"
    columns = ((60, piece.name), (360, place), (560, f"{_kilobytes(piece.size)} KB"), (680, link))
    return _Row(y + 2, COLOURS[piece.kind], [_label(x, y + 15, text) for x, text in columns if text])

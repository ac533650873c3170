"""A flash layout as text: a drawing to scale, a table, an SVG image."""

from __future__ import annotations

from typing import NamedTuple

from ..layout.memory import WINDOW_SIZE
from ..layout.model import FlashLayout, GpioMode
from ..layout.segments import COLOURS, FREE, Segment, layout_segments
from ..templates import render
from ..text import counted
from .tables import Table, plain


def title(layout: FlashLayout) -> str:
    """Format one line: the flash, and the options that the loader must be built with."""
    options = (
        ("big flash", layout.loader.big_flash),
        ("irom checksum", layout.loader.irom_checksum),
        ("config checksum", layout.loader.config_checksum),
        ("RTC data", layout.loader.rtc),
        ("flash sizes up to 4MB only", not layout.loader.all_sizes),
        (f"GPIO {layout.loader.gpio.value} mode ({layout.loader.gpio_pin})", layout.loader.gpio is not GpioMode.NONE),
    )
    names = ", ".join(name for name, is_set in options if is_set) or "no options"
    return f"{layout.params.describe()} flash; loader: {names}, up to {counted(layout.loader.max_roms, 'ROM')}"


def summary(layout: FlashLayout) -> str:
    """Format the flash size and the slot addresses, for a list of layouts."""
    slots = ", ".join(f"{slot.address:#x}" for slot in layout.slots)
    return f"{layout.size.name} flash, slots at {slots}{', big flash' * layout.big_flash}"


def drawing(layout: FlashLayout, width: int = 64) -> str:
    """Draw the flash to scale, in lines of `width` characters for 1 MB each, or for all of a smaller flash.

    A character is the key of the segment that has most of its bytes; a smaller segment may appear in the table only.
    """
    per_line = min(layout.size.bytes, WINDOW_SIZE)
    per_character = per_line // width
    segments = layout_segments(layout)
    lines = []
    for start in range(0, layout.size.bytes, per_line):
        keys = (_key_at(segments, start + per_character * number, per_character) for number in range(width))
        lines.append(f"{start:#08x} |{''.join(keys)}|")
    return "\n".join((*lines, f"one character is {per_character / 1024:g} KB"))


def _key_at(segments: tuple[Segment, ...], start: int, size: int) -> str:
    def share(segment: Segment) -> int:
        return min(segment.end, start + size) - max(segment.address, start)

    return max(segments, key=share).key


def table(layout: FlashLayout) -> str:
    """Format an aligned row for each segment: key, address range, size, link address, name."""
    rows = []
    segments = layout_segments(layout)
    for segment in segments:
        link = "" if segment.link_address is None else f"{segment.link_address:#x}"
        start, end = f"{segment.address:#08x}", f"{segment.end:#08x}"
        rows.append((segment.key, start, end, _kilobytes(segment.size), link, segment.name))
    free = sum(segment.size for segment in segments if segment.kind == FREE)
    rows.append(("", "", "", _kilobytes(free), "", "free in total"))
    return plain((Table(("", "start", "end", "KB", "linked at", ""), tuple(rows), ">>>>><"),))


def _kilobytes(size: int) -> str:
    return f"{size / 1024:,.10g}"


_WIDTH, _MARGIN, _BAR_START, _BAR_HEIGHT, _ROW_HEIGHT = 960, 16, 96, 48, 22
_CHARACTER = 8  # the approximate width of a character in pixels


class _Label(NamedTuple):
    """A text and the position in pixels where it starts."""

    x: str
    y: str
    text: str


class _Box(NamedTuple):
    """The part of a segment that is in a bar, with its name if that fits."""

    x: str
    y: int
    width: str
    colour: str
    about: str
    name: _Label | None


class _Bar(NamedTuple):
    """A megabyte of the flash, or all of a smaller flash."""

    start: _Label
    boxes: list[_Box]


class _Row(NamedTuple):
    """A row of the table."""

    y: int
    colour: str
    texts: list[_Label]


def svg(layout: FlashLayout) -> str:
    """Draw the layout as an SVG image: a bar to scale for each megabyte, or for all of a smaller flash, and a table.

    The file is self-contained, without scripts, external fonts or styles.
    """
    per_bar = min(layout.size.bytes, WINDOW_SIZE)
    scale = (_WIDTH - _MARGIN - _BAR_START) / per_bar
    segments = layout_segments(layout)
    bars, rows = [], []
    y = _MARGIN + 28
    for start in range(0, layout.size.bytes, per_bar):
        boxes = []
        for segment in segments:
            left, right = max(segment.address, start), min(segment.end, start + per_bar)
            if left < right:
                boxes.append(_box(_BAR_START + (left - start) * scale, y, (right - left) * scale, segment))
        bars.append(_Bar(_label(_MARGIN, y + _BAR_HEIGHT / 2 + 5, f"{start:#08x}"), boxes))
        y += _BAR_HEIGHT + 8
    for segment in segments:
        rows.append(_row(y, segment))
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


def _box(x: float, y: int, width: float, segment: Segment) -> _Box:
    about = f"{segment.name}: {segment.address:#x} to {segment.end:#x}, {_kilobytes(segment.size)} KB"
    fits = len(segment.name) * _CHARACTER + _CHARACTER <= width  # the table has all names
    name = _label(x + _CHARACTER / 2, y + _BAR_HEIGHT / 2 + 5, segment.name) if fits else None
    return _Box(f"{x:.2f}", y, f"{width:.2f}", COLOURS[segment.kind], about, name)


def _row(y: int, segment: Segment) -> _Row:
    link = "" if segment.link_address is None else f"linked at {segment.link_address:#x}"
    range_text = f"{segment.address:#x} to {segment.end:#x}"
    columns = ((60, segment.name), (360, range_text), (560, f"{_kilobytes(segment.size)} KB"), (680, link))
    return _Row(y + 2, COLOURS[segment.kind], [_label(x, y + 15, text) for x, text in columns if text])

"""What several commands do alike: arguments that are read, and files."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LayoutError, RomError

if TYPE_CHECKING:  # what not every command needs
    from ..flash import FlashMap
    from ..rom import Rom


def as_argument(read: Callable[[str], object]) -> Callable[[str], object]:
    """`read` as argparse calls it: what cannot be read is wrong usage."""

    def convert(text: str) -> object:
        try:
            return read(text)
        except LayoutError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def read_rom(path: Path) -> Rom:
    """The ROM in a file; the error of a bad one names it."""
    from ..rom import Rom

    try:
        return Rom.from_bytes(path.read_bytes())
    except RomError as error:
        raise RomError(f"{path}: {error}") from None


def read_layout(name: str) -> FlashMap:
    """The layout of a file or a preset; a file of that name comes first."""
    from .. import layout

    if name in layout.PRESETS and not Path(name).exists():
        return layout.preset(name)
    if not Path(name).exists() and not name.endswith(".toml"):
        raise LayoutError(f"neither a file nor a preset; the presets are {', '.join(layout.PRESETS)}")
    try:
        return layout.from_toml(Path(name).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise LayoutError("the layout is not TOML: not UTF-8") from None


def seconds(text: str) -> float:
    """How long, as an argument."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds

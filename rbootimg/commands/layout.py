"""Layouts by name."""

from __future__ import annotations

from pathlib import Path

from ..errors import LayoutError
from ..flash import FlashMap


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

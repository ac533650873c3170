"""Predefined flash layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from ..errors import LayoutError
from .model import (
    DEFAULT_LOADER,
    FlashLayout,
    LoaderOptions,
    default_slots,
    infer_sizes,
    parse_slots,
    sdk_regions,
)
from .params import flash_size

_BIG = LoaderOptions(big_flash=True)


def _preset(size: str, addresses: Iterable[int] = (), loader: LoaderOptions = DEFAULT_LOADER) -> FlashLayout:
    chip = flash_size(size)
    slots = parse_slots(addresses) or default_slots(chip, loader.big_flash)
    regions = sdk_regions(chip)
    return FlashLayout(chip, infer_sizes(slots, chip, regions), loader, regions=regions)


LAYOUT_PRESETS: Mapping[str, FlashLayout] = MappingProxyType(
    {
        "512KB": _preset("512KB"),
        "1MB": _preset("1MB"),
        **{f"{size}-capped": _preset(size) for size in ("2MB", "4MB", "8MB", "16MB")},
        **{f"{size}-big": _preset(size, loader=_BIG) for size in ("2MB", "4MB", "8MB", "16MB")},
        "four-1MB": _preset("4MB", (0x2000, 0x102000, 0x202000, 0x302000), _BIG),
        "sming": _preset("1MB", (0x2000, 0x80000)),
    }
)
"""Layouts by name, with rBoot's default pair of slots for each size.

`capped` uses the first megabyte of a larger flash, like rBoot without BOOT_BIG_FLASH; `big` uses all of it. `sming` is
Sming's layout for two ROMs."""


def preset_layout(name: str) -> FlashLayout:
    """Return the layout called `name`. Raises LayoutError if it is unknown."""
    try:
        return LAYOUT_PRESETS[name]
    except KeyError:
        raise LayoutError(f"unknown layout {name!r}: expected one of {', '.join(LAYOUT_PRESETS)}") from None


def not_found_error(name: str) -> LayoutError:
    """Make the error for the `name` of a layout that is neither a preset nor an existing file."""
    if name.endswith(".toml"):
        return LayoutError("cannot read the layout file: No such file or directory")
    return LayoutError(f"neither a file nor a preset: expected one of {', '.join(LAYOUT_PRESETS)}")

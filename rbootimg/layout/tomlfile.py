"""A flash layout by name or from its TOML file. No files.

A layout file, in which all but `flash_size` or `preset` may be left out:

    preset = "4MB-big"          # what else is not said comes from this preset
    flash_size = "4MB"          # esptool's names, as for flash_mode and flash_freq
    flash_mode = "qio"
    flash_freq = "40m"
    sdk_data = true             # the SDK's last five sectors are regions of their own

    [loader]                    # what rBoot was built with
    big_flash = true            # BOOT_BIG_FLASH
    irom_checksum = false       # BOOT_IROM_CHKSUM
    config_checksum = false     # BOOT_CONFIG_CHKSUM
    max_roms = 4                # MAX_ROMS
    rtc = false                 # BOOT_RTC_ENABLED
    gpio = ""                   # "rom" for BOOT_GPIO_ENABLED, "skip" for BOOT_GPIO_SKIP_ENABLED
    gpio_pin = 16               # BOOT_GPIO_NUM
    all_sizes = true            # it knows 8MB, 16MB, 2MB-c1 and 4MB-c1, as rBoot since 2019; false for older ones

    [[slot]]                    # without any: rBoot's default pair
    name = "main"
    address = 0x2000
    size = "480KB"              # a multiple of 4KB; without: up to what follows

    [[region]]
    name = "files"
    address = "2MB"
    size = "1MB"
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any

from ..errors import LayoutError
from .model import (
    DEFAULT_LOADER,
    FlashLayout,
    FlashRegion,
    GpioMode,
    LoaderOptions,
    Slot,
    default_slots,
    infer_sizes,
    sdk_regions,
)
from .params import FlashParams, FlashSize, flash_size
from .units import parse_number

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
from .presets import preset_layout

MAX_SIZE = 1 << 16
"""Letters of the longest layout, and bytes of its file."""

_KEYS = ("preset", "flash_size", "flash_mode", "flash_freq", "sdk_data", "loader", "slot", "region")
_MOST_SLOTS = 255  # rBoot counts them in a byte
# TOML's parser takes time and memory by the square of a dotted key's parts, and calls itself for each bracket. What
# counts is outside of texts and comments; a layout needs less by far.
_DEEPEST, _MOST_DOTS, _LONGEST_WORD = 8, 8, 64
_TOKEN = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*"*|'''
    r"""'''(?:[^']|'(?!''))*'*|"""
    r""""(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|#[^\n]*|"""
    r"(?P<mark>[][{}.\n])|(?P<word>[\w+:-]+)",
    re.DOTALL,
)


def parse_layout(
    text: str, changes: Mapping[str, Any] = MappingProxyType({}), slots: Sequence[Slot] = ()
) -> FlashLayout:
    """The layout that the TOML `text` describes.

    `changes` stand for the file's own keys, those of its `loader` one by one; `slots`, if any, for its slots,
    where a size of 0 is all the room there is. Raises LayoutError, which says what is wrong where, and for more than
    64 KB.
    """
    data = _replace_keys(_load_toml(text), changes)
    _check_keys(data, _KEYS, "the layout")
    preset = preset_layout(_text(data, "preset")) if "preset" in data else None
    chip = _flash_size(data, preset)
    loader = _loader(data.get("loader", {}), preset.loader if preset else DEFAULT_LOADER)
    regions = _regions(data, chip)
    slots = _slots(data, slots) or _preset_slots(data, preset, chip, loader) or default_slots(chip, loader.big_flash)
    params = FlashParams.from_names(_text(data, "flash_mode", "qio"), chip.name, _text(data, "flash_freq", "40m"))
    return FlashLayout(chip, infer_sizes(slots, chip, regions), loader, params.mode, params.freq, regions)


def _load_toml(text: str) -> dict[str, Any]:
    _check_cost(text)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one; so is a number of thousands of digits
        raise LayoutError(f"the layout is not TOML: {error}") from None


def _check_cost(text: str) -> None:
    """Raise LayoutError for a text that the TOML parser would take long for, or much memory."""
    if len(text) > MAX_SIZE:
        raise LayoutError(f"the layout has more than {MAX_SIZE >> 10} KB, so it is none")
    line, depth, dots = 1, 0, 0
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if mark == "\n":
            dots = 0
        elif mark == ".":
            dots += 1
        elif mark:
            depth += 1 if mark in "[{" else -1
        if depth > _DEEPEST:
            raise LayoutError(f"line {line} of the layout has brackets more than {_DEEPEST} deep; no layout needs that")
        if dots > _MOST_DOTS:
            raise LayoutError(f"line {line} of the layout has more than {_MOST_DOTS} dots; no key needs that")
        if len(token["word"] or "") > _LONGEST_WORD:
            raise LayoutError(f"line {line} of the layout has a word of more than {_LONGEST_WORD} letters")
        line += token[0].count("\n")


def _replace_keys(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the values of `changes`; of its `loader`, if that is a table, only the options in `changes`."""
    loader = data.get("loader", {})
    if "loader" in changes and isinstance(loader, dict):
        loader = loader | changes["loader"]
    return {**data, **changes, "loader": loader}


def _flash_size(data: Mapping[str, Any], preset: FlashLayout | None) -> FlashSize:
    if "flash_size" in data:
        return flash_size(_text(data, "flash_size"))
    if preset is None:
        raise LayoutError("the layout says neither flash_size nor preset; give one of them")
    return preset.size


def _slots(data: Mapping[str, Any], slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """The given `slots`, else those of the file."""
    tables = _tables(data, "slot")
    if max(len(slots), len(tables)) > _MOST_SLOTS:
        raise LayoutError(f"there are more than {_MOST_SLOTS} slots, which is as far as rBoot counts")
    return tuple(slots) or tuple(_slot(number, table) for number, table in enumerate(tables))


def _preset_slots(
    data: Mapping[str, Any], preset: FlashLayout | None, chip: FlashSize, loader: LoaderOptions
) -> tuple[Slot, ...]:
    """The slots of the `preset`, unless the file changes what they depend on."""
    if "slot" in data or preset is None or (preset.size, preset.loader.big_flash) != (chip, loader.big_flash):
        return ()
    return tuple(replace(slot, size=0) for slot in preset.slots)


def _loader(table: object, base: LoaderOptions) -> LoaderOptions:
    if not isinstance(table, dict):
        raise LayoutError("loader is no table; write [loader]")
    kinds = {field.name: _toml_type(getattr(base, field.name)) for field in fields(base)}
    _check_keys(table, kinds, "[loader]")
    for name, value in table.items():
        if type(value) is not kinds[name]:
            wanted = {bool: "true or false", int: "a number"}.get(kinds[name], "a text in quotes")
            raise LayoutError(f"{name} in [loader] is {value!r}; write {wanted}")
    return replace(base, **table)


def _toml_type(value: object) -> type:
    return str if isinstance(value, GpioMode) else type(value)


def _slot(number: int, table: Mapping[str, Any]) -> Slot:
    where = f"[[slot]] number {number}"
    _check_keys(table, ("name", "address", "size"), where)
    address, size = _number(table, "address", where), _number(table, "size", where, 0)
    if "size" in table and size == 0:
        raise LayoutError(f"size in {where} is 0; give it some, or leave it out for all there is")
    return Slot(address, size, number, _text(table, "name", ""))


def _regions(data: Mapping[str, Any], chip: FlashSize) -> tuple[FlashRegion, ...]:
    regions = []
    for number, table in enumerate(_tables(data, "region")):
        where = f"[[region]] number {number}"
        _check_keys(table, ("name", "address", "size"), where)
        if not (name := _text(table, "name", "")):
            raise LayoutError(f"{where} has no name; give it one")
        regions.append(FlashRegion(name, _number(table, "address", where), _number(table, "size", where)))
    sdk_data = data.get("sdk_data", True)
    if not isinstance(sdk_data, bool):
        raise LayoutError(f"sdk_data is {sdk_data!r}; write true or false")
    names = Counter(region.name for region in regions)
    if twice := [name for name, count in names.items() if count > 1]:
        raise LayoutError(f"there is more than one region called {min(twice)}; rename one")
    return (*regions, *(region for region in sdk_regions(chip) if sdk_data and region.name not in names))


def _tables(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    tables = data.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise LayoutError(f"{key} is no list of tables; write [[{key}]]")
    return tables


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise LayoutError(f"{where} has no {key!r}; it has {', '.join(known)}")


def _text(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise LayoutError(f"{key} is {value!r}; write a text in quotes")
    if not value.isprintable():  # as messages and drawings have them
        raise LayoutError(f"{key} is {value!r}; leave out what cannot be printed")
    return value


def _number(table: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = table.get(key, default)
    if value is None:
        raise LayoutError(f"{where} has no {key}; give it one")
    try:
        return parse_number(value)
    except LayoutError as error:
        raise LayoutError(f"{key} in {where}: {error}") from None

"""Parse a flash layout in TOML.

All keys of a layout file are optional except `flash_size` or `preset`:

    preset = "4MB-big"          # the default of all other keys
    flash_size = "4MB"          # esptool's names, as for flash_mode and flash_freq
    flash_mode = "qio"
    flash_freq = "40m"
    sdk_data = true             # the last five sectors are the SDK's regions

    [loader]                    # options that rBoot was built with
    big_flash = true            # BOOT_BIG_FLASH
    irom_checksum = false       # BOOT_IROM_CHKSUM
    config_checksum = false     # BOOT_CONFIG_CHKSUM
    max_roms = 4                # MAX_ROMS
    rtc = false                 # BOOT_RTC_ENABLED
    gpio = ""                   # "rom" for BOOT_GPIO_ENABLED, "skip" for BOOT_GPIO_SKIP_ENABLED
    gpio_pin = 16               # BOOT_GPIO_NUM
    all_sizes = true            # supports 8MB, 16MB, 2MB-c1 and 4MB-c1, as rBoot since 2019; false for older ones

    [[slot]]                    # default: rBoot's default pair
    name = "main"
    address = 0x2000
    size = "480KB"              # a multiple of 4KB; default: up to the next slot or region

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

MAX_SIZE = 1 << 16
"""The size limit of a layout, in characters and in bytes of the file."""

_KEYS = ("preset", "flash_size", "flash_mode", "flash_freq", "sdk_data", "loader", "slot", "region")
_MAX_SLOTS = 255  # rBoot's count is a byte
# The TOML parser's time and memory grow with the square of a dotted key's length, and it recurses for each bracket.
# These limits apply outside of strings and comments; a layout needs far less.
_MAX_DEPTH, _MAX_DOTS, _MAX_WORD = 8, 8, 64
_TOKEN = (
    r'''"""(?:[^"\\]|\\.|"(?!""))*"*|'''
    r"""'''(?:[^']|'(?!''))*'*|"""
    r""""(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|#[^\n]*|"""
    r"(?P<mark>[][{}.\n])|(?P<word>[\w+:-]+)"
)


def parse_layout(
    text: str, changes: Mapping[str, Any] = MappingProxyType({}), slots: Sequence[Slot] = ()
) -> FlashLayout:
    """Parse a layout in TOML.

    `changes` override keys of the file, and single keys of its `loader`; `slots` override its slots, and get the size
    of infer_sizes() if theirs is 0. Raises LayoutError if the layout is invalid or larger than 64 KB.
    """
    return make_layout(load_toml(text), changes, slots)


def make_layout(keys: Mapping[str, Any], changes: Mapping[str, Any], slots: Sequence[Slot]) -> FlashLayout:
    """Make a layout of the `keys` of a layout file; `changes` and `slots` as for parse_layout(). Raises LayoutError."""
    data = _replace_keys(keys, changes)
    _check_keys(data, _KEYS)
    preset = _preset(_text(data, "preset")) if "preset" in data else None
    chip = _flash_size(data, preset)
    loader = _loader(data.get("loader", {}), preset.loader if preset else DEFAULT_LOADER)
    regions = _regions(data, chip)
    slots = _slots(data, slots) or _preset_slots(data, preset, chip, loader) or default_slots(chip, loader.big_flash)
    params = FlashParams.from_names(_text(data, "flash_mode", "qio"), chip.name, _text(data, "flash_freq", "40m"))
    return FlashLayout(chip, infer_sizes(slots, chip, regions), loader, params.mode, params.freq, regions)


def load_toml(text: str) -> dict[str, Any]:
    """Return the keys of a layout in TOML, unchecked. Raises LayoutError if it is invalid or larger than 64 KB."""
    _check_cost(text)
    if sys.version_info >= (3, 11):  # imported here: a build without a layout file does not need it
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number with thousands of digits
        raise LayoutError(f"invalid TOML: {error}") from None


def _preset(name: str) -> FlashLayout:
    from .presets import preset_layout  # makes all presets: not for a layout that names none

    return preset_layout(name)


def _check_cost(text: str) -> None:
    """Raise LayoutError for a text that would take the TOML parser much time or memory."""
    if len(text) > MAX_SIZE:
        raise LayoutError(f"layout too large: expected at most {MAX_SIZE >> 10} KB")
    line, depth, dots = 1, 0, 0
    for token in re.finditer(_TOKEN, text, re.DOTALL):
        mark = token["mark"]
        if mark == "\n":
            dots = 0
        elif mark == ".":
            dots += 1
        elif mark:
            depth += 1 if mark in "[{" else -1
        if depth > _MAX_DEPTH:
            raise LayoutError(f"line {line}: nesting too deep: expected at most {_MAX_DEPTH} levels of brackets")
        if dots > _MAX_DOTS:
            raise LayoutError(f"line {line}: too many dots: expected at most {_MAX_DOTS}")
        if len(token["word"] or "") > _MAX_WORD:
            raise LayoutError(f"line {line}: word too long: expected at most {_MAX_WORD} characters")
        line += token[0].count("\n")


def _replace_keys(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with the values of `changes`; in `loader` only the options in `changes` are replaced."""
    loader = data.get("loader", {})
    if "loader" in changes and isinstance(loader, dict):
        loader = loader | changes["loader"]
    return {**data, **changes, "loader": loader}


def _flash_size(data: Mapping[str, Any], preset: FlashLayout | None) -> FlashSize:
    if "flash_size" in data:
        return flash_size(_text(data, "flash_size"))
    if preset is None:
        raise LayoutError("missing flash_size or preset")
    return preset.size


def _slots(data: Mapping[str, Any], slots: Sequence[Slot]) -> tuple[Slot, ...]:
    """Return the given `slots`, by default those of the file."""
    tables = _tables(data, "slot")
    if max(len(slots), len(tables)) > _MAX_SLOTS:
        raise LayoutError(f"too many slots: rBoot supports at most {_MAX_SLOTS}")
    return tuple(slots) or tuple(_slot(number, table) for number, table in enumerate(tables))


def _preset_slots(
    data: Mapping[str, Any], preset: FlashLayout | None, chip: FlashSize, loader: LoaderOptions
) -> tuple[Slot, ...]:
    """Return the slots of the `preset`, or none if the file changes the values that they depend on."""
    if "slot" in data or preset is None or (preset.size, preset.loader.big_flash) != (chip, loader.big_flash):
        return ()
    return tuple(replace(slot, size=0) for slot in preset.slots)


def _loader(table: object, base: LoaderOptions) -> LoaderOptions:
    if not isinstance(table, dict):
        raise LayoutError("loader: expected a table [loader]")
    kinds = {field.name: _toml_type(getattr(base, field.name)) for field in fields(base)}
    _check_keys(table, kinds, "[loader]")
    for name, value in table.items():
        if type(value) is not kinds[name]:
            expected = {bool: "true or false", int: "an integer"}.get(kinds[name], "a string")
            raise LayoutError(f"[loader]: invalid {name} {value!r}: expected {expected}")
    return replace(base, **table)


def _toml_type(value: object) -> type:
    return str if isinstance(value, GpioMode) else type(value)


def _slot(number: int, table: Mapping[str, Any]) -> Slot:
    where = f"slot {number}"
    _check_keys(table, ("name", "address", "size"), where)
    address, size = _number(table, "address", where), _number(table, "size", where, 0)
    if "size" in table and size == 0:
        raise LayoutError(f"{where}: size must be greater than 0; omit it for the maximum")
    return Slot(address, size, number, _text(table, "name", ""))


def _regions(data: Mapping[str, Any], chip: FlashSize) -> tuple[FlashRegion, ...]:
    regions = []
    for number, table in enumerate(_tables(data, "region")):
        where = f"region {number}"
        _check_keys(table, ("name", "address", "size"), where)
        if not (name := _text(table, "name", "")):
            raise LayoutError(f"{where}: missing name")
        regions.append(FlashRegion(name, _number(table, "address", where), _number(table, "size", where)))
    sdk_data = data.get("sdk_data", True)
    if not isinstance(sdk_data, bool):
        raise LayoutError(f"invalid sdk_data {sdk_data!r}: expected true or false")
    names = Counter(region.name for region in regions)
    if duplicates := [name for name, count in names.items() if count > 1]:
        raise LayoutError(f"two regions are called {min(duplicates)!r}; rename one")
    return (*regions, *(region for region in sdk_regions(chip) if sdk_data and region.name not in names))


def _tables(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    tables = data.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise LayoutError(f"{key}: expected a list of tables [[{key}]]")
    return tables


def _check_keys(table: Mapping[str, Any], known: Iterable[str], where: str = "") -> None:
    for key in table:
        if key not in known:
            raise LayoutError(f"{where}{': ' if where else ''}unknown key {key!r}: expected one of {', '.join(known)}")


def _text(table: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise LayoutError(f"invalid {key} {value!r}: expected a string")
    if not value.isprintable():  # names appear in messages and drawings
        raise LayoutError(f"invalid {key} {value!r}: contains non-printable characters")
    return value


def _number(table: Mapping[str, Any], key: str, where: str, default: int | None = None) -> int:
    value = table.get(key, default)
    if value is None:
        raise LayoutError(f"{where}: missing {key}")
    try:
        return parse_number(value)
    except LayoutError as error:
        raise LayoutError(f"{where}: {key}: {error}") from None

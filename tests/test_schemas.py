"""The JSON Schemas that editors and others read: of layout files and of manifests, each held against our own checks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from conftest import ROOT
from jsonschema import Draft202012Validator

from rbootimg.flash import FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams, flash_size
from rbootimg.flashmap import DEFAULT_LOADER, GPIO_MODES
from rbootimg.layout import PRESETS, from_toml, preset

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMAS = ROOT / "rbootimg" / "schemas"
LAYOUT = json.loads((SCHEMAS / "layout.schema.json").read_text())
KEYS = LAYOUT["properties"]
LOADER = KEYS["loader"]["properties"]


def subschemas(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key of an object in `schema`, and its items, by path."""
    for key, below in schema.get("properties", {}).items():
        yield f"{where}{key}", below
        yield from subschemas(below, f"{where}{key}.")
    if "items" in schema:
        yield f"{where}items", schema["items"]
        yield from subschemas(schema["items"], f"{where}items.")


def named(key: str) -> tuple[list[str], str]:
    """The names that editors offer for `key`, and the pattern of its other spellings."""
    names, spellings = KEYS[key]["anyOf"]
    return names["enum"], spellings["pattern"]


@pytest.mark.parametrize("schema", [LAYOUT])
def test_a_schema_is_one_and_says_what_each_key_means(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    for where, key in subschemas(schema):
        assert key["title"], where
        assert key["description"].endswith("."), where
        assert key.get("examples"), where
    for where, key in [("", schema), *subschemas(schema)]:
        for example in key["examples"]:
            assert Draft202012Validator(key).is_valid(example), f"{where}: {example}"
        if "default" in key:
            assert Draft202012Validator(key).is_valid(key["default"]), where
        for each in (key, *key.get("anyOf", ())):
            texts = each.get("x-taplo", {}).get("docs", {}).get("enumValues")
            assert texts is None or len(texts) == len(each["enum"]), where


def test_the_names_in_the_schema_are_those_of_the_code() -> None:
    assert named("flash_size")[0] == [*FLASH_SIZES]
    assert named("flash_mode")[0] == [*FLASH_MODES]
    assert named("flash_freq")[0] == [*FLASH_FREQS]
    assert KEYS["preset"]["enum"] == [*PRESETS]
    assert LOADER["gpio"]["enum"] == [*GPIO_MODES]


def test_other_spellings_of_a_name_are_those_of_the_code() -> None:
    for key, names in (("flash_size", FLASH_SIZES), ("flash_mode", FLASH_MODES), ("flash_freq", FLASH_FREQS)):
        for name in names:
            for spelling in (name, name.upper(), name.lower(), f" {name.swapcase()}  "):
                assert re.fullmatch(named(key)[1], spelling), spelling
    for name, size in FLASH_SIZES.items():
        assert re.fullmatch(named("flash_size")[1], name.replace("B", ""))
        assert flash_size(name.replace("B", "")) == size


def test_the_defaults_in_the_schema_are_those_of_the_code() -> None:
    defaults = {key: schema["default"] for key, schema in LOADER.items() if "default" in schema}
    options = asdict(DEFAULT_LOADER)
    assert options.pop("big_flash") is False  # or that of the preset
    assert defaults == options
    for found in PRESETS.values():
        assert asdict(found.loader) | {"big_flash": False} == asdict(DEFAULT_LOADER)
    layout = from_toml('flash_size = "1MB"')
    mode, freq = KEYS["flash_mode"]["default"], KEYS["flash_freq"]["default"]
    assert layout.params == FlashParams.from_names(mode, "1MB", freq)
    assert from_toml(f'flash_size = "1MB"\nsdk_data = {str(KEYS["sdk_data"]["default"]).lower()}') == layout
    assert {key for key, schema in subschemas(LAYOUT) if "default" in schema} == {
        *(f"loader.{key}" for key in options),
        *("flash_mode", "flash_freq", "sdk_data", "slot.items.name"),
    }


def test_the_schema_describes_the_presets_as_they_are() -> None:
    for name, text in zip(KEYS["preset"]["enum"], KEYS["preset"]["x-taplo"]["docs"]["enumValues"]):
        found = preset(name)
        assert text.replace(" ", "").startswith(f"{found.size.name}flash,"), name
        assert [int(address, 16) for address in re.findall("0x[0-9a-f]+", text)] == [
            slot.address for slot in found.slots
        ]
        assert ("BOOT_BIG_FLASH" in text) == found.big_flash, name


BOARDS = sorted(ROOT.glob("examples/**/board.toml"))


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.parent.name)
def test_the_layout_files_of_the_examples_name_the_schema_and_keep_to_it(board: Any) -> None:
    first, _, text = board.read_text().partition("\n")
    (path,) = re.findall("^#:schema (.*)$", first)
    assert (board.parent / path).resolve() == SCHEMAS / "layout.schema.json"
    Draft202012Validator(LAYOUT).validate(tomllib.loads(text))
    from_toml(text)
    assert BOARDS[1:]

"""The JSON Schemas that editors and others read: of layout files and of manifests, each held against our own checks."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match
from releases import with_recovery
from test_release import VERSIONS, releases

from rbootimg.errors import LayoutError, PublishError
from rbootimg.flash import FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams, flash_size
from rbootimg.flashmap import DEFAULT_LOADER, GPIO_MODES
from rbootimg.layout import PRESETS, from_toml, preset
from rbootimg.release import History, Release

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCHEMAS = ROOT / "rbootimg" / "schemas"
LAYOUT, MANIFEST, HISTORY = (
    json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in ("layout", "manifest", "history")
)
Below = tuple[str, dict[str, Any]]
KEYS = LAYOUT["properties"]
LOADER = KEYS["loader"]["properties"]


def pattern_as_ecma(_: object, pattern: str, value: object, __: object) -> Iterator[ValidationError]:
    """As in ECMAScript, whose `$` does not match before a newline at the end; ours have it at their end or before |."""
    if isinstance(value, str) and not re.search(re.sub(r"\$(?=$|\|)", r"\\Z", pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


# JSON Schema counts 1.0 as an integer, TOML and our readers do not: that difference is left out here.
Validator = validators.extend(
    Draft202012Validator,
    {"pattern": pattern_as_ecma},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)


def subschemas(schema: dict[str, Any], defs: dict[str, Any] | None = None, where: str = "") -> Iterator[Below]:
    """Each key of an object in `schema`, and its items, by path."""
    defs = defs or schema.get("$defs", {})
    below = {**schema.get("properties", {})}
    below |= {key: schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)}
    for key, found in below.items():
        found = defs[found["$ref"].removeprefix("#/$defs/")] if "$ref" in found else found
        yield f"{where}{key}", found
        yield from subschemas(found, defs, f"{where}{key}.")


def named(key: str) -> tuple[list[str], str]:
    """The names that editors offer for `key`, and the pattern of its other spellings."""
    names, spellings = KEYS[key]["anyOf"]
    return names["enum"], spellings["pattern"]


@pytest.mark.parametrize("schema", [LAYOUT, MANIFEST, HISTORY], ids=lambda schema: schema["title"])
def test_a_schema_is_one_and_says_what_each_key_means(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema)
    assert {path.name for path in SCHEMAS.iterdir()} == {f"{n}.schema.json" for n in ("layout", "manifest", "history")}
    for where, key in subschemas(schema):
        assert key["title"], where
        assert key["description"].endswith("."), where
        assert key.get("examples"), where
    for where, key in [("", schema), *subschemas(schema)]:
        valid = Validator({**key, "$defs": schema.get("$defs", {})})
        for example in key["examples"]:
            assert valid.is_valid(example), f"{where}: {example}"
        if "default" in key:
            assert valid.is_valid(key["default"]), where
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


# The schema against the code


def toml(value: object) -> str:
    """`value` as TOML, its tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, (bool, float)) else str(value)


def toml_file(values: dict[str, Any]) -> str:
    return "".join(f"{toml(key)} = {toml(value)}\n" for key, value in values.items())


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Where a value is within others: the dictionary or list, and the key or index."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield value, key
        yield from places(below)


def mutated(draw: st.DrawFn, values: dict[str, Any], others: st.SearchStrategy[Any], keys: list[str]) -> dict[str, Any]:
    """`values` with up to three changes: something is another value, gone, there twice, or has another name."""
    values = json.loads(json.dumps(values))
    for _ in range(draw(st.integers(0, 3))):
        within, key = draw(st.sampled_from([*places(values)] or [(values, "")]))
        kind = draw(st.sampled_from(["replace", "replace", "remove", "repeat", "rename", "add"]))
        if kind == "replace" or not values:
            within[key] = draw(others)
        elif kind == "remove":
            del within[key]
        elif isinstance(within, list):
            within.append(within[key])
        elif kind == "rename":
            within[draw(st.sampled_from(keys))] = within.pop(key)
        else:
            within[draw(st.sampled_from(keys))] = draw(others)
    return values


def number(draw: st.DrawFn, value: int) -> int | str:
    """`value` in one of the ways in which a layout file can say it."""
    ways: list[int | str] = [value, value, f"{value:#x}", f" {value}\n", f"{value:#X}"]
    ways += [f"{value >> bits}{unit}" for bits, unit in ((10, "KB"), (10, "k"), (20, "mB")) if not value % (1 << bits)]
    return draw(st.sampled_from(ways))


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    """A layout file's values, most of which are a layout: pieces one after the other, each within its megabyte."""
    size = draw(st.sampled_from([*FLASH_SIZES]))
    sectors = FLASH_SIZES[size].bytes // 0x1000
    spelling = st.sampled_from([str, str.lower, str.upper, lambda name: f" {name.replace('B', '')} "])
    optional: dict[str, Any] = {
        "preset": st.sampled_from([*PRESETS]),
        "flash_mode": st.builds(lambda name, spell: spell(name), st.sampled_from([*FLASH_MODES]), spelling),
        "flash_freq": st.builds(lambda name, spell: spell(name), st.sampled_from([*FLASH_FREQS]), spelling),
        "sdk_data": st.booleans(),
    }
    values = draw(st.fixed_dictionaries({}, optional=optional))
    if "preset" not in values or draw(st.booleans()):
        values["flash_size"] = draw(spelling)(size)
    options = {key: st.booleans() for key, schema in LOADER.items() if schema["type"] == "boolean"}
    options |= {"gpio": st.sampled_from(GPIO_MODES), "gpio_pin": st.integers(0, 16)}
    options["max_roms"] = st.sampled_from([4, 5, 255])
    values["loader"] = draw(st.fixed_dictionaries({}, optional=options))
    names = st.sampled_from(["main", "files", "rf_cal", "größer", "a b"])
    at = 2
    for _ in range(draw(st.integers(0, 6))):
        start = at + draw(st.integers(0, 8))
        end = min(start + draw(st.sampled_from([1, 2, 0x70, 0x80, 0x100])), sectors, (start // 256 + 1) * 256)
        if start >= end:
            break
        kind = draw(st.sampled_from(["slot", "region"]))
        piece = {"address": number(draw, start * 0x1000), "size": number(draw, (end - start) * 0x1000)}
        if kind == "slot" and draw(st.booleans()):
            del piece["size"]
            end = max(end, (start // 256 + 1) * 256)
        if kind == "region" or draw(st.booleans()):
            piece["name"] = f"{draw(names)}{'' if kind == 'slot' else at}"
        values.setdefault(kind, []).append(piece)
        at = end
    return values


NUMBERS = (-1, 0, 1, 4, 16, 17, 255, 256, 4096, 8192, 8193, 0x82000, 0xFF000, 0x100000, 0xFFF000, 2**24, 2**32, 2**70)
LAYOUT_TEXTS = (
    *(
        "",
        " ",
        "x",
        "\x7f",
        "\u200b",
        "rf_cal",
        "skip",
        "QIO",
        "qio\n",
        "80M",
        "1M",
        "1MB",
        " 1mb ",
        "2MB-C1",
        "1MB-c1",
    ),
    *("3MB", "4MB-big", "4mb-big", "0", "0x2001", "0x2000 ", "8 KB", "-1", "12mb", "0xFFFFM", "\t8k\n", "9" * 20),
)
LAYOUT_VALUES = st.sampled_from(
    (*NUMBERS, *LAYOUT_TEXTS, 1.5, 4096.0, math.inf, True, False, [], [1], {}, [{}], [{"address": 8192}], {"a": 1})
)
LAYOUT_KEYS = [*sorted({where.split(".")[-1] for where, _ in subschemas(LAYOUT)} - {"items"}), "colour", "$schema"]

# What a schema cannot tell: the messages with which a layout that it accepts may be refused, each with such a layout.
NEEDS_CODE = {
    r"slot \d+ at .* overlaps (slot|region) ": "[[slot]]\naddress = 8192\nsize = 0x4000\n[[slot]]\naddress = 0x4000\n",
    r"region .* overlaps (slot|region) ": '[[region]]\nname = "a"\naddress = 0x1fa000\nsize = "8KB"\n',
    r".* outside the \w+(-c1)? flash ": '[[region]]\nname = "a"\naddress = 0x200000\nsize = 4096\n',
    r".* which needs an rBoot built with BOOT_BIG_FLASH": "[[slot]]\naddress = 0x102000\n",
    r".* straddles a 1 MB boundary": "[loader]\nbig_flash = true\n[[slot]]\naddress = 0x82000\nsize = 0x80000\n",
    r"\d+ slots are more than the \d+ that": "[loader]\nmax_roms = 1\n",
    r"there is more than one region called ": "".join(
        f'[[region]]\nname = "a"\naddress = {address}\nsize = 4096\n' for address in (0x40000, 0x50000)
    ),
    # Of a number in quotes it only tells the form.
    r".* overlaps rBoot's (loader|config sector)": '[[slot]]\naddress = "4KB"\n',
    r".* does not start on a flash sector; ": '[[slot]]\naddress = "0x2001"\n',
    r".* but the flash is erased in sectors": '[[slot]]\naddress = 0x2000\nsize = "0x801"\n',
    r"size in \[\[slot\]\] number \d+ is 0; ": '[[slot]]\naddress = 0x2000\nsize = "0"\n',
    r"region .* has 0 bytes; give it some": '[[region]]\nname = "a"\naddress = 0x40000\nsize = "0"\n',
    # What Unicode says of characters.
    r"name is .*; leave out what cannot be printed": '[[slot]]\naddress = 0x2000\nname = "\u200b"\n',
    # What costs too much to read.
    r"the layout has more than 64 KB": "#" * (1 << 16),
    r"line \d+ of the layout has more than 8 dots; ": "slot.a.b.c.d.e.f.g.h.i = 1\n",
    r"line \d+ of the layout has brackets more than 8 deep": "slot = [[[[[[[[[]]]]]]]]]\n",
    r"line \d+ of the layout has a word of more than 64 letters": f"{'a' * 65} = 1\n",
}
NOT_OF_VALUES = ("64 KB", "dots", "brackets", "letters")


@pytest.mark.parametrize("message", NEEDS_CODE)
def test_what_only_the_code_can_know(message: str) -> None:
    text = f'flash_size = "2MB"\n{NEEDS_CODE[message]}'
    with pytest.raises(LayoutError, match=f"^{message}"):
        from_toml(text)
    if not any(word in message for word in NOT_OF_VALUES):
        assert Validator(LAYOUT).is_valid(tomllib.loads(text))


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_what_the_schema_of_layouts_refuses_the_code_refuses(data: st.DataObject) -> None:
    """And what the code alone refuses is in the list of what only it can know."""
    values = mutated(data.draw, data.draw(layouts()), LAYOUT_VALUES, LAYOUT_KEYS)
    text = toml_file(values)
    problem = best_match(Validator(LAYOUT).iter_errors(tomllib.loads(text)))
    try:
        from_toml(text)
    except LayoutError as error:
        known = any(re.match(message, str(error)) for message in NEEDS_CODE)
        assert problem or known, f"the schema accepts it, the code says: {error}"  # noqa: PT017
    else:
        assert problem is None, f"the code accepts it, the schema says: {problem and problem.message}"


# Of manifests and histories


MANIFEST_TEXTS = (
    *(
        "",
        " ",
        "x",
        ".",
        "a b",
        " a",
        "a\n",
        "a/b",
        "a\\b",
        "x" * 100,
        "x" * 101,
        "releases",
        "_status",
        "\0",
        "\ud800",
    ),
    *("1.0.0", "v1.0.0", "1.0.0-rc.1", "1.0.0+b", "01.0.0", "1.0.0-01", "1.0.0\n", f"1.0.0-{'9' * 95}", "2026-11-23"),
    *("a" * 64, "A" * 64, "a" * 63, "a" * 64 + "\n", "rom0.bin", "ui.html", "UI.html", ".ui", "ram"),
)
MANIFEST_VALUES = st.sampled_from(
    (*NUMBERS, *MANIFEST_TEXTS, 2**24 - 1, 2**24 + 1, 1.0, 1.5, math.nan, None, True, False, [], [1], {}, [{}])
)
MANIFEST_KEYS = [*sorted({where.split(".")[-1] for where, _ in subschemas(MANIFEST)} - {"items"}), "later"]
MANIFEST_NEEDS_CODE = {
    r"the manifest's ROM \d+ is for slot \d+; they come in slot order": ("roms", 0, "slot", 1),
    r"the manifest's recovery ROM is for slot \d+, which has a ROM already": ("recovery", "slot", 0),
    r"the manifest: the part at .* is not in the flash, or not behind": ("flash", "parts", 0, "size", 2**24),
    r"the manifest: slot \d+ is not in the flash": ("roms", 0, "slot_size", 2**24),
    r"the manifest: ROM \d+ is larger than its slot": ("roms", 0, "size", 2**24),
    r"the manifest: files has the same name twice": ("files", 0, "name", "ui.html"),
    r"the manifest: a release cannot carry both .* they differ only in case": ("files", 0, "name", "UI.html"),
    r"the manifest: a release cannot carry a file called .* the name is reserved": ("files", 0, "name", "Rom0.bin"),
    r"the manifest.*: \w+ has half a character": ("device", "\ud800"),
}
HISTORY_NEEDS_CODE = {
    r"the history: its versions are not those of its manifests": ("versions", 0, "9.9.9"),
    r"the history.*: \S+ has half a character": ("manifests", "1.0.0", "\ud800"),
}
WITH_ALL = with_recovery("1.0.0", files=(("ca.der", b"x"), ("ui.html", b"y"))).release
SOME_HISTORY = History("blink", ("1.0.0",), {"1.0.0": ""})


@pytest.mark.parametrize(
    ("known", "schema", "read", "data"),
    [
        (MANIFEST_NEEDS_CODE, MANIFEST, Release.from_json, WITH_ALL.to_json()),
        (HISTORY_NEEDS_CODE, HISTORY, History.from_json, SOME_HISTORY.to_json()),
    ],
    ids=["manifest", "history"],
)
def test_what_only_the_code_can_know_of_a_release(
    known: dict[str, tuple[Any, ...]], schema: dict[str, Any], read: Callable[[bytes], object], data: bytes
) -> None:
    for message, (*path, key, value) in known.items():
        values = within = json.loads(data)
        for step in path:
            within = within[step]
        within[key] = value
        assert Validator(schema).is_valid(values)
        with pytest.raises(PublishError, match=f"^{message}"):
            read(json.dumps(values).encode())


def hold_against_the_code(
    values: object, schema: dict[str, Any], read: Callable[[bytes], object], known: Iterable[str]
) -> None:
    problem = best_match(Validator(schema).iter_errors(values))
    try:
        read(json.dumps(values).encode())
    except PublishError as error:
        listed = any(re.match(message, str(error)) for message in known)
        assert problem or listed, f"the schema accepts it, the code says: {error}"  # noqa: PT017
    else:
        assert problem is None, f"the code accepts it, the schema says: {problem and problem.message}"


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_what_the_schema_of_manifests_refuses_the_code_refuses(data: st.DataObject) -> None:
    values = mutated(data.draw, json.loads(data.draw(releases()).to_json()), MANIFEST_VALUES, MANIFEST_KEYS)
    hold_against_the_code(values, MANIFEST, Release.from_json, MANIFEST_NEEDS_CODE)


HISTORIES = st.builds(
    lambda manifests, order: History("blink", tuple(order.sample([*manifests], len(manifests))), manifests),
    st.dictionaries(VERSIONS, st.sampled_from(["", "a" * 64]), min_size=1, max_size=4),
    st.randoms(),
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_the_schema_of_histories_refuses_the_code_refuses(data: st.DataObject) -> None:
    keys = [*HISTORY["properties"], "later", "1.0.0", "1.0.0-rc.1", "x", "1.0.0\n"]
    values = mutated(data.draw, json.loads(data.draw(HISTORIES).to_json()), MANIFEST_VALUES, keys)
    hold_against_the_code(values, HISTORY, History.from_json, HISTORY_NEEDS_CODE)


@given(releases())
@settings(max_examples=50, deadline=None)
def test_what_we_write_keeps_to_the_schema(release: Release) -> None:
    Validator(MANIFEST).validate(json.loads(release.to_json()))


def test_the_readmes_manifest_keeps_to_the_schema() -> None:
    (text,) = re.findall(r"```json\n(\{\"schema\".*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    Validator(MANIFEST).validate(json.loads(text.replace("ff74…", "ff74" * 16)))

"""The JSON Schemas that editors and others read: of layout files and of manifests, each held against our own checks."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError, validators
from support.project import ROOT
from support.releases import with_recovery
from support.strategies import VERSIONS, releases
from support.updates import MINIMAL, TEXT

from rbootimg.errors import LayoutError, ManifestError
from rbootimg.layout.model import DEFAULT_LOADER, GpioMode
from rbootimg.layout.params import FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams, flash_size
from rbootimg.layout.presets import LAYOUT_PRESETS, preset_layout
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.release.history import History
from rbootimg.release.manifest import Checksum, FlashPart, PartKind, Release, ReleaseRom, StoredFile

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
    assert KEYS["preset"]["enum"] == [*LAYOUT_PRESETS]
    assert LOADER["gpio"]["enum"] == [mode.value for mode in GpioMode]


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
    options = asdict(DEFAULT_LOADER) | {"gpio": DEFAULT_LOADER.gpio.value}
    assert options.pop("big_flash") is False  # or that of the preset
    assert defaults == options
    for found in LAYOUT_PRESETS.values():
        assert asdict(found.loader) | {"big_flash": False} == asdict(DEFAULT_LOADER)
    layout = parse_layout('flash_size = "1MB"')
    mode, freq = KEYS["flash_mode"]["default"], KEYS["flash_freq"]["default"]
    assert layout.params == FlashParams.from_names(mode, "1MB", freq)
    assert parse_layout(f'flash_size = "1MB"\nsdk_data = {str(KEYS["sdk_data"]["default"]).lower()}') == layout
    assert {key for key, schema in subschemas(LAYOUT) if "default" in schema} == {
        *(f"loader.{key}" for key in options),
        *("flash_mode", "flash_freq", "sdk_data", "slot.items.name"),
    }


def test_the_schema_describes_the_presets_as_they_are() -> None:
    for name, text in zip(KEYS["preset"]["enum"], KEYS["preset"]["x-taplo"]["docs"]["enumValues"]):
        found = preset_layout(name)
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
    parse_layout(text)
    assert BOARDS[1:]


# Each schema against the code


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


def read_layout(values: dict[str, Any]) -> None:
    parse_layout(toml_file(values))


def read_manifest(values: object) -> None:
    Release.from_json(json.dumps(values).encode())


def read_history(values: object) -> None:
    History.from_json(json.dumps(values).encode())


class Format(NamedTuple):
    """A schema, our reader, the messages for what only the reader knows, and what to put in place of a value or key."""

    schema: dict[str, Any]
    read: Callable[[Any], None]
    needs_code: Callable[[Any], Iterable[str]]
    values: tuple[Any, ...]
    keys: list[str]

    def hold(self, values: object) -> None:
        """What the schema refuses the code refuses, and what the code alone refuses is known."""
        problem = next(Validator(self.schema).iter_errors(values), None)
        refusal = None
        try:
            self.read(values)
        except (LayoutError, ManifestError) as error:
            refusal = str(error)
        if refusal is None:
            assert problem is None, f"the code accepts {values}; the schema says: {problem and problem.message}"
        elif problem is None:
            known = any(re.match(message, refusal) for message in self.needs_code(values))
            assert known, f"the schema accepts {values}; the code says: {refusal}"


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Where a value is within others: the dictionary or list, and the key or index."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield value, key
        yield from places(below)


def changed(values: Any, form: Format) -> Iterator[Any]:
    """`values` with one change: each of the form's values at each place, each place gone, each with another name."""
    for number, (_, key) in enumerate(places(values)):
        for other in (*form.values, "remove", "rename"):
            copy = deepcopy(values)
            within, key = [*places(copy)][number]
            if other == "remove":
                del within[key]
            elif other == "rename":
                if isinstance(within, dict):
                    within[form.keys[-1]] = within.pop(key)
            else:
                within[key] = deepcopy(other)
            yield copy


def much_changed(draw: st.DrawFn, values: Any, form: Format) -> Any:
    """`values` with two or three changes."""
    for _ in range(draw(st.integers(2, 3))):
        within, key = draw(st.sampled_from([*places(values)] or [(values, form.keys[0])]))
        kind = draw(st.sampled_from(["replace", "replace", "remove", "repeat", "rename", "add"]))
        if kind == "replace" or not values:
            within[key] = deepcopy(draw(st.sampled_from(form.values)))
        elif kind == "remove":
            del within[key]
        elif isinstance(within, list):
            within.append(deepcopy(within[key]))
        elif kind == "rename":
            within[draw(st.sampled_from(form.keys))] = within.pop(key)
        else:
            within[draw(st.sampled_from(form.keys))] = deepcopy(draw(st.sampled_from(form.values)))
    return values


def keys_of(schema: dict[str, Any], *more: str) -> list[str]:
    return [*sorted({where.rpartition(".")[2] for where, _ in subschemas(schema)} - {"items"}), *more]


NUMBERS = (-1, 0, 1, 2, 4, 16, 17, 255, 256, 4096, 8192, 8193, 0x100000, 2**24 - 1, 2**24, 2**32 - 1, 2**32, 2**70)
WRONG_KINDS = (1.5, True, False, [], [1], {}, [{}])

# What a schema cannot tell: the messages with which a layout that it accepts may be refused, each with such a layout.
LAYOUT_NEEDS_CODE = {
    r"slot \d+ at .* overlaps (slot|region) ": "[[slot]]\naddress = 8192\nsize = 0x4000\n[[slot]]\naddress = 0x4000\n",
    r"region .* overlaps (slot|region) ": '[[region]]\nname = "a"\naddress = 0x1fa000\nsize = "8KB"\n',
    r".* past the end of the \w+(-c1)? flash ": '[[region]]\nname = "a"\naddress = 0x200000\nsize = 4096\n',
    r".*: rBoot must be built with BOOT_BIG_FLASH": "[[slot]]\naddress = 0x102000\n",
    r".* crosses the 1 MB boundary": "[loader]\nbig_flash = true\n[[slot]]\naddress = 0x82000\nsize = 0x80000\n",
    r"too many slots: \d+, but max_roms of the loader is \d+; ": "[loader]\nmax_roms = 1\n",
    r"two regions are called ": "".join(
        f'[[region]]\nname = "a"\naddress = {address}\nsize = 4096\n' for address in (0x40000, 0x50000)
    ),
    # What Unicode says of characters other than control characters.
    r"invalid name .*\\u[0-9a-f]{4}.*: contains non-printable": '[[slot]]\naddress = 0x2000\nname = "\u200b"\n',
}
# Of a number in quotes it only tells the form.
QUOTED_NEEDS_CODE = {
    r".* overlaps rBoot's (loader|config sector)": '[[slot]]\naddress = "4KB"\n',
    r".*: invalid address: expected a multiple of the flash sector ": '[[slot]]\naddress = "0x2001"\n',
    r".*: invalid size 0x\w+: expected a multiple of the flash sector": '[[slot]]\naddress = 0x2000\nsize = "0x801"\n',
    r"slot \d+: size must be greater than 0; ": '[[slot]]\naddress = 0x2000\nsize = "0"\n',
    r"region .*: size must be greater than 0$": '[[region]]\nname = "a"\naddress = 0x40000\nsize = "0"\n',
}


def layout_needs_code(values: dict[str, Any]) -> Iterable[str]:
    pieces = [*values.get("slot", ()), *values.get("region", ())]
    quoted = any(isinstance(piece.get(key), str) for piece in pieces for key in ("address", "size"))
    return (*LAYOUT_NEEDS_CODE, *QUOTED_NEEDS_CODE) if quoted else LAYOUT_NEEDS_CODE


LAYOUT_FORMAT = Format(
    LAYOUT,
    read_layout,
    layout_needs_code,
    (
        *NUMBERS,
        *WRONG_KINDS,
        *("", " ", "x", "\x7f", "\u200b", "rf_cal", "skip", "QIO", "qio\n", "dio", "80M", "26m", "1M", "1MB", " 1mb "),
        *("2MB-C1", "1MB-c1", "3MB", "16MB", "4MB-big", "4mb-big", "0", "0x2001", "0x2000 ", "8 KB", "-1", "12mb"),
        *("0xFFFFM", "\t8k\n", "9" * 19, "9" * 20, "0x" + "f" * 17),
        *(4096.0, math.inf, [{"address": 8192}], {"rtc": True}),
    ),
    keys_of(LAYOUT, "$schema"),
)


@pytest.mark.parametrize(("message", "rest"), (LAYOUT_NEEDS_CODE | QUOTED_NEEDS_CODE).items())
def test_what_only_the_code_knows_of_a_layout(message: str, rest: str) -> None:
    text = f'flash_size = "2MB"\n{rest}'
    with pytest.raises(LayoutError, match=f"^{message}"):
        parse_layout(text)
    assert Validator(LAYOUT).is_valid(tomllib.loads(text))


LARGE = {"flash_size": "16MB", "sdk_data": False, "loader": {"big_flash": True, "max_roms": 255}}
LAST_SECTOR = 0xFFF000
LIMITS = {
    "a slot and a region in the last sectors": {
        "slot": [{"address": LAST_SECTOR}],
        "region": [{"name": "a", "address": LAST_SECTOR - 4096, "size": 4096}],
    },
    "a region in the last sector": {"region": [{"name": "a", "address": LAST_SECTOR, "size": 4096}]},
    "a slot of a megabyte": {"slot": [{"name": "", "address": 0x100000, "size": 0x100000}]},
    "a region of all there is": {
        "slot": [{"address": 0x2000, "size": 4096}],
        "region": [{"name": "a", "address": 0x3000, "size": 0x1000000 - 0x3000}],
    },
    "a region before the slots": {
        "slot": [{"address": 0x3000}],
        "region": [{"name": "a", "address": 0x2000, "size": 4096}],
    },
    "as many slots as rBoot counts": {
        "slot": [{"address": 0x2000 + number * 0x1000, "size": 4096} for number in range(255)]
    },
    "the loader's options": {"loader": {**asdict(DEFAULT_LOADER), "gpio_pin": 0, "max_roms": 2, "gpio": "rom"}},
    "other options": {"loader": {"gpio_pin": 16, "max_roms": 255, "gpio": "skip"}},
    "a preset": {"preset": "sming", "flash_mode": "QOUT", "flash_freq": " 20M "},
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_layout_at_the_limits_is_valid_and_one_beyond_is_not(name: str) -> None:
    layout = LARGE | LIMITS[name]
    Validator(LAYOUT).validate(layout)
    read_layout(layout)
    if name.startswith("as many"):
        layout["slot"].append({"address": 0x200000})
        assert not Validator(LAYOUT).is_valid(layout)
        with pytest.raises(LayoutError, match="too many slots: rBoot supports at most 255"):
            read_layout(layout)
    else:
        for values in changed(layout, LAYOUT_FORMAT):
            LAYOUT_FORMAT.hold(values)


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
        "preset": st.sampled_from([*LAYOUT_PRESETS]),
        "flash_mode": st.builds(lambda name, spell: spell(name), st.sampled_from([*FLASH_MODES]), spelling),
        "flash_freq": st.builds(lambda name, spell: spell(name), st.sampled_from([*FLASH_FREQS]), spelling),
        "sdk_data": st.booleans(),
    }
    values = draw(st.fixed_dictionaries({}, optional=optional))
    if "preset" not in values or draw(st.booleans()):
        values["flash_size"] = draw(spelling)(size)
    options = {key: st.booleans() for key, schema in LOADER.items() if schema["type"] == "boolean"}
    options |= {"gpio": st.sampled_from([mode.value for mode in GpioMode]), "gpio_pin": st.integers(0, 16)}
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


@given(layouts())
@settings(max_examples=200, deadline=None)
def test_a_layout_made_up_is_valid_to_both_or_none(values: dict[str, Any]) -> None:
    LAYOUT_FORMAT.hold(values)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_layout_much_changed_is_valid_to_both_or_none(data: st.DataObject) -> None:
    LAYOUT_FORMAT.hold(much_changed(data.draw, data.draw(layouts()), LAYOUT_FORMAT))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#" * (1 << 16), "layout too large: expected at most 64 KB"),
        ("slot.a.b.c.d.e.f.g.h.i = 1", "line 2: too many dots: expected at most 8"),
        ("slot = [[[[[[[[[]]]]]]]]]", "line 2: nesting too deep: expected at most 8 levels"),
        (f"{'a' * 65} = 1", "line 2: word too long: expected at most 64 characters"),
    ],
)
def test_what_takes_too_long_to_read_no_schema_can_tell(text: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        parse_layout(f'flash_size = "1MB"\n{text}')


# What a schema cannot tell of a release, each with a value somewhere in a manifest or history that is valid but for it.
MANIFEST_NEEDS_CODE = {
    r"manifest: roms: ROM \d+ is for slot \d+: expected slot \d+": ("roms", 0, "slot", 1),
    r"manifest: recovery: slot \d+ has a ROM of the application": ("recovery", "slot", 0),
    r"manifest: invalid part at .* bytes?: expected at least 1 byte, after the part before it and within the flash": (
        "flash",
        "parts",
        0,
        "size",
        2**24,
    ),
    r"manifest: slot \d+ is outside the flash": ("roms", 0, "slot_size", 2**24),
    r"manifest: ROM has [\d,]+ bytes, [\d,]+ more than slot \d+ at 0x[\da-f]+ holds ": ("roms", 0, "size", 2**24),
    r"manifest: files: duplicate name": ("files", 0, "name", "ui.html"),
    r"manifest: data file names .* differ only in case": ("files", 0, "name", "UI.html"),
    r"manifest: invalid data file name .*: reserved for another file of a release": ("files", 0, "name", "Rom0.bin"),
    r"manifest: files: notes\.md is the file of the release notes": ("files", 0, "name", "notes.md"),
    r"manifest.*: \w+: unpaired surrogate in the string": ("device", "\ud800"),
}
HISTORY_NEEDS_CODE = {
    r"history: versions: expected at least one, and each with a manifest": ("versions", 0, "9.9.9"),
    r"history: withdrawn: expected each version once, and not the current one": ("withdrawn", 0, "1.0.0"),
    r"history: update: .*update file": ("update", "rbootimg-update 1\nend\n"),
    r"history: update: expected \S+ of .*, got \S+ of ": ("update", TEXT),
    r"history.*: \S+: unpaired surrogate in the string": ("manifests", "1.0.0", "\ud800"),
}
RELEASE_VALUES = (
    *NUMBERS,
    *WRONG_KINDS,
    *(
        "",
        " ",
        "x",
        ".",
        "a b",
        " a",
        "#a",
        "a#",
        "ram",
        "slot",
        "a\n",
        "a/b",
        "a\\b",
        "x" * 100,
        "x" * 101,
        "\0",
        "\x1f",
        "\ud800",
        "x.sha256",
    ),
    *("releases", "index.html", "style.css", "_status", "ui.html", "UI.html", "rom0.bin", "notes.md", "2026-11-23"),
    *("rbootimg-update 1\nend\n", "rbootimg-update 2\nend\n", "untrusted comment: x\nrbootimg-update 1\nend\n"),
    *("1.0.0", "v1.0.0", "1.0", "1.0.0-rc.1", "1.0.0+b", "01.0.0", "1.0.0-01", "1.0.0-\u0663", "1.0.0\n"),
    *(f"1.0.0-{'a' * 94}", f"1.0.0-{'a' * 95}", "a" * 64, "A" * 64, "a" * 63, "a" * 65, "a" * 64 + "\n"),
    *(1.0, 1e300, math.nan, None),
)
MANIFEST_FORMAT = Format(
    MANIFEST, read_manifest, lambda _: MANIFEST_NEEDS_CODE, RELEASE_VALUES, keys_of(MANIFEST, "later")
)
HISTORY_FORMAT = Format(
    HISTORY,
    read_history,
    lambda _: HISTORY_NEEDS_CODE,
    RELEASE_VALUES,
    ["1.0.0-rc.1", *HISTORY["properties"], "x", "1.0.0\n", f"1.0.0-{'a' * 95}"],
)


def as_values(file: Release | History) -> Any:
    return json.loads(file.to_json())


SOME_RELEASE = as_values(
    with_recovery(
        "1.0.0", files=(("ca.der", b"x"), ("ui.html", b"y")), checksum_files=True, date="2026-11-23", notes=b"z"
    ).release
)
SOME_RELEASE["roms"][0]["elf"] = {"path": "releases/1.0.0/rom0.elf", "size": 1, "sha256": "a" * 64}
SOME_RELEASE["flash"]["parts"] = SOME_RELEASE["flash"]["parts"][:3]
FILE = StoredFile("rom0.bin", 2**24, "a" * 64)
LARGE_RELEASE = as_values(
    Release(
        *("blink", "1.0.0", "esp8266"),
        (ReleaseRom(0, 0, 2**24, 2**32 - 1, FILE, Checksum.RAM, elf=replace(FILE, size=2**32 - 1)),),
        2**24,
        (FlashPart(PartKind.SLOT, "slot 0", 0, 2**24),),
        data_files=(StoredFile("ui.html", 2**32 - 1, "a" * 64),),
        recovery=ReleaseRom(2**32 - 1, 2**24 - 1, 1, 0, replace(FILE, size=0), Checksum.RAM),
        notes=StoredFile("notes.md", 65536, "a" * 64),
    )
)
LAST_BYTE = LARGE_RELEASE | {
    "roms": [],
    "recovery": LARGE_RELEASE["roms"][0],
    "flash": {"size": 2**24, "parts": [{"kind": "slot", "name": "slot 0", "address": 2**24 - 1, "size": 1}]},
}
LAST_ROM = LARGE_RELEASE | {"roms": [LARGE_RELEASE["recovery"] | {"slot": 0}], "flash": {"size": 2**24, "parts": []}}
UPDATE = replace(MINIMAL, version="1.0.0").to_bytes()
SOME_HISTORY = as_values(
    History("blink", ("1.0.0",), {"1.0.0": "a" * 64, f"1.0.0-{'a' * 94}": ""}, ("1.1.0", "2.0.0"), UPDATE)
)
RELEASES = {
    "a release": (MANIFEST_FORMAT, SOME_RELEASE),
    "a release as large as it can be": (MANIFEST_FORMAT, LARGE_RELEASE),
    "a part at the end of the flash": (MANIFEST_FORMAT, LAST_BYTE),
    "a slot at the end of the flash": (MANIFEST_FORMAT, LAST_ROM),
    "a history": (HISTORY_FORMAT, SOME_HISTORY),
}


@pytest.mark.parametrize(("form", "values"), RELEASES.values(), ids=RELEASES)
def test_a_release_file_is_valid_and_with_one_change_it_is_to_both_or_none(form: Format, values: Any) -> None:
    Validator(form.schema).validate(values)
    form.read(values)
    for other in (*changed(values, form), *form.values):
        form.hold(other)


@pytest.mark.parametrize(
    "form", [LAYOUT_FORMAT, MANIFEST_FORMAT, HISTORY_FORMAT], ids=lambda form: form.schema["title"]
)
def test_the_examples_of_a_schema_are_valid_to_the_code(form: Format) -> None:
    for example in form.schema["examples"]:
        form.read(example)


@pytest.mark.parametrize("message", [*MANIFEST_NEEDS_CODE, *HISTORY_NEEDS_CODE])
def test_what_only_the_code_knows_of_a_release(message: str) -> None:
    known = MANIFEST_NEEDS_CODE | HISTORY_NEEDS_CODE
    form, values = RELEASES["a release" if message in MANIFEST_NEEDS_CODE else "a history"]
    *path, key, value = known[message]
    within = values = deepcopy(values)
    for step in path:
        within = within[step]
    within[key] = value
    assert Validator(form.schema).is_valid(values)
    with pytest.raises(ManifestError, match=f"^{message}"):
        form.read(values)


@given(releases())
@settings(max_examples=50, deadline=None)
def test_what_we_write_keeps_to_the_schema(release: Release) -> None:
    Validator(MANIFEST).validate(as_values(release))


HISTORIES = st.builds(
    lambda manifests, order, withdrawn: History(
        "blink", tuple(order.sample([*manifests], len(manifests))), manifests, tuple(sorted(withdrawn - {*manifests}))
    ),
    st.dictionaries(VERSIONS, st.sampled_from(["", "a" * 64]), min_size=1, max_size=4),
    st.randoms(),
    st.sets(VERSIONS, max_size=3),
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_release_file_much_changed_is_valid_to_both_or_none(data: st.DataObject) -> None:
    form, files = data.draw(st.sampled_from([(MANIFEST_FORMAT, releases()), (HISTORY_FORMAT, HISTORIES)]))
    form.hold(much_changed(data.draw, as_values(data.draw(files)), form))


def test_the_manifest_of_the_documentation_keeps_to_the_schema() -> None:
    page = (ROOT / "docs" / "reference" / "manifest.md").read_text()
    (text,) = re.findall(r"```json\n(\{\"schema\".*?)```", page, re.DOTALL)
    Validator(MANIFEST).validate(json.loads(text.replace("ff74…", "ff74" * 16)))

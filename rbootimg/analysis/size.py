"""Where an application's bytes are, what changed since another build, as tables and as JSON. No files.

JSON, schema version 1; every size is in bytes, every list has the largest first (regions: IRAM, DRAM, flash, other):

    {"schema": 1,
     "regions": [{"name": "IRAM", "used": 132, "available": 32768}, ...],      available: null if it is not known
     "by": {"section": [{"name", "region", "section", "size"}, ...],
            "symbol": [..., each with "estimated": true if the ELF does not state its size, and with "demangled":
                       its name in C++, where `name` is a mangled one and c++filt knew],
            "object": [...], "library": [...]},                                only with a map file
     "difference": null, or
        {"regions": [{"name", "old", "new", "change", "kind"}, ...],
         "by": {"section": [{"name", "region", "section", "old", "new", "change", "kind"}, ...],
               "symbol": [..., each with "demangled" as above], ...}}}

`kind` is added, removed, grown, shrunk, or for regions also same. Names in parentheses stand for bytes that have
no name of their own, so that each list adds up to the same total.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import RbootError
from ..layout.memory import DRAM, IRAM, OTHER, WINDOW, Usage, memory_at
from ..rom import elf
from ..rom.elf import Elf, Section, Symbol
from . import mapfile
from .mapfile import Contribution, OutputSection

SCHEMA = 1
"""The version of the JSON; it rises when a reader of the old one would go wrong."""

REGIONS = (IRAM.name, DRAM.name, WINDOW.name, OTHER)
"""The kinds of memory."""

CUTS = ("section", "symbol", "object", "library")
"""What the bytes can be counted by; the last two need a map file."""

NO_SYMBOL = "(no symbol)"
"""Literals, padding, strings: bytes that no symbol covers."""

FILL = "(fill)"
LINKER_SCRIPT = "(linker script)"
NOT_IN_MAP = "(not in the map)"
OWN_OBJECTS = "(own objects)"


@dataclass(frozen=True)
class Part:
    """The `size` bytes in a memory `region` that have a `name`; they are in the ELF's `section`.

    `estimated`: the ELF states no size, so it is that up to the next symbol or the section's end.
    """

    name: str
    region: str
    section: str
    size: int
    estimated: bool = False


@dataclass(frozen=True)
class Sizes:
    """An application's bytes per memory region, and the same bytes cut in several ways, largest first.

    `by` has a key for each of CUTS that is known. RAM counts without gaps between sections.
    """

    regions: tuple[Usage, ...]
    by: Mapping[str, tuple[Part, ...]]

    @property
    def total(self) -> int:
        return sum(region.used for region in self.regions)


@dataclass(frozen=True)
class Change:
    """The bytes of a `name` in an `old` and a `new` build; 0 where it is not there."""

    name: str
    region: str
    section: str
    old: int
    new: int

    @property
    def change(self) -> int:
        return self.new - self.old

    @property
    def kind(self) -> str:
        """One of added, removed, grown, shrunk, same."""
        if self.old == self.new:
            return "same"
        if not self.old:
            return "added"
        if not self.new:
            return "removed"
        return "grown" if self.new > self.old else "shrunk"


@dataclass(frozen=True)
class Difference:
    """What differs between two builds: all the regions, and of each cut what changed, most first."""

    regions: tuple[Change, ...]
    by: Mapping[str, tuple[Change, ...]]


def measure(data: bytes, map_text: str | None = None) -> Sizes:
    """The sizes of the application in the ELF file `data`; by object and library if its map file is given.

    Of symbols at the same address only the largest counts, and each byte counts once. Raises ElfError
    for a bad ELF, and RbootError for a map file that is none or that another link made.
    """
    app = elf.parse(data)
    sections = [Part(section.name, memory_at(section.address), section.name, section.size) for section in app.sections]
    by = {"section": _largest(sections), "symbol": _largest(_by_symbol(app, elf.symbols(data)))}
    if map_text is not None:
        outputs = _outputs(app, mapfile.parse(map_text))
        by["object"] = _largest(_by_file(outputs, _object))
        by["library"] = _largest(_by_file(outputs, _library))
    used = Counter[str]()
    for part in sections:
        used[part.region] += part.size
    available = {IRAM.name: IRAM.size, DRAM.name: DRAM.size}
    regions = tuple(Usage(name, used[name], available.get(name)) for name in REGIONS if name != OTHER or used[name])
    return Sizes(regions, MappingProxyType(by))


def compare(old: Sizes, new: Sizes) -> Difference:
    """What changed from `old` to `new`, in the cuts that both have.

    Things are the same if name and section are; equal names in a section, like those of static
    functions, count as one.
    """
    regions = (_regions(old), _regions(new))
    totals = (Change(name, name, "", *(sizes.get(name, 0) for sizes in regions)) for name in REGIONS)
    by = {cut: _changes(old.by[cut], new.by[cut]) for cut in CUTS if cut in old.by and cut in new.by}
    known = tuple(total for total in totals if total.name != OTHER or total.old or total.new)
    return Difference(known, MappingProxyType(by))


NAMES: Mapping[str, str] = MappingProxyType({})
"""What symbols are called in C++, by their mangled names, if nobody has asked: see demangle.demangle()."""


def symbol_names(sizes: Sizes, difference: Difference | None = None) -> Iterator[str]:
    """The names of all symbols, of which some may be mangled."""
    yield from (part.name for part in sizes.by["symbol"])
    if difference:
        yield from (change.name for change in difference.by["symbol"])


def as_json(sizes: Sizes, difference: Difference | None = None, names: Mapping[str, str] = NAMES) -> dict[str, object]:
    """The values for `json.dumps`, as the module's docstring describes them; `names` are those in C++."""
    return {
        "schema": SCHEMA,
        "regions": [{"name": usage.name, "used": usage.used, "available": usage.available} for usage in sizes.regions],
        "by": {
            cut: [_part_json(part) | _demangled(cut, part, names) for part in parts] for cut, parts in sizes.by.items()
        },
        "difference": _difference_json(difference, names) if difference else None,
    }


def _largest(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda part: (-part.size, part.name, part.section)))


def _by_symbol(app: Elf, symbols: Iterable[Symbol]) -> Iterator[Part]:
    in_order = sorted(app.sections, key=lambda section: section.address)
    starts = [section.address for section in in_order]
    inside = defaultdict[str, list[Symbol]](list)
    for symbol in symbols:
        section = in_order[bisect_right(starts, symbol.address) - 1]
        inside[section.name].append(symbol)
    for section in app.sections:
        parts = tuple(_in_section(section, inside[section.name]))
        yield from parts
        yield from _rest(section, parts, NO_SYMBOL)


def _in_section(section: Section, symbols: Iterable[Symbol]) -> Iterator[Part]:
    at: dict[int, Symbol] = {}
    for symbol in sorted(symbols, key=lambda symbol: (symbol.address, -symbol.size, symbol.name)):
        at.setdefault(symbol.address, symbol)
    covered = section.address
    for symbol, next_address in zip(at.values(), [*list(at)[1:], section.end]):
        start = max(symbol.address, covered)
        end = symbol.address + symbol.size
        # A label within a function is not the start of something else.
        if not symbol.size and symbol.address >= covered:
            end = next_address
        end = min(end, section.end)
        if end > start:
            yield Part(symbol.name, memory_at(section.address), section.name, end - start, not symbol.size)
            covered = end


def _rest(section: Section | OutputSection, parts: Iterable[Part | Contribution], name: str) -> Iterator[Part]:
    rest = section.size - sum(part.size for part in parts)
    if rest:
        yield Part(name, memory_at(section.address), section.name, rest)


def _outputs(app: Elf, outputs: Iterable[OutputSection]) -> tuple[OutputSection, ...]:
    """Those of the map's sections that the application has. Raises RbootError if they do not agree with it."""
    known = {output.name: output for output in outputs}
    for section in app.sections:
        output = known.get(section.name)
        if output is None or (output.address, output.size) != (section.address, section.size):
            there = f"{output.size:,} bytes at {output.address:#x}" if output else "none"
            raise RbootError(
                f"the map file is of another link: {section.name} has {section.size:,} bytes at {section.address:#x} "
                f"in the ELF, {there} in the map; link again with -Wl,-Map and give both files of that link"
            )
    return tuple(known[section.name] for section in app.sections)


# What the bytes of a contribution are counted for: the path of an archive or nothing, and that of an object or nothing.
_Owner = tuple[str, str]


def _object(part: Contribution) -> _Owner:
    return part.archive, part.file or _linker(part)


def _library(part: Contribution) -> _Owner:
    return part.archive, "" if part.archive else OWN_OBJECTS if part.file else _linker(part)


def _linker(part: Contribution) -> str:
    return FILL if part.section == mapfile.FILL else LINKER_SCRIPT


def _by_file(outputs: Iterable[OutputSection], owner: Callable[[Contribution], _Owner]) -> Iterator[Part]:
    labels = _labels({owner(part) for output in outputs for part in output.parts})
    for output in outputs:
        sizes = Counter[str]()
        for part in output.parts:
            sizes[labels[owner(part)]] += part.size
        for label, size in sizes.items():
            yield Part(label, memory_at(output.address), output.name, size)
        yield from _rest(output, output.parts, NOT_IN_MAP)


def _labels(owners: Iterable[_Owner]) -> dict[_Owner, str]:
    """A short name for each owner: file names, or whole paths where these would be the same."""
    short = {(archive, file): _label(_file_name(archive), _file_name(file)) for archive, file in owners}
    times = Counter(short.values())
    return {owner: label if times[label] == 1 else _label(*owner) for owner, label in short.items()}


def _label(archive: str, file: str) -> str:
    return f"{archive}({file})" if archive and file else archive or file


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1] or path


def _regions(sizes: Sizes) -> dict[str, int]:
    return {usage.name: usage.used for usage in sizes.regions}


def _changes(old: Iterable[Part], new: Iterable[Part]) -> tuple[Change, ...]:
    before, after = _totals(old), _totals(new)
    changes = (Change(*key, before[key], after[key]) for key in before.keys() | after.keys())
    return tuple(
        sorted(
            (change for change in changes if change.change),
            key=lambda change: (-abs(change.change), change.name, change.section, change.region),
        )
    )


def _totals(parts: Iterable[Part]) -> Counter[tuple[str, str, str]]:
    totals = Counter[tuple[str, str, str]]()
    for part in parts:
        totals[part.name, part.region, part.section] += part.size
    return totals


def _part_json(part: Part) -> dict[str, object]:
    values = {"name": part.name, "region": part.region, "section": part.section, "size": part.size}
    return {**values, "estimated": True} if part.estimated else values


def _demangled(cut: str, item: Part | Change, names: Mapping[str, str]) -> dict[str, object]:
    return {"demangled": names[item.name]} if cut == "symbol" and item.name in names else {}


def _difference_json(difference: Difference, names: Mapping[str, str]) -> dict[str, object]:
    return {
        "regions": [{"name": change.name, **_change_json(change)} for change in difference.regions],
        "by": {
            cut: [
                {"name": change.name, "region": change.region, "section": change.section}
                | _change_json(change)
                | _demangled(cut, change, names)
                for change in changes
            ]
            for cut, changes in difference.by.items()
        },
    }


def _change_json(change: Change) -> dict[str, object]:
    return {"old": change.old, "new": change.new, "change": change.change, "kind": change.kind}

"""An application's memory usage by section, symbol, object and library, and its change since another build. No files.

JSON; every size is in bytes, every list has the largest first (regions: IRAM, DRAM, flash, other):

    {"regions": [{"name": "IRAM", "used": 132, "available": 32768}, ...],      available: null if unknown
     "by": {"section": [{"name", "region", "section", "size"}, ...],
            "symbol": [..., each with "estimated": true if the ELF does not state its size, and with "demangled":
                       its name in C++, if `name` is a mangled one that c++filt knows],
            "object": [...], "library": [...]},                                only with a map file
     "difference": null, or
        {"regions": [{"name", "old", "new", "change", "kind"}, ...],
         "by": {"section": [{"name", "region", "section", "old", "new", "change", "kind"}, ...],
               "symbol": [..., each with "demangled" as above], ...}}}

`kind` is added, removed, grown or shrunk, for regions also same. Names in parentheses are for bytes without a name of
their own, so that each list adds up to the same total.
"""

from __future__ import annotations

import enum
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
from ..text import counted
from . import mapfile
from .mapfile import Contribution, OutputSection

REGIONS = (IRAM.name, DRAM.name, WINDOW.name, OTHER)
"""The memory regions."""

GROUPINGS = ("section", "symbol", "object", "library")
"""The ways to group the bytes; the last two need a map file."""

NO_SYMBOL = "(no symbol)"
"""Bytes that no symbol covers: literals, padding, strings."""

FILL = "(fill)"
LINKER_SCRIPT = "(linker script)"
NOT_IN_MAP = "(not in the map)"
OWN_OBJECTS = "(own objects)"


@dataclass(frozen=True)
class MemoryPart:
    """The `size` bytes with a `name` in a memory `region` and a `section` of the ELF.

    `estimated`: the ELF states no size, so the part extends to the next symbol or to the section's end.
    """

    name: str
    region: str
    section: str
    size: int
    estimated: bool = False


@dataclass(frozen=True)
class Sizes:
    """An application's bytes per memory region, and the same bytes grouped in several ways, largest first.

    `by` has the known GROUPINGS as keys. RAM counts without the gaps between sections.
    """

    regions: tuple[Usage, ...]
    by: Mapping[str, tuple[MemoryPart, ...]]

    @property
    def total(self) -> int:
        """The bytes in all regions."""
        return sum(region.used for region in self.regions)

    @property
    def used(self) -> dict[str, int]:
        """The used bytes of each region."""
        return {usage.name: usage.used for usage in self.regions}


class ChangeKind(enum.Enum):
    """The kind of a change; the values are those in JSON and tables."""

    ADDED = "added"
    REMOVED = "removed"
    GROWN = "grown"
    SHRUNK = "shrunk"
    SAME = "same"


@dataclass(frozen=True)
class Change:
    """The bytes of a `name` in an `old` and a `new` build; 0 in a build without it."""

    name: str
    region: str
    section: str
    old: int
    new: int

    @property
    def change(self) -> int:
        """The difference in bytes."""
        return self.new - self.old

    @property
    def kind(self) -> ChangeKind:
        """The kind of the change."""
        if self.old == self.new:
            return ChangeKind.SAME
        if not self.old:
            return ChangeKind.ADDED
        if not self.new:
            return ChangeKind.REMOVED
        return ChangeKind.GROWN if self.new > self.old else ChangeKind.SHRUNK


@dataclass(frozen=True)
class SizeDifference:
    """The difference between two builds: all regions, and the changes in each grouping, largest first."""

    regions: tuple[Change, ...]
    by: Mapping[str, tuple[Change, ...]]


def measure(data: bytes, map_text: str | None = None) -> Sizes:
    """Measure the application in the ELF file `data`; by object and library too with its map file.

    Of symbols at the same address only the largest counts, and each byte counts once. Raises ElfError
    for an invalid ELF, and RbootError for an invalid map file or one that does not match the ELF.
    """
    app = elf.parse_elf(data)
    sections = [
        MemoryPart(section.name, memory_at(section.address), section.name, section.size) for section in app.sections
    ]
    by = {"section": _largest(sections), "symbol": _largest(_by_symbol(app, elf.elf_symbols(data)))}
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


def compare_sizes(old: Sizes, new: Sizes) -> SizeDifference:
    """Return the changes from `old` to `new`, in the groupings that both have.

    Parts match by name and section; equal names in a section, like those of static functions, count as one.
    """
    regions = (old.used, new.used)
    totals = (Change(name, name, "", *(sizes.get(name, 0) for sizes in regions)) for name in REGIONS)
    by = {group: _changes(old.by[group], new.by[group]) for group in GROUPINGS if group in old.by and group in new.by}
    known = tuple(total for total in totals if total.name != OTHER or total.old or total.new)
    return SizeDifference(known, MappingProxyType(by))


NAMES: Mapping[str, str] = MappingProxyType({})
"""The default for the demangled names by mangled name: see demangle.demangle()."""


def symbol_names(sizes: Sizes, difference: SizeDifference | None = None) -> Iterator[str]:
    """Yield the names of all symbols, some of them possibly mangled."""
    yield from (part.name for part in sizes.by["symbol"])
    if difference:
        yield from (change.name for change in difference.by["symbol"])


def as_json(
    sizes: Sizes, difference: SizeDifference | None = None, names: Mapping[str, str] = NAMES
) -> dict[str, object]:
    """Return the JSON values that the module's docstring describes; `names` are the demangled names."""
    return {
        "regions": [{"name": usage.name, "used": usage.used, "available": usage.available} for usage in sizes.regions],
        "by": {
            group: [_part_json(part) | _demangled(group, part, names) for part in parts]
            for group, parts in sizes.by.items()
        },
        "difference": _difference_json(difference, names) if difference else None,
    }


def _largest(parts: Iterable[MemoryPart]) -> tuple[MemoryPart, ...]:
    return tuple(sorted(parts, key=lambda part: (-part.size, part.name, part.section)))


def _by_symbol(app: Elf, symbols: Iterable[Symbol]) -> Iterator[MemoryPart]:
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


def _in_section(section: Section, symbols: Iterable[Symbol]) -> Iterator[MemoryPart]:
    at: dict[int, Symbol] = {}
    for symbol in sorted(symbols, key=lambda symbol: (symbol.address, -symbol.size, symbol.name)):
        at.setdefault(symbol.address, symbol)
    covered = section.address
    for symbol, next_address in zip(at.values(), [*list(at)[1:], section.end]):
        start = max(symbol.address, covered)
        end = symbol.address + symbol.size
        # A label within a function does not start another part.
        if not symbol.size and symbol.address >= covered:
            end = next_address
        end = min(end, section.end)
        if end > start:
            yield MemoryPart(symbol.name, memory_at(section.address), section.name, end - start, not symbol.size)
            covered = end


def _rest(
    section: Section | OutputSection, parts: Iterable[MemoryPart | Contribution], name: str
) -> Iterator[MemoryPart]:
    rest = section.size - sum(part.size for part in parts)
    if rest:
        yield MemoryPart(name, memory_at(section.address), section.name, rest)


def _outputs(app: Elf, outputs: Iterable[OutputSection]) -> tuple[OutputSection, ...]:
    """Return the map's sections that the application has. Raises RbootError if they do not match the ELF."""
    known = {output.name: output for output in outputs}
    for section in app.sections:
        output = known.get(section.name)
        if output is None or (output.address, output.size) != (section.address, section.size):
            got = f"{counted(output.size, 'byte')} at {output.address:#x}" if output else "no such section"
            raise RbootError(
                f"map file does not match the ELF: {section.name}: expected {counted(section.size, 'byte')} at "
                f"{section.address:#x}, got {got}; use the ELF and the map file of one link"
            )
    return tuple(known[section.name] for section in app.sections)


# The owner of a contribution: the path of an archive and the path of an object, each possibly empty.
_Owner = tuple[str, str]


def _object(part: Contribution) -> _Owner:
    return part.archive, part.file or _linker(part)


def _library(part: Contribution) -> _Owner:
    return part.archive, "" if part.archive else OWN_OBJECTS if part.file else _linker(part)


def _linker(part: Contribution) -> str:
    return FILL if part.section == mapfile.FILL else LINKER_SCRIPT


def _by_file(outputs: Iterable[OutputSection], owner: Callable[[Contribution], _Owner]) -> Iterator[MemoryPart]:
    labels = _labels({owner(part) for output in outputs for part in output.parts})
    for output in outputs:
        sizes = Counter[str]()
        for part in output.parts:
            sizes[labels[owner(part)]] += part.size
        for label, size in sizes.items():
            yield MemoryPart(label, memory_at(output.address), output.name, size)
        yield from _rest(output, output.parts, NOT_IN_MAP)


def _labels(owners: Iterable[_Owner]) -> dict[_Owner, str]:
    """Return a short name for each owner: its file name, or its path where file names would be equal."""
    short = {(archive, file): _label(_file_name(archive), _file_name(file)) for archive, file in owners}
    times = Counter(short.values())
    return {owner: label if times[label] == 1 else _label(*owner) for owner, label in short.items()}


def _label(archive: str, file: str) -> str:
    return f"{archive}({file})" if archive and file else archive or file


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1] or path


def _changes(old: Iterable[MemoryPart], new: Iterable[MemoryPart]) -> tuple[Change, ...]:
    before, after = _totals(old), _totals(new)
    changes = (Change(*key, before[key], after[key]) for key in before.keys() | after.keys())
    return tuple(
        sorted(
            (change for change in changes if change.change),
            key=lambda change: (-abs(change.change), change.name, change.section, change.region),
        )
    )


def _totals(parts: Iterable[MemoryPart]) -> Counter[tuple[str, str, str]]:
    totals = Counter[tuple[str, str, str]]()
    for part in parts:
        totals[part.name, part.region, part.section] += part.size
    return totals


def _part_json(part: MemoryPart) -> dict[str, object]:
    values = {"name": part.name, "region": part.region, "section": part.section, "size": part.size}
    return {**values, "estimated": True} if part.estimated else values


def _demangled(group: str, item: MemoryPart | Change, names: Mapping[str, str]) -> dict[str, object]:
    return {"demangled": names[item.name]} if group == "symbol" and item.name in names else {}


def _difference_json(difference: SizeDifference, names: Mapping[str, str]) -> dict[str, object]:
    return {
        "regions": [{"name": change.name, **_change_json(change)} for change in difference.regions],
        "by": {
            group: [
                {"name": change.name, "region": change.region, "section": change.section}
                | _change_json(change)
                | _demangled(group, change, names)
                for change in changes
            ]
            for group, changes in difference.by.items()
        },
    }


def _change_json(change: Change) -> dict[str, object]:
    return {"old": change.old, "new": change.new, "change": change.change, "kind": change.kind.value}

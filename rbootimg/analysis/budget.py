"""Limits for the memory that an application uses: which are exceeded, and by what. No files."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..errors import LayoutError, SettingError
from ..layout.memory import DRAM, IRAM, WINDOW, Usage
from ..layout.units import parse_number
from ..rom.elf import Elf
from .size import NO_SYMBOL, Change, MemoryPart, SizeDifference, Sizes

ROM = "rom"
"""The ROM's file, which contains flash code and the initial contents of RAM."""
MEMORIES = (IRAM.name, DRAM.name, ROM)

_EXPECTED = "a size such as 30KB or a percentage such as 95%"
_EXPECTED_OR_GROWTH = "a size such as 30KB, a percentage such as 95% or a growth such as +1KB"


class LimitKind(enum.Enum):
    """What the number of a limit is."""

    SIZE = "size"
    PERCENT = "percent"
    GROWTH = "growth"


class Limit(NamedTuple):
    """A limit for one of MEMORIES: bytes, a percentage of what is available, or bytes more than in another build.

    `text` is the limit as the user wrote it.
    """

    memory: str
    kind: LimitKind
    number: float
    text: str


class Excess(NamedTuple):
    """A `limit` that is exceeded: the bytes `used`, and the `maximum` that it allows."""

    limit: Limit
    used: int
    maximum: int


def parse_limit(memory: object, value: object, with_growth: bool = False) -> Limit:
    """Parse the limit `value` of a memory, in any case: 31000, `30KB`, `95%`, and `+1KB` if `with_growth`.

    Raises SettingError.
    """
    name = next((each for each in MEMORIES if each.lower() == str(memory).lower()), None)
    if name is None:
        raise SettingError(f"unknown memory {str(memory)!r}: expected one of {', '.join(MEMORIES)}")
    text = str(value).strip()
    percentage = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)%", text)
    if percentage and float(percentage[1]) <= 100:
        return Limit(name, LimitKind.PERCENT, float(percentage[1]), text)
    is_growth = with_growth and text.startswith("+")
    try:
        number = parse_number(text.removeprefix("+") if is_growth else text)
    except LayoutError:
        expected = _EXPECTED_OR_GROWTH if with_growth else _EXPECTED
        raise SettingError(f"invalid limit {text!r} for {name}: expected {expected}") from None
    return Limit(name, LimitKind.GROWTH if is_growth else LimitKind.SIZE, number, text)


def find_excesses(limits: Iterable[Limit], usages: Iterable[Usage], before: Iterable[Usage] = ()) -> tuple[Excess, ...]:
    """Return the exceeded limits. `usages` are those of rom.pack.usage(), `before` those of another build.

    Raises SettingError for a percentage of an unknown slot, and for a growth without another build.
    """
    known, old = _by_memory(usages), _by_memory(before)
    found = (Excess(limit, known[limit.memory].used, _maximum(limit, known, old)) for limit in limits)
    return tuple(excess for excess in found if excess.used > excess.maximum)


def _by_memory(usages: Iterable[Usage]) -> dict[str, Usage]:
    return {ROM if usage.name == WINDOW.name else usage.name: usage for usage in usages}


def _maximum(limit: Limit, usages: Mapping[str, Usage], before: Mapping[str, Usage]) -> int:
    if limit.kind is LimitKind.GROWTH:
        if limit.memory not in before:
            raise SettingError(f"limit {limit.text} for {limit.memory} requires another build to compare with")
        return before[limit.memory].used + int(limit.number)
    if limit.kind is LimitKind.PERCENT:
        available = usages[limit.memory].available
        if available is None:
            raise SettingError(f"limit {limit.text} for {limit.memory} requires the slot of the ROM")
        return int(available * limit.number / 100)
    return int(limit.number)


def contributors(
    excess: Excess, app: Elf, sizes: Sizes, difference: SizeDifference | None = None
) -> tuple[tuple[str, int], ...]:
    """Return the symbols with the most bytes in the memory of an exceeded limit, with their bytes, largest first.

    For a growth these are the symbols that grew most.
    """
    sections = _sections(excess.limit.memory, app)
    found = Counter[str]()
    if excess.limit.kind is LimitKind.GROWTH and difference:
        for change in difference.by["symbol"]:
            if change.section in sections:
                found[_name(change)] += change.change
    else:
        for part in sizes.by["symbol"]:
            if part.section in sections:
                found[_name(part)] += part.size
    return tuple(item for item in sorted(found.items(), key=lambda item: (-item[1], item[0])) if item[1] > 0)


def _name(item: MemoryPart | Change) -> str:
    return f"(no symbol, {item.section})" if item.name == NO_SYMBOL else item.name


def _sections(memory: str, app: Elf) -> Sequence[str]:
    if memory == ROM:
        return [section.name for section in app.sections if section.data]
    region = IRAM if memory == IRAM.name else DRAM
    return [section.name for section in app.sections if region.start <= section.address < region.end]

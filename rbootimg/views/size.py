"""An application's memory usage, as tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from ..analysis.budget import Excess, LimitKind
from ..analysis.size import GROUPINGS, NAMES, Change, MemoryPart, SizeDifference, Sizes
from ..text import counted, printable
from .tables import Table, markdown, markdown_text, percent


def tables(
    sizes: Sizes, groupings: Iterable[str] = GROUPINGS, top: int = 20, names: Mapping[str, str] = NAMES
) -> tuple[Table, ...]:
    """Return tables of the regions and of the known `groupings`, each with the `top` largest rows; 0 for all.

    `~` marks an estimated size. `names` are the demangled names of symbols.
    """
    known = [group for group in groupings if group in sizes.by]
    found = (
        _spread_table(group, sizes, top) if group in _SPREAD else _part_table(group, sizes, top, names)
        for group in known
    )
    return (_region_table(sizes), *found)


def difference_tables(
    difference: SizeDifference, groupings: Iterable[str] = GROUPINGS, top: int = 20, names: Mapping[str, str] = NAMES
) -> tuple[Table, ...]:
    """Return the same for a difference, with the `top` largest changes."""
    total = Change("total", "", "", *(sum(sizes) for sizes in zip(*((at.old, at.new) for at in difference.regions))))
    rows = [(*_numbers(change), change.name) for change in (*difference.regions, total)]
    found = (_change_table(group, difference.by[group], top, names) for group in groupings if group in difference.by)
    return (_table((*_NUMBERS, "memory"), rows, len(_NUMBERS)), *found)


def markdown_report(
    title: str, blocks: Sequence[Table], excesses: Iterable[str], groupings: Iterable[str] = GROUPINGS
) -> str:
    """Render the tables that tables() or difference_tables() made of `groupings` for a merge request.

    The first is visible, with the `excesses` of limits before it; the others open with a click.
    """
    memory, *details = blocks
    lines = [f"### {markdown_text(title)}", *(f"**Over the limit:** {markdown_text(text)}" for text in excesses)]
    lines.append(markdown([memory]))
    for group, block in zip(groupings, details):
        lines.append(f"<details><summary>by {group}</summary>\n\n{markdown([block])}\n\n</details>")
    return "\n\n".join(lines)


def excess_text(excess: Excess, largest: Sequence[tuple[str, int]], names: Mapping[str, str] = NAMES) -> str:
    """Describe an exceeded limit and what contributes most to it; `names` are the demangled names of symbols."""
    limit = excess.limit
    over = f"{limit.memory}: {counted(excess.used, 'byte')}, {excess.used - excess.maximum:,} over the limit of "
    over += f"{excess.maximum:,}" + (f" ({limit.text})" if limit.kind is not LimitKind.SIZE else "")
    if not largest:
        return over
    sign = "+" if limit.kind is LimitKind.GROWTH else ""
    shown = (f"{printable(names.get(name, name))} {size:{sign},}" for name, size in largest[:_MAX_CONTRIBUTORS])
    return f"{over}; {'grown most' if sign else 'largest'}: {', '.join(shown)}"


_MAX_CONTRIBUTORS = 5
_SPREAD = ("object", "library")
"""Groupings with a column for each region, as a part of them is in several regions."""

_NUMBERS = ("old", "new", "change", "%")


def _region_table(sizes: Sizes) -> Table:
    rows = [
        (f"{at.used:,}", f"{at.available:,}" if at.available else "", percent(at.used, at.available), at.name)
        for at in sizes.regions
    ]
    shares = tuple(at.used / at.available if at.available else None for at in sizes.regions)
    return _table(("bytes", "of", "%", "memory"), [*rows, (f"{sizes.total:,}", "", "", "total")], 3, (*shares, None))


def _part_table(group: str, sizes: Sizes, top: int, names: Mapping[str, str]) -> Table:
    used = sizes.used
    shown, hidden = _split(sizes.by[group], top)
    rows = [
        (f"{'~' * part.estimated}{part.size:,}", percent(part.size, used[part.region]), *_location(group, part, names))
        for part in shown
    ]
    if hidden:
        rows.append((f"{sum(part.size for part in hidden):,}", "", *_more(group, len(hidden))))
    return _table(("bytes", "% of used", *_location_heads(group)), rows, numbers=2)


def _spread_table(group: str, sizes: Sizes, top: int) -> Table:
    spread = defaultdict[str, Counter[str]](Counter)
    for part in sizes.by[group]:
        spread[part.name][part.region] += part.size
    shown, hidden = _split(sorted(spread.items(), key=lambda item: (-item[1].total(), item[0])), top)
    if hidden:
        rest = Counter[str]()
        for _, by_region in hidden:
            rest.update(by_region)
        shown = [*shown, (f"({len(hidden):,} more)", rest)]
    names = [at.name for at in sizes.regions]
    rows = [
        (*(f"{at[name]:,}" for name in names), f"{at.total():,}", percent(at.total(), sizes.total), label)
        for label, at in shown
    ]
    return _table((*names, "total", "%", group), rows, numbers=len(names) + 2)


def _change_table(group: str, changes: Sequence[Change], top: int, names: Mapping[str, str]) -> Table:
    if not changes:
        return Table((), ((f"no difference by {group}",),), "<")
    shown, hidden = _split(changes, top)
    rows = [(*_numbers(change), change.kind.value, *_location(group, change, names)) for change in shown]
    if hidden:
        rest = Change("", "", "", sum(change.old for change in hidden), sum(change.new for change in hidden))
        rows.append((*_numbers(rest), "", *_more(group, len(hidden))))
    return _table((*_NUMBERS, "kind", *_location_heads(group)), rows, numbers=len(_NUMBERS))


def _numbers(change: Change) -> tuple[str, ...]:
    share = f"{100 * change.change / change.old:+.1f}" if change.old else ""
    return f"{change.old:,}", f"{change.new:,}", f"{change.change:+,}", share


def _location(group: str, item: MemoryPart | Change, names: Mapping[str, str]) -> tuple[str, ...]:
    if group == "section":
        return item.region, item.name
    return item.region, item.section, names.get(item.name, item.name) if group == "symbol" else item.name


def _location_heads(group: str) -> tuple[str, ...]:
    return ("memory", group) if group == "section" else ("memory", "section", group)


def _more(group: str, count: int) -> tuple[str, ...]:
    return (*[""] * (len(_location_heads(group)) - 1), f"({count:,} more)")


_Item = TypeVar("_Item")


def _split(items: Sequence[_Item], top: int) -> tuple[Sequence[_Item], Sequence[_Item]]:
    """Return the items with a row of their own, and those in the last row: none, or at least two."""
    return (items[:top], items[top:]) if top and len(items) > top + 1 else (items, ())


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int, shares: Sequence[float | None] = ()
) -> Table:
    """Return a table whose first `numbers` columns are right-aligned, the others left-aligned."""
    align = ">" * numbers + "<" * (len(heads) - numbers)
    return Table(tuple(heads), tuple(tuple(row) for row in rows), align, tuple(shares))

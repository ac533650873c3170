"""What takes the memory, as tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from ..analysis.size import CUTS, NAMES, Change, Difference, Part, Sizes, _regions
from .tables import Table, percent

# Text


def tables(
    sizes: Sizes, cuts: Iterable[str] = CUTS, top: int = 20, names: Mapping[str, str] = NAMES
) -> tuple[Table, ...]:
    """Tables of the regions and of those of `cuts` that are known, with the `top` largest rows of each; 0 for all.

    `~` stands before an estimated size. Symbols are called as in `names`, if they are there.
    """
    known = [cut for cut in cuts if cut in sizes.by]
    found = (_spread_table(cut, sizes, top) if cut in _SPREAD else _part_table(cut, sizes, top, names) for cut in known)
    return (_region_table(sizes), *found)


def difference_tables(
    difference: Difference, cuts: Iterable[str] = CUTS, top: int = 20, names: Mapping[str, str] = NAMES
) -> tuple[Table, ...]:
    """The same for a difference, where the `top` rows are those that changed most."""
    total = Change("total", "", "", *(sum(sizes) for sizes in zip(*((at.old, at.new) for at in difference.regions))))
    rows = [(*_numbers(change), change.name) for change in (*difference.regions, total)]
    found = (_change_table(cut, difference.by[cut], top, names) for cut in cuts if cut in difference.by)
    return (_table((*_NUMBERS, "memory"), rows, len(_NUMBERS)), *found)


_SPREAD = ("object", "library")
"""Cuts whose things are in several regions, which then are the columns."""

_NUMBERS = ("old", "new", "change", "%")


def _region_table(sizes: Sizes) -> Table:
    rows = [
        (f"{at.used:,}", f"{at.available:,}" if at.available else "", percent(at.used, at.available), at.name)
        for at in sizes.regions
    ]
    shares = tuple(at.used / at.available if at.available else None for at in sizes.regions)
    return _table(("bytes", "of", "%", "memory"), [*rows, (f"{sizes.total:,}", "", "", "total")], 3, (*shares, None))


def _part_table(cut: str, sizes: Sizes, top: int, names: Mapping[str, str]) -> Table:
    used = _regions(sizes)
    shown, hidden = _split(sizes.by[cut], top)
    rows = [
        (f"{'~' * part.estimated}{part.size:,}", percent(part.size, used[part.region]), *_place(cut, part, names))
        for part in shown
    ]
    if hidden:
        rows.append((f"{sum(part.size for part in hidden):,}", "", *_more(cut, len(hidden))))
    return _table(("bytes", "% of used", *_place_heads(cut)), rows, numbers=2)


def _spread_table(cut: str, sizes: Sizes, top: int) -> Table:
    spread = defaultdict[str, Counter[str]](Counter)
    for part in sizes.by[cut]:
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
    return _table((*names, "total", "%", cut), rows, numbers=len(names) + 2)


def _change_table(cut: str, changes: Sequence[Change], top: int, names: Mapping[str, str]) -> Table:
    if not changes:
        return Table((), ((f"no difference by {cut}",),), "<")
    shown, hidden = _split(changes, top)
    rows = [(*_numbers(change), change.kind, *_place(cut, change, names)) for change in shown]
    if hidden:
        rest = Change("", "", "", sum(change.old for change in hidden), sum(change.new for change in hidden))
        rows.append((*_numbers(rest), "", *_more(cut, len(hidden))))
    return _table((*_NUMBERS, "kind", *_place_heads(cut)), rows, numbers=len(_NUMBERS))


def _numbers(change: Change) -> tuple[str, ...]:
    share = f"{100 * change.change / change.old:+.1f}" if change.old else ""
    return f"{change.old:,}", f"{change.new:,}", f"{change.change:+,}", share


def _place(cut: str, item: Part | Change, names: Mapping[str, str]) -> tuple[str, ...]:
    if cut == "section":
        return item.region, item.name
    return item.region, item.section, names.get(item.name, item.name) if cut == "symbol" else item.name


def _place_heads(cut: str) -> tuple[str, ...]:
    return ("memory", cut) if cut == "section" else ("memory", "section", cut)


def _more(cut: str, count: int) -> tuple[str, ...]:
    return (*[""] * (len(_place_heads(cut)) - 1), f"({count:,} more)")


_Item = TypeVar("_Item")


def _split(items: Sequence[_Item], top: int) -> tuple[Sequence[_Item], Sequence[_Item]]:
    """The items to show and those that one row stands for, which are never a single one."""
    return (items[:top], items[top:]) if top and len(items) > top + 1 else (items, ())


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int, shares: Sequence[float | None] = ()
) -> Table:
    """A table whose first `numbers` columns stand to the right, the others to the left."""
    align = ">" * numbers + "<" * (len(heads) - numbers)
    return Table(tuple(heads), tuple(tuple(row) for row in rows), align, tuple(shares))

"""Compare two ROMs: are they the same application, linked for two slots?

Code linked for another slot differs only in the words with addresses of irom, each by the distance of the two link
addresses: irom is relocated in one piece, and L32R, CALL0 and J are relative. Calls between IRAM and irom use such
words too, because no slot is within CALL0's range of 512 KB from IRAM, so the linker's relaxation makes the same code
for all slots. Verified byte for byte with 50 programs of 16 bytes to 900 KB that binutils 2.40 linked for 4 slots.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from ..layout.memory import SECTOR_SIZE, WINDOW_SIZE, WINDOW_START
from .format import Rom

_WORD = 4
_LARGEST_FLASH = 0x1000000


@dataclass(frozen=True)
class RomDifference:
    """Bytes that differ between two ROMs and are not a relocated address.

    `ram_section` is the number of the RAM section, None in irom. `offset` counts from the section's start, `address` is
    the address of the bytes in the first ROM's memory: None in irom if its link address is unknown.
    """

    ram_section: int | None
    offset: int
    address: int | None
    a: bytes = field(repr=False)
    b: bytes = field(repr=False)

    @property
    def section(self) -> str:
        """The section's name in messages: `irom` or `RAM section 0`."""
        return "irom" if self.ram_section is None else f"RAM section {self.ram_section}"


@dataclass(frozen=True)
class Comparison:
    """The differences of two ROMs.

    `delta` is the second link address minus the first, `relocated` the number of words with an address of irom that
    differ by `delta`. `structure` describes differences of headers, addresses and sizes; `differences` are those of
    contents, in ROM order. If sizes differ, only the bytes that both have are compared.
    """

    delta: int
    relocated: int
    structure: tuple[str, ...]
    differences: tuple[RomDifference, ...]

    @property
    def same_app(self) -> bool:
        """Whether only relocated words differ."""
        return not self.structure and not self.differences


def compare_roms(a: Rom, b: Rom, links: tuple[int, int] | None = None) -> Comparison:
    """Compare the ROMs `a` and `b`.

    `links` are their link addresses. Without them the distance is the most frequent one of differing words that point
    into the flash window; 0 if there are none.

    A word is relocated if it differs by that distance and points into the flash window, or is a flash address in irom
    such as `&table - 0x40200000`; without `links`, any flash address in the window. It may be unaligned, as in packed
    structures. An aligned word with the flash address of a slot is relocated too.
    """
    sections = list(_sections(a, b, links[0] if links else None))
    delta = links[1] - links[0] if links else _delta(sections)
    flash = _flash_addresses(a, links[0] if links else None)
    relocated = 0
    differences: list[RomDifference] = []
    for section in sections:
        count, remaining = _split_changes(section, delta, flash)
        relocated += count
        differences += (_difference(section, start, end) for start, end in _runs(remaining))
    return Comparison(delta, relocated, tuple(_structure(a, b, delta)), tuple(differences))


@dataclass(frozen=True)
class _Section:
    """The same section of both ROMs, with the shorter size; `address` is None if unknown."""

    ram_section: int | None
    address: int | None
    a: bytes
    b: bytes

    def changed(self) -> Iterator[int]:
        """Yield the offsets of the bytes that differ."""
        # With large integers, because a loop over the bytes takes 0.1 s for 1 MB.
        mixed = int.from_bytes(self.a, "little") ^ int.from_bytes(self.b, "little")
        for match in re.finditer(rb"[^\0]", mixed.to_bytes(len(self.a), "little")):
            yield match.start()

    def words(self, offset: int) -> tuple[int, int] | None:
        """Return the words of both at `offset`; None if that is not in the section."""
        if not 0 <= offset <= len(self.a) - _WORD:
            return None
        end = offset + _WORD
        return int.from_bytes(self.a[offset:end], "little"), int.from_bytes(self.b[offset:end], "little")


def _sections(a: Rom, b: Rom, link_address: int | None) -> Iterator[_Section]:
    yield _section(None, link_address, a.irom, b.irom)
    for number, (first, second) in enumerate(zip(a.sections, b.sections)):
        yield _section(number, first.address, first.data, second.data)


def _section(ram_section: int | None, address: int | None, a: bytes, b: bytes) -> _Section:
    length = min(len(a), len(b))
    return _Section(ram_section, address, a[:length], b[:length])


def _delta(sections: list[_Section]) -> int:
    """Return the most frequent distance of aligned words that point into the flash window in both ROMs."""
    distances: Counter[int] = Counter()
    for section in sections:
        for offset, _ in groupby(section.changed(), lambda offset: offset & -_WORD):
            words = section.words(offset)
            if words and all(WINDOW_START <= word < WINDOW_START + WINDOW_SIZE for word in words):
                distances[words[1] - words[0]] += 1
    # Slots are at sectors, so other distances are not those of two slots.
    slots = [distance for distance, _ in distances.most_common() if distance % SECTOR_SIZE == 0]
    return slots[0] if slots else 0


def _flash_addresses(rom: Rom, link_address: int | None) -> range:
    """Return the flash addresses within the window that irom has or may have, including its end."""
    if link_address is None:
        return range(WINDOW_SIZE)
    start = link_address - WINDOW_START
    return range(start, start + len(rom.irom) + 1)


def _split_changes(section: _Section, delta: int, flash: range) -> tuple[int, array[int]]:
    """Count the relocated words of `section`, and return the offsets of the other bytes that differ."""
    relocated, remaining, done = 0, array("Q"), 0
    first, second, low = section.a, section.b, delta & 0xFF
    for offset in section.changed():
        if offset < done:
            continue
        # An aligned word first: nearly all are aligned.
        starts = (offset & -_WORD, *range(offset - _WORD + 1, offset + 1))
        start = next(
            (
                start
                for start in starts
                if start >= done
                and (second[start] - first[start]) & 0xFF == low  # a fast check that rejects most
                and (_is_relocated(words := section.words(start), delta, flash) or _is_slot(start, words, delta))
            ),
            None,
        )
        if start is None:
            remaining.append(offset)
        else:
            relocated += 1
            done = start + _WORD
            while remaining and remaining[-1] >= start:
                remaining.pop()
    return relocated, remaining


def _is_relocated(words: tuple[int, int] | None, delta: int, flash: range) -> bool:
    if words is None or words[1] - words[0] != delta:
        return False
    return all(WINDOW_START <= word < WINDOW_START + WINDOW_SIZE for word in words) or words[0] in flash


def _is_slot(offset: int, words: tuple[int, int] | None, delta: int) -> bool:
    """Whether the words at `offset` are the flash address of a slot's start or end.

    The compiler makes it from `_irom0_text_start - 0x40200010`. The word must be aligned and a multiple of the sector
    size, because two bytes of a string can differ by the same distance.
    """
    if words is None or offset % _WORD or words[1] - words[0] != delta:
        return False
    return all(word % SECTOR_SIZE == 0 and 0 < word <= _LARGEST_FLASH for word in words)


def _runs(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end of the runs of `offsets`; a gap has at least one word."""
    start = end = -_WORD
    for offset in offsets:
        if offset - end >= _WORD:
            if end > start:
                yield start, end
            start = offset
        end = offset + 1
    if end > start:
        yield start, end


def _difference(section: _Section, start: int, end: int) -> RomDifference:
    address = None if section.address is None else section.address + start
    return RomDifference(section.ram_section, start, address, section.a[start:end], section.b[start:end])


def _structure(a: Rom, b: Rom, delta: int) -> Iterator[str]:
    if a.entry != b.entry and not _is_relocated((a.entry, b.entry), delta, range(0)):
        yield f"entry point: {a.entry:#x} in the first, {b.entry:#x} in the second"
    if a.params != b.params:
        yield f"flash parameters: {a.params.describe()} in the first, {b.params.describe()} in the second"
    if a.irom_checksum != b.irom_checksum and not (_irom_is_neutral(a) or _irom_is_neutral(b)):
        with_irom = "first" if a.irom_checksum else "second"
        yield f"only the {with_irom} has irom in its checksum"
    if a.esptool_crc != b.esptool_crc:
        yield f"only the {'first' if a.esptool_crc else 'second'} ends with esptool's CRC"
    if len(a.irom) != len(b.irom):
        yield f"irom: {len(a.irom):,} bytes in the first, {len(b.irom):,} in the second"
    if len(a.sections) != len(b.sections):
        yield f"RAM sections: {len(a.sections)} in the first, {len(b.sections)} in the second"
    for number, (first, second) in enumerate(zip(a.sections, b.sections)):
        if first.address != second.address:
            yield f"RAM section {number}: address {first.address:#x} in the first, {second.address:#x} in the second"
        if len(first.data) != len(second.data):
            yield (f"RAM section {number}: {len(first.data):,} bytes in the first, {len(second.data):,} in the second")


def _irom_is_neutral(rom: Rom) -> bool:
    """Whether irom does not change the checksum, so that both kinds are the same."""
    return rom._replace(irom_checksum=not rom.irom_checksum).checksum == rom.checksum

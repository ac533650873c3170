"""Which slot a bare ROM was linked for. No files.

A ROM stores no link address, but its literals, jump tables and pointers do: aligned words that point
into the flash window, to places in irom. For each address at which the ROM can have been linked we
ask what stands where those words point. Under the right one they hit starts: of functions, of
strings, of the code behind a jump; under a wrong one they hit anything. How often the image has a
start anywhere tells what a hit is worth.

The places come from the Xtensa ISA (the encodings of L32R, CALLX0, J, RET, RET.N and ADDI) and from what
GCC and the GNU assembler for the lx106 make: functions on 4 bytes, behind their literals.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import LayoutError
from ..layout.memory import DRAM, IRAM, IROM_OFFSET, SECTOR_SIZE, WINDOW_SIZE, WINDOW_START
from .format import Rom

_RAM_SIZE = DRAM.size + IRAM.size
_WINDOW_END = WINDOW_START + WINDOW_SIZE
_NOTHING_END = 0x41000000
_WORD = 4

# What stands at an offset of irom. Where several are true, the one that _places() writes last counts. What follows a
# jump has the bit of what follows a zero.
_PLAIN, _AFTER_ZERO, _AFTER_LITERALS, _AFTER_JUMP, _AFTER_RETURN, _PROLOGUE, _IROM_START = range(7)

# How often a real pointer finds each place; measured on linked C, on the C library and on an SDK
# application of 330 KB. First for targets on 4 bytes (mostly functions and data), then for the
# others (jump tables, strings). Only the order of magnitude matters.
_SHARES_ALIGNED = (0.13, 0.12, 0.20, 0.06, 0.17, 0.28, 0.04)
_SHARES_UNALIGNED = (0.28, 0.40, 0.01, 0.20, 0.10, 0.01, 0.0)

_CALL_DOUBT = 0.01
"""The share of called words that are no pointers to code after all; a byte pattern of 28 bits proves them."""
_LOAD_DOUBT = 0.05
"""The same for words that an l32r in RAM loads, where nothing shows more."""
_LEAST_DOUBT = 0.2
"""The same for any other word in the window."""
_MOST_DOUBT = 0.95

_MARGIN = 7.0
"""The right address must be 2 ** 7 times as likely as all others together."""
_LAYOUT_PRIOR = 5.0
"""An address of the layout is 2 ** 5 times as likely as one that is not, before a word was read."""
_DECOY_MARGIN = 2.0
"""And 2 ** 2 times as likely as the best of all the decoys, of which there are many more than slots."""
_BESIDE_MARGIN = 10.0
"""An address that no slot has must be 2 ** 10 times as likely as the slot's beside it to be believed."""
_MOST_TARGETS = 256
_TARGETS_BESIDE = 64
"""More are not needed, and the time grows with them."""

# Links that cannot be: no sector-aligned slot has them. If one of them explains the words better
# than any slot does, then the words say nothing, or the ROM is linked for no slot. The first is that
# of an irom without the two headers before it.
_DECOY_SHIFTS = (-IROM_OFFSET, *range(0x104, SECTOR_SIZE, 0x244))


class Evidence(NamedTuple):
    """What speaks for `link_address`: of the distinct words that point into the flash window,
    `inside` point into its irom, `starts` of them to where a function, a string or the like starts.
    """

    link_address: int
    inside: int
    starts: int

    @property
    def slot_address(self) -> int:
        """The flash address of the slot, within a megabyte: 0x102000 has the link address of 0x2000."""
        return self.link_address - WINDOW_START - IROM_OFFSET


class Detection(NamedTuple):
    """What a ROM was linked for: `link_address`, or None if that cannot be told, and why.

    `words` is how many distinct words point into the flash window; `evidence` has the addresses that
    were asked for, else the likeliest few, likeliest first. `reason` is a clause for people.
    """

    link_address: int | None
    words: int
    evidence: tuple[Evidence, ...]
    reason: str

    @property
    def own(self) -> Evidence | None:
        """The evidence for `link_address`, if it was asked for."""
        return next((found for found in self.evidence if found.link_address == self.link_address), None)


def find_link_address(rom: Rom, candidates: Sequence[int] | None = None) -> Detection:
    """The link address of `rom`, among those of all sector-aligned slots.

    `candidates` are the link addresses of the layout's slots. They are likelier than others, but
    words that clearly say another address are believed: the answer may be none of `candidates`.
    An address stands for every slot that has it, as 0x2000 and 0x102000 do. About 25 ms for a
    ROM of 1 MB. Raises LayoutError for a candidate that no slot has.
    """
    known = tuple(dict.fromkeys(candidates or ()))
    for address in known:
        _check(address)
    # What no chip holds is not looked through: a file can be as large as it likes.
    if len(rom.irom) > WINDOW_SIZE - IROM_OFFSET:
        return Detection(None, 0, (), "its irom is larger than any slot")
    if sum(len(section.data) for section in rom.sections) > _RAM_SIZE:
        return Detection(None, 0, (), "its RAM sections are larger than the RAM")
    # A ROM must not straddle the window's end: rBoot 1.4.2, readme.md.
    possible = range(WINDOW_START + IROM_OFFSET, _WINDOW_END - len(rom.irom) + 1, SECTOR_SIZE)
    places = _places(rom.irom)
    targets = _targets(rom)
    weighed = _weighed(targets, places)
    scores = dict(zip(possible, _scores(weighed, places, possible)))
    for address in scores.keys() & set(known):
        scores[address] += _LAYOUT_PRIOR
    ranked = sorted(scores, key=lambda address: -scores[address])
    link_address, reason = _decide(scores, ranked, weighed, places)
    shown = sorted(known, key=lambda address: -scores.get(address, -math.inf)) or ranked[:3]
    evidence = tuple(_evidence(address, targets, places) for address in shown)
    if link_address is not None:
        own = _evidence(link_address, targets, places)
        reason = (
            f"of {_words_said(len(targets))} into the flash window, {own.inside} point into its irom "
            f"and {own.starts} of them to where something starts"
        )
    return Detection(link_address, len(targets), evidence, reason)


def _decide(
    scores: dict[int, float], ranked: Sequence[int], weighed: _Weighed, places: bytes
) -> tuple[int | None, str]:
    """The link address if one is clearly the likeliest, else None and why not."""
    if not ranked:
        return None, "its irom is larger than any slot"
    if not weighed:
        return None, "no word points into the flash window"
    best = ranked[0]
    if scores[best] - _log2_sum([scores[address] for address in ranked[1:]]) < _MARGIN:
        several = " and ".join(f"{address:#x}" for address in ranked[:2])
        return None, f"the words that point into the flash window fit several addresses, {several} among them"
    # In less than a sector the range of the words tells the slot, and decoys have that too: only in a
    # larger irom, where starts must tell it, is a decoy that does nearly as well a sign of chance.
    by_chance = len(places) > SECTOR_SIZE and scores[best] < _best_decoy(weighed, places) + _DECOY_MARGIN
    if by_chance or _gain_beside(weighed, places, best) >= _BESIDE_MARGIN:
        return None, "the words that point into the flash window fit addresses better that no slot has"
    return best, ""


def _check(address: int) -> None:
    offset = address - WINDOW_START - IROM_OFFSET
    if not 0 <= offset < WINDOW_SIZE or offset % SECTOR_SIZE:
        raise LayoutError(
            f"{address:#x} is no link address of a slot; it is {WINDOW_START:#x} + the slot's address within "
            f"its megabyte + {IROM_OFFSET:#x}"
        )


def _words_said(count: int) -> str:
    return "1 word that points" if count == 1 else f"{count} words that point"


# The words


def _targets(rom: Rom) -> dict[int, float]:
    """Where words point to in the flash window -> the doubt that they are pointers, surest first."""
    ram = [(section.address, section.data) for section in rom.sections]
    called = {word for address, data in [(0, rom.irom), *ram] for word in _called(address, data)}
    loaded = {word for address, data in ram for word in _loaded(address, data)}
    doubts = {word: _CALL_DOUBT for word in sorted(called) if _in_window(word)}
    for words, least in (
        (loaded, _LOAD_DOUBT),
        ({word for _, data in ram for word in _words(data)}, _LEAST_DOUBT),
        (set(_words(rom.irom)), _LEAST_DOUBT),
    ):
        inside = sorted(filter(_in_window, words))
        # No memory is at 0x40300000 to 0x40ffffff: words there are no pointers, and show how many of
        # those in the window are none.
        astray = sum(_WINDOW_END <= word < _NOTHING_END for word in words)
        chance = astray * WINDOW_SIZE / (_NOTHING_END - _WINDOW_END)
        doubt = min(max(chance / (len(inside) or 1), least), _MOST_DOUBT)
        for word in inside:
            doubts.setdefault(word, doubt)
    return dict(sorted(doubts.items(), key=lambda item: item[1]))


def _in_window(word: int) -> bool:
    return WINDOW_START <= word < _WINDOW_END


def _words(data: bytes) -> Iterator[int]:
    """The aligned words from 0x40000000 to 0x40ffffff in `data`."""
    for match in re.finditer(rb"\x40", data[_WORD - 1 :: _WORD]):  # much faster than a loop over all words
        yield int.from_bytes(data[match.start() * _WORD : match.end() * _WORD], "little")


_LOAD = re.compile(rb"[\x01\x11\x21\x31\x41\x51\x61\x71\x81\x91\xa1\xb1\xc1\xd1\xe1\xf1]")
_LOAD_SIZE = 3
# callx0 ax. A pattern that starts with a byte is found much faster than one that starts with any of several.
_CALL = re.compile(rb"\xc0([\x00-\x0f])\x00")


def _called(address: int, data: bytes) -> Iterator[int]:
    """The literals in `data`, loaded at `address`, whose values the code in it calls."""
    # l32r ax, literal; callx0 ax: what the assembler makes of a call with -mlongcalls.
    for match in _CALL.finditer(data, _LOAD_SIZE):
        load = match.start() - _LOAD_SIZE
        literal = _literal(address, data, load)
        if data[load] == match[1][0] << 4 | 1 and 0 <= literal <= len(data) - _WORD:
            yield int.from_bytes(data[literal : literal + _WORD], "little")


def _loaded(address: int, data: bytes) -> Iterator[int]:
    """The literals in `data`, loaded at `address`, that the code in it loads."""
    for match in _LOAD.finditer(data, 0, max(0, len(data) - 2)):
        literal = _literal(address, data, match.start())
        if 0 <= literal <= len(data) - _WORD:
            yield int.from_bytes(data[literal : literal + _WORD], "little")


def _literal(address: int, data: bytes, offset: int) -> int:
    """The offset of the literal that the l32r at `offset` loads: up to 256 KB before it."""
    distance = int.from_bytes(data[offset + 1 : offset + 3], "little") - 0x10000
    return ((address + offset + 3) & ~3) - address + distance * _WORD


# The places

_TO_AFTER_ZERO = bytes(_PLAIN if byte else _AFTER_ZERO for byte in range(256))
_TO_AFTER_JUMP = bytes(_PLAIN if byte & 0x3F != 0x06 else _AFTER_JUMP for byte in range(256))  # j
_JUMP_SIZE = 3
_BLOCK = 0x8000
# An l32r of a literal at most 1 KB before it, from its last byte on.
_NEAR_LOAD = re.compile(rb"\xff(?<=%s.\xff)" % _LOAD.pattern, re.DOTALL)
_RETURNS = (re.compile(rb"\x0d\xf0"), re.compile(rb"\x80\x00\x00"))  # ret.n, ret
_PROLOGUES = re.compile(rb"\x12\xc1[\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0]")  # addi a1, a1, -n; n a multiple of 16


def _places(irom: bytes) -> bytes:
    """What stands at each offset of `irom`, a byte for each."""
    places = bytearray(len(irom) + _WORD)  # what the last instructions mark is behind the end
    # As big integers, because a loop over all bytes takes a second; in blocks that stay in the cache.
    for start in range(0, len(irom), _BLOCK):
        block = irom[start : start + _BLOCK]
        marks = int.from_bytes(block.translate(_TO_AFTER_ZERO), "little") << 8
        marks |= int.from_bytes(block.translate(_TO_AFTER_JUMP), "little") << 8 * _JUMP_SIZE
        marks |= int.from_bytes(places[start : start + _WORD], "little")  # of the block before
        places[start : start + len(block) + _WORD] = marks.to_bytes(len(block) + _WORD, "little")
    # From here on the later one stays.
    literals = {_literal(0, irom, match.end() - _LOAD_SIZE) for match in _NEAR_LOAD.finditer(irom)}
    for literal in literals:
        if literal >= 0 and literal + _WORD not in literals:
            places[literal + _WORD] = _AFTER_LITERALS
    for pattern in _RETURNS:
        for match in pattern.finditer(irom):
            end = match.end()
            places[end] = places[end + -end % _WORD] = _AFTER_RETURN
    for match in _PROLOGUES.finditer(irom):
        places[match.start()] = _PROLOGUE
    places[0] = _IROM_START
    del places[len(irom) :]
    return bytes(places)


# The scores

_Weighed = list[tuple[int, list[float]]]
"""Targets, each with log2 of its likelihood ratio to chance by the place it hits; the last is for none."""


def _weighed(targets: dict[int, float], places: bytes) -> _Weighed:
    """All `targets` with their weights, or if they are many some that are spread over irom."""
    step = max(1, -(-len(targets) // _MOST_TARGETS))
    sample = list(targets)[::step]
    kinds = {(target % _WORD == 0, targets[target]) for target in sample}
    aligned = _counts(places[::_WORD])
    others = [count - on_words for count, on_words in zip(_counts(places), aligned)]
    sides = {True: (aligned, _SHARES_ALIGNED), False: (others, _SHARES_UNALIGNED)}
    tables = {(side, doubt): _weights(len(places), *sides[side], doubt) for side, doubt in kinds}
    return [(target, tables[target % _WORD == 0, targets[target]]) for target in sample]


def _counts(places: bytes) -> list[int]:
    """How often each place is there."""
    marked = places.translate(None, bytes((_PLAIN,)))  # few, so that counting takes no time
    return [len(places) - len(marked), *(marked.count(place) for place in range(_PLAIN + 1, _IROM_START + 1))]


def _weights(size: int, counts: Sequence[int], shares: Sequence[float], doubt: float) -> list[float]:
    """The weights of a target. Chance is a word that points anywhere into the window."""
    focus = sum(counts) * WINDOW_SIZE / size
    # Half a place more than there are, so that a place that is nowhere else proves no more than it can.
    ratios = [share * focus / (count + 0.5) for share, count in zip(shares, counts)]
    return [math.log2(doubt + (1 - doubt) * ratio) for ratio in (*ratios, 0.0)]


def _scores(weighed: _Weighed, places: bytes, addresses: range) -> list[float]:
    """For each of the `addresses` the sum of what the targets weigh under it."""
    if not addresses:
        return []
    gains = [0.0] * len(addresses)
    for target, weights in weighed:
        # The offset in irom that the target has under the first address falls by a step for each following.
        offset = target - addresses[0]
        outside = max(0, (offset - len(places)) // addresses.step + 1)
        offset -= outside * addresses.step
        if offset >= 0 and outside < len(gains):
            over = [weight - weights[-1] for weight in weights]
            last = offset - (len(gains) - outside) * addresses.step
            hit = places[offset : last if last >= 0 else None : -addresses.step]
            part = slice(outside, outside + len(hit))
            gains[part] = map(operator.add, gains[part], map(over.__getitem__, hit))
    nowhere = sum(weights[-1] for _, weights in weighed)
    return [nowhere + gain for gain in gains]


def _gain_beside(weighed: _Weighed, places: bytes, address: int) -> float:
    """By how much the best decoy within half a sector of `address` scores above it, for some of the targets."""
    some = weighed[:: -(-len(weighed) // _TARGETS_BESIDE)]
    beside = range(address - SECTOR_SIZE // 2, address + SECTOR_SIZE // 2, _WORD)
    scores = _scores(some, places, beside)
    own = scores.pop(beside.index(address))
    return max(scores) - own


def _best_decoy(weighed: _Weighed, places: bytes) -> float:
    first = WINDOW_START + IROM_OFFSET
    last = _WINDOW_END - len(places) + 1
    return max(
        max(_scores(weighed, places, range(first + shift, last, SECTOR_SIZE)), default=-math.inf)
        for shift in _DECOY_SHIFTS
    )


def _log2_sum(scores: Sequence[float]) -> float:
    """log2 of the sum of 2 ** score; the largest is taken out so that none overflows."""
    top = max(scores, default=-math.inf)
    return top if top == -math.inf else top + math.log2(sum(2 ** (score - top) for score in scores))


def _evidence(address: int, targets: dict[int, float], places: bytes) -> Evidence:
    hit = [places[target - address] for target in targets if 0 <= target - address < len(places)]
    return Evidence(address, len(hit), sum(place != _PLAIN for place in hit))

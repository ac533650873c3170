"""Infer the slot that a bare ROM was linked for.

A ROM does not store its link address, but its literals, jump tables and pointers contain it: aligned words that point
into the flash window, at irom. For each possible link address, the targets of these words are classified. With the
right address they are starts of functions, of strings, of the code after a jump; with a wrong one they are arbitrary.
The frequency of such starts in the image is the weight of a hit.

The classes are based on the Xtensa ISA (encodings of L32R, CALLX0, J, RET, RET.N and ADDI) and on the output of GCC and
the GNU assembler for the lx106: functions are aligned to 4 bytes, after their literals.
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

# The class of an offset of irom. If several apply, _classify() writes the one to use last. The value for "after jump"
# contains the bit for "after zero".
_PLAIN, _AFTER_ZERO, _AFTER_LITERALS, _AFTER_JUMP, _AFTER_RETURN, _PROLOGUE, _IROM_START = range(7)

# The share of each class among targets of real pointers, measured with linked C, the C library and an SDK application
# of 330 KB: for targets aligned to 4 bytes (mostly functions and data), and for others (jump tables, strings). Only the
# order of magnitude matters.
_SHARES_ALIGNED = (0.13, 0.12, 0.20, 0.06, 0.17, 0.28, 0.04)
_SHARES_UNALIGNED = (0.28, 0.40, 0.01, 0.20, 0.10, 0.01, 0.0)

_CALL_DOUBT = 0.01
"""The share of called words that are not pointers to code; they are found by a pattern of 28 bits."""
_LOAD_DOUBT = 0.05
"""The same for words that an l32r in RAM loads."""
_MIN_DOUBT = 0.2
"""The same for any other word in the window."""
_MAX_DOUBT = 0.95

_MARGIN = 7.0
"""The result must be 2 ** 7 times as likely as all other addresses together."""
_LAYOUT_PRIOR = 5.0
"""The prior of an address of the layout is 2 ** 5 times that of another address."""
_DECOY_MARGIN = 2.0
"""The result must be 2 ** 2 times as likely as the best of the decoys, which outnumber the slots."""
_NEIGHBOUR_MARGIN = 10.0
"""An impossible address near the result disproves it if it is 2 ** 10 times as likely."""
_MAX_TARGETS = 256
_MAX_NEIGHBOUR_TARGETS = 64
"""Limits of the words that are used: the time grows with them, the result does not improve."""

# Impossible link addresses, which no slot has. If one of them explains the words better than any slot, the words are
# not significant or the ROM is not linked for a slot. The first is that of irom without the two headers.
_DECOY_SHIFTS = (-IROM_OFFSET, *range(0x104, SECTOR_SIZE, 0x244))


class Evidence(NamedTuple):
    """The evidence for `link_address`.

    Of the distinct words that point into the flash window, `inside` point into irom, `starts` of them to the start of a
    function, string or the like.
    """

    link_address: int
    inside: int
    starts: int

    @property
    def slot_address(self) -> int:
        """The flash address of the slot within its megabyte: 0x2000 and 0x102000 have the same link address."""
        return self.link_address - WINDOW_START - IROM_OFFSET


class Detection(NamedTuple):
    """The inferred `link_address` of a ROM, None if it is unknown, and the `reason` as text.

    `words` is the number of distinct words that point into the flash window; `evidence` is that for the candidates, or
    without candidates for the three likeliest addresses, likeliest first.
    """

    link_address: int | None
    words: int
    evidence: tuple[Evidence, ...]
    reason: str

    @property
    def own(self) -> Evidence | None:
        """The evidence for `link_address`, if it is in `evidence`."""
        return next((found for found in self.evidence if found.link_address == self.link_address), None)


def find_link_address(rom: Rom, candidates: Sequence[int] | None = None) -> Detection:
    """Infer the link address of `rom` among those of all sector-aligned slots, in about 25 ms for 1 MB.

    `candidates` are the link addresses of the layout's slots. Their prior is higher, but the result may be another
    address. Slots in different megabytes have the same link address, such as 0x2000 and 0x102000. Raises LayoutError
    for a candidate that no slot has.
    """
    known = tuple(dict.fromkeys(candidates or ()))
    for address in known:
        _check(address)
    # Limits the time: a file can have any size.
    if len(rom.irom) > WINDOW_SIZE - IROM_OFFSET:
        return Detection(None, 0, (), "irom is larger than any slot")
    if sum(len(section.data) for section in rom.sections) > _RAM_SIZE:
        return Detection(None, 0, (), "RAM sections are larger than the RAM")
    # A ROM must not straddle the window's end: rBoot 1.4.2, readme.md.
    possible = range(WINDOW_START + IROM_OFFSET, _WINDOW_END - len(rom.irom) + 1, SECTOR_SIZE)
    classes = _classify(rom.irom)
    targets = _targets(rom)
    weighted = _weight_targets(targets, classes)
    scores = dict(zip(possible, _scores(weighted, classes, possible)))
    for address in scores.keys() & set(known):
        scores[address] += _LAYOUT_PRIOR
    ranked = sorted(scores, key=lambda address: -scores[address])
    link_address, reason = _decide(scores, ranked, weighted, classes)
    listed = sorted(known, key=lambda address: -scores.get(address, -math.inf)) or ranked[:3]
    evidence = tuple(_evidence(address, targets, classes) for address in listed)
    if link_address is not None:
        own = _evidence(link_address, targets, classes)
        reason = (
            f"of {_count_words(len(targets))} into the flash window, {own.inside} point into irom "
            f"and {own.starts} of them to the start of a function or of data"
        )
    return Detection(link_address, len(targets), evidence, reason)


def _decide(
    scores: dict[int, float], ranked: Sequence[int], weighted: _Weighted, classes: bytes
) -> tuple[int | None, str]:
    """Return the link address if one is clearly the likeliest, otherwise None and the reason."""
    if not ranked:
        return None, "irom is larger than any slot"
    if not weighted:
        return None, "no word points into the flash window"
    best = ranked[0]
    if scores[best] - _log2_sum([scores[address] for address in ranked[1:]]) < _MARGIN:
        several = " and ".join(f"{address:#x}" for address in ranked[:2])
        return None, f"ambiguous: words that point into the flash window fit several addresses, e.g. {several}"
    # If irom is smaller than a sector, the range of the words determines the slot, for decoys too. Only in a larger
    # irom, where the classes must determine it, a decoy with nearly the same score indicates chance.
    by_chance = len(classes) > SECTOR_SIZE and scores[best] < _best_decoy(weighted, classes) + _DECOY_MARGIN
    if by_chance or _neighbour_gain(weighted, classes, best) >= _NEIGHBOUR_MARGIN:
        return None, "words that point into the flash window fit an address better that no slot has"
    return best, ""


def _check(address: int) -> None:
    offset = address - WINDOW_START - IROM_OFFSET
    if not 0 <= offset < WINDOW_SIZE or offset % SECTOR_SIZE:
        raise LayoutError(
            f"invalid link address {address:#x}: expected {WINDOW_START:#x} + the slot's address within its megabyte "
            f"+ {IROM_OFFSET:#x}"
        )


def _count_words(count: int) -> str:
    return "1 word that points" if count == 1 else f"{count} words that point"


# The words


def _targets(rom: Rom) -> dict[int, float]:
    """Map targets in the flash window to the doubt that the words are pointers, least doubtful first."""
    ram = [(section.address, section.data) for section in rom.sections]
    called = {word for address, data in [(0, rom.irom), *ram] for word in _called_words(address, data)}
    loaded = {word for address, data in ram for word in _loaded_words(address, data)}
    doubts = {word: _CALL_DOUBT for word in sorted(called) if _in_window(word)}
    for words, min_doubt in (
        (loaded, _LOAD_DOUBT),
        ({word for _, data in ram for word in _words(data)}, _MIN_DOUBT),
        (set(_words(rom.irom)), _MIN_DOUBT),
    ):
        inside = sorted(filter(_in_window, words))
        # There is no memory at 0x40300000 to 0x40ffffff: words there are not pointers, and their number shows how many
        # words in the window are not pointers either.
        outside = sum(_WINDOW_END <= word < _NOTHING_END for word in words)
        chance = outside * WINDOW_SIZE / (_NOTHING_END - _WINDOW_END)
        doubt = min(max(chance / (len(inside) or 1), min_doubt), _MAX_DOUBT)
        for word in inside:
            doubts.setdefault(word, doubt)
    return dict(sorted(doubts.items(), key=lambda item: item[1]))


def _in_window(word: int) -> bool:
    return WINDOW_START <= word < _WINDOW_END


def _words(data: bytes) -> Iterator[int]:
    """Yield the aligned words from 0x40000000 to 0x40ffffff in `data`."""
    for match in re.finditer(rb"\x40", data[_WORD - 1 :: _WORD]):  # much faster than a loop over all words
        yield int.from_bytes(data[match.start() * _WORD : match.end() * _WORD], "little")


_LOAD = re.compile(rb"[\x01\x11\x21\x31\x41\x51\x61\x71\x81\x91\xa1\xb1\xc1\xd1\xe1\xf1]")
_LOAD_SIZE = 3
# callx0 ax. A pattern that starts with a byte is found much faster than one that starts with any of several.
_CALL = re.compile(rb"\xc0([\x00-\x0f])\x00")


def _called_words(address: int, data: bytes) -> Iterator[int]:
    """Yield the values of literals that the code in `data`, loaded at `address`, calls."""
    # l32r ax, literal; callx0 ax: a call with -mlongcalls.
    for match in _CALL.finditer(data, _LOAD_SIZE):
        load = match.start() - _LOAD_SIZE
        literal = _literal(address, data, load)
        if data[load] == match[1][0] << 4 | 1 and 0 <= literal <= len(data) - _WORD:
            yield int.from_bytes(data[literal : literal + _WORD], "little")


def _loaded_words(address: int, data: bytes) -> Iterator[int]:
    """Yield the values of literals that the code in `data`, loaded at `address`, loads."""
    for match in _LOAD.finditer(data, 0, max(0, len(data) - 2)):
        literal = _literal(address, data, match.start())
        if 0 <= literal <= len(data) - _WORD:
            yield int.from_bytes(data[literal : literal + _WORD], "little")


def _literal(address: int, data: bytes, offset: int) -> int:
    """Return the offset of the literal that the l32r at `offset` loads: up to 256 KB before it."""
    distance = int.from_bytes(data[offset + 1 : offset + 3], "little") - 0x10000
    return ((address + offset + 3) & ~3) - address + distance * _WORD


# The classes

_TO_AFTER_ZERO = bytes(_PLAIN if byte else _AFTER_ZERO for byte in range(256))
_TO_AFTER_JUMP = bytes(_PLAIN if byte & 0x3F != 0x06 else _AFTER_JUMP for byte in range(256))  # j
_JUMP_SIZE = 3
_BLOCK = 0x8000
# An l32r of a literal at most 1 KB before it, from its last byte on.
_NEAR_LOAD = re.compile(rb"\xff(?<=%s.\xff)" % _LOAD.pattern, re.DOTALL)
_RETURNS = (re.compile(rb"\x0d\xf0"), re.compile(rb"\x80\x00\x00"))  # ret.n, ret
_PROLOGUES = re.compile(rb"\x12\xc1[\x80\x90\xa0\xb0\xc0\xd0\xe0\xf0]")  # addi a1, a1, -n; n a multiple of 16


def _classify(irom: bytes) -> bytes:
    """Return a byte for each offset of `irom`: its class."""
    classes = bytearray(len(irom) + _WORD)  # the last instructions mark offsets after the end
    # With large integers, because a loop over all bytes takes a second; in blocks that fit the cache.
    for start in range(0, len(irom), _BLOCK):
        block = irom[start : start + _BLOCK]
        marks = int.from_bytes(block.translate(_TO_AFTER_ZERO), "little") << 8
        marks |= int.from_bytes(block.translate(_TO_AFTER_JUMP), "little") << 8 * _JUMP_SIZE
        marks |= int.from_bytes(classes[start : start + _WORD], "little")  # of the block before
        classes[start : start + len(block) + _WORD] = marks.to_bytes(len(block) + _WORD, "little")
    # From here on, later writes take precedence.
    literals = {_literal(0, irom, match.end() - _LOAD_SIZE) for match in _NEAR_LOAD.finditer(irom)}
    for literal in literals:
        if literal >= 0 and literal + _WORD not in literals:
            classes[literal + _WORD] = _AFTER_LITERALS
    for pattern in _RETURNS:
        for match in pattern.finditer(irom):
            end = match.end()
            classes[end] = classes[end + -end % _WORD] = _AFTER_RETURN
    for match in _PROLOGUES.finditer(irom):
        classes[match.start()] = _PROLOGUE
    classes[0] = _IROM_START
    del classes[len(irom) :]
    return bytes(classes)


# The scores

_Weighted = list[tuple[int, list[float]]]
"""Targets with log2 of their likelihood ratio to chance, by class; the last one is for a target outside irom."""


def _weight_targets(targets: dict[int, float], classes: bytes) -> _Weighted:
    """Return the `targets` with their weights, a sample if there are many."""
    step = max(1, -(-len(targets) // _MAX_TARGETS))
    sample = list(targets)[::step]
    kinds = {(target % _WORD == 0, targets[target]) for target in sample}
    aligned = _counts(classes[::_WORD])
    others = [count - on_words for count, on_words in zip(_counts(classes), aligned)]
    sides = {True: (aligned, _SHARES_ALIGNED), False: (others, _SHARES_UNALIGNED)}
    tables = {(side, doubt): _weights(len(classes), *sides[side], doubt) for side, doubt in kinds}
    return [(target, tables[target % _WORD == 0, targets[target]]) for target in sample]


def _counts(classes: bytes) -> list[int]:
    """Count the offsets of each class."""
    marked = classes.translate(None, bytes((_PLAIN,)))  # few, so that counting is fast
    return [len(classes) - len(marked), *(marked.count(kind) for kind in range(_PLAIN + 1, _IROM_START + 1))]


def _weights(size: int, counts: Sequence[int], shares: Sequence[float], doubt: float) -> list[float]:
    """Return the weights of a target by class. Chance is a word that points anywhere into the window."""
    focus = sum(counts) * WINDOW_SIZE / size
    # 0.5 limits the weight of a class with few offsets.
    ratios = [share * focus / (count + 0.5) for share, count in zip(shares, counts)]
    return [math.log2(doubt + (1 - doubt) * ratio) for ratio in (*ratios, 0.0)]


def _scores(weighted: _Weighted, classes: bytes, addresses: range) -> list[float]:
    """Return the sum of the weights of the targets for each of the `addresses`."""
    if not addresses:
        return []
    gains = [0.0] * len(addresses)
    for target, weights in weighted:
        # The target's offset in irom decreases by a step from address to address.
        offset = target - addresses[0]
        outside = max(0, (offset - len(classes)) // addresses.step + 1)
        offset -= outside * addresses.step
        if offset >= 0 and outside < len(gains):
            over = [weight - weights[-1] for weight in weights]
            last = offset - (len(gains) - outside) * addresses.step
            hit = classes[offset : last if last >= 0 else None : -addresses.step]
            part = slice(outside, outside + len(hit))
            gains[part] = map(operator.add, gains[part], map(over.__getitem__, hit))
    nowhere = sum(weights[-1] for _, weights in weighted)
    return [nowhere + gain for gain in gains]


def _neighbour_gain(weighted: _Weighted, classes: bytes, address: int) -> float:
    """Return the score of the best decoy within half a sector of `address`, minus its own, for a sample of targets."""
    sample = weighted[:: -(-len(weighted) // _MAX_NEIGHBOUR_TARGETS)]
    neighbours = range(address - SECTOR_SIZE // 2, address + SECTOR_SIZE // 2, _WORD)
    scores = _scores(sample, classes, neighbours)
    own = scores.pop(neighbours.index(address))
    return max(scores) - own


def _best_decoy(weighted: _Weighted, classes: bytes) -> float:
    first = WINDOW_START + IROM_OFFSET
    last = _WINDOW_END - len(classes) + 1
    return max(
        max(_scores(weighted, classes, range(first + shift, last, SECTOR_SIZE)), default=-math.inf)
        for shift in _DECOY_SHIFTS
    )


def _log2_sum(scores: Sequence[float]) -> float:
    """Return log2 of the sum of 2 ** score, without overflow."""
    top = max(scores, default=-math.inf)
    return top if top == -math.inf else top + math.log2(sum(2 ** (score - top) for score in scores))


def _evidence(address: int, targets: dict[int, float], classes: bytes) -> Evidence:
    hit = [classes[target - address] for target in targets if 0 <= target - address < len(classes)]
    return Evidence(address, len(hit), sum(kind != _PLAIN for kind in hit))

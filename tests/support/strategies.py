"""Releases of all kinds, for Hypothesis."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import strategies as st

from rbootimg.fileio import sha256_hex
from rbootimg.release.manifest import Checksum, FlashPart, PartKind, Release, ReleaseRom, StoredFile

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
CHECKSUMS, KINDS = st.sampled_from(Checksum), st.sampled_from(PartKind)
NUMBERS = st.integers(0, 2**32 - 1)
DIGESTS = st.binary(max_size=8).map(sha256_hex)
VERSIONS = st.builds("{}.{}.{}".format, *[st.integers(0, 99)] * 3)


def stored(name: str, sizes: st.SearchStrategy[int] = NUMBERS) -> st.SearchStrategy[StoredFile]:
    return st.builds(StoredFile, st.just(name), sizes, DIGESTS)


@st.composite
def pieces(draw: st.DrawFn, flash_size: int, most: int) -> list[tuple[int, int]]:
    """Addresses and sizes of some pieces of a flash, one after the other."""
    ends = sorted(draw(st.sets(st.integers(0, flash_size), min_size=2, max_size=most + 1)))
    return [(start, end - start) for start, end in pairwise(ends)]


@st.composite
def releases(draw: st.DrawFn) -> Release:
    flash_size = draw(st.sampled_from([0x40000, 0x100000, 0x1000000]))
    roms = tuple(
        ReleaseRom(
            slot,
            address,
            size,
            draw(NUMBERS),
            draw(stored(f"rom{slot}.bin", st.integers(0, size))),
            draw(CHECKSUMS),
            draw(st.none() | TEXTS),
            draw(st.none() | stored(f"rom{slot}.elf")),
        )
        for slot, (address, size) in enumerate(draw(pieces(flash_size, 3)))
    )
    parts = tuple(FlashPart(draw(KINDS), draw(TEXTS), *place) for place in draw(pieces(flash_size, 4)))
    files = tuple(draw(stored(name)) for name in draw(st.sets(st.sampled_from(["ui.html", "ca.der", "7", "_a-b"]))))
    regions = {part.name: part.size for part in parts if part.kind is PartKind.REGION}
    if regions:
        name = draw(st.sampled_from(sorted(regions)))
        files += (replace(draw(stored("www.bin", st.integers(0, regions[name]))), region=name),)
    [(address, size)] = draw(pieces(flash_size, 1))
    file = stored("recovery.bin", st.integers(0, size))
    about = [address, size, draw(NUMBERS), draw(file), draw(CHECKSUMS)]
    recovery = draw(st.none() | st.builds(ReleaseRom, st.integers(3, 9), *map(st.just, about), st.none() | TEXTS))
    date = draw(st.none() | TEXTS)
    notes = draw(st.none() | stored("notes.md", st.integers(1, 65536)))
    others = (files, recovery, draw(st.booleans()), notes)
    return Release("blink", draw(VERSIONS), draw(TEXTS), roms, flash_size, parts, date, *others)

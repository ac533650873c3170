"""Releases for the tests: small ones that differ in every byte that can."""

from __future__ import annotations

import functools
from pathlib import Path

from rbootimg.layout import preset
from rbootimg.release import Bundle, bundle
from rbootimg.rom import RamSection, Rom

LAYOUT = preset("1MB")


@functools.cache
def make_roms(version: str, size: int = 64, count: int = 2) -> list[bytes]:
    return [
        Rom(
            0x40100000, f"{version} {slot} ".encode() * (size // 16), (RamSection(0x40100000, version.encode()),)
        ).to_bytes()
        for slot in range(count)
    ]


@functools.cache
def make(
    version: str,
    app: str = "blink",
    size: int = 64,
    count: int = 2,
    files: tuple[tuple[str, bytes], ...] = (),
    **options: object,
) -> Bundle:
    roms = make_roms(version, size, count)
    return bundle(app, version, roms, LAYOUT, one_build=True, files=dict(files), **options)


def tree(folder: Path) -> dict[str, bytes]:
    """All files below `folder`, but for the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".rbootimg.lock"
    }

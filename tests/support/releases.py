"""Releases for the tests: small ones that differ in every byte that can."""

from __future__ import annotations

import functools
from pathlib import Path

from rbootimg.layout.model import FlashLayout
from rbootimg.layout.presets import preset_layout
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.release.bundle import Bundle, RecoveryRom, ReleaseOptions, make_bundle
from rbootimg.rom.format import RamSection, Rom

LAYOUT = preset_layout("1MB")
SPARE = preset_layout("four-1MB")
"""With slots for recovery ROMs."""
THREE_TOML = 'flash_size = "1MB"\n' + "".join(
    f'[[slot]]\naddress = {address}\nsize = "128KB"\n' for address in (0x2000, 0x82000, 0xC2000)
)
THREE = parse_layout(THREE_TOML)
"""The same in 1 MB."""


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
    layout: FlashLayout = LAYOUT,
    **options: object,
) -> Bundle:
    roms = make_roms(version, size, count)
    return make_bundle(app, version, roms, layout, ReleaseOptions(same_build=True, data_files=dict(files), **options))


@functools.cache
def with_recovery(version: str, build: str = "", **options: object) -> Bundle:
    """A release with a recovery ROM in slot 2, which is of that `build`."""
    data = make_roms(f"recovery {build or version}", count=1)[0]
    return make(version, layout=SPARE, recovery=RecoveryRom(2, data), **options)


def tree(directory: Path) -> dict[str, bytes]:
    """All files below `directory`, but for the lock."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != ".rbootimg.lock"
    }

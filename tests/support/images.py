"""Loaders and ROMs for the tests of whole flashes."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from rbootimg.layout.presets import preset_layout
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.format import RamSection, Rom, old_image
from rbootimg.rom.pack import pack
from support.project import VECTORS

SLOTS = preset_layout("1MB").slots

BIG, CONFIG, IROM = "Big flash", "Config chksum", "irom chksum"


OLD_SIZES = ("4 Mbit\r\n", "2 Mbit\r\n", "8 Mbit\r\n", "16 Mbit\r\n", "32 Mbit\r\n", "unknown\r\n")
"""What the release of rBoot 1.4.2 says of flash sizes."""
ALL_SIZES = (*OLD_SIZES, "64 Mbit\r\n", "128 Mbit\r\n")
"""What its master does, of the same version."""


def loader(*options: str, version: str | None = "1.4.2", sizes: Iterable[str] = ()) -> bytes:
    """A loader with the texts of an rBoot built with `options`, those that it prints; it runs nowhere.

    `sizes` are those that it knows; without any nobody can tell which.
    """
    texts = [f"\r\nrBoot v{version} - somebody\r\n"] if version else []
    texts += ["Flash Size:   ", *sizes, *(f"rBoot Option: {option}\r\n" for option in options)]
    return old_image(0x40100000, (RamSection(0x40100000, b"code"), RamSection(0x3FFE8000, "\0".join(texts).encode())))


def elf(slot: int, name: str = "mixed") -> bytes:
    """The ELF of a real application, linked for slot 0 at 0x2000 or slot 1 at 0x82000."""
    return (VECTORS / f"{name}.rom{slot}.elf").read_bytes()


@functools.cache
def rom(slot: int, name: str = "mixed", irom_checksum: bool = False) -> bytes:
    """The ROM of that."""
    return pack(parse_elf(elf(slot, name)), irom_checksum=irom_checksum).to_bytes()


def silent_rom(irom_size: int = 32, irom_checksum: bool = False) -> bytes:
    """A ROM of which nobody can tell what slot it is linked for."""
    return Rom(0x40100000, bytes(irom_size), (RamSection(0x40100000, b"code"),), irom_checksum=irom_checksum).to_bytes()

"""Addresses of the memories, of the flash window, and of the fixed parts of the flash."""

from __future__ import annotations

from typing import NamedTuple

from .params import FLASH_SIZES

SECTOR_SIZE = 0x1000
"""The unit in which the flash is erased."""

BLANK = b"\xff"
"""What a byte of erased flash reads as."""

WINDOW_START = 0x40200000
WINDOW_SIZE = 0x100000
"""The CPU maps one aligned megabyte of the flash at a time, at WINDOW_START."""

IROM_OFFSET = 0x10
"""The offset of the flash code in a slot, after two headers of 8 bytes."""

CONFIG_ADDRESS = 0x1000
FIRST_SLOT_ADDRESS = 0x2000
"""The loader is at 0, rBoot's config sector at 0x1000, slots are after it."""


class Region(NamedTuple):
    """A memory of the ESP8266: `size` bytes at address `start`."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


DRAM = Region("DRAM", 0x3FFE8000, 0x14000)
MASK_ROM = Region("mask ROM", 0x40000000, 0x10000)
IRAM = Region("IRAM", 0x40100000, 0x8000)
WINDOW = Region("flash", WINDOW_START, WINDOW_SIZE)
OTHER = "other"
"""The name of the memory at any other address."""


def memory_at(address: int) -> str:
    """Return the name of the memory at `address`: IRAM, DRAM, flash, or other."""
    for region in (IRAM, DRAM, WINDOW):
        if region.start <= address < region.end:
            return region.name
    return OTHER


class Usage(NamedTuple):
    """The bytes `used` of a memory and those `available`; None if unknown."""

    name: str
    used: int
    available: int | None


def slot_of_link(link_address: int) -> int | None:
    """Return the flash address within its megabyte of the slot with this link address; None if there can be none."""
    address = link_address - WINDOW_START - IROM_OFFSET
    return address if 0 <= address < WINDOW_SIZE and address % SECTOR_SIZE == 0 else None


def slots_of_link(link_address: int) -> tuple[int, ...]:
    """Return the flash addresses of all slots with this link address: one in each megabyte of a 16 MB flash."""
    first = slot_of_link(link_address)
    largest = max(size.bytes for size in FLASH_SIZES.values())
    return () if first is None else tuple(range(first, largest, WINDOW_SIZE))


def window_end(address: int) -> int:
    """Return the end of the megabyte that contains flash `address`."""
    return (address // WINDOW_SIZE + 1) * WINDOW_SIZE


def is_blank(data: bytes) -> bool:
    """Whether all of `data` is blank, as in erased flash."""
    return data.count(BLANK) == len(data)

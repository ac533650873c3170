"""Where things are in the address space and in the flash: windows, memories, fixed addresses."""

from __future__ import annotations

from typing import NamedTuple

from .params import FLASH_SIZES

SECTOR_SIZE = 0x1000
"""The flash is erased in pieces of this size."""

BLANK = b"\xff"
"""What a byte of erased flash reads as."""

WINDOW_START = 0x40200000
WINDOW_SIZE = 0x100000
"""The CPU sees one aligned megabyte of the flash at a time, at WINDOW_START."""

IROM_OFFSET = 0x10
"""A ROM's code starts this far into its slot: two headers of 8 bytes stand before it."""

CONFIG_ADDRESS = 0x1000
FIRST_SLOT_ADDRESS = 0x2000
"""The loader stands at 0, rBoot's config sector at 0x1000; slots come after it."""


class Region(NamedTuple):
    """A piece of the ESP8266's memory; `size` bytes from `start`."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


DRAM = Region("DRAM", 0x3FFE8000, 0x14000)
IRAM = Region("IRAM", 0x40100000, 0x8000)
WINDOW = Region("flash", WINDOW_START, WINDOW_SIZE)
OTHER = "other"
"""The kind of memory at an address that none of these three has."""


def memory_at(address: int) -> str:
    """The kind of memory that the CPU sees at `address`: IRAM, DRAM, flash, or other."""
    for region in (IRAM, DRAM, WINDOW):
        if region.start <= address < region.end:
            return region.name
    return OTHER


class Usage(NamedTuple):
    """`used` of the `available` bytes of a kind of memory; None where that is not known."""

    name: str
    used: int
    available: int | None


def slot_of_link(link_address: int) -> int | None:
    """The flash address, within its megabyte, of the slot with this link address; None if no slot can have it."""
    address = link_address - WINDOW_START - IROM_OFFSET
    return address if 0 <= address < WINDOW_SIZE and address % SECTOR_SIZE == 0 else None


def slots_of_link(link_address: int) -> tuple[int, ...]:
    """The flash addresses of all slots with this link address, one in each megabyte of the largest flash."""
    first = slot_of_link(link_address)
    largest = max(size.bytes for size in FLASH_SIZES.values())
    return () if first is None else tuple(range(first, largest, WINDOW_SIZE))


def window_end(address: int) -> int:
    """The end of the megabyte that flash `address` is in."""
    return (address // WINDOW_SIZE + 1) * WINDOW_SIZE


def is_blank(data: bytes) -> bool:
    """Whether all of `data` is blank, as in erased flash."""
    return data.count(BLANK) == len(data)

"""Files for the regions of a layout: init data of the SDK, file systems, anything else."""

from __future__ import annotations

from ..errors import FileSystemError, FitError, LayoutError
from ..layout.model import FlashLayout, FlashRegion
from ..text import counted
from .littlefs import check_superblock, find_superblock

INIT_DATA_REGION = "phy_init"
"""The region for the SDK's esp_init_data_default.bin."""
INIT_DATA_SIZE = 128
"""Bytes in each esp_init_data_default*.bin of the NONOS SDK, 2.0.0 to 3.0.6."""


def find_region(layout: FlashLayout, name: str) -> FlashRegion:
    """Return the region called `name`. Raises LayoutError if the layout has none."""
    for region in layout.regions:
        if region.name == name:
            return region
    known = ", ".join(region.name for region in layout.regions) or "none"
    raise LayoutError(f"unknown region {name!r} for a file; the layout's regions: {known}")


def check_file(data: bytes, region: FlashRegion) -> None:
    """Raise FitError unless a device can use `data` in `region`."""
    if not data:
        raise FitError(f"file for {region.label} is empty")
    if region.name == INIT_DATA_REGION and len(data) != INIT_DATA_SIZE:
        raise FitError(
            f"invalid init data for {region.label}: expected {INIT_DATA_SIZE} bytes, as in the SDK's "
            f"esp_init_data_default.bin, got {len(data):,}"
        )
    if len(data) > region.size:
        raise FitError(
            f"file for {region.label} is {counted(len(data), 'byte')}, {len(data) - region.size:,} more than the region"
        )
    superblock = find_superblock(data)
    if superblock:
        try:
            check_superblock(superblock, region.size)
        except FileSystemError as error:
            raise FitError(f"file for {region.label}: {error}") from None

"""The partition table that an application on NONOS SDK 3 must register, made from a flash layout.

The rules are those of `system_partition_table_regist()`. Source: NONOS SDK 3.0.4 and 3.0.6, libmain.a and
user_interface.h (partition_type_t, flash_size_map), tested by calls with many tables.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import LayoutError
from .memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, SECTOR_SIZE
from .model import FlashLayout, sdk_regions
from .params import FLASH_SIZES, FlashSize

BOOTLOADER, OTA_1, OTA_2, RF_CAL, PHY_DATA, SYSTEM_PARAMETER = range(1, 7)
CUSTOMER_BEGIN = 100
"""The first partition type for the application."""

_NAMES = {
    BOOTLOADER: "SYSTEM_PARTITION_BOOTLOADER",
    OTA_1: "SYSTEM_PARTITION_OTA_1",
    OTA_2: "SYSTEM_PARTITION_OTA_2",
    RF_CAL: "SYSTEM_PARTITION_RF_CAL",
    PHY_DATA: "SYSTEM_PARTITION_PHY_DATA",
    SYSTEM_PARAMETER: "SYSTEM_PARTITION_SYSTEM_PARAMETER",
}
_SDK_TYPES = {"rf_cal": RF_CAL, "phy_init": PHY_DATA, "sdk_params": SYSTEM_PARAMETER}
"""The types of the SDK's own regions."""

_REQUIRED = {RF_CAL: SECTOR_SIZE, PHY_DATA: SECTOR_SIZE, SYSTEM_PARAMETER: 3 * SECTOR_SIZE}
_REGION_NAMES = {kind: name for name, kind in _SDK_TYPES.items()}
_OTA_1_ADDRESS = 0x1000
_OTA_2_ADDRESSES = {2: 0x81000, 3: 0x81000, 4: 0x81000, 5: 0x101000, 6: 0x101000, 8: 0x101000, 9: 0x101000}
"""By flash map, the size code of an image header. The SDK rejects a table for any other."""
_MAX_OTA_SIZE = 0x100000


@dataclass(frozen=True)
class Partition:
    """A row of the table: `size` bytes at flash `address`. `kind` is the SDK's number, `name` is for messages."""

    kind: int
    address: int
    size: int
    name: str

    @property
    def end(self) -> int:
        """The flash address of the first byte after the partition."""
        return self.address + self.size

    @property
    def expression(self) -> str:
        """`kind` as a C expression."""
        return _NAMES.get(self.kind) or f"SYSTEM_PARTITION_CUSTOMER_BEGIN + {self.kind - CUSTOMER_BEGIN}"

    @property
    def label(self) -> str:
        """The partition's name in messages."""
        return f"{self.name} at {self.address:#x}"


def partition_rows(layout: FlashLayout) -> tuple[Partition, ...]:
    """List the partitions of `layout` in address order, unchecked.

    rBoot's config is customer partition 0, slot n is n + 1, other regions follow in address order. The slots cannot be
    OTA_1 and OTA_2, because the SDK requires fixed addresses for those, which rBoot does not use.
    """
    rows = [
        Partition(BOOTLOADER, 0, CONFIG_ADDRESS, "boot loader"),
        Partition(CUSTOMER_BEGIN, CONFIG_ADDRESS, FIRST_SLOT_ADDRESS - CONFIG_ADDRESS, "rBoot's config"),
    ]
    for number, slot in enumerate(layout.slots):
        name = f"slot {number}{f' ({slot.name})' if slot.name else ''}"
        rows.append(Partition(CUSTOMER_BEGIN + 1 + number, slot.address, slot.size, name))
    customer = CUSTOMER_BEGIN + 1 + len(layout.slots)
    for region in sorted(layout.regions, key=lambda region: region.address):
        kind = _SDK_TYPES.get(region.name)
        if kind is None:
            kind, customer = customer, customer + 1
        rows.append(Partition(kind, region.address, region.size, region.name))
    return tuple(sorted(rows, key=lambda row: row.address))


def check_partitions(rows: Sequence[Partition], chip: FlashSize) -> None:
    """Check that the SDK would register `rows` for the flash `chip`. Raises LayoutError with the reason if not.

    Three rules are stricter than the SDK: SYSTEM_PARAMETER must be at the address that the SDK uses; a customer type
    must not occur twice, because an application finds only one of them; OTA_1 and OTA_2 need each other.
    """
    if chip.code not in _OTA_2_ADDRESSES:
        known = ", ".join(size.name for size in FLASH_SIZES.values() if size.code in _OTA_2_ADDRESSES)
        raise LayoutError(f"NONOS SDK 3 accepts no partition table for a {chip.name} flash: expected one of {known}")
    for row in rows:
        if row.address % SECTOR_SIZE or row.size % SECTOR_SIZE or row.size <= 0:
            raise LayoutError(
                f"{row.label} has {row.size:#x} bytes: NONOS SDK 3 requires addresses and sizes that are multiples "
                f"of {SECTOR_SIZE:#x}"
            )
        if row.end > chip.bytes:
            raise LayoutError(f"{row.label} ends at {row.end:#x}, past the end of the {chip.name} flash")
    for row, following in itertools.pairwise(sorted(rows, key=lambda row: row.address)):
        if row.end > following.address:
            raise LayoutError(f"{row.label} ends at {row.end:#x} and overlaps {following.label}")
    by_kind = {row.kind: row for row in rows}
    if len(by_kind) != len(rows):
        kinds = [row.kind for row in rows]
        twice = next(row for row in rows if kinds.count(row.kind) > 1)
        raise LayoutError(f"two partitions have type {twice.expression}")
    for kind, size in _REQUIRED.items():
        region = _REGION_NAMES[kind]
        if kind not in by_kind:
            raise LayoutError(
                f"the layout lacks region {region!r}, which NONOS SDK 3 requires for {_NAMES[kind]}; "
                "set sdk_data = true or add the region"
            )
        if by_kind[kind].size != size:
            raise LayoutError(
                f"{by_kind[kind].label} has {by_kind[kind].size:#x} bytes: NONOS SDK 3 requires {size:#x} "
                f"for {_NAMES[kind]}"
            )
    expected = next(region.address for region in sdk_regions(chip) if region.name == _REGION_NAMES[SYSTEM_PARAMETER])
    if by_kind[SYSTEM_PARAMETER].address != expected:
        raise LayoutError(
            f"{by_kind[SYSTEM_PARAMETER].label}: NONOS SDK 3 keeps its parameters at {expected:#x} in a {chip.name} "
            "flash regardless of the table; move the region"
        )
    _check_fixed(by_kind, chip.code)


def _check_fixed(by_kind: dict[int, Partition], size_code: int) -> None:
    """Check the partitions with a fixed address. Raises LayoutError."""
    if (OTA_1 in by_kind) != (OTA_2 in by_kind):
        raise LayoutError("NONOS SDK 3 requires both OTA_1 and OTA_2, or neither")
    fixed = {BOOTLOADER: 0, OTA_1: _OTA_1_ADDRESS, OTA_2: _OTA_2_ADDRESSES[size_code]}
    for kind, address in fixed.items():
        row = by_kind.get(kind)
        if row and row.address != address:
            raise LayoutError(f"{row.label}: NONOS SDK 3 requires {_NAMES[kind]} at {address:#x}")
        if row and kind == BOOTLOADER and row.size != CONFIG_ADDRESS:
            raise LayoutError(f"{row.label} has {row.size:#x} bytes: NONOS SDK 3 requires {CONFIG_ADDRESS:#x}")
        if row and row.size > _MAX_OTA_SIZE:
            raise LayoutError(f"{row.label} has {row.size:#x} bytes: NONOS SDK 3 allows at most {_MAX_OTA_SIZE:#x}")


def sdk_partitions(layout: FlashLayout) -> str:
    """Make the C header with the partition table that an application on NONOS SDK 3 must register.

    Raises LayoutError with the reason if the SDK would reject the table of this layout.
    """
    rows = partition_rows(layout)
    check_partitions(rows, layout.size)
    rf_cal = next(row for row in rows if row.kind == RF_CAL)
    items = (
        f"    {{{row.expression}, {row.address:#010x}, {row.size:#08x}}}, /* {_comment(row.name)} */" for row in rows
    )
    return "\n".join(
        (
            "/* Written by rbootimg from the flash layout: the partitions that user_pre_init() registers with",
            "   system_partition_table_regist(rboot_partitions, RBOOT_PARTITION_COUNT, RBOOT_FLASH_MAP).",
            "   The loader's header at flash 0 must have the same flash size: rbootimg flash-image writes it. */",
            "#ifndef RBOOT_PARTITIONS_H",
            "#define RBOOT_PARTITIONS_H",
            "",
            '#include "user_interface.h"',
            "",
            f"#define RBOOT_FLASH_MAP {layout.size.code}",
            f"#define RBOOT_RF_CAL_SECTOR {rf_cal.address // SECTOR_SIZE:#x}",
            "#define RBOOT_PARTITION_CONFIG SYSTEM_PARTITION_CUSTOMER_BEGIN",
            "#define RBOOT_PARTITION_SLOT(number) (SYSTEM_PARTITION_CUSTOMER_BEGIN + 1 + (number))",
            "#define RBOOT_PARTITION_COUNT (sizeof rboot_partitions / sizeof rboot_partitions[0])",
            "",
            "static const partition_item_t rboot_partitions[] = {",
            *items,
            "};",
            "",
            "#endif",
            "",
        )
    )


def _comment(text: str) -> str:
    """Return `text` without what would end, begin or continue a C comment."""
    return re.sub(r"\*(?=/)|/(?=\*)", r"\g<0> ", text).rstrip("\\") or "-"

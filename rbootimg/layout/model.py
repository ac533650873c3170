"""A flash layout: slots, other regions, and the options of the loader, checked.

Addresses and sizes are in bytes. Source: rBoot 1.4.2 (rboot.c, readme.md).
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import LayoutError
from .memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, IROM_OFFSET, SECTOR_SIZE, WINDOW_SIZE, WINDOW_START, window_end
from .params import FLASH_FREQS, FLASH_MODES, FlashParams, FlashSize, flash_size
from .units import parse_number

SDK_TAIL_SIZE = 0x5000
"""The last 5 sectors, in which the SDK keeps RF calibration, PHY init data and its parameters."""


@dataclass(frozen=True)
class Slot:
    """Space for a ROM: `size` bytes at flash `address`. `number` is rBoot's, `name` the user's; both are optional."""

    address: int
    size: int
    number: int | None = None
    name: str = ""

    @property
    def end(self) -> int:
        """The flash address of the first byte after the slot."""
        return self.address + self.size

    @property
    def link_address(self) -> int:
        """The address of `.irom0.text` in a ROM for this slot."""
        return WINDOW_START + self.address % WINDOW_SIZE + IROM_OFFSET

    @property
    def irom_size(self) -> int:
        """The maximum size of `.irom0.text`, if the ROM has nothing else."""
        return self.size - IROM_OFFSET

    @property
    def label(self) -> str:
        """The slot in messages: `slot 1 at 0x82000`, without a number `slot at 0x82000`."""
        return f"{'slot' if self.number is None else f'slot {self.number}'} at {self.address:#x}"


@dataclass(frozen=True)
class FlashRegion:
    """A part of the flash other than a slot, such as a file system: `size` bytes at flash `address`."""

    name: str
    address: int
    size: int

    @property
    def end(self) -> int:
        """The flash address of the first byte after the region."""
        return self.address + self.size

    @property
    def label(self) -> str:
        """The region in messages: `region files at 0x200000`."""
        return f"region {self.name} at {self.address:#x}"


class GpioMode(enum.Enum):
    """What rBoot does if its pin is low at boot. The values are those of `gpio` in a layout file."""

    NONE = ""
    """Nothing: rBoot reads no pin."""
    ROM = "rom"
    """BOOT_GPIO_ENABLED: boot the config's GPIO ROM."""
    SKIP = "skip"
    """BOOT_GPIO_SKIP_ENABLED: boot the next ROM."""


# Name, distance from the end of the flash, size. Source: rBoot sample, NONOS SDK 2 and 3.
_SDK_REGIONS = (
    ("rf_cal", SDK_TAIL_SIZE, SECTOR_SIZE),
    ("phy_init", 4 * SECTOR_SIZE, SECTOR_SIZE),
    ("sdk_params", 3 * SECTOR_SIZE, 3 * SECTOR_SIZE),
)


def sdk_regions(chip: FlashSize) -> tuple[FlashRegion, ...]:
    """Return the SDK's regions at the end of the flash: RF calibration, PHY init data, parameters."""
    return tuple(FlashRegion(name, chip.bytes - distance, size) for name, distance, size in _SDK_REGIONS)


@dataclass(frozen=True)
class LoaderOptions:
    """The options that rBoot was built with, those that a layout depends on.

    - `big_flash`: BOOT_BIG_FLASH, map more than the first megabyte
    - `irom_checksum`: BOOT_IROM_CHKSUM
    - `config_checksum`: BOOT_CONFIG_CHKSUM
    - `max_roms`: MAX_ROMS, the capacity of the config, 1 to 255
    - `rtc`: BOOT_RTC_ENABLED, boot a ROM once
    - `gpio`: a GpioMode or its value
    - `gpio_pin`: BOOT_GPIO_NUM, 0 to 16
    - `all_sizes`: support 8MB, 16MB, 2MB-c1 and 4MB-c1, as rBoot's master branch does since 2019. Release v1.4.2 treats
      these as 512 KB.

    Raises LayoutError for a value that rBoot cannot be built with.
    """

    big_flash: bool = False
    irom_checksum: bool = False
    config_checksum: bool = False
    max_roms: int = 4
    rtc: bool = False
    gpio: GpioMode = GpioMode.NONE
    gpio_pin: int = 16
    all_sizes: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.max_roms <= 0xFF:
            raise LayoutError(f"invalid max_roms {self.max_roms} of the loader: expected 1-255")
        try:
            object.__setattr__(self, "gpio", GpioMode(self.gpio))
        except ValueError:
            known = ", ".join(repr(mode.value) for mode in GpioMode)
            raise LayoutError(f"invalid gpio {self.gpio!r} of the loader: expected one of {known}") from None
        if not 0 <= self.gpio_pin <= 16:
            raise LayoutError(f"invalid gpio_pin {self.gpio_pin} of the loader: expected 0-16")


DEFAULT_LOADER = LoaderOptions()


@dataclass(frozen=True)
class FlashLayout:
    """A flash: its size, slots and other regions, and the loader's options. `mode` and `freq` are as in FlashParams.

    Raises LayoutError if a slot or region is not aligned to sectors, overlaps another one, the loader or its config
    sector, or ends after the flash; if a slot crosses a megabyte or the loader cannot map it; if there are more slots
    than `max_roms`.
    """

    size: FlashSize
    slots: tuple[Slot, ...]
    loader: LoaderOptions = DEFAULT_LOADER
    mode: int = FLASH_MODES["qio"]
    freq: int = FLASH_FREQS["40m"]
    regions: tuple[FlashRegion, ...] = ()

    def __post_init__(self) -> None:
        if not self.slots:
            raise LayoutError("no slots: a flash layout has at least one")
        if len(self.slots) > self.loader.max_roms:
            raise LayoutError(
                f"too many slots: {len(self.slots)}, but max_roms of the loader is {self.loader.max_roms}; "
                "raise max_roms (MAX_ROMS of rBoot)"
            )
        parts: list[Slot | FlashRegion] = [*self.slots, *self.regions]
        for part in parts:  # before the sizes: those that were omitted depend on the addresses
            _check_start(part)
        for slot in self.slots:
            self._check_range(slot)
            self._check_mapping(slot)
        for region in self.regions:
            self._check_range(region)
        in_order = sorted(parts, key=lambda part: part.address)
        for part, following in itertools.pairwise(in_order):
            if part.end > following.address:
                room = following.address - part.address
                hint = f"shrink the first to {room:#x} bytes or move one" if room else "move one"
                raise LayoutError(f"{part.label} ends at {part.end:#x} and overlaps {following.label}; {hint}")

    @property
    def params(self) -> FlashParams:
        """The flash bytes of an image header for this flash."""
        return FlashParams(self.mode, self.size.code, self.freq)

    @property
    def big_flash(self) -> bool:
        """Whether the loader maps more than the first megabyte."""
        return self.loader.big_flash

    def _check_range(self, part: Slot | FlashRegion) -> None:
        if part.size <= 0:
            raise LayoutError(f"{part.label}: size must be greater than 0")
        if part.size % SECTOR_SIZE:
            raise LayoutError(
                f"{part.label}: invalid size {part.size:#x}: expected a multiple of the flash sector "
                f"({SECTOR_SIZE:#x}), e.g. {_sector_up(part.size):#x}"
            )
        if part.address < FIRST_SLOT_ADDRESS:
            name = "loader" if part.address < CONFIG_ADDRESS else "config sector"
            raise LayoutError(f"{part.label} overlaps rBoot's {name}: expected {FIRST_SLOT_ADDRESS:#x} or above")
        if part.end > self.size.bytes:
            raise LayoutError(
                f"{part.label} ends at {part.end:#x}, past the end of the {self.size.name} flash "
                f"({self.size.bytes:#x} bytes)"
            )

    def _check_mapping(self, slot: Slot) -> None:
        if slot.end > WINDOW_SIZE and not self.big_flash:
            raise LayoutError(
                f"{slot.label} ends at {slot.end:#x}, above the first megabyte: rBoot must be built with "
                "BOOT_BIG_FLASH (big_flash)"
            )
        if slot.address // WINDOW_SIZE != (slot.end - 1) // WINDOW_SIZE:
            raise LayoutError(
                f"{slot.label} ends at {slot.end:#x} and crosses the 1 MB boundary at {window_end(slot.address):#x}, "
                "but the CPU maps one megabyte at a time"
            )


def _check_start(part: Slot | FlashRegion) -> None:
    if part.address % SECTOR_SIZE:
        raise LayoutError(
            f"{part.label}: invalid address: expected a multiple of the flash sector ({SECTOR_SIZE:#x}), e.g. "
            f"{_sector_up(part.address):#x}"
        )


def make_flash_layout(size: str, slots: str | Iterable[object] | None = None, big_flash: bool = False) -> FlashLayout:
    """Make the layout for a flash of esptool's size name `size`.

    `slots` is a list of addresses, (address, size) pairs or strings `ADDRESS[:SIZE]`, or one string with such items
    separated by spaces or commas; numbers are those of parse_number(). The default is rBoot's pair of slots: see
    default_slots(). A slot without a size gets the one of infer_sizes(). Raises LayoutError.
    """
    chip = flash_size(size)
    unsized = default_slots(chip, big_flash) if slots is None or slots == "" else parse_slots(slots)
    loader = LoaderOptions(big_flash=big_flash, max_roms=max(DEFAULT_LOADER.max_roms, len(unsized)))
    return FlashLayout(chip, infer_sizes(unsized, chip), loader)


def default_slots(chip: FlashSize, big_flash: bool = False) -> tuple[Slot, ...]:
    """Return rBoot's default pair of slots, with size 0: at 0x2000, and 0x2000 above the middle of the flash.

    Without `big_flash` it is the middle of the first megabyte. Source: rBoot 1.4.2 (rboot.c).
    """
    usable = chip.bytes if big_flash else min(chip.bytes, WINDOW_SIZE)
    return parse_slots((FIRST_SLOT_ADDRESS, usable // 2 + FIRST_SLOT_ADDRESS))


def parse_slots(slots: object) -> tuple[Slot, ...]:
    """Parse the `slots` of make_flash_layout(), and number them in that order. A slot without a size gets size 0.

    Raises LayoutError.
    """
    if isinstance(slots, str):
        slots = re.sub(r"\s*:\s*", ":", slots).replace(",", " ").split()
    if isinstance(slots, bytes):
        raise LayoutError(f"invalid slots {slots!r}: expected a string or a list")
    items = slots if isinstance(slots, Iterable) else (slots,)
    return tuple(parse_slot(item, number) for number, item in enumerate(items))


def infer_sizes(slots: Sequence[Slot], chip: FlashSize, regions: Sequence[FlashRegion] = ()) -> tuple[Slot, ...]:
    """Return `slots` with the maximum size for each one of size 0.

    Such a slot ends at the next slot or region, at the end of its megabyte, or at the SDK's sectors at the end of the
    flash, whichever comes first.
    """

    def max_size(slot: Slot) -> int:
        parts: list[Slot | FlashRegion] = [*slots, *regions]
        ends = [part.address for part in parts if part.address > slot.address]
        ends.append(window_end(slot.address))
        # A slot in the SDK's sectors is explicit; it still ends with the flash.
        tail = chip.bytes - SDK_TAIL_SIZE
        ends.append(tail if slot.address < tail else max(chip.bytes, slot.address + SECTOR_SIZE))
        return min(ends) - slot.address

    return tuple(slot if slot.size else replace(slot, size=max_size(slot)) for slot in slots)


def parse_slot(item: object, number: int | None = None) -> Slot:
    """Parse a slot: an address, or an address and a size, which is 0 by default. Raises LayoutError."""
    if isinstance(item, Slot):
        return replace(item, number=number)
    if isinstance(item, str):
        parts: Sequence[object] = item.split(":")
    elif isinstance(item, Sequence):
        parts = item
    else:
        parts = (item,)
    if not 1 <= len(parts) <= 2:
        name = "slot" if number is None else f"slot {number}"
        raise LayoutError(f"invalid {name} {item!r}: expected an address, or an address and a size")
    address, size = parse_number(parts[0]), parse_number(parts[1]) if len(parts) == 2 else 0
    if len(parts) == 2 and size == 0:
        raise LayoutError(f"{Slot(address, 0, number).label}: size must be greater than 0")
    return Slot(address, size, number)


def _sector_up(address: int) -> int:
    return -(-address // SECTOR_SIZE) * SECTOR_SIZE

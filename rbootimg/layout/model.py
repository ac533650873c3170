"""A whole flash: its slots, what else is in it, and the loader that boots from it, checked.

Addresses and sizes are in bytes. Facts: rBoot 1.4.2 (rboot.c, readme.md).
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
"""The SDK keeps RF calibration, PHY init data and its parameters in the last 5 sectors."""


@dataclass(frozen=True)
class Slot:
    """A place for a ROM: `size` bytes at flash `address`; `number` is rBoot's, if known, `name` the user's."""

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
        """Where `.irom0.text` of a ROM for this slot must be linked."""
        return WINDOW_START + self.address % WINDOW_SIZE + IROM_OFFSET

    @property
    def irom_size(self) -> int:
        """How many bytes `.irom0.text` could have if nothing else were in the ROM."""
        return self.size - IROM_OFFSET

    @property
    def label(self) -> str:
        """The slot's name in messages: `slot 1 at 0x82000`."""
        return f"{'slot' if self.number is None else f'slot {self.number}'} at {self.address:#x}"


@dataclass(frozen=True)
class FlashRegion:
    """A piece of the flash that is no slot: `size` bytes at flash `address`, such as a file system."""

    name: str
    address: int
    size: int

    @property
    def end(self) -> int:
        """The flash address of the first byte after the region."""
        return self.address + self.size

    @property
    def label(self) -> str:
        """The region's name in messages: `region files at 0x200000`."""
        return f"region {self.name} at {self.address:#x}"


class GpioMode(enum.Enum):
    """What rBoot does if its pin is low at boot. The values are those of `gpio` in a layout file."""

    NONE = ""
    """Nothing: rBoot reads no pin."""
    ROM = "rom"
    """BOOT_GPIO_ENABLED: boot the config's GPIO ROM."""
    SKIP = "skip"
    """BOOT_GPIO_SKIP_ENABLED: boot the next ROM."""


# The SDK's own sectors, by their distance from the flash's end. Source: rBoot sample, NONOS SDK 2 and 3.
_SDK_REGIONS = (
    ("rf_cal", SDK_TAIL_SIZE, SECTOR_SIZE),
    ("phy_init", 4 * SECTOR_SIZE, SECTOR_SIZE),
    ("sdk_params", 3 * SECTOR_SIZE, 3 * SECTOR_SIZE),
)


def sdk_regions(chip: FlashSize) -> tuple[FlashRegion, ...]:
    """RF calibration, PHY init data and the SDK's parameters, at the end of the flash."""
    return tuple(FlashRegion(name, chip.bytes - distance, size) for name, distance, size in _SDK_REGIONS)


@dataclass(frozen=True)
class LoaderOptions:
    """The options that rBoot was built with, as far as a layout depends on them.

    `big_flash`: BOOT_BIG_FLASH, it maps more than the first megabyte. `irom_checksum`: BOOT_IROM_CHKSUM.
    `config_checksum`: BOOT_CONFIG_CHKSUM. `max_roms`: MAX_ROMS, how many ROMs its config has room for.
    `rtc`: BOOT_RTC_ENABLED, it can boot a ROM once. `gpio`: a GpioMode or its value.
    `gpio_pin`: BOOT_GPIO_NUM, 0 to 16. `all_sizes`: it knows the flash sizes 8MB, 16MB, 2MB-c1 and 4MB-c1, as rBoot's
    master does since 2019; the release of the same version, v1.4.2, takes them for 512 KB.

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
            raise LayoutError(f"max_roms of the loader is {self.max_roms}; rBoot counts ROMs from 1 to 255")
        try:
            object.__setattr__(self, "gpio", GpioMode(self.gpio))
        except ValueError:
            known = ", ".join(repr(mode.value) for mode in GpioMode)
            raise LayoutError(f"gpio of the loader is {self.gpio!r}; write {known}") from None
        if not 0 <= self.gpio_pin <= 16:
            raise LayoutError(f"gpio_pin of the loader is {self.gpio_pin}; the pins are 0 to 16")


DEFAULT_LOADER = LoaderOptions()


@dataclass(frozen=True)
class FlashLayout:
    """A flash, its slots, what else is in it, and the loader that boots from it.

    `mode` and `freq` are the header's codes, as in FlashParams.

    Raises LayoutError if a slot or region is not made of whole sectors, overlaps another, the loader or its config
    sector, or lies outside the flash; if a slot straddles a megabyte or lies where the loader cannot map it;
    or if there are more slots than the loader's config has room for.
    """

    size: FlashSize
    slots: tuple[Slot, ...]
    loader: LoaderOptions = DEFAULT_LOADER
    mode: int = FLASH_MODES["qio"]
    freq: int = FLASH_FREQS["40m"]
    regions: tuple[FlashRegion, ...] = ()

    def __post_init__(self) -> None:
        if not self.slots:
            raise LayoutError("a flash layout needs at least one slot")
        if len(self.slots) > self.loader.max_roms:
            raise LayoutError(
                f"{len(self.slots)} slots are more than the {self.loader.max_roms} that the loader's config has room "
                "for; build rBoot with more MAX_ROMS and say so, or leave slots out"
            )
        pieces: list[Slot | FlashRegion] = [*self.slots, *self.regions]
        for piece in pieces:  # first of all: a size that was left out goes by what follows
            _check_start(piece)
        for slot in self.slots:
            self._check_place(slot)
            self._check_mapping(slot)
        for region in self.regions:
            self._check_place(region)
        in_order = sorted(pieces, key=lambda piece: piece.address)
        for piece, following in itertools.pairwise(in_order):
            if piece.end > following.address:
                room = following.address - piece.address
                advice = f"move one or make the first at most {room:#x} bytes" if room else "move one"
                raise LayoutError(f"{piece.label} ends at {piece.end:#x} and overlaps {following.label}; {advice}")

    @property
    def params(self) -> FlashParams:
        """The flash bytes of an image header for this flash."""
        return FlashParams(self.mode, self.size.code, self.freq)

    @property
    def big_flash(self) -> bool:
        """Whether the loader maps more than the first megabyte."""
        return self.loader.big_flash

    def _check_place(self, piece: Slot | FlashRegion) -> None:
        if piece.size <= 0:
            raise LayoutError(f"{piece.label} has {piece.size} bytes; give it some")
        if piece.size % SECTOR_SIZE:
            raise LayoutError(
                f"{piece.label} has {piece.size:#x} bytes, but the flash is erased in sectors of {SECTOR_SIZE:#x}; "
                f"use a multiple such as {_sector_up(piece.size):#x}"
            )
        if piece.address < FIRST_SLOT_ADDRESS:
            what = "loader" if piece.address < CONFIG_ADDRESS else "config sector"
            raise LayoutError(
                f"{piece.label} overlaps rBoot's {what}; the first free address is {FIRST_SLOT_ADDRESS:#x}"
            )
        if piece.end > self.size.bytes:
            raise LayoutError(
                f"{piece.label} ends at {piece.end:#x}, outside the {self.size.name} flash "
                f"({self.size.bytes:#x} bytes); choose a lower address, a smaller size or a larger flash"
            )

    def _check_mapping(self, slot: Slot) -> None:
        if slot.end > WINDOW_SIZE and not self.big_flash:
            raise LayoutError(
                f"{slot.label} ends at {slot.end:#x}, above the first megabyte, which needs an rBoot "
                f"built with BOOT_BIG_FLASH; set big flash, or keep slots below {WINDOW_SIZE:#x}"
            )
        if slot.address // WINDOW_SIZE != (slot.end - 1) // WINDOW_SIZE:
            raise LayoutError(
                f"{slot.label} ends at {slot.end:#x} and straddles a 1 MB boundary, which the flash "
                f"window cannot; end it at {window_end(slot.address):#x} or move it there"
            )


def _check_start(piece: Slot | FlashRegion) -> None:
    if piece.address % SECTOR_SIZE:
        raise LayoutError(
            f"{piece.label} does not start on a flash sector; "
            f"use a multiple of {SECTOR_SIZE:#x} such as {_sector_up(piece.address):#x}"
        )


def flash_map(size: str, slots: str | Iterable[object] | None = None, big_flash: bool = False) -> FlashLayout:
    """The layout for a flash of esptool's size name `size`.

    `slots` is a list whose items are an address, an (address, size) pair, or a text `ADDRESS[:SIZE]`,
    or such texts in one text separated by blanks or commas; numbers as Python writes them, with an
    optional `KB` or `MB`. Without `slots`: rBoot's default pair, at 0x2000 and 0x2000 above the
    middle of the flash, or of its first megabyte without `big_flash` (rBoot 1.4.2, rboot.c).

    A slot without a size reaches to the next slot, to the end of its megabyte, or to the SDK's own
    sectors at the end of the flash, whichever comes first. Raises LayoutError.
    """
    chip = flash_size(size)
    wanted = default_slots(chip, big_flash) if slots is None or slots == "" else parse_slots(slots)
    loader = LoaderOptions(big_flash=big_flash, max_roms=max(DEFAULT_LOADER.max_roms, len(wanted)))
    return FlashLayout(chip, infer_sizes(wanted, chip), loader)


def default_slots(chip: FlashSize, big_flash: bool = False) -> tuple[Slot, ...]:
    """rBoot's default pair for a flash of this size, their sizes still 0."""
    usable = chip.bytes if big_flash else min(chip.bytes, WINDOW_SIZE)
    return parse_slots((FIRST_SLOT_ADDRESS, usable // 2 + FIRST_SLOT_ADDRESS))


def parse_slots(slots: object) -> tuple[Slot, ...]:
    """The `slots` that the user wrote in any of the ways of flash_map(), numbered in that order.

    Those without a size have size 0. Raises LayoutError.
    """
    if isinstance(slots, str):
        slots = re.sub(r"\s*:\s*", ":", slots).replace(",", " ").split()
    if isinstance(slots, bytes):
        raise LayoutError(f"the slots are {slots!r}; write a text or a list")
    items = slots if isinstance(slots, Iterable) else (slots,)
    return tuple(parse_slot(item, number) for number, item in enumerate(items))


def infer_sizes(slots: Sequence[Slot], chip: FlashSize, regions: Sequence[FlashRegion] = ()) -> tuple[Slot, ...]:
    """The slots, those of size 0 with all the room that there is for them.

    Such a slot reaches to the next slot or region, to the end of its megabyte, or to the SDK's own
    sectors at the end of the flash, whichever comes first.
    """

    def room(slot: Slot) -> int:
        pieces: list[Slot | FlashRegion] = [*slots, *regions]
        ends = [piece.address for piece in pieces if piece.address > slot.address]
        ends.append(window_end(slot.address))
        # A slot inside the SDK's sectors is the user's explicit wish; the flash's end still holds.
        tail = chip.bytes - SDK_TAIL_SIZE
        ends.append(tail if slot.address < tail else max(chip.bytes, slot.address + SECTOR_SIZE))
        return min(ends) - slot.address

    return tuple(slot if slot.size else replace(slot, size=room(slot)) for slot in slots)


def parse_slot(item: object, number: int | None = None) -> Slot:
    """The slot that the user wrote as `item`, an address or an address and a size; size 0 without one.

    Raises LayoutError if it is neither.
    """
    if isinstance(item, Slot):
        return replace(item, number=number)
    if isinstance(item, str):
        parts: Sequence[object] = item.split(":")
    elif isinstance(item, Sequence):
        parts = item
    else:
        parts = (item,)
    if not 1 <= len(parts) <= 2:
        name = "the slot" if number is None else f"slot {number}"
        raise LayoutError(f"{name} is {item!r}; write an address, or an address and a size")
    address, size = parse_number(parts[0]), parse_number(parts[1]) if len(parts) == 2 else 0
    if len(parts) == 2 and size == 0:
        raise LayoutError(f"{Slot(address, 0, number).label} has 0 bytes, too few for any ROM")
    return Slot(address, size, number)


def _sector_up(address: int) -> int:
    return -(-address // SECTOR_SIZE) * SECTOR_SIZE

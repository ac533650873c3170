"""Where things lie in the flash: slots, windows, and the flash bytes of an image's header.

Addresses and sizes are in bytes. A *flash address* counts from the start of the flash chip, a
*link address* is where the CPU sees it. Facts: rBoot 1.4.2 (rboot.c, readme.md) and the ESP8266's
memory map.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from .errors import LayoutError

SECTOR_SIZE = 0x1000
"""The flash is erased in pieces of this size."""

WINDOW_START = 0x40200000
WINDOW_SIZE = 0x100000
"""The CPU sees one aligned megabyte of the flash at a time, at WINDOW_START."""

IROM_OFFSET = 0x10
"""A ROM's code starts this far into its slot: two headers of 8 bytes stand before it."""

CONFIG_ADDRESS = 0x1000
FIRST_SLOT_ADDRESS = 0x2000
"""The loader stands at 0, rBoot's config sector at 0x1000; slots come after it."""

SDK_TAIL_SIZE = 0x5000
"""The SDK keeps RF calibration, PHY init data and its parameters in the last 5 sectors."""


@dataclass(frozen=True)
class Region:
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


@dataclass(frozen=True)
class FlashSize:
    """A flash size by esptool's name, with its code in an image header and its bytes."""

    name: str
    code: int
    bytes: int


# Size codes: esptool 5.6 (targets/esp8266.py); 5 is also the SDK's 2048b, 1024 + 1024 KB.
FLASH_SIZES = MappingProxyType(
    {
        size.name: size
        for size in (
            FlashSize("256KB", 1, 0x40000),
            FlashSize("512KB", 0, 0x80000),
            FlashSize("1MB", 2, 0x100000),
            FlashSize("2MB", 3, 0x200000),
            FlashSize("4MB", 4, 0x400000),
            FlashSize("2MB-c1", 5, 0x200000),
            FlashSize("4MB-c1", 6, 0x400000),
            FlashSize("8MB", 8, 0x800000),
            FlashSize("16MB", 9, 0x1000000),
        )
    }
)
FLASH_MODES = MappingProxyType({"qio": 0, "qout": 1, "dio": 2, "dout": 3})
FLASH_FREQS = MappingProxyType({"40m": 0, "26m": 1, "20m": 2, "80m": 15})


def flash_size(name: str) -> FlashSize:
    """The flash size that esptool calls `name`; `1M` stands for `1MB`, and case is ignored.

    Raises LayoutError for a name that is none, with the names that are.
    """
    by_name = {known.lower(): size for known, size in FLASH_SIZES.items()}
    by_name |= {known.replace("b", "", 1): size for known, size in by_name.items()}
    try:
        return by_name[str(name).strip().lower()]
    except KeyError:
        raise LayoutError(_unknown("flash size", name, FLASH_SIZES)) from None


@dataclass(frozen=True)
class FlashParams:
    """Bytes 2 and 3 of every image header: how the flash is wired and how large it is.

    The values are the header's codes: `mode` 0 to 255, `size` and `freq` 0 to 15. The mask ROM and
    rBoot read them from flash 0, that is from the loader; in a ROM they are there for the record.
    """

    mode: int = FLASH_MODES["qio"]
    size: int = FLASH_SIZES["512KB"].code
    freq: int = FLASH_FREQS["40m"]

    @classmethod
    def from_names(cls, mode: str, size: str, freq: str) -> FlashParams:
        """The codes for esptool's names: `qio`, `1MB`, `40m`. Raises LayoutError."""
        return cls(
            mode=_code("flash mode", mode, FLASH_MODES),
            size=flash_size(size).code,
            freq=_code("flash frequency", freq, FLASH_FREQS),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> FlashParams:
        """The values of the two header bytes `data`."""
        mode, size_and_freq = data
        return cls(mode, size_and_freq >> 4, size_and_freq & 0x0F)

    def to_bytes(self) -> bytes:
        """The two header bytes."""
        return bytes((self.mode, self.size << 4 | self.freq))

    def names(self) -> tuple[str | int, str | int, str | int]:
        """Mode, size and frequency by esptool's names, unknown codes as numbers."""
        modes = {code: name for name, code in FLASH_MODES.items()}
        sizes = {size.code: name for name, size in FLASH_SIZES.items()}
        freqs = {code: name for name, code in FLASH_FREQS.items()}
        return modes.get(self.mode, self.mode), sizes.get(self.size, self.size), freqs.get(self.freq, self.freq)

    def describe(self) -> str:
        """The same as one text: `qio, 512KB, 40m`."""
        named = zip(("mode", "size", "frequency"), self.names())
        return ", ".join(name if isinstance(name, str) else f"{what} {name}" for what, name in named)


DEFAULT_PARAMS = FlashParams()
"""What esptool2 writes unless told otherwise: QIO, 512 KB, 40 MHz."""


def _code(what: str, name: str, codes: MappingProxyType[str, int]) -> int:
    try:
        return codes[str(name).strip().lower()]
    except KeyError:
        raise LayoutError(_unknown(what, name, codes)) from None


def _unknown(what: str, name: object, known: Iterable[str]) -> str:
    return f"unknown {what} {str(name)!r}; choose one of {', '.join(known)}"


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
        return f"{'the slot' if self.number is None else f'slot {self.number}'} at {self.address:#x}"


def slot_of_link(link_address: int) -> int | None:
    """The flash address, within its megabyte, of the slot with this link address; None if no slot can have it."""
    address = link_address - WINDOW_START - IROM_OFFSET
    return address if 0 <= address < WINDOW_SIZE and address % SECTOR_SIZE == 0 else None


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


GPIO_MODES = ("", "rom", "skip")
"""What a pin can do in rBoot: nothing, choose a ROM, or skip one."""


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
    `rtc`: BOOT_RTC_ENABLED, it can boot a ROM once. `gpio`: "rom" for BOOT_GPIO_ENABLED, a low pin chooses
    the ROM of the config; "skip" for BOOT_GPIO_SKIP_ENABLED, it goes to the next ROM; "" for neither.
    `gpio_pin`: BOOT_GPIO_NUM, 0 to 16.

    Raises LayoutError for a value that rBoot cannot be built with.
    """

    big_flash: bool = False
    irom_checksum: bool = False
    config_checksum: bool = False
    max_roms: int = 4
    rtc: bool = False
    gpio: str = ""
    gpio_pin: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.max_roms <= 0xFF:
            raise LayoutError(f"max_roms of the loader is {self.max_roms}; rBoot counts ROMs from 1 to 255")
        if self.gpio not in GPIO_MODES:
            raise LayoutError(f"gpio of the loader is {self.gpio!r}; write {', '.join(map(repr, GPIO_MODES))}")
        if not 0 <= self.gpio_pin <= 16:
            raise LayoutError(f"gpio_pin of the loader is {self.gpio_pin}; the pins are 0 to 16")


DEFAULT_LOADER = LoaderOptions()


@dataclass(frozen=True)
class FlashMap:
    """A flash, its slots, what else is in it, and the loader that boots from it.

    `mode` and `freq` are the header's codes, as in FlashParams.

    Raises LayoutError if a slot or region is not on a sector, overlaps another, the loader or its config
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
        for slot in self.slots:
            self._check_place(slot)
            self._check_mapping(slot)
        for region in self.regions:
            self._check_place(region)
        pieces: list[Slot | FlashRegion] = [*self.slots, *self.regions]
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
        if piece.address % SECTOR_SIZE:
            raise LayoutError(
                f"{piece.label} does not start on a flash sector; "
                f"use a multiple of {SECTOR_SIZE:#x} such as {_sector_up(piece.address):#x}"
            )
        if piece.size <= 0:
            raise LayoutError(f"{piece.label} has {piece.size} bytes; give it some")
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
        if slot.size <= IROM_OFFSET:
            raise LayoutError(f"{slot.label} has {slot.size} bytes, too few for any ROM")
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


def flash_map(size: str, slots: str | Iterable[object] | None = None, big_flash: bool = False) -> FlashMap:
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
    return FlashMap(chip, with_sizes(wanted, chip), loader)


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


def with_sizes(slots: Sequence[Slot], chip: FlashSize, regions: Sequence[FlashRegion] = ()) -> tuple[Slot, ...]:
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


def parse_number(text: object) -> int:
    """The number of bytes or the address that `text` means: 8192, `0x2000`, `8K`, `1MB`.

    Raises LayoutError for anything else.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = re.fullmatch(r"(0x[0-9a-f]{1,16}|[0-9]{1,19})(?:([km])b?)?", str(text).strip().lower())
    if not match:
        raise LayoutError(f"{str(text)!r} is no address or size; write 0x2000, 8192 or 8KB")
    return int(match[1], 0 if match[1].startswith("0x") else 10) * {None: 1, "k": 1024, "m": 1024 * 1024}[match[2]]


def _sector_up(address: int) -> int:
    return -(-address // SECTOR_SIZE) * SECTOR_SIZE


def window_end(address: int) -> int:
    """The end of the megabyte that flash `address` is in."""
    return (address // WINDOW_SIZE + 1) * WINDOW_SIZE

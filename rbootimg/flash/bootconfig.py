"""rBoot's config sector <-> values: which ROMs there are and which one boots. No files.

The config stands at flash 0x1000, in a sector whose rest belongs to the application. Source: rBoot 1.4.2
(rboot.h, rboot_config).
"""

from __future__ import annotations

import enum
import functools
import operator
import struct
from dataclasses import dataclass

from ..errors import ConfigError
from ..layout.memory import SECTOR_SIZE

MAX_ROMS = 4
"""How many ROMs rBoot's config has room for unless rBoot was built with another MAX_ROMS."""

# magic, version, mode, current_rom, gpio_rom, count, 2 unused bytes; then the ROMs' flash addresses.
_HEADER = struct.Struct("<BBBBBB2x")
_ADDRESS = struct.Struct("<I")
_COUNT = 5  # where count stands
# magic, next_mode, last_mode, last_rom, temp_rom; a checksum and three unused bytes follow.
_RTC = struct.Struct("<IBBBB")
_RTC_MAGIC = 0x2334AE68
_MAGIC = 0xE1
_VERSION = 0x01
_CHECKSUM_SEED = 0xEF


class Mode(enum.IntFlag):
    """The bits of the config's mode byte; 0 is a standard boot."""

    GPIO_ROM = 0x01
    """Boot `gpio_rom` if the GPIO is pulled low at power-on."""
    TEMP_ROM = 0x02
    """Only in RTC memory: boot another ROM once."""
    GPIO_ERASES_SDK = 0x04
    """Erase the SDK's parameters when the GPIO is pulled low."""
    GPIO_SKIP = 0x08
    """Leave the GPIO alone this time."""


@dataclass(frozen=True)
class BootConfig:
    """What rBoot reads at power-on: the flash addresses of the `roms`, and the number of the current one.

    `gpio_rom` is the number of the ROM that a GPIO can choose. Raises ConfigError for values that rBoot
    could not use: no ROM at all, a number without a ROM, or a mode beyond the known bits.
    """

    roms: tuple[int, ...]
    current_rom: int = 0
    gpio_rom: int = 0
    mode: Mode = Mode(0)  # noqa: RUF009 - an immutable value

    def __post_init__(self) -> None:
        if not self.roms:
            raise ConfigError("a boot config needs at least one ROM")
        if not 0 <= self.current_rom < len(self.roms):
            raise ConfigError(f"the current ROM is {self.current_rom}, but there are only {len(self.roms)} ROMs")
        if not 0 <= self.gpio_rom < len(self.roms):
            raise ConfigError(f"the GPIO ROM is {self.gpio_rom}, but there are only {len(self.roms)} ROMs")

    def to_bytes(self, max_roms: int = MAX_ROMS, checksum: bool = False) -> bytes:
        """The config's bytes, as an rBoot built with `max_roms` (and BOOT_CONFIG_CHKSUM) writes them.

        Raises ConfigError if there are more ROMs than that.
        """
        if len(self.roms) > max_roms:
            raise ConfigError(
                f"{len(self.roms)} ROMs do not fit a config for {max_roms}; build rBoot with more MAX_ROMS"
            )
        data = _HEADER.pack(_MAGIC, _VERSION, self.mode, self.current_rom, self.gpio_rom, len(self.roms))
        addresses = (*self.roms, *(0,) * (max_roms - len(self.roms)))
        data += b"".join(map(_ADDRESS.pack, addresses))
        return data + bytes((_checksum(data),)) if checksum else data

    def rewrite(self, sector: bytes, max_roms: int = MAX_ROMS, checksum: bool = False) -> bytes:
        """The config `sector` (4,096 bytes) with this config in it and the application's part as it was.

        Raises ConfigError if the sector has another size.
        """
        if len(sector) != SECTOR_SIZE:
            raise ConfigError(f"a config sector has {SECTOR_SIZE:,} bytes, not {len(sector):,}")
        data = self.to_bytes(max_roms, checksum)
        return data + sector[len(data) :]

    @classmethod
    def from_bytes(cls, data: bytes, max_roms: int = MAX_ROMS, checksum: bool = False) -> BootConfig:
        """The config at the start of `data`, for an rBoot built with `max_roms` (and BOOT_CONFIG_CHKSUM).

        Raises ConfigError where rBoot would write its default config instead (magic, version, checksum),
        and for values that it could not use.
        """
        size = _HEADER.size + _ADDRESS.size * max_roms + checksum
        if len(data) < size:
            raise ConfigError(f"a boot config has {size} bytes, but there are only {len(data)}")
        magic, version, mode, current_rom, gpio_rom, count = _HEADER.unpack_from(data)
        if (magic, version) != (_MAGIC, _VERSION):
            raise ConfigError(
                f"bytes {magic:#04x} {version:#04x} are not {_MAGIC:#04x} {_VERSION:#04x}, with which a config begins"
            )
        if checksum and data[size - 1] != (expected := _checksum(data[: size - 1])):
            raise ConfigError(f"the config's checksum is {data[size - 1]:#04x}, but the data give {expected:#04x}")
        if count > max_roms:
            raise ConfigError(f"the config counts {count} ROMs, but has room for {max_roms}")
        if mode & ~sum(bit.value for bit in Mode):
            raise ConfigError(f"the config's mode {mode:#04x} has bits that rBoot does not know")
        roms = struct.unpack_from(f"<{count}I", data, _HEADER.size)
        return cls(roms, current_rom, gpio_rom, Mode(mode))


def room_in(sector: bytes, checksum: bool) -> int:
    """MAX_ROMS of the rBoot whose config `sector` begins with: told by where the checksum stands.

    rBoot clears the addresses that it does not count. Without a checksum, or with a wrong one, nothing tells: then it
    is MAX_ROMS, or the config's count if that is more.
    """
    count = sector[_COUNT] if len(sector) > _COUNT else 0
    likely = max(MAX_ROMS, count)
    if not checksum:
        return likely
    rooms: list[int] = [likely, *range(max(count, 1), 0x100)]
    for room in rooms:
        end = _HEADER.size + _ADDRESS.size * room
        if any(sector[_HEADER.size + _ADDRESS.size * count : end]) or len(sector) <= end:
            continue
        if sector[end] == _checksum(sector[:end]):
            return room
    return likely


@dataclass(frozen=True)
class RtcData:
    """What an rBoot built with BOOT_RTC_ENABLED and an application tell each other in RTC memory (address 0x60001200).

    `next_mode` with TEMP_ROM asks for the ROM `temp_rom` at the next boot, once; `last_mode` and `last_rom` are
    how this boot came about. rBoot checks the checksum and not the magic.
    """

    next_mode: Mode = Mode(0)  # noqa: RUF009 - an immutable value
    last_mode: Mode = Mode(0)  # noqa: RUF009
    last_rom: int = 0
    temp_rom: int = 0

    def to_bytes(self) -> bytes:
        """The 12 bytes in RTC memory."""
        data = _RTC.pack(_RTC_MAGIC, self.next_mode, self.last_mode, self.last_rom, self.temp_rom)
        return data + bytes((_checksum(data), 0, 0, 0))

    @classmethod
    def from_bytes(cls, data: bytes) -> RtcData | None:
        """The values in RTC memory, or None where the checksum is wrong, as after power-on."""
        if len(data) <= _RTC.size or data[_RTC.size] != _checksum(data[: _RTC.size]):
            return None
        _, next_mode, last_mode, last_rom, temp_rom = _RTC.unpack_from(data)
        return cls(Mode(next_mode), Mode(last_mode), last_rom, temp_rom)


def _checksum(data: bytes) -> int:
    return functools.reduce(operator.xor, data, _CHECKSUM_SEED)

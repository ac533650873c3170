"""rBoot's config sector and RTC data <-> values. No files.

The config is at flash 0x1000, in a sector whose rest belongs to the application. Source: rBoot 1.4.2
(rboot.h, rboot_config and rboot_rtc_data).
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from ..errors import ConfigError
from ..layout.memory import SECTOR_SIZE
from ..rom.format import CHECKSUM_SEED, xor_checksum

MAX_ROMS = 4
"""rBoot's default MAX_ROMS: the number of ROM addresses in a config."""

MAGIC = b"\xe1\x01"
"""The first two bytes of a config: magic and version."""

# Offsets in the config, a byte each: the fields of rboot_config between the magic and the ROM addresses.
MODE_OFFSET, CURRENT_ROM_OFFSET, GPIO_ROM_OFFSET, COUNT_OFFSET = 2, 3, 4, 5
# magic and version, mode, current_rom, gpio_rom, count, 2 unused bytes; then the ROMs' flash addresses.
_HEADER = struct.Struct("<2sBBBB2x")
_ADDRESS = struct.Struct("<I")
# magic, next_mode, last_mode, last_rom, temp_rom; a checksum and 3 unused bytes follow.
_RTC = struct.Struct("<IBBBB")
_RTC_MAGIC = 0x2334AE68


class BootMode(enum.IntFlag):
    """The bits of the config's mode byte; 0 is a standard boot."""

    GPIO_ROM = 0x01
    """Boot `gpio_rom` if the GPIO is pulled low at power-on."""
    TEMP_ROM = 0x02
    """Boot another ROM once; only in RTC memory."""
    GPIO_ERASES_SDK = 0x04
    """Erase the SDK's parameters if the GPIO is pulled low."""
    GPIO_SKIP = 0x08
    """The default of an rBoot with BOOT_GPIO_SKIP_ENABLED, which boots the next ROM if the GPIO is pulled low."""


_ALL_MODES = sum(bit.value for bit in BootMode)


@dataclass(frozen=True)
class BootConfig:
    """rBoot's config: the flash addresses of the `roms`, and the numbers of the current ROM and the GPIO ROM.

    Raises ConfigError for values that rBoot cannot use: no ROM, or a number without a ROM.
    """

    roms: tuple[int, ...]
    current_rom: int = 0
    gpio_rom: int = 0
    mode: BootMode = BootMode(0)  # noqa: RUF009 - an immutable value

    def __post_init__(self) -> None:
        if not self.roms:
            raise ConfigError("a boot config needs at least one ROM")
        for name, number in (("current", self.current_rom), ("GPIO", self.gpio_rom)):
            if not 0 <= number < len(self.roms):
                raise ConfigError(f"invalid {name} ROM {number}: expected 0-{len(self.roms) - 1}")

    def to_bytes(self, max_roms: int = MAX_ROMS, checksum: bool = False) -> bytes:
        """Return the config as an rBoot built with `max_roms` (and with BOOT_CONFIG_CHKSUM) writes it.

        Raises ConfigError if there are more ROMs than `max_roms`.
        """
        if len(self.roms) > max_roms:
            raise ConfigError(f"too many ROMs: {len(self.roms)} > MAX_ROMS {max_roms}; build rBoot with more MAX_ROMS")
        data = _HEADER.pack(MAGIC, self.mode, self.current_rom, self.gpio_rom, len(self.roms))
        addresses = (*self.roms, *(0,) * (max_roms - len(self.roms)))
        data += b"".join(map(_ADDRESS.pack, addresses))
        return data + bytes((config_checksum(data),)) if checksum else data

    def rewrite(self, sector: bytes, max_roms: int = MAX_ROMS, checksum: bool = False) -> bytes:
        """Return the config `sector` with this config at its start; the application's part is unchanged.

        Raises ConfigError if the sector does not have 4,096 bytes.
        """
        if len(sector) != SECTOR_SIZE:
            raise ConfigError(f"invalid config sector: expected {SECTOR_SIZE:,} bytes, got {len(sector):,}")
        data = self.to_bytes(max_roms, checksum)
        return data + sector[len(data) :]

    @classmethod
    def from_bytes(cls, data: bytes, max_roms: int = MAX_ROMS, checksum: bool = False) -> BootConfig:
        """Return the config at the start of `data`, for an rBoot built with `max_roms` (and with BOOT_CONFIG_CHKSUM).

        Raises ConfigError where rBoot would write its default config instead (magic, version, checksum),
        and for values that it cannot use.
        """
        size = checksum_offset(max_roms) + checksum
        if len(data) < size:
            raise ConfigError(f"truncated config: expected {size} bytes, got {len(data)}")
        magic, mode, current_rom, gpio_rom, count = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise ConfigError(f"bad config magic: found {magic.hex(' ')}, expected {MAGIC.hex(' ')}")
        if checksum and data[size - 1] != (expected := config_checksum(data[: size - 1])):
            raise ConfigError(f"bad config checksum {data[size - 1]:#04x}: expected {expected:#04x}")
        if count > max_roms:
            raise ConfigError(f"invalid ROM count {count} in the config: expected at most {max_roms}")
        if mode & ~_ALL_MODES:
            raise ConfigError(f"invalid config mode {mode:#04x}: expected only the bits {_ALL_MODES:#04x}")
        roms = struct.unpack_from(f"<{count}I", data, _HEADER.size)
        return cls(roms, current_rom, gpio_rom, BootMode(mode))


def address_offset(number: int) -> int:
    """Return the offset of ROM `number`'s flash address in a config; the address is a little-endian word."""
    return _HEADER.size + _ADDRESS.size * number


def checksum_offset(max_roms: int) -> int:
    """Return the offset of the checksum, which is the number of bytes before it, in a config for `max_roms`."""
    return address_offset(max_roms)


def config_checksum(data: bytes | bytearray) -> int:
    """Return the checksum of a config's or of RTC data's bytes, without the checksum itself."""
    return CHECKSUM_SEED ^ xor_checksum(data)


def infer_max_roms(sector: bytes, checksum: bool) -> int:
    """Return MAX_ROMS of the rBoot that wrote the config in `sector`, inferred from the checksum's position.

    rBoot clears the unused addresses. Without a checksum or with a wrong one it is MAX_ROMS, or the config's count if
    that is larger.
    """
    count = sector[COUNT_OFFSET] if len(sector) > COUNT_OFFSET else 0
    likely = max(MAX_ROMS, count)
    if not checksum:
        return likely
    candidates: list[int] = [likely, *range(max(count, 1), 0x100)]
    for candidate in candidates:
        end = checksum_offset(candidate)
        if any(sector[address_offset(count) : end]) or len(sector) <= end:
            continue
        if sector[end] == config_checksum(sector[:end]):
            return candidate
    return likely


@dataclass(frozen=True)
class RtcData:
    """The data that an rBoot with BOOT_RTC_ENABLED and an application exchange in RTC memory (address 0x60001200).

    `next_mode` with TEMP_ROM asks for the ROM `temp_rom` at the next boot, once; `last_mode` and `last_rom` tell how
    the current boot came about. rBoot checks the checksum and ignores the magic.
    """

    next_mode: BootMode = BootMode(0)  # noqa: RUF009 - an immutable value
    last_mode: BootMode = BootMode(0)  # noqa: RUF009
    last_rom: int = 0
    temp_rom: int = 0

    def to_bytes(self) -> bytes:
        """Return the 12 bytes in RTC memory."""
        data = _RTC.pack(_RTC_MAGIC, self.next_mode, self.last_mode, self.last_rom, self.temp_rom)
        return data + bytes((config_checksum(data), 0, 0, 0))

    @classmethod
    def from_bytes(cls, data: bytes) -> RtcData | None:
        """Return the values in RTC memory, or None if the checksum is wrong, as after power-on."""
        if len(data) <= _RTC.size or data[_RTC.size] != config_checksum(data[: _RTC.size]):
            return None
        _, next_mode, last_mode, last_rom, temp_rom = _RTC.unpack_from(data)
        return cls(BootMode(next_mode), BootMode(last_mode), last_rom, temp_rom)

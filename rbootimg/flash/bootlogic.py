"""Prediction of what a boot loader does with a flash: rBoot's rules in Python. No files.

`rbootimg/firmware/loader/loader.c` makes the same decisions on the chip: change both together. Source: rBoot 1.4.2
and its master of 2019-08 (rboot.c, find_image and check_image), which differ in the flash sizes that they know.

Three differences from rBoot, each of them safer: a section length that is not a multiple of 4 makes a ROM bad, as the
chip reads words; with a config that counts no ROMs the search ends after ROM 0, where rBoot reads addresses before its
list, possibly for ever; 255 sections count as 255, where an rBoot with BOOT_IROM_CHKSUM overflows its counter to 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ..errors import RomError
from ..layout.memory import BLANK, CONFIG_ADDRESS, SECTOR_SIZE, window_end
from ..layout.model import DEFAULT_LOADER, GpioMode, LoaderOptions
from ..layout.params import FlashParams
from ..rom import fit
from ..rom.format import (
    CHECKSUM_SEED,
    HEADER,
    IROM_COUNT,
    IROM_MAGIC,
    PARAMS,
    RAM_MAGIC,
    SECTION_HEADER,
    Rom,
    checksum_offset,
    image_size,
    xor_checksum,
)
from . import bootconfig
from .bootconfig import COUNT_OFFSET, CURRENT_ROM_OFFSET, GPIO_ROM_OFFSET, MODE_OFFSET, BootMode, RtcData
from .loader import GPIO_BOOT_MODES, default_roms, usable_size

_SECTOR = slice(CONFIG_ADDRESS, CONFIG_ADDRESS + SECTOR_SIZE)
_WORD = struct.Struct("<I")
_WORD_MASK = 0xFFFFFFFF
_DEFAULT_COUNT = 2
_SDK_SECTORS = 4
"""Sectors at the end of the flash that a GPIO boot with GPIO_ERASES_SDK erases."""


@dataclass(frozen=True)
class BootDecision:
    """What the loader does at power-on.

    `rom` is the number of the ROM that it starts, None if it stops. `address` is that ROM's flash address, `image`
    the flash address of its RAM part, `entry` its entry point. `config` is the config sector that it writes and `rtc`
    the RTC data that it writes, each None if it writes none. `erased` are the flash addresses of the SDK's sectors
    that it erases. `lines` are its messages from the config on. `problems` are the reasons why the started ROM would
    not run, which the loader does not check: see fit.problems().
    """

    rom: int | None
    lines: tuple[str, ...]
    address: int = 0
    image: int = 0
    entry: int = 0
    config: bytes | None = None
    rtc: RtcData | None = None
    erased: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


def predict_boot(
    flash: bytes, options: LoaderOptions = DEFAULT_LOADER, gpio_low: bool = False, rtc: RtcData | None = None
) -> BootDecision:
    """Predict what a loader built with `options` does with `flash`, the complete contents of the chip.

    `gpio_low`: the pin of its GPIO mode is low. `rtc`: the valid data in RTC memory, None at power-on.
    """
    boot = _Boot(flash, options, gpio_low, rtc)
    try:
        boot.read_config()
        boot.choose_rom()
        image = boot.find_valid_rom()
    except _AbortedBootError as stop:
        lines = (*boot.lines, str(stop))
        return BootDecision(None, lines, config=boot.written_config, rtc=stop.rtc, erased=boot.erased)
    return boot.start(image)


class _AbortedBootError(Exception):
    """The loader prints this message and stops; `rtc` is the RTC data that it writes before, if any."""

    def __init__(self, line: str, rtc: RtcData | None = None) -> None:
        super().__init__(line)
        self.rtc = rtc


class _Boot:
    """A boot in progress. Its methods are the steps of find_image(), in their order."""

    def __init__(self, flash: bytes, options: LoaderOptions, gpio_low: bool, rtc: RtcData | None) -> None:
        self.lines: list[str] = []
        self.written_config: bytes | None = None
        self.erased: tuple[int, ...] = ()
        self._chip = bytearray(flash)
        self._options = options
        self._params = FlashParams.from_bytes(flash[PARAMS])
        self._config = _Config(self._chip[_SECTOR], options)
        self._rom = 0
        self._config_changed = False
        self._is_gpio_boot = options.gpio is not GpioMode.NONE and gpio_low
        self._is_gpio_rom_boot = self._is_gpio_boot and options.gpio is GpioMode.ROM
        # The RTC data that ask for a temporary ROM.
        self._temp = rtc if options.rtc and rtc is not None and rtc.next_mode & BootMode.TEMP_ROM else None

    def read_config(self) -> None:
        """Read the config, or write the default one instead of an invalid one."""
        if not self._config.is_valid:
            self.lines.append("Writing default boot config.")
            self._config.set_default(self._params)
            self.written_config = self._chip[_SECTOR] = self._config.to_bytes()

    def choose_rom(self) -> None:
        """Choose the ROM to try first: the current, the temporary or the GPIO's one."""
        self._rom = self._config.current_rom
        if self._temp:
            self._rom = self._checked(self._temp.temp_rom, "Booting temp rom.", "Invalid temp rom selected.")
        if self._is_gpio_boot:
            self._choose_by_gpio()
        if self._config.current_rom >= self._config.count:
            self.lines.append("Invalid rom selected, defaulting to 0.")
            self._rom = self._config.current_rom = 0
            self._config_changed = True

    def _choose_by_gpio(self) -> None:
        self._config_changed = True
        if self._is_gpio_rom_boot:
            self._rom = self._checked(self._config.gpio_rom, "Booting GPIO-selected rom.", "Invalid GPIO rom selected.")
        else:
            following = self._config.current_rom + 1
            self._rom = self._config.current_rom = 0 if following >= self._config.count else following
        if self._config.mode & BootMode.GPIO_ERASES_SDK:
            self._erase_sdk()

    def _checked(self, rom: int, line: str, error: str) -> int:
        if rom >= self._config.count:
            raise _AbortedBootError(error)
        self.lines.append(line)
        return rom

    def _erase_sdk(self) -> None:
        self.lines.append("Erasing SDK config sectors before booting.")
        end = usable_size(self._params, self._options.big_flash, self._options.all_sizes)
        self.erased = tuple(end - SECTOR_SIZE * number for number in range(1, _SDK_SECTORS + 1))
        for address in self.erased:
            sector = slice(address, address + SECTOR_SIZE)
            self._chip[sector] = BLANK * len(self._chip[sector])  # the flash may be smaller than the loader assumes

    def find_valid_rom(self) -> int:
        """Return the flash address of the RAM part of the chosen ROM, else of the next valid one in rBoot's order."""
        flash = _Sums(self._chip)
        while (image := _check_image(flash, self._config.address(self._rom), self._options.irom_checksum)) is None:
            if self._is_gpio_rom_boot:
                raise _AbortedBootError(f"GPIO boot rom ({self._rom}) is bad.")
            if self._temp:
                raise _AbortedBootError(
                    f"Temp boot rom ({self._rom}) is bad.", replace(self._temp, next_mode=BootMode(0))
                )
            self.lines.append(f"Rom {self._rom} at {self._config.address(self._rom):x} is bad.")
            self._config_changed = True
            self._rom = (self._rom or max(self._config.count, 1)) - 1
            if self._rom == self._config.current_rom:
                raise _AbortedBootError("No good rom available.")
        return image

    def start(self, image: int) -> BootDecision:
        """Return the decision to start the ROM whose RAM part is at `image`."""
        if self._config_changed:
            self._config.current_rom = self._rom
            self.written_config = self._config.to_bytes()
        address = self._config.address(self._rom)
        self.lines.append(f"Booting rom {self._rom} at {address:x}, load addr {image:x}.")
        return BootDecision(
            self._rom,
            tuple(self.lines),
            address,
            image,
            HEADER.unpack_from(self._chip, image)[3],
            self.written_config,
            self._rtc_after() if self._options.rtc else None,
            self.erased,
            _problems(bytes(self._chip[address : window_end(address)]), self._options),
        )

    def _rtc_after(self) -> RtcData:
        mode = BootMode.TEMP_ROM if self._temp else BootMode(0)
        if self._is_gpio_rom_boot:
            mode |= BootMode.GPIO_ROM
        return RtcData(last_mode=mode, last_rom=self._rom)


class _Config:
    """The bytes of a config sector, valid or not, as the loader reads and changes them."""

    def __init__(self, sector: bytearray, options: LoaderOptions) -> None:
        self._sector = sector
        self._options = options
        self._checksum = bootconfig.checksum_offset(options.max_roms)

    @property
    def is_valid(self) -> bool:
        """Whether the loader takes the sector for a config."""
        return self._sector.startswith(bootconfig.MAGIC) and (
            not self._options.config_checksum or self._sector[self._checksum] == self._expected_checksum()
        )

    @property
    def mode(self) -> int:
        return self._sector[MODE_OFFSET]

    @property
    def current_rom(self) -> int:
        return self._sector[CURRENT_ROM_OFFSET]

    @current_rom.setter
    def current_rom(self, number: int) -> None:
        self._sector[CURRENT_ROM_OFFSET] = number

    @property
    def gpio_rom(self) -> int:
        return self._sector[GPIO_ROM_OFFSET]

    @property
    def count(self) -> int:
        return self._sector[COUNT_OFFSET]

    def address(self, number: int) -> int:
        """Return the flash address of ROM `number`; beyond MAX_ROMS it reads on in the sector, as rBoot does."""
        address: int = _WORD.unpack_from(self._sector, bootconfig.address_offset(number))[0]
        return address

    def set_default(self, params: FlashParams) -> None:
        """Replace the config by the loader's default for the flash parameters at flash 0."""
        options = self._options
        # The checksum has a word to itself in rBoot's structure.
        size = self._checksum + _WORD.size * options.config_checksum
        self._sector[:size] = bootconfig.MAGIC.ljust(size, b"\0")
        self._sector[MODE_OFFSET] = GPIO_BOOT_MODES[options.gpio]
        self._sector[COUNT_OFFSET] = _DEFAULT_COUNT
        for number, address in enumerate(default_roms(params, options.big_flash, options.all_sizes)):
            _WORD.pack_into(self._sector, bootconfig.address_offset(number), address)

    def to_bytes(self) -> bytes:
        """Return the sector as the loader writes it, with a new checksum if it has one."""
        if self._options.config_checksum:
            self._sector[self._checksum] = self._expected_checksum()
        return bytes(self._sector)

    def _expected_checksum(self) -> int:
        return bootconfig.config_checksum(self._sector[: self._checksum])


def _problems(data: bytes, options: LoaderOptions) -> tuple[str, ...]:
    try:
        return fit.problems(Rom.from_bytes(data[: image_size(data)], options.irom_checksum))
    except RomError as error:
        return (str(error),)


class _Sums:
    """The contents of a flash, and the XOR of its areas.

    A config can have 255 ROMs that all reach to the flash's end, so an area that was summed once is not summed again.
    """

    def __init__(self, chip: bytearray) -> None:
        self._chip = chip
        self._left = 2 * len(chip)  # bytes to sum directly: a flash with a valid ROM or two needs no table
        self._before = [0]  # the XOR of all before sector n

    def read(self, address: int, length: int) -> bytearray:
        """Read as the mask ROM's SPIRead does. Raises IndexError past the end of the flash."""
        if address + length > len(self._chip):
            raise IndexError
        return self._chip[address : address + length]

    def sum_section(self, address: int, length: int) -> int:
        """Return the XOR of a section of a ROM. Raises IndexError if its length is invalid."""
        if length % _WORD.size or address + length > len(self._chip):
            raise IndexError
        first, last = -(-address // SECTOR_SIZE), (address + length) // SECTOR_SIZE
        self._left -= length
        if self._left > 0 or first >= last:
            return xor_checksum(self._chip[address : address + length])
        for number in range(len(self._before) - 1, last):
            start = number * SECTOR_SIZE
            self._before.append(self._before[-1] ^ xor_checksum(self._chip[start : start + SECTOR_SIZE]))
        ends = self._chip[address : first * SECTOR_SIZE] + self._chip[last * SECTOR_SIZE : address + length]
        return self._before[last] ^ self._before[first] ^ xor_checksum(ends)


def _check_image(flash: _Sums, address: int, irom_checksum: bool) -> int | None:
    """Return the flash address of the RAM part of the ROM at `address`, or None if the ROM is bad."""
    if address in (0, _WORD_MASK):
        return None
    try:
        magic, count, *_ = HEADER.unpack(flash.read(address, HEADER.size))
        total = CHECKSUM_SEED
        if (magic, count) == (IROM_MAGIC, IROM_COUNT):
            _, length = SECTION_HEADER.unpack(flash.read(address + HEADER.size, SECTION_HEADER.size))
            address += HEADER.size + SECTION_HEADER.size
            if irom_checksum:
                total ^= flash.sum_section(address, length)
            address = (address + length) & _WORD_MASK
            _, count, *_ = HEADER.unpack(flash.read(address, HEADER.size))
        elif magic != RAM_MAGIC:
            return None
        image = address
        address += HEADER.size
        for _ in range(count):
            _, length = SECTION_HEADER.unpack(flash.read(address, SECTION_HEADER.size))
            total ^= flash.sum_section(address + SECTION_HEADER.size, length)
            address = (address + SECTION_HEADER.size + length) & _WORD_MASK
        return image if flash.read(checksum_offset(address), 1)[0] == total else None
    except IndexError:
        return None

"""What a boot loader makes of a flash, without running it: rBoot's rules in plain Python. No files.

`rbootimg/firmware/loader/loader.c` is the same decision on the chip; a change here is one there. Source: rBoot 1.4.2
and its master of 2019-08 (rboot.c, find_image and check_image), which differ in the flash sizes that they know. Three
things are safer here than there: a section length that is no multiple of 4 is bad, as the chip reads whole words; a
config that counts no ROMs ends the search after ROM 0, where rBoot goes on to what stands before its list, perhaps for
ever; and 255 sections are 255, where an rBoot with BOOT_IROM_CHKSUM counts them in a byte that becomes 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ..errors import RomError
from ..layout.memory import CONFIG_ADDRESS, SECTOR_SIZE, window_end
from ..layout.model import DEFAULT_LOADER, GpioMode, LoaderOptions
from ..layout.params import FlashParams
from ..rom import fit
from ..rom.format import Rom, image_size, xor_checksum
from .bootconfig import BootMode, RtcData
from .loader import GPIO_BOOT_MODES, default_roms, usable_size

# Of the config sector: magic, version, mode, current_rom, gpio_rom, count, two unused bytes, then the ROMs' addresses.
_MAGIC_AND_VERSION = bytes((0xE1, 0x01))
_MODE, _CURRENT, _GPIO_ROM, _COUNT, _ROMS = 2, 3, 4, 5, 8
_SEED = 0xEF
_SECTOR = slice(CONFIG_ADDRESS, CONFIG_ADDRESS + SECTOR_SIZE)
_WORD_MASK = 0xFFFFFFFF
_HEADER = struct.Struct("<BB2sI")
_SECTION = struct.Struct("<II")
_WORD = struct.Struct("<I")


@dataclass(frozen=True)
class BootDecision:
    """What the loader does at power-on.

    `rom` is the number of the ROM that it starts, None if it stops; `address` that ROM's flash address, `image`
    that of its RAM part, `entry` where it jumps to. `config` is the config sector that it writes, None if it
    leaves it alone. `rtc` is its RTC data afterwards, None if it leaves them alone. `erased` are the flash
    addresses of the SDK's sectors that it erases. `lines` is what it prints, from the config on. `problems` are why the
    ROM that it starts would not run, which the loader does not look at: see fit.problems().
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
    """What a loader built with `options` makes of `flash`, the whole chip's bytes.

    `gpio_low`: the pin of its GPIO mode is low; `rtc`: its valid data in RTC memory, None at power-on.
    """
    chip = bytearray(flash)
    params = FlashParams.from_bytes(flash[2:4])
    sector = chip[_SECTOR]
    config: bytes | None = None
    erased: tuple[int, ...] = ()
    lines: list[str] = []

    def stop(line: str, new_rtc: RtcData | None = None) -> BootDecision:
        return BootDecision(None, (*lines, line), config=config, rtc=new_rtc, erased=erased)

    if not _is_config(sector, options):
        lines.append("Writing default boot config.")
        _set_default(sector, options, params)
        config = chip[_SECTOR] = _with_checksum(sector, options)
    rom = sector[_CURRENT]

    temp_boot = options.rtc and rtc is not None and bool(rtc.next_mode & BootMode.TEMP_ROM)
    if temp_boot and rtc is not None:
        if rtc.temp_rom >= sector[_COUNT]:
            return stop("Invalid temp rom selected.")
        lines.append("Booting temp rom.")
        rom = rtc.temp_rom

    write = gpio_boot = options.gpio is not GpioMode.NONE and gpio_low
    if gpio_boot and options.gpio is GpioMode.ROM:
        if sector[_GPIO_ROM] >= sector[_COUNT]:
            return stop("Invalid GPIO rom selected.")
        lines.append("Booting GPIO-selected rom.")
        rom = sector[_GPIO_ROM]
    elif gpio_boot:
        rom = sector[_CURRENT] + 1
        rom = sector[_CURRENT] = 0 if rom >= sector[_COUNT] else rom
    if gpio_boot and sector[_MODE] & BootMode.GPIO_ERASES_SDK:
        lines.append("Erasing SDK config sectors before booting.")
        end = usable_size(params, options.big_flash, options.all_sizes)
        erased = tuple(end - SECTOR_SIZE * number for number in range(1, 5))
        for address in erased:
            chip[address : address + SECTOR_SIZE] = bytes(b"\xff" * len(chip[address : address + SECTOR_SIZE]))

    if sector[_CURRENT] >= sector[_COUNT]:
        lines.append("Invalid rom selected, defaulting to 0.")
        rom = sector[_CURRENT] = 0
        write = True

    sums = _Sums(chip)
    while (image := _check(sums, _rom_address(sector, rom), options.irom_checksum)) is None:
        if gpio_boot and options.gpio is GpioMode.ROM:
            return stop(f"GPIO boot rom ({rom}) is bad.")
        if temp_boot and rtc is not None:
            return stop(f"Temp boot rom ({rom}) is bad.", replace(rtc, next_mode=BootMode(0)))
        lines.append(f"Rom {rom} at {_rom_address(sector, rom):x} is bad.")
        write = True
        rom = (rom or max(sector[_COUNT], 1)) - 1
        if rom == sector[_CURRENT]:
            return stop("No good rom available.")
    if write:
        sector[_CURRENT] = rom
        config = _with_checksum(sector, options)

    new_rtc = None
    if options.rtc:
        mode = BootMode.TEMP_ROM if temp_boot else BootMode(0)
        new_rtc = RtcData(
            last_mode=mode | BootMode.GPIO_ROM if gpio_boot and options.gpio is GpioMode.ROM else mode, last_rom=rom
        )
    address = _rom_address(sector, rom)
    lines.append(f"Booting rom {rom} at {address:x}, load addr {image:x}.")
    entry = _HEADER.unpack_from(chip, image)[3]
    problems = _problems(bytes(chip[address : window_end(address)]), options)
    return BootDecision(rom, tuple(lines), address, image, entry, config, new_rtc, erased, problems)


def _problems(data: bytes, options: LoaderOptions) -> tuple[str, ...]:
    try:
        return fit.problems(Rom.from_bytes(data[: image_size(data)], options.irom_checksum))
    except RomError as error:
        return (str(error),)


class _Sums:
    """Pieces of a flash that does not change any more, and the XOR of each.

    A config can have 255 ROMs that all reach to the flash's end, so what was summed once is not summed again.
    """

    def __init__(self, chip: bytearray) -> None:
        self._chip = chip
        self._left = 2 * len(chip)  # a flash with a good ROM or two takes no table
        self._before = [0]

    def read(self, address: int, length: int) -> bytearray:
        """What the mask ROM's SPIRead reads. Raises IndexError for what it refuses."""
        if address + length > len(self._chip):
            raise IndexError
        return self._chip[address : address + length]

    def of_section(self, address: int, length: int) -> int:
        """The XOR of a section of a ROM. Raises IndexError if it cannot be one."""
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


def _check(flash: _Sums, address: int, irom_checksum: bool) -> int | None:
    """The flash address of the RAM part of the ROM at `address`, or None if it is bad."""
    if address in (0, 0xFFFFFFFF):
        return None
    try:
        magic, count, *_ = _HEADER.unpack(flash.read(address, _HEADER.size))
        total = _SEED
        if (magic, count) == (0xEA, 0x04):
            _, length = _SECTION.unpack(flash.read(address + _HEADER.size, _SECTION.size))
            address += _HEADER.size + _SECTION.size
            if irom_checksum:
                total ^= flash.of_section(address, length)
            address = (address + length) & _WORD_MASK
            _, count, *_ = _HEADER.unpack(flash.read(address, _HEADER.size))
        elif magic != 0xE9:
            return None
        image = address
        address += _HEADER.size
        for _ in range(count):
            _, length = _SECTION.unpack(flash.read(address, _SECTION.size))
            total ^= flash.of_section(address + _SECTION.size, length)
            address = (address + _SECTION.size + length) & _WORD_MASK
        return image if flash.read(address | 15, 1)[0] == total else None
    except IndexError:
        return None


def _is_config(sector: bytearray, options: LoaderOptions) -> bool:
    end = _ROMS + _WORD.size * options.max_roms
    return sector[:2] == _MAGIC_AND_VERSION and (
        not options.config_checksum or sector[end] == _SEED ^ xor_checksum(sector[:end])
    )


def _set_default(sector: bytearray, options: LoaderOptions, params: FlashParams) -> None:
    # The checksum has a word to itself in rBoot's structure.
    size = _ROMS + _WORD.size * (options.max_roms + options.config_checksum)
    sector[:size] = bytes(size)
    sector[:2] = _MAGIC_AND_VERSION
    sector[_MODE] = GPIO_BOOT_MODES[options.gpio]
    sector[_COUNT] = 2
    for number, address in enumerate(default_roms(params, options.big_flash, options.all_sizes)):
        _WORD.pack_into(sector, _ROMS + _WORD.size * number, address)


def _rom_address(sector: bytearray, number: int) -> int:
    # A count beyond MAX_ROMS reads on in the sector, as rBoot does.
    address: int = _WORD.unpack_from(sector, _ROMS + _WORD.size * number)[0]
    return address


def _with_checksum(sector: bytearray, options: LoaderOptions) -> bytes:
    if options.config_checksum:
        end = _ROMS + _WORD.size * options.max_roms
        sector[end] = _SEED ^ xor_checksum(sector[:end])
    return bytes(sector)

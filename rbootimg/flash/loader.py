"""What a boot loader's bytes tell about it: rBoot says at power-on how it was built. No files.

Sources: the texts of rBoot 1.0.0, 1.2.1, 1.4.2 and its master of 2019-08, which still says 1.4.2 (rboot.c); their
default config (rboot.c, default_config).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import LoaderError, RomError
from ..layout.memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, WINDOW_SIZE
from ..layout.model import FlashLayout, GpioMode, LoaderOptions
from ..layout.params import FlashParams
from ..rom.format import check_old_image
from .bootconfig import BootMode

_VERSION = re.compile(rb"rBoot v([0-9]{1,9}(?:\.[0-9]{1,9}){1,9})")
_OPTION = b"rBoot Option: "
_LISTS_OPTIONS = (1, 2, 1)
"""From this version on rBoot names the options that it was built with, so that one not named is not there."""

_SIZES = b" Mbit\r\n"
_LARGE_SIZE = b"64 Mbit\r\n"
"""rBoot names the flash sizes that it knows, this one since 2019 with all that were new then."""

# What the size code at flash 0 means to rBoot, since when it knows others too; the rest it takes for 512 KB.
_OLD_SIZES = MappingProxyType({0: 0x80000, 1: 0x40000, 2: 0x100000, 3: 0x200000, 4: 0x400000})
_ALL_SIZES = MappingProxyType({**_OLD_SIZES, 5: 0x200000, 6: 0x400000, 8: 0x800000, 9: 0x1000000})
_UNKNOWN_SIZE = 0x80000
GPIO_BOOT_MODES = MappingProxyType(
    {GpioMode.NONE: BootMode(0), GpioMode.ROM: BootMode.GPIO_ROM, GpioMode.SKIP: BootMode.GPIO_SKIP}
)
"""The mode of the default config that rBoot writes."""


@dataclass(frozen=True)
class LoaderInfo:
    """What is known of a loader; None stands for what is not, as with a loader that is no rBoot.

    `big_flash`: BOOT_BIG_FLASH, `config_checksum`: BOOT_CONFIG_CHKSUM, `irom_checksum`: BOOT_IROM_CHKSUM,
    `rtc`: BOOT_RTC_ENABLED, `gpio` and `all_sizes` as in LoaderOptions.
    """

    version: str | None = None
    big_flash: bool | None = None
    config_checksum: bool | None = None
    irom_checksum: bool | None = None
    rtc: bool | None = None
    gpio: GpioMode | None = None
    all_sizes: bool | None = None

    @property
    def mode(self) -> BootMode:
        """The mode of its default config."""
        return GPIO_BOOT_MODES[self.gpio or GpioMode.NONE]


def read_options(loader: bytes) -> LoaderInfo:
    """The version and the options that the texts in `loader` tell."""
    match = _VERSION.search(loader)
    version = match[1].decode() if match else None
    all_sizes = _LARGE_SIZE in loader if _SIZES in loader else None
    lists_options = version is not None and tuple(map(int, version.split("."))) >= _LISTS_OPTIONS
    if not lists_options and _OPTION not in loader:
        return LoaderInfo(version, all_sizes=all_sizes)

    def has(text: bytes) -> bool:
        return _OPTION + text in loader

    gpio = GpioMode.NONE
    if has(b"GPIO skip mode"):
        gpio = GpioMode.SKIP
    elif has(b"GPIO rom mode") or has(b"GPIO mode"):
        gpio = GpioMode.ROM
    checksums = has(b"Config chksum"), has(b"irom chksum")
    return LoaderInfo(version, has(b"Big flash"), *checksums, has(b"RTC data"), gpio, all_sizes)


def defines(options: LoaderOptions) -> dict[str, int | None]:
    """rBoot's macros for a loader with these options, and their values; None for those without one.

    OLD_FLASH_SIZES is our own loader's alone: which sizes an rBoot knows is a matter of its sources.
    """
    flags = {
        "BOOT_BIG_FLASH": options.big_flash,
        "BOOT_CONFIG_CHKSUM": options.config_checksum,
        "BOOT_IROM_CHKSUM": options.irom_checksum,
        "BOOT_RTC_ENABLED": options.rtc,
        "BOOT_GPIO_ENABLED": options.gpio is GpioMode.ROM,
        "BOOT_GPIO_SKIP_ENABLED": options.gpio is GpioMode.SKIP,
        "OLD_FLASH_SIZES": not options.all_sizes,
    }
    found: dict[str, int | None] = {name: None for name, is_on in flags.items() if is_on}
    found["MAX_ROMS"] = options.max_roms
    if options.gpio is not GpioMode.NONE:
        found["BOOT_GPIO_NUM"] = options.gpio_pin
    return found


def default_roms(params: FlashParams, big_flash: bool, all_sizes: bool = True) -> tuple[int, int]:
    """The flash addresses of the two ROMs in the config that rBoot writes where it finds none.

    `params` are those at flash 0; `all_sizes` as in LoaderOptions.
    """
    return FIRST_SLOT_ADDRESS, usable_size(params, big_flash, all_sizes) // 2 + FIRST_SLOT_ADDRESS


def usable_size(params: FlashParams, big_flash: bool, all_sizes: bool = True) -> int:
    """The bytes of flash that rBoot reckons with, given the flash parameters at flash 0."""
    size = (_ALL_SIZES if all_sizes else _OLD_SIZES).get(params.size, _UNKNOWN_SIZE)
    return size if big_flash else min(size, WINDOW_SIZE)


def knows_size(params: FlashParams, all_sizes: bool = True) -> bool:
    """Whether rBoot knows the flash size in `params`; it takes one that it does not know for 512 KB."""
    return params.size in (_ALL_SIZES if all_sizes else _OLD_SIZES)


def check_loader(loader: bytes, layout: FlashLayout) -> LoaderInfo:
    """What `loader` tells, checked: the chip starts it, and its options are those of the layout.

    Raises LoaderError.
    """
    try:
        check_old_image(loader)
    except RomError as error:
        raise LoaderError(f"the chip would not start the loader: {error}") from None
    if len(loader) > CONFIG_ADDRESS:
        raise LoaderError(
            f"the loader has {len(loader):,} bytes, but rBoot's config stands at {CONFIG_ADDRESS:#x}; "
            "take a loader without an application behind it"
        )
    info = read_options(loader)
    wanted = layout.loader
    for name, define, is_set, should, reason in (
        ("irom_checksum", "BOOT_IROM_CHKSUM", info.irom_checksum, wanted.irom_checksum, "every ROM is bad to it"),
        ("big_flash", "BOOT_BIG_FLASH", info.big_flash, wanted.big_flash, "it uses another part of the flash"),
        ("config_checksum", "BOOT_CONFIG_CHKSUM", info.config_checksum, wanted.config_checksum, "its configs differ"),
        ("rtc", "BOOT_RTC_ENABLED", info.rtc, wanted.rtc, "whether it can boot a ROM once decides how to update"),
    ):
        if is_set not in (None, should):
            raise LoaderError(
                f"the loader is built with{'' if is_set else 'out'} {define}, but the layout says {name} = "
                f"{str(should).lower()}: {reason}; change the layout's [loader] or take another loader"
            )
    if info.gpio is not None and info.gpio is not wanted.gpio:
        raise LoaderError(
            f"the loader is built with GPIO mode {info.gpio.value or 'none'!r}, but the layout says gpio = "
            f"{wanted.gpio.value!r}; change the layout's [loader] or take another loader"
        )
    return info

"""A boot loader's version and build options, read from the messages that rBoot prints at power-on. No files.

Sources: the messages of rBoot 1.0.0, 1.2.1, 1.4.2 and its master of 2019-08, whose version is still 1.4.2 (rboot.c);
their default config (rboot.c, default_config).
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
from .bootconfig import BootMode, infer_max_roms

_VERSION = re.compile(rb"rBoot v([0-9]{1,9}(?:\.[0-9]{1,9}){1,9})")
_OPTION = b"rBoot Option: "
_LISTS_OPTIONS = (1, 2, 1)
"""The first version that prints its build options: an option that it does not print is off."""

_SIZES = b" Mbit\r\n"
_LARGE_SIZE = b"64 Mbit\r\n"
"""rBoot contains a name for each flash size that it knows: this one since 2019, with all sizes that were new then."""

# Flash sizes by their code at flash 0, as rBoot knew them before 2019 and since. Unknown codes mean 512 KB to it.
_OLD_SIZES = MappingProxyType({0: 0x80000, 1: 0x40000, 2: 0x100000, 3: 0x200000, 4: 0x400000})
_ALL_SIZES = MappingProxyType({**_OLD_SIZES, 5: 0x200000, 6: 0x400000, 8: 0x800000, 9: 0x1000000})
_UNKNOWN_SIZE = 0x80000
GPIO_BOOT_MODES = MappingProxyType(
    {GpioMode.NONE: BootMode(0), GpioMode.ROM: BootMode.GPIO_ROM, GpioMode.SKIP: BootMode.GPIO_SKIP}
)
"""The mode of the default config that rBoot writes."""


@dataclass(frozen=True)
class LoaderInfo:
    """The version and options of a loader, None where unknown, as in a loader other than rBoot.

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

    def loader_options(self, sector: bytes) -> LoaderOptions:
        """Return the options, unknown ones as off, and MAX_ROMS as inferred from the config `sector`."""
        return LoaderOptions(
            big_flash=bool(self.big_flash),
            irom_checksum=bool(self.irom_checksum),
            config_checksum=bool(self.config_checksum),
            max_roms=infer_max_roms(sector, bool(self.config_checksum)),
            rtc=bool(self.rtc),
            gpio=self.gpio or GpioMode.NONE,
            all_sizes=self.all_sizes is not False,
        )


def read_options(loader: bytes) -> LoaderInfo:
    """Return the version and the options that the messages in `loader` tell."""
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


def default_roms(params: FlashParams, big_flash: bool, all_sizes: bool = True) -> tuple[int, int]:
    """Return the flash addresses of the two ROMs in rBoot's default config, which it writes if it finds no config.

    `params` are those at flash 0; `all_sizes` as in LoaderOptions.
    """
    return FIRST_SLOT_ADDRESS, usable_size(params, big_flash, all_sizes) // 2 + FIRST_SLOT_ADDRESS


def usable_size(params: FlashParams, big_flash: bool, all_sizes: bool = True) -> int:
    """Return the size of the flash that rBoot uses, in bytes, given the flash parameters at flash 0."""
    size = (_ALL_SIZES if all_sizes else _OLD_SIZES).get(params.size, _UNKNOWN_SIZE)
    return size if big_flash else min(size, WINDOW_SIZE)


def knows_size(params: FlashParams, all_sizes: bool = True) -> bool:
    """Whether rBoot knows the flash size in `params`; it assumes 512 KB for an unknown one."""
    return params.size in (_ALL_SIZES if all_sizes else _OLD_SIZES)


def check_loader(loader: bytes, layout: FlashLayout) -> LoaderInfo:
    """Return the version and options of `loader`, checked against the layout.

    Raises LoaderError if the chip would not start it, if it is larger than 4,096 bytes, or if an option differs from
    the layout's.
    """
    try:
        check_old_image(loader)
    except RomError as error:
        raise LoaderError(f"the chip would not start this loader: {error}") from None
    if len(loader) > CONFIG_ADDRESS:
        raise LoaderError(f"loader has {len(loader):,} bytes: expected at most {CONFIG_ADDRESS:,}")
    info = read_options(loader)
    wanted = layout.loader
    for name, macro, is_set, should, reason in (
        ("irom_checksum", "BOOT_IROM_CHKSUM", info.irom_checksum, wanted.irom_checksum, "it would reject every ROM"),
        ("big_flash", "BOOT_BIG_FLASH", info.big_flash, wanted.big_flash, "it would use another part of the flash"),
        ("config_checksum", "BOOT_CONFIG_CHKSUM", info.config_checksum, wanted.config_checksum, "its config differs"),
        ("rtc", "BOOT_RTC_ENABLED", info.rtc, wanted.rtc, "RTC boot support affects the update procedure"),
    ):
        if is_set not in (None, should):
            raise LoaderError(
                f"loader is built with{'' if is_set else 'out'} {macro}, but the layout has {name} = "
                f"{str(should).lower()}: {reason}; change [loader] in the layout or use another loader"
            )
    if info.gpio is not None and info.gpio is not wanted.gpio:
        raise LoaderError(
            f"loader is built with GPIO mode {info.gpio.value or 'none'!r}, but the layout has gpio = "
            f"{wanted.gpio.value!r}; "
            "change [loader] in the layout or use another loader"
        )
    return info

"""The macros that rBoot is built with: each build with SCons asks for them, and for no more of a flash. No files."""

from __future__ import annotations

from ..layout.model import LoaderOptions


def defines(options: LoaderOptions) -> dict[str, int | None]:
    """rBoot's macros for a loader with these options, and their values; None for those without one.

    OLD_FLASH_SIZES is our own loader's alone: which sizes an rBoot knows is a matter of its sources.
    """
    flags = {
        "BOOT_BIG_FLASH": options.big_flash,
        "BOOT_CONFIG_CHKSUM": options.config_checksum,
        "BOOT_IROM_CHKSUM": options.irom_checksum,
        "BOOT_RTC_ENABLED": options.rtc,
        "BOOT_GPIO_ENABLED": options.gpio == "rom",
        "BOOT_GPIO_SKIP_ENABLED": options.gpio == "skip",
        "OLD_FLASH_SIZES": not options.all_sizes,
    }
    found: dict[str, int | None] = {name: None for name, is_on in flags.items() if is_on}
    found["MAX_ROMS"] = options.max_roms
    if options.gpio:
        found["BOOT_GPIO_NUM"] = options.gpio_pin
    return found

"""The macros that rBoot is built with. A module of its own, as each SCons build needs it. No files."""

from __future__ import annotations

from ..layout.model import GpioMode, LoaderOptions


def defines(options: LoaderOptions) -> dict[str, int | None]:
    """Return the macros that build an rBoot with these options, and their values; None for macros without a value.

    OLD_FLASH_SIZES exists in rbootimg's own loader only: an rBoot's sources decide which sizes it knows.
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

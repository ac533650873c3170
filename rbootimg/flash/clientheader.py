"""The C header that describes loader and flash to the update client: rboot-layout.h. No files."""

from __future__ import annotations

from ..layout.model import FlashLayout
from .macros import defines

NAME = "rboot-layout.h"
"""The header that rboot.h includes if RBOOT_LAYOUT is defined."""

_LOADER_ONLY = ("OLD_FLASH_SIZES", "BOOT_GPIO_ENABLED", "BOOT_GPIO_SKIP_ENABLED", "BOOT_GPIO_NUM")


def client_header(layout: FlashLayout, has_keys: bool = False, lowest_version: str = "") -> str:
    """Return the header for an application in the slots of `layout`.

    It defines rBoot's macros for the loader's options, which the client needs to read and write the config, and
    RBOOT_FLASH_SIZE and RBOOT_SLOTS: the size of the flash, and the flash address and size of each slot, in bytes.
    For signed updates: RBOOT_UPDATE_KEYS if there is a header with keys, and RBOOT_LOWEST_VERSION if there is one.
    """
    update = ["#define RBOOT_UPDATE_KEYS /* see rboot-keys.h */"] if has_keys else []
    update += [f'#define RBOOT_LOWEST_VERSION "{lowest_version}"'] if lowest_version else []
    macros = {name: value for name, value in defines(layout.loader).items() if name not in _LOADER_ONLY}
    slots = ", ".join(f"{{{slot.address:#x}, {slot.size:#x}}}" for slot in layout.slots)
    lines = (f"#define {name}{'' if value is None else f' {value}'}" for name, value in macros.items())
    return "\n".join(
        (
            "/* Written by rbootimg from the flash layout, for rboot.h: compile all with -DRBOOT_LAYOUT. */",
            "#ifndef RBOOT_LAYOUT_H",
            "#define RBOOT_LAYOUT_H",
            "",
            *lines,
            f"#define RBOOT_FLASH_SIZE {layout.size.bytes:#x}",
            f"#define RBOOT_SLOTS {slots} /* address and size of each */",
            *update,
            "",
            "#endif",
            "",
        )
    )

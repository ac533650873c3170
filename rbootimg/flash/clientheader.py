"""The C header that tells the update client what the loader and the flash are: rboot-layout.h. No files."""

from __future__ import annotations

from ..layout.model import FlashLayout
from .macros import defines

NAME = "rboot-layout.h"
"""What rboot.h includes if RBOOT_LAYOUT is defined."""

_LOADER_ONLY = ("OLD_FLASH_SIZES", "BOOT_GPIO_ENABLED", "BOOT_GPIO_SKIP_ENABLED", "BOOT_GPIO_NUM")


def client_header(layout: FlashLayout) -> str:
    """The header for an application in the slots of `layout`.

    It has rBoot's macros for the options of the loader, by which the client reads and writes the config, and
    RBOOT_FLASH_SIZE and RBOOT_SLOTS: bytes of the flash, and the flash address and bytes of each slot.
    """
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
            "",
            "#endif",
            "",
        )
    )

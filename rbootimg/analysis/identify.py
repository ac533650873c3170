"""The kind of a file and its contents: ROM, image for the mask ROM, flash image, boot config, ELF. No files.

A corrupt file is described as far as it can be read; `problems` lists its errors.

JSON, as `rbootimg info` and `rbootimg verify` print it; addresses and sizes are numbers, null means unknown:

    {"kind": "rom", "old image", "flash", "config" or "elf", "size", "sha256", "problems": ["…"], …}

    rom,        "flash": {"mode": "qio", "size": "1MB", "freq": "40m"},     numbers for codes without a name
    old image   "entry", "sections": [{"name", "address", "size", "memory": "IRAM", "DRAM", "flash" or "other"}],
                "checksum": {"stored", "ram", "ram_and_irom", "matches": "ram", "ram+irom", "both" or null},
                "esptool_crc": true, false (invalid), null (without one), "trailing": bytes after the image,
                "appbin_user": 1 or 2 in a ROM of Espressif's gen_appbin.py, else null,
                "link": {"address", "slot", "slots", "words", "inside", "starts", "reason"},
                "slot": {"address", "size", "free"}, "slots": [{the same}]
    flash       "loader": {an image's fields, "version", "big_flash", "irom_checksum", "config_checksum", "all_sizes"},
                "config": {a config's fields}, "boots": the number of the ROM that rBoot would start,
                "log": its messages from the config on, line by line,
                "roms": [{"number", "address", "blank", "rom": {an image's fields}, "problems"}],
                "regions": [{"name", "address", "size", "blank", "sha256"}]
    config      "blank", "roms": [addresses], "current_rom", "gpio_rom", "mode", "checksum": whether it has a valid one
    elf         "entry", "sections", "link": {"address", "slot", "slots"}, "slots": [{as above, of its ROM}],
                "memories": [{"name", "used", "available"}]

Slots in different megabytes can have the same link address. "slots" are all slots of the layout with that link address,
"free" is negative in a slot that is too small; "slot" is the first that is large enough. "link" has the flash address
of the slot within its megabyte, and those of all slots with the same link address in the largest flash.

The parts of a flash image have their own "kind", "size", "sha256" and "problems".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import RbootError
from ..layout.memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, SECTOR_SIZE, is_blank
from ..layout.params import FLASH_SIZES
from ..text import counted
from .image import OLD_START, ROM_START, ImageInfo, image_info, image_json

if TYPE_CHECKING:
    from ..layout.model import FlashLayout, Slot
    from .elf import ElfInfo
    from .flash import ConfigInfo, FlashInfo

    FileInfo = ImageInfo | ConfigInfo | FlashInfo | ElfInfo

_ELF_START = b"\x7fELF"


def identify(data: bytes, slots: Sequence[Slot] = (), layout: FlashLayout | None = None) -> FileInfo:
    """Identify `data`, a complete file, and describe its contents. `slots` are the slots that a ROM can be for.

    A flash image must match `layout`; without one its regions are the SDK's own. Takes about 50 ms for 1 MB, for a
    flash image of 16 MB 30 ms more for each ROM. Raises RbootError if the kind of the file is unknown.
    """
    # Import only the modules for the kind at hand: the imports take most of the command's time.
    if _is_flash(data):
        from .flash import flash_info

        return flash_info(data, slots, layout)
    if data.startswith(ROM_START) or data.startswith(OLD_START):
        return image_info(data, slots)
    if data.startswith(_ELF_START):
        from .elf import elf_info

        return elf_info(data, slots)
    from ..flash.bootconfig import MAGIC

    if data.startswith(MAGIC) and len(data) <= SECTOR_SIZE:
        from .flash import config_info

        return config_info(data)
    if not data:
        raise RbootError("empty file")
    if is_blank(data):
        raise RbootError(f"blank file: all {counted(len(data), 'byte')} are 0xff, as in erased flash")
    raise RbootError(f"unknown file type: expected a ROM, flash image, boot config or ELF, got {data[:4].hex(' ')} …")


def _is_flash(data: bytes) -> bool:
    if not data.startswith(OLD_START) and not is_blank(data[:CONFIG_ADDRESS]):
        return False
    from ..flash.bootconfig import MAGIC

    if data[CONFIG_ADDRESS:].startswith(MAGIC) or data[FIRST_SLOT_ADDRESS:].startswith(ROM_START):
        return True
    return data.startswith(OLD_START) and any(size.bytes == len(data) for size in FLASH_SIZES.values())


def as_json(found: FileInfo) -> dict[str, object]:
    """Return the JSON values that the module's docstring describes."""
    if found.kind == "elf":
        from .elf import elf_json

        return elf_json(found)
    if found.kind == "config":
        from .flash import config_json

        return config_json(found)
    if found.kind == "flash":
        from .flash import flash_json

        return flash_json(found)
    return image_json(found)

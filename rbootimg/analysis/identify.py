"""What a file is, and what is in it: a ROM, an image for the mask ROM, a whole flash, a boot config, an ELF. No files.

A damaged one is described as far as it can be read; its `problems` say what is wrong with it.

JSON, schema version 1; addresses and sizes are numbers, null stands for what is not known:

    {"schema": 1, "kind": "rom", "old image", "flash", "config" or "elf", "size", "sha256", "problems": ["…"], …}

    rom,        "flash": {"mode": "qio", "size": "1MB", "freq": "40m"},     numbers for codes without a name
    old image   "entry", "sections": [{"name", "address", "size", "memory": "IRAM", "DRAM", "flash" or "other"}],
                "checksum": {"stored", "ram", "ram_and_irom", "matches": "ram", "ram+irom", "both" or null},
                "esptool_crc": true, false (it is wrong), null (there is none), "trailing": bytes behind the image,
                "appbin_user": 1 or 2 in a ROM of Espressif's gen_appbin.py, else null,
                "link": {"address", "slot", "slots", "words", "inside", "starts", "reason"},
                "slot": {"address", "size", "free"}, "slots": [{the same}]
    flash       "loader": {an image's fields, "version", "big_flash", "irom_checksum", "config_checksum"},
                "config": {a config's fields}, "boots": the number of the ROM that rBoot would start,
                "log": what it would print, from the config on, line by line,
                "roms": [{"number", "address", "blank", "rom": {an image's fields}, "problems"}],
                "regions": [{"name", "address", "size", "blank", "sha256"}]
    config      "blank", "roms": [addresses], "current_rom", "gpio_rom", "mode", "checksum": whether it has a right one
    elf         "entry", "sections", "link": {"address", "slot", "slots"}, "slots": [{as above, of its ROM}],
                "memories": [{"name", "used", "available"}]

Slots in different megabytes can have the same link address. "slots" are all those of the layout that the file is for,
"free" below 0 in one that is too small for it; "slot" is the first that has room. "link" has the flash address of the
slot within its megabyte, and all those that have the same link address in the largest flash.

What stands inside a flash has its own "kind", "size", "sha256" and "problems", but no "schema".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import RbootError
from ..layout.memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, SECTOR_SIZE
from ..layout.params import FLASH_SIZES
from .common import is_blank
from .image import CONFIG_START, OLD_START, ROM_START, ImageInfo, image_info, image_json

if TYPE_CHECKING:
    from ..layout.model import FlashMap, Slot
    from .elf import ElfInfo
    from .flash import ConfigInfo, FlashInfo

    Found = ImageInfo | ConfigInfo | FlashInfo | ElfInfo

SCHEMA = 1
"""The version of the JSON; it rises when a reader of the old one would go wrong."""

_ELF_START = b"\x7fELF"


def recognise(data: bytes, slots: Sequence[Slot] = (), layout: FlashMap | None = None) -> Found:
    """What `data`, a whole file, are. `slots` are those that a ROM can be for, with their sizes.

    A whole flash must be that of `layout`; without one the regions in it are the SDK's own. 1 MB takes about 50 ms, a
    flash of 16 MB that and 30 ms for each ROM. Raises RbootError if they are nothing known.
    """
    # Only what the file is gets imported: a command that takes a tenth of a second is mostly imports.
    if _is_flash(data):
        from .flash import flash_info

        return flash_info(data, slots, layout)
    if data.startswith(ROM_START) or data.startswith(OLD_START):
        return image_info(data, slots)
    if data.startswith(_ELF_START):
        from .elf import elf_info

        return elf_info(data, slots)
    if data.startswith(CONFIG_START) and len(data) <= SECTOR_SIZE:
        from .flash import config_info

        return config_info(data)
    if not data:
        raise RbootError("the file is empty")
    if is_blank(data):
        raise RbootError(f"blank: all of its {len(data):,} bytes are 0xff, as in erased flash")
    raise RbootError(f"neither a ROM, a flash, a boot config nor an ELF: it begins with {data[:4].hex(' ')}")


def _is_flash(data: bytes) -> bool:
    if not data.startswith(OLD_START) and not is_blank(data[:CONFIG_ADDRESS]):
        return False
    if data[CONFIG_ADDRESS:].startswith(CONFIG_START) or data[FIRST_SLOT_ADDRESS:].startswith(ROM_START):
        return True
    return data.startswith(OLD_START) and any(size.bytes == len(data) for size in FLASH_SIZES.values())


def as_json(found: Found) -> dict[str, object]:
    """The values for `json.dumps`, as the module's docstring describes them."""
    return {"schema": SCHEMA, **_json(found)}


def _json(found: Found) -> dict[str, object]:
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

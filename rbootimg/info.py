"""What a file is, and what is in it: a ROM, an image for the mask ROM, a whole flash, a boot config, an ELF. No files.

A damaged one is described as far as it can be read; its `problems` say what is wrong with it.

JSON, schema version 1; addresses and sizes are numbers, null stands for what is not known:

    {"schema": 1, "kind": "rom", "old image", "flash", "config" or "elf", "size", "sha256", "problems": ["…"], …}

    rom,        "flash": {"mode": "qio", "size": "1MB", "freq": "40m"},     numbers for codes without a name
    old image   "entry", "sections": [{"name", "address", "size", "memory": "IRAM", "DRAM", "flash" or "other"}],
                "checksum": {"stored", "ram", "ram_and_irom", "matches": "ram", "ram+irom", "both" or null},
                "esptool_crc": true, false (it is wrong), null (there is none), "trailing": bytes behind the image,
                "link": {"address", "slot", "words", "inside", "starts", "reason"},
                "slot": {"address", "size", "free"}
    flash       "loader": {an image's fields, "version", "big_flash", "irom_checksum", "config_checksum"},
                "config": {a config's fields}, "boots": the number of the ROM that rBoot would start,
                "log": what it would print, from the config on, line by line,
                "roms": [{"number", "address", "blank", "rom": {an image's fields}, "problems"}],
                "regions": [{"name", "address", "size", "blank"}]
    config      "blank", "roms": [addresses], "current_rom", "gpio_rom", "mode", "checksum": whether it has a right one
    elf         "entry", "sections", "link": {"address", "slot"},
                "memories": [{"name", "used", "available"}]

What stands inside a flash has its own "kind", "size", "sha256" and "problems", but no "schema".
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import elf
from .bootconfig import BootConfig, room_in
from .detect import Detection, detect
from .errors import ConfigError, ElfError, RbootError, RomError
from .flash import (
    CONFIG_ADDRESS,
    DEFAULT_PARAMS,
    FIRST_SLOT_ADDRESS,
    FLASH_SIZES,
    SECTOR_SIZE,
    WINDOW,
    FlashParams,
    FlashRegion,
    FlashSize,
    LoaderOptions,
    Slot,
    memory_at,
    parse_slots,
    sdk_regions,
    slot_of_link,
    window_end,
    with_sizes,
)
from .loader import LoaderInfo, default_roms, read_options
from .pack import IROM_SECTION, Usage, pack, usage
from .predict import Decision, predict
from .rom import Outline, Rom, check_old_image, image_size, outline

SCHEMA = 1
"""The version of the JSON; it rises when a reader of the old one would go wrong."""

ROM, OLD_IMAGE, FLASH, CONFIG, ELF = "rom", "old image", "flash", "config", "elf"

_ROM_START = b"\xea\x04"
_OLD_START = b"\xe9"
_CONFIG_START = b"\xe1\x01"
_ELF_START = b"\x7fELF"
_CONFIG_CURRENT = 3
_CRC_SIZE = 4


@dataclass(frozen=True)
class Part:
    """A section: `size` bytes at link `address`, None if it is not known; `memory` as flash.memory_at() says."""

    name: str
    address: int | None
    size: int
    memory: str


@dataclass(frozen=True)
class Checksum:
    """The `stored` byte, and what the bytes give: over the RAM sections, and with irom if the image has one."""

    stored: int
    ram: int
    ram_and_irom: int | None

    @property
    def matches(self) -> str | None:
        """Which sum the stored byte is: ram, ram+irom, both, or None."""
        if self.stored == self.ram:
            return "both" if self.ram == self.ram_and_irom else "ram"
        return "ram+irom" if self.stored == self.ram_and_irom else None


@dataclass(frozen=True)
class ImageInfo:
    """An image with which the mask ROM or rBoot starts; `kind` is ROM or OLD_IMAGE.

    `size` and `sha256` are of all its bytes, in a file of all that is in it. `checksum` is None if it is cut off,
    `esptool_crc` whether the CRC behind it is right, None without one; `trailing` counts other bytes behind it, which
    a ROM must not have. `link` is None if nobody asked which slot it
    is linked for, `slot` if it is not known which it is for.
    """

    kind: str
    size: int
    sha256: str
    params: FlashParams
    entry: int
    sections: tuple[Part, ...]
    checksum: Checksum | None
    esptool_crc: bool | None
    trailing: int
    link: Detection | None
    slot: Slot | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ConfigInfo:
    """A config sector, and `config` as rBoot reads it: None if it would write its default config instead.

    `checksum`: it has a right one; only an rBoot built with BOOT_CONFIG_CHKSUM cares.
    """

    size: int
    sha256: str
    blank: bool
    config: BootConfig | None
    checksum: bool
    problems: tuple[str, ...]
    kind: str = CONFIG


@dataclass(frozen=True)
class RomAt:
    """What stands where a ROM should be: `image` is None if that is none."""

    number: int
    address: int
    blank: bool
    image: ImageInfo | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class RegionInfo:
    """A region of the flash and whether it is blank: all 0xFF."""

    region: FlashRegion
    blank: bool


@dataclass(frozen=True)
class FlashInfo:
    """A whole flash or its beginning. `loader` is None if none is there; `options` are what its texts tell.

    `roms` are those of the config, or without one those of the config that rBoot would write; `decision` is
    what it makes of the flash, None without a loader.
    """

    size: int
    sha256: str
    chip: FlashSize | None
    loader: ImageInfo | None
    options: LoaderInfo
    config: ConfigInfo
    roms: tuple[RomAt, ...]
    decision: Decision | None
    regions: tuple[RegionInfo, ...]
    problems: tuple[str, ...]
    kind: str = FLASH

    @property
    def boots(self) -> int | None:
        """The number of the ROM that rBoot would start, None if it starts none."""
        return self.decision.rom if self.decision else None


@dataclass(frozen=True)
class ElfInfo:
    """An application's ELF. `link_address` is that of irom; `memories` are what its ROM takes, if one can be packed."""

    size: int
    sha256: str
    entry: int | None
    sections: tuple[Part, ...]
    link_address: int | None
    memories: tuple[Usage, ...]
    problems: tuple[str, ...]
    kind: str = ELF


Found = ImageInfo | ConfigInfo | FlashInfo | ElfInfo


def recognise(data: bytes, slots: Sequence[Slot] = ()) -> Found:
    """What `data`, a whole file, are. `slots` are those that a ROM can be for, with their sizes.

    1 MB takes about 50 ms, a flash of 16 MB that and 30 ms for each ROM. Raises RbootError if they are nothing known.
    """
    if _is_flash(data):
        return _flash(data, slots)
    if data.startswith(_ROM_START) or data.startswith(_OLD_START):
        return _image(data, slots)
    if data.startswith(_ELF_START):
        return _elf(data)
    if data.startswith(_CONFIG_START) and len(data) <= SECTOR_SIZE:
        return _config(data)
    if not data:
        raise RbootError("the file is empty")
    raise RbootError(f"neither a ROM, a flash, a boot config nor an ELF: it begins with {data[:4].hex(' ')}")


def _is_flash(data: bytes) -> bool:
    if not data.startswith(_OLD_START) and not _is_blank(data[:CONFIG_ADDRESS]):
        return False
    if data[CONFIG_ADDRESS:].startswith(_CONFIG_START) or data[FIRST_SLOT_ADDRESS:].startswith(_ROM_START):
        return True
    return data.startswith(_OLD_START) and any(size.bytes == len(data) for size in FLASH_SIZES.values())


def _is_blank(data: bytes) -> bool:
    return data.count(0xFF) == len(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Images


def _image(data: bytes, slots: Sequence[Slot] = (), irom_checksum: bool | None = None) -> ImageInfo:
    """The image that `data` are. Raises RomError if they are none."""
    found = outline(data)
    full_sum = None if found.irom is None else found.full_sum
    checksum = None if found.stored is None else Checksum(found.stored, found.ram_sum, full_sum)
    problems: list[str] = []
    try:
        if found.irom is not None:
            Rom.from_bytes(data, irom_checksum)
        else:
            check_old_image(data)
    except RomError as error:
        problems.append(str(error))
    link = None
    rom = _as_rom(found)
    if rom is not None:
        link = detect(rom, [slot.link_address for slot in slots])
    slot = _slot(link, slots)
    problems += _misplaced(link, slot, slots, len(data))
    trailing, crc = 0 if found.size is None else len(data) - found.size, None
    if trailing == _CRC_SIZE:
        trailing, crc = 0, image_size(data) == len(data)
    sections = tuple(
        Part(f"RAM section {number}", section.address, len(section.data), memory_at(section.address))
        for number, section in enumerate(found.sections)
    )
    if found.irom is not None:
        address = link.link_address if link else None
        sections = (Part("irom", address, len(found.irom), WINDOW.name), *sections)
    return ImageInfo(
        OLD_IMAGE if found.irom is None else ROM,
        len(data),
        _sha256(data),
        found.params,
        found.entry,
        sections,
        checksum,
        crc,
        trailing,
        link,
        slot,
        tuple(problems),
    )


def _as_rom(found: Outline) -> Rom | None:
    """The ROM as if it were sound, to ask which slot it is linked for."""
    with contextlib.suppress(RomError):
        return Rom(found.entry, found.irom or b"", found.sections)
    return None


def _slot(link: Detection | None, slots: Sequence[Slot]) -> Slot | None:
    """The slot that an image is for: the only one, or the one that it is linked for."""
    if len(slots) == 1:
        return slots[0]
    return next((slot for slot in slots if link and slot.link_address == link.link_address), None)


def _misplaced(link: Detection | None, slot: Slot | None, slots: Sequence[Slot], size: int) -> list[str]:
    address = link.link_address if link else None
    if slots and address is not None and (slot is None or slot.link_address != address):
        wanted = f"{slot.label} runs at {slot.link_address:#x}" if slot else "no slot of the layout runs there"
        return [f"the ROM is linked for {address:#x}, but {wanted}; take the ROM that is linked for the slot"]
    if slot is not None and size > slot.size:
        return [f"the ROM has {size:,} bytes, {size - slot.size:,} more than {slot.label} holds ({slot.size:,})"]
    return []


# The config


def _config(sector: bytes, checksum: bool | None = None) -> ConfigInfo:
    """The config in `sector`; `checksum`: rBoot is built with BOOT_CONFIG_CHKSUM, None if that is not known."""
    blank = _is_blank(sector)
    config, has_checksum, problems = None, False, []
    max_roms = room_in(sector, checksum is not False)  # which rBoot does not say
    if not blank:
        try:
            config = BootConfig.from_bytes(sector, max_roms, bool(checksum))
        except ConfigError as error:
            problems.append(str(error))
            # A number without a ROM is 0 to rBoot (rboot.c).
            first = sector[:_CONFIG_CURRENT] + b"\0" + sector[_CONFIG_CURRENT + 1 :]
            if sector.startswith(_CONFIG_START) and not checksum:
                with contextlib.suppress(ConfigError):
                    config = BootConfig.from_bytes(first, max_roms)
        with contextlib.suppress(ConfigError):
            BootConfig.from_bytes(sector, max_roms, checksum=True)
            has_checksum = True
    return ConfigInfo(len(sector), _sha256(sector), blank, config, has_checksum, tuple(problems))


# The whole flash


def _flash(data: bytes, slots: Sequence[Slot]) -> FlashInfo:
    problems: list[str] = []
    start = data[:CONFIG_ADDRESS]
    options = read_options(start)
    loader = None
    if start.startswith(_OLD_START):
        with contextlib.suppress(RomError):
            start = start[: image_size(start)]
        loader = _image(start)
        problems += (f"the loader: {problem}" for problem in loader.problems)
    else:
        problems.append("there is no loader at 0x0; the chip starts nothing")
    params = loader.params if loader else DEFAULT_PARAMS
    chip = next((size for size in FLASH_SIZES.values() if loader and size.code == params.size), None)
    regions = sdk_regions(chip) if chip else ()
    config = _config(data[CONFIG_ADDRESS:FIRST_SLOT_ADDRESS], options.config_checksum)
    problems += (f"the config: {problem}" for problem in config.problems)
    addresses = config.config.roms if config.config else default_roms(params, bool(options.big_flash))
    places = _places(addresses, chip, regions) | {slot.address: slot for slot in slots}
    at = {address: _rom_at(places[address], data, options.irom_checksum) for address in set(addresses)}
    roms = tuple(replace(at[address], number=number) for number, address in enumerate(addresses))
    current = config.config.current_rom if config.config else 0
    if roms[current].blank:
        problems.append(f"ROM {current} at {roms[current].address:#x} is the current one, but blank")
    for rom in roms:
        problems += (f"ROM {rom.number} at {rom.address:#x}: {problem}" for problem in rom.problems)
    found = (RegionInfo(region, _is_blank(data[region.address : region.end])) for region in regions)
    return FlashInfo(
        len(data),
        _sha256(data),
        chip,
        loader,
        options,
        config,
        roms,
        _decision(data, options, chip) if loader else None,
        tuple(region for region in found if region.region.end <= len(data)),
        tuple(problems),
    )


def _places(addresses: Sequence[int], chip: FlashSize | None, regions: Sequence[FlashRegion]) -> dict[int, Slot]:
    """The slots at these addresses, each as large as there is room."""
    slots = with_sizes(parse_slots(addresses), chip or FLASH_SIZES["16MB"], regions)
    return {slot.address: slot for slot in slots}


def _rom_at(slot: Slot, data: bytes, irom_checksum: bool | None) -> RomAt:
    """What stands in a slot, its number still 0. An image ends where its headers say: the rest is nobody's."""
    address = slot.address
    content = data[address : window_end(address)]
    if address < FIRST_SLOT_ADDRESS or address % SECTOR_SIZE or not content:
        why = "outside the file" if not content else "no place for a ROM; slots start on sectors, from 0x2000 on"
        return RomAt(0, address, False, None, (why,))
    if _is_blank(content[: slot.size]):
        return RomAt(0, address, True, None, ())
    if not content.startswith((_ROM_START, _OLD_START)):
        return RomAt(0, address, False, None, (f"no ROM: it begins with {content[:4].hex(' ')}",))
    try:
        image = _image(content[: image_size(content)], [slot], irom_checksum)
    except RomError:  # its headers lead nowhere
        image = _image(content[: slot.size], [slot], irom_checksum)
    return RomAt(0, address, False, image, image.problems)


def _decision(data: bytes, options: LoaderInfo, chip: FlashSize | None) -> Decision:
    """What the loader makes of the flash; what it does not say of its options is taken for off."""
    whole = data.ljust(chip.bytes if chip else FIRST_SLOT_ADDRESS, b"\xff")
    return predict(
        whole,
        LoaderOptions(
            big_flash=bool(options.big_flash),
            irom_checksum=bool(options.irom_checksum),
            config_checksum=bool(options.config_checksum),
            max_roms=room_in(whole[CONFIG_ADDRESS:FIRST_SLOT_ADDRESS], bool(options.config_checksum)),
            rtc=bool(options.rtc),
            gpio=options.gpio or "",
        ),
    )


# The ELF


def _elf(data: bytes) -> ElfInfo:
    digest = _sha256(data)
    try:
        app = elf.parse(data)
    except ElfError as error:
        return ElfInfo(len(data), digest, None, (), None, (), (str(error),))
    sections = tuple(
        Part(section.name, section.address, section.size, memory_at(section.address)) for section in app.sections
    )
    irom = app.find(IROM_SECTION)
    memories: tuple[Usage, ...] = ()
    with contextlib.suppress(RbootError):  # other programs than applications are sound too
        memories = usage(app, pack(app).size)
    return ElfInfo(len(data), digest, app.entry, sections, irom.address if irom else None, memories, ())


# JSON


def as_json(found: Found) -> dict[str, object]:
    """The values for `json.dumps`, as the module's docstring describes them."""
    return {"schema": SCHEMA, **_json(found)}


def _json(found: Found) -> dict[str, object]:
    common = {"kind": found.kind, "size": found.size, "sha256": found.sha256, "problems": list(found.problems)}
    if isinstance(found, ImageInfo):
        return common | _image_json(found)
    if isinstance(found, ConfigInfo):
        return common | _config_json(found)
    if isinstance(found, FlashInfo):
        return common | _flash_json(found)
    slot = None if found.link_address is None else slot_of_link(found.link_address)
    return common | {
        "entry": found.entry,
        "sections": [_part_json(part) for part in found.sections],
        "link": None if found.link_address is None else {"address": found.link_address, "slot": slot},
        "memories": [{"name": at.name, "used": at.used, "available": at.available} for at in found.memories],
    }


def _image_json(found: ImageInfo) -> dict[str, object]:
    mode, size, freq = found.params.names()
    checksum = found.checksum
    return {
        "flash": {"mode": mode, "size": size, "freq": freq},
        "entry": found.entry,
        "sections": [_part_json(part) for part in found.sections],
        "checksum": checksum
        and {
            "stored": checksum.stored,
            "ram": checksum.ram,
            "ram_and_irom": checksum.ram_and_irom,
            "matches": checksum.matches,
        },
        "esptool_crc": found.esptool_crc,
        "trailing": found.trailing,
        "link": found.link and _link_json(found.link),
        "slot": found.slot
        and {
            "address": found.slot.address,
            "size": found.slot.size,
            "free": found.slot.size - found.size,
        },
    }


def _part_json(part: Part) -> dict[str, object]:
    return {"name": part.name, "address": part.address, "size": part.size, "memory": part.memory}


def _link_json(link: Detection) -> dict[str, object]:
    own = link.own
    return {
        "address": link.link_address,
        "slot": own and own.slot_address,
        "words": link.words,
        "inside": own and own.inside,
        "starts": own and own.starts,
        "reason": link.reason,
    }


def _config_json(found: ConfigInfo) -> dict[str, object]:
    config = found.config
    return {
        "blank": found.blank,
        "roms": config and list(config.roms),
        "current_rom": config and config.current_rom,
        "gpio_rom": config and config.gpio_rom,
        "mode": config and int(config.mode),
        "checksum": found.checksum,
    }


def _flash_json(found: FlashInfo) -> dict[str, object]:
    options = found.options
    return {
        "loader": found.loader
        and {
            **_json(found.loader),
            "version": options.version,
            "big_flash": options.big_flash,
            "irom_checksum": options.irom_checksum,
            "config_checksum": options.config_checksum,
        },
        "config": _json(found.config),
        "boots": found.boots,
        "log": list(found.decision.lines) if found.decision else [],
        "roms": [
            {
                "number": rom.number,
                "address": rom.address,
                "blank": rom.blank,
                "rom": rom.image and _json(rom.image),
                "problems": list(rom.problems),
            }
            for rom in found.roms
        ],
        "regions": [
            {"name": at.region.name, "address": at.region.address, "size": at.region.size, "blank": at.blank}
            for at in found.regions
        ],
    }

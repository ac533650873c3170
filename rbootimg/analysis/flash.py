"""What is known of a whole flash, or of a boot config. No files."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from ..errors import ConfigError, RomError
from ..fileio import sha256_hex
from ..flash.bootconfig import BootConfig, infer_max_roms
from ..flash.bootlogic import BootDecision, predict_boot
from ..flash.loader import LoaderInfo, default_roms, knows_size, read_options
from ..layout.memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, SECTOR_SIZE, window_end
from ..layout.model import FlashLayout, FlashRegion, LoaderOptions, Slot, parse_slots, sdk_regions, with_sizes
from ..layout.params import DEFAULT_PARAMS, FLASH_SIZES, FlashSize
from ..rom.format import image_size
from .common import common_json, is_blank
from .image import CONFIG_START, OLD_START, ROM_START, ImageInfo, image_info, image_json

FLASH: Final = "flash"
CONFIG: Final = "config"
_CONFIG_CURRENT = 3
_MOST_OVER = 4
"""So many times the file's size ROMs are looked at: a config can have 255, each of them over all of the others."""


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
    kind: Literal["config"] = CONFIG


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
    """A region of the flash, whether it is blank (all 0xFF), and the SHA-256 of its bytes."""

    region: FlashRegion
    blank: bool
    sha256: str


@dataclass(frozen=True)
class FlashInfo:
    """A whole flash or its beginning. `loader` is None if none is there; `options` are what its texts tell.

    `roms` are those of the config, or without one those of the config that rBoot would write; `decision` is
    what it makes of the flash, None without a loader. `regions` are those that are wholly there.
    """

    size: int
    sha256: str
    chip: FlashSize | None
    loader: ImageInfo | None
    options: LoaderInfo
    config: ConfigInfo
    roms: tuple[RomAt, ...]
    decision: BootDecision | None
    regions: tuple[RegionInfo, ...]
    problems: tuple[str, ...]
    kind: Literal["flash"] = FLASH

    @property
    def boots(self) -> int | None:
        """The number of the ROM that rBoot would start, None if it starts none."""
        return self.decision.rom if self.decision else None

    @property
    def taken_for_512kb(self) -> bool:
        """Whether the loader does not know the flash size at flash 0."""
        return self.loader is not None and not knows_size(self.loader.params, self.options.all_sizes is not False)


def config_info(sector: bytes, checksum: bool | None = None) -> ConfigInfo:
    """The config in `sector`; `checksum`: rBoot is built with BOOT_CONFIG_CHKSUM, None if that is not known."""
    blank = is_blank(sector)
    config, has_checksum, problems = None, False, []
    max_roms = infer_max_roms(sector, checksum is not False)  # which rBoot does not say
    if not blank:
        try:
            config = BootConfig.from_bytes(sector, max_roms, bool(checksum))
        except ConfigError as error:
            problems.append(str(error))
            # A number without a ROM is 0 to rBoot (rboot.c).
            first = sector[:_CONFIG_CURRENT] + b"\0" + sector[_CONFIG_CURRENT + 1 :]
            if sector.startswith(CONFIG_START) and not checksum:
                with contextlib.suppress(ConfigError):
                    config = BootConfig.from_bytes(first, max_roms)
        with contextlib.suppress(ConfigError):
            BootConfig.from_bytes(sector, max_roms, checksum=True)
            has_checksum = True
    return ConfigInfo(len(sector), sha256_hex(sector), blank, config, has_checksum, tuple(problems))


def flash_info(data: bytes, slots: Sequence[Slot], layout: FlashLayout | None) -> FlashInfo:
    """The flash that `data` are; `slots` and `layout` as for info.recognise()."""
    problems: list[str] = []
    start = data[:CONFIG_ADDRESS]
    options = read_options(start)
    loader = None
    if start.startswith(OLD_START):
        with contextlib.suppress(RomError):
            start = start[: image_size(start)]
        loader = image_info(start)
        problems += (f"the loader: {problem}" for problem in loader.problems)
    else:
        problems.append("there is no loader at 0x0; the chip starts nothing")
    params = loader.params if loader else DEFAULT_PARAMS
    chip = next((size for size in FLASH_SIZES.values() if loader and size.code == params.size), None)
    if layout is not None:
        regions = layout.regions
        if len(data) != layout.size.bytes:
            problems.append(f"the file has {len(data):#x} bytes, but the layout's flash {layout.size.bytes:#x}")
    else:
        regions = sdk_regions(chip) if chip else ()
    config = config_info(data[CONFIG_ADDRESS:FIRST_SLOT_ADDRESS], options.config_checksum)
    problems += (f"the config: {problem}" for problem in config.problems)
    defaults = default_roms(params, bool(options.big_flash), options.all_sizes is not False)
    addresses = config.config.roms if config.config else defaults
    if layout is not None and addresses != tuple(slot.address for slot in layout.slots):
        has, wanted = _listed(addresses), _listed([slot.address for slot in layout.slots])
        problems.append(f"rBoot has its ROMs at {has}, but the layout at {wanted}")
    places = _places(addresses, chip, regions) | {slot.address: slot for slot in slots}
    at: dict[int, RomAt] = {}
    left = _MOST_OVER * len(data)
    for address in dict.fromkeys(addresses):
        at[address] = _rom_at(places[address], data, options.irom_checksum) if left > 0 else _not_looked_at(address)
        left -= image.size if (image := at[address].image) else 0
    roms = tuple(replace(at[address], number=number) for number, address in enumerate(addresses))
    current = config.config.current_rom if config.config else 0
    if roms[current].blank:
        problems.append(f"ROM {current} at {roms[current].address:#x} is the current one, but blank")
    for rom in roms:
        problems += (f"ROM {rom.number} at {rom.address:#x}: {problem}" for problem in rom.problems)
    there = sorted((at for at in regions if at.end <= len(data)), key=lambda at: at.address)
    return FlashInfo(
        len(data),
        sha256_hex(data),
        chip,
        loader,
        options,
        config,
        roms,
        _decision(data, options, chip) if loader else None,
        tuple(_region(region, data[region.address : region.end]) for region in there),
        tuple(problems),
    )


def _listed(addresses: Sequence[int]) -> str:
    return ", ".join(f"{address:#x}" for address in addresses)


def _region(region: FlashRegion, content: bytes) -> RegionInfo:
    return RegionInfo(region, is_blank(content), sha256_hex(content))


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
    if is_blank(content[: slot.size]):
        return RomAt(0, address, True, None, ())
    if not content.startswith((ROM_START, OLD_START)):
        return RomAt(0, address, False, None, (f"no ROM: it begins with {content[:4].hex(' ')}",))
    try:
        image = image_info(content[: image_size(content)], [slot], irom_checksum)
    except RomError:  # its headers lead nowhere
        image = image_info(content[: slot.size], [slot], irom_checksum)
    return RomAt(0, address, False, image, image.problems)


def _not_looked_at(address: int) -> RomAt:
    return RomAt(0, address, False, None, ("not looked at: the ROMs before it overlap, and are too much in all",))


def _decision(data: bytes, options: LoaderInfo, chip: FlashSize | None) -> BootDecision:
    """What the loader makes of the flash; what it does not say of its options is taken for off."""
    whole = data.ljust(chip.bytes if chip else FIRST_SLOT_ADDRESS, b"\xff")
    return predict_boot(
        whole,
        LoaderOptions(
            big_flash=bool(options.big_flash),
            irom_checksum=bool(options.irom_checksum),
            config_checksum=bool(options.config_checksum),
            max_roms=infer_max_roms(whole[CONFIG_ADDRESS:FIRST_SLOT_ADDRESS], bool(options.config_checksum)),
            rtc=bool(options.rtc),
            gpio=options.gpio or "",
            all_sizes=options.all_sizes is not False,
        ),
    )


def config_json(found: ConfigInfo) -> dict[str, object]:
    """The values for `json.dumps`, as rbootimg.analysis.identify describes them."""
    config = found.config
    return common_json(found) | {
        "blank": found.blank,
        "roms": config and list(config.roms),
        "current_rom": config and config.current_rom,
        "gpio_rom": config and config.gpio_rom,
        "mode": config and int(config.mode),
        "checksum": found.checksum,
    }


def flash_json(found: FlashInfo) -> dict[str, object]:
    """The values for `json.dumps`, as rbootimg.analysis.identify describes them."""
    options = found.options
    return common_json(found) | {
        "loader": found.loader
        and {
            **image_json(found.loader),
            "version": options.version,
            "big_flash": options.big_flash,
            "irom_checksum": options.irom_checksum,
            "config_checksum": options.config_checksum,
            "all_sizes": options.all_sizes,
        },
        "config": config_json(found.config),
        "boots": found.boots,
        "log": list(found.decision.lines) if found.decision else [],
        "roms": [
            {
                "number": rom.number,
                "address": rom.address,
                "blank": rom.blank,
                "rom": rom.image and image_json(rom.image),
                "problems": list(rom.problems),
            }
            for rom in found.roms
        ],
        "regions": [
            {
                "name": at.region.name,
                "address": at.region.address,
                "size": at.region.size,
                "blank": at.blank,
                "sha256": at.sha256,
            }
            for at in found.regions
        ],
    }

"""The contents of a flash image, and of a boot config. No files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from ..errors import ConfigError, LayoutError, RomError
from ..fileio import sha256_hex
from ..flash.bootconfig import CURRENT_ROM_OFFSET, MAGIC, BootConfig, infer_max_roms
from ..flash.bootlogic import BootDecision, predict_boot
from ..flash.image import check_size
from ..flash.littlefs import Superblock, find_superblock
from ..flash.loader import LoaderInfo, default_roms, knows_size, read_options
from ..layout.memory import BLANK, CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, SECTOR_SIZE, is_blank, window_end
from ..layout.model import FlashLayout, FlashRegion, Slot, infer_sizes, parse_slots, sdk_regions
from ..layout.params import DEFAULT_PARAMS, FLASH_SIZES, FlashSize
from ..rom.format import image_size
from .common import common_json
from .image import OLD_START, ROM_START, ImageInfo, image_info, image_json

FLASH: Final = "flash"
CONFIG: Final = "config"
_MAX_COVERAGE = 4
"""ROMs are checked up to this multiple of the file's size: a config can name 255 overlapping ones."""


@dataclass(frozen=True)
class ConfigInfo:
    """A config sector, and its `config` as rBoot reads it: None if rBoot would write its default config instead.

    `checksum`: it has a valid checksum, which only an rBoot with BOOT_CONFIG_CHKSUM checks.
    """

    size: int
    sha256: str
    blank: bool
    config: BootConfig | None
    checksum: bool
    problems: tuple[str, ...]
    kind: Literal["config"] = CONFIG


@dataclass(frozen=True)
class RomEntry:
    """ROM `number` of the config and the contents at its `address`; `image` is None if there is no ROM."""

    number: int
    address: int
    blank: bool
    image: ImageInfo | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class RegionInfo:
    """A region of the flash, whether it is blank (all 0xFF), the SHA-256 of its bytes, and its LittleFS, if any."""

    region: FlashRegion
    blank: bool
    sha256: str
    littlefs: Superblock | None


@dataclass(frozen=True)
class FlashInfo:
    """A flash image or the start of one.

    `chip` is the flash size in the loader's header. `loader` is None if there is none; `options` are the options that
    its messages tell. `roms` are those of the config, else those of rBoot's default config. `decision` is None without
    a loader. `regions` are those that are completely in the file.
    """

    size: int
    sha256: str
    chip: FlashSize | None
    loader: ImageInfo | None
    options: LoaderInfo
    config: ConfigInfo
    roms: tuple[RomEntry, ...]
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
        """Whether the loader does not know the flash size at flash 0, and so assumes 512 KB."""
        return self.loader is not None and not knows_size(self.loader.params, self.options.all_sizes is not False)


def config_info(sector: bytes, checksum: bool | None = None) -> ConfigInfo:
    """Describe the config in `sector`; `checksum`: rBoot has BOOT_CONFIG_CHKSUM, None if unknown."""
    blank = is_blank(sector)
    config, has_checksum, problems = None, False, []
    max_roms = infer_max_roms(sector, checksum is not False)
    if not blank:
        try:
            config = BootConfig.from_bytes(sector, max_roms, bool(checksum))
        except ConfigError as error:
            problems.append(str(error))
            # rBoot uses ROM 0 if current_rom is invalid (rboot.c, find_image).
            repaired = sector[:CURRENT_ROM_OFFSET] + b"\0" + sector[CURRENT_ROM_OFFSET + 1 :]
            if sector.startswith(MAGIC) and not checksum:
                with contextlib.suppress(ConfigError):
                    config = BootConfig.from_bytes(repaired, max_roms)
        with contextlib.suppress(ConfigError):
            BootConfig.from_bytes(sector, max_roms, checksum=True)
            has_checksum = True
    return ConfigInfo(len(sector), sha256_hex(sector), blank, config, has_checksum, tuple(problems))


def flash_info(data: bytes, slots: Sequence[Slot], layout: FlashLayout | None) -> FlashInfo:
    """Describe the flash image in `data`; `slots` and `layout` as for identify()."""
    options = read_options(data[:CONFIG_ADDRESS])
    loader = _loader(data[:CONFIG_ADDRESS])
    chip = next((size for size in FLASH_SIZES.values() if loader and size.code == loader.params.size), None)
    regions = layout.regions if layout else sdk_regions(chip) if chip else ()
    config = config_info(data[CONFIG_ADDRESS:FIRST_SLOT_ADDRESS], options.config_checksum)
    roms = _roms(data, _slots(_addresses(config, loader, options), chip, regions, slots), options)
    problems = (
        *_loader_problems(loader),
        *(f"config: {problem}" for problem in config.problems),
        *(_layout_problems(data, roms, layout) if layout else ()),
        *_rom_problems(roms, config),
    )
    return FlashInfo(
        len(data),
        sha256_hex(data),
        chip,
        loader,
        options,
        config,
        roms,
        _decision(data, options, chip) if loader else None,
        tuple(_regions(data, regions)),
        problems,
    )


def _loader(start: bytes) -> ImageInfo | None:
    if not start.startswith(OLD_START):
        return None
    with contextlib.suppress(RomError):
        start = start[: image_size(start)]
    return image_info(start)


def _addresses(config: ConfigInfo, loader: ImageInfo | None, options: LoaderInfo) -> tuple[int, ...]:
    """Return the flash addresses of the config's ROMs, else of those in rBoot's default config."""
    if config.config:
        return config.config.roms
    params = loader.params if loader else DEFAULT_PARAMS
    return default_roms(params, bool(options.big_flash), options.all_sizes is not False)


def _slots(
    addresses: Sequence[int], chip: FlashSize | None, regions: Sequence[FlashRegion], known: Sequence[Slot]
) -> list[Slot]:
    """Return the slots at `addresses`: those of `known`, else each as large as possible."""
    guessed = infer_sizes(parse_slots(addresses), chip or FLASH_SIZES["16MB"], regions)
    by_address = {slot.address: slot for slot in (*guessed, *known)}
    return [by_address[address] for address in addresses]


def _roms(data: bytes, slots: Iterable[Slot], options: LoaderInfo) -> tuple[RomEntry, ...]:
    found: list[RomEntry] = []
    checked: dict[int, RomEntry] = {}
    remaining = _MAX_COVERAGE * len(data)  # bytes
    for number, slot in enumerate(slots):
        if slot.address not in checked:
            entry = _rom(slot, data, options.irom_checksum) if remaining > 0 else _unchecked_rom(slot)
            checked[slot.address] = entry
            remaining -= entry.image.size if entry.image else 0
        found.append(replace(checked[slot.address], number=number))
    return tuple(found)


def _rom(slot: Slot, data: bytes, irom_checksum: bool | None) -> RomEntry:
    """Describe the contents of a slot. An image ends where its headers say; the bytes after it do not count."""
    address = slot.address
    content = data[address : window_end(address)]
    if not content:
        return RomEntry(0, address, False, None, ("outside the file",))
    if address < FIRST_SLOT_ADDRESS or address % SECTOR_SIZE:
        problem = f"invalid address: expected a multiple of {SECTOR_SIZE:#x} from {FIRST_SLOT_ADDRESS:#x} on"
        return RomEntry(0, address, False, None, (problem,))
    if is_blank(content[: slot.size]):
        return RomEntry(0, address, True, None, ())
    if not content.startswith((ROM_START, OLD_START)):
        return RomEntry(0, address, False, None, (f"not a ROM: starts with {content[:4].hex(' ')}",))
    try:
        size = image_size(content)
    except RomError:  # invalid lengths in its headers
        size = slot.size
    image = image_info(content[:size], [slot], irom_checksum)
    return RomEntry(0, address, False, image, image.problems)


def _unchecked_rom(slot: Slot) -> RomEntry:
    return RomEntry(0, slot.address, False, None, ("not checked: too many overlapping ROMs",))


def _loader_problems(loader: ImageInfo | None) -> list[str]:
    if loader is None:
        return ["no boot loader at 0x0: the chip will not boot"]
    return [f"loader: {problem}" for problem in loader.problems]


def _layout_problems(data: bytes, roms: Sequence[RomEntry], layout: FlashLayout) -> list[str]:
    problems = []
    try:
        check_size(data, layout)
    except LayoutError as error:
        problems.append(str(error))
    found, expected = [rom.address for rom in roms], [slot.address for slot in layout.slots]
    if found != expected:
        problems.append(f"config does not match the layout: expected ROMs at {_hex(expected)}, got {_hex(found)}")
    return problems


def _rom_problems(roms: Sequence[RomEntry], config: ConfigInfo) -> list[str]:
    current = roms[config.config.current_rom if config.config else 0]
    problems = [f"ROM {current.number} at {current.address:#x} is current but blank"] if current.blank else []
    return problems + [f"ROM {rom.number} at {rom.address:#x}: {problem}" for rom in roms for problem in rom.problems]


def _regions(data: bytes, regions: Sequence[FlashRegion]) -> Iterable[RegionInfo]:
    for region in sorted(regions, key=lambda region: region.address):
        if region.end <= len(data):
            content = data[region.address : region.end]
            yield RegionInfo(region, is_blank(content), sha256_hex(content), find_superblock(content))


def _decision(data: bytes, options: LoaderInfo, chip: FlashSize | None) -> BootDecision:
    flash = data.ljust(chip.bytes if chip else FIRST_SLOT_ADDRESS, BLANK)
    return predict_boot(flash, options.loader_options(flash[CONFIG_ADDRESS:FIRST_SLOT_ADDRESS]))


def _hex(addresses: Iterable[int]) -> str:
    return ", ".join(f"{address:#x}" for address in addresses)


def config_json(found: ConfigInfo) -> dict[str, object]:
    """Return the JSON values that rbootimg.analysis.identify describes."""
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
    """Return the JSON values that rbootimg.analysis.identify describes."""
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
                "littlefs": at.littlefs and at.littlefs._asdict(),
            }
            for at in found.regions
        ],
    }

"""A flash image: loader, config, ROMs and data as checked pieces <-> the complete image. No files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import ConfigError, FitError, LayoutError, RomError
from ..layout.memory import BLANK, CONFIG_ADDRESS, SECTOR_SIZE, is_blank
from ..layout.model import FlashLayout
from ..layout.segments import layout_segments
from ..rom import fit
from ..rom.format import PARAMS, image_size
from ..text import counted
from .bootconfig import BootConfig
from .loader import LoaderInfo, check_loader, default_roms, knows_size, read_options

INIT_DATA_REGION = "phy_init"
"""The region for the SDK's esp_init_data_default.bin."""
INIT_DATA_SIZE = 128
"""Bytes in each esp_init_data_default*.bin of the NONOS SDK, 2.0.0 to 3.0.6."""


@dataclass(frozen=True)
class FlashPiece:
    """The `data` at flash `address`; `name` is `loader`, `config`, `rom0` and so on, or a region's name."""

    address: int
    data: bytes = field(repr=False)
    name: str

    @property
    def end(self) -> int:
        """The flash address of the first byte after the piece."""
        return self.address + len(self.data)

    @property
    def file_name(self) -> str:
        """A file name with the address: `0x002000-rom0.bin`."""
        return f"{self.address:#08x}-{re.sub(r'[^A-Za-z0-9._-]', '_', self.name)}.bin"


def make_boot_config(layout: FlashLayout, loader: bytes, current_rom: int = 0) -> BootConfig:
    """Return a config for all slots of `layout`, with the default mode of `loader`, that boots `current_rom`.

    Raises ConfigError if there is no such slot.
    """
    return BootConfig(tuple(slot.address for slot in layout.slots), current_rom, mode=read_options(loader).mode)


def flash_pieces(
    layout: FlashLayout,
    loader: bytes,
    roms: Mapping[int, bytes],
    config: BootConfig | None,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> tuple[FlashPiece, ...]:
    """Return the pieces of the flash, by address, checked: a device with them boots the current ROM of `config`.

    `roms` are by slot number: versions may differ, and slots may be empty. `config` comes from make_boot_config();
    with None there is no config piece, and rBoot's default config must match the slots. `files` are by the names of
    the layout's regions; init data must have 128 bytes. The loader's header gets the layout's size, mode and
    frequency.

    Raises LoaderError, ConfigError, RomError, FitError or LayoutError. Takes up to 0.1 s for each MB of ROMs.
    """
    info = check_loader(loader, layout)
    header = loader[: PARAMS.start] + layout.params.to_bytes()
    pieces = [FlashPiece(0, header + loader[PARAMS.stop :], "loader")]
    for number in roms:
        if not 0 <= number < len(layout.slots):
            raise LayoutError(f"invalid slot {number} for a ROM: expected 0-{len(layout.slots) - 1}")
    if config is None:
        _check_default(layout, roms, info)
    else:
        pieces.append(FlashPiece(CONFIG_ADDRESS, _config_sector(layout, config, roms), "config"))
    pieces += (_rom_piece(layout, number, data) for number, data in roms.items())
    pieces += (_region_piece(layout, name, data) for name, data in files.items())
    return tuple(sorted(pieces, key=lambda piece: piece.address))


def warnings(layout: FlashLayout, pieces: Sequence[FlashPiece]) -> tuple[str, ...]:
    """Return the warnings about valid `pieces`.

    These are missing init data, a loader that does not know the flash size, and a default config without ROMs in slots.
    """
    found = []
    addresses = {piece.address for piece in pieces}
    for region in layout.regions:
        if region.name == INIT_DATA_REGION and region.address not in addresses:
            found.append(
                f"no init data for {region.label}: SDK applications boot-loop without it; "
                "add the SDK's esp_init_data_default.bin"
            )
    loader = next((piece.data for piece in pieces if piece.address == 0), b"")
    all_sizes = _all_sizes(layout, read_options(loader))
    defaults = default_roms(layout.params, layout.big_flash, all_sizes)
    slots = {slot.address for slot in layout.slots}
    if not knows_size(layout.params, all_sizes):
        found.append(
            f"the loader does not know the flash size {layout.size.name} and assumes 512KB, as rBoot v1.4.2 does: if "
            f"the config sector is lost, it looks for ROMs at {_both(defaults)}; use a loader built from rBoot's master"
        )
    elif not slots & set(defaults):
        found.append(f"if the config sector is lost, rBoot looks for ROMs at {_both(defaults)}, which are not slots")
    return tuple(found)


def assemble(pieces: Iterable[FlashPiece], size: int) -> bytes:
    """Return a flash of `size` bytes with the `pieces` in it; the rest is blank (0xFF).

    Raises LayoutError if a piece is outside the flash or overlaps another.
    """
    in_order = sorted(pieces, key=lambda piece: piece.address)
    for piece, following in itertools.pairwise(in_order):
        if piece.end > following.address:
            raise LayoutError(f"{piece.name} ends at {piece.end:#x} and overlaps {following.name}")
    flash = bytearray(BLANK) * size
    for piece in in_order:
        if piece.address < 0 or piece.end > size:
            raise LayoutError(f"{piece.name} ends at {piece.end:#x}, past the end of the flash at {size:#x}")
        flash[piece.address : piece.end] = piece.data
    return bytes(flash)


def split(flash: bytes, layout: FlashLayout) -> tuple[FlashPiece, ...]:
    """Return the pieces of a dump that are not blank: loader, config sector, ROMs, regions, and unassigned areas.

    The piece of a ROM has the ROM's own length, without the rest of an older, longer one after it. In a slot without a
    ROM the piece ends with the last byte that is not 0xFF. Init data have 128 bytes if the rest of their region is
    blank. Raises LayoutError if the dump does not have the flash's size.
    """
    check_size(flash, layout)
    roms = {slot.address: f"rom{number}" for number, slot in enumerate(layout.slots)}
    pieces = []
    for segment in layout_segments(layout):
        data = flash[segment.address : segment.end]
        if is_blank(data):
            continue
        used = len(data.rstrip(BLANK))
        name = segment.name
        if segment.kind == "loader":
            data = data[: max(used, _image_size(data))]
        elif segment.kind == "config":
            name = segment.kind
        elif segment.kind == "slot":
            data = data[: _image_size(data) or used]
            name = roms[segment.address]
        elif segment.kind == "region" and name == INIT_DATA_REGION:
            data = data[: max(INIT_DATA_SIZE, used)]
        pieces.append(FlashPiece(segment.address, data, name))
    return tuple(pieces)


def _image_size(data: bytes) -> int:
    try:
        return image_size(data)
    except RomError:
        return 0


def _all_sizes(layout: FlashLayout, info: LoaderInfo) -> bool:
    """Whether the loader knows all flash sizes: as its bytes tell, else as the layout says."""
    return layout.loader.all_sizes if info.all_sizes is None else info.all_sizes


def _check_default(layout: FlashLayout, roms: Iterable[int], info: LoaderInfo) -> None:
    defaults = default_roms(layout.params, layout.big_flash, _all_sizes(layout, info))
    for number in roms:
        slot = layout.slots[number]
        if slot.address not in defaults[number : number + 1]:
            raise ConfigError(
                f"without a config rBoot looks for ROMs at {_both(defaults)}, not for ROM {number} in {slot.label}; "
                "write the config"
            )


def _config_sector(layout: FlashLayout, config: BootConfig, roms: Mapping[int, bytes]) -> bytes:
    addresses = tuple(slot.address for slot in layout.slots)
    if config.roms != addresses:
        raise ConfigError(
            f"config does not match the layout: expected ROMs at {_hex(addresses)}, got {_hex(config.roms)}"
        )
    if config.current_rom not in roms:
        slot = layout.slots[config.current_rom]
        raise ConfigError(f"no ROM for {slot.label}, which the config boots; add one or choose another slot")
    options = layout.loader
    return config.rewrite(BLANK * SECTOR_SIZE, options.max_roms, options.config_checksum)


def check_size(flash: bytes, layout: FlashLayout) -> None:
    """Raise LayoutError unless the dump `flash` has the size of the layout's flash."""
    if len(flash) != layout.size.bytes:
        raise LayoutError(f"dump size {len(flash):#x} does not match the layout's flash size {layout.size.bytes:#x}")


def _rom_piece(layout: FlashLayout, number: int, data: bytes) -> FlashPiece:
    slot = layout.slots[number]
    try:
        fit.read(data, layout.loader.irom_checksum, slot, layout.slots)
    except (RomError, FitError) as error:
        raise type(error)(f"ROM for {slot.label}: {error}") from None
    return FlashPiece(slot.address, data, f"rom{number}")


def _region_piece(layout: FlashLayout, name: str, data: bytes) -> FlashPiece:
    for region in layout.regions:
        if region.name == name:
            break
    else:
        known = ", ".join(region.name for region in layout.regions) or "none"
        raise LayoutError(f"unknown region {name!r} for a file; the layout's regions: {known}")
    if not data:
        raise FitError(f"file for {region.label} is empty")
    if name == INIT_DATA_REGION and len(data) != INIT_DATA_SIZE:
        raise FitError(
            f"invalid init data for {region.label}: expected {INIT_DATA_SIZE} bytes, as in the SDK's "
            f"esp_init_data_default.bin, got {len(data):,}"
        )
    if len(data) > region.size:
        raise FitError(
            f"file for {region.label} is {counted(len(data), 'byte')}, {len(data) - region.size:,} more than the region"
        )
    return FlashPiece(region.address, data, name)


def _both(addresses: tuple[int, int]) -> str:
    return f"{addresses[0]:#x} and {addresses[1]:#x}"


def _hex(addresses: Iterable[int]) -> str:
    return ", ".join(f"{address:#x}" for address in addresses)

"""The whole flash: loader, config, ROMs and data as checked pieces, the pieces as one image, and back. No files."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import ConfigError, FitError, LayoutError, RomError
from ..layout.memory import CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, SECTOR_SIZE
from ..layout.model import FlashMap
from ..rom import fit
from ..rom.format import image_size
from .bootconfig import BootConfig
from .loader import LoaderInfo, check_loader, default_roms, knows_size, read_options

INIT_DATA_REGION = "phy_init"
"""Where the SDK's esp_init_data_default.bin belongs."""
INIT_DATA_SIZE = 128
"""Bytes in each esp_init_data_default*.bin of the NONOS SDK, 2.0.0 to 3.0.6."""

_BLANK = b"\xff"
"""What an erased flash reads as."""

_PARAMS = slice(2, 4)
"""The flash parameters in an image header. The checksum does not cover headers."""


@dataclass(frozen=True)
class Piece:
    """`data` that stands at flash `address`: `loader`, `config`, `rom0` and so on, or a region by its `name`."""

    address: int
    data: bytes = field(repr=False)
    name: str

    @property
    def end(self) -> int:
        """The flash address of the first byte after the piece."""
        return self.address + len(self.data)

    @property
    def file_name(self) -> str:
        """A file's name that says where the piece belongs: `0x002000-rom0.bin`."""
        return f"{self.address:#08x}-{re.sub(r'[^A-Za-z0-9._-]', '_', self.name)}.bin"


def boot_config(layout: FlashMap, loader: bytes, current_rom: int = 0) -> BootConfig:
    """The config for all slots of `layout`, in the mode that `loader` was built for; boots `current_rom`.

    Raises ConfigError if there is no such slot.
    """
    return BootConfig(tuple(slot.address for slot in layout.slots), current_rom, mode=read_options(loader).mode)


def flash_pieces(
    layout: FlashMap,
    loader: bytes,
    roms: Mapping[int, bytes],
    config: BootConfig | None,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> tuple[Piece, ...]:
    """What goes into the flash, by address: checked, so that a device with it boots what `config` says.

    `roms` by the number of their slots; different versions may stand side by side, and slots may stay empty.
    `config` comes from boot_config(); None leaves its sector out, and then rBoot's default must name the slots.
    `files` by the names of the layout's regions; init data have 128 bytes. The loader's header gets the layout's size,
    mode and frequency.

    Raises LoaderError, ConfigError, RomError, FitError or LayoutError. Takes up to a tenth of a second for
    each MB of ROMs.
    """
    info = check_loader(loader, layout)
    header = loader[: _PARAMS.start] + layout.params.to_bytes()
    pieces = [Piece(0, header + loader[_PARAMS.stop :], "loader")]
    for number in roms:
        if not 0 <= number < len(layout.slots):
            raise LayoutError(f"there is no slot {number} for a ROM; the layout has 0 to {len(layout.slots) - 1}")
    if config is None:
        _check_default(layout, roms, info)
    else:
        pieces.append(Piece(CONFIG_ADDRESS, _config_sector(layout, config, roms), "config"))
    pieces += (_rom_piece(layout, number, data) for number, data in roms.items())
    pieces += (_region_piece(layout, name, data) for name, data in files.items())
    return tuple(sorted(pieces, key=lambda piece: piece.address))


def warnings(layout: FlashMap, pieces: Sequence[Piece]) -> tuple[str, ...]:
    """What is no error, but should be known: no init data, no slot where the loader's default config looks.

    Or a loader that takes the flash for a smaller one.
    """
    found = []
    addresses = {piece.address for piece in pieces}
    for region in layout.regions:
        if region.name == INIT_DATA_REGION and region.address not in addresses:
            found.append(
                f"no init data for {region.label}; an SDK application restarts for ever where that is blank: "
                "add the SDK's esp_init_data_default.bin"
            )
    loader = next((piece.data for piece in pieces if piece.address == 0), b"")
    all_sizes = _all_sizes(layout, read_options(loader))
    defaults = default_roms(layout.params, layout.big_flash, all_sizes)
    slots = {slot.address for slot in layout.slots}
    if not knows_size(layout.params, all_sizes):
        found.append(
            f"the loader does not know the flash size {layout.size.name} and takes it for 512KB, as rBoot v1.4.2 "
            f"before 2019 does: if its config sector is lost, it looks for ROMs at {_both(defaults)}; "
            "rBoot's master knows it"
        )
    elif not slots & set(defaults):
        found.append(
            f"if its config sector is lost, rBoot looks for ROMs at {_both(defaults)}, where the layout has no slot"
        )
    return tuple(found)


def assemble(pieces: Iterable[Piece], size: int) -> bytes:
    """The flash of `size` bytes with the `pieces` in it; what they leave free is 0xFF.

    Raises LayoutError if one lies outside or two overlap.
    """
    in_order = sorted(pieces, key=lambda piece: piece.address)
    for piece, following in itertools.pairwise(in_order):
        if piece.end > following.address:
            raise LayoutError(f"{piece.name} ends at {piece.end:#x} and overlaps {following.name}")
    flash = bytearray(_BLANK) * size
    for piece in in_order:
        if piece.address < 0 or piece.end > size:
            raise LayoutError(f"{piece.name} ends at {piece.end:#x}, outside the flash of {size:#x} bytes")
        flash[piece.address : piece.end] = piece.data
    return bytes(flash)


def split(flash: bytes, layout: FlashMap) -> tuple[Piece, ...]:
    """The pieces of a dump, without the blank ones: loader, config sector, ROMs, regions, and what is between.

    A ROM is as long as its headers say: what an older, longer one has left behind it is not in the piece. In
    a slot without a ROM it is what is there up to the last byte that is not 0xFF. Init data are their 128 bytes, if
    nothing follows them. Raises LayoutError if the dump has not the flash's size.
    """
    check_size(flash, layout)
    slots = {slot.address for slot in layout.slots}
    pieces = []
    for address, end, name in _areas(layout):
        data = flash[address:end]
        if data.count(_BLANK) == len(data):
            continue
        used = len(data.rstrip(_BLANK))
        if address == 0:
            data = data[: max(used, _image_size(data))]
        elif address in slots:
            data = data[: _image_size(data) or used]
        elif name == INIT_DATA_REGION:
            data = data[: max(INIT_DATA_SIZE, used)]
        pieces.append(Piece(address, data, name))
    return tuple(pieces)


def _areas(layout: FlashMap) -> Iterator[tuple[int, int, str]]:
    """(address, end, name) of all there is in the flash, gaps included, by address."""
    areas = [(0, CONFIG_ADDRESS, "loader"), (CONFIG_ADDRESS, FIRST_SLOT_ADDRESS, "config")]
    areas += ((slot.address, slot.end, f"rom{number}") for number, slot in enumerate(layout.slots))
    areas += ((region.address, region.end, region.name) for region in layout.regions)
    behind = 0
    for address, end, name in sorted(areas):
        if behind < address:
            yield behind, address, "free"
        yield address, end, name
        behind = end
    if behind < layout.size.bytes:
        yield behind, layout.size.bytes, "free"


def _image_size(data: bytes) -> int:
    try:
        return image_size(data)
    except RomError:
        return 0


def _all_sizes(layout: FlashMap, info: LoaderInfo) -> bool:
    """What the loader tells of itself, else what the layout says."""
    return layout.loader.all_sizes if info.all_sizes is None else info.all_sizes


def _check_default(layout: FlashMap, roms: Iterable[int], info: LoaderInfo) -> None:
    defaults = default_roms(layout.params, layout.big_flash, _all_sizes(layout, info))
    for number in roms:
        slot = layout.slots[number]
        if slot.address not in defaults[number : number + 1]:
            raise ConfigError(
                f"without a config rBoot looks for ROMs at {_both(defaults)}, and not for ROM {number} in "
                f"{slot.label}; write the config"
            )


def _config_sector(layout: FlashMap, config: BootConfig, roms: Mapping[int, bytes]) -> bytes:
    addresses = tuple(slot.address for slot in layout.slots)
    if config.roms != addresses:
        raise ConfigError(
            f"the config has ROMs at {_hex(config.roms)}, but the layout has slots at {_hex(addresses)}; "
            "make the config for this layout"
        )
    if config.current_rom not in roms:
        slot = layout.slots[config.current_rom]
        raise ConfigError(f"the config boots {slot.label}, which has no ROM; add one or choose another slot")
    options = layout.loader
    return config.rewrite(_BLANK * SECTOR_SIZE, options.max_roms, options.config_checksum)


def check_size(flash: bytes, layout: FlashMap) -> None:
    """Raise LayoutError unless the dump `flash` is as large as the layout's flash."""
    if len(flash) != layout.size.bytes:
        raise LayoutError(
            f"the dump has {len(flash):#x} bytes, but the layout's flash {layout.size.bytes:#x}; "
            "read the whole flash, or choose its layout"
        )


def _rom_piece(layout: FlashMap, number: int, data: bytes) -> Piece:
    slot = layout.slots[number]
    try:
        fit.read(data, layout.loader.irom_checksum, slot, layout.slots)
    except (RomError, FitError) as error:
        raise type(error)(f"the ROM for {slot.label}: {error}") from None
    return Piece(slot.address, data, f"rom{number}")


def _region_piece(layout: FlashMap, name: str, data: bytes) -> Piece:
    for region in layout.regions:
        if region.name == name:
            break
    else:
        there = ", ".join(region.name for region in layout.regions) or "none"
        raise LayoutError(f"the layout has no region {name!r} for a file; its regions: {there}")
    if not data:
        raise FitError(f"the file for {region.label} is empty")
    if name == INIT_DATA_REGION and len(data) != INIT_DATA_SIZE:
        raise FitError(
            f"the file for {region.label} has {len(data):,} bytes: expected {INIT_DATA_SIZE}, as the SDK's "
            "esp_init_data_default.bin has"
        )
    if len(data) > region.size:
        raise FitError(
            f"the file for {region.label} has {len(data):,} bytes, {len(data) - region.size:,} more than the region"
        )
    return Piece(region.address, data, name)


def _both(addresses: tuple[int, int]) -> str:
    return f"{addresses[0]:#x} and {addresses[1]:#x}"


def _hex(addresses: Iterable[int]) -> str:
    return ", ".join(f"{address:#x}" for address in addresses)

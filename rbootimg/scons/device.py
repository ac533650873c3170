"""RbootFlashImage and what is done with it: `scons flash` writes it to a device, `scons boot` runs it here."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import SCons.Builder
import SCons.Errors

from ..emulator import network, qemu
from ..errors import LayoutError, RbootError
from ..fileio import write_atomic
from ..flash import writer
from ..flash.image import Piece, assemble, boot_config, flash_pieces, warnings
from ..layout.model import FlashMap, sdk_regions
from ..rom import elf
from ..rom.elf import Symbol
from ..views.rom import pieces_table
from . import confine, targets
from .actions import OWN_SCANNER, action, build, nodes
from .interrupt import is_interrupted
from .loader import default_loader
from .variables import flash_map, for_call, is_set, text


@dataclass(frozen=True)
class _Flash:
    """What goes into a flash image: nodes, and the layout that says where."""

    layout: FlashMap
    loader: Any
    roms: list[Any]
    files: dict[str, Any]
    current_rom: int


def builders() -> dict[str, Any]:
    """The step of RbootFlashImage that puts the flash together."""
    return {
        "_RbootFlash": SCons.Builder.Builder(
            action=action(_assemble, "$RBOOTFLASHIMAGECOMSTR", "_RBOOT_FLASH_OPTIONS"),
            target_scanner=OWN_SCANNER,
            suffix=".bin",
        )
    }


def rboot_flash_image(env: Any, target: Any, roms: Any, **overrides: object) -> Any:
    """The whole flash with `roms`, in slot order, as one file; `scons flash` writes it to a device.

    The loader is $RBOOT_LOADER, else our own. $RBOOT_FILES says what goes into the layout's regions, such as
    {"phy_init": "esp_init_data_default.bin"}; $RBOOT_CURRENT_ROM is the ROM that boots (0).
    """
    env = for_call(env, overrides)
    try:
        found = flash_map(env)
        current = _number(env, "RBOOT_CURRENT_ROM")
        files = env.get("RBOOT_FILES") or {}
        if not isinstance(files, Mapping):
            raise LayoutError(f"RBOOT_FILES is {files!r}; write a dictionary, from the region's name to the file")
        if files and not is_set(env, "RBOOT_LAYOUT"):  # then nothing says that there is no SDK
            found = replace(found, regions=tuple(at for at in sdk_regions(found.size) if at.name in files))
        contents = _Flash(
            found,
            default_loader(env, found.loader),
            nodes(env, str(target), roms),
            {name: nodes(env, str(target), file)[0] for name, file in files.items()},
            current,
        )
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {target}: {error}") from None
    sources = [contents.loader, *contents.roms, *contents.files.values()]
    image = build(env, "_RbootFlash", target, sources)
    image[0].attributes.rboot_flash = contents
    stem = os.path.splitext(str(image[0]))[0]
    for name, function in (("flash", _flash), ("boot", _boot)):
        alias = targets.add(env, name, image, function)
        for one in dict.fromkeys((stem, os.path.basename(stem))):
            targets.name_one(alias, one, image)
    return image


def flash_options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_FLASH_OPTIONS: what a flash image depends on beside its files."""
    contents = getattr(target[0].attributes, "rboot_flash", None)
    return f"{contents.layout} {sorted(contents.files)} {contents.current_rom}" if contents else ""


def _number(env: Any, name: str, default: int = 0) -> int:
    value = text(env, name)
    if value and not value.isdecimal():
        raise LayoutError(f"{name} is {value!r}; write a number")
    return int(value or default)


def _pieces(contents: _Flash) -> tuple[Piece, ...]:
    loader = contents.loader.get_contents()
    return flash_pieces(
        contents.layout,
        loader,
        {number: rom.get_contents() for number, rom in enumerate(contents.roms)},
        boot_config(contents.layout, loader, contents.current_rom),
        {name: file.get_contents() for name, file in contents.files.items()},
    )


def _assemble(target: Any, source: Any, env: Any) -> None:
    contents = target[0].attributes.rboot_flash
    pieces = _pieces(contents)
    write_atomic(Path(target[0].get_abspath()), assemble(pieces, contents.layout.size.bytes))
    for warning in warnings(contents.layout, pieces):
        sys.stderr.write(f"rboot: {target[0]}: warning: {warning}\n")
    if not env.GetOption("silent"):
        sys.stdout.write(pieces_table(pieces, [piece.name for piece in pieces]) + "\n")


def _only(source: Any, env: Any, target: str) -> Any:
    """The flash image that `scons flash` or `scons boot` is about."""
    # Whatever else the SConstruct has added to the target is not for us.
    images = list(dict.fromkeys(node for node in source if hasattr(node.attributes, "rboot_flash")))
    if len(images) > 1:
        stems = [os.path.splitext(str(image))[0] for image in images]
        names = [os.path.basename(stem) for stem in stems]
        names = names if len(set(names)) == len(names) else stems
        ways = " or ".join(f"`scons {target}-{name}`" for name in names)
        raise RbootError(f"there are {len(images)} flash images; say which: {ways}")
    return images[0]


def _flash(target: Any, source: Any, env: Any) -> None:
    contents = _only(source, env, "flash").attributes.rboot_flash
    port = text(env, "RBOOT_PORT") or None
    with tempfile.TemporaryDirectory(prefix="rbootimg-") as folder:
        files = []
        for piece in _pieces(contents):
            file = Path(folder) / piece.file_name
            file.write_bytes(piece.data)
            files.append((piece.address, str(file)))
        writer.run(writer.command_line(files, port, _number(env, "RBOOT_BAUD") or None))


def _boot(target: Any, source: Any, env: Any) -> None:
    image = _only(source, env, "boot")
    confine.check(env)
    net = text(env, "RBOOT_NET")
    server = network.parse_address(net) if net else None
    result = qemu.interact(image.get_contents(), net=server, is_interrupted=is_interrupted)
    qemu.check(result, symbols=_symbols(image.attributes.rboot_flash.roms, result.rom))


def _symbols(roms: list[Any], number: int | None) -> tuple[Symbol, ...]:
    """The names for a crash in the ROM that was started, if it is known what it was packed from."""
    started = [rom for slot, rom in enumerate(roms) if slot == number and hasattr(rom.attributes, "rboot_packing")]
    if not started:
        return ()
    return elf.symbols(Path(started[0].attributes.rboot_packing.elf.rfile().get_abspath()).read_bytes())

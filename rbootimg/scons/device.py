"""RbootFlashImage: what `scons flash` writes to a device and `scons boot` runs here. `running` does that."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import SCons.Builder
import SCons.Errors
import SCons.Node

from ..errors import SettingError, error_subject
from ..fileio import write_atomic
from ..layout.model import sdk_regions
from . import targets
from .actions import OWN_SCANNER, action, build, nodes, one_node
from .flashcontents import FlashContents, number, pieces_of
from .loader import default_loader
from .variables import flash_map, for_call, is_set


@functools.lru_cache
def _builder() -> Any:
    """The step of RbootFlashImage that puts the flash together."""
    return SCons.Builder.Builder(
        name="_RbootFlash",
        action=action(_assemble, "$RBOOTFLASHIMAGECOMSTR", "_RBOOT_FLASH_OPTIONS"),
        target_scanner=OWN_SCANNER,
        suffix=".bin",
    )


def rboot_flash_image(env: Any, target: Any, roms: Any, **overrides: object) -> Any:
    """The whole flash with `roms`, in slot order, as one file; `scons flash` writes it to a device.

    The loader is $RBOOT_LOADER, else our own. $RBOOT_FILES says what goes into the layout's regions, such as
    {"phy_init": "esp_init_data_default.bin"}; $RBOOT_CURRENT_ROM is the ROM that boots (0).
    """
    env = for_call(env, overrides)
    [target, *more] = env.Flatten([target]) or [None]
    if more or not isinstance(target, (str, SCons.Node.Node)):
        raise SettingError("RbootFlashImage makes one file; name it, such as flash.bin")
    with error_subject(target):
        found = flash_map(env)
        current = number(env, "RBOOT_CURRENT_ROM")
        files = env.get("RBOOT_FILES") or {}
        if not isinstance(files, Mapping):
            raise SettingError(f"RBOOT_FILES is {files!r}; write a dictionary, from the region's name to the file")
        if files and not is_set(env, "RBOOT_LAYOUT"):  # then nothing says that there is no SDK
            found = replace(found, regions=tuple(at for at in sdk_regions(found.size) if at.name in files))
        contents = FlashContents(
            found,
            default_loader(env, found.loader),
            nodes(env, str(target), roms),
            {name: one_node(env, str(target), file) for name, file in files.items()},
            current,
        )
    sources = [contents.loader, *contents.roms, *contents.files.values()]
    image = build(env, _builder(), target, sources)
    image[0].attributes.rboot_flash = contents
    image[0].attributes.rboot_env = env  # of the call: the port is that of this board
    stem = os.path.splitext(os.path.relpath(image[0].get_abspath(), env.fs.Top.get_abspath()))[0]
    for name, function in (("flash", _flash), ("boot", _boot)):
        alias = targets.add(env, name, image, function)
        for one in dict.fromkeys((stem, os.path.basename(stem))):
            targets.name_one(alias, one, image)
    return image


def flash_options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_FLASH_OPTIONS: what a flash image depends on beside its files."""
    contents = getattr(target[0].attributes, "rboot_flash", None)
    return f"{contents.layout} {sorted(contents.files)} {contents.current_rom}" if contents else ""


def _assemble(target: Any, source: Any, env: Any) -> None:
    from ..flash.image import assemble, warnings  # not for every build
    from ..views.rom import pieces_table

    contents = target[0].attributes.rboot_flash
    pieces = pieces_of(contents)
    write_atomic(Path(target[0].get_abspath()), assemble(pieces, contents.layout.size.bytes))
    for warning in warnings(contents.layout, pieces):
        sys.stderr.write(f"rboot: {target[0]}: warning: {warning}\n")
    if not env.GetOption("silent"):
        sys.stdout.write(pieces_table(pieces, [piece.name for piece in pieces]) + "\n")


def _flash(target: Any, source: Any, env: Any) -> None:
    from . import running  # with esptool's options and the emulator: not for every build

    running.flash(source)


def _boot(target: Any, source: Any, env: Any) -> None:
    from . import running

    running.boot(source)

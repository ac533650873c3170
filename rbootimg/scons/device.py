"""RbootFlashImage, RbootFileSystem, and the targets `scons flash` and `scons boot`. `running` has their actions."""

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
from ..views.messages import print_warning
from . import targets
from .actions import OWN_SCANNER, action, build, nodes, single_node
from .flashcontents import FlashContents, pieces_of
from .loader import default_loader
from .variables import call_environment, get_layout, get_number, invalid_value, is_set


@functools.lru_cache
def _builder() -> Any:
    """The builder that assembles a flash image."""
    return SCons.Builder.Builder(
        name="_RbootFlash",
        action=action(_assemble, "$RBOOTFLASHIMAGECOMSTR", "_RBOOT_FLASH_OPTIONS", about_source=False),
        target_scanner=OWN_SCANNER,
        suffix=".bin",
    )


def rboot_flash_image(env: Any, target: Any, roms: Any, **overrides: object) -> Any:
    """Assemble a complete flash image with `roms`, in slot order, for `scons flash` and `scons boot`.

    The loader is $RBOOT_LOADER, else our own. $RBOOT_FILES has the files for the layout's regions, such as
    {"phy_init": "esp_init_data_default.bin"}; $RBOOT_CURRENT_ROM is the ROM that boots (0). Raises SettingError or
    LayoutError.
    """
    env = call_environment(env, overrides)
    target = _single_target(env, target, "RbootFlashImage", "flash.bin")
    with error_subject(target):
        layout = get_layout(env)
        current = get_number(env, "RBOOT_CURRENT_ROM")
        files = env.get("RBOOT_FILES") or {}
        if not isinstance(files, Mapping):
            raise invalid_value("RBOOT_FILES", files, "a dictionary {REGION: FILE}")
        if files and not is_set(env, "RBOOT_LAYOUT"):  # without a layout, files are for the SDK's own regions
            regions = tuple(region for region in sdk_regions(layout.size) if region.name in files)
            layout = replace(layout, regions=regions)
        contents = FlashContents(
            layout,
            default_loader(env, layout.loader),
            nodes(env, str(target), roms),
            {name: single_node(env, str(target), file) for name, file in files.items()},
            current,
        )
    sources = [contents.loader, *contents.roms, *contents.files.values()]
    image = build(env, _builder(), target, sources)
    image[0].attributes.rboot_flash = contents
    image[0].attributes.rboot_env = env  # of this call: each board may have its own port
    stem = os.path.splitext(os.path.relpath(image[0].get_abspath(), env.fs.Top.get_abspath()))[0]
    for name, function in (("flash", _flash), ("boot", _boot)):
        alias = targets.add_target(env, name, image, function)
        for image_name in dict.fromkeys((stem, os.path.basename(stem))):
            targets.add_named(alias, image_name, image)
    return image


def rboot_file_system(env: Any, target: Any, source: Any, region: str, **overrides: object) -> Any:
    """Make a LittleFS image of the files in the directory `source`, as large as the layout's region `region`.

    `source` may also be files, or a dictionary from paths in the file system to files. $RBOOT_FS_BLOCK_SIZE is the
    block size of the device's driver, $RBOOT_FS_NAME_MAX the maximum length of a name. Raises SettingError or
    LayoutError.
    """
    from .filesystem import file_system  # not for every build

    env = call_environment(env, overrides)
    target = _single_target(env, target, "RbootFileSystem", "www.bin")
    with error_subject(target):
        return file_system(env, target, source, region)


def _single_target(env: Any, target: Any, builder: str, example: str) -> Any:
    """The name or node of the one target of a call. Raises SettingError."""
    [target, *more] = env.Flatten([target]) or [None]
    if more or not isinstance(target, (str, SCons.Node.Node)):
        raise SettingError(f"expected the name of one file, e.g. {example}", subject=builder)
    return target


def flash_options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_FLASH_OPTIONS: what a flash image depends on besides its files."""
    contents = getattr(target[0].attributes, "rboot_flash", None)
    return f"{contents.layout} {sorted(contents.files)} {contents.current_rom}" if contents else ""


def _assemble(target: Any, source: Any, env: Any) -> None:
    from ..flash.image import assemble, warnings  # not for every build
    from ..views.rom import pieces_table

    contents = target[0].attributes.rboot_flash
    pieces = pieces_of(contents)
    write_atomic(Path(target[0].get_abspath()), assemble(pieces, contents.layout.size.bytes))
    for warning in warnings(contents.layout, pieces):
        print_warning(f"rboot: {target[0]}", warning)
    if not env.GetOption("silent"):
        sys.stdout.write(pieces_table(pieces, [piece.name for piece in pieces]) + "\n")


def _flash(target: Any, source: Any, env: Any) -> None:
    from . import running  # imports esptool's options and the emulator: not for every build

    running.flash(source)


def _boot(target: Any, source: Any, env: Any) -> None:
    from . import running

    running.boot(source)

"""`pio run -t upload`: the pieces of the flash image at their addresses, with the platform's esptool."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import SCons.Script

from ..errors import SettingError
from ..fileio import write_atomic
from ..layout.model import FlashLayout
from ..scons.actions import action
from ..scons.flashcontents import pieces_of

# The loader's header has the layout's values; old versions of esptool would replace its flash size.
_COMMAND = (
    '"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS --flash_mode keep --flash_freq keep --flash_size keep $_RBOOT_PIECES'
)
_PHY_INIT = "phy_init"
_FILE_SYSTEM_TARGETS = ("buildfs", "uploadfs", "uploadfsota")


def check_protocol(env: Any) -> None:
    """Raise SettingError for an upload that would not write a ROM to its slot."""
    protocol = env.subst("$UPLOAD_PROTOCOL")
    if protocol not in ("", "esptool", "custom") and not _has_own_command(env):
        raise SettingError(
            f"{protocol} cannot write rBoot ROMs: expected esptool or custom; "
            "devices download updates from the web root (docs/how-to/platformio.md)",
            subject="upload_protocol",
        )
    for target in _FILE_SYSTEM_TARGETS:
        if target in SCons.Script.COMMAND_LINE_TARGETS:
            raise SettingError(
                "unsupported: file systems of PlatformIO are not part of the flash layout", subject=f"-t {target}"
            )


def init_data(env: Any, layout: FlashLayout) -> dict[str, str]:
    """The file for the region phy_init, the SDK's init data for the RF, if the framework's script lists it."""
    if _PHY_INIT not in (region.name for region in layout.regions):
        return {}
    files = (env.subst(file) for _, file in env.get("FLASH_EXTRA_IMAGES", ()))
    found = [file for file in files if os.path.basename(file).startswith("esp_init_data_default")]
    return {_PHY_INIT: found[0]} if found else {}


def use_pieces(env: Any, image: Any) -> None:
    """Let `pio run -t upload` write the pieces of `image` instead of firmware.bin and the framework's images.

    A command of the user's own (`upload_protocol = custom`, `upload_command`) stays: its $SOURCE, firmware.bin, is
    the complete flash image.
    """
    if env.subst("$UPLOAD_PROTOCOL") == "custom" or _has_own_command(env):
        return
    flags = list(env.get("UPLOADERFLAGS", ()))
    for address, file in env.get("FLASH_EXTRA_IMAGES", ()):
        at = flags.index(address) if address in flags else len(flags)
        if flags[at : at + 2] == [address, env.subst(file)]:
            del flags[at : at + 2]
    env.Replace(UPLOADERFLAGS=flags, FLASH_EXTRA_IMAGES=[], _RBOOT_IMAGE=image)
    env.Replace(UPLOADCMD=[action(_write_pieces, None, about_source=False), _COMMAND])


def _has_own_command(env: Any) -> bool:
    return bool(env.GetProjectOption("upload_command", ""))


def _write_pieces(target: Any, source: Any, env: Any) -> None:
    """Write the pieces for esptool, and set $_RBOOT_PIECES to their addresses and names."""
    directory = Path(env.subst("$BUILD_DIR"), "rboot", "pieces")
    directory.mkdir(exist_ok=True)
    words = []
    for piece in pieces_of(env["_RBOOT_IMAGE"].attributes.rboot_flash):
        file = directory / piece.file_name
        write_atomic(file, piece.data)
        words += [f"{piece.address:#x}", f'"{file}"']
    env["_RBOOT_PIECES"] = " ".join(words)

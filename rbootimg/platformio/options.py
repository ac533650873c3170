"""The variables of the SCons tool, from the options of platformio.ini, the shell's environment, and the board."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from ..errors import SettingError, error_subject
from ..layout import tomlfile
from ..layout.presets import LAYOUT_PRESETS
from ..scons.variables import VARIABLE_GROUPS, VARIABLES, get_layout, layout_text
from .words import PREFIX, option_name

APP_OPTION = f"{PREFIX}app"
"""The name of the application, by default that of the environment."""

# PlatformIO decides these: by its packages and build flags, by -v, and by its build directory. RBOOT_SLOT and
# RBOOT_APPS are useless where each environment has one application for all slots.
_NOT_OPTIONS = (
    "RBOOT_TOOLCHAIN",
    "RBOOT_VERBOSE",
    "RBOOT_BUILD_DIR",
    "RBOOT_CCFLAGS",
    "RBOOT_ASFLAGS",
    "RBOOT_SLOT",
    "RBOOT_APPS",
)
OPTIONS: Mapping[str, str] = {
    option_name(each.name): each.name
    for group in VARIABLE_GROUPS.values()
    for each in group
    if each.name not in _NOT_OPTIONS
}
"""The variable of each option."""

_MAPPINGS = ("RBOOT_FILES", "RBOOT_RECOVERY")
"""Variables that are dictionaries: their options have lines KEY = FILE."""


def read_variables(env: Any) -> dict[str, Any]:
    """The variables for the environment of platformio.ini that is built. Raises SettingError or LayoutError.

    A value is that of the shell's environment, such as RBOOT_VERSION, else of the option, else of the board.
    """
    given = {name: value for name, value in env.GetProjectOptions() if name.startswith(PREFIX)}
    _check_names([name for name in given if name != APP_OPTION])
    values: dict[str, Any] = {}
    for option, variable in OPTIONS.items():
        value = str(given.get(option) or "").strip()
        if value:
            values[variable] = _mapping(option, value) if variable in _MAPPINGS else value
    names = [each.name for each in VARIABLES if each.name in OPTIONS.values()]
    values |= {name: os.environ[name] for name in names if os.environ.get(name)}
    return {**_defaults(env, values), **values}


def app_name(env: Any) -> str:
    """The name of the application."""
    return str(env.GetProjectOption(APP_OPTION, "") or env["PIOENV"])


def _check_names(names: list[str]) -> None:
    """Raise SettingError for an unknown option."""
    for name in names:
        if name not in OPTIONS:
            known = sorted((*OPTIONS, APP_OPTION))
            similar = difflib.get_close_matches(name, known, 1)
            hint = f"use {similar[0]}" if similar else f"expected one of {', '.join(known)}"
            raise SettingError(f"unknown option; {hint}", subject=name)


def _mapping(option: str, value: str) -> dict[str, str]:
    """The dictionary in lines `KEY = FILE`. Raises SettingError."""
    pairs = [line.partition("=") for line in value.splitlines() if line.strip()]
    if not all(key.strip() and equals and file.strip() for key, equals, file in pairs):
        raise SettingError(f"invalid value {value!r}: expected lines NAME = FILE", subject=option)
    return {key.strip(): file.strip() for key, _, file in pairs}


def _defaults(env: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values for what neither the options nor the shell's environment set."""
    environment = env["PIOENV"]
    defaults: dict[str, Any] = {
        "RBOOT_BUILD_DIR": "$BUILD_DIR/rboot",
        "RBOOT_WEBROOT": f"$PROJECT_WORKSPACE_DIR/webroot/{environment}",
        # As PlatformIO links: its own group of libraries comes after the objects.
        "RBOOT_LINK_INPUTS": "$SOURCES $_LIBFLAGS",
    }
    for name, variable in (("UPLOAD_PORT", "RBOOT_PORT"), ("UPLOAD_SPEED", "RBOOT_BAUD")):
        if env.get(name):
            defaults[variable] = env.subst(f"${name}")
    if _shares_web_root(env):
        defaults["RBOOT_IN_DIRECTORY"] = "yes"
    defaults |= _board_params(env, values)
    return defaults


def _shares_web_root(env: Any) -> bool:
    """Whether another environment of platformio.ini names the web root of this one."""
    option = option_name("RBOOT_WEBROOT")
    config = env.GetProjectConfig()
    own = env.GetProjectOption(option, "")
    others = (config.get(f"env:{name}", option, "") for name in config.envs() if name != env["PIOENV"])
    return bool(own) and own in others


def _board_params(env: Any, values: Mapping[str, Any]) -> dict[str, str]:
    """The layout of the board's flash, unless `values` have one, and its mode and frequency, unless that has others.

    Raises LayoutError or SettingError, also if the layout is for a larger flash than the board's.
    """
    if "BOARD" not in env:
        return {}
    size = int(env.BoardConfig().get("upload.maximum_size", 0))
    found = {} if "RBOOT_LAYOUT" in values else _preset(size)
    layout = str(values.get("RBOOT_LAYOUT", ""))
    with error_subject(layout):
        keys = tomlfile.load_toml(layout_text(env, layout) or "")
    params = {"flash_mode": env.get("BOARD_FLASH_MODE"), "flash_freq": _frequency(env.get("BOARD_F_FLASH"))}
    found |= {f"RBOOT_{name.upper()}": value for name, value in params.items() if value and name not in keys}
    needed = get_layout(env.Override({**found, **values})).size
    if size and needed.bytes > size:
        raise SettingError(
            f"too large for {env['BOARD']}: the layout has {needed.name} of flash, the board {size >> 10} KB",
            subject=layout or "RBOOT_FLASH_SIZE",
        )
    return found


def _preset(size: int) -> dict[str, str]:
    """The layout for a flash of `size` bytes: rBoot's default slots, and the SDK's regions."""
    presets = ("512KB", "1MB", "2MB-capped", "4MB-capped", "8MB-capped", "16MB-capped")
    found = [name for name in presets if LAYOUT_PRESETS[name].size.bytes == size]
    return {"RBOOT_LAYOUT": found[0]} if found else {}


def _frequency(hertz: str | None) -> str | None:
    """esptool's name for a frequency such as 40000000L."""
    return f"{int(str(hertz).rstrip('L')) // 1_000_000}m" if hertz else None

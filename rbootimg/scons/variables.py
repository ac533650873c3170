"""The tool's construction variables: names, defaults and help, and the flash layout that they describe."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import SCons.Errors
import SCons.Script
import SCons.Subst

from ..errors import LayoutError, SettingError, VersionError, error_subject
from ..fileio import read_file
from ..layout import tomlfile
from ..layout.model import FlashLayout, LoaderOptions, Slot, parse_slots
from ..layout.params import FlashParams, flash_size
from ..release import version

COMPILER = "xtensa-lx106-elf-gcc"
BUILD_DIR = "#build/rboot"


class Variable(NamedTuple):
    """A construction variable. `in_sconstruct_only`: it cannot be set on the command line.

    For the variables of flash layouts the default is only for the help: a variable that is set overrides the layout.
    """

    name: str
    default: str
    help: str
    in_sconstruct_only: bool = False


VARIABLE_GROUPS: Mapping[str, tuple[Variable, ...]] = MappingProxyType(
    {
        "Flash and layout": (
            Variable("RBOOT_LAYOUT", "", "layout file (TOML) or preset; the variables below override it"),
            Variable("RBOOT_FLASH_SIZE", "1MB", "flash size: 256KB 512KB 1MB 2MB 4MB 8MB 16MB 2MB-c1 4MB-c1"),
            Variable("RBOOT_FLASH_MODE", "qio", "flash mode: qio qout dio dout"),
            Variable("RBOOT_FLASH_FREQ", "40m", "flash frequency: 20m 26m 40m 80m"),
            Variable("RBOOT_SLOTS", "", "slots: ADDRESS[:SIZE] ... (default: rBoot's two for the flash size)"),
            Variable("RBOOT_BIG_FLASH", "", "slots above 1 MB (BOOT_BIG_FLASH): yes no (default: no)"),
            Variable("RBOOT_IROM_CHECKSUM", "", "checksum over irom too (BOOT_IROM_CHKSUM): yes no (default: no)"),
            Variable("RBOOT_HEADER_FLASH_SIZE", "", "flash size in ROM headers (default: RBOOT_FLASH_SIZE)"),
        ),
        "Build": (
            Variable("RBOOT_TOOLCHAIN", "", f"directory or prefix of {COMPILER} (default: PATH)"),
            Variable("RBOOT_VERBOSE", "", "print complete command lines: yes no (default: no)"),
            Variable("RBOOT_BUILD_DIR", BUILD_DIR, "directory of linker scripts, loaders, the update client"),
            Variable("RBOOT_LDSCRIPT", "", "base linker script (default: rbootimg's, for bare-metal applications)"),
            Variable("RBOOT_SECTIONS", "", "sections for RAM, in order (default: .text .data .rodata if not empty)"),
            Variable("RBOOT_MAP", "", "write the linker's map files, e.g. APP/rom0.map: yes no (default: no)"),
            Variable("RBOOT_BUDGET", "", "limits that fail the build, e.g. 'IRAM=95% rom=460KB'; also DRAM"),
            Variable("RBOOT_SLOT", "", "slot of a single ROM or linker script", in_sconstruct_only=True),
            Variable("RBOOT_CCFLAGS", "", "compiler flags that the chip needs, before CCFLAGS"),
            Variable("RBOOT_ASFLAGS", "", "assembler flags that the chip needs, before ASFLAGS"),
            Variable("RBOOT_LINKFLAGS", "", "linker flags that the chip needs, before LINKFLAGS"),
            Variable("RBOOT_LINK_INPUTS", "", "libraries and objects of the link command, in order"),
        ),
        "Boot loader and flash image": (
            Variable("RBOOT_LOADER", "", "prebuilt loader for flash images and proofs (default: rbootimg's)"),
            Variable("RBOOT_SRC", "", "rBoot's sources for RbootLoader (default: rbootimg's loader)"),
            Variable("RBOOT_CURRENT_ROM", "", "number of the ROM that a flash image boots (default: 0)"),
            Variable("RBOOT_FILES", "", "files for the regions of a flash image", in_sconstruct_only=True),
            Variable("RBOOT_FS_BLOCK_SIZE", "4096", "block size of RbootFileSystem: 4096 8192"),
            Variable("RBOOT_FS_NAME_MAX", "31", "maximum length of a file name of RbootFileSystem, in bytes"),
        ),
        "Release": (
            Variable("RBOOT_WEBROOT", "#build/webroot", "directory that `scons publish` writes to"),
            Variable(
                "RBOOT_IN_DIRECTORY", "", "publish to a directory of the application's name: yes no (default: no)"
            ),
            Variable("RBOOT_APPS", "", "applications to publish, roll back, ... (default: all)"),
            Variable("RBOOT_VERSION", "", "semantic version (default: from the git tags)"),
            Variable("RBOOT_DEVICE", "", "device class in the manifest (default: esp8266)"),
            Variable("RBOOT_RELEASE_FILES", "", "data files of the release, e.g. a web UI"),
            Variable("RBOOT_FILE_REGIONS", "", "regions that data files are for", in_sconstruct_only=True),
            Variable("RBOOT_RECOVERY", "", "recovery ROM of the release", in_sconstruct_only=True),
            Variable("RBOOT_NOTES", "", "release notes in Markdown (default: message of the annotated tag)"),
            Variable("RBOOT_CHECKSUM_FILES", "", "publish a .sha256 file for each ROM: yes no (default: no)"),
            Variable("RBOOT_PUBLISH_ELFS", "", "publish the ELFs, for their symbols: yes no (default: no)"),
            Variable("RBOOT_ELF_ARCHIVE", "", "keep ELFs there, or none (default: .WEBROOT-elfs beside it)"),
            Variable("RBOOT_FORCE", "", "replace a version or drop a ROM, for development: yes no"),
            Variable("RBOOT_ALLOW_DOWNGRADE", "", "publish an older version: yes no (default: no)"),
            Variable("RBOOT_ROLLBACK", "", "version for `scons rollback` (default: the previous one)"),
            Variable("RBOOT_SERVE_PORT", "8080", "port for `scons serve`"),
        ),
        "Signatures": (
            Variable("RBOOT_SIGN_KEY", "", "private key for signed releases (default of these: the shell's)"),
            Variable("RBOOT_SIGN_COMMAND", "", "program that signs instead: update file in, base64 out"),
            Variable("RBOOT_SIGN_PUBLIC_KEY", "", "public key that verifies what the program signed"),
            Variable("RBOOT_SIGN_PASSPHRASE_FILE", "", "passphrase of the private key (default: asked for)"),
            Variable("RBOOT_UPDATE_KEYS", "", "public keys that the update client accepts", in_sconstruct_only=True),
            Variable("RBOOT_LOWEST_VERSION", "", "oldest version that it installs", in_sconstruct_only=True),
        ),
        "Prove and run in QEMU": (
            Variable("RBOOT_PROVE", "auto", "prove before publishing: auto (where QEMU is) always never"),
            Variable("RBOOT_CONFINE", "", "sandbox for QEMU: auto always (default: the shell's, else auto)"),
            Variable("RBOOT_NET", "", "HOST:PORT that connections in `scons boot` are forwarded to"),
        ),
        "Device": (
            Variable("RBOOT_PORT", "", "serial port for `scons flash` and `scons monitor` (default: found)"),
            Variable("RBOOT_BAUD", "", "baud rate for `scons flash` (default: esptool's)"),
        ),
    }
)
"""The variables by theme, in the order of `scons -h` and of the reference in the documentation."""

VARIABLES = tuple(each for group in VARIABLE_GROUPS.values() for each in group if not each.in_sconstruct_only)
"""The variables that the command line can set."""

# The flags that the ESP8266 needs, in variables of their own before the user's flags: CCFLAGS or LINKFLAGS of the user
# may override a flag, but replace none.
FLAGS = {
    "RBOOT_CCFLAGS": "-mlongcalls -mtext-section-literals",
    "RBOOT_ASFLAGS": "--longcalls --text-section-literals",
    "RBOOT_LINKFLAGS": "-nostdlib -static",
    # In one group, libraries first, as in the SDK's and rBoot's Makefiles: it decides the order of the code in the ROM.
    "RBOOT_LINK_INPUTS": "-Wl,--start-group $_LIBFLAGS $SOURCES -Wl,--end-group",
}
# Variables that a layout has too: RBOOT_LAYOUT on the command line overrides those of the SConstruct.
_LAYOUT_VARIABLES = tuple(
    f"RBOOT_{key}" for key in ("FLASH_SIZE", "FLASH_MODE", "FLASH_FREQ", "SLOTS", "BIG_FLASH", "IROM_CHECKSUM")
)
# Variables of targets, not for calls.
_TARGET_VARIABLES = (
    *("RBOOT_APPS", "RBOOT_ROLLBACK", "RBOOT_SERVE_PORT"),
    *("RBOOT_SIGN_KEY", "RBOOT_SIGN_COMMAND", "RBOOT_SIGN_PUBLIC_KEY", "RBOOT_SIGN_PASSPHRASE_FILE"),
)
_COMMAND_LINE_VARIABLES = frozenset(variable.name for variable in VARIABLES)
_ALL_VARIABLES = frozenset(variable.name for group in VARIABLE_GROUPS.values() for variable in group)


def check_names(names: Iterable[str], known: frozenset[str] = _ALL_VARIABLES) -> None:
    """Raise SettingError for a name that begins with RBOOT_, in any case, and is not `known`: a misspelt variable."""
    for name in names:
        if name not in known and name[:6].upper() == "RBOOT_":
            upper = name.upper()
            hint = f"use {upper}" if upper in known else "`scons -h` lists all variables"
            raise SettingError(f"unknown variable; {hint}", subject=name)


def check_arguments(names: Iterable[str]) -> None:
    """Raise SettingError for an RBOOT_ name on the command line that cannot be set there."""
    check_names(names, _COMMAND_LINE_VARIABLES)


def command_line_variables() -> dict[str, object]:
    """Our variables on the command line, such as `scons RBOOT_FLASH_MODE=dio`. They override all SConscripts."""
    variables: dict[str, object] = {
        name: value for name, value in SCons.Script.ARGUMENTS.items() if name in _COMMAND_LINE_VARIABLES
    }
    if variables.get("RBOOT_LAYOUT"):
        variables = {**dict.fromkeys(_LAYOUT_VARIABLES, ""), **variables}
    if version_given := _parse_version(str(variables.pop("RBOOT_VERSION", ""))):
        variables["RBOOT_VERSION"] = version_given
    return variables


class CheckoutVersion(str):
    """The value of $RBOOT_VERSION when it comes from the git checkout, not from the user."""

    __slots__ = ()


def version_of(env: Any) -> str:
    """$RBOOT_VERSION, else the checkout's version, a CheckoutVersion, else "". Raises SettingError or VersionError."""
    value = env.get("RBOOT_VERSION")
    if isinstance(value, CheckoutVersion):
        return value
    return _parse_version(get_string(env, "RBOOT_VERSION")) or _checkout_version(env.Dir("#").get_abspath())


def get_version(env: Any, name: str) -> str:
    """A variable that is a semantic version, "" if it is not set. Raises SettingError or VersionError."""
    value = get_string(env, name)
    with error_subject(name):
        return value and version.normalize(value)


@functools.lru_cache  # all applications ask for the same few versions
def _parse_version(value: str) -> str:
    with error_subject("RBOOT_VERSION"):
        return value and version.normalize(value)


@functools.lru_cache
def _checkout_version(directory: str) -> str:
    """The version of the checkout, "" without one; publishing reports the reason."""
    top = Path(directory)
    try:
        return CheckoutVersion(version.from_git(top)) if version.is_checkout(top) else ""
    except VersionError:
        return ""


def call_environment(env: Any, overrides: Mapping[str, object]) -> Any:
    """The environment of a call with `overrides`. Raises SettingError for a variable that a call cannot have."""
    for name in ("srcdir", "chdir"):
        if name in overrides:
            raise SettingError("has no effect here; use file names with a directory", subject=name)
    check_names(overrides)
    for name in _TARGET_VARIABLES:
        if name in overrides:
            raise SettingError("not for a single call; use the environment or the command line", subject=name)
    typed = command_line_variables()
    fixed = {name: value for name, value in typed.items() if overrides.get(name, env.get(name)) != value}
    if overrides or fixed:
        env = env.Override({**overrides, **fixed})
    check_names(env.Dictionary())
    release_version = version_of(env)
    if release_version != env.get("RBOOT_VERSION"):
        env = env.Override({"RBOOT_VERSION": release_version})
    if env["RBOOT_TOOLCHAIN"] != env["_RBOOT_TOOLCHAIN"]:
        raise SettingError("changed after the tool was loaded; pass it to Environment(...)", subject="RBOOT_TOOLCHAIN")
    return env


def is_set(env: Any, name: str) -> bool:
    """Whether the user set the variable; 0 and an empty list are values too."""
    value = env.get(name)
    return value is not None and value != ""


def invalid_value(name: str, value: object, expected: str) -> SettingError:
    """The error of a variable with an invalid value."""
    return SettingError(f"invalid value {value!r}: expected {expected}", subject=name)


def get_string(env: Any, name: str) -> str:
    """The variable, expanded; "" if it is not set. Raises SettingError if it refers to an undefined variable."""
    value = env.get(name)
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(expand(env, name, str(item)) for item in value)
    return expand(env, name, str(value))


def get_bool(env: Any, name: str) -> bool | None:
    """A yes-or-no variable, None if it is not set. Raises SettingError for another value."""
    value = get_string(env, name)
    word = value.strip().lower()
    if not word:
        return None
    if word in ("1", "true", "yes", "on"):
        return True
    if word in ("0", "false", "no", "off", "none"):
        return False
    raise invalid_value(name, value, "yes or no")


def get_number(env: Any, name: str) -> int:
    """A variable that is an integer >= 0, 0 if it is not set. Raises SettingError for another value."""
    value = get_string(env, name)
    if not value:
        return 0
    if not (value.isascii() and value.isdecimal()):
        raise invalid_value(name, value, "an integer >= 0")
    return int(value)


def expand(env: Any, name: str, value: str) -> str:
    """`value` of the variable `name` with all variables in it replaced.

    Raises SettingError for an undefined one, which SCons would replace with nothing.
    """
    if "$" not in value:  # subst() is slow even then
        return value
    allowed = SCons.Subst.AllowableExceptions
    SCons.Subst.SetAllowableExceptions()
    try:
        return str(env.subst(value))
    except SCons.Errors.UserError as error:
        reason = re.sub(r"^\w+Error `(.*)' trying to evaluate .*", r"\1", str(error).splitlines()[0])
        raise SettingError(f"cannot expand {value!r}: {reason}", subject=name) from None
    finally:
        SCons.Subst.SetAllowableExceptions(*allowed)


def escape_dollars(name: str) -> str:
    """A name that is expanded already, for functions of SCons that expand it again."""
    return name.replace("$", "$$")


# The layout without a layout file: no SDK sectors, and MAX_ROMS is raised to the number of slots.
_NO_LAYOUT = MappingProxyType({"flash_size": "1MB", "sdk_data": False, "loader": {"max_roms": 255}})


def get_layout(env: Any, slots: object = None) -> FlashLayout:
    """The layout: $RBOOT_LAYOUT's, if set, with the changes of the other variables; `slots` replaces its slots.

    Raises LayoutError or SettingError.
    """
    strings = {key: get_string(env, f"RBOOT_{key.upper()}") for key in ("flash_size", "flash_mode", "flash_freq")}
    flags = {key: get_bool(env, f"RBOOT_{key.upper()}") for key in ("big_flash", "irom_checksum")}
    if slots is None and is_set(env, "RBOOT_SLOTS"):
        slots = _expanded(env, "RBOOT_SLOTS", env["RBOOT_SLOTS"])
    own = () if slots is None else parse_slots(slots)
    name = get_string(env, "RBOOT_LAYOUT")
    with error_subject(name or None):
        return _layout(layout_text(env, name), tuple(strings.items()), tuple(flags.items()), own)


def _expanded(env: Any, name: str, value: object) -> object:
    if isinstance(value, str):
        return expand(env, name, value)
    if isinstance(value, (list, tuple)):
        return [_expanded(env, name, item) for item in value]
    return value


def layout_text(env: Any, name: str) -> str | None:
    """The TOML of the preset or layout file `name`, None without a name. Raises LayoutError."""
    if not name:
        return None
    from ..layout import presets  # for projects with a layout only, as TOML's parser

    if name in presets.LAYOUT_PRESETS:
        return f'preset = "{name}"'
    try:
        file = env.File(escape_dollars(name))
        if not file.has_builder() and (source := file.srcnode()).rexists():
            file = source  # SCons copies it to a variant_dir only when it builds, with -n never
        return read_file(file.rfile().get_abspath()).decode()
    except FileNotFoundError:
        raise presets.not_found_error(name) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LayoutError(f"cannot read the layout file: {reason}") from None
    except (TypeError, ValueError) as error:  # SCons raises these for a directory, or for NUL in the name
        raise LayoutError(f"cannot read the layout file: {error}") from None


@functools.lru_cache(maxsize=64)  # all applications ask for the same few layouts
def _layout(text: str | None, strings: tuple[Any, ...], flags: tuple[Any, ...], slots: tuple[Slot, ...]) -> FlashLayout:
    changes: dict[str, Any] = {key: value for key, value in strings if value}
    changes["loader"] = {key: value for key, value in flags if value is not None}
    if text is not None:
        return tomlfile.parse_layout(text, changes, slots)
    layout = tomlfile.make_layout(_NO_LAYOUT, changes, slots)
    max_roms = max(len(layout.slots), LoaderOptions().max_roms)
    return replace(layout, loader=replace(layout.loader, max_roms=max_roms))


def header_params(env: Any, layout: FlashLayout) -> FlashParams:
    """The flash parameters for the headers of ROMs in `layout`. Raises LayoutError."""
    header_size = get_string(env, "RBOOT_HEADER_FLASH_SIZE")
    return layout.params._replace(size=flash_size(header_size).code) if header_size else layout.params


def slots_of(env: Any, count: int) -> tuple[Slot | None, ...]:
    """The slot in $RBOOT_SLOT for each of `count` targets, None if it is not set. Several targets need a list.

    Raises LayoutError or SettingError.
    """
    if not is_set(env, "RBOOT_SLOT"):
        return (None,) * count
    value = env["RBOOT_SLOT"]
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if count == 1:
        return (_slot(env, value[0] if is_list and len(value) == 1 else value),)
    if not is_list or len(value) != count:
        raise invalid_value("RBOOT_SLOT", value, f"a list of {count} slots, one for each target")
    return tuple(_slot(env, item) for item in value)


def _slot(env: Any, value: object) -> Slot:
    if isinstance(value, Slot):
        return value
    value = _expanded(env, "RBOOT_SLOT", value)
    return replace(get_layout(env, [value]).slots[0], number=None)

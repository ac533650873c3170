"""The tool's construction variables: their names, their defaults, and what they say of the flash."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

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

# (name, default, what it is), in the order of `scons -h`. Where a layout can say it, the default is only for
# the help: a variable that is set overrides the layout.
VARIABLES: tuple[tuple[str, str, str], ...] = (
    ("RBOOT_LAYOUT", "", "layout file (TOML) or preset; the variables below override it"),
    ("RBOOT_FLASH_SIZE", "1MB", "flash size: 256KB 512KB 1MB 2MB 4MB 8MB 16MB 2MB-c1 4MB-c1"),
    ("RBOOT_FLASH_MODE", "qio", "flash mode: qio qout dio dout"),
    ("RBOOT_FLASH_FREQ", "40m", "flash frequency: 20m 26m 40m 80m"),
    ("RBOOT_HEADER_FLASH_SIZE", "", "size written in the ROM's header (default: RBOOT_FLASH_SIZE)"),
    ("RBOOT_SLOTS", "", "slots: ADDRESS[:SIZE] ... (default: rBoot's pair for the flash size)"),
    ("RBOOT_BIG_FLASH", "", "the loader maps more than 1 MB (BOOT_BIG_FLASH)"),
    ("RBOOT_IROM_CHECKSUM", "", "the loader sums irom too (BOOT_IROM_CHKSUM)"),
    ("RBOOT_LDSCRIPT", "", "base linker script (default: our own for bare-metal applications)"),
    ("RBOOT_SECTIONS", "", "RAM sections in ROM order (default: those of .text .data .rodata with data)"),
    ("RBOOT_MAP", "", "write the linker's map file too: APP/rom0.map beside APP/rom0.elf"),
    ("RBOOT_BUILD_DIR", BUILD_DIR, "folder of what applications share: linker scripts, loaders, the update client"),
    ("RBOOT_WEBROOT", "#build/webroot", "folder that `scons publish` writes to"),
    ("RBOOT_LOADER", "", "ready boot loader for RbootFlashImage and proofs (default: our own)"),
    ("RBOOT_SRC", "", "rBoot's sources, for RbootLoader (default: our own loader)"),
    ("RBOOT_CURRENT_ROM", "", "the ROM that boots from a flash image (default: 0)"),
    ("RBOOT_PROVE", "auto", "prove ROMs before `scons publish`: auto (if QEMU is there) always never"),
    (
        "RBOOT_CONFINE",
        "",
        "confine ROMs in the emulator: auto (if the kernel can) always (default: the shell's, else auto)",
    ),
    ("RBOOT_PORT", "", "serial port of `scons flash` (default: esptool looks for it)"),
    ("RBOOT_BAUD", "", "baud rate of `scons flash` (default: esptool's)"),
    ("RBOOT_NET", "", "HOST:PORT that the connections of an application in `scons boot` lead to"),
    ("RBOOT_APPS", "", "the applications that publish, rollback and so on are about (default: all)"),
    ("RBOOT_VERSION", "", "semantic version of the release (default: that of the git checkout by its tags)"),
    ("RBOOT_DEVICE", "", "what devices a release is for (default: esp8266)"),
    ("RBOOT_RELEASE_FILES", "", "data files that a release carries along, such as a web UI"),
    ("RBOOT_CHECKSUM_FILES", "", "publish a rom0.bin.sha256 beside each ROM"),
    ("RBOOT_PUBLISH_ELFS", "", "publish the ELFs too, for their symbols"),
    ("RBOOT_FORCE", "", "publish other ROMs under a version that was published, for the desk"),
    ("RBOOT_ALLOW_DOWNGRADE", "", "publish an older version than the current one"),
    ("RBOOT_ROLLBACK", "", "the version that `scons rollback` goes back to (default: the previous one)"),
    ("RBOOT_SERVE_PORT", "8080", "port of `scons serve`"),
    ("RBOOT_TOOLCHAIN", "", f"folder or prefix of {COMPILER} (default: PATH)"),
)

# What an ESP8266 needs of the compiler. In variables of their own, before the user's flags: whoever
# sets CCFLAGS or LINKFLAGS replaces nothing of this, and may override it.
FLAGS = {
    "RBOOT_CCFLAGS": "-mlongcalls -mtext-section-literals",
    "RBOOT_ASFLAGS": "--longcalls --text-section-literals",
    "RBOOT_LINKFLAGS": "-nostdlib -static",
    # In one group, libraries first: the order of the SDK's and rBoot's Makefiles, on which that of the code in the ROM
    # depends.
    "RBOOT_LINK_INPUTS": "-Wl,--start-group $_LIBFLAGS $SOURCES -Wl,--end-group",
}
# What a layout says too: one that is named on the command line goes before the SConstruct's.
_OF_LAYOUTS = tuple(
    f"RBOOT_{key}" for key in ("FLASH_SIZE", "FLASH_MODE", "FLASH_FREQ", "SLOTS", "BIG_FLASH", "IROM_CHECKSUM")
)
# Those that a call takes and the command line does not.
_OF_CALLS = ("RBOOT_SLOT", "RBOOT_FILES", "RBOOT_RECOVERY")
# Those that a target asks for, whatever it is about.
_OF_TARGETS = ("RBOOT_APPS", "RBOOT_ROLLBACK", "RBOOT_SERVE_PORT")
_GLOBAL = frozenset((*(name for name, _, _ in VARIABLES), *FLAGS))
_KNOWN = _GLOBAL.union(_OF_CALLS)


def check_names(names: Iterable[str], known: frozenset[str] = _KNOWN) -> None:
    """Raise SettingError for a name that looks like one of ours and is none: a misspelt setting is never ignored."""
    for name in names:
        if name not in known and name[:6].upper() == "RBOOT_":
            hint = f"write {name.upper()}" if name.upper() in known else "`scons -h` lists them"
            raise SettingError(f"there is no variable {name}; {hint}")


def check_arguments(names: Iterable[str]) -> None:
    """Raise SettingError for a name on the command line that is none of the variables that it can set."""
    check_names(names, _GLOBAL)


def typed() -> dict[str, object]:
    """The variables of the command line, `scons RBOOT_FLASH_MODE=dio`: whatever an SConscript says, these hold."""
    found: dict[str, object] = {name: value for name, value in SCons.Script.ARGUMENTS.items() if name in _GLOBAL}
    if found.get("RBOOT_LAYOUT"):
        found = {**dict.fromkeys(_OF_LAYOUTS, ""), **found}
    if given := _given(str(found.pop("RBOOT_VERSION", ""))):
        found["RBOOT_VERSION"] = given
    return found


class CheckoutVersion(str):
    """The value of $RBOOT_VERSION where nobody gave one: the version of the git checkout."""

    __slots__ = ()


def version_of(env: Any) -> str:
    """$RBOOT_VERSION, or the checkout's version, a CheckoutVersion; "" if that has none. Raises SettingError."""
    value = env.get("RBOOT_VERSION")
    if isinstance(value, CheckoutVersion):
        return value
    return _given(text(env, "RBOOT_VERSION")) or _checkout_version(env.Dir("#").get_abspath())


@functools.lru_cache  # each application asks for one of a few
def _given(text: str) -> str:
    with error_subject("RBOOT_VERSION"):
        return text and version.normalize(text)


@functools.lru_cache
def _checkout_version(folder: str) -> str:
    """As publishing finds it too, which says why there is none."""
    top = Path(folder)
    try:
        return CheckoutVersion(version.from_git(top)) if version.is_checkout(top) else ""
    except VersionError:
        return ""


def for_call(env: Any, overrides: Mapping[str, object]) -> Any:
    """The environment of a call with construction variables of its own. Raises SettingError for what has no effect."""
    for name in ("srcdir", "chdir"):
        if name in overrides:
            raise SettingError(f"{name} has no effect here; write the folder in the names")
    check_names(overrides)
    for name in _OF_TARGETS:
        if name in overrides:
            raise SettingError(f"{name} is not for one call; set it in the environment or on the command line")
    fixed = {name: value for name, value in typed().items() if overrides.get(name, env.get(name)) != value}
    if overrides or fixed:
        env = env.Override({**overrides, **fixed})
    check_names(env.Dictionary())
    found = version_of(env)
    if found != env.get("RBOOT_VERSION"):
        env = env.Override({"RBOOT_VERSION": found})
    if env["RBOOT_TOOLCHAIN"] != env["_RBOOT_TOOLCHAIN"]:
        raise SettingError("RBOOT_TOOLCHAIN was changed after the tool was loaded; set it in Environment(...)")
    return env


def is_set(env: Any, name: str) -> bool:
    """Whether the user gave the variable a value; 0 is one, and so is an empty list."""
    value = env.get(name)
    return value is not None and value != ""


def text(env: Any, name: str) -> str:
    """The variable as text, "" if it is not set. Raises LayoutError if it refers to a variable that is not set."""
    value = env.get(name)
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(expand(env, name, str(item)) for item in value)
    return expand(env, name, str(value))


def expand(env: Any, name: str, value: str) -> str:
    """`value` with the variables in it. SCons takes those that are not set for nothing; here that is a LayoutError."""
    if "$" not in value:  # subst() takes its time all the same
        return value
    allowed = SCons.Subst.AllowableExceptions
    SCons.Subst.SetAllowableExceptions()
    try:
        return str(env.subst(value))
    except SCons.Errors.UserError as error:
        reason = re.sub(r"^\w+Error `(.*)' trying to evaluate .*", r"\1", str(error).splitlines()[0])
        raise SettingError(f"{name} is {value!r}: {reason}") from None
    finally:
        SCons.Subst.SetAllowableExceptions(*allowed)


def literal(name: str) -> str:
    """`name`, in which all variables are replaced already, so that SCons does not look for them again."""
    return name.replace("$", "$$")


# What holds without a layout file. It says nothing of the SDK's sectors; MAX_ROMS is as many as it takes.
_NO_LAYOUT = MappingProxyType({"flash_size": "1MB", "sdk_data": False, "loader": {"max_roms": 255}})


def flash_map(env: Any, slots: object = None) -> FlashLayout:
    """The layout: $RBOOT_LAYOUT's, or none, under what the other variables say; `slots` instead of its slots.

    Raises LayoutError.
    """
    texts = {key: text(env, f"RBOOT_{key.upper()}") for key in ("flash_size", "flash_mode", "flash_freq")}
    flags = {key: is_on(env, f"RBOOT_{key.upper()}") for key in ("big_flash", "irom_checksum")}
    if slots is None and is_set(env, "RBOOT_SLOTS"):
        slots = _expanded(env, "RBOOT_SLOTS", env["RBOOT_SLOTS"])
    own = () if slots is None else parse_slots(slots)
    name = text(env, "RBOOT_LAYOUT")
    with error_subject(name or None):
        return _layout(_layout_text(env, name), tuple(texts.items()), tuple(flags.items()), own)


def _expanded(env: Any, name: str, value: object) -> object:
    if isinstance(value, str):
        return expand(env, name, value)
    if isinstance(value, (list, tuple)):
        return [_expanded(env, name, item) for item in value]
    return value


def _layout_text(env: Any, name: str) -> str | None:
    if not name:
        return None
    from ..layout import presets  # as TOML's parser below, only for projects with a layout

    if name in presets.LAYOUT_PRESETS:
        return f'preset = "{name}"'
    try:
        file = env.File(literal(name))
        if not file.has_builder() and (source := file.srcnode()).rexists():
            file = source  # which SCons copies to a variant_dir only when it builds, under -n never
        return read_file(file.rfile().get_abspath()).decode()
    except FileNotFoundError:
        raise presets.not_found_error(name) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LayoutError(f"the layout file cannot be read: {reason}") from None
    except (TypeError, ValueError) as error:  # which SCons raises for a folder that it knows, or for a NUL
        raise LayoutError(f"the layout file cannot be read: {error}") from None


@functools.lru_cache(maxsize=64)  # each application asks for one of a few
def _layout(text: str | None, texts: tuple[Any, ...], flags: tuple[Any, ...], slots: tuple[Slot, ...]) -> FlashLayout:
    changes: dict[str, Any] = {key: value for key, value in texts if value}
    changes["loader"] = {key: value for key, value in flags if value is not None}
    if text is not None:
        return tomlfile.parse_layout(text, changes, slots)
    found = tomlfile.make_layout(_NO_LAYOUT, changes, slots)
    most = max(len(found.slots), LoaderOptions().max_roms)
    return replace(found, loader=replace(found.loader, max_roms=most))


def is_on(env: Any, name: str) -> bool | None:
    """A yes-or-no variable; None if it is not set."""
    value = text(env, name).strip().lower()
    if not value:
        return None
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off", "none"):
        return False
    raise SettingError(f"{name} is {value!r}; write yes or no")


def header_params(env: Any, found: FlashLayout) -> FlashParams:
    """The flash bytes for the header of a ROM in the layout `found`. Raises LayoutError."""
    header_size = text(env, "RBOOT_HEADER_FLASH_SIZE")
    return found.params._replace(size=flash_size(header_size).code) if header_size else found.params


def slots_of(env: Any, count: int) -> tuple[Slot | None, ...]:
    """$RBOOT_SLOT for each of `count` targets, None if it is not set: of several, a list with a slot for each.

    Raises LayoutError.
    """
    if not is_set(env, "RBOOT_SLOT"):
        return (None,) * count
    value = env["RBOOT_SLOT"]
    is_list = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if count == 1:
        return (_slot(env, value[0] if is_list and len(value) == 1 else value),)
    if not is_list or len(value) != count:
        raise SettingError(f"RBOOT_SLOT is {value!r} for {count} targets; give a list with a slot for each")
    return tuple(_slot(env, item) for item in value)


def _slot(env: Any, value: object) -> Slot:
    if isinstance(value, Slot):
        return value
    value = _expanded(env, "RBOOT_SLOT", value)
    return replace(flash_map(env, [value]).slots[0], number=None)

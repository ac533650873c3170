"""RbootApp and RbootProgram: sources -> objects -> an ELF for each slot -> ROMs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SCons.Errors
import SCons.Node
import SCons.Warnings

from ..errors import SettingError, error_subject
from ..layout.model import Slot
from . import bigflash, publish
from .actions import build, generated_file, nodes, split_executor
from .apps import app_name, recovery_rom
from .client import check_client
from .compiler import protect_spaces
from .image import images
from .link import base_scripts, link_builder, programs, script_for_slot
from .variables import (
    FLAGS,
    call_environment,
    command_line_variables,
    escape_dollars,
    get_layout,
    get_string,
    header_params,
    is_set,
    slots_of,
)
from .versionheader import header_overrides

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def rboot_app(env: Any, name: str, source: Any, **overrides: object) -> Any:
    """Compile `source` once, link and pack it for each slot, and publish the ROMs. Returns their nodes, in slot order.

    The ELFs and ROMs are NAME/rom0.elf, NAME/rom0.bin and so on; `name` may begin with directories, as for any SCons
    target. `overrides` are construction variables for this application. Raises SettingError or LayoutError.
    """
    compiling = _compile_environment(env, overrides)
    env = call_environment(env, overrides)
    name = app_name(env, name)
    with error_subject(name):
        layout = get_layout(env)
        header_params(env, layout)
        get_string(env, "RBOOT_SECTIONS")
    scripts = base_scripts(env)
    if len(scripts) > 1:
        raise SettingError(f"RBOOT_LDSCRIPT: expected one base script for all slots, got {len(scripts)}", subject=name)
    if is_set(env, "RBOOT_SLOT"):
        raise SettingError("RBOOT_SLOT has no effect here; use RBOOT_SLOTS", subject=name)
    recovery = recovery_rom(env, name, layout)
    slots = tuple(slot for slot in layout.slots if slot.number != recovery.number) if recovery else layout.slots
    # Slots in different megabytes can share a link address, and one ELF, linked for the smallest of them.
    links: dict[int, Slot] = {}
    for slot in sorted(slots, key=lambda slot: (slot.size, slot.number)):
        links.setdefault(slot.link_address, slot)
    linked = sorted(links.values(), key=lambda slot: slot.number or 0)
    objects = _objects(compiling, name, source)
    check_client(name, objects, layout)
    elfs = _link(
        env,
        [f"{escape_dollars(name)}/rom{slot.number}.elf" for slot in linked],
        objects,
        RBOOT_LDSCRIPT=[_script_for(env, scripts[0], slot) for slot in linked],
        **bigflash.link_overrides(env, layout),
    )
    for program, slot in zip(elfs, linked):
        program.attributes.rboot_slot = slot
    program_of = {slot.link_address: program for slot, program in zip(linked, elfs)}
    roms = images(
        env,
        [f"{escape_dollars(name)}/rom{slot.number}.bin" for slot in slots],
        [program_of[slot.link_address] for slot in slots],
        slots,
    )
    with error_subject(name):
        publish.add_app(env, name, roms, layout, "proof.json", built_here=True, recovery=recovery)
    return roms


def rboot_rom(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Compile `source`, link it for $RBOOT_SLOT and pack it into the ROM `target`, without publishing it.

    Raises SettingError or LayoutError.
    """
    compiling = _compile_environment(env, overrides)
    env = call_environment(env, overrides)
    [rom, *more] = env.Flatten([target]) or [""]
    name = str(rom)
    if not isinstance(rom, (str, SCons.Node.Node)) or name.endswith(".elf"):
        raise SettingError("expected the name of the ROM as target, e.g. recovery.bin", subject=f"RbootRom of {rom!r}")
    with error_subject(name):
        [slot] = slots_of(env, 1)
    scripts = base_scripts(env)
    if more or not name or slot is None or len(scripts) > 1:
        raise SettingError("expected one ROM and RBOOT_SLOT, its flash address", subject=f"RbootRom of {name}")
    elfs = _link(
        env,
        _elf_beside(env, rom),
        _objects(compiling, name, source),
        RBOOT_LDSCRIPT=[_script_for(env, scripts[0], slot)],
    )
    with error_subject(name):
        return images(env, [rom], elfs, (slot,))


def _elf_beside(env: Any, rom: Any) -> Any:
    """The node of the ELF beside a ROM: recovery.elf for recovery.bin, r.v1.elf for r.v1."""
    node = rom if isinstance(rom, SCons.Node.Node) else env.File(rom)
    return node.dir.File(f"{node.name.removesuffix('.bin')}.elf")


def rboot_program(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Compile `source` and link it with the unchanged $RBOOT_LDSCRIPT. Several targets need a list of scripts."""
    # A method instead of a builder with a src_builder, whose lookup SCons repeats for each program.
    linking = call_environment(env, overrides)
    targets = env.Flatten([target])
    if not targets:
        raise SettingError("expected the name of the program as target", subject="RbootProgram")
    return _link(linking, target, _objects(_compile_environment(env, overrides), str(targets[0]), source))


def _compile_environment(env: Any, overrides: Mapping[str, object]) -> Any:
    """The environment for the objects of a call.

    Of our variables it has only the compiler's, so that applications that differ in others can share objects.
    """
    variables = {**overrides, **command_line_variables()}
    changes = {name: value for name, value in variables.items() if _affects_objects(name)}
    version = str((call_environment(env, overrides) if "RBOOT_VERSION" in variables else env)["RBOOT_VERSION"])
    changes |= {name: value for name, value in header_overrides(env, version).items() if name not in changes}
    if version != env["RBOOT_VERSION"] and any("RBOOT_VERSION" in str(env.get(name)) for name in _FLAG_VARIABLES):
        changes["RBOOT_VERSION"] = version
    return env.Override(protect_spaces(env, changes)) if changes else env


_FLAG_VARIABLES = ("CPPDEFINES", "CFLAGS", "CCFLAGS", "CXXFLAGS", "CPPFLAGS", "ASFLAGS", "ASPPFLAGS")
_LINK_VARIABLES = (
    "LIBS",
    "LIBPATH",
    "LINK",
    "LINKFLAGS",
    "RBOOTLINKCOM",
    "RBOOT_LINKFLAGS",
    "RBOOT_LINK_INPUTS",
    "_LIBFLAGS",
)


def _affects_objects(name: str) -> bool:
    """Whether objects depend on the variable, or what is printed about them."""
    return name not in _LINK_VARIABLES and (name in FLAGS or name == "RBOOT_VERBOSE" or not name.startswith("RBOOT"))


def _link(env: Any, target: Any, objects: list[Any], **overrides: object) -> Any:
    outputs = build(env, link_builder(), target, objects, **overrides)
    split_executor(outputs, [objects] * len(outputs))
    return programs(outputs)


def _objects(env: Any, name: str, source: Any) -> list[Any]:
    """The objects and libraries among the sources, and the objects that the others are compiled to."""
    compiled = (env.subst("$OBJSUFFIX"), env.subst("$LIBSUFFIX"))
    return [node if str(node).endswith(compiled) else _object(env, node) for node in nodes(env, name, source)]


def _object(env: Any, source: Any) -> Any:
    """The object of one source: beside it, or for our own sources, which may be in site-packages, in $RBOOT_BUILD_DIR.

    Raises SettingError if another application compiles the source with other flags.
    """
    path = source.get_abspath()
    target = None
    if path.startswith(_PACKAGE):
        target = generated_file(env, os.path.splitext(os.path.relpath(path, _PACKAGE))[0] + env.subst("$OBJSUFFIX"))
    # Applications share objects on purpose.
    SCons.Warnings._enabled.insert(0, (SCons.Warnings.DuplicateEnvironmentWarning, False))
    try:
        return build(env, "Object", target, source)[0]
    except SCons.Errors.UserError as error:
        if "Two environments with different actions" not in str(error):
            raise
        raise SettingError(
            "compiled with different flags for two applications; use another OBJPREFIX for one", subject=source
        ) from error
    finally:
        del SCons.Warnings._enabled[0]


def _script_for(env: Any, base: Any, slot: Slot) -> Any:
    """The node of the linker script for a slot, shared by applications with the same base script."""
    stem = f"{os.path.splitext(base.name)[0]}-{slot.address:06x}-{slot.end:06x}"
    script = generated_file(env, f"{stem}.ld")
    for number in itertools.count(2):
        if not script.has_builder():
            script_for_slot(env, script, base, Slot(slot.address, slot.size))
        if script.sources == [base]:
            break
        script = generated_file(env, f"{stem}-{number}.ld")  # another base script has the same name
    return script

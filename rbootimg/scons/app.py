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
from .actions import apart, build, generated, nodes
from .apps import app_name, recovery_rom
from .client import check_client
from .compiler import as_words
from .image import images
from .link import base_scripts, link_builder, programs, script_for_slot
from .variables import FLAGS, flash_map, for_call, header_params, is_set, literal, slots_of, text, typed
from .versionheader import compiled_with

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


def rboot_app(env: Any, name: str, source: Any, **overrides: object) -> Any:
    """Compile `source` once, link and pack it for each slot; the ROMs' nodes, in slot order.

    `name` may have a folder before it, as for any SCons target. In the folder `name` stand rom0.elf and
    rom0.bin, and so on for each slot; the linker scripts, which depend only on base script and slot, are
    shared. `overrides` are construction variables for this application.
    """
    compiling = _compiling(env, overrides)
    env = for_call(env, overrides)
    name = app_name(env, name)
    with error_subject(name):
        found = flash_map(env)
        header_params(env, found)
        text(env, "RBOOT_SECTIONS")
    scripts = base_scripts(env)
    if is_set(env, "RBOOT_SLOT") or len(scripts) > 1:
        wrong = "RBOOT_SLOT is set; an application has the slots of RBOOT_SLOTS"
        if len(scripts) > 1:
            wrong = f"RBOOT_LDSCRIPT has {len(scripts)} scripts; give one, from which those of the slots are made"
        raise SettingError(f"{wrong}", subject=name)
    recovery = recovery_rom(env, name, found)
    slots = tuple(slot for slot in found.slots if slot.number != recovery.number) if recovery else found.slots
    # Slots in different megabytes can have one link address; what fits the smallest of them fits all.
    links: dict[int, Slot] = {}
    for slot in sorted(slots, key=lambda slot: (slot.size, slot.number)):
        links.setdefault(slot.link_address, slot)
    linked = sorted(links.values(), key=lambda slot: slot.number or 0)
    objects = _objects(compiling, name, source)
    check_client(name, objects, found)
    elfs = _link(
        env,
        [f"{literal(name)}/rom{slot.number}.elf" for slot in linked],
        objects,
        RBOOT_LDSCRIPT=[_script_for(env, scripts[0], slot) for slot in linked],
        **bigflash.overrides(env, found),
    )
    for program, slot in zip(elfs, linked):
        program.attributes.rboot_slot = slot
    program_of = {slot.link_address: program for slot, program in zip(linked, elfs)}
    roms = images(
        env,
        [f"{literal(name)}/rom{slot.number}.bin" for slot in slots],
        [program_of[slot.link_address] for slot in slots],
        slots,
    )
    with error_subject(name):
        publish.add(env, name, roms, found, "proof.json", built_here=True, recovery=recovery)
    return roms


def rboot_rom(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Compile `source`, link it for $RBOOT_SLOT and pack it into the ROM `target`; by itself nothing publishes it."""
    compiling = _compiling(env, overrides)
    env = for_call(env, overrides)
    [rom, *more] = env.Flatten([target]) or [""]
    what = str(rom)
    if not isinstance(rom, (str, SCons.Node.Node)) or what.endswith(".elf"):
        raise SettingError("name the ROM, such as recovery.bin", subject=f"RbootRom of {rom!r}")
    with error_subject(what):
        [slot] = slots_of(env, 1)
    scripts = base_scripts(env)
    if more or not what or slot is None or len(scripts) > 1:
        raise SettingError("RbootRom makes one ROM for one slot; give RBOOT_SLOT, its flash address", subject=what)
    elfs = _link(
        env,
        _elf_of(env, rom),
        _objects(compiling, what, source),
        RBOOT_LDSCRIPT=[_script_for(env, scripts[0], slot)],
    )
    with error_subject(what):
        return images(env, [rom], elfs, (slot,))


def _elf_of(env: Any, rom: Any) -> Any:
    """The ELF beside a ROM: recovery.elf for recovery.bin, r.v1.elf for r.v1."""
    node = rom if isinstance(rom, SCons.Node.Node) else env.File(rom)
    return node.dir.File(f"{node.name.removesuffix('.bin')}.elf")


def rboot_program(env: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Compile `source` and link it with $RBOOT_LDSCRIPT as it is; several targets have a list of scripts."""
    # A method and not a builder with a src_builder, which SCons looks through anew for each program.
    linking = for_call(env, overrides)
    targets = env.Flatten([target])
    if not targets:
        raise SettingError("RbootProgram has no target; name the program")
    return _link(linking, target, _objects(_compiling(env, overrides), str(targets[0]), source))


def _compiling(env: Any, overrides: Mapping[str, object]) -> Any:
    """The environment of a call's objects.

    They depend on none of our variables but the compiler's: without the others, applications can share them.
    """
    wanted = {**overrides, **typed()}
    changes = {name: value for name, value in wanted.items() if _compiles(name)}
    version = str(for_call(env, overrides)["RBOOT_VERSION"]) if "RBOOT_VERSION" in wanted else str(env["RBOOT_VERSION"])
    changes |= {name: value for name, value in compiled_with(env, version).items() if name not in changes}
    if version != env["RBOOT_VERSION"] and any("RBOOT_VERSION" in str(env.get(name)) for name in _FLAG_VARIABLES):
        changes["RBOOT_VERSION"] = version
    return env.Override(as_words(env, changes)) if changes else env


_FLAG_VARIABLES = ("CPPDEFINES", "CFLAGS", "CCFLAGS", "CXXFLAGS", "CPPFLAGS", "ASFLAGS", "ASPPFLAGS")
_OF_LINKS = (
    "LIBS",
    "LIBPATH",
    "LINK",
    "LINKFLAGS",
    "RBOOTLINKCOM",
    "RBOOT_LINKFLAGS",
    "RBOOT_LINK_INPUTS",
    "_LIBFLAGS",
)


def _compiles(name: str) -> bool:
    """Whether objects depend on the variable: two applications that differ in others share them."""
    return name not in _OF_LINKS and (name in FLAGS or not name.startswith("RBOOT"))


def _link(env: Any, target: Any, objects: list[Any], **overrides: object) -> Any:
    made = build(env, link_builder(), target, objects, **overrides)
    apart(made, [objects] * len(made))
    return programs(made)


def _objects(env: Any, name: str, source: Any) -> list[Any]:
    ready = (env.subst("$OBJSUFFIX"), env.subst("$LIBSUFFIX"))
    found = nodes(env, name, source)
    return [node if str(node).endswith(ready) else _object(env, node) for node in found]


def _object(env: Any, source: Any) -> Any:
    """The object of one source: beside it, as always in SCons, but not of our own, which may be in site-packages."""
    path = source.get_abspath()
    target = None
    if path.startswith(_PACKAGE):
        target = generated(env, os.path.splitext(os.path.relpath(path, _PACKAGE))[0] + env.subst("$OBJSUFFIX"))
    SCons.Warnings._enabled.insert(0, (SCons.Warnings.DuplicateEnvironmentWarning, False))  # it is shared on purpose
    try:
        return build(env, "Object", target, source)[0]
    except SCons.Errors.UserError as error:
        if "Two environments with different actions" not in str(error):
            raise
        raise SettingError(
            f"{source} is compiled with other flags for another application; give one of them an OBJPREFIX"
        ) from error
    finally:
        del SCons.Warnings._enabled[0]


def _script_for(env: Any, base: Any, slot: Slot) -> Any:
    """The linker script's node: one for all applications of the project with this base and slot."""
    stem = f"{os.path.splitext(base.name)[0]}-{slot.address:06x}-{slot.end:06x}"
    script = generated(env, f"{stem}.ld")
    for number in itertools.count(2):
        if not script.has_builder():
            script_for_slot(env, script, base, Slot(slot.address, slot.size))
        if script.sources == [base]:
            break
        script = generated(env, f"{stem}-{number}.ld")  # another base script has the same name
    return script

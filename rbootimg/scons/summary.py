"""What a build prints at its end: the memory that its ROMs use, or the commands that failed.

Not imported by a build that packs nothing and does not fail.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import SCons.Action
import SCons.Node
import SCons.Script
import SCons.Script.Main

from ..errors import RbootError
from ..layout.memory import Usage
from ..layout.model import Slot
from ..rom.pack import irom, usage
from ..views import build
from ..views.build import RomUsage
from ..views.messages import Style, styled
from .messages import Message, is_verbose


def add_roms(env: Any, packed: Mapping[Any, tuple[int, tuple[Usage, ...]]]) -> None:
    """Note the link addresses and usages of ROMs that were packed in this build."""
    for rom, measured in packed.items():
        rom.attributes.rboot_usage = measured
    env.fs.Top.attributes.rboot_packed.extend(packed)
    if SCons.Node.interactive:  # the end of the session is too late
        print_roms(env, end="")


def print_roms(env: Any, published: Mapping[Any, Slot | None] = MappingProxyType({}), end: str = "\n") -> None:
    """Print the table of the `published` ROMs, with their slots, and of those packed in this build but not printed.

    Targets such as `scons flash` print it before they begin, so that what they say comes last.
    """
    attributes = env.fs.Top.attributes
    packed, attributes.rboot_packed = attributes.rboot_packed, []
    roms = {**published, **{rom: None for rom in sorted(packed, key=_sort_key) if rom not in published}}
    if roms and not env.GetOption("silent"):
        build.print_roms([_usage(rom, slot) for rom, slot in roms.items()], end)


def _sort_key(rom: Any) -> tuple[str, int, str]:
    slot = rom.attributes.rboot_packing.slot
    return str(rom.dir), slot.address if slot else 0, rom.name


def _usage(rom: Any, slot: Slot | None) -> RomUsage:
    """The usage of a ROM, from its ELF unless it was packed in this build; of its flash only if the ELF is unknown."""
    packing = getattr(rom.attributes, "rboot_packing", None)
    slot = slot or (packing.slot if packing else None)
    if packing and not hasattr(rom.attributes, "rboot_usage"):
        with contextlib.suppress(RbootError, OSError):  # publishing reports it
            app = packing.read()
            rom.attributes.rboot_usage = irom(app).address, usage(app, rom.rfile().get_size(), slot)
    link_address, usages = getattr(rom.attributes, "rboot_usage", (None, ()))
    known = {each.name: each for each in usages}
    size = known["flash"].used if known else rom.rfile().get_size()
    return RomUsage(str(rom), slot, link_address, {**known, "flash": Usage("flash", size, slot.size if slot else None)})


def print_at_exit(env: Any) -> None:
    """Print the commands that failed, or the table of the ROMs that no target has printed."""
    with contextlib.suppress(BrokenPipeError):
        for failure in SCons.Script.GetBuildFailures():
            if command := _hidden_command(failure):
                sys.stderr.write(f"{styled('failed command:', Style.RED, sys.stderr)} {command}\n")
        if not SCons.Script.Main.exit_status:
            print_roms(env, end="")


def _hidden_command(failure: Any) -> str:
    """The command that failed, "" unless one of our short lines was printed instead of it."""
    command, action, executor = (getattr(failure, name, None) for name in ("command", "action", "executor"))
    if not (isinstance(action, SCons.Action.CommandAction) and command and executor):
        return ""
    env = executor.get_build_env()
    message = env.get(str(action.cmdstr).removeprefix("$"))
    return " ".join(map(str, command)) if isinstance(message, Message) and not is_verbose(env) else ""

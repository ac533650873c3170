"""What an application on the SDK needs in a slot above the first megabyte: the flash mapped as its boot loader did.

The SDK's Cache_Read_Enable_New, in libmain.a, maps one of the first two megabytes. Ours comes before a copy of libmain
in which the SDK's is weak; it is weak itself, so that one of the application's own comes first.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Node
import SCons.Node.FS
import SCons.Scanner
import SCons.Util

from ..flash.macros import defines
from ..layout.memory import WINDOW_SIZE
from ..layout.model import FlashLayout
from .actions import OWN_SCANNER, build, generated, own_file
from .link import flags_folders
from .variables import FLAGS

_SOURCE = Path(__file__).parents[1] / "firmware" / "bigflash" / "bigflash.c"
_COMPILE = f"$CC -o $TARGET -c -Os -ffreestanding {FLAGS['RBOOT_CCFLAGS']} $_CPPDEFFLAGS $SOURCE"


@functools.lru_cache
def _builder(name: str, command: str) -> Any:
    """A step between the SDK's libmain.a and what is linked instead."""
    act = SCons.Action.Action(command, cmdstr="$RBOOTBIGFLASHCOMSTR")
    return SCons.Builder.Builder(name=name, action=act, target_scanner=OWN_SCANNER)


def overrides(env: Any, layout: FlashLayout) -> Mapping[str, object]:
    """The construction variables that links for `layout` need beside the user's; none without libmain or high slots."""
    if all(slot.end <= WINDOW_SIZE for slot in layout.slots):
        return {}
    libraries = env.get("LIBS") or []
    libraries = env.Flatten([libraries.split() if isinstance(libraries, str) else libraries])
    replaced: list[Any] = []
    for library in libraries:
        found = _libmain(env, library)
        # Ours directly before it: what the user's libraries before it define comes first.
        replaced += [_override(env, layout), _weak(env, found)] if found else [library]
    if replaced == libraries:
        return {}
    from ..rom.mapping import SYMBOL  # not for every build

    # Wanted from the start, as nothing before libmain mentions it.
    flags = [*SCons.Util.CLVar(env.get("LINKFLAGS") or ""), "-u", SYMBOL]
    return {"LIBS": replaced, "LINKFLAGS": flags}


def _libmain(env: Any, library: Any) -> Any:
    """The node of libmain.a, if this item of LIBS means it and it can be found."""
    if isinstance(library, SCons.Node.Node):
        return library if library.name == "libmain.a" else None
    name = env.subst(str(library))
    if name.removeprefix("lib").removesuffix(".a") != "main":
        return None
    folders = (*flags_folders(env), *SCons.Scanner.FindPathDirs("LIBPATH")(env))
    return SCons.Node.FS.find_file("libmain.a", folders)


def _override(env: Any, layout: FlashLayout) -> Any:
    """The object with ours: one for all applications of the project with these options of the loader."""
    macros = {name: value for name, value in defines(layout.loader).items() if name == "BOOT_RTC_ENABLED"}
    node = generated(env, f"bigflash{'-rtc' if macros else ''}.o")
    if not node.has_builder():
        # One command without the user's flags, which are for the application: it has to stay small and in IRAM.
        build(env.Override({"CPPDEFINES": macros}), _builder("_RbootBigFlash", _COMPILE), node, own_file(env, _SOURCE))
    return node


def _weak(env: Any, library: Any) -> Any:
    """The copy of `library` with a weak symbol: one for all applications of the project with this SDK."""
    from ..rom.mapping import SYMBOL

    builder = _builder("_RbootWeakLibrary", f"$OBJCOPY -W {SYMBOL} $SOURCE $TARGET")
    for number in itertools.count(1):
        node = generated(env, f"libmain-weak{number if number > 1 else ''}.a")
        if not node.has_builder():
            build(env, builder, node, library)
        if node.sources == [library]:
            return node
    raise AssertionError

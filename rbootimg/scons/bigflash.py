"""Flash mapping for SDK applications in slots above the first megabyte.

The SDK's Cache_Read_Enable_New, in libmain.a, maps the first or second megabyte only. We link our own version before a
copy of libmain.a in which the SDK's is weak. Ours is weak too, so that one of the application takes precedence.
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
from .actions import OWN_SCANNER, build, generated_file, package_file
from .link import linkflags_dirs
from .variables import FLAGS

_SOURCE = Path(__file__).parents[1] / "firmware" / "bigflash" / "bigflash.c"
_COMPILE = f"$CC -o $TARGET -c -Os -ffreestanding {FLAGS['RBOOT_CCFLAGS']} $_CPPDEFFLAGS $SOURCE"


@functools.lru_cache
def _builder(name: str, command: str) -> Any:
    """A builder of a file that is linked instead of or before the SDK's libmain.a."""
    act = SCons.Action.Action(command, cmdstr="$RBOOTBIGFLASHCOMSTR")
    return SCons.Builder.Builder(name=name, action=act, target_scanner=OWN_SCANNER)


def link_overrides(env: Any, layout: FlashLayout) -> Mapping[str, object]:
    """The changes of LIBS and LINKFLAGS for links in `layout`; none without libmain or slots above 1 MB."""
    if all(slot.end <= WINDOW_SIZE for slot in layout.slots):
        return {}
    libraries = env.get("LIBS") or []
    libraries = env.Flatten([libraries.split() if isinstance(libraries, str) else libraries])
    replaced: list[Any] = []
    for library in libraries:
        found = _libmain(env, library)
        # Directly before libmain: a definition in an earlier library of the user takes precedence.
        replaced += [_override_object(env, layout), _weakened_library(env, found)] if found else [library]
    if replaced == libraries:
        return {}
    from ..rom.mapping import SYMBOL  # not for every build

    # With -u, as nothing before libmain refers to the symbol.
    flags = [*SCons.Util.CLVar(env.get("LINKFLAGS") or ""), "-u", SYMBOL]
    return {"LIBS": replaced, "LINKFLAGS": flags}


def _libmain(env: Any, library: Any) -> Any:
    """The node of libmain.a, None if this item of LIBS is another library or it is not found."""
    if isinstance(library, SCons.Node.Node):
        return library if library.name == "libmain.a" else None
    name = env.subst(str(library))
    if name.removeprefix("lib").removesuffix(".a") != "main":
        return None
    directories = (*linkflags_dirs(env), *SCons.Scanner.FindPathDirs("LIBPATH")(env))
    return SCons.Node.FS.find_file("libmain.a", directories)


def _override_object(env: Any, layout: FlashLayout) -> Any:
    """The object of our version, shared by applications with the same loader options."""
    macros = {name: value for name, value in defines(layout.loader).items() if name == "BOOT_RTC_ENABLED"}
    node = generated_file(env, f"bigflash{'-rtc' if macros else ''}.o")
    if not node.has_builder():
        # Without the user's flags, which are for the application: this code must stay small and in IRAM.
        compiling = env.Override({"CPPDEFINES": macros})
        build(compiling, _builder("_RbootBigFlash", _COMPILE), node, package_file(env, _SOURCE))
    return node


def _weakened_library(env: Any, library: Any) -> Any:
    """The copy of `library` with the weak symbol, shared by applications with the same SDK."""
    from ..rom.mapping import SYMBOL

    builder = _builder("_RbootWeakLibrary", f"$OBJCOPY -W {SYMBOL} $SOURCE $TARGET")
    for number in itertools.count(1):
        node = generated_file(env, f"libmain-weak{number if number > 1 else ''}.a")
        if not node.has_builder():
            build(env, builder, node, library)
        if node.sources == [library]:
            return node
    raise AssertionError

"""The cross compiler and the commands that call it."""

from __future__ import annotations

import os
import shutil
from typing import Any

import SCons.Errors

from .actions import check_compiled_files
from .variables import COMPILER

_COMMANDS = {
    "CCCOM": "$CC -o $TARGET -c $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "CXXCOM": "$CXX -o $TARGET -c $RBOOT_CCFLAGS $CXXFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "ASCOM": "$AS $RBOOT_ASFLAGS $ASFLAGS -o $TARGET $SOURCES",
    "ASPPCOM": "$CC $RBOOT_CCFLAGS $ASPPFLAGS $CPPFLAGS $_CPPDEFFLAGS $_CPPINCFLAGS -c -o $TARGET $SOURCES",
    "LINK": "$CC",
    # The folder of the base script comes behind LIBPATH, as in the scanner. Libraries and objects in one group,
    # libraries first: the order of the SDK's and rBoot's Makefiles, on which that of the code in the ROM depends.
    "RBOOTLINKCOM": "$LINK -o $TARGET $RBOOT_LINKFLAGS $LINKFLAGS $_LIBDIRFLAGS $_RBOOT_LDSCRIPT "
    "-Wl,--start-group $_LIBFLAGS $SOURCES -Wl,--end-group",
}


def set_up(env: Any) -> None:
    """Make `env` compile for the ESP8266. Where its CC is an Xtensa compiler already, that stays."""
    for tool, variable in (("cc", "CCCOM"), ("cxx", "CXXCOM"), ("as", "ASCOM"), ("link", "LINKCOM"), ("ar", "ARCOM")):
        if variable not in env:
            env.Tool(tool)
    # After the compilers, whose emitters it wraps; only once, or each command would be in it twice.
    if "CompilationDatabase" not in env["BUILDERS"]:
        env.Tool("compilation_db")
    env.Replace(**_COMMANDS, _RBOOT_TOOLCHAIN=env["RBOOT_TOOLCHAIN"])
    check_compiled_files(env)
    users = str(env.get("CC", ""))
    if "xtensa" in users and ("xtensa" in str(env.get("CXX", "")) or not users.endswith("gcc")):
        prefix = users.removesuffix("gcc") if users.endswith("gcc") else COMPILER.removesuffix("gcc")
        env.SetDefault(OBJCOPY=f"{prefix}objcopy")
        return
    compiler = users if "xtensa" in users else _find(env)
    if compiler is None:
        env.Replace(CC=_no_compiler, CXX=_no_compiler, AS=_no_compiler)
        return
    prefix = compiler.removesuffix("gcc")
    programs = {"CC": compiler, "CXX": f"{prefix}g++", "AS": f"{prefix}as", "AR": f"{prefix}ar"}
    programs |= {"RANLIB": f"{prefix}ranlib", "OBJCOPY": f"{prefix}objcopy"}
    # SCons splits a text at its blanks, and takes a list's items as they are.
    env.Replace(**{name: [program] if " " in program else program for name, program in programs.items()})


def _toolchain(env: Any) -> str:
    return env.subst("$RBOOT_TOOLCHAIN") or os.environ.get("RBOOT_TOOLCHAIN", "")


def _find(env: Any) -> str | None:
    """The compiler as a command line needs it: bare where the build's own PATH has it, else absolute."""
    named = _toolchain(env)
    if named:
        # From the top folder, wherever the SConscript is: the name may come from the shell as well.
        relative = named[1:].lstrip("/") if named.startswith("#") else named
        place = os.path.normpath(os.path.join(env.Dir("#").get_abspath(), relative))
        # A folder is never a prefix too: /usr/bin/ would be one of the host's own gcc.
        if os.path.isdir(place):
            places = [os.path.join(place, COMPILER), os.path.join(place, "bin", COMPILER)]
        else:
            places = [f"{place}gcc", *([] if os.sep in named else [f"{named}gcc"])]  # the last is looked for on PATH
        return next(filter(None, map(shutil.which, places)), None)
    if shutil.which(COMPILER, path=str(env["ENV"].get("PATH", ""))):
        return COMPILER
    return shutil.which(COMPILER)


# SCons calls a variable's value with these names, whenever a command line needs it.
def _no_compiler(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The compiler where there is none: a value that fails when it is used, not while reading."""
    if for_signature:
        return COMPILER
    named = _toolchain(env)
    where = f"in RBOOT_TOOLCHAIN ({named})" if named else "on PATH"
    raise SCons.Errors.BuildError(
        node=target,
        errstr=f"no {COMPILER} {where}; install it (Debian: gcc-xtensa-lx106 and binutils-xtensa-lx106) "
        "or set RBOOT_TOOLCHAIN to its folder",
    )

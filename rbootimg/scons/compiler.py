"""The cross compiler and the commands that call it."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Defaults
import SCons.Errors
import SCons.Script
import SCons.Subst
import SCons.Tool

from ..errors import SettingError
from .actions import check_compiled_files
from .variables import COMPILER

COMMANDS = {
    "CCCOM": "$CC -o $TARGET -c $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "CXXCOM": "$CXX -o $TARGET -c $RBOOT_CCFLAGS $CXXFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "ASCOM": "$AS $RBOOT_ASFLAGS $ASFLAGS -o $TARGET $SOURCES",
    "ASPPCOM": "$CC $RBOOT_CCFLAGS $ASPPFLAGS $CPPFLAGS $_CPPDEFFLAGS $_CPPINCFLAGS -c -o $TARGET $SOURCES",
    "LINK": "$_RBOOT_LINKER",
    # The folder of the base script comes behind LIBPATH, as in the scanner.
    "RBOOTLINKCOM": "$LINK -o $TARGET $RBOOT_LINKFLAGS $LINKFLAGS $_LIBDIRFLAGS $_RBOOT_LDSCRIPT $_RBOOT_MAP "
    "$_RBOOT_LINK_INPUTS",
}
_SCONSS_CCCOM = "$CC -o $TARGET -c $CFLAGS $CCFLAGS $_CCCOMCOM $SOURCES"
_HOSTS = {"cc", "gcc", "c++", "g++", "clang", "clang++", "as", "gas", "ar", "ranlib", "objcopy"}
"""What SCons's own tools find: programs for the host."""

_LONGEST = 100_000
"""Bytes of a command that goes to the shell as it is. Linux takes 128 KB in one argument; SCons counts characters."""

_SPECIAL = re.compile(r"[$'()&;|<>*?\[\]`\\]")
"""What a shell, or SCons, takes for more than a character of a name."""


def set_up(env: Any) -> None:
    """Make `env` compile for the ESP8266; a CC that is an Xtensa compiler already stays. Raises SettingError."""
    check_scheduler()
    for tool, variable in (("cc", "CCCOM"), ("cxx", "CXXCOM"), ("as", "ASCOM"), ("link", "LINKCOM"), ("ar", "ARCOM")):
        if variable not in env:
            env.Tool(tool)
    # So that tools=["rboot"] is enough: SCons's default tools look for the host's compilers, which takes 15 ms.
    for tool, builder in (("install", "Install"), ("textfile", "Textfile"), ("filesystem", "CopyTo")):
        if builder not in env["BUILDERS"]:
            env.Tool(tool)
    # After the compilers, whose emitters it wraps; only once, or each command would be in it twice.
    if not isinstance(env["BUILDERS"]["StaticObject"].emitter.get(".c"), SCons.Builder.ListEmitter):
        env.Tool("compilation_db")
    env.Replace(
        **COMMANDS,
        _RBOOT_TOOLCHAIN=env["RBOOT_TOOLCHAIN"],
        _RBOOT_LINKER=_linker,
        _RBOOT_LINK_INPUTS=_link_inputs,
        _concat=_concat,
        MAXLINELENGTH=min(_LONGEST, int(env.get("MAXLINELENGTH", _LONGEST))),
    )
    env.SetDefault(TEMPFILEARGESCFUNC=_quoted)
    if "TEMPFILE" not in str(env["ARCOM"]):
        env["ARCOM"] = f'${{TEMPFILE("{env["ARCOM"]}", "$ARCOMSTR")}}'
    check_compiled_files(env)
    _find_compilers_sooner(env)
    words = _words(env, "CC")
    gcc = next((word for word in words if "xtensa" in os.path.basename(word) and word.endswith("gcc")), None)
    if gcc is None and any("xtensa" in word for word in words):  # not GCC: whoever uses it has set the rest as well
        env.SetDefault(OBJCOPY=f"{COMPILER.removesuffix('gcc')}objcopy")
        return
    compiler = gcc or _find(env)
    if compiler is None:
        env.Replace(CC=_no_compiler, CXX=_no_compiler, AS=_no_compiler)
        return
    launcher = words[: words.index(gcc)] if gcc else []  # such as ccache
    prefix = compiler.removesuffix("gcc")
    # Lists, whose items SCons takes as they are; it splits a text at its blanks.
    programs = {"CC": [*words] if gcc else [compiler], "CXX": [*launcher, f"{prefix}g++"]}
    programs |= {name: [prefix + name.lower()] for name in ("AS", "AR", "RANLIB", "OBJCOPY")}
    for name, program in programs.items():
        if name == "CC" or os.path.basename(_words(env, name)[-1:][0] if env.get(name) else "as") in _HOSTS:
            env[name] = program if len(program) > 1 or " " in program[0] else program[0]


class _Compile(SCons.Action.LazyAction):  # type: ignore[misc]
    """The command of an object. To find the compiler SCons expands all of it, twice for each object."""

    def get_implicit_deps(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        name, path = env.get(_COMPILERS[self.var]), env["ENV"].get("PATH")
        is_plain = isinstance(name, str) and name.replace("-", "").replace("+", "").isalnum()
        if (
            not (is_plain and path and isinstance(path, str))
            or env[self.var] != COMMANDS[self.var]
            or env.get("IMPLICIT_COMMAND_DEPENDENCIES", True) is not True
        ):
            return super().get_implicit_deps(target, source, env, executor)
        compiler = where(name, path)
        return [env.fs.File(compiler)] if compiler else []


_COMPILERS = {"CCCOM": "CC", "CXXCOM": "CXX"}


@functools.lru_cache
def where(program: str, path: str) -> str | None:
    """The program's file on the search path."""
    return shutil.which(program, path=path)


def _find_compilers_sooner(env: Any) -> None:
    for builder in SCons.Tool.createObjBuilders(env):
        actions = getattr(builder, "cmdgen", {})
        for suffix, action in actions.items():
            if type(action) is SCons.Action.LazyAction and action.var in _COMPILERS:
                actions[suffix] = _Compile(action.var, action.gen_kw)


def check_scheduler() -> None:
    """Raise SettingError if SCons hands its work to ninja: there `scons publish` does nothing, with status 0.

    What SCons's experimental tool writes of our links would not be them either.
    """
    atexit.unregister(_check_at_the_end)  # it is to say it once
    _check_scheduler()
    atexit.register(_check_at_the_end)


def _check_at_the_end() -> None:
    """Where the Ninja tool is loaded last, only this runs after it."""
    try:
        _check_scheduler()
    except SettingError as error:
        sys.stderr.write(f"\nscons: *** rboot: {error}\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(2)


def _check_scheduler() -> None:
    if "ninja" in (SCons.Script.GetOption("experimental") or ()) and "--disable-ninja" not in sys.argv:
        raise SettingError("SCons's experimental Ninja tool can neither link for slots nor publish; leave it out")


def ensure(env: Any) -> None:
    """Set up `env` again if a tool that was loaded behind ours has put its own commands in the place of ours."""
    check_scheduler()
    if env["CCCOM"] == _SCONSS_CCCOM:
        set_up(env)
    # A keyword of Environment(), which SCons puts back when all tools are loaded.
    env.Replace(**as_words(env, {name: env[name] for name in _PROGRAMS if name in env}))


_PROGRAMS = ("CC", "CXX", "LINK")


def as_words(env: Any, variables: Mapping[str, Any]) -> dict[str, Any]:
    """`variables`, in which a program whose path has a blank is a list, that SCons does not split."""
    return {
        name: [value]
        if name in _PROGRAMS and isinstance(value, str) and " " in value and os.path.isfile(env.subst(value))
        else value
        for name, value in variables.items()
    }


def _words(env: Any, name: str) -> list[str]:
    """The program in the variable and its arguments. A text that is a file's name is one, whatever is in it."""
    value = env.get(name) or ""
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    if callable(value):
        return []
    text = str(env.subst(str(value)))
    if os.path.isfile(text):
        return [text]
    try:
        return shlex.split(text)
    except ValueError:  # a quote without another one
        return text.split()


def _concat(prefix: Any, items: Any, suffix: Any, env: Any, *arguments: Any, **options: Any) -> Any:
    """What makes SCons's flags of CPPPATH and LIBPATH, but with names that the shell would not take as they are."""
    found = SCons.Defaults._concat(prefix, items, suffix, env, *arguments, **options)
    return [
        SCons.Subst.Literal(item) if isinstance(item, str) and item not in ("$(", "$)") and _is_special(item) else item
        for item in found or ()
    ]


def _is_special(flag: str) -> bool:
    # A quote may be the user's, around a name; not if the name has it.
    return bool(_SPECIAL.search(flag)) or ('"' in flag and os.path.exists(flag[2:]))


def _quoted(word: Any) -> str:
    """`word` of a command as it stands in a file of arguments, which GCC reads as a shell does."""
    if word.is_literal():
        return shlex.quote(str(word))
    return str(SCons.Subst.quote_spaces(word))


# SCons calls a variable's value with these names, whenever a command line needs it.
def _linker(target: Any, source: Any, env: Any, for_signature: bool) -> Any:
    """The value of $LINK, unless the user has another: the compiler, without what stands before it to cache objects."""
    compiler = env["CC"]
    if callable(compiler):
        return compiler(target, source, env, for_signature)
    if isinstance(compiler, str) and compiler.replace("-", "").isalnum():
        return compiler  # a bare name, as nearly always
    words = _words(env, "CC")
    return SCons.Subst.Literal(next((word for word in words if "xtensa" in os.path.basename(word)), words[0]))


def _link_inputs(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_LINK_INPUTS: groups of the user's own cannot stand in ours."""
    ours = " ".join(map(str, env.Flatten([env["RBOOT_LINK_INPUTS"]])))
    users = f"{env.get('LIBS', '')} {env.get('_LIBFLAGS', '')} {env.get('LINKFLAGS', '')}"
    if "--start-group" in users or "-(" in users:
        return ours.replace("-Wl,--start-group ", "").replace(" -Wl,--end-group", "")
    return ours


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

"""The cross compiler and the construction variables of its commands."""

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
from ..views.messages import error_text
from .actions import check_compiled_files
from .variables import COMPILER

COMMANDS = {
    "CCCOM": "$CC -o $TARGET -c $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "CXXCOM": "$CXX -o $TARGET -c $RBOOT_CCFLAGS $CXXFLAGS $CCFLAGS $_CCCOMCOM $SOURCES",
    "ASCOM": "$AS $RBOOT_ASFLAGS $ASFLAGS -o $TARGET $SOURCES",
    "ASPPCOM": "$CC $RBOOT_CCFLAGS $ASPPFLAGS $CPPFLAGS $_CPPDEFFLAGS $_CPPINCFLAGS -c -o $TARGET $SOURCES",
    "LINK": "$_RBOOT_LINKER",
    # The directory of the base script comes after LIBPATH, as in the scanner.
    "RBOOTLINKCOM": "$LINK -o $TARGET $RBOOT_LINKFLAGS $LINKFLAGS $_LIBDIRFLAGS $_RBOOT_LDSCRIPT $_RBOOT_MAP "
    "$_RBOOT_LINK_INPUTS",
}
_SCONS_CCCOM = "$CC -o $TARGET -c $CFLAGS $CCFLAGS $_CCCOMCOM $SOURCES"
_HOST_PROGRAMS = {"cc", "gcc", "c++", "g++", "clang", "clang++", "as", "gas", "ar", "ranlib", "objcopy"}
"""The programs that SCons's own tools find, all for the host."""

_MAX_COMMAND_LENGTH = 100_000
"""Longest command that is passed to the shell directly. Linux limits an argument to 128 KB; SCons counts characters."""

_SPECIAL_CHARACTERS = re.compile(r"[$'()&;|<>*?\[\]`\\]")
"""Characters of names that are special to the shell or SCons."""


def set_up(env: Any) -> None:
    """Make `env` compile for the ESP8266, with its own CC if that is an Xtensa compiler. Raises SettingError."""
    check_scheduler()
    for tool, variable in (("cc", "CCCOM"), ("cxx", "CXXCOM"), ("as", "ASCOM"), ("link", "LINKCOM"), ("ar", "ARCOM")):
        if variable not in env:
            env.Tool(tool)
    # For tools=["rboot"] alone: SCons's default tools also search for the host's compilers, which takes 15 ms.
    for tool, builder in (("install", "Install"), ("textfile", "Textfile"), ("filesystem", "CopyTo")):
        if builder not in env["BUILDERS"]:
            env.Tool(tool)
    # After the compilers, as it wraps their emitters; only once, or the database has each command twice.
    if not isinstance(env["BUILDERS"]["StaticObject"].emitter.get(".c"), SCons.Builder.ListEmitter):
        env.Tool("compilation_db")
    env.Replace(
        **COMMANDS,
        _RBOOT_TOOLCHAIN=env["RBOOT_TOOLCHAIN"],
        _RBOOT_LINKER=_link_program,
        _RBOOT_LINK_INPUTS=_link_inputs,
        _concat=_concat_quoted,
        MAXLINELENGTH=min(_MAX_COMMAND_LENGTH, int(env.get("MAXLINELENGTH", _MAX_COMMAND_LENGTH))),
    )
    env.SetDefault(TEMPFILEARGESCFUNC=_quote_argument)
    if "TEMPFILE" not in str(env["ARCOM"]):
        env["ARCOM"] = f'${{TEMPFILE("{env["ARCOM"]}", "$ARCOMSTR")}}'
    check_compiled_files(env)
    _speed_up_implicit_deps(env)
    words = _split_program(env, "CC")
    gcc = next((word for word in words if "xtensa" in os.path.basename(word) and word.endswith("gcc")), None)
    if gcc is None and any("xtensa" in word for word in words):  # not GCC: the user has set the other programs too
        env.SetDefault(OBJCOPY=f"{COMPILER.removesuffix('gcc')}objcopy")
        return
    compiler = gcc or _find_compiler(env)
    if compiler is None:
        env.Replace(CC=_fail_without_compiler, CXX=_fail_without_compiler, AS=_fail_without_compiler)
        return
    launcher = words[: words.index(gcc)] if gcc else []  # such as ccache
    prefix = compiler.removesuffix("gcc")
    # Lists, as SCons splits a string at its spaces.
    programs = {"CC": [*words] if gcc else [compiler], "CXX": [*launcher, f"{prefix}g++"]}
    programs |= {name: [prefix + name.lower()] for name in ("AS", "AR", "RANLIB", "OBJCOPY")}
    for name, program in programs.items():
        current = (_split_program(env, name) or [""])[-1] if env.get(name) else "as"
        if name == "CC" or os.path.basename(current) in _HOST_PROGRAMS:
            env[name] = program if len(program) > 1 or " " in program[0] else program[0]


class _CompileAction(SCons.Action.LazyAction):  # type: ignore[misc]
    """The command of an object. SCons's get_implicit_deps() expands it twice for each object; this one seldom does."""

    def get_implicit_deps(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        name, path = env.get(_COMPILERS[self.var]), env["ENV"].get("PATH")
        is_plain = isinstance(name, str) and name.replace("-", "").replace("+", "").isalnum()
        if (
            not (is_plain and path and isinstance(path, str))
            or env[self.var] != COMMANDS[self.var]
            or env.get("IMPLICIT_COMMAND_DEPENDENCIES", True) is not True
        ):
            return super().get_implicit_deps(target, source, env, executor)
        compiler = find_program(name, path)
        return [env.fs.File(compiler)] if compiler else []


_COMPILERS = {"CCCOM": "CC", "CXXCOM": "CXX"}


@functools.lru_cache
def find_program(program: str, path: str) -> str | None:
    """The path of a program in the search path, None if it is not there."""
    return shutil.which(program, path=path)


def _speed_up_implicit_deps(env: Any) -> None:
    for builder in SCons.Tool.createObjBuilders(env):
        actions = getattr(builder, "cmdgen", {})
        for suffix, action in actions.items():
            if type(action) is SCons.Action.LazyAction and action.var in _COMPILERS:
                actions[suffix] = _CompileAction(action.var, action.gen_kw)


def check_scheduler() -> None:
    """Raise SettingError if SCons's experimental Ninja tool is used, now or when Python exits.

    With it `scons publish` does nothing, with status 0, and the links are not ours.
    """
    atexit.unregister(_check_scheduler_at_exit)  # or it reports the error again
    _check_scheduler()
    atexit.register(_check_scheduler_at_exit)


def _check_scheduler_at_exit() -> None:
    """Report the Ninja tool if it was loaded after all calls of ours."""
    try:
        _check_scheduler()
    except SettingError as error:
        sys.stderr.write(f"\nscons: *** rboot: {error}\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(2)


def _check_scheduler() -> None:
    if "ninja" in (SCons.Script.GetOption("experimental") or ()) and "--disable-ninja" not in sys.argv:
        raise SettingError("SCons's experimental Ninja tool cannot link for slots or publish; do not load it")


def ensure_set_up(env: Any) -> None:
    """Set up `env` again if a tool loaded after ours has replaced our commands with its own. Raises SettingError."""
    check_scheduler()
    if env["CCCOM"] == _SCONS_CCCOM:
        set_up(env)
    # Environment(CC=...) sets its keywords again after all tools are loaded.
    env.Replace(**protect_spaces(env, {name: env[name] for name in _PROGRAMS if name in env}))


_PROGRAMS = ("CC", "CXX", "LINK")


def protect_spaces(env: Any, variables: Mapping[str, Any]) -> dict[str, Any]:
    """`variables`, with a program whose path has a space in a list, so that SCons does not split it."""
    return {
        name: [value]
        if name in _PROGRAMS and isinstance(value, str) and " " in value and os.path.isfile(env.subst(value))
        else value
        for name, value in variables.items()
    }


def _split_program(env: Any, name: str) -> list[str]:
    """The words of the program in a variable. The name of an existing file is one word, even with spaces."""
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
    except ValueError:  # an unmatched quote
        return text.split()


def _concat_quoted(prefix: Any, items: Any, suffix: Any, env: Any, *arguments: Any, **options: Any) -> Any:
    """SCons's _concat(), which makes the flags of CPPPATH and LIBPATH, with names quoted for the shell."""
    found = SCons.Defaults._concat(prefix, items, suffix, env, *arguments, **options)
    return [
        SCons.Subst.Literal(item) if isinstance(item, str) and item not in ("$(", "$)") and _is_special(item) else item
        for item in found or ()
    ]


def _is_special(flag: str) -> bool:
    # A double quote may be the user's own quoting, unless the file's name contains it.
    return bool(_SPECIAL_CHARACTERS.search(flag)) or ('"' in flag and os.path.exists(flag[2:]))


def _quote_argument(word: Any) -> str:
    """Quote `word` of a command for a response file, which GCC parses like a shell."""
    if word.is_literal():
        return shlex.quote(str(word))
    return str(SCons.Subst.quote_spaces(word))


# SCons calls the function that is a variable's value with these argument names, for each command line.
def _link_program(target: Any, source: Any, env: Any, for_signature: bool) -> Any:
    """The default of $LINK: the compiler in $CC, without a launcher such as ccache."""
    compiler = env["CC"]
    if callable(compiler):
        return compiler(target, source, env, for_signature)
    if isinstance(compiler, str) and compiler.replace("-", "").isalnum():
        return compiler  # a bare name, the usual case
    words = _split_program(env, "CC")
    return SCons.Subst.Literal(next((word for word in words if "xtensa" in os.path.basename(word)), words[0]))


def _link_inputs(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_LINK_INPUTS, without our group if the user has groups: ld does not nest them."""
    ours = " ".join(map(str, env.Flatten([env["RBOOT_LINK_INPUTS"]])))
    users = f"{env.get('LIBS', '')} {env.get('_LIBFLAGS', '')} {env.get('LINKFLAGS', '')}"
    if "--start-group" in users or "-(" in users:
        return ours.replace("-Wl,--start-group ", "").replace(" -Wl,--end-group", "")
    return ours


def _toolchain(env: Any) -> str:
    return env.subst("$RBOOT_TOOLCHAIN") or os.environ.get("RBOOT_TOOLCHAIN", "")


def _find_compiler(env: Any) -> str | None:
    """The compiler: its name if it is in the PATH of builds, else its absolute path; None if there is none."""
    toolchain = _toolchain(env)
    if toolchain:
        # Relative to the top directory, not to the SConscript: the shell's environment may set it too.
        relative = toolchain[1:].lstrip("/") if toolchain.startswith("#") else toolchain
        path = os.path.normpath(os.path.join(env.Dir("#").get_abspath(), relative))
        # A directory is not a prefix as well: /usr/bin/ would find the host's gcc.
        if os.path.isdir(path):
            paths = [os.path.join(path, COMPILER), os.path.join(path, "bin", COMPILER)]
        else:
            paths = [
                f"{path}gcc",
                *([] if os.sep in toolchain else [f"{toolchain}gcc"]),
            ]  # bare: on PATH
        return next(filter(None, map(shutil.which, paths)), None)
    if shutil.which(COMPILER, path=str(env["ENV"].get("PATH", ""))):
        return COMPILER
    return shutil.which(COMPILER)


def _fail_without_compiler(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $CC without a cross compiler. Fails when a command uses it, not while SConscripts are read."""
    if for_signature:
        return COMPILER
    toolchain = _toolchain(env)
    searched = f"in RBOOT_TOOLCHAIN ({toolchain})" if toolchain else "on PATH"
    raise SCons.Errors.BuildError(
        node=target,
        errstr=error_text(
            f"no {COMPILER} {searched}; install it (Debian: gcc-xtensa-lx106 and binutils-xtensa-lx106) "
            "or set RBOOT_TOOLCHAIN to its directory"
        ),
    )

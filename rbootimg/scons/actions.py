"""Helpers of all builders: actions whose errors are one line, nodes of names, detection of files altered by others."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import SCons.Action
import SCons.Defaults
import SCons.Errors
import SCons.Node
import SCons.Scanner
import SCons.SConf
import SCons.Script
import SCons.Tool
import SCons.Util

from ..errors import RbootError, SettingError
from ..views.messages import error_text
from .frontend import front_end
from .users import format_error
from .variables import BUILD_DIR, escape_dollars, expand, get_string, is_set


def action(
    function: Callable[[Any, Any, Any], None], message: str | None, *variables: str, about_source: bool = True
) -> Any:
    """An action that calls `function`, reports library errors as one line, and depends on `variables`.

    Without a `message` it prints nothing. An error without a subject is about the first source if `about_source`.
    """

    # SCons notices a change of the function, not of the library that it calls: hence the version.
    return _FunctionAction(
        _Function(function, about_source), {"cmdstr": message, "varlist": ["_RBOOT_VERSION", *variables]}
    )


class _FunctionAction(SCons.Action.FunctionAction):  # type: ignore[misc]
    """SCons's action, with a signature that is computed when it is needed, and faster."""

    def get_presig(self, target: Any, source: Any, env: Any, executor: Any = None) -> bytes:
        return _signature(self.execfunction.function.__code__).encode()


@functools.lru_cache
def _signature(code: CodeType) -> str:
    """The code's instructions, names and constants, without its file and line."""
    constants = (_signature(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    return " ".join((code.co_code.hex(), *code.co_names, *constants))


class _Function:
    """The function of an action, which raises BuildError for errors of the library."""

    def __init__(self, function: Callable[[Any, Any, Any], None], about_source: bool) -> None:
        self.function, self.__name__ = function, function.__name__
        self._about_source = about_source

    def __call__(self, target: Any, source: Any, env: Any) -> None:
        try:
            self.function(target, source, env)
        except RbootError as error:
            subject = str(source[0]) if self._about_source and source and error.subject is None else None
            message = front_end(env).translate(format_error(error))
            raise SCons.Errors.BuildError(target, error_text(message), filename=subject) from None
        except OSError as error:
            text = error_text(f"{error.filename or target[0]}: {error.strerror}")
            raise SCons.Errors.BuildError(target, text) from None


def build(env: Any, builder: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Call `builder`, one of ours or the name of one of SCons's. Raises SettingError if a target cannot be a file.

    Not as `env.Name`, which an override environment binds to the environment below it. Ours are in no environment, as
    SCons takes long to add a builder to one.
    """
    target = None if target is None else SCons.Util.flatten([target])
    try:
        builder = env.get_builder(builder) if isinstance(builder, str) else builder
        return builder(env, target, SCons.Util.flatten([source]), **overrides)
    except (TypeError, ValueError) as error:  # SCons raises these for directories and for names below a file
        raise SettingError(str(error), subject=target and target[0]) from None


class _TargetExecutor:
    """The executor of one target among several that a builder makes in one step.

    SCons shares one executor among them: AddPreAction() and AddPostAction() for one target run for all of them, and
    Clean() files are looked up for the first target only. Our builders combine targets only for speed, so here both
    apply to the one target, with its own $TARGET and $SOURCE.
    """

    __slots__ = ("_node", "_shared", "_sources")

    def __init__(self, shared: Any, node: Any, sources: list[Any]) -> None:
        self._shared, self._node, self._sources = shared, node, sources

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._shared(*arguments, **keywords)

    def __str__(self) -> str:
        return str(self._shared)

    def get_all_targets(self) -> Any:
        return [self._node] if SCons.Script.GetOption("clean") else self._shared.get_all_targets()

    def add_pre_action(self, added: Any) -> None:
        self._shared.add_pre_action(_TargetAction(added, self._node, self._sources))

    def add_post_action(self, added: Any) -> None:
        self._shared.add_post_action(_TargetAction(added, self._node, self._sources))


class _TargetAction(SCons.Action.ActionBase):  # type: ignore[misc]
    """A user's action for one target and its sources, although SCons calls it with those of the complete step."""

    def __init__(self, added: Any, node: Any, sources: list[Any]) -> None:
        self._added, self._files = added, ([node], sources)

    def __call__(
        self, target: Any, source: Any, env: Any, *arguments: Any, executor: Any = None, **options: Any
    ) -> Any:
        return self._added(*self._files, env, *arguments, **options)

    def get_presig(self, target: Any, source: Any, env: Any) -> Any:
        return b""

    def get_contents(self, target: Any, source: Any, env: Any) -> Any:
        return self._added.get_contents(*self._files, env)

    def get_implicit_deps(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        return self._added.get_implicit_deps(*self._files, env)

    def genstring(self, target: Any, source: Any, env: Any, executor: Any = None) -> Any:
        return self._added.genstring(*self._files, env)


def split_executor(targets: list[Any], sources: list[list[Any]]) -> None:
    """Give each of the `targets` of one step an executor with its own `sources`, for actions that users add to it."""
    for node, own in zip(targets, sources) if len(targets) > 1 else ():
        node.set_executor(_TargetExecutor(node.get_executor(), node, own))


def package_file(env: Any, path: Path) -> Any:
    """The node of a file of this package; not by env.File(), which expands a $ in the path."""
    return env.fs.File(str(path))


def generated_file(env: Any, name: str) -> Any:
    """The node of a file in $RBOOT_BUILD_DIR, shared by applications. Raises SettingError."""
    try:
        return env.Dir(escape_dollars(get_string(env, "RBOOT_BUILD_DIR") or BUILD_DIR)).File(name)
    except (TypeError, ValueError) as error:  # SCons raises these for a file and for an invalid name
        raise SettingError(str(error), subject="RBOOT_BUILD_DIR") from None


def nodes(env: Any, subject: str, files: Any) -> list[Any]:
    """The nodes of `files`: names or nodes, alone or in lists. Raises SettingError about `subject` for other values."""
    result = []
    for file in env.Flatten([files]):
        if not isinstance(file, (str, SCons.Node.Node)):
            raise SettingError(f"expected a file name or node, got {file!r}", subject=subject)
        try:
            result += env.arg2nodes(file, env.fs.File)  # env.File() would expand variables once more
        except TypeError:  # SCons raises it for a directory that it knows
            raise _directory_error(subject, file) from None
        except ValueError as error:
            raise SettingError(f"{file!r}: {error}", subject=subject) from None
    if not result:
        raise SettingError("no files given; check the names or the Glob() pattern", subject=subject)
    for node in result:
        if os.path.isdir(node.get_abspath()):
            raise _directory_error(subject, node)
    return result


def _directory_error(subject: str, directory: Any) -> SettingError:
    return SettingError(f"expected a file, got the directory {directory}; use Glob() for its files", subject=subject)


def single_node(env: Any, subject: str, file: Any) -> Any:
    """The node of exactly one file. Raises SettingError about `subject`."""
    found = nodes(env, subject, file)
    if len(found) > 1:
        raise SettingError(f"expected one file, got {', '.join(map(str, found))}", subject=subject)
    return found[0]


def variable_node(env: Any, name: str) -> Any:
    """The node of the file that the variable `name` gives, None if it is not set. Raises SettingError."""
    if not is_set(env, name):
        return None
    value = env[name]
    return single_node(env, name, escape_dollars(expand(env, name, value)) if isinstance(value, str) else value)


def rebuild_if_altered(node: Any) -> None:
    """Build `node` again if its file differs from the one that SCons made.

    SCons compares only what a file was made from. A failed or killed command may have left another file, which SCons
    would accept as soon as the sources are back in their old state. Called by the node's scanner, which runs before
    SCons decides whether to build the node.
    """
    if SCons.Node.interactive or SCons.SConf.sconf_global is not None:
        return  # SCons's record is older than the interactive session, or the node is a check of env.Configure()
    _make_default_environment()
    if os.path.exists(node.get_abspath()):
        made = getattr(node.get_stored_info().ninfo, "csig", None)  # None: SCons builds it anyway
        if made not in (None, node.get_csig()):
            node.set_always_build(True)


@functools.lru_cache
def _make_default_environment() -> None:
    """Make SCons's default environment without tools, if the SConscripts have not used it.

    SCons needs one to decide about sources, and would first look for all compilers of the host. When the first node is
    scanned, all SConscripts have been read.
    """
    SCons.Defaults.DefaultEnvironment(tools=[])


def _scan(node: Any, env: Any, path: Any) -> list[Any]:
    rebuild_if_altered(node)
    return []


OWN_SCANNER = SCons.Scanner.ScannerBase(_scan, "rebuild_if_altered")
"""The target scanner of builders without another one."""


def check_compiled_files(env: Any) -> None:
    """Use rebuild_if_altered() for the objects and libraries of `env`."""
    static, shared = SCons.Tool.createObjBuilders(env)
    for builder in (static, shared, SCons.Tool.createStaticLibBuilder(env)):
        simple = builder.get() if hasattr(builder, "cmdgen") else builder
        simple.target_scanner = simple.target_scanner or OWN_SCANNER

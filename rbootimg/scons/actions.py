"""What our builders share: library errors as one line, names to nodes, no trust in a file that SCons did not make."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import SCons.Action
import SCons.Errors
import SCons.Node
import SCons.Scanner
import SCons.SConf
import SCons.Script
import SCons.Tool
import SCons.Util

from ..errors import RbootError, SettingError
from .variables import BUILD_DIR, literal, text


def format_error(error: RbootError) -> str:
    """A library error as users of SCons read it."""
    return f"{error}; {error.hint.scons}" if error.hint else str(error)


def action(
    function: Callable[[Any, Any, Any], None], message: str | None, *variables: str, about_source: bool = True
) -> Any:
    """An action that runs `function`, prints library errors as one line, and depends on `variables`.

    Without a `message` it prints nothing else. Errors without a subject are `about_source`, the first one, or not.
    """

    # SCons sees a change of the function, not of the library below it: hence the version.
    return _FunctionAction(
        _Function(function, about_source), {"cmdstr": message, "varlist": ["_RBOOT_VERSION", *variables]}
    )


class _FunctionAction(SCons.Action.FunctionAction):  # type: ignore[misc]
    """An action that is asked what its function is made of only where that counts, and tells it sooner than SCons's."""

    def get_presig(self, target: Any, source: Any, env: Any, executor: Any = None) -> bytes:
        return _signature(self.execfunction.function.__code__).encode()


@functools.lru_cache  # of the same few functions
def _signature(code: CodeType) -> str:
    """What the code does, wherever it stands."""
    constants = (_signature(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    return " ".join((code.co_code.hex(), *code.co_names, *constants))


class _Function:
    """What SCons calls."""

    def __init__(self, function: Callable[[Any, Any, Any], None], about_source: bool) -> None:
        self.function, self.__name__ = function, function.__name__
        self._about_source = about_source

    def __call__(self, target: Any, source: Any, env: Any) -> None:
        try:
            self.function(target, source, env)
        except RbootError as error:
            where = str(source[0]) if self._about_source and source and error.subject is None else None
            raise SCons.Errors.BuildError(target, format_error(error), filename=where) from None
        except OSError as error:
            raise SCons.Errors.BuildError(target, error.strerror, filename=str(error.filename or target[0])) from None


def build(env: Any, builder: Any, target: Any, source: Any, **overrides: object) -> Any:
    """Call a builder of ours, or SCons's of that name.

    Without `env.Name`: on an override environment that rebinds the method of the one below it. Ours are in no
    environment: each is made when it is first needed, which takes SCons a while. Raises SettingError for a target that
    cannot be a file.
    """
    target = None if target is None else SCons.Util.flatten([target])
    try:
        builder = env.get_builder(builder) if isinstance(builder, str) else builder
        return builder(env, target, SCons.Util.flatten([source]), **overrides)
    except (TypeError, ValueError) as error:  # which SCons raises for names of folders, or below a file
        raise SettingError(str(error), subject=target and target[0]) from None


class _OneOfSeveral:
    """The executor that several targets share, as one of them has it.

    SCons runs what AddPostAction() and AddPreAction() add to a target for all that its builder makes in one step, and
    looks for what Clean() adds at the first of them only. Here that step is for speed, so that both are for this target
    alone, with its own $TARGET and $SOURCE.
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
        self._shared.add_pre_action(_ActionForOne(added, self._node, self._sources))

    def add_post_action(self, added: Any) -> None:
        self._shared.add_post_action(_ActionForOne(added, self._node, self._sources))


class _ActionForOne(SCons.Action.ActionBase):  # type: ignore[misc]
    """An action that runs for one target and its sources, whatever it is called with."""

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


def apart(targets: list[Any], sources: list[list[Any]]) -> None:
    """Let actions that users add to one of the `targets` of one step run for that one, with its own `sources`."""
    for node, own in zip(targets, sources) if len(targets) > 1 else ():
        node.set_executor(_OneOfSeveral(node.get_executor(), node, own))


def own_file(env: Any, path: Path) -> Any:
    """The node of a file of this package; not by env.File(), which takes a $ in its path for a variable."""
    return env.fs.File(str(path))


def generated(env: Any, name: str) -> Any:
    """The node of a file that applications share, in $RBOOT_BUILD_DIR. Raises SettingError."""
    try:
        return env.Dir(literal(text(env, "RBOOT_BUILD_DIR") or BUILD_DIR)).File(name)
    except (TypeError, ValueError) as error:  # SCons's, of what is a file, or no name
        raise SettingError(str(error), subject="RBOOT_BUILD_DIR") from None


def nodes(env: Any, what: str, files: Any) -> list[Any]:
    """The nodes of `files`, names or nodes, alone or in lists. Raises SettingError about `what` for anything else."""
    found = []
    for file in env.Flatten([files]):
        if not isinstance(file, (str, SCons.Node.Node)):
            raise SettingError(f"{file!r} is no file; give names or nodes", subject=what)
        try:
            found += env.arg2nodes(file, env.fs.File)  # env.File() would look for variables once more
        except TypeError:  # which SCons raises for a folder that it knows
            raise SettingError(f"{file} is a folder; give its files, as Glob() does", subject=what) from None
        except ValueError as error:
            raise SettingError(f"{file!r}: {error}", subject=what) from None
    if not found:
        raise SettingError("there are no files; check the names or the pattern", subject=what)
    for node in found:
        if os.path.isdir(node.get_abspath()):
            raise SettingError(f"{node} is a folder; give its files, as Glob() does", subject=what)
    return found


def one_node(env: Any, what: str, file: Any) -> Any:
    """The node of the one file that there may be. Raises SettingError, naming `what`."""
    found = nodes(env, what, file)
    if len(found) > 1:
        raise SettingError(f"{', '.join(map(str, found))}: give one file", subject=what)
    return found[0]


def rebuild_if_altered(node: Any) -> None:
    """Have `node` built again if its file is not the one that SCons remembers to have made.

    SCons asks what a file was made from, never whether it is still that file. A command that failed or was
    killed may have left another one, which would count as good again as soon as its sources are back at
    what they were. Called by the scanner of the node itself, which runs before SCons decides about it.
    """
    if SCons.Node.interactive or SCons.SConf.sconf_global is not None:
        return  # what SCons remembers is from before the session, or of a check of env.Configure(), which is no build
    if os.path.exists(node.get_abspath()):
        made = getattr(node.get_stored_info().ninfo, "csig", None)  # None: SCons makes it anyway
        if made not in (None, node.get_csig()):
            node.set_always_build(True)


def _scan(node: Any, env: Any, path: Any) -> list[Any]:
    rebuild_if_altered(node)
    return []


OWN_SCANNER = SCons.Scanner.ScannerBase(_scan, "rebuild_if_altered")
"""For builders that need no other target scanner."""


def check_compiled_files(env: Any) -> None:
    """Let `env`'s objects and libraries, too, be built again if something else altered them."""
    static, shared = SCons.Tool.createObjBuilders(env)
    for builder in (static, shared, SCons.Tool.createStaticLibBuilder(env)):
        simple = builder.get() if hasattr(builder, "cmdgen") else builder
        simple.target_scanner = simple.target_scanner or OWN_SCANNER

"""The words that `scons` takes beside the names of files: publish, prove, boot and so on.

What a project has nothing for, such as `scons boot` without a flash image, is made only when it is asked for, to say
so. Until then no alias must be there: it would stand in for a file or a folder of its name wherever SCons takes
names, and an `Alias()` of the project's own would be added to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import SCons.Node
import SCons.Node.FS

from ..errors import RbootError
from .actions import action

COMPILE_COMMANDS = "compile_commands.json"
_NO_APP = 'there is no application; add `env.RbootApp("app", Glob("*.c"))` to the SConstruct'
_NO_IMAGE = 'there is no flash image; add `env.RbootFlashImage("flash.bin", roms)` to the SConstruct'
_NO_ELFS = "it is not known what the ROMs were packed from; build them with RbootApp or RbootImage"
_MISSING = MappingProxyType(
    {
        **dict.fromkeys(("roms", "publish", "releases", "rollback", "serve", "prove"), _NO_APP),
        **dict.fromkeys(("flash", "boot"), _NO_IMAGE),
    }
)


def add(env: Any, name: str, source: Any, function: Callable[[Any, Any, Any], None] | None) -> Any:
    """Let `scons NAME` call `function`, if there is one, with `source`; its alias.

    If the SConstruct has such a target already, that is left as it is.
    """
    alias = env.Alias(name)[0]
    if not alias.has_builder():
        alias.attributes.rboot = act = function and action(
            function, f"$RBOOT{name.upper()}COMSTR", about_source=name in ("flash", "boot")
        )
        env.AlwaysBuild(env.Alias(name, source, act) if act else env.Alias(name, source))
    elif hasattr(alias.attributes, "rboot"):
        env.Alias(name, source)
    return alias


def name_one(alias: Any, name: str, source: list[Any]) -> None:
    """Let `scons ALIAS-NAME` do what `scons ALIAS` does, but for one: an application, a flash image."""
    if not hasattr(alias.attributes, "rboot_ones"):
        alias.attributes.rboot_ones = {}
    alias.attributes.rboot_ones.setdefault(name, []).extend(source)


def explain_missing(env: Any) -> None:
    """Let SCons say what is missing when one of our targets is asked for and not there."""
    lookups = SCons.Node.arg2nodes_lookups
    if not any(isinstance(lookup, _Missing) for lookup in lookups):
        lookups.append(_Missing(env))


def is_sconss_database(top: Path) -> bool:
    """Whether the compile commands in the folder are as SCons writes them for it; else they are another tool's.

    Not by what SCons remembers, which is not to be read before all SConscripts are.
    """
    try:
        text = (top / COMPILE_COMMANDS).read_text(encoding="utf-8")
        entries = json.loads(text)
        return bool(entries and {entry["directory"] for entry in entries} == {str(top)}) and (
            text.strip() == json.dumps(entries, sort_keys=True, indent=4)
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


class _Missing:
    """The last place where SCons looks for the node of a name, after the aliases that there are."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def __call__(self, name: str, curdir: str | None = None) -> Any:
        # SCons says where it is for names from the command line only, and looks them up when all SConscripts are read.
        if curdir is None:
            return None
        if name == COMPILE_COMMANDS:
            return self._compile_commands()
        kind, dash, one = name.partition("-")
        if dash and kind in _MISSING:
            return self._one(kind, one, curdir)
        if name not in _MISSING or self._env.GetOption("clean"):
            return None
        if self._is_there(name, curdir):
            return None
        return self._env.AlwaysBuild(self._env.Alias(name, [], action(_fail, None)))[0]

    def _is_there(self, name: str, curdir: str) -> bool:
        node = self._env.fs.Entry(name, self._env.fs.Dir(curdir))
        return isinstance(node, SCons.Node.FS.Dir) or node.has_builder() or bool(node.side_effect) or node.exists()

    def _one(self, kind: str, name: str, curdir: str) -> Any:
        """The alias for one of those that the alias `kind` is about. Such a file comes first."""
        whole = self._env.ans.lookup(kind)
        ones = getattr(whole.attributes, "rboot_ones", None) if whole else None
        if not ones or self._is_there(f"{kind}-{name}", curdir):
            return None
        if name not in ones:
            known = ", ".join(f"{kind}-{each}" for each in ones)

            def fail(target: Any, source: Any, env: Any) -> None:
                raise RbootError(f"there is no such target; there are {known}")

            return self._env.AlwaysBuild(self._env.Alias(f"{kind}-{name}", [], action(fail, None, about_source=False)))[
                0
            ]
        alias = self._env.AlwaysBuild(self._env.Alias(f"{kind}-{name}", ones[name], whole.attributes.rboot))[0]
        for attribute in ("rboot_web_roots", "rboot_claims"):
            if hasattr(whole.attributes, attribute):
                setattr(alias.attributes, attribute, getattr(whole.attributes, attribute))
        alias.attributes.rboot_only = frozenset((name,))
        return alias

    def _compile_commands(self) -> Any:
        """The user's own, else ours at the top, made only now as SCons writes it anew each time."""
        node = self._env.fs.File(f"#{COMPILE_COMMANDS}")
        return node if node.has_builder() else self._env.CompilationDatabase(node)[0]


def _fail(target: Any, source: Any, env: Any) -> None:
    name = str(target[0])
    raise RbootError(_NO_ELFS if name == "prove" and env.ans.lookup("publish") else _MISSING[name])

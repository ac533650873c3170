"""The targets `scons publish`, `prove`, `boot` and so on.

A target for which the project has nothing, such as `scons boot` without a flash image, gets an alias only when it is
named on the command line, to report that. An earlier alias would replace a file or directory of its name wherever SCons
looks names up, and a later `Alias()` of the SConstruct would add to it.
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

TARGETS: tuple[tuple[str, str], ...] = (
    ("(none), roms", "build the ROMs of each slot"),
    ("publish", "publish the ROMs to the web root"),
    ("releases", "list the releases in the web root"),
    ("rollback", "make the previous release current again"),
    ("serve", "run a development server for the web root"),
    ("prove", "verify in QEMU that the ROMs boot, with every byte in place"),
    ("flash", "write the flash image to a device"),
    ("boot", "run the flash image in QEMU, and decode its crashes"),
    ("monitor", "show what a device prints, and decode its crashes"),
    (COMPILE_COMMANDS, "write the compile commands, for editors"),
    ("publish-APP", "publish one application; also prove-APP, rollback-APP"),
    ("flash-IMAGE", "write one of several flash images; also boot-IMAGE, monitor-IMAGE"),
)
"""The targets and their help, in the order of `scons -h` and of the reference in the documentation."""

_NO_APP = 'no application defined; add `env.RbootApp("app", Glob("*.c"))` to the SConstruct'
_NO_IMAGE = 'no flash image defined; add `env.RbootFlashImage("flash.bin", roms)` to the SConstruct'
_NO_ELFS = "the ELFs of the ROMs are unknown; build the ROMs with RbootApp or RbootImage"
_MISSING = MappingProxyType(
    {
        **dict.fromkeys(("roms", "publish", "releases", "rollback", "serve", "prove"), _NO_APP),
        **dict.fromkeys(("flash", "boot"), _NO_IMAGE),
    }
)


def add_target(env: Any, name: str, source: Any, function: Callable[[Any, Any, Any], None] | None) -> Any:
    """Let `scons NAME` build `source` and then call `function`, if given. Returns the alias.

    A target of that name in the SConstruct stays as it is.
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


def add_named(alias: Any, name: str, source: list[Any]) -> None:
    """Let `scons ALIAS-NAME` do what `scons ALIAS` does, for one application or flash image."""
    if not hasattr(alias.attributes, "rboot_named"):
        alias.attributes.rboot_named = {}
    alias.attributes.rboot_named.setdefault(name, []).extend(source)


def explain_missing(env: Any) -> None:
    """Let SCons report what the project lacks when one of our targets is named on the command line."""
    lookups = SCons.Node.arg2nodes_lookups
    if not any(isinstance(lookup, _MissingTargets) for lookup in lookups):
        lookups.append(_MissingTargets(env))


def is_scons_compile_database(top: Path) -> bool:
    """Whether SCons wrote the compile commands in the directory `top`, by their format; else another tool did.

    Without SCons's database, which must not be read before all SConscripts are.
    """
    try:
        text = (top / COMPILE_COMMANDS).read_text(encoding="utf-8")
        entries = json.loads(text)
        return bool(entries and {entry["directory"] for entry in entries} == {str(top)}) and (
            text.strip() == json.dumps(entries, sort_keys=True, indent=4)
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


class _MissingTargets:
    """The last function that SCons asks for the node of a name, after the existing aliases."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def __call__(self, name: str, curdir: str | None = None) -> Any:
        # SCons passes curdir only for names from the command line, after it has read all SConscripts.
        if curdir is None:
            return None
        if name == COMPILE_COMMANDS:
            return self._compile_commands()
        kind, dash, rest = name.partition("-")
        if kind == "monitor" and not self._exists(name, curdir):
            return self._monitor(name, rest if dash else None)
        if dash and kind in _MISSING:
            return self._named_alias(kind, rest, curdir)
        if name not in _MISSING or self._env.GetOption("clean"):
            return None
        if self._exists(name, curdir):
            return None
        return self._env.AlwaysBuild(self._env.Alias(name, [], action(_fail, None)))[0]

    def _exists(self, name: str, curdir: str) -> bool:
        node = self._env.fs.Entry(name, self._env.fs.Dir(curdir))
        return isinstance(node, SCons.Node.FS.Dir) or node.has_builder() or bool(node.side_effect) or node.exists()

    def _named_alias(self, kind: str, name: str, curdir: str) -> Any:
        """The alias of `scons KIND-NAME`, unless there is such a file."""
        general = self._env.ans.lookup(kind)
        sources = getattr(general.attributes, "rboot_named", None) if general else None
        if not sources or self._exists(f"{kind}-{name}", curdir):
            return None
        target = f"{kind}-{name}"
        if name not in sources:
            known = ", ".join(f"{kind}-{each}" for each in sources)

            def fail(target: Any, source: Any, env: Any) -> None:
                raise RbootError(f"unknown target: expected one of {known}")

            return self._env.AlwaysBuild(self._env.Alias(target, [], action(fail, None, about_source=False)))[0]
        alias = self._env.AlwaysBuild(self._env.Alias(target, sources[name], general.attributes.rboot))[0]
        for attribute in ("rboot_web_roots", "rboot_proof_requests"):
            if hasattr(general.attributes, attribute):
                setattr(alias.attributes, attribute, getattr(general.attributes, attribute))
        alias.attributes.rboot_selected = frozenset((name,))
        return alias

    def _monitor(self, name: str, image_name: str | None) -> Any:
        """The alias of `scons monitor` or monitor-IMAGE. It builds nothing: a device runs an earlier build."""
        images, roots = self._env.ans.lookup("boot"), self._env.ans.lookup("publish")
        by_name = getattr(images.attributes, "rboot_named", {}) if images else {}
        if image_name is not None and image_name not in by_name:
            return None
        alias = self._env.AlwaysBuild(self._env.Alias(name, [], action(_watch, "$RBOOTMONITORCOMSTR")))[0]
        found = by_name[image_name] if image_name is not None else (images.sources if images else [])
        alias.attributes.rboot_images = found
        alias.attributes.rboot_web_roots = getattr(roots.attributes, "rboot_web_roots", {}) if roots else {}
        return alias

    def _compile_commands(self) -> Any:
        """The project's own compile commands, else ours, created only now: SCons writes them in each build."""
        node = self._env.fs.File(f"#{COMPILE_COMMANDS}")
        return node if node.has_builder() else self._env.CompilationDatabase(node)[0]


def _watch(target: Any, source: Any, env: Any) -> None:
    from . import running  # imports the emulator: not for every build

    running.monitor(target, env)


def _fail(target: Any, source: Any, env: Any) -> None:
    name = str(target[0])
    raise RbootError(_NO_ELFS if name == "prove" and env.ans.lookup("publish") else _MISSING[name])

"""RbootVersionHeader: the version that `scons publish` will use, for the sources of the application."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import SCons.Builder

from ..fileio import write_atomic
from ..release import version as versions
from .actions import OWN_SCANNER, action, build, generated
from .variables import for_call

NAME = "rboot-version.h"


@functools.lru_cache
def _builder() -> Any:
    """The step of RbootVersionHeader."""
    return SCons.Builder.Builder(
        name="_RbootVersionHeader",
        action=action(_write, "$RBOOTHEADERCOMSTR", "_RBOOT_HEADER_VERSION"),
        target_scanner=OWN_SCANNER,
    )


def rboot_version_header(env: Any, **overrides: object) -> Any:
    """The header rboot-version.h in the build folder, with $RBOOT_VERSION; `env` gets its folder as an include path."""
    node = header(env, str(for_call(env, overrides)["RBOOT_VERSION"]))
    used = env.get("_RBOOT_VERSION_HEADER")
    if used is not None and used is not node:  # of what was cloned
        env["CPPPATH"] = [path for path in env.Flatten(env["CPPPATH"]) if path is not used.dir]
    env["_RBOOT_VERSION_HEADER"] = node
    env.AppendUnique(CPPPATH=[node.dir])
    return node


def compiled_with(env: Any, version: str) -> dict[str, Any]:
    """What `env` compiles with for an application of this version, if it has the header of another one."""
    used = env.get("_RBOOT_VERSION_HEADER")
    if used is None or used.attributes.rboot_version == version:
        return {}
    own = header(env, version).dir
    return {"CPPPATH": [own if path is used.dir else path for path in env.Flatten(env["CPPPATH"])]}


def header(env: Any, version: str) -> Any:
    """The header with this version: one for all of the project."""
    for number in itertools.count(1):
        # Not a folder called after the version: with a new one all would be compiled again, not what includes it only.
        node = generated(env, f"include{f'-{number}' if number > 1 else ''}/{NAME}")
        if not node.has_builder():
            build(env, _builder(), node, [], _RBOOT_HEADER_VERSION=version)
            node.attributes.rboot_version = version
        if node.attributes.rboot_version == version:
            return node
    raise AssertionError


def _write(target: Any, source: Any, env: Any) -> None:
    write_atomic(Path(target[0].get_abspath()), versions.header(env["_RBOOT_HEADER_VERSION"]).encode())

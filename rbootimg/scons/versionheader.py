"""RbootVersionHeader: a C header with the version that `scons publish` will use."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import SCons.Builder

from ..fileio import write_atomic
from ..release import version as versions
from .actions import OWN_SCANNER, action, build, generated_file
from .variables import call_environment

NAME = "rboot-version.h"


@functools.lru_cache
def _builder() -> Any:
    """The builder of RbootVersionHeader."""
    return SCons.Builder.Builder(
        name="_RbootVersionHeader",
        action=action(_write, "$RBOOTHEADERCOMSTR", "_RBOOT_HEADER_VERSION"),
        target_scanner=OWN_SCANNER,
    )


def rboot_version_header(env: Any, **overrides: object) -> Any:
    """Write rboot-version.h with $RBOOT_VERSION in the build directory, and add its directory to CPPPATH of `env`."""
    node = header_node(env, str(call_environment(env, overrides)["RBOOT_VERSION"]))
    used = env.get("_RBOOT_VERSION_HEADER")
    if used is not None and used is not node:  # from the cloned environment
        env["CPPPATH"] = [path for path in env.Flatten(env["CPPPATH"]) if path is not used.dir]
    env["_RBOOT_VERSION_HEADER"] = node
    env.AppendUnique(CPPPATH=[node.dir])
    return node


def header_overrides(env: Any, version: str) -> dict[str, Any]:
    """The CPPPATH for an application of `version`, if `env` has the header of another version; else nothing."""
    used = env.get("_RBOOT_VERSION_HEADER")
    if used is None or used.attributes.rboot_version == version:
        return {}
    own = header_node(env, version).dir
    return {"CPPPATH": [own if path is used.dir else path for path in env.Flatten(env["CPPPATH"])]}


def header_node(env: Any, version: str) -> Any:
    """The node of the project's header with `version`."""
    for number in itertools.count(1):
        # A number instead of the version in the path: a new -I would compile all sources again, not only its includers.
        node = generated_file(env, f"include{f'-{number}' if number > 1 else ''}/{NAME}")
        if not node.has_builder():
            build(env, _builder(), node, [], _RBOOT_HEADER_VERSION=version)
            node.attributes.rboot_version = version
        if node.attributes.rboot_version == version:
            return node
    raise AssertionError


def _write(target: Any, source: Any, env: Any) -> None:
    write_atomic(Path(target[0].get_abspath()), versions.header(env["_RBOOT_HEADER_VERSION"]).encode())

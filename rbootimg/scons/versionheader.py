"""RbootVersionHeader: the version that `scons publish` will use, for the sources of the application."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import SCons.Builder

from ..fileio import write_atomic
from ..release import version
from .actions import OWN_SCANNER, action, build, generated
from .variables import for_call

NAME = "rboot-version.h"


def builders() -> dict[str, Any]:
    """The step of RbootVersionHeader."""
    return {
        "_RbootVersionHeader": SCons.Builder.Builder(
            action=action(_write, "$RBOOTHEADERCOMSTR", "_RBOOT_HEADER_VERSION"), target_scanner=OWN_SCANNER
        )
    }


def rboot_version_header(env: Any, **overrides: object) -> Any:
    """The header rboot-version.h in the build folder, with $RBOOT_VERSION; `env` gets its folder as an include path."""
    found = str(for_call(env, overrides)["RBOOT_VERSION"])
    for number in itertools.count(1):
        # Not a folder called after the version: with a new one all would be compiled again, not what includes it only.
        node = generated(env, f"include{f'-{number}' if number > 1 else ''}/{NAME}")
        if not node.has_builder():
            build(env, "_RbootVersionHeader", node, [], _RBOOT_HEADER_VERSION=found)
            node.attributes.rboot_version = found
        if node.attributes.rboot_version == found:
            env.AppendUnique(CPPPATH=[node.dir])
            return node
    raise AssertionError


def _write(target: Any, source: Any, env: Any) -> None:
    write_atomic(Path(target[0].get_abspath()), version.header(env["_RBOOT_HEADER_VERSION"]).encode())

"""How users run a build: with `scons`, or with a program that runs SCons and has other names for our settings."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

import SCons.Script


class FrontEnd(NamedTuple):
    """The words of messages about targets and variables.

    `command` returns the command line that builds a target. `translate` replaces the names of variables and the
    commands in a message, which are those of SCons.
    """

    command: Callable[[Any, str], str]
    translate: Callable[[str], str]


def front_end(env: Any) -> FrontEnd:
    """The front end of `env`: $_RBOOT_FRONT_END, else SCons."""
    found: FrontEnd = env.get("_RBOOT_FRONT_END", _SCONS)
    return found


def _scons_command(env: Any, target: str) -> str:
    """`scons TARGET` with those settings of the command line that the web root or the SConstruct may depend on."""
    settings = [
        f"{name}={value}"
        for name, value in SCons.Script.ARGUMENTS.items()
        if name in ("RBOOT_WEBROOT", "RBOOT_SERVE_PORT") or not name.startswith("RBOOT_")
    ]
    given = (("-C", env.GetOption("directory")), ("-f", env.GetOption("file")))
    options = [word for option, values in given for value in values for word in (option, value)]
    return shlex.join(("scons", *options, target, *settings))


_SCONS = FrontEnd(_scons_command, str)

"""What SCons's users call `scons publish` and RBOOT_VERSION, in the words of PlatformIO's users."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection

PREFIX = "custom_rboot_"
"""The beginning of our options in platformio.ini; PlatformIO leaves `custom_` to scripts."""


def option_name(variable: str) -> str:
    """The option for a variable: custom_rboot_version for RBOOT_VERSION."""
    return f"{PREFIX}{variable.removeprefix('RBOOT_').lower()}"


def run_command(environment: str, target: str) -> str:
    """The command that builds a target of an environment of platformio.ini."""
    return shlex.join(("pio", "run", "-e", environment, "-t", target))


def translator(environment: str, variables: Collection[str]) -> Callable[[str], str]:
    """The function that translates messages, for an environment that has options for these `variables`.

    A value for one command comes from the shell's environment, as `pio run` accepts none.
    """

    def command(found: re.Match[str]) -> str:
        return f"`{' '.join((*found['settings'].split(), run_command(environment, found['target'])))}`"

    def name(found: re.Match[str]) -> str:
        if found[1] not in variables:
            return found[0]
        return option_name(found[1]) + (" = " if found[2] else "")

    def translate(text: str) -> str:
        text = text.replace("run scons again", "run `pio run` again").replace("pass RBOOT_", "set RBOOT_")
        text = re.sub(r"`scons (?P<target>[a-z][\w-]*)(?P<settings>(?: RBOOT_\w+=[\w.]+)*)`", command, text)
        # Not within commands, whose names are those of the shell's environment.
        parts = re.split(r"(`[^`]*`)", text)
        return "".join(part if part.startswith("`") else re.sub(r"\b(RBOOT_[A-Z_]+)(=?)", name, part) for part in parts)

    return translate

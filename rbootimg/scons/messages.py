"""The line that each step of a build prints: short, or with $RBOOT_VERBOSE SCons's complete one.

`summary` has what a build prints at its end.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import SCons.Errors
import SCons.SConf

from ..errors import SettingError
from .apps import display_path
from .variables import escape_dollars, get_bool


class Message:
    """The default of a `*COMSTR`: a verb and what it is applied to; with $RBOOT_VERBOSE `verbose`, "" for the command.

    SCons calls it for each line, so $RBOOT_VERBOSE can be set at any time. `each`: a line for each target of a step.
    """

    def __init__(self, verb: str, operand: str = "$TARGET", verbose: str = "", each: bool = False) -> None:
        self.verb, self.operand, self.verbose, self._each = verb, operand, verbose, each

    def __call__(self, target: Any, source: Any, env: Any, for_signature: bool) -> str:
        if is_verbose(env):
            return self.verbose
        operands = [f"${{TARGETS[{at}]}}" for at, _ in enumerate(target)] if self._each else [self.operand]
        return "\n".join(f"{self.verb:8} {operand}" for operand in operands)


def is_verbose(env: Any) -> bool:
    """Whether $RBOOT_VERBOSE is set, or the lines are those of checks of env.Configure(), for its log.

    Raises UserError for an invalid value, as SCons calls this while it prints.
    """
    if SCons.SConf.sconf_global is not None:
        return True
    try:
        return bool(get_bool(env, "RBOOT_VERBOSE"))
    except SettingError as error:
        raise SCons.Errors.UserError(f"rboot: {error}") from None


MESSAGES = MappingProxyType(
    {
        "CCCOMSTR": Message("CC"),
        "SHCCCOMSTR": Message("CC"),
        "CXXCOMSTR": Message("CXX"),
        "SHCXXCOMSTR": Message("CXX"),
        "ASCOMSTR": Message("AS"),
        "ASPPCOMSTR": Message("AS"),
        "ARCOMSTR": Message("AR"),
        "RANLIBCOMSTR": Message("RANLIB"),
        "LINKCOMSTR": Message("LD"),
        "RBOOTLINKCOMSTR": Message("LD"),
        "RBOOTLDSCRIPTCOMSTR": Message("LDSCRIPT", verbose="Writing linker script $TARGET"),
        "RBOOTIMAGECOMSTR": Message("PACK", verbose="Packing $TARGET", each=True),
        "RBOOTLOADERCOMSTR": Message("LOADER"),
        "RBOOTBIGFLASHCOMSTR": Message("BIGFLASH"),
        "RBOOTHEADERCOMSTR": Message("HEADER", verbose="Writing $TARGET"),
        "RBOOTFILESYSTEMCOMSTR": Message("LITTLEFS", verbose="Writing file system $TARGET"),
        "RBOOTFLASHIMAGECOMSTR": Message("IMAGE", verbose="Assembling $TARGET"),
        "RBOOTPROVECOMSTR": Message("PROVE", "$_RBOOT_PROVED_APPS", "Proving"),
        "RBOOTPUBLISHCOMSTR": Message("PUBLISH", "$_RBOOT_WEB_ROOTS", "Publishing"),
        "RBOOTRELEASESCOMSTR": Message("RELEASES", "$_RBOOT_WEB_ROOTS", "Releases"),
        "RBOOTROLLBACKCOMSTR": Message("ROLLBACK", "$_RBOOT_WEB_ROOTS", "Rolling back"),
        "RBOOTSERVECOMSTR": Message("SERVE", "$_RBOOT_WEB_ROOTS (Ctrl-C to stop)", "Serving; press Ctrl-C to stop"),
        "RBOOTFLASHCOMSTR": Message("FLASH", "$SOURCE", "Writing $SOURCE to the device"),
        "RBOOTMONITORCOMSTR": Message("MONITOR", "(Ctrl-C to stop)", "Monitoring the device; press Ctrl-C to stop"),
        "RBOOTBOOTCOMSTR": Message("BOOT", "$SOURCE (Ctrl-C to stop)", "Booting $SOURCE; press Ctrl-C to stop"),
    }
)
"""The defaults of SCons's and our message variables. The lines of commands are complete with $RBOOT_VERBOSE."""


# SCons calls the function that is a variable's value with these argument names.
def web_roots(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_WEB_ROOTS: the web roots of a target."""
    roots = getattr(target[0].attributes, "rboot_web_roots", {})
    return escape_dollars(", ".join(display_path(root.path, env) for root in roots.values()))


def proved_apps(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_PROVED_APPS: the applications that a target proves."""
    return ", ".join(request.name for request in requested_proofs(target[0]))


def requested_proofs(target: Any) -> list[Any]:
    """The proofs that `scons prove` or `prove-NAME` was asked for."""
    attributes = target.attributes
    only = getattr(attributes, "rboot_selected", None)
    requests = getattr(attributes, "rboot_proof_requests", [])
    return [request for request, selected in requests if (request.name in only if only else selected)]

"""RbootOtaClient: our update client for the chip, compiled for the loader and flash of the layout."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import SCons.Builder
import SCons.Errors

from ..errors import SettingError, error_subject
from ..fileio import write_atomic
from ..flash import clientheader
from ..layout.model import FlashLayout
from .actions import OWN_SCANNER, action, build, generated_file, package_file
from .variables import call_environment, escape_dollars, expand, get_layout

_CLIENT = Path(__file__).parents[1] / "firmware" / "ota"
_PORTS = ("nonos", "emulator")
_DEFINE = "RBOOT_LAYOUT"


@functools.lru_cache
def _header_builder() -> Any:
    """The builder of the client's header."""
    return SCons.Builder.Builder(
        name="_RbootClientHeader",
        action=action(_write_header, "$RBOOTHEADERCOMSTR", "_RBOOT_CLIENT_LAYOUT"),
        target_scanner=OWN_SCANNER,
    )


def rboot_ota_client(env: Any, port: str = "nonos", directory: str | None = None, **overrides: object) -> Any:
    """Compile the update client with its `port`, "nonos" or "emulator". Returns the objects, for an RbootApp.

    They and the header rboot-layout.h are put into `directory`, by default into the build directory. `env` gets the
    include paths and the define RBOOT_LAYOUT, with which the application compiles against the client. An environment
    has the client for one layout; use a Clone() for another one. Raises SettingError or LayoutError.
    """
    compiling = call_environment(env, overrides)
    if port not in _PORTS:
        raise SettingError(f"unknown port {port!r}: expected {' or '.join(_PORTS)}", subject="RbootOtaClient")
    sources = [*sorted(_CLIENT.glob("*.c")), *sorted((_CLIENT / "port" / port).glob("*.c"))]
    ours = [package_file(env, sources[0]).dir, package_file(env, sources[-1]).dir]
    with error_subject("RbootOtaClient"):
        layout = get_layout(compiling)
        node = directory and compiling.Dir(escape_dollars(expand(compiling, "directory", str(directory))))
        flags = "" if node else _compile_flags(compiling, ours)
        header = _header(compiling, node, f"ota-client-{port}", layout, flags)
    _attach_header(env, header)
    for each in (env, *([compiling] if compiling is not env else [])):
        each.AppendUnique(CPPPATH=[*ours, header.dir], CPPDEFINES=[_DEFINE])
    suffix = compiling.subst("$OBJSUFFIX")
    # With explicit targets, as SCons puts an object beside its source, which may be in site-packages.
    targets = [header.dir.File(f"{source.stem}{suffix}") for source in sources]
    objects = [
        target if target.has_builder() else build(compiling, "Object", target, package_file(compiling, source))[0]
        for target, source in zip(targets, sources)
    ]
    for node in objects:
        node.attributes.rboot_client = header.attributes.rboot_client
    return objects


def check_client(name: str, objects: Iterable[Any], layout: FlashLayout) -> None:
    """Raise SettingError if one of `objects` is of a client that was compiled for another layout."""
    for node in objects:
        if getattr(node.attributes, "rboot_client", None) not in (None, clientheader.client_header(layout)):
            raise SettingError(
                f"{node} was compiled by RbootOtaClient for another layout; use the same RBOOT_LAYOUT for both",
                subject=name,
            )


def _attach_header(env: Any, header: Any) -> None:
    """Make `header` the client's header of `env`. Raises SettingError if it has one for another layout.

    All objects of an environment have the same include paths.
    """
    owner, used = env.get("_RBOOT_CLIENT", (None, None))
    if used is not None and used.attributes.rboot_client != header.attributes.rboot_client:
        if owner() is env:
            raise SettingError(
                "this environment has a client for another layout; use a Clone()", subject="RbootOtaClient"
            )
        # Remove the path of the environment that this is a clone of.
        env["CPPPATH"] = [path for path in env.Flatten(env["CPPPATH"]) if path is not used.dir]
    env["_RBOOT_CLIENT"] = (weakref.ref(env), header)


def _compile_flags(env: Any, ours: list[Any]) -> str:
    """The flags with which `env` compiles the client, without those added by an earlier call."""
    used = env.get("_RBOOT_CLIENT", (None, None))[1]
    ours = [*ours, *([used.dir] if used else [])]
    paths = [str(path) for path in env.Flatten([env.get("CPPPATH") or []]) if path not in ours]
    macros = env.subst("$_CPPDEFFLAGS").split()
    words = env.subst("$CC $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $CPPFLAGS").split()
    return " ".join([*words, *(word for word in macros if word != f"-D{_DEFINE}"), *paths])


def _header(env: Any, directory: Any, name: str, layout: FlashLayout, flags: str) -> Any:
    """The node of the header for `layout`, in `directory` or else in the directory `name` of the build directory.

    The directory gets a number if it has the client for another layout or with other `flags`.
    """
    text = clientheader.client_header(layout)
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        if directory:
            node = directory.dir.Dir(directory.name + suffix).File(clientheader.NAME)
        else:
            node = generated_file(env, f"{name}{suffix}/{clientheader.NAME}")
        if not node.has_builder():
            build(env, _header_builder(), node, [], _RBOOT_CLIENT_LAYOUT=layout)
            node.attributes.rboot_client, node.attributes.rboot_flags = text, flags
        if (node.attributes.rboot_client, node.attributes.rboot_flags) == (text, flags):
            return node
    raise AssertionError


def _write_header(target: Any, source: Any, env: Any) -> None:
    text = clientheader.client_header(env["_RBOOT_CLIENT_LAYOUT"])
    write_atomic(Path(target[0].get_abspath()), text.encode())

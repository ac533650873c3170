"""RbootOtaClient: our update client for the chip, compiled for the loader and the flash of the layout."""

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
from .actions import OWN_SCANNER, action, build, generated, own_file
from .variables import expand, flash_map, for_call, literal

_CLIENT = Path(__file__).parents[1] / "firmware" / "ota"
_PORTS = ("nonos", "emulator")
_DEFINE = "RBOOT_LAYOUT"


@functools.lru_cache
def _header_builder() -> Any:
    """The step of RbootOtaClient that writes the header."""
    return SCons.Builder.Builder(
        name="_RbootClientHeader",
        action=action(_write_header, "$RBOOTHEADERCOMSTR", "_RBOOT_CLIENT_LAYOUT"),
        target_scanner=OWN_SCANNER,
    )


def rboot_ota_client(env: Any, port: str = "nonos", folder: str | None = None, **overrides: object) -> Any:
    """The objects of the update client with its `port`, "nonos" or "emulator", for the sources of an RbootApp.

    They and the header rboot-layout.h go into `folder`, without one into the build folder. `env` gets the include paths
    and the define RBOOT_LAYOUT with which the application compiles against them: for one layout, so that another one
    needs a Clone().
    """
    compiling = for_call(env, overrides)
    if port not in _PORTS:
        raise SettingError(f"unknown port {port!r}: expected {' or '.join(_PORTS)}", subject="RbootOtaClient")
    sources = [*sorted(_CLIENT.glob("*.c")), *sorted((_CLIENT / "port" / port).glob("*.c"))]
    ours = [own_file(env, sources[0]).dir, own_file(env, sources[-1]).dir]
    with error_subject("RbootOtaClient"):
        layout = flash_map(compiling)
        place = folder and compiling.Dir(literal(expand(compiling, "folder", str(folder))))
        flags = "" if place else _flags(compiling, ours)
        header = _header(compiling, place, f"ota-client-{port}", layout, flags)
    _use(env, header)
    for each in (env, *([compiling] if compiling is not env else [])):
        each.AppendUnique(CPPPATH=[*ours, header.dir], CPPDEFINES=[_DEFINE])
    suffix = compiling.subst("$OBJSUFFIX")
    # Named one by one, as SCons puts the object of a source beside it, which may be in site-packages.
    targets = [header.dir.File(f"{source.stem}{suffix}") for source in sources]
    objects = [
        target if target.has_builder() else build(compiling, "Object", target, own_file(compiling, source))[0]
        for target, source in zip(targets, sources)
    ]
    for node in objects:
        node.attributes.rboot_client = header.attributes.rboot_client
    return objects


def check_client(name: str, objects: Iterable[Any], layout: FlashLayout) -> None:
    """Raise SettingError if one of the application's `objects` is of the client for another loader or other slots."""
    for node in objects:
        if getattr(node.attributes, "rboot_client", None) not in (None, clientheader.client_header(layout)):
            raise SettingError(
                f"{node} was compiled by RbootOtaClient for another layout than the application's; "
                "give both the same RBOOT_LAYOUT",
                subject=name,
            )


def _use(env: Any, header: Any) -> None:
    """Make `header` the one of `env`. All that an environment compiles has the same include paths."""
    owner, used = env.get("_RBOOT_CLIENT", (None, None))
    if used is not None and used.attributes.rboot_client != header.attributes.rboot_client:
        if owner() is env:
            raise SettingError(
                "this environment has the client for another layout; use a Clone() of it", subject="RbootOtaClient"
            )
        env["CPPPATH"] = [path for path in env.Flatten(env["CPPPATH"]) if path is not used.dir]  # of what was cloned
    env["_RBOOT_CLIENT"] = (weakref.ref(env), header)


def _flags(env: Any, ours: list[Any]) -> str:
    """What decides how `env` compiles the client, without what an earlier call has added to it."""
    used = env.get("_RBOOT_CLIENT", (None, None))[1]
    ours = [*ours, *([used.dir] if used else [])]
    paths = [str(path) for path in env.Flatten([env.get("CPPPATH") or []]) if path not in ours]
    macros = env.subst("$_CPPDEFFLAGS").split()
    words = env.subst("$CC $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $CPPFLAGS").split()
    return " ".join([*words, *(word for word in macros if word != f"-D{_DEFINE}"), *paths])


def _header(env: Any, folder: Any, name: str, layout: FlashLayout, flags: str) -> Any:
    """The header for `layout` in `folder`, else in `name` in the build folder.

    It is in one beside it if that has another layout's, or one whose client is compiled with other `flags`.
    """
    text = clientheader.client_header(layout)
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        if folder:
            node = folder.dir.Dir(folder.name + suffix).File(clientheader.NAME)
        else:
            node = generated(env, f"{name}{suffix}/{clientheader.NAME}")
        if not node.has_builder():
            build(env, _header_builder(), node, [], _RBOOT_CLIENT_LAYOUT=layout)
            node.attributes.rboot_client, node.attributes.rboot_flags = text, flags
        if (node.attributes.rboot_client, node.attributes.rboot_flags) == (text, flags):
            return node
    raise AssertionError


def _write_header(target: Any, source: Any, env: Any) -> None:
    text = clientheader.client_header(env["_RBOOT_CLIENT_LAYOUT"])
    write_atomic(Path(target[0].get_abspath()), text.encode())

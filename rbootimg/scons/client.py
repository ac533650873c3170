"""RbootOtaClient: our update client for the chip, compiled for the loader and the flash of the layout."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import SCons.Builder
import SCons.Errors

from .. import clientheader
from ..errors import LayoutError
from ..files import write_atomic
from ..flashmap import FlashMap
from .actions import OWN_SCANNER, action, build
from .variables import expand, flash_map, for_call

_CLIENT = Path(__file__).parents[1] / "firmware" / "ota"
_PORTS = ("nonos", "emulator")


def builders() -> dict[str, Any]:
    """The step of RbootOtaClient that writes the header."""
    return {
        "_RbootClientHeader": SCons.Builder.Builder(
            action=action(_write_header, "$RBOOTHEADERCOMSTR", "_RBOOT_CLIENT_LAYOUT"), target_scanner=OWN_SCANNER
        )
    }


def rboot_ota_client(env: Any, port: str = "nonos", folder: str = "ota-client", **overrides: object) -> Any:
    """The objects of the update client with its `port`, "nonos" or "emulator", for the sources of an RbootApp.

    They and the header rboot-layout.h go into `folder` of the build. `env` gets the include paths and the define
    RBOOT_LAYOUT with which the application compiles against them: for one layout, so that another one needs a Clone().
    """
    compiling = for_call(env, overrides)
    if port not in _PORTS:
        raise SCons.Errors.UserError(f"rboot: RbootOtaClient: unknown port {port!r}: expected {' or '.join(_PORTS)}")
    try:
        layout = flash_map(compiling)
        header = _header(compiling, expand(compiling, "folder", str(folder)), layout)
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: RbootOtaClient: {error}") from None
    _use(env, header)
    paths = [str(_CLIENT), str(_CLIENT / "port" / port), header.dir]
    for each in (env, *([compiling] if compiling is not env else [])):
        each.AppendUnique(CPPPATH=paths, CPPDEFINES=["RBOOT_LAYOUT"])
    sources = [*sorted(_CLIENT.glob("*.c")), *sorted((_CLIENT / "port" / port).glob("*.c"))]
    # Named one by one, as SCons puts the object of a source beside it, which may be in site-packages.
    suffix = compiling.subst("$OBJSUFFIX")
    objects = [
        build(compiling, "Object", header.dir.File(f"{source.stem}{suffix}"), compiling.File(str(source)))[0]
        for source in sources
    ]
    for node in objects:
        node.attributes.rboot_client = header.attributes.rboot_client
    return objects


def check_client(name: str, objects: Iterable[Any], layout: FlashMap) -> None:
    """Raise UserError if one of the application's `objects` is of the client for another loader or other slots."""
    for node in objects:
        if getattr(node.attributes, "rboot_client", None) not in (None, clientheader.client_header(layout)):
            raise SCons.Errors.UserError(
                f"rboot: {name}: {node} was compiled by RbootOtaClient for another layout than the application's; "
                "give both the same RBOOT_LAYOUT"
            )


def _use(env: Any, header: Any) -> None:
    """Make `header` the one of `env`. All that an environment compiles has the same include paths."""
    owner, used = env.get("_RBOOT_CLIENT", (None, None))
    if used is not None and used.attributes.rboot_client != header.attributes.rboot_client:
        if owner() is env:
            raise SCons.Errors.UserError(
                "rboot: RbootOtaClient: this environment has the client for another layout; use a Clone() of it"
            )
        env["CPPPATH"] = [path for path in env.Flatten(env["CPPPATH"]) if path is not used.dir]  # of what was cloned
    env["_RBOOT_CLIENT"] = (weakref.ref(env), header)


def _header(env: Any, folder: str, layout: FlashMap) -> Any:
    """The header for `layout` in `folder`, or in one beside it if that has another layout's."""
    text = clientheader.client_header(layout)
    for number in itertools.count(1):
        node = env.File(f"{folder}{f'-{number}' if number > 1 else ''}/{clientheader.NAME}")
        if not node.has_builder():
            build(env, "_RbootClientHeader", node, [], _RBOOT_CLIENT_LAYOUT=layout)
            node.attributes.rboot_client = text
        if node.attributes.rboot_client == text:
            return node
    raise AssertionError


def _write_header(target: Any, source: Any, env: Any) -> None:
    text = clientheader.client_header(env["_RBOOT_CLIENT_LAYOUT"])
    write_atomic(Path(target[0].get_abspath()), text.encode())

"""RbootOtaClient: our update client for the chip, compiled for the loader and flash of the layout."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import SCons.Builder
import SCons.Errors

from ..errors import SettingError, error_subject
from ..fileio import read_file, write_atomic
from ..flash import clientheader
from ..layout.model import FlashLayout
from .actions import OWN_SCANNER, action, build, generated_file, nodes, package_file
from .variables import call_environment, escape_dollars, expand, get_layout, get_version, is_set

if TYPE_CHECKING:
    from ..release.signify import PublicKey

_FIRMWARE = Path(__file__).parents[1] / "firmware"
_PORTS = ("nonos", "emulator")
_DEFINE = "RBOOT_LAYOUT"
_LIBRARY = "libota"
_KEYS_HEADER = "rboot-keys.h"  # clientkeys.NAME, which would be imported in each build
_MAX_KEY_SIZE = 4096


class _Client(NamedTuple):
    """What a client is compiled with: the header for its layout alone, and the texts of the two headers."""

    layout: str
    header: str
    keys: str


@functools.lru_cache
def _header_builder() -> Any:
    """The builder of the client's headers."""
    return SCons.Builder.Builder(
        name="_RbootClientHeader",
        action=action(_write_headers, "$RBOOTHEADERCOMSTR", "_RBOOT_CLIENT_TEXTS"),
        target_scanner=OWN_SCANNER,
    )


def rboot_ota_client(env: Any, port: str = "nonos", directory: str | None = None, **overrides: object) -> Any:
    """Compile the update client with its `port`, "nonos" or "emulator". Returns a library, for an RbootApp.

    An application gets what it uses of the library. $RBOOT_UPDATE_KEYS are the files of the public keys whose
    signatures it accepts; with keys it installs no unsigned ROM. $RBOOT_LOWEST_VERSION is the oldest version that it
    installs. Library, objects and the headers rboot-layout.h and rboot-keys.h are put into `directory`, by default into
    the build directory. `env` gets the include paths and the define RBOOT_LAYOUT, with which the application compiles
    against the client. An environment has one client; use a Clone() for another layout or other keys. Raises
    SettingError, VersionError or LayoutError.
    """
    compiling = call_environment(env, overrides)
    if port not in _PORTS:
        raise SettingError(f"unknown port {port!r}: expected {' or '.join(_PORTS)}", subject="RbootOtaClient")
    directories = [_FIRMWARE / part / sub for part in ("ota", "update") for sub in ("", f"port/{port}")]
    sources = [source for each in directories for source in sorted(each.glob("*.c"))]
    ours = [package_file(env, each / "file").dir for each in directories]
    with error_subject("RbootOtaClient"):
        client = _client(compiling)
        node = directory and compiling.Dir(escape_dollars(expand(compiling, "directory", str(directory))))
        flags = "" if node else _compile_flags(compiling, ours)
        header = _header(compiling, node, f"ota-client-{port}", client, flags)
    _attach_header(env, header)
    for each in (env, *([compiling] if compiling is not env else [])):
        each.AppendUnique(CPPPATH=[*ours, header.dir], CPPDEFINES=[_DEFINE])
    suffix = compiling.subst("$OBJSUFFIX")
    library = header.dir.File(_LIBRARY + compiling.subst("$LIBSUFFIX"))
    if not library.has_builder():
        # With explicit targets, as SCons puts an object beside its source, which may be in site-packages.
        objects = [
            build(compiling, "Object", header.dir.File(f"{source.stem}{suffix}"), package_file(compiling, source))
            for source in sources
        ]
        build(compiling, "StaticLibrary", library, objects)
        library.attributes.rboot_client = client
    return [library]


def check_client(name: str, objects: Iterable[Any], layout: FlashLayout) -> None:
    """Raise SettingError if `objects` has a client that was compiled for another layout, or two different ones."""
    clients = {node: client for node in objects if (client := getattr(node.attributes, "rboot_client", None))}
    for node, client in clients.items():
        if client.layout != clientheader.client_header(layout):
            raise SettingError(
                f"{node} was compiled by RbootOtaClient for another layout; use the same RBOOT_LAYOUT for both",
                subject=name,
            )
    if len(set(clients.values())) > 1:
        raise SettingError(
            f"{' and '.join(map(str, clients))} were compiled by RbootOtaClient with different keys; use one of them",
            subject=name,
        )


def _client(env: Any) -> _Client:
    """Raises SettingError, VersionError or LayoutError."""
    layout = get_layout(env)
    keys = _keys_header(_key_files(env))
    header = clientheader.client_header(layout, bool(keys), get_version(env, "RBOOT_LOWEST_VERSION"))
    return _Client(clientheader.client_header(layout), header, keys)


def _key_files(env: Any) -> list[Any]:
    if not is_set(env, "RBOOT_UPDATE_KEYS"):
        return []
    value = env["RBOOT_UPDATE_KEYS"]
    return nodes(env, "RBOOT_UPDATE_KEYS", value.split() if isinstance(value, str) else value)


def _keys_header(files: list[Any]) -> str:
    """The header with the keys, "" without any."""
    if not files:
        return ""
    from ..release import clientkeys  # not for every build

    keys = [_read_key(node) for node in files]
    with error_subject("RBOOT_UPDATE_KEYS"):
        return clientkeys.keys_header(keys)


def _read_key(node: Any) -> PublicKey:
    from ..release.signify import parse_public_key

    with error_subject(node):
        if not node.has_builder() and (source := node.srcnode()).rexists():
            node = source  # SCons copies it to a variant_dir only when it builds
        try:
            return parse_public_key(read_file(node.rfile().get_abspath(), _MAX_KEY_SIZE))
        except OSError as error:
            raise SettingError(f"cannot read the public key: {error.strerror}") from None


def _attach_header(env: Any, header: Any) -> None:
    """Make `header` the client's header of `env`. Raises SettingError if it has one for another layout or other keys.

    All objects of an environment have the same include paths.
    """
    owner, used = env.get("_RBOOT_CLIENT", (None, None))
    if used is not None and used.attributes.rboot_client != header.attributes.rboot_client:
        if owner() is env:
            raise SettingError(
                f"this environment has a client {_difference(used, header)}; use a Clone()", subject="RbootOtaClient"
            )
        # Remove the path of the environment that this is a clone of.
        env["CPPPATH"] = [path for path in env.Flatten(env["CPPPATH"]) if path is not used.dir]
    env["_RBOOT_CLIENT"] = (weakref.ref(env), header)


def _difference(used: Any, header: Any) -> str:
    other = used.attributes.rboot_client.layout != header.attributes.rboot_client.layout
    return "for another layout" if other else "with other keys or another RBOOT_LOWEST_VERSION"


def _compile_flags(env: Any, ours: list[Any]) -> str:
    """The flags with which `env` compiles the client, without those added by an earlier call."""
    used = env.get("_RBOOT_CLIENT", (None, None))[1]
    ours = [*ours, *([used.dir] if used else [])]
    paths = [str(path) for path in env.Flatten([env.get("CPPPATH") or []]) if path not in ours]
    macros = env.subst("$_CPPDEFFLAGS").split()
    words = env.subst("$CC $RBOOT_CCFLAGS $CFLAGS $CCFLAGS $CPPFLAGS").split()
    return " ".join([*words, *(word for word in macros if word != f"-D{_DEFINE}"), *paths])


def _header(env: Any, directory: Any, name: str, client: _Client, flags: str) -> Any:
    """The node of rboot-layout.h for `client`, in `directory` or else in the directory `name` of the build directory.

    The directory gets a number if it has another client, or one with other `flags`.
    """
    for number in itertools.count(1):
        suffix = f"-{number}" if number > 1 else ""
        if directory:
            node = directory.dir.Dir(directory.name + suffix).File(clientheader.NAME)
        else:
            node = generated_file(env, f"{name}{suffix}/{clientheader.NAME}")
        if not node.has_builder():
            headers = [node, node.dir.File(_KEYS_HEADER)] if client.keys else [node]
            build(env, _header_builder(), headers, [], _RBOOT_CLIENT_TEXTS=(client.header, client.keys))
            node.attributes.rboot_client, node.attributes.rboot_flags = client, flags
        if (node.attributes.rboot_client, node.attributes.rboot_flags) == (client, flags):
            return node
    raise AssertionError


def _write_headers(target: Any, source: Any, env: Any) -> None:
    for node, text in zip(target, env["_RBOOT_CLIENT_TEXTS"]):
        write_atomic(Path(node.get_abspath()), text.encode())

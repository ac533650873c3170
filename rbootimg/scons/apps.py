"""The applications of a project, the web roots that they go to, and which of them a target is about."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RbootError, SettingError, error_subject
from ..layout.model import FlashLayout
from ..release.names import check_app_name
from .actions import nodes, one_node
from .proofrequest import ProofRequest
from .variables import expand, text


class Recovery(NamedTuple):
    """A ROM of another application, for the slot `number` of the layout."""

    number: int
    rom: Any


class App(NamedTuple):
    """An application's ROMs, in the order of the slots of `layout`.

    Those that RbootApp built together, of one set of objects, need no proof of being one application. Without a `claim`
    nothing is known of a proof that they boot, or wanted; `may_be_unproved` says that they go out without one too, for
    want of QEMU.
    """

    roms: list[Any]
    layout: FlashLayout
    built_here: bool
    claim: ProofRequest | None
    may_be_unproved: bool
    version: str
    device: str
    with_elfs: bool
    files: dict[str, Any]
    checksum_files: bool
    recovery: Recovery | None
    force: bool
    allow_downgrade: bool


class WebRoot(NamedTuple):
    """A web root, as the user names it first, and applications in it by name.

    `total` is how many of the project's there are, also where a target is about fewer of them.
    """

    path: str
    apps: dict[str, App]
    total: int = 0


def app_name(env: Any, name: object) -> str:
    """The name of an application, which may have folders before it. Raises SettingError if it is invalid."""
    if not isinstance(name, str):
        raise SettingError(f"invalid application name {name!r}: expected a string")
    full = expand(env, "its name", name)
    folders, last = os.path.split(full)
    if "\0" in folders or "\\" in folders:
        raise SettingError(f"invalid application name {full!r}: expected no '\\' or control characters")
    with error_subject(full if folders else None):
        check_app_name(last)
    return full


def web_root_path(env: Any, app: str) -> str:
    """$RBOOT_WEBROOT, as SCons reads a folder; not as its node, which fails with a traceback for a file."""
    with error_subject(app):
        name = text(env, "RBOOT_WEBROOT") or "#build/webroot"
        if "\0" in name:
            raise SettingError(f"RBOOT_WEBROOT is {name!r}, which is no folder's name")
    if name.startswith("#"):
        return os.path.normpath(os.path.join(env.Dir("#").get_abspath(), name[1:].lstrip("/")))
    return os.path.normpath(os.path.join(env.Dir(".").get_abspath(), name))


def recovery_rom(env: Any, app: str, layout: FlashLayout) -> Recovery | None:
    """$RBOOT_RECOVERY, a dictionary from the slot's number to the ROM. Raises SettingError."""
    value = env.get("RBOOT_RECOVERY")
    if not value:
        return None
    if not isinstance(value, Mapping) or len(value) != 1:
        raise SettingError(
            f"RBOOT_RECOVERY is {value!r}; write a dictionary, from the slot's number to its ROM", subject=app
        )
    [(number, rom)] = value.items()
    number = int(number) if isinstance(number, str) and number.isdecimal() else number
    if number not in range(1, len(layout.slots)) or number != len(layout.slots) - 1:
        raise SettingError(
            f"RBOOT_RECOVERY is for slot {number}; a recovery ROM has the last of the layout's "
            f"{len(layout.slots)} slots",
            subject=app,
        )
    return Recovery(number, one_node(env, app, rom))


def provable(recovery: Recovery | None, number: int) -> list[Any]:
    """The recovery ROM, if it is for slot `number`, the next, and it is known what it was packed from."""
    if recovery and recovery.number == number and hasattr(recovery.rom.attributes, "rboot_packing"):
        return [recovery.rom]
    return []


def release_files(env: Any, app: str) -> dict[str, Any]:
    """$RBOOT_RELEASE_FILES, files or a dictionary from the name of each to the file, by name. Raises SettingError."""
    value = env.get("RBOOT_RELEASE_FILES") or []
    if not value:
        return {}
    from ..release import datafiles  # not for every build

    if isinstance(value, str):
        value = value.split()
    if isinstance(value, Mapping):
        found = {name: one_node(env, app, file) for name, file in value.items()}
        names = list(found)
    else:
        files = nodes(env, app, value) if env.Flatten([value]) else []
        names = [file.name for file in files]
        found = dict(zip(names, files))
    with error_subject(f"{app}: RBOOT_RELEASE_FILES"):
        datafiles.check_names(names)
        if len(found) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SettingError(f"{twice} is given twice; write a dictionary with a name for each")
    return found


def chosen(env: Any) -> frozenset[str]:
    """$RBOOT_APPS: the applications that targets are about; none stands for all."""
    return frozenset(text(env, "RBOOT_APPS").replace(",", " ").split())


def web_roots(target: Any, env: Any) -> list[WebRoot]:
    """The web roots and applications that a target is about: all, or those of its name or of $RBOOT_APPS.

    Raises SettingError for an unknown one.
    """
    found: list[WebRoot] = list(target[0].attributes.rboot_web_roots.values())
    only = getattr(target[0].attributes, "rboot_only", None) or chosen(env)
    names = {name for each in found for name in each.apps}
    if unknown := sorted(only - names):
        raise SettingError(
            f"there is no application {', '.join(unknown)}, but {', '.join(sorted(names))}", subject="RBOOT_APPS"
        )
    narrowed = (
        WebRoot(each.path, {name: app for name, app in each.apps.items() if not only or name in only}, len(each.apps))
        for each in found
    )
    return [each for each in narrowed if each.apps]


def place(path: Path | str, env: Any) -> str:
    """`path` as people read it: from the project's top."""
    return os.path.relpath(path, env.Dir("#").get_abspath())


@contextlib.contextmanager
def named(web_root: Path, env: Any) -> Iterator[None]:
    """Let errors name the web root that they are about as place() does."""
    try:
        yield
    except RbootError as error:
        if error.subject in (None, web_root):
            error.subject = place(web_root, env)
        raise

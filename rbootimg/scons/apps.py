"""The applications and web roots of a project, and the selection of them by targets and $RBOOT_APPS."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RbootError, SettingError, error_subject
from ..layout.model import FlashLayout
from ..release.elfarchive import NO_ARCHIVE, archive_directory
from ..release.names import check_app_name
from .actions import nodes, single_node
from .proofrequest import ProofRequest
from .variables import expand, get_string, invalid_value


class Recovery(NamedTuple):
    """A ROM of another application, for the slot `number` of the layout."""

    number: int
    rom: Any


class App(NamedTuple):
    """An application's ROMs, in the order of the slots of `layout`, and how to publish them.

    `built_here`: RbootApp linked them from the same objects, so they need no check for being one application.
    `files` are the nodes of the data files by name, `file_regions` the regions that some of them are for; `notes` is
    the node of the release notes or None.
    `proof_is_optional`: they are published without a proof if there is none, as QEMU is not installed.
    """

    roms: list[Any]
    layout: FlashLayout
    built_here: bool
    proof_request: ProofRequest | None
    proof_is_optional: bool
    version: str
    device: str
    with_elfs: bool
    elf_archive: Path | None
    files: dict[str, Any]
    file_regions: dict[str, str]
    notes: Any
    checksum_files: bool
    recovery: Recovery | None
    force: bool
    allow_downgrade: bool
    in_directory: bool


class WebRoot(NamedTuple):
    """A web root, by the path of its first use, and its applications by name.

    `total` is the number of the project's applications in it, also where `apps` has only the selected ones.
    """

    path: str
    apps: dict[str, App]
    total: int = 0

    @property
    def in_directories(self) -> bool:
        """Whether each application has a directory of its name: if there are several, or one demands it."""
        return self.total > 1 or any(app.in_directory for app in self.apps.values())


def app_name(env: Any, name: object) -> str:
    """Expand the name of an application, which may have directories before it. Raises SettingError if it is invalid."""
    if not isinstance(name, str):
        raise SettingError(f"invalid application name {name!r}: expected a string")
    full = expand(env, "application name", name)
    directories, last = os.path.split(full)
    if "\0" in directories or "\\" in directories:
        raise SettingError(f"invalid application name {full!r}: expected no '\\' or control characters")
    with error_subject(full if directories else None):
        check_app_name(last)
    return full


def web_root_path(env: Any, app: str) -> str:
    """The absolute path of $RBOOT_WEBROOT, read as SCons reads a directory. Raises SettingError.

    Not by SCons's node, which fails with a traceback if there is a file.
    """
    with error_subject(app):
        name = get_string(env, "RBOOT_WEBROOT") or "#build/webroot"
    if "\0" in name:
        raise invalid_value("RBOOT_WEBROOT", name, "a directory")
    if name.startswith("#"):
        return os.path.normpath(os.path.join(env.Dir("#").get_abspath(), name[1:].lstrip("/")))
    return os.path.normpath(os.path.join(env.Dir(".").get_abspath(), name))


def elf_archive_path(env: Any, app: str, web_root: str) -> Path | None:
    """The archive of ELFs of a web root, None for no archive. Raises SettingError if it is in the web root."""
    with error_subject(f"{app}: RBOOT_ELF_ARCHIVE"):
        name = get_string(env, "RBOOT_ELF_ARCHIVE")
        if name.startswith("#"):
            name = os.path.join(env.Dir("#").get_abspath(), name[1:].lstrip("/"))
        elif name not in ("", NO_ARCHIVE):
            name = os.path.join(env.Dir(".").get_abspath(), name)
        return archive_directory(name, Path(web_root))


def recovery_rom(env: Any, app: str, layout: FlashLayout) -> Recovery | None:
    """$RBOOT_RECOVERY, a dictionary from the slot number to the ROM. Raises SettingError."""
    value = env.get("RBOOT_RECOVERY")
    if not value:
        return None
    if not isinstance(value, Mapping) or len(value) != 1:
        raise invalid_value("RBOOT_RECOVERY", value, "a dictionary {SLOT_NUMBER: ROM}")
    [(number, rom)] = value.items()
    number = int(number) if isinstance(number, str) and number.isdecimal() else number
    last = len(layout.slots) - 1
    if last == 0:
        raise SettingError("needs a layout with two slots or more", subject="RBOOT_RECOVERY")
    if number != last:
        raise SettingError(
            f"invalid slot {number!r}: expected {last}, the last one of the layout", subject="RBOOT_RECOVERY"
        )
    return Recovery(number, single_node(env, app, rom))


def recovery_to_prove(recovery: Recovery | None, number: int) -> list[Any]:
    """The recovery ROM, in a list, if it is for slot `number` and its ELF is known; else an empty list."""
    if recovery and recovery.number == number and hasattr(recovery.rom.attributes, "rboot_packing"):
        return [recovery.rom]
    return []


def release_files(env: Any, app: str) -> dict[str, Any]:
    """The nodes of $RBOOT_RELEASE_FILES by the name that devices use. Raises SettingError or PublishError.

    The variable is a list of files or a dictionary from names to files.
    """
    value = env.get("RBOOT_RELEASE_FILES") or []
    if not value:
        return {}
    from ..release import datafiles  # not for every build

    if isinstance(value, str):
        value = value.split()
    if isinstance(value, Mapping):
        files = {name: single_node(env, app, file) for name, file in value.items()}
        names = list(files)
    else:
        listed = nodes(env, app, value) if env.Flatten([value]) else []
        names = [file.name for file in listed]
        files = dict(zip(names, listed))
    with error_subject(f"{app}: RBOOT_RELEASE_FILES"):
        datafiles.check_names(names)
        if len(files) < len(names):
            duplicate = next(name for name in names if names.count(name) > 1)
            raise SettingError(f"two files are called {duplicate}; use a dictionary {{NAME: FILE}}")
    return files


def file_regions(env: Any, files: Mapping[str, Any]) -> dict[str, str]:
    """The regions of those data files that are for one, by the files' names. Raises SettingError.

    A file system of RbootFileSystem has its region; others have that of $RBOOT_FILE_REGIONS.
    """
    value = env.get("RBOOT_FILE_REGIONS") or {}
    if not isinstance(value, Mapping):
        raise invalid_value("RBOOT_FILE_REGIONS", value, "a dictionary {NAME: REGION}")
    systems = {name: getattr(node.attributes, "rboot_file_system", None) for name, node in files.items()}
    return {name: system.region.name for name, system in systems.items() if system} | dict(value)


def selected_apps(env: Any) -> frozenset[str]:
    """The names in $RBOOT_APPS; empty if all applications are selected."""
    return frozenset(get_string(env, "RBOOT_APPS").replace(",", " ").split())


def web_roots(target: Any, env: Any) -> list[WebRoot]:
    """The web roots of a target with its applications: NAME of `publish-NAME`, else $RBOOT_APPS, else all.

    Raises SettingError for an unknown application.
    """
    attributes = target[0].attributes
    all_roots: list[WebRoot] = list(attributes.rboot_web_roots.values())
    selection = getattr(attributes, "rboot_selected", None) or selected_apps(env)
    names = {name for root in all_roots for name in root.apps}
    if unknown := sorted(selection - names):
        raise SettingError(
            f"unknown application {', '.join(map(repr, unknown))}: expected one of {', '.join(sorted(names))}",
            subject="RBOOT_APPS",
        )
    selected = (
        WebRoot(
            root.path,
            {name: app for name, app in root.apps.items() if not selection or name in selection},
            len(root.apps),
        )
        for root in all_roots
    )
    return [root for root in selected if root.apps]


def display_path(path: Path | str, env: Any) -> str:
    """`path` relative to the project's top directory, for messages."""
    return os.path.relpath(path, env.Dir("#").get_abspath())


@contextlib.contextmanager
def web_root_subject(web_root: Path, env: Any) -> Iterator[None]:
    """Make the web root, relative to the top directory, the subject of errors without another one."""
    try:
        yield
    except RbootError as error:
        if error.subject in (None, web_root):
            error.subject = display_path(web_root, env)
        raise

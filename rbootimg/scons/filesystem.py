"""RbootFileSystem: a directory -> a LittleFS image for a region of the layout.

Not imported by a build without one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import SCons.Builder
import SCons.Node.FS

from ..errors import SettingError
from ..fileio import list_tree, write_atomic
from ..flash.littlefs import make_file_system
from ..flash.regions import find_region
from ..layout.model import FlashRegion
from .actions import OWN_SCANNER, action, build, nodes, single_node
from .variables import get_layout, get_number


class FileSystem(NamedTuple):
    """The nodes of a file system's files by path, and the parameters of its image."""

    files: dict[str, Any]
    region: FlashRegion
    block_size: int
    name_max: int


@functools.lru_cache
def _builder() -> Any:
    """The builder that writes a LittleFS image."""
    return SCons.Builder.Builder(
        name="_RbootFileSystem",
        action=action(_write, "$RBOOTFILESYSTEMCOMSTR", "_RBOOT_FILE_SYSTEM_PARAMETERS", about_source=False),
        target_scanner=OWN_SCANNER,
        suffix=".bin",
    )


def file_system(env: Any, target: Any, source: Any, region: str) -> Any:
    """The node of the image that device.rboot_file_system() describes."""
    system = FileSystem(
        _files(env, str(target), source),
        find_region(get_layout(env), region),
        get_number(env, "RBOOT_FS_BLOCK_SIZE"),
        get_number(env, "RBOOT_FS_NAME_MAX"),
    )
    parameters = f"{sorted(system.files)} {system.region.size} {system.block_size} {system.name_max}"
    sources = list(system.files.values())
    image = build(env, _builder(), target, sources, _RBOOT_FILE_SYSTEM_PARAMETERS=parameters)
    directories = [] if isinstance(source, Mapping) else [_directory(env, item) for item in env.Flatten([source])]
    if any(image[0].is_under(directory) for directory in directories if directory):
        raise SettingError("would be a file of its own file system; use another directory", subject=target)
    image[0].attributes.rboot_file_system = system
    return image


def _files(env: Any, subject: str, source: Any) -> dict[str, Any]:
    """The nodes of the files by path. Raises SettingError."""
    if isinstance(source, Mapping):
        return {path: single_node(env, subject, file) for path, file in source.items()}
    found: dict[str, Any] = {}
    for item in env.Flatten([source]):
        directory = _directory(env, item)
        files = _files_in(directory) if directory else {node.name: node for node in nodes(env, subject, item)}
        if not files:
            raise SettingError(f"no files in the directory {directory}", subject=subject)
        for path in files.keys() & found.keys():
            raise SettingError(f"two files are called {path}; use a dictionary {{PATH: FILE}}", subject=subject)
        found |= files
    return found


def _directory(env: Any, item: Any) -> Any:
    """The directory that `item`, a name or node, is; None if it is anything else."""
    if not isinstance(item, (str, SCons.Node.FS.Base)):
        return None
    [entry, *more] = env.arg2nodes(item, env.fs.Entry) or [None]
    entry = entry.disambiguate() if entry and not more else None
    return entry if isinstance(entry, SCons.Node.FS.Dir) else None


def _files_in(directory: Any) -> dict[str, Any]:
    """The nodes of the files in a directory, and of those that SCons makes there."""
    source = directory.srcnode()
    paths = list_tree(source.get_abspath()) if source.exists() else []
    # "./", as SCons takes a name that begins with # for one in the top directory.
    return {path: directory.File(f"./{path}") for path in paths} | _built_files(directory, "")


def _built_files(directory: Any, above: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, node in directory.entries.items():
        if isinstance(node, SCons.Node.FS.Dir):
            found |= {} if name in (".", "..") else _built_files(node, f"{above}{name}/")
        elif node.has_builder():
            found[above + name] = node
    return found


def _write(target: Any, source: Any, env: Any) -> None:
    system = target[0].attributes.rboot_file_system
    files = {path: node.get_contents() for path, node in system.files.items()}
    image = make_file_system(files, system.region.size, system.block_size, system.name_max)
    write_atomic(Path(target[0].get_abspath()), image)

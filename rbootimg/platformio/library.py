"""The update client as a library of PlatformIO, and the headers that it and the application are compiled with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import LayoutError
from ..fileio import write_atomic
from ..flash import clientheader
from ..layout.model import FlashLayout
from ..layout.sdk_partitions import sdk_partitions
from ..release import version
from ..scons.variables import get_layout, version_of
from ..scons.versionheader import NAME as VERSION_HEADER
from .options import read_variables
from .project import configuring

FIRMWARE = Path(__file__).parents[1] / "firmware"
_PARTITIONS = "rboot-partitions.h"
_SDK_3 = "system_partition_table_regist"
"""A function that SDK 3 declares in user_interface.h: with it an application must register a partition table."""


def add_library(env: Any) -> None:
    """Let PlatformIO's dependency finder find the library, which is compiled if a source includes a header of it."""
    env.Append(LIBSOURCE_DIRS=[str(FIRMWARE)])


def configure(env: Any, project_env: Any) -> None:
    """Compile the library, with `env`, and the project's sources, with `project_env`, for the layout and the version.

    Both get the include path of rboot-layout.h and rboot-version.h, and RBOOT_LAYOUT, with which the library includes
    the first. With SDK 3 they also get rboot-partitions.h and SDK_PARTITIONS.
    """
    with configuring(env):
        described = env.Override(read_variables(env))
        layout = get_layout(described)
        headers = {
            clientheader.NAME: clientheader.client_header(layout),
            VERSION_HEADER: version.header(version_of(described)),
        }
    partitions = _partitions(env, layout)
    if partitions:
        headers[_PARTITIONS] = partitions
    directory = Path(env.subst("$BUILD_DIR"), "rboot", "include")
    for name, text in headers.items():
        _write_if_changed(directory / name, text.encode())
    macros = ["RBOOT_LAYOUT", *(["SDK_PARTITIONS"] if partitions else [])]
    for each in (env, project_env):
        each.AppendUnique(CPPPATH=[str(directory)], CPPDEFINES=macros)


def _partitions(env: Any, layout: FlashLayout) -> str | None:
    """The header with the partition table of the layout, None without SDK 3 or if SDK 3 does not accept the layout."""
    headers = (Path(env.subst(str(path)), "user_interface.h") for path in env.Flatten(env.get("CPPPATH", [])))
    if not any(_SDK_3 in header.read_text(errors="replace") for header in headers if header.exists()):
        return None
    try:
        return sdk_partitions(layout)
    except LayoutError:
        return None


def _write_if_changed(file: Path, data: bytes) -> None:
    if not file.exists() or file.read_bytes() != data:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)

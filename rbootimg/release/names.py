"""The names in a web root: of applications, and of the files of a release."""

from __future__ import annotations

import re

from ..errors import SettingError
from ..text import quote
from ..webnames import STATUS_PAGE

RELEASES = "releases"
"""The directory of all releases, in that of their application."""
MANIFEST = "manifest.json"
VERSION = "version"
"""Contains the version and a newline, for devices that do not parse JSON."""
RECOVERY = "recovery.bin"
"""The recovery ROM. Not rom2.bin, which devices would take for the application's ROM for slot 2."""
NOTES = "notes.md"
"""The release notes, in Markdown."""
PAGE, STYLE = "index.html", "style.css"

_RESERVED = frozenset((RELEASES, PAGE, STYLE, STATUS_PAGE))
"""The web root has these next to the applications' directories."""

_MAX_LENGTH = 100
# Control characters and lone surrogates cannot be in a URL; SCons reads '#' as the project's top directory.
_APP_NAME = re.compile(rf"[^./\\#\s\x00-\x1f\ud800-\udfff][^/\\\x00-\x1f\ud800-\udfff]{{0,{_MAX_LENGTH - 1}}}")


def check_app_name(name: str) -> str:
    """Return `name` if an application can have it: it becomes a directory of the web root. Raises SettingError."""
    if name in _RESERVED:
        raise SettingError(f"invalid application name {name!r}: reserved for a file or directory of the web root")
    if not _APP_NAME.fullmatch(name):
        raise SettingError(
            f"invalid application name {quote(name, _MAX_LENGTH)}: expected up to {_MAX_LENGTH} characters, none "
            "of them '/', '\\' or a control character, and not '.', '#' or a space first"
        )
    return name


def rom_name(slot: int) -> str:
    """Return the file name of a ROM: rBoot's OTA samples request rom0.bin or rom1.bin."""
    return f"rom{slot}.bin"


def elf_name(slot: int) -> str:
    """Return the file name of the ELF that a ROM was packed from."""
    return f"rom{slot}.elf"


def checksum_name(name: str) -> str:
    """Return the name of the checksum file of the ROM `name`."""
    return f"{name}.sha256"


def checksum_line(name: str, sha256: str) -> bytes:
    """Return the content of the checksum file of the ROM `name`, for `sha256sum -c`; `sha256` is in hex digits."""
    return f"{sha256}  {name}\n".encode(errors="replace")

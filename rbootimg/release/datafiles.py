"""The data files of a release, such as a web UI or certificates: which names and sizes they may have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import PublishError
from ..layout.params import FLASH_SIZES
from ..text import quote
from .names import NOTES

MAX_SIZE = max(size.bytes for size in FLASH_SIZES.values())
"""Bytes of the largest data file: no device has a larger flash, and `check --url` fetches no more."""

# Safe in a URL, a shell and any file system, and not hidden by web servers.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")

# Other files of a release, also of a later rbootimg: `update` and the deltas.
_RESERVED = re.compile(
    r"rom[0-9]+\.(bin|elf)|rom[0-9]+-from-.*\.delta|recovery\.(bin|elf)|.*\.sha256"
    r"|manifest\.json|version|update|index\.html|style\.css"
)


def check_names(names: Iterable[str]) -> None:
    """Raise PublishError unless the data files of a new release can have all these `names`."""
    names = [*names]
    check_stored_names(names)
    for name in names:
        if is_notes(name):
            raise _reserved(name)


def is_notes(name: str) -> bool:
    """Whether `name` is that of the release notes, in any case. Older releases may have a data file with this name."""
    return name.lower() == NOTES


def check_stored_names(names: Iterable[str]) -> None:
    """Raise PublishError unless the data files of a release of this or an earlier rbootimg can have these `names`."""
    known: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise PublishError(
                f"invalid data file name {quote(name, 100)}: expected up to 100 letters, digits, '.', '_' or '-', "
                "and a letter, a digit or '_' first"
            )
        if _RESERVED.fullmatch(name.lower()):
            raise _reserved(name)
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise PublishError(f"data file names {other!r} and {name!r} differ only in case")


def _reserved(name: str) -> PublishError:
    return PublishError(f"invalid data file name {name!r}: reserved for another file of a release")


def check(files: Mapping[str, bytes]) -> None:
    """Raise PublishError unless a release can contain `files`, the contents by name."""
    check_names(files)
    for name, data in files.items():
        if not data:
            raise PublishError(f"data file {name!r} is empty: devices cannot tell it from a failed reply")
        if len(data) > MAX_SIZE:
            raise PublishError(
                f"data file {name!r} is too large: expected at most {MAX_SIZE:,} bytes (the largest flash), "
                f"got {len(data):,}"
            )

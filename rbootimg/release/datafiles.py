"""Data files that a release carries along, such as a web UI or certificates: what they may be called and contain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import PublishError
from ..layout.params import FLASH_SIZES
from ..text import quote

MAX_SIZE = max(size.bytes for size in FLASH_SIZES.values())
"""Bytes: no device has a larger flash, and `check --url` fetches no more."""

# Safe in a URL, a shell and any file system; no name that web servers hide.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")

# What a release has in its folder, or may have in a later rbootimg: `update` and the deltas.
_RESERVED = re.compile(
    r"rom[0-9]+\.(bin|elf)|rom[0-9]+-from-.*\.delta|recovery\.(bin|elf)|.*\.sha256"
    r"|manifest\.json|version|update|index\.html|style\.css"
)


def check_names(names: Iterable[str]) -> None:
    """Raise PublishError unless a release can carry files with all these `names`."""
    known: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name):
            raise PublishError(
                f"a release cannot carry a file called {quote(name, 100)}: expected up to 100 letters, digits, '.', "
                "'_' or '-', beginning with a letter, a digit or '_'"
            )
        if _RESERVED.fullmatch(name.lower()):
            raise PublishError(f"a release cannot carry a file called {name!r}: the name is reserved; choose another")
        other = known.setdefault(name.lower(), name)
        if other != name:
            raise PublishError(f"a release cannot carry both {other!r} and {name!r}: they differ only in case")


def check(files: Mapping[str, bytes]) -> None:
    """Raise PublishError unless a release can carry `files`, the contents by name."""
    check_names(files)
    for name, data in files.items():
        if not data:
            raise PublishError(f"a release cannot carry {name!r}: it is empty, which devices take for a failed reply")
        if len(data) > MAX_SIZE:
            raise PublishError(
                f"a release cannot carry {name!r}: it has {len(data):,} bytes, more than the largest flash "
                f"({MAX_SIZE:,})"
            )

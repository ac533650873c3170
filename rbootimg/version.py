"""A release's version: semantic versioning 2.0.0, in one exact form, by default that of the git checkout."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import semver

from .errors import NoVersionError, VersionError, Way

_LONGEST = 100
"""A version becomes a folder's name."""

_DESCRIBE = ("git", "describe", "--tags", "--long", "--dirty", "--abbrev=10")
_NOTHING = (
    "not a git repository",
    "No names found",
    "No tags can describe",
    "Not a valid object name HEAD",
    "Needed a single revision",
    "bad revision 'HEAD'",
)
"""What git says where there is no checkout, no tag that matches, or no commit."""
_MATCHES = ("--match=v[0-9]*.[0-9]*.[0-9]*", "--match=[0-9]*.[0-9]*.[0-9]*")


def parse(text: str) -> semver.Version:
    """The version that `text` is, for comparing; `str()` of it is `text` again.

    Raises VersionError for anything that is not MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH-PRERELEASE. Build metadata
    (`+…`) is refused: versions that differ in it only are equally new, and servers disagree on a plus in a path.
    """
    try:
        version = semver.Version.parse(text)
    except (ValueError, TypeError):
        raise VersionError(f"{text!r} is no semantic version; write one such as 1.2.0 or 1.2.0-rc.1") from None
    if version.build is not None:
        raise VersionError(
            f"{text!r} has build metadata, which makes no version newer; write {str(version).partition('+')[0]}, "
            "or what is behind the plus as a prerelease"
        )
    if len(text) > _LONGEST:
        raise VersionError(f"the version {text[:20]}… has {len(text)} characters; write at most {_LONGEST}")
    return version


def from_describe(text: str) -> str:
    """The version for what `git describe --long --dirty` printed: `v1.2.0-0-g…` is 1.2.0.

    Commits behind a tag come after its version and before the next one, whatever that is called: `v1.2.0-5-gabc` is
    1.2.1-0.dev.5.gabc, which is older than 1.2.1-alpha, and `v1.2.0-rc.1-5-gabc` is 1.2.0-rc.1.0.dev.5.gabc. Changes
    that are not committed add `.dirty`; files that git does not know do not. Raises NoVersionError.
    """
    match = re.fullmatch(r"v?(.+)-([0-9]+)-(g[0-9a-f]+)(-dirty)?", text.strip())
    if not match:
        text = text.strip()
        raise NoVersionError(f"git describes the checkout as {text!r}, which is no version; tag it v1.2.0", Way.VERSION)
    try:
        tagged = parse(match[1])
    except VersionError as error:
        raise NoVersionError(f"the nearest tag is no version: {error}", Way.VERSION) from None
    if match[2] == "0" and not match[4]:
        return str(tagged)
    behind = f"0.dev.{match[2]}.{match[3]}{'.dirty' if match[4] else ''}"
    if tagged.prerelease:
        return str(parse(f"{tagged}.{behind}"))
    return str(parse(f"{tagged.bump_patch()}-{behind}"))


def from_git(folder: Path) -> str:
    """The version of the git checkout that `folder` is in.

    Raises NoVersionError if it is none or has no version tag, VersionError if git cannot tell.
    """
    try:
        done = subprocess.run(
            [*_DESCRIBE, *_MATCHES],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise NoVersionError(f"there is no version: git does not start ({error.strerror})", Way.VERSION) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["git describe failed"])[0]
        if any(words in reason for words in _NOTHING):
            raise NoVersionError(f"there is no version: git says {reason!r}; tag a commit v1.2.0", Way.VERSION)
        raise VersionError(f"git cannot tell the version: it says {reason!r}; mend that", Way.VERSION)
    return from_describe(done.stdout)


def source_date(environment: Mapping[str, str]) -> str | None:
    """The date in SOURCE_DATE_EPOCH (reproducible-builds.org), which is in seconds, by UTC: `2026-11-23`.

    None if that is not set. Raises VersionError if it is no time.
    """
    text = environment.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise VersionError(f"SOURCE_DATE_EPOCH is {text!r}, which is no time in seconds") from None

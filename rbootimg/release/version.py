"""A release's version: semantic versioning 2.0.0, in one exact form, by default that of the git checkout."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckoutError, Hint, SettingError, VersionError
from ..text import shorten

if TYPE_CHECKING:
    import semver

_LONGEST = 100
"""A version becomes a folder's name."""

_DESCRIBE = ("git", "describe", "--tags", "--long", "--dirty", "--abbrev=10")
_MATCHES = ("--match=v[0-9]*.[0-9]*.[0-9]*", "--match=[0-9]*.[0-9]*.[0-9]*")
# What it says where there is no checkout or no tag; all else is a failure (git 2.39, setup.c and builtin/describe.c).
_NO_CHECKOUT = r"(?m)^fatal: not a git repository \(or any.*"
_NO_TAG = r"(?m)^fatal: (?:No names found|No tags can describe).*"


def parse(text: str) -> semver.Version:
    """The version that `text` is, for comparing; `str()` of it is `text` again.

    Raises VersionError for anything that is not MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH-PRERELEASE. Build metadata
    (`+…`) is refused: versions that differ in it only are equally new, and servers disagree on a plus in a path.
    """
    import semver  # not for every build

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
        raise VersionError(f"the version {shorten(text, 20)} has {len(text)} characters; write at most {_LONGEST}")
    return version


def given(text: str) -> str:
    """The version that a person wrote, `1.2.0` also for `v1.2.0`, as tags have it. Raises VersionError."""
    return str(parse(text[1:] if re.match("v[0-9]", text) else text))


UNKNOWN = "0.0.0-unknown"
"""The version of an application that has none: older than each that has one."""


def header(text: str) -> str:
    """The C header that tells an application its version, UNKNOWN for "". Raises VersionError."""
    version = parse(text or UNKNOWN)
    return f"""\
/* The version that the release will have. Written by rbootimg. */
#ifndef RBOOT_VERSION_H
#define RBOOT_VERSION_H

#define RBOOT_VERSION "{version}"
#define RBOOT_VERSION_MAJOR {version.major}
#define RBOOT_VERSION_MINOR {version.minor}
#define RBOOT_VERSION_PATCH {version.patch}

#endif
"""


def is_newer(found: str, release: str) -> bool:
    """Whether a device that runs `release` takes `found` for newer; nothing that is not a version is.

    As the update client compares, which knows build metadata and ignores them. Raises VersionError for `release`.
    """
    import semver

    try:
        return semver.Version.parse(found) > parse(release)
    except (ValueError, TypeError):
        return False


def from_describe(text: str) -> str:
    """The version for what `git describe --long --dirty` printed: `v1.2.0-0-g…` is 1.2.0.

    Commits behind a tag come after its version and before any that may be tagged next, also 1.2.1-beta.1 and rc.1.1,
    for nothing sorts below a 0: `v1.2.0-5-gabc` is 1.2.1-0.dev.5.gabc, `v1.2.0-rc.1-5-gabc` is
    1.2.0-rc.1.0.dev.5.gabc. Changes that are not committed add `.dirty`; for git, untracked files are none.
    Raises VersionError.
    """
    match = re.fullmatch(r"v?(.+)-([0-9]+)-(g[0-9a-f]+)(-dirty)?", text.strip())
    if not match:
        text = text.strip()
        raise VersionError(
            f"git describes the checkout as {text!r}, which is no version; tag it v1.2.0", hint=Hint.VERSION
        )
    try:
        tagged = parse(match[1])
    except VersionError as error:
        raise VersionError(f"the nearest tag is no version: {error}", hint=Hint.VERSION) from None
    if match[2] == "0" and not match[4]:
        return str(tagged)
    behind = f"0.dev.{match[2]}.{match[3]}{'.dirty' if match[4] else ''}"
    if tagged.prerelease:
        return str(parse(f"{tagged}.{behind}"))
    return str(parse(f"{tagged.bump_patch()}-{behind}"))


def from_git(folder: Path) -> str:
    """The version of the git checkout that `folder` is in.

    Raises VersionError if it is none, or has no tags; CheckoutError if it may have a version that git cannot tell: git
    fails or is not there, the history is cut off, or its tags are no versions.
    """
    try:
        done = _git(folder, *_DESCRIBE, *_MATCHES)
    except OSError as error:
        kind = CheckoutError if is_checkout(folder) else VersionError
        raise kind(f"there is no version: git does not start ({error.strerror})", hint=Hint.VERSION) from None
    if not done.returncode:
        try:
            return from_describe(done.stdout)
        except VersionError as error:
            raise CheckoutError(error.message, hint=error.hint) from None
    if untagged := re.search(_NO_TAG, done.stderr):
        raise _no_version_tag(folder, untagged[0])
    # git takes what is no sound .git, or is not readable, for none.
    damaged = os.path.lexists(folder / ".git")
    if not damaged and (reason := re.search(_NO_CHECKOUT, done.stderr)):
        raise VersionError(f"there is no version: git says {reason[0]!r}; tag a commit v1.2.0", hint=Hint.VERSION)
    words = " ".join(done.stderr.split()) or f"git describe ended with status {done.returncode}"
    raise CheckoutError(f"git cannot read the checkout: {words!r}; put that right", hint=Hint.VERSION)


def is_checkout(folder: Path) -> bool:
    """Whether git would look for a checkout here; no more than a look, for those who have no use for the reason."""
    return "GIT_DIR" in os.environ or any(os.path.lexists(each / ".git") for each in (folder, *folder.parents))


def _no_version_tag(folder: Path, reason: str) -> VersionError:
    """Why git finds no version tag: whether there may be one that it does not see."""
    if _git(folder, "git", "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return CheckoutError(
            "the version is not known: this is a shallow clone, which has not all tags; fetch them with "
            "`git fetch --unshallow --tags`",
            hint=Hint.VERSION,
        )
    tags = _git(folder, "git", "tag", "--list").stdout.split()
    if tags:
        names = ", ".join(tags[:3]) + (", …" if len(tags) > 3 else "")
        return CheckoutError(
            f"the version is not known: none of the tags ({names}) is a version of this commit or of one before it; "
            "tag a commit v1.2.0",
            hint=Hint.VERSION,
        )
    if "--no-tags" in _git(folder, "git", "config", "--get-regexp", r"^remote\..*\.tagopt$").stdout:
        return CheckoutError(
            "the version is not known: this clone was made without tags; fetch them with `git fetch --tags`",
            hint=Hint.VERSION,
        )
    return VersionError(f"there is no version: git says {reason!r}; tag a commit v1.2.0", hint=Hint.VERSION)


def _git(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Raises OSError if there is no git."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def source_date(environment: Mapping[str, str]) -> str | None:
    """The date in SOURCE_DATE_EPOCH (reproducible-builds.org), which is in seconds, by UTC: `2026-11-23`.

    None if that is not set. Raises SettingError if it is no time.
    """
    text = environment.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        raise SettingError(
            f"{text!r} is no time in seconds; set it as `date +%s` prints it, or not at all",
            subject="SOURCE_DATE_EPOCH",
        ) from None

"""Versions of releases: semantic versioning 2.0.0 without build metadata; version, date and notes of a checkout."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckoutError, Hint, SettingError, VersionError
from ..text import quote

if TYPE_CHECKING:
    import semver

_MAX_LENGTH = 100
"""A version becomes the name of a directory."""

_DESCRIBE = ("git", "describe", "--tags", "--long", "--dirty", "--abbrev=10")
_MATCHES = ("--match=v[0-9]*.[0-9]*.[0-9]*", "--match=[0-9]*.[0-9]*.[0-9]*")
# git's messages without a checkout or tag; any other is a failure (git 2.39, setup.c and builtin/describe.c).
_NO_CHECKOUT = re.compile(r"^fatal: not a git repository \(or any.*", re.MULTILINE)
_NO_TAG = re.compile(r"^fatal: (?:No names found|No tags can describe).*", re.MULTILINE)


def parse(text: str) -> semver.Version:
    """Parse a version, to compare it; `str()` of the result is `text` again.

    Raises VersionError unless it is MAJOR.MINOR.PATCH or MAJOR.MINOR.PATCH-PRERELEASE. Build metadata (`+…`) is
    refused: versions that differ only in it are equally new, and servers disagree on a plus in a path.
    """
    import semver  # not for every build

    try:
        version = semver.Version.parse(text)
    except (ValueError, TypeError):
        raise VersionError(
            f"invalid version {quote(text, _MAX_LENGTH)}: expected semver, e.g. 1.2.0 or 1.2.0-rc.1"
        ) from None
    if version.build is not None:
        raise VersionError(
            f"invalid version {quote(text, _MAX_LENGTH)}: build metadata is not supported; use "
            + quote(str(version).partition("+")[0], _MAX_LENGTH)
        )
    if len(text) > _MAX_LENGTH:
        raise VersionError(
            f"invalid version {quote(text, _MAX_LENGTH)}: expected at most {_MAX_LENGTH} characters, got {len(text)}"
        )
    return version


def normalize(text: str) -> str:
    """Return the version 1.2.0 for `1.2.0` or `v1.2.0`, as tags are written. Raises VersionError."""
    return str(parse(text[1:] if re.match("v[0-9]", text) else text))


UNKNOWN = "0.0.0-unknown"
"""The version of an application without one: older than any other."""


def header(text: str) -> str:
    """Return the C header with an application's version, UNKNOWN for "". Raises VersionError."""
    version = parse(text or UNKNOWN)
    return f"""\
/* Version of the release. Written by rbootimg. */
#ifndef RBOOT_VERSION_H
#define RBOOT_VERSION_H

#define RBOOT_VERSION "{version}"
#define RBOOT_VERSION_MAJOR {version.major}
#define RBOOT_VERSION_MINOR {version.minor}
#define RBOOT_VERSION_PATCH {version.patch}

#endif
"""


def is_newer(found: str, release: str) -> bool:
    """Whether a device that runs `release` considers `found` newer; False if `found` is not a version.

    Compares as the update client does, which ignores build metadata. Raises VersionError for an invalid `release`.
    """
    import semver

    try:
        return semver.Version.parse(found) > parse(release)
    except (ValueError, TypeError):
        return False


def from_describe(text: str) -> str:
    """Return the version for an output of `git describe --long --dirty`: 1.2.0 for `v1.2.0-0-g…`.

    Commits after a tag get a version between that of the tag and any that may be tagged next, such as 1.2.1-beta.1:
    nothing sorts below a 0. `v1.2.0-5-gabc` becomes 1.2.1-0.dev.5.gabc, `v1.2.0-rc.1-5-gabc` becomes
    1.2.0-rc.1.0.dev.5.gabc. Uncommitted changes of tracked files add `.dirty`. Raises VersionError.
    """
    match = re.fullmatch(r"v?(.+)-([0-9]+)-(g[0-9a-f]+)(-dirty)?", text.strip())
    if not match:
        text = text.strip()
        raise VersionError(
            f"cannot get a version from the output of git describe: expected a tag such as v1.2.0, got {text!r}",
            hint=Hint.VERSION,
        )
    try:
        tagged = parse(match[1])
    except VersionError as error:
        raise VersionError(f"cannot get a version from the nearest tag: {error}", hint=Hint.VERSION) from None
    if match[2] == "0" and not match[4]:
        return str(tagged)
    suffix = f"0.dev.{match[2]}.{match[3]}{'.dirty' if match[4] else ''}"
    if tagged.prerelease:
        return str(parse(f"{tagged}.{suffix}"))
    return str(parse(f"{tagged.bump_patch()}-{suffix}"))


def from_git(directory: Path) -> str:
    """Return the version of the git checkout that contains `directory`.

    Raises VersionError if there is no checkout, or one without tags; CheckoutError if it may have a version that git
    cannot find: git fails or is not installed, the clone is shallow, or no tag is a version.
    """
    try:
        done = _git(directory, *_DESCRIBE, *_MATCHES)
    except OSError as error:
        kind = CheckoutError if is_checkout(directory) else VersionError
        raise kind(f"no version: cannot run git ({error.strerror})", hint=Hint.VERSION) from None
    if not done.returncode:
        try:
            return from_describe(done.stdout)
        except VersionError as error:
            raise CheckoutError(error.message, hint=error.hint) from None
    if untagged := re.search(_NO_TAG, done.stderr):
        raise _no_version_tag(directory, untagged[0])
    # git ignores a .git that is invalid or not readable.
    has_git = os.path.lexists(directory / ".git")
    if not has_git and (reason := _NO_CHECKOUT.search(done.stderr)):
        raise VersionError(f"no version: git reports {reason[0]!r}", hint=Hint.VERSION)
    output = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
    raise CheckoutError(f"git describe failed: {output!r}", hint=Hint.VERSION)


def is_checkout(directory: Path) -> bool:
    """Whether there seems to be a git checkout, without running git."""
    return "GIT_DIR" in os.environ or any(os.path.lexists(each / ".git") for each in (directory, *directory.parents))


def _no_version_tag(directory: Path, reason: str) -> VersionError:
    """Return the error for a checkout without a version tag: CheckoutError if there may be one that git cannot see."""
    if _git(directory, "git", "rev-parse", "--is-shallow-repository").stdout.strip() == "true":
        return CheckoutError(
            "unknown version: a shallow clone does not have all tags; run `git fetch --unshallow --tags`"
        )
    tags = _git(directory, "git", "tag", "--list").stdout.split()
    if tags:
        names = ", ".join(tags[:3]) + (", …" if len(tags) > 3 else "")
        return CheckoutError(
            f"unknown version: none of the tags ({names}) is a version of this commit or an earlier one: expected one "
            "such as v1.2.0",
            hint=Hint.VERSION,
        )
    if "--no-tags" in _git(directory, "git", "config", "--get-regexp", r"^remote\..*\.tagopt$").stdout:
        return CheckoutError("unknown version: this clone was made without tags; run `git fetch --tags`")
    return VersionError(f"no version: expected a tag such as v1.2.0, but git reports {reason!r}", hint=Hint.VERSION)


def _git(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Raises OSError if there is no git."""
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def release_date(environment: Mapping[str, str], directory: Path) -> str | None:
    """Return the UTC date of SOURCE_DATE_EPOCH, else of the checked-out commit, in the form `2026-11-23`.

    None if the variable is not set and `directory` is not in a checkout that git can read. The commit's committer date
    is in seconds. Raises SettingError if the variable is invalid.
    """
    if date := source_date(environment):
        return date
    return _utc_date(_checkout_output(directory, "git", "log", "-1", "--no-show-signature", "--format=%ct"))


def source_date(environment: Mapping[str, str]) -> str | None:
    """Return the UTC date of SOURCE_DATE_EPOCH (reproducible-builds.org), which is in seconds, as `2026-11-23`.

    None if the variable is not set. Raises SettingError if it is invalid.
    """
    text = environment.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    date = _utc_date(text)
    if date is None:
        raise SettingError(
            f"invalid time {quote(text)}: expected seconds since 1970, as `date +%s` prints them",
            subject="SOURCE_DATE_EPOCH",
        )
    return date


_MAX_TIME = 253_402_300_799
"""The last second of the year 9999."""


def _utc_date(seconds: str) -> str | None:
    """Return the date of a Unix time; None for an invalid one, or one after the year 9999."""
    if not re.fullmatch("[0-9]{1,12}", seconds) or int(seconds) > _MAX_TIME:
        return None
    return datetime.fromtimestamp(int(seconds), timezone.utc).date().isoformat()


def tag_notes(directory: Path, release_version: str) -> bytes | None:
    """Return the message of the checked-out commit's annotated tag for `release_version`, as release notes.

    Without a signature, and without a first line that only says the version. None if there is no such tag or message.
    """
    tags = (f"refs/tags/{prefix}{release_version}" for prefix in ("v", ""))
    # Not contents:subject, which joins the lines of the first paragraph.
    fields = "%(objecttype)%00%(contents)%00%(contents:signature)%00"
    text = _checkout_output(
        directory, "git", "for-each-ref", "--points-at=HEAD", "--count=1", f"--format={fields}", *tags
    )
    kind, contents, signature, _ = (*text.split("\0"), "", "", "", "")[:4]
    if kind != "tag":
        return None
    message = contents.removesuffix(signature).strip("\ufeff \t\r\n")
    first, _, rest = message.partition("\n")
    if re.fullmatch(rf"(release |version )?v?{re.escape(release_version)}[.:]?", first.strip(), re.IGNORECASE):
        message = rest.strip()
    return f"{message}\n".encode() if message else None


def _checkout_output(directory: Path, *command: str) -> str:
    """Return what git prints, empty if it fails or `directory` is in no checkout."""
    if not is_checkout(directory):
        return ""
    try:
        done = _git(directory, *command)
    except OSError:
        return ""
    return done.stdout.strip() if not done.returncode else ""

"""Responses to HTTP requests: a file of the web root, a range of it, or an error page. No sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timezone
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from ..templates import render

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_NO_SUCH_FILE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)
_RANGE = re.compile(r"(?i:bytes)=([0-9]{0,18})-([0-9]{0,18})")
_REVALIDATE = ("Cache-Control", "no-cache")


@dataclass(frozen=True)
class FilePart:
    """Bytes of an open file from `start` on; the receiver closes `descriptor`."""

    descriptor: int
    start: int


@dataclass(frozen=True)
class Answer:
    """A response. `size` is its Content-Length, which `headers` lack; the body has `size` bytes or none."""

    status: int
    headers: tuple[tuple[str, str], ...]
    size: int
    body: bytes | FilePart


def page(status: int, headers: tuple[tuple[str, str], ...] = (), shown_status: int | None = None) -> Answer:
    """Create an error page for a status. `shown_status` is the one in the text, if it is another."""
    shown = HTTPStatus(shown_status or status)
    body = render("answer.html", title=f"{shown.value} {shown.phrase}").encode()
    return Answer(status, (("Content-Type", _TYPES[".html"]), _REVALIDATE, *headers), len(body), body)


def split_target(target: str) -> tuple[str, str]:
    """Split a request's target into the path relative to the web root and the query. Raises ValueError if invalid.

    `target` is ASCII. Percent-encoding is decoded once, before the check for `..`.
    """
    if not target.startswith("/"):
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError(target)
        target = f"{parts.path or '/'}?{parts.query}"
    quoted, _, query = target.partition("?")
    path = unquote_to_bytes(quoted)
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if b"\0" in path or b".." in names:
        raise ValueError(target)
    directory = b"/" if names and path.endswith((b"/", b"/.")) else b""
    return os.fsdecode(b"/".join(names) + directory), query


def location(path: str) -> str:
    """Create the request target of `path`: the inverse of split_target()."""
    return f"/{quote_from_bytes(os.fsencode(path))}"


def answer(web_root: Path, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    """Answer a GET or HEAD of `path`, as split_target() returns it. The names of `headers` are in lower case.

    Links inside the web root are followed, links out of it are not; names that start with a dot are hidden.
    """
    if any(name.startswith(".") for name in path.split("/")):
        return page(404)
    try:
        descriptor = _open_inside(web_root, path)
        try:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                if path and not path.endswith("/"):
                    return page(301, (("Location", f"{location(path)}/"),))
                index = _open_inside(web_root, f"{path}index.html")
                os.close(descriptor)
                descriptor, path = index, "index.html"
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or path.endswith("/"):
                return page(404)
            found = _file(descriptor, info, path, method, headers)
            if isinstance(found.body, FilePart):
                descriptor = -1
            return found
        finally:
            if descriptor >= 0:
                os.close(descriptor)
    except PermissionError:
        return page(403)
    except OSError as error:
        return page(404 if error.errno in _NO_SUCH_FILE else 500)


def is_served(web_root: Path, path: str) -> bool:
    """Return whether a request for `path` finds something, be it a directory or unreadable."""
    try:
        if split_target(location(path)) != (path, ""):
            return False
    except ValueError:
        return False
    return answer(web_root, "HEAD", path, {}).status != 404


def served_paths(web_root: Path) -> Iterator[str]:
    """List the paths that is_served() finds. A directory is listed if it has a page; its path ends with a slash.

    A link to a parent directory is not followed.
    """
    directories: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(web_root),))]
    while directories:
        directory, above = directories.pop()
        names: list[str] = []
        with contextlib.suppress(OSError):  # unreadable
            names = sorted(os.listdir(os.path.join(web_root, directory)))
        for name in names:
            path = f"{directory}{name}"
            full_path = os.path.join(web_root, path)
            is_directory = os.path.isdir(full_path)
            if is_served(web_root, f"{path}/" if is_directory else path):
                yield f"{path}/" if is_directory else path
            if is_directory and is_served(web_root, path) and (real := os.path.realpath(full_path)) not in above:
                directories.append((f"{path}/", (*above, real)))


def _open_inside(web_root: Path, path: str) -> int:
    top = os.path.realpath(web_root)
    real = os.path.realpath(os.path.join(top, path))
    if os.path.commonpath((top, real)) != top:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    descriptor = os.open(top, os.O_RDONLY)
    # One name at a time without following links: a link may have been created since realpath().
    for name in os.path.relpath(real, top).split("/"):
        try:
            step = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = step
    return descriptor


def _file(descriptor: int, info: os.stat_result, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    """Answer a request for an open file. The body is a FilePart unless no byte of the file is sent."""
    modified = formatdate(info.st_mtime, usegmt=True)
    tag = f'"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}"'
    common: tuple[tuple[str, str], ...] = (
        ("Content-Type", _TYPES.get(os.path.splitext(path)[1].lower(), "application/octet-stream")),
        ("Last-Modified", modified),
        ("ETag", tag),
        ("Accept-Ranges", "bytes"),
        _REVALIDATE,
    )
    if _precondition_fails(headers, tag, int(info.st_mtime)):
        return page(412)
    if _is_unmodified(headers, tag, int(info.st_mtime)):
        return Answer(304, common, info.st_size, b"")
    if method == "HEAD":
        return Answer(200, common, info.st_size, b"")
    if headers.get("if-range", tag) not in (tag, modified):
        return Answer(200, common, info.st_size, FilePart(descriptor, 0))
    status, start, end = _range(headers.get("range", ""), info.st_size)
    if status == 416:
        return page(416, (("Content-Range", f"bytes */{info.st_size}"),))
    if status == 206:
        common = (*common, ("Content-Range", f"bytes {start}-{end - 1}/{info.st_size}"))
    return Answer(status, common, end - start, FilePart(descriptor, start))


def _precondition_fails(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Return whether the file is not the one that the client has a part of.

    RFC 9110, 13.2.2: a date counts only without a tag; an invalid date is ignored.
    """
    tags = headers.get("if-match")
    if tags is not None:
        return tags.strip() != "*" and tag not in (entry.strip() for entry in tags.split(","))
    date = _time(headers.get("if-unmodified-since", ""))
    return date is not None and modified > date


def _is_unmodified(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Return whether the client has the current file; by the same rule."""
    tags = headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or tag in (entry.strip().removeprefix("W/") for entry in tags.split(","))
    date = _time(headers.get("if-modified-since", ""))
    return date is not None and modified <= date


def _time(text: str) -> float | None:
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    return None


def _range(text: str, size: int) -> tuple[int, int, int]:
    """Return the status, the first byte and the end of the range.

    Anything but a single range is ignored, as RFC 9110 allows; so is a range of an empty file.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[2]) or not size:
        return 200, 0, size
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return 200, 0, size
    return (206, start, end) if start < end else (416, 0, 0)

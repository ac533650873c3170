"""What a web server answers to a request: which file of the web root, which part of it, or why not. No sockets."""

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
_ASK_EACH_TIME = ("Cache-Control", "no-cache")


@dataclass(frozen=True)
class Part:
    """Bytes of an open file, from `start` on; who takes it closes `descriptor`."""

    descriptor: int
    start: int


@dataclass(frozen=True)
class Answer:
    """A status, the headers but Content-Length, which is `size`, and a body of `size` bytes or of none."""

    status: int
    headers: tuple[tuple[str, str], ...]
    size: int
    body: bytes | Part


def page(status: int, headers: tuple[tuple[str, str], ...] = (), said: int | None = None) -> Answer:
    """A page that says what a status means; `said` is another one that it speaks of."""
    meant = HTTPStatus(said or status)
    body = render("answer.html", title=f"{meant.value} {meant.phrase}").encode()
    return Answer(status, (("Content-Type", _TYPES[".html"]), _ASK_EACH_TIME, *headers), len(body), body)


def path_of(target: str) -> tuple[str, str]:
    """The path relative to the web root, and the query, of a request's target. Raises ValueError for one that has none.

    `target` is ASCII; percent signs are decoded once, before `..` is looked for.
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
    folder = b"/" if names and path.endswith((b"/", b"/.")) else b""
    return os.fsdecode(b"/".join(names) + folder), query


def location(path: str) -> str:
    """The target that path_of() makes `path` of."""
    return f"/{quote_from_bytes(os.fsencode(path))}"


def answer(web_root: Path, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    """The answer to a GET or HEAD of `path`, as path_of() makes it; the names of `headers` are in lower case.

    Links are followed inside the web root and never out of it; names that start with a dot are hidden.
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
            if isinstance(found.body, Part):
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
    """Whether a request can be for `path` and finds something there, though it be a folder or may not be read."""
    try:
        if path_of(location(path)) != (path, ""):
            return False
    except ValueError:
        return False
    return answer(web_root, "HEAD", path, {}).status != 404


def served(web_root: Path) -> Iterator[str]:
    """The paths that is_served() finds, of folders only those with a page, which end with a slash.

    A link back to a folder above is not gone through.
    """
    folders: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(web_root),))]
    while folders:
        folder, above = folders.pop()
        names: list[str] = []
        with contextlib.suppress(OSError):  # one that may not be read
            names = sorted(os.listdir(os.path.join(web_root, folder)))
        for name in names:
            path = f"{folder}{name}"
            place = os.path.join(web_root, path)
            is_folder = os.path.isdir(place)
            if is_served(web_root, f"{path}/" if is_folder else path):
                yield f"{path}/" if is_folder else path
            if is_folder and is_served(web_root, path) and (real := os.path.realpath(place)) not in above:
                folders.append((f"{path}/", (*above, real)))


def _open_inside(web_root: Path, path: str) -> int:
    top = os.path.realpath(web_root)
    real = os.path.realpath(os.path.join(top, path))
    if os.path.commonpath((top, real)) != top:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    descriptor = os.open(top, os.O_RDONLY)
    # Step by step and through no link, as there may be one by now where realpath() saw none.
    for name in os.path.relpath(real, top).split("/"):
        try:
            step = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = step
    return descriptor


def _file(descriptor: int, info: os.stat_result, path: str, method: str, headers: Mapping[str, str]) -> Answer:
    """The answer to a request of an open file. Its body is a Part unless nothing of the file is to be sent."""
    modified = formatdate(info.st_mtime, usegmt=True)
    tag = f'"{info.st_ino:x}-{info.st_size:x}-{info.st_mtime_ns:x}"'
    about: tuple[tuple[str, str], ...] = (
        ("Content-Type", _TYPES.get(os.path.splitext(path)[1].lower(), "application/octet-stream")),
        ("Last-Modified", modified),
        ("ETag", tag),
        ("Accept-Ranges", "bytes"),
        _ASK_EACH_TIME,
    )
    if _is_another(headers, tag, int(info.st_mtime)):
        return page(412)
    if _unchanged(headers, tag, int(info.st_mtime)):
        return Answer(304, about, info.st_size, b"")
    if method == "HEAD":
        return Answer(200, about, info.st_size, b"")
    if headers.get("if-range", tag) not in (tag, modified):
        return Answer(200, about, info.st_size, Part(descriptor, 0))
    status, start, end = _range(headers.get("range", ""), info.st_size)
    if status == 416:
        return page(416, (("Content-Range", f"bytes */{info.st_size}"),))
    if status == 206:
        about = (*about, ("Content-Range", f"bytes {start}-{end - 1}/{info.st_size}"))
    return Answer(status, about, end - start, Part(descriptor, start))


def _is_another(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Whether the file is not the one that the client goes on with. RFC 9110, 13.2.2: a date counts only without a tag;
    one that cannot be read does not count.
    """
    tags = headers.get("if-match")
    if tags is not None:
        return tags.strip() != "*" and tag not in (entry.strip() for entry in tags.split(","))
    date = _time(headers.get("if-unmodified-since", ""))
    return date is not None and modified > date


def _unchanged(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Whether the client has the file already; by the same rule."""
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
    """The status, the first byte and the one behind the last. What is not one range is none, as RFC 9110 allows, and
    an empty file has no parts.
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

"""Fetches as rBoot's OTA sample asks or as rbootimg's update client does, one reply at a time, and keeps how it came.

Replies are read as leniently as they can be understood: what devices make of them is for httpcheck.py to say.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UrlError

TIMEOUT = 10.0
"""Seconds for each reply to begin, and for each piece of it."""

_WHOLE = 12
"""So many timeouts a reply may take in all."""
_MOST = 16 << 20
"""A reply beyond the largest flash is broken off."""
_PIECE = 64 << 10
_PORTS = {"http": 80, "https": 443}
_HOST = r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?"
_BLANK_LINE = b"\r\n\r\n"
_LONGEST_HEADER = 64 << 10
_HEADER_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9][ \t]+([0-9]{3})(?![0-9])")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")
_TRAILER = re.compile(rb"(?:[^\r\n][^\n]*\n)*\r?\n")

SAMPLE = (
    "GET {path} HTTP/1.1",
    "Host: {host}",
    "Connection: keep-alive",
    "Cache-Control: no-cache",
    "User-Agent: rBoot-Sample/1.0",
    "Accept: */*",
)
"""The request of rBoot's OTA sample, in lines."""
CLIENT = ("GET {path} HTTP/1.0", "Host: {host}", "User-Agent: rbootimg-example/1.0.0")
"""That of examples/ota, which has rbootimg's update client."""


@dataclass(frozen=True)
class Reply:
    """A server's reply: `headers` as they were spelled, and the body as a device would take it.

    `status` is 0 if there is none. `broken` says why there is none or why the body ended early, or is empty.
    Without a server it was not even `connected`. `begun` is how it came, up to 64 KB, but empty over TLS, where
    packets say nothing; `first` is how many bytes came at once at first, `received` how many in all, `surplus` how
    many of them after those of the Content-Length.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    broken: str = ""
    begun: bytes = b""
    first: int = 0
    received: int = 0
    surplus: int = 0
    connected: bool = True

    @property
    def header(self) -> bytes:
        """The first header that came, with the blank line after it; without one all that came."""
        header, blank_line, _ = self.begun.partition(_BLANK_LINE)
        return header + blank_line

    def values(self, name: str) -> list[str]:
        """The values of a header, by its name in lower case, whatever its spelling."""
        return [value.strip() for key, value in self.headers if key.lower() == name]

    def get(self, name: str) -> str:
        """The same as one text; empty if it is not there."""
        return ", ".join(self.values(name))


def split_url(url: str) -> urllib.parse.SplitResult:
    """The parts of a web root's URL. Raises UrlError if it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        wrong = _wrong(url, parts)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise UrlError(f"this is no URL of a web root: {wrong}; write one such as http://192.168.7.5/")
    return parts


def _wrong(url: str, parts: urllib.parse.SplitResult) -> str:
    """What is wrong with a URL, or nothing. Raises ValueError for its port or address."""
    if re.search(r"[\x00-\x1f\x7f]", url):  # which urlsplit() takes away in part
        return "it has a control character"
    if parts.scheme not in _PORTS or not parts.hostname:
        return "it lacks http:// and a host"
    if "@" in parts.netloc:
        return "devices send no user name and password"
    if "?" in url or "#" in url:
        return "it has a query or fragment"
    if ":" in parts.hostname:
        ipaddress.IPv6Address(parts.hostname)
    elif not re.fullmatch(_HOST, parts.hostname):
        return f"{parts.hostname!r} is no host name in ASCII"
    _ = parts.port
    return ""


def fetch(
    parts: urllib.parse.SplitResult, name: str, timeout: float = TIMEOUT, request: Sequence[str] = SAMPLE
) -> Reply:
    """The reply to a `request` for `name` in the folder of a URL; all that goes wrong is in it.

    `timeout` is in seconds, for each piece of the reply; all of it may take twelve times that.
    """
    path = urllib.parse.quote(f"{parts.path.rstrip('/')}/{name}", safe="/%", errors="surrogateescape")
    host = parts.hostname or ""
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    named = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port != _PORTS[parts.scheme]:
        named += f":{port}"
    try:
        connection = socket.create_connection((host, port), timeout)
    except (OSError, ValueError) as error:  # ValueError: a zone of an IPv6 address that no name could be
        return Reply(0, broken=f"has no reply: {_reason(error)}", connected=False)
    with connection:
        try:
            if parts.scheme == "https":
                connection = _encrypted(connection, host)
        except OSError as error:
            return Reply(0, broken=f"has no reply: {_reason(error)}", connected=False)
        with connection:
            text = "\r\n".join((*request, "", "")).format(path=path, host=named)
            try:
                connection.sendall(text.encode("ascii"))
            except OSError as error:
                return Reply(0, broken=f"has no reply: {_reason(error)}")
            data, first, reason = _receive(connection, timeout)
    return _reply(bytes(data), first, reason, encrypted=parts.scheme == "https")


def _encrypted(connection: socket.socket, host: str) -> socket.socket:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(connection, server_hostname=host)


def _receive(connection: socket.socket, seconds: float) -> tuple[bytearray, int, str]:
    """What comes until the reply is whole, how much of it at once at first, and what went wrong."""
    data = bytearray()
    first = 0
    end = time.monotonic() + _WHOLE * seconds
    try:
        while not _is_whole(data):
            if time.monotonic() > end:
                raise TimeoutError(f"not whole after {_WHOLE * seconds:g} seconds")
            piece = connection.recv(_PIECE)
            if not piece:
                break
            first = first or len(piece)
            data += piece
    except OSError as error:
        return data, first, _reason(error)
    return data, first, ""


class _NoHttpError(Exception):
    """What no client could understand."""


@dataclass(frozen=True)
class _Header:
    """The header that counts, after any interim ones: where it ends, and what it says of the body.

    `length` is None if the body ends with the connection.
    """

    end: int
    status: int
    headers: tuple[tuple[str, str], ...]
    length: int | None
    chunked: bool


def _read_header(data: bytes | bytearray) -> _Header | None:
    """None if it is not whole. Raises _NoHttpError."""
    start = 0
    while True:
        if not data.startswith(b"HTTP/"[: len(data) - start], start):
            raise _NoHttpError(_begin(data[start:]))
        found = _HEADER_END.search(data, start)
        if (found.end() if found else len(data)) > _LONGEST_HEADER:
            raise _NoHttpError(f"a header of more than {_LONGEST_HEADER:,} bytes")
        if not found:
            return None
        lines = re.split(r"\r?\n", bytes(data[start : found.start()]).decode("latin-1").removesuffix("\r"))
        status = _STATUS_LINE.match(data, start)
        if not status:
            raise _NoHttpError(lines[0])
        start = found.end()
        code = int(status[1])
        if code // 100 != 1 or code == 101:
            break
    fields = _fields(lines[1:])
    codings = [value for name, value in fields if name.lower() == "transfer-encoding"]
    lengths = [number(value) for name, value in fields if name.lower() == "content-length"]
    length = 0 if code in (101, 204, 304) else next((known for known in lengths if known is not None), None)
    return _Header(start, code, fields, length, bool(codings) and codings[-1].lower().endswith("chunked"))


def _fields(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Names and values; a line that begins with a blank goes on with the value before it."""
    found: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        elif colon:
            found.append((name.strip(), value.strip(" \t")))
    return tuple(found)


def number(text: str) -> int | None:
    """The number of bytes or seconds that a header's value is; None if it is none."""
    return int(text) if re.fullmatch("[0-9]{1,4000}", text) else None


def _is_whole(data: bytearray) -> bool:
    """Whether nothing more needs to be received."""
    try:
        header = _read_header(data)
    except _NoHttpError:
        return True
    if header is None:
        return False
    if len(data) - header.end > _MOST:
        return True
    if header.chunked:
        return data.endswith(b"\n") and _without_chunks(bytes(data[header.end :]))[1]
    return header.length is not None and len(data) - header.end >= header.length


def _without_chunks(data: bytes) -> tuple[bytes, bool]:
    """The body that came in chunks, and whether it is whole."""
    body = bytearray()
    at = 0
    while chunk := _CHUNK.match(data, at):
        size = int(chunk[1], 16)
        at = chunk.end()
        if not size:
            return bytes(body), bool(_TRAILER.match(data, at))
        body += data[at : at + size]
        at += size
        if data[at : at + 2] == b"\r\n":
            at += 2
        elif data[at : at + 1] == b"\n":
            at += 1
        else:
            break
    return bytes(body), False


def _reply(data: bytes, first: int, reason: str, encrypted: bool) -> Reply:
    begun = b"" if encrypted else data[:_LONGEST_HEADER]
    try:
        header = _read_header(data)
    except _NoHttpError as error:
        text = _begin(str(error).encode("latin-1"))
        return Reply(0, broken=f"has no reply in HTTP: {text}", begun=begun, first=first, received=len(data))
    if header is None:
        where = "in its header" if data else "without one"
        text = f"has no reply: {reason or f'the server closed the connection {where}'}"
        return Reply(0, broken=text, begun=begun, first=first, received=len(data))
    rest = data[header.end :]
    body, broken = rest, f"ends after {len(rest):,} bytes, too early: {reason}" if reason else ""
    if header.chunked:
        body, whole = _without_chunks(rest)
        broken = "" if whole else f"ends after {len(body):,} bytes, too early: {reason or 'its chunks are not whole'}"
    elif header.length is not None:
        body, missing = rest[: header.length], header.length - len(rest)
        early = f"ends after {len(body):,} bytes, {missing:,} too early{f': {reason}' if reason else ''}"
        broken = early if missing > 0 else ""
    if len(body) > _MOST:
        broken = f"goes on after {_MOST:,} bytes, more than any flash has"
    surplus = 0 if header.chunked or header.length is None else max(len(rest) - header.length, 0)
    return Reply(header.status, header.headers, body, broken, begun, first, len(data), surplus)


def _begin(data: bytes | bytearray) -> str:
    """The begin of a reply's first line."""
    return data[:40].split(b"\n")[0].decode("latin-1")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or 'cut off').replace('_', ' ').lower()}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

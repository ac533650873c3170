"""Fetch files as rBoot's OTA sample or rbootimg's update client does, and record how the reply arrived.

Replies are parsed as leniently as possible: check_http.py decides whether devices accept them.
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
from ..text import counted

TIMEOUT = 10.0
"""Seconds to wait for the first and for each further piece of a reply."""

_MAX_TIMEOUTS = 12
"""A complete reply may take this many timeouts."""
_MAX_SIZE = 16 << 20
"""Bytes of a reply that are received at most: the size of the largest flash."""
_PIECE = 64 << 10
_PORTS = {"http": 80, "https": 443}
_HOST = r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?"
_BLANK_LINE = b"\r\n\r\n"
_MAX_HEADER_SIZE = 64 << 10
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
"""The lines of the request of rBoot's OTA sample."""
CLIENT = ("GET {path} HTTP/1.0", "Host: {host}", "User-Agent: rbootimg-example/1.0.0 (slot 0)")
"""The lines of the request of examples/ota, which uses rbootimg's update client."""


@dataclass(frozen=True)
class Reply:
    """A server's reply: the `headers` in their original spelling, and the body.

    `status` is 0 without a reply. `failure` tells why there is none or why the body ended early, else it is empty.
    `connected` is False without a server. `raw` has the first 64 KB as they arrived, none over TLS, where packets
    mean nothing. `first` is the number of bytes in the first packet, `received` of all bytes, `surplus` of those after
    the end of the Content-Length.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    failure: str = ""
    raw: bytes = b""
    first: int = 0
    received: int = 0
    surplus: int = 0
    connected: bool = True

    @property
    def header(self) -> bytes:
        """The first header with the blank line after it; without one all bytes of `raw`."""
        header, blank_line, _ = self.raw.partition(_BLANK_LINE)
        return header + blank_line

    def values(self, name: str) -> list[str]:
        """Return the values of a header; `name` is in lower case."""
        return [value.strip() for key, value in self.headers if key.lower() == name]

    def get(self, name: str) -> str:
        """Return the values of a header as one string, empty without any."""
        return ", ".join(self.values(name))


def split_url(url: str) -> urllib.parse.SplitResult:
    """Split the URL of a web root. Raises UrlError if it is invalid."""
    try:
        parts = urllib.parse.urlsplit(url)
        problem = url_problem(url, parts)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise UrlError(f"invalid URL: {problem}; use one such as http://192.168.7.5/")
    return parts


def url_problem(url: str, parts: urllib.parse.SplitResult) -> str:
    """Return the problem with a URL, empty if it is valid. Raises ValueError for an invalid port or address."""
    if re.search(r"[\x00-\x1f\x7f]", url):  # urlsplit() removes some of them
        return "control character"
    if parts.scheme not in _PORTS or not parts.hostname:
        return "missing http:// or host"
    if "@" in parts.netloc:
        return "devices do not send a user name and password"
    if "?" in url or "#" in url:
        return "devices do not send a query or fragment"
    if ":" in parts.hostname:
        ipaddress.IPv6Address(parts.hostname)
    elif not re.fullmatch(_HOST, parts.hostname):
        return f"invalid host name {parts.hostname!r}"
    _ = parts.port
    return ""


def fetch(
    parts: urllib.parse.SplitResult, name: str, timeout: float = TIMEOUT, request: Sequence[str] = SAMPLE
) -> Reply:
    """Send a `request` for `name` below a URL and return the reply, which also describes a failure.

    `timeout` is in seconds for each piece of the reply; the complete reply may take twelve times that.
    """
    path = urllib.parse.quote(f"{parts.path.rstrip('/')}/{name}", safe="/%", errors="surrogateescape")
    host = parts.hostname or ""
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    host_header = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port != _PORTS[parts.scheme]:
        host_header += f":{port}"
    try:
        connection = socket.create_connection((host, port), timeout)
    except (OSError, ValueError) as error:  # ValueError: an invalid zone of an IPv6 address
        return Reply(0, failure=f"request failed: {_reason(error)}", connected=False)
    with connection:
        try:
            if parts.scheme == "https":
                connection = _encrypted(connection, host)
        except OSError as error:
            return Reply(0, failure=f"request failed: {_reason(error)}", connected=False)
        with connection:
            text = "\r\n".join((*request, "", "")).format(path=path, host=host_header)
            try:
                connection.sendall(text.encode("ascii"))
            except OSError as error:
                return Reply(0, failure=f"request failed: {_reason(error)}")
            data, first, reason = _receive(connection, timeout)
    return _reply(bytes(data), first, reason, encrypted=parts.scheme == "https")


def _encrypted(connection: socket.socket, host: str) -> socket.socket:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context.wrap_socket(connection, server_hostname=host)


def _receive(connection: socket.socket, seconds: float) -> tuple[bytearray, int, str]:
    """Return the bytes up to the end of the reply, the number of bytes in the first packet, and the failure."""
    data = bytearray()
    first = 0
    end = time.monotonic() + _MAX_TIMEOUTS * seconds
    try:
        while not _is_complete(data):
            if time.monotonic() > end:
                raise TimeoutError(f"incomplete after {_MAX_TIMEOUTS * seconds:g} seconds")
            piece = connection.recv(_PIECE)
            if not piece:
                break
            first = first or len(piece)
            data += piece
    except OSError as error:
        return data, first, _reason(error)
    return data, first, ""


class _NotHttpError(Exception):
    """A reply that is not HTTP."""


@dataclass(frozen=True)
class _Header:
    """The final header, after interim replies: the offset of its `end`, and how the body is sent.

    `length` is None if the body ends with the connection.
    """

    end: int
    status: int
    headers: tuple[tuple[str, str], ...]
    length: int | None
    chunked: bool


def _read_header(data: bytes | bytearray) -> _Header | None:
    """Parse the header, None if it is incomplete. Raises _NotHttpError."""
    start = 0
    while True:
        if not data.startswith(b"HTTP/"[: len(data) - start], start):
            raise _NotHttpError(_first_line(data[start:]))
        found = _HEADER_END.search(data, start)
        if (found.end() if found else len(data)) > _MAX_HEADER_SIZE:
            raise _NotHttpError(f"a header of more than {_MAX_HEADER_SIZE:,} bytes")
        if not found:
            return None
        lines = re.split(r"\r?\n", bytes(data[start : found.start()]).decode("latin-1").removesuffix("\r"))
        status = _STATUS_LINE.match(data, start)
        if not status:
            raise _NotHttpError(lines[0])
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
    """Return names and values; a line that begins with a space continues the value before it."""
    found: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        elif colon:
            found.append((name.strip(), value.strip(" \t")))
    return tuple(found)


def number(text: str) -> int | None:
    """Parse a number of bytes or seconds in a header; None if it is invalid."""
    return int(text) if re.fullmatch("[0-9]{1,4000}", text) else None


def _is_complete(data: bytearray) -> bool:
    """Whether the reply is complete, too long, or not HTTP."""
    try:
        header = _read_header(data)
    except _NotHttpError:
        return True
    if header is None:
        return False
    if len(data) - header.end > _MAX_SIZE:
        return True
    if header.chunked:
        return data.endswith(b"\n") and _without_chunks(bytes(data[header.end :]))[1]
    return header.length is not None and len(data) - header.end >= header.length


def _without_chunks(data: bytes) -> tuple[bytes, bool]:
    """Return the body without chunk headers, and whether it is complete."""
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
    raw = b"" if encrypted else data[:_MAX_HEADER_SIZE]
    try:
        header = _read_header(data)
    except _NotHttpError as error:
        text = _first_line(str(error).encode("latin-1"))
        return Reply(0, failure=f"reply is not HTTP: {text}", raw=raw, first=first, received=len(data))
    if header is None:
        where = "in the header" if data else "without a reply"
        text = f"request failed: {reason or f'the server closed the connection {where}'}"
        return Reply(0, failure=text, raw=raw, first=first, received=len(data))
    rest = data[header.end :]
    body, failure = rest, f"truncated after {counted(len(rest), 'byte')}: {reason}" if reason else ""
    if header.chunked:
        body, is_complete = _without_chunks(rest)
        failure = "" if is_complete else f"truncated after {counted(len(body), 'byte')}: {reason or 'incomplete chunk'}"
    elif header.length is not None:
        body, missing = rest[: header.length], header.length - len(rest)
        early = f"truncated after {counted(len(body), 'byte')}, {missing:,} missing{f': {reason}' if reason else ''}"
        failure = early if missing > 0 else ""
    if len(body) > _MAX_SIZE:
        failure = f"more than {_MAX_SIZE:,} bytes, the size of the largest flash"
    surplus = 0 if header.chunked or header.length is None else max(len(rest) - header.length, 0)
    return Reply(header.status, header.headers, body, failure, raw, first, len(data), surplus)


def _first_line(data: bytes | bytearray) -> str:
    """Return the start of the first line of a reply."""
    return data[:40].split(b"\n")[0].decode("latin-1")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS error: {(error.reason or 'connection closed').replace('_', ' ').lower()}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

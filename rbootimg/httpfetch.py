"""Fetches as rBoot's OTA sample asks, one reply at a time. http.client reads it; this keeps how it came, too."""

from __future__ import annotations

import http.client
import io
import ipaddress
import re
import ssl
import time
import urllib.parse
from dataclasses import dataclass
from socket import socket

from .errors import PublishError

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


@dataclass(frozen=True)
class Reply:
    """A server's reply: `headers` as they were spelled, and the body as a device would take it.

    `status` is 0 if there is none. `broken` says why there is none or why the body ended early, or is empty.
    Without a server it was not even `connected`. `header` is as it came, with the blank line, or without one all that
    came; `first` is how many bytes came at once at first, `received` how many in all. Of a reply over TLS, where
    packets say nothing, `header` is empty.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    broken: str = ""
    header: bytes = b""
    first: int = 0
    received: int = 0
    connected: bool = True

    def values(self, name: str) -> list[str]:
        """The values of a header, by its name in lower case, whatever its spelling."""
        return [value.strip() for key, value in self.headers if key.lower() == name]

    def get(self, name: str) -> str:
        """The same as one text; empty if it is not there."""
        return ", ".join(self.values(name))


def split_url(url: str) -> urllib.parse.SplitResult:
    """The parts of a web root's URL. Raises PublishError if it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        wrong = _wrong(url, parts)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise PublishError(f"this is no URL of a web root: {wrong}; write one such as http://192.168.7.5/")
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


def fetch(parts: urllib.parse.SplitResult, name: str, timeout: float = TIMEOUT) -> Reply:
    """The reply to the request of rBoot's OTA sample for `name` in the folder of a URL; all that goes wrong is in it.

    `timeout` is in seconds, for each piece of the reply; all of it may take twelve times that.
    """
    path = urllib.parse.quote(f"{parts.path.rstrip('/')}/{name}", safe="/%", errors="surrogateescape")
    port = _PORTS[parts.scheme] if parts.port is None else parts.port  # or http.client looks for one in an IPv6 address
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", port, timeout=timeout)
    connection.response_class = _Response
    try:
        connection.connect()
    except (OSError, ValueError) as error:  # ValueError: a zone of an IPv6 address that no name could be
        return Reply(0, broken=f"has no reply: {_reason(error)}", connected=False)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for key, value in (
            ("Connection", "keep-alive"),
            ("Cache-Control", "no-cache"),
            ("User-Agent", "rBoot-Sample/1.0"),
            ("Accept", "*/*"),
        ):
            connection.putheader(key, value)
        connection.endheaders()
        with connection.getresponse() as reply:
            assert isinstance(reply, _Response)
            body, broken = _body(reply)
            header, blank_line, _ = reply.wire.begun.partition(_BLANK_LINE)
            return Reply(
                reply.status,
                tuple(reply.getheaders()),
                body,
                broken,
                b"" if parts.scheme == "https" else header + blank_line,
                reply.wire.first,
                reply.wire.received,
            )
    except OSError as error:
        return Reply(0, broken=f"has no reply: {_reason(error)}")
    except (http.client.HTTPException, ValueError) as error:
        return Reply(0, broken=f"has no reply in HTTP: {error}")
    finally:
        connection.close()


class _Wire(io.RawIOBase):
    """What comes through a socket, and when it must have come."""

    def __init__(self, raw: io.RawIOBase, seconds: float) -> None:
        self._raw = raw
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self.begun, self.first, self.received = b"", 0, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # which BufferedReader calls with that
        if time.monotonic() > self._end:
            raise TimeoutError(f"not whole after {self._seconds:g} seconds")
        count = self._raw.readinto(buffer) or 0
        self.first = self.first or count
        self.received += count
        if _BLANK_LINE not in self.begun and len(self.begun) < _LONGEST_HEADER:
            self.begun += buffer[:count]
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that comes through a `wire`."""

    def __init__(self, sock: socket, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel, method, url)
        self.wire = _Wire(self.fp.detach(), _WHOLE * (sock.gettimeout() or TIMEOUT))
        self.fp = io.BufferedReader(self.wire)


def _body(reply: http.client.HTTPResponse) -> tuple[bytes, str]:
    """The body, and why it ended early."""
    body = bytearray()
    reason = ""
    try:
        while reply.length != 0 and len(body) <= _MOST:
            if not reply.chunked:
                reply.peek()  # reads what comes with the last bytes, too
            piece = reply.read1(_PIECE)
            if not piece:
                break
            body += piece
    except OSError as error:
        reason = f": {_reason(error)}"
    except http.client.HTTPException:
        reason = ": its chunks are not whole"
    if len(body) > _MOST:
        return bytes(body), f"goes on after {_MOST:,} bytes, more than any flash has"
    if reply.length:  # what is still to come
        return bytes(body), f"ends after {len(body):,} bytes, {reply.length:,} too early{reason}"
    return bytes(body), f"ends after {len(body):,} bytes, too early{reason}" if reason else ""


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {(error.reason or 'cut off').replace('_', ' ').lower()}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

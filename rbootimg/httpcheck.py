"""A web root looked at through its server, as a device does: what of the replies would a device choke on.

What a device takes is what rBoot's OTA sample takes: a reply with status 200 to a plain HTTP/1.1 request, with
`Content-Length: ` spelled so, its header in the first packet, and behind it the bytes as they are.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import PublishError
from .release import MANIFEST, VERSION, Release, digest, rom_name

TIMEOUT = 10.0
"""Seconds for each reply to begin, and for each piece of it."""
_LONGEST = 600.0
"""Seconds for all of a reply."""

_SEGMENT = 1460
"""What a TCP segment carries over Ethernet; the sample looks for the whole header in the first."""
_MOST = 16 << 20
"""A reply beyond the largest flash is broken off."""


@dataclass(frozen=True)
class Finding:
    """What is noteworthy in the reply for `path`; with `fault` a device would fail, or do the wrong thing."""

    path: str
    text: str
    fault: bool = True


@dataclass(frozen=True)
class Reply:
    """A server's reply: `headers` as they were spelled, and the body as a device would take it.

    `broken` says why the body ended early, or why there is no reply at all, whose `status` is 0. `first` is what came
    first of the reply, as it was on the wire, or None if that cannot be seen.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    broken: str = ""
    first: bytes | None = None

    def get(self, name: str) -> str:
        """The values of a header, whatever its spelling; empty if it is not there."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)


def check_url(url: str, timeout: float = TIMEOUT) -> tuple[Finding, ...]:
    """What is noteworthy in the replies for the application at `url`: manifest, version, and each ROM in both places.

    Raises PublishError if there is no server, or nothing to go by.
    """
    parts = _parsed(url)
    base = parts.path.rstrip("/")
    found = []
    if parts.scheme == "https":
        found.append(Finding(url, "rBoot's OTA sample speaks no TLS, so a device needs a client of its own", False))

    def reply(path: str, changes: bool = True) -> Reply:
        got = _get(parts, f"{base}/{path}", timeout)
        found.extend(Finding(path, text, fault) for text, fault in look(got))
        found.extend(Finding(path, text) for text in (_stale(got) if changes else ()))
        return got

    manifest = reply(MANIFEST)
    try:
        release = Release.from_json(manifest.body)
    except PublishError as error:
        help_ = "give the URL of the application's folder"
        if manifest.status == 0 or manifest.status >= 400:
            reason = f"status {manifest.status}" if manifest.status else manifest.broken
            raise PublishError(f"no {MANIFEST} to go by: {reason}; {help_}") from None
        text = f"cannot be read: {error}; so the ROMs are compared with nothing. "
        found.append(Finding(MANIFEST, f"{text}Mend this first, or {help_}"))
        for path in (VERSION, rom_name(0), rom_name(1)):
            reply(path)
        return tuple(found)
    named = reply(VERSION)
    if named.status == 200 and named.body != f"{release.version}\n".encode():
        found.append(Finding(VERSION, f"is {named.body[:40]!r}, not that of the manifest; one of the two is stale"))
    for rom in release.roms:
        for path in (rom.file.name, f"{release.folder}/{rom.file.name}"):
            got = reply(path, changes=path == rom.file.name)
            if got.status != 200 or got.broken:
                continue
            if len(got.body) != rom.file.size:
                text = f"has {len(got.body):,} bytes, not {rom.file.size:,} as the manifest says"
            elif digest(got.body) != rom.file.sha256:
                text = "is not the ROM of the manifest: its SHA-256 is another"
            else:
                continue
            found.append(Finding(path, f"{text}; one of the two is stale or damaged"))
    return tuple(found)


def _parsed(url: str) -> urllib.parse.SplitResult:
    """Raises PublishError if it is no URL that a device could use."""
    advice = "write one such as http://192.168.7.5/"
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise PublishError(f"this is no URL of a web root; {advice}")
    except ValueError as error:  # of the host or the port
        raise PublishError(f"this is no URL of a web root: {error}; {advice}") from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise PublishError(f"a web root's URL has no user, query or fragment; {advice}")
    return parts


def look(reply: Reply) -> Iterator[tuple[str, bool]]:
    """What a device would choke on in one reply, with whether that is a fault."""
    if reply.status == 0:
        yield reply.broken, True
        return
    if 300 <= reply.status < 400:
        yield f"redirects to {reply.get('location') or 'nowhere'} (status {reply.status}); no device follows", True
        return
    if reply.status != 200:
        yield f"has status {reply.status}, not 200", True
        return
    if coding := reply.get("transfer-encoding"):
        yield f"has Transfer-Encoding: {coding}; a device would write the chunk sizes to the flash", True
    if coding := reply.get("content-encoding"):
        yield f"has Content-Encoding: {coding}, unasked; a device would write that to the flash", True
    length = reply.get("content-length")
    if not length:
        yield "has no Content-Length; a device does not know where it ends", True
    elif not re.fullmatch("[0-9]+", length):
        yield f"has Content-Length: {length}, which is no number", True
    elif not any(name == "Content-Length" for name, _ in reply.headers):
        spelled = next(name for name, _ in reply.headers if name.lower() == "content-length")
        yield f"spells {spelled}; rBoot's OTA sample finds Content-Length only and fails", True
    elif reply.first and b"\r\n\r\n" in reply.first and b"Content-Length: " not in reply.first:
        yield "has no blank behind Content-Length:, without which rBoot's OTA sample does not find it", True
    if reply.broken:
        yield reply.broken, True
    size = len("HTTP/1.1 200 OK\r\n\r\n") + sum(len(name) + len(value) + 4 for name, value in reply.headers)
    if size > _SEGMENT:
        yield f"has a header of {size:,} bytes; rBoot's OTA sample wants it within {_SEGMENT:,}", True
    elif reply.first is not None and b"\r\n\r\n" not in reply.first:
        yield f"has its header in pieces, the first of {len(reply.first):,} bytes; rBoot's OTA sample fails", True


def _stale(reply: Reply) -> Iterator[str]:
    """Why a reply for a file that changes could be an old one."""
    if reply.status != 200:
        return
    if (age := reply.get("age")).isdecimal() and int(age) > 0:
        yield f"comes from a cache, {int(age):,} seconds old; let it ask the server each time"
    control = reply.get("cache-control").lower()
    if re.search("no-cache|no-store", control):
        return
    if (most := re.search(r"(?:s-maxage|max-age)=\"?([0-9]+)", control)) and int(most[1]) > 0:
        yield f"may be served {int(most[1]):,} seconds after a release; send Cache-Control: no-cache"
    elif not most and reply.get("expires") not in ("", "0", "-1"):
        yield f"may be served until {reply.get('expires')}; send Cache-Control: no-cache"


def _get(parts: urllib.parse.SplitResult, path: str, timeout: float) -> Reply:
    """The reply to the request of rBoot's OTA sample. Raises PublishError if there is no server."""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        connection.connect()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise PublishError(f"no reply for {path}: {_reason(error)}") from None
    try:
        connection.putrequest("GET", urllib.parse.quote(path, safe="/%"), skip_accept_encoding=True)
        for name, value in (
            ("Connection", "keep-alive"),
            ("Cache-Control", "no-cache"),
            ("User-Agent", "rBoot-Sample/1.0"),
            ("Accept", "*/*"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        # What comes later than this first piece comes in a packet of its own.
        first = None if parts.scheme == "https" else connection.sock.recv(1 << 16, socket.MSG_PEEK)
        reply = connection.getresponse()
        body, broken = _body(reply)
        return Reply(reply.status, tuple(reply.getheaders()), body, broken, first)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reply(0, (), b"", f"gives no reply: {_reason(error)}")
    finally:
        connection.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _body(reply: http.client.HTTPResponse) -> tuple[bytes, str]:
    """The body, and why it ended early."""
    body = b""
    end = time.monotonic() + _LONGEST
    try:
        while len(body) < _MOST and (piece := reply.read1(1 << 16)):
            body += piece
            if time.monotonic() > end:
                return body, f"takes more than {_LONGEST:.0f} seconds"
    except http.client.IncompleteRead as error:
        body += error.partial
        return body, f"ends after {len(body):,} bytes, too early"
    except TimeoutError:
        return body, f"stalls after {len(body):,} bytes"
    except OSError as error:
        return body, f"breaks off after {len(body):,} bytes: {_reason(error)}"
    if reply.length:  # what is still to come; read1() does not complain
        return body, f"ends after {len(body):,} bytes, {reply.length:,} too early"
    return body, ""

"""A web root looked at through its server, as a device does: what of the replies would a device choke on.

What a device takes is what rBoot's OTA sample takes: a reply with status 200 to a plain HTTP/1.1 request, with
`Content-Length: ` spelled so, its header in the first packet, and behind it the bytes as they are.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from . import version
from .errors import PublishError, RomError, VersionError
from .httpfetch import TIMEOUT, Reply, fetch, split_url
from .release import MANIFEST, VERSION, Release, ReleaseRom, digest, rom_name
from .rom import Rom

_SEGMENT = 1460
"""What a TCP segment carries over Ethernet; the sample looks for the whole header in the first."""
_REDIRECTS = (301, 302, 303, 307, 308)
_LENGTH = b"Content-Length: "
"""What the sample looks for."""
_NUMBER = "[0-9]{1,18}"
_SLOTS = 2
"""Of a web root whose manifest cannot be read."""
_LONGEST = 200
"""Characters of a line that has a server's words in it."""
_COPES = "rBoot's OTA sample fails, rbootimg's update client copes"


@dataclass(frozen=True)
class Finding:
    """What is noteworthy in the reply for `path`; with `fault` a device would fail, or do the wrong thing."""

    path: str
    text: str
    fault: bool = True


def check_url(url: str, timeout: float = TIMEOUT) -> tuple[Finding, ...]:
    """What is noteworthy in the replies for the application at `url`: manifest, version, and each ROM in both places.

    Without a manifest only the ROMs that the sample asks for. `timeout` is as in fetch(). Raises PublishError for
    what is no URL, and if there is no server or nothing in it.
    """
    parts = split_url(url)
    found = []
    if parts.scheme == "https":
        found.append(Finding(url, "rBoot's OTA sample speaks no TLS, so a device needs a client of its own", False))
    replies: dict[str, Reply] = {}

    def reply(path: str) -> Reply:
        got = replies[path] = fetch(parts, path, timeout)
        for text, fault in look(got):
            if fault or all(text != known.text for known in found):  # a note is worth one line
                found.append(Finding(path, _one_line(text), fault))
        if "/" not in path:  # what is in a release's folder never changes
            found.extend(Finding(path, _one_line(text)) for text in _stale(got))
        return got

    manifest = reply(MANIFEST)
    if not manifest.connected:
        raise PublishError(f"{MANIFEST} {manifest.broken}; is the server up, and the URL right?")
    try:
        release = Release.from_json(manifest.body)
    except PublishError as error:
        found.append(_without_manifest(manifest, error))
        found += (Finding(VERSION, text) for text in _no_version(reply(VERSION)))
        for path in map(rom_name, range(_SLOTS)):
            found += (Finding(path, text) for text in _no_rom(reply(path)))
        if all(got.status == 404 for got in replies.values()):
            text = f"no {MANIFEST} to go by: status 404; give the URL of the application's folder"
            raise PublishError(text) from None
        return tuple(found)
    named = reply(VERSION)
    if named.status == 200 and named.body != f"{release.version}\n".encode():
        found.append(Finding(VERSION, f"is {named.body[:40]!r}, not that of the manifest; one of the two is stale"))
    for rom in release.roms:
        for path in (rom.file.name, f"{release.folder}/{rom.file.name}"):
            found += (Finding(path, text) for text in _other_rom(reply(path), rom))
    return tuple(found)


def look(reply: Reply) -> Iterator[tuple[str, bool]]:
    """What a device would choke on in one reply, with whether that is a fault."""
    if not reply.status:
        yield reply.broken, True
        return
    if reply.status in _REDIRECTS:
        yield f"redirects to {reply.get('location') or 'nowhere'} (status {reply.status}); no device follows", True
        return
    if reply.status != 200:
        yield f"has status {reply.status}, not 200", True
        return
    if chunks := _coding(reply, "transfer-encoding"):
        yield f"has Transfer-Encoding: {chunks}; a device would write the chunk sizes to the flash", True
    if coding := _coding(reply, "content-encoding"):
        yield f"has Content-Encoding: {coding}, unasked; a device would write that to the flash", True
    lengths = reply.values("content-length")
    if not lengths:
        yield "has no Content-Length; a device does not know where it ends", True
    elif not all(re.fullmatch(_NUMBER, length) for length in lengths):
        yield f"has Content-Length: {' and '.join(lengths)}, which is no number", True
    elif len(set(lengths)) > 1:
        yield f"has Content-Length: {' and '.join(lengths)}; a device takes one or the other", True
    elif (
        not chunks
        and reply.header[9:12] == b"200"  # and not 100
        and (more := reply.received - len(reply.header) - int(lengths[0])) > 0
    ):
        text = f"has {more:,} byte{'s' * (more > 1)} more than its Content-Length; a device never sees its end"
        yield text, True
    if reply.broken:
        yield reply.broken, True
    if reply.header:
        yield from _first_packet(reply)


def _first_packet(reply: Reply) -> Iterator[tuple[str, bool]]:
    """The same for what rBoot's OTA sample reads, which knows no more of HTTP than to look for three texts."""
    header, size = reply.header, len(reply.header)
    if not header.endswith(b"\r\n\r\n") or re.search(rb"(?<!\r)\n", header):
        yield f"has a header whose lines do not end with CR LF; {_COPES}", True
        return
    if header[9:12] != b"200":
        yield f"begins with {header[:12].decode('latin-1')!r}; a device wants 200 there", True
        return
    line = re.search(rb"(?i)\r\n(content-length:[^\r]*)", header)
    before, found, _ = header.partition(_LENGTH)
    if line and not found:
        yield f"has {line[1].decode('latin-1')!r} for {_LENGTH.decode()!r}; {_COPES}", True
    elif line and not before.endswith(b"\r\n"):
        other = header[before.rfind(b"\r\n") + 2 :].partition(b"\r\n")[0]
        yield f"has {other.decode('latin-1')!r} before its Content-Length; {_COPES}", True
    if size > _SEGMENT:
        yield f"has a header of {size:,} bytes; rBoot's OTA sample wants it within {_SEGMENT:,}", True
    elif reply.first < size:  # which TCP would not cut up
        yield f"has {reply.first:,} of its header's {size:,} bytes in the first packet; {_COPES}", True
    elif reply.first == size < reply.received:
        yield "has its header alone in the first packet; rBoot's OTA sample copes, its first versions did not", False


def _coding(reply: Reply, name: str) -> str:
    """What a body is coded in, if it is."""
    return ", ".join(value for value in reply.values(name) if value.lower() != "identity")


def _without_manifest(manifest: Reply, error: PublishError) -> Finding:
    """That nothing can be compared; unless it came with status 200 look() has found a fault already."""
    text = "without it no digest of a ROM was compared"
    if manifest.status == 200:
        return Finding(MANIFEST, _one_line(f"cannot be used: {error}; {text}"))
    return Finding(MANIFEST, text, False)


def _no_version(reply: Reply) -> Iterator[str]:
    if reply.status == 200 and not reply.broken:
        try:
            version.parse(reply.body.decode("latin-1").removesuffix("\n"))
        except VersionError:
            yield f"is no version: {reply.body[:40]!r}"


def _no_rom(reply: Reply) -> Iterator[str]:
    if reply.status == 200 and not reply.broken:
        try:
            Rom.from_bytes(reply.body)
        except RomError as error:
            yield f"is no sound ROM: {error}"


def _other_rom(reply: Reply, rom: ReleaseRom) -> Iterator[str]:
    if reply.status != 200 or reply.broken:
        return
    if len(reply.body) != rom.file.size:
        text = f"has {len(reply.body):,} bytes, not {rom.file.size:,} as the manifest says"
    elif digest(reply.body) != rom.file.sha256:
        text = "is not the ROM of the manifest: its SHA-256 is another"
    else:
        return
    yield f"{text}; one of the two is stale or damaged"


def _stale(reply: Reply) -> Iterator[str]:
    """Why a reply for a file that changes could be an old one."""
    if reply.status != 200:
        return
    if (age := re.fullmatch(_NUMBER, reply.get("age"))) and int(age[0]) > 0:
        yield f"comes from a cache, {int(age[0]):,} seconds old; let it ask the server each time"
    control = reply.get("cache-control").lower()
    if re.search("no-cache|no-store", control):
        return
    ages = [int(age) for age in re.findall(rf'(?:s-maxage|max-age)="?({_NUMBER})', control)]
    if any(ages):
        yield f"may be served {max(ages):,} seconds after a release; send Cache-Control: no-cache"
    expires, now = _date(reply.get("expires")), _date(reply.get("date")) or datetime.now(timezone.utc)
    if expires and expires > now and not ages:
        yield f"may be served until {reply.get('expires')}; send Cache-Control: no-cache"


def _date(text: str) -> datetime | None:
    """A date as RFC 9110, 5.6.7 wants it; an `Expires` that is none is over."""
    with contextlib.suppress(ValueError):
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=timezone.utc)
    return None


def _one_line(text: str) -> str:
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

"""A web root looked at through its server, as a device does: what of the replies would a device choke on.

There are two kinds of devices. rBoot's OTA sample asks with HTTP/1.1 and takes a reply with status 200,
`Content-Length: ` spelled so, its header in the first packet, and after it the bytes as they are. rbootimg's update
client asks with HTTP/1.0 and takes what httpreply.py says. So each file is fetched twice, and each finding says which
of the two fails.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import NamedTuple

from ..errors import FitError, ManifestError, RomError, UrlError, VersionError
from ..rom import fit
from ..text import printable
from . import version
from .http import CLIENT, TIMEOUT, Reply, fetch, number, split_url
from .httpreply import HEADER_MOST, read_as_client
from .manifest import MANIFEST, VERSION, Release, StoredFile, checksum_name, digest, rom_name

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
_SAMPLE_FAILS = "rBoot's OTA sample fails, rbootimg's update client copes"
_CLIENT_FAILS = "rbootimg's update client, which asks with HTTP/1.0, fails; rBoot's OTA sample copes"
_LONGEST_VERSION = 63
_LONGEST_NUMBER = 9
"""Characters of a version, and digits of a number in it, that the client takes: see rboot-ota.h."""


@dataclass(frozen=True)
class Finding:
    """What is noteworthy in the replies for `path`; with `fault` a device would fail, or do the wrong thing.

    `client` and `sample` say which: whether rbootimg's update client does, and whether rBoot's OTA sample does.
    """

    path: str
    text: str
    fault: bool = True
    client: bool = True
    sample: bool = True


class _Problem(NamedTuple):
    """What one of the two kinds of devices chokes on. Those of the same `kind`, or text, are one finding."""

    text: str
    kind: str = ""
    fault: bool = True

    @property
    def key(self) -> str:
        return self.kind or self.text


class _Replies(NamedTuple):
    """What rBoot's OTA sample gets for a path, and what rbootimg's update client gets."""

    sample: Reply
    client: Reply

    @property
    def best(self) -> Reply:
        return self.client if self.sample.status != 200 or self.sample.broken else self.sample


_Content = Callable[[Reply], Iterator[str]]
"""What is wrong with a body."""


def check_url(url: str, timeout: float = TIMEOUT) -> tuple[Finding, ...]:
    """What is noteworthy in the replies for the application at `url`: manifest, version, each ROM in both places, the
    recovery ROM, each data file, and the checksum files of the ROMs.

    Without a manifest only the ROMs that the sample asks for. `timeout` is as in fetch(). Raises UrlError for
    what is no URL, and if there is no server or nothing in it.
    """
    parts = split_url(url)
    found = []
    if parts.scheme == "https":
        text = "rBoot's OTA sample speaks no TLS, so a device needs a client of its own"
        found.append(Finding(url, text, fault=False, client=False, sample=False))
    replies: dict[str, _Replies] = {}

    def ask(path: str, content: _Content | None = None) -> _Replies:
        sample = fetch(parts, path, timeout)
        one = parts.scheme == "https" or not sample.connected  # where the two requests come to the same
        got = replies[path] = _Replies(sample, sample if one else fetch(parts, path, timeout, CLIENT))
        for finding in look(path, got.sample, got.client, content):
            if finding.fault or all(finding.text != known.text for known in found):  # a note is worth one line
                found.append(finding)
        return got

    manifest = ask(MANIFEST)
    if not manifest.sample.connected:
        raise UrlError(f"{MANIFEST} {manifest.sample.broken}; is the server up, and the URL right?")
    try:
        release = Release.from_json(manifest.best.body)
    except ManifestError as error:
        found.append(_without_manifest(manifest.best, error))
        ask(VERSION, _no_version)
        for path in map(rom_name, range(_SLOTS)):
            ask(path, _no_rom)
        if all(got.sample.status == 404 for got in replies.values()):
            text = f"no {MANIFEST} to go by: status 404; give the URL of the application's folder"
            raise UrlError(text) from None
        return tuple(found)
    ask(VERSION, lambda reply: _other_version(reply, release))
    checksums = release.checksums
    for rom in release.all_roms:
        files = {rom.file: "ROM"}
        name = checksum_name(rom.file.name)
        if name in checksums:
            files[StoredFile.of(name, checksums[name])] = "checksum file"
        folders = (f"{release.folder}/",) if rom is release.recovery else ("", f"{release.folder}/")
        for file, what in files.items():
            for folder in folders:
                ask(f"{folder}{file.name}", partial(_other_content, file=file, what=what))
    for file in release.data_files:
        ask(f"{release.folder}/{file.name}", partial(_other_content, file=file, what="file"))
    return tuple(found)


def look(path: str, sample: Reply, client: Reply, content: _Content | None = None) -> Iterator[Finding]:
    """What is noteworthy in the replies for `path` to rBoot's OTA sample and to rbootimg's update client.

    `content` says what is wrong with a body that came with status 200 and whole.
    """
    old = [] if "/" in path else [*_stale(sample)] or [*_stale(client)]  # what is in a release's folder never changes
    both = [_Problem(text) for text in old]
    problems = [*_sample_problems(sample), *both, *_content_problems(sample, content)]
    for_client = [*_client_problems(client), *both, *_content_problems(client, content)]
    if path == VERSION:
        for_client += _long_version(client)
    if not client.connected and sample.connected:  # the server went away in between
        problems = for_client
    yield from _merged(path, problems, for_client)


def _merged(path: str, sample: Sequence[_Problem], client: Sequence[_Problem]) -> Iterator[Finding]:
    """A finding for each problem, with who has it: in words where the other one copes with all that it gets."""
    keys = {problem.key for problem in client}
    for problem in sample:
        only = problem.fault and not client
        text = f"{problem.text}; {_SAMPLE_FAILS}" if only else problem.text
        yield Finding(path, printable(text, _LONGEST), problem.fault, problem.key in keys, problem.fault)
    keys = {problem.key for problem in sample}
    sample_copes = not any(problem.fault for problem in sample)
    for problem in client:
        if problem.key not in keys:
            text = f"{problem.text}; {_CLIENT_FAILS}" if sample_copes else problem.text
            yield Finding(path, printable(text, _LONGEST), client=True, sample=False)


def _content_problems(reply: Reply, content: _Content | None) -> Iterator[_Problem]:
    if content and reply.status == 200 and not reply.broken:
        yield from (_Problem(text) for text in content(reply))


def _client_problems(reply: Reply) -> list[_Problem]:
    """What rbootimg's update client chokes on in a reply: something, if httpreply.py says so, else nothing."""
    if not reply.begun:
        return [*_problems(reply)]
    found = read_as_client(reply.begun)
    come = reply.received - found.size
    problem = found.problem
    if not problem and come != found.length:
        problem = f"has {come:,} bytes, not {found.length:,} as its Content-Length says"
    if not problem and not found.length:
        problem = "is empty"
    if not problem:
        return []
    if problem.startswith("has a header of"):
        return [_Problem(problem, "header")]
    return [*_problems(reply)] or [_Problem(problem)]


def _sample_problems(reply: Reply) -> Iterator[_Problem]:
    """What rBoot's OTA sample chokes on in a reply."""
    yield from _problems(reply)
    if reply.status == 200 and reply.header:
        yield from _first_packet(reply)


def _problems(reply: Reply) -> Iterator[_Problem]:
    """What any device would choke on in a reply."""
    if not reply.status:
        yield _Problem(reply.broken, "no reply")
        return
    if reply.status in _REDIRECTS:
        text = f"redirects to {reply.get('location') or 'nowhere'} (status {reply.status}); no device follows"
        yield _Problem(text)
        return
    if reply.status != 200:
        yield _Problem(f"has status {reply.status}, not 200")
        return
    if chunks := _coding(reply, "transfer-encoding"):
        yield _Problem(f"has Transfer-Encoding: {chunks}; a device would write the chunk sizes to the flash")
    if coding := _coding(reply, "content-encoding"):
        yield _Problem(f"has Content-Encoding: {coding}, unasked; a device would write that to the flash")
    values = reply.values("content-length")
    lengths = {number(value) for value in values}
    if not lengths:
        yield _Problem("has no Content-Length; a device does not know where it ends")
    elif None in lengths:
        yield _Problem(f"has Content-Length: {' and '.join(values)}, which is no number")
    elif len(lengths) > 1:
        yield _Problem(f"has Content-Length: {' and '.join(values)}; a device takes one or the other")
    elif not chunks and reply.surplus > 0:
        text = f"has {reply.surplus:,} byte{'s' * (reply.surplus > 1)} more than its Content-Length"
        yield _Problem(f"{text}; a device never sees its end", "surplus")
    if reply.broken:
        yield _Problem(reply.broken, "broken")


def _first_packet(reply: Reply) -> Iterator[_Problem]:
    """The same for what rBoot's OTA sample reads, which knows no more of HTTP than to look for three texts."""
    header, size = reply.header, len(reply.header)
    if not header.endswith(b"\r\n\r\n") or re.search(rb"(?<!\r)\n", header):
        yield _Problem("has a header whose lines do not end with CR LF")
        return
    if header[9:12] != b"200":
        yield _Problem(f"begins with {header[:12].decode('latin-1')!r}; a device wants 200 there")
        return
    if b"\0" in header:
        yield _Problem("has a zero byte in its header")
        return
    line = re.search(rb"(?i)\r\n(content-length[ \t]*:[^\r]*)", header)
    before, found, _ = header.partition(_LENGTH)
    if line and not found:
        yield _Problem(f"has {line[1].decode('latin-1')!r} for {_LENGTH.decode()!r}")
    elif line and not before.endswith(b"\r\n"):
        other = header[before.rfind(b"\r\n") + 2 :].partition(b"\r\n")[0]
        yield _Problem(f"has {other.decode('latin-1')!r} before its Content-Length")
    if size > HEADER_MOST:
        who = f"rbootimg's update client wants it within {HEADER_MOST:,}, rBoot's OTA sample within {_SEGMENT:,}"
        yield _Problem(f"has a header of {size:,} bytes; {who}", "header")
    elif size > _SEGMENT:
        yield _Problem(f"has a header of {size:,} bytes, not within {_SEGMENT:,}")
    elif reply.first < size:  # which TCP would not cut up
        yield _Problem(f"has {reply.first:,} of its header's {size:,} bytes in the first packet")
    elif reply.first == size < reply.received:
        text = "has its header alone in the first packet; rBoot's OTA sample copes, its first versions did not"
        yield _Problem(text, fault=False)


def _coding(reply: Reply, name: str) -> str:
    """What a body is coded in, if it is."""
    return ", ".join(value for value in reply.values(name) if value.lower() not in ("identity", ""))


def _without_manifest(manifest: Reply, error: ManifestError) -> Finding:
    """That nothing can be compared; unless it came with status 200 a fault is found already."""
    text = "without it no digest of a ROM was compared"
    if manifest.status == 200:
        return Finding(MANIFEST, printable(f"cannot be used: {error}; {text}", _LONGEST))
    return Finding(MANIFEST, text, fault=False, client=False, sample=False)


def _no_version(reply: Reply) -> Iterator[str]:
    try:
        version.parse(reply.body.decode("latin-1").removesuffix("\n"))
    except VersionError:
        yield f"is no version: {reply.body[:40]!r}"


def _other_version(reply: Reply, release: Release) -> Iterator[str]:
    if reply.body != f"{release.version}\n".encode():
        yield f"is {reply.body[:40]!r}, not that of the manifest; one of the two is stale"


def _long_version(reply: Reply) -> Iterator[_Problem]:
    """A version that is one, but not for the client."""
    text = reply.body.decode("latin-1").removesuffix("\n")
    core, _, prerelease = text.partition("-")
    numbers = [part for part in (*core.split("."), *prerelease.split(".")) if part.isdigit()]
    if reply.status != 200 or reply.broken or [*_no_version(reply)]:
        return
    if len(text) > _LONGEST_VERSION:
        yield _Problem(f"has {len(text)} characters, more than {_LONGEST_VERSION}")
    elif any(len(digits) > _LONGEST_NUMBER for digits in numbers):
        yield _Problem(f"has a number of more than {_LONGEST_NUMBER} digits")


def _no_rom(reply: Reply) -> Iterator[str]:
    try:
        fit.read(reply.body)
    except (RomError, FitError) as error:
        yield f"is not a valid ROM: {error}"


def _other_content(reply: Reply, file: StoredFile, what: str) -> Iterator[str]:
    if len(reply.body) != file.size:
        text = f"has {len(reply.body):,} bytes, not {file.size:,} as the manifest says"
    elif digest(reply.body) != file.sha256:
        text = f"is not the {what} of the manifest: its SHA-256 is another"
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

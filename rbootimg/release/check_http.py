"""Check a web root through its server: fetch it as devices do, and report replies with which an update would fail.

There are two clients. rBoot's OTA sample sends HTTP/1.1 requests and expects status 200, a `Content-Length: ` in
exactly this spelling, the complete header in the first packet, and the plain bytes after it. rbootimg's update client
sends HTTP/1.0 requests and expects what httpreply.py describes. So each file is fetched twice, and each finding tells
which of the two fails.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from functools import partial
from typing import NamedTuple

from ..errors import FitError, ManifestError, RomError, UrlError, VersionError
from ..fileio import sha256_hex
from ..rom import fit
from ..text import counted, printable
from . import version
from .finding import Finding
from .http import CLIENT, TIMEOUT, Reply, fetch, number, split_url
from .httpreply import MAX_HEADER_SIZE, read_as_client
from .manifest import Release, StoredFile
from .names import MANIFEST, VERSION, checksum_name, rom_name
from .signify import PublicKey
from .update import UPDATE, parse_update_file
from .updatecheck import content_problems, describe_signed, signature_problem

_SEGMENT = 1460
"""Bytes of data in a TCP segment over Ethernet; the sample expects the complete header in the first one."""
_REDIRECTS = (301, 302, 303, 307, 308)
_LENGTH = b"Content-Length: "
"""The sample searches for this string."""
_NUMBER = "[0-9]{1,18}"
_SLOTS = 2
"""The number of ROMs to fetch without a valid manifest."""
_MAX_LINE = 200
"""Characters of a finding that quotes a server."""
_SAMPLE_FAILS = "rBoot's OTA sample fails; rbootimg's update client handles it"
_CLIENT_FAILS = "rbootimg's update client, which uses HTTP/1.0, fails; rBoot's OTA sample handles it"
_MAX_VERSION = 63
_MAX_DIGITS = 9
"""Characters of a version, and digits of a number in it, that the update client accepts: see rboot-ota.h."""


class _Problem(NamedTuple):
    """A problem that one of the two clients has. Problems with the same `kind`, or text, become one finding."""

    text: str
    kind: str = ""
    fault: bool = True

    @property
    def key(self) -> str:
        return self.kind or self.text


class _Replies(NamedTuple):
    """The replies for a path to rBoot's OTA sample and to rbootimg's update client."""

    sample: Reply
    client: Reply

    @property
    def best(self) -> Reply:
        """The sample's reply if it is complete, else the client's."""
        return self.client if self.sample.status != 200 or self.sample.failure else self.sample


_Content = Callable[[Reply], Iterator[str]]
"""Yields the problems with the body of a reply."""


def check_url(url: str, timeout: float = TIMEOUT, keys: Sequence[PublicKey] = ()) -> tuple[Finding, ...]:
    """Return the faults and notes about the replies for the application at `url`.

    Fetches manifest, version, each ROM (current and in its release), the recovery ROM, data and checksum files, and the
    update file, which with `keys` must be signed by one of them; without a manifest version, update file and the ROMs
    that rBoot's OTA sample requests. `timeout` is as in fetch(). Raises UrlError for an invalid URL, and if there is no
    server or no application.
    """
    parts = split_url(url)
    found = []
    if parts.scheme == "https":
        text = "rBoot's OTA sample does not support TLS: devices need another client"
        found.append(Finding(url, text, fault=False, client_fails=False, sample_fails=False))
    replies: dict[str, _Replies] = {}

    def ask(path: str, content: _Content | None = None) -> _Replies:
        sample = fetch(parts, path, timeout)
        same = parts.scheme == "https" or not sample.connected  # the second request would have the same result
        got = replies[path] = _Replies(sample, sample if same else fetch(parts, path, timeout, CLIENT))
        for finding in inspect_reply(path, got.sample, got.client, content):
            if finding.fault or all(finding.text != known.text for known in found):  # each note only once
                found.append(finding)
        return got

    manifest = ask(MANIFEST)
    if not manifest.sample.connected:
        raise UrlError(f"{MANIFEST}: {manifest.sample.failure}; check the URL and that the server is running")
    try:
        release = Release.from_json(manifest.best.body)
    except ManifestError as error:
        found.append(_without_manifest(manifest.best, error))
        ask(VERSION, _version_problem)
        for path in map(rom_name, range(_SLOTS)):
            ask(path, _rom_problem)
        if all(got.sample.status == 404 for got in replies.values()):
            text = f"no {MANIFEST}: status 404; use the URL of the application's directory"
            raise UrlError(text) from None
        return (*found, *_check_update(fetch(parts, UPDATE, timeout, CLIENT), None, keys))
    ask(VERSION, lambda reply: _version_mismatch(reply, release))
    checksums = release.checksums
    for rom in release.all_roms:
        files = {rom.file: "ROM"}
        name = checksum_name(rom.file.name)
        if name in checksums:
            files[StoredFile.of(name, checksums[name])] = "checksum file"
        directories = (f"{release.directory}/",) if rom is release.recovery else ("", f"{release.directory}/")
        for file, what in files.items():
            for directory in directories:
                ask(f"{directory}{file.name}", partial(_content_mismatch, file=file, what=what))
    for file in release.data_files:
        ask(f"{release.directory}/{file.name}", partial(_content_mismatch, file=file, what="file"))
    return (*found, *_check_update(fetch(parts, UPDATE, timeout, CLIENT), release, keys))


def _check_update(reply: Reply, release: Release | None, keys: Sequence[PublicKey]) -> Iterator[Finding]:
    """Yield the findings about the reply for the update file, which rBoot's OTA sample does not request."""
    if reply.status == 404 and not keys:
        text = "status 404: devices that read it get no updates"
        yield Finding(UPDATE, text, fault=False, client_fails=True, sample_fails=False)
        return
    problems = [problem.text for problem in _client_problems(reply)] + [*_stale(reply)]
    if not problems:
        try:
            file = parse_update_file(reply.body)
        except ManifestError as error:
            problems.append(error.message)
        else:
            if keys and (problem := signature_problem(file, keys)):
                problems.append(problem)
            if release:
                stale = "one of the two is stale"
                problems += (f"{problem}; {stale}" for problem in content_problems(file.update, release))
            if file.signed.number:
                note = printable(describe_signed(file, keys), _MAX_LINE)
                yield Finding(UPDATE, note, fault=False, client_fails=False, sample_fails=False)
    for text in problems:
        yield Finding(UPDATE, printable(text, _MAX_LINE), client_fails=True, sample_fails=False)


def inspect_reply(path: str, sample: Reply, client: Reply, content: _Content | None = None) -> Iterator[Finding]:
    """Yield the findings about the replies for `path` to rBoot's OTA sample and to rbootimg's update client.

    `content` checks the body of a complete reply with status 200.
    """
    caching = [] if "/" in path else [*_stale(sample)] or [*_stale(client)]  # files of a release never change
    both = [_Problem(text) for text in caching]
    problems = [*_sample_problems(sample), *both, *_content_problems(sample, content)]
    for_client = [*_client_problems(client), *both, *_content_problems(client, content)]
    if path == VERSION:
        for_client += _version_too_long(client)
    if not client.connected and sample.connected:  # the server stopped in between
        problems = for_client
    yield from _merged(path, problems, for_client)


def _merged(path: str, sample: Sequence[_Problem], client: Sequence[_Problem]) -> Iterator[Finding]:
    """Yield a finding for each problem; its text names the failing client if the other one handles all."""
    keys = {problem.key for problem in client}
    for problem in sample:
        only = problem.fault and not client
        text = f"{problem.text}; {_SAMPLE_FAILS}" if only else problem.text
        yield Finding(
            path,
            printable(text, _MAX_LINE),
            problem.fault,
            client_fails=problem.key in keys,
            sample_fails=problem.fault,
        )
    keys = {problem.key for problem in sample}
    sample_handles_it = not any(problem.fault for problem in sample)
    for problem in client:
        if problem.key not in keys:
            text = f"{problem.text}; {_CLIENT_FAILS}" if sample_handles_it else problem.text
            yield Finding(path, printable(text, _MAX_LINE), client_fails=True, sample_fails=False)


def _content_problems(reply: Reply, content: _Content | None) -> Iterator[_Problem]:
    if content and reply.status == 200 and not reply.failure:
        yield from (_Problem(text) for text in content(reply))


def _client_problems(reply: Reply) -> list[_Problem]:
    """Return the problems that rbootimg's update client has with a reply; none if httpreply.py accepts it."""
    if not reply.raw:
        return [*_problems(reply)]
    found = read_as_client(reply.raw)
    size = reply.received - found.size
    problem = found.problem
    if not problem and size != found.length:
        problem = f"{counted(size, 'byte')}, expected {found.length:,} from the Content-Length"
    if not problem and not found.length:
        problem = "empty reply"
    if not problem:
        return []
    if found.header_too_long:
        return [_Problem(problem, "header")]
    return [*_problems(reply)] or [_Problem(problem)]


def _sample_problems(reply: Reply) -> Iterator[_Problem]:
    """Yield the problems that rBoot's OTA sample has with a reply."""
    yield from _problems(reply)
    if reply.status == 200 and reply.header:
        yield from _first_packet(reply)


def _problems(reply: Reply) -> Iterator[_Problem]:
    """Yield the problems that any client has with a reply."""
    if not reply.status:
        yield _Problem(reply.failure, "no reply")
        return
    if reply.status in _REDIRECTS:
        target = reply.get("location") or "an unknown location"
        text = f"redirect to {target} (status {reply.status}); devices do not follow it"
        yield _Problem(text)
        return
    if reply.status != 200:
        yield _Problem(f"status {reply.status}, expected 200")
        return
    if chunks := _coding(reply, "transfer-encoding"):
        yield _Problem(f"Transfer-Encoding: {chunks}; devices would write the chunk sizes to the flash")
    if coding := _coding(reply, "content-encoding"):
        yield _Problem(f"Content-Encoding: {coding}, not requested; devices would write the encoded bytes to the flash")
    values = reply.values("content-length")
    lengths = {number(value) for value in values}
    if not lengths:
        yield _Problem("missing Content-Length; devices cannot tell where the file ends")
    elif None in lengths:
        yield _Problem(f"invalid Content-Length: {' and '.join(values)}")
    elif len(lengths) > 1:
        yield _Problem(f"different Content-Lengths: {' and '.join(values)}; devices use one of them")
    elif not chunks and reply.surplus > 0:
        text = f"{counted(reply.surplus, 'byte')} more than its Content-Length"
        yield _Problem(f"{text}; devices never detect the end", "surplus")
    if reply.failure:
        yield _Problem(reply.failure, "failure")


def _first_packet(reply: Reply) -> Iterator[_Problem]:
    """Yield the problems of rBoot's OTA sample with the header: it only searches for three strings."""
    header, size = reply.header, len(reply.header)
    if not header.endswith(b"\r\n\r\n") or re.search(rb"(?<!\r)\n", header):
        yield _Problem("lines of the header do not end with CR LF")
        return
    if header[9:12] != b"200":
        yield _Problem(f"invalid status line {header[:12].decode('latin-1')!r}: expected 200 in bytes 9 to 11")
        return
    if b"\0" in header:
        yield _Problem("zero byte in the header")
        return
    line = re.search(rb"(?i)\r\n(content-length[ \t]*:[^\r]*)", header)
    before, found, _ = header.partition(_LENGTH)
    if line and not found:
        yield _Problem(f"header line {line[1].decode('latin-1')!r}: expected the spelling {_LENGTH.decode()!r}")
    elif line and not before.endswith(b"\r\n"):
        other = header[before.rfind(b"\r\n") + 2 :].partition(b"\r\n")[0]
        yield _Problem(
            f"header line {other.decode('latin-1')!r} before the Content-Length, for which the sample takes it"
        )
    if size > MAX_HEADER_SIZE:
        limits = f"{MAX_HEADER_SIZE:,} (rbootimg's update client), {_SEGMENT:,} (rBoot's OTA sample)"
        yield _Problem(f"header of {size:,} bytes: expected at most {limits}", "header")
    elif size > _SEGMENT:
        yield _Problem(f"header of {size:,} bytes: expected at most {_SEGMENT:,}")
    elif reply.first < size:  # the server sent it in pieces: it fits a segment
        yield _Problem(f"first packet has only {reply.first:,} of the header's {size:,} bytes")
    elif reply.first == size < reply.received:
        text = "first packet has only the header; rBoot's OTA sample handles it, but its first versions did not"
        yield _Problem(text, fault=False)


def _coding(reply: Reply, name: str) -> str:
    """Return the encodings of a body, empty without any."""
    return ", ".join(value for value in reply.values(name) if value.lower() not in ("identity", ""))


def _without_manifest(manifest: Reply, error: ManifestError) -> Finding:
    """Return the finding that no ROM can be compared: a note for a status other than 200, which is a fault already."""
    text = "without a manifest the content of the ROMs was not compared"
    if manifest.status == 200:
        return Finding(MANIFEST, printable(f"{error}; {text}", _MAX_LINE), client_fails=True, sample_fails=True)
    return Finding(MANIFEST, text, fault=False, client_fails=False, sample_fails=False)


def _version_problem(reply: Reply) -> Iterator[str]:
    try:
        version.parse(reply.body.decode("latin-1").removesuffix("\n"))
    except VersionError:
        yield f"invalid version: {reply.body[:40]!r}"


def _version_mismatch(reply: Reply, release: Release) -> Iterator[str]:
    if reply.body != f"{release.version}\n".encode():
        yield f"{reply.body[:40]!r}: expected {release.version} as in the manifest; one of the two is stale"


def _version_too_long(reply: Reply) -> Iterator[_Problem]:
    """Yield the problem of rbootimg's update client with a valid version."""
    text = reply.body.decode("latin-1").removesuffix("\n")
    core, _, prerelease = text.partition("-")
    numbers = [part for part in (*core.split("."), *prerelease.split(".")) if part.isdigit()]
    if reply.status != 200 or reply.failure or [*_version_problem(reply)]:
        return
    if len(text) > _MAX_VERSION:
        yield _Problem(f"version of {len(text)} characters: expected at most {_MAX_VERSION}")
    elif any(len(digits) > _MAX_DIGITS for digits in numbers):
        yield _Problem(f"version with a number of more than {_MAX_DIGITS} digits")


def _rom_problem(reply: Reply) -> Iterator[str]:
    try:
        fit.read(reply.body)
    except (RomError, FitError) as error:
        yield f"invalid ROM: {error}"


def _content_mismatch(reply: Reply, file: StoredFile, what: str) -> Iterator[str]:
    if len(reply.body) != file.size:
        text = f"{counted(len(reply.body), 'byte')}, expected {file.size:,} from the manifest"
    elif sha256_hex(reply.body) != file.sha256:
        text = f"not the {what} of the manifest: SHA-256 mismatch"
    else:
        return
    yield f"{text}; one of the two is stale or corrupt"


def _stale(reply: Reply) -> Iterator[str]:
    """Yield why the reply for a file that changes could be outdated."""
    if reply.status != 200:
        return
    if (age := re.fullmatch(_NUMBER, reply.get("age"))) and int(age[0]) > 0:
        yield f"from a cache, {counted(int(age[0]), 'second')} old; send Cache-Control: no-cache"
    control = reply.get("cache-control").lower()
    if re.search("no-cache|no-store", control):
        return
    ages = [int(age) for age in re.findall(rf'(?:s-maxage|max-age)="?({_NUMBER})', control)]
    if any(ages):
        yield f"may be cached for {counted(max(ages), 'second')} after a release; send Cache-Control: no-cache"
    expires, now = _date(reply.get("expires")), _date(reply.get("date")) or datetime.now(timezone.utc)
    if expires and expires > now and not ages:
        yield f"may be cached until {reply.get('expires')}; send Cache-Control: no-cache"


def _date(text: str) -> datetime | None:
    """Parse a date of RFC 9110, 5.6.7; None if it is invalid, which counts as expired."""
    with contextlib.suppress(ValueError):
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=timezone.utc)
    return None

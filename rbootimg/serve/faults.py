"""Faults that the development server injects on purpose: their syntax, and a response with faults in it."""

from __future__ import annotations

import enum
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import SettingError


class FaultKind(enum.Enum):
    """The kinds of fault; the value is the name on the command line."""

    NOT_FOUND = "404"
    SERVER_ERROR = "500"
    NOT_FOUND_AS_200 = "404-as-200"
    REDIRECT = "redirect"
    CHUNKED = "chunked"
    LOWER_CASE = "lower-case"
    BURSTS = "bursts"
    TRUNCATE = "truncate"
    RESET = "reset"
    STALL = "stall"
    FLIP = "flip"
    SPLIT = "split"

    @property
    def has_offset(self) -> bool:
        """Whether the fault is at a byte, written as `@N`."""
        return self in (FaultKind.TRUNCATE, FaultKind.RESET, FaultKind.STALL, FaultKind.FLIP, FaultKind.SPLIT)


STATUS = {
    FaultKind.NOT_FOUND: 404,
    FaultKind.SERVER_ERROR: 500,
    FaultKind.NOT_FOUND_AS_200: 200,
    FaultKind.REDIRECT: 302,
}
"""The status of the faults that replace the complete response."""

BURST = 5840
"""Four segments of 1,460 bytes: what a device's TCP delivers at once after the application was slow to read."""

_FORM = re.compile(r"(?:(?P<path>[^=]*)=)?(?P<kind>[a-z0-9-]+)(?:@(?P<at>[0-9]{1,9})(?::(?P<seconds>[0-9]{1,9}))?)?")
_FORMS = ", ".join([*(f"{kind.value}{'@N' * kind.has_offset}" for kind in FaultKind), "stall@N:SECONDS"])
_SPLIT_PAUSE = 0.2
_BURST_PAUSE = 0.05
_MAX_SEARCHED, _MAX_LISTED = 10_000, 8

HELP = (
    ("404, 500", "send this status"),
    ("404-as-200", "send a page `404 Not Found` with status 200"),
    ("redirect", "redirect to the same path with ?redirected, which is served"),
    ("truncate@N", "close the connection after N bytes of the body"),
    ("reset@N", "reset the connection after N bytes of the body"),
    ("stall@N[:SECONDS]", "stop after N bytes of the body, forever or for SECONDS"),
    ("flip@N", "invert byte N of the body, counted from 0"),
    ("split@N", "send the first N bytes of the header in their own segment"),
    ("chunked", "use chunked encoding, without a Content-Length"),
    ("lower-case", "send header names in lower case"),
    ("bursts", f"send {BURST:,} bytes at a time"),
)
"""Each fault and its effect, for --help."""


@dataclass(frozen=True)
class Fault:
    """A fault at byte `at`, of the header for SPLIT and else of the body, for paths that match the pattern `path`.

    `seconds` is the duration of a STALL.
    """

    kind: FaultKind
    at: int = 0
    seconds: float = math.inf
    path: str = "*"


@dataclass(frozen=True)
class Pause:
    """A step of a response: send nothing for some seconds."""

    seconds: float


class End(enum.Enum):
    """The last step of an aborted response: close or reset the connection."""

    CLOSE = enum.auto()
    RESET = enum.auto()


Step = bytes | Pause | End


def parse(text: str) -> Fault:
    """Parse `[PATH=]KIND[@BYTE[:SECONDS]]`, such as `reset@5000` or `rom1.bin=404`. Raises SettingError."""
    match = _FORM.fullmatch(text)
    kind = next((kind for kind in FaultKind if match and match["kind"] == kind.value), None)
    if (
        match is None
        or kind is None
        or (match["at"] is not None) != kind.has_offset
        or (match["seconds"] is not None and kind is not FaultKind.STALL)
    ):
        raise SettingError(f"unknown fault {text!r}: expected [PATH=]FAULT, with FAULT one of {_FORMS}")
    seconds = math.inf if match["seconds"] is None else float(match["seconds"])
    return Fault(kind, int(match["at"] or 0), seconds, match["path"] or "*")


def faults_for(path: str, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Select the `faults` for the file at `path`, relative to the web root. `*` in a pattern also matches slashes."""
    return tuple(fault for fault in faults if fnmatchcase(path, fault.path))


def check(faults: Iterable[Fault], is_served: Callable[[str], bool], served_paths: Callable[[], Iterable[str]]) -> None:
    """Check that each fault matches a file, except those for every file. Raises SettingError for a likely typo.

    `is_served` tells whether a path is served, `served_paths` lists all of them. One match is enough: files that are
    published later get the faults of patterns too.
    """
    for fault in faults:
        if fnmatchcase("", fault.path):
            continue
        if any(character in fault.path for character in "*?["):
            found = any(fnmatchcase(path, fault.path) for path in served_paths())
            problem = f"no file matches {fault.path!r}"
        else:
            found = is_served(fault.path)
            problem = f"no such file {fault.path!r}"
        if not found:
            known = list(itertools.islice(served_paths(), _MAX_SEARCHED))
            raise SettingError(f"fault {fault.kind.value}: {problem}; {_alternatives(fault.path, known)}")


def _alternatives(path: str, known: Sequence[str]) -> str:
    import difflib  # for the error only

    if not known:
        return "publish a release first, or omit the path to match every file"
    # No complete path may be similar if a directory is missing or there is a leading slash.
    near = difflib.get_close_matches(path, known, 3)
    near = near or [other for other in known if other.rpartition("/")[2] == path.rpartition("/")[2]][:3]
    if near:
        return f"similar: {', '.join(map(repr, near))}"
    more = f" and {len(known) - _MAX_LISTED:,} more" if len(known) > _MAX_LISTED else ""
    return f"available: {', '.join(map(repr, known[:_MAX_LISTED]))}{more}"


def steps(faults: Sequence[Fault], head: bytes, pieces: Iterable[bytes], with_body: bool = True) -> Iterator[Step]:
    """Generate the steps of a response with the `faults` in it. `head` and the first of `pieces` are one step.

    Faults in the body have no effect on a response without one (to HEAD, or 304): `with_body` is False, `pieces` empty.
    """
    by_kind = {fault.kind: fault for fault in faults}
    if FaultKind.LOWER_CASE in by_kind:
        head = _lower_case(head)
    if FaultKind.CHUNKED in by_kind:
        head = _without_length(head)
    body: Iterator[Step] = iter(pieces)
    if fault := by_kind.get(FaultKind.FLIP):
        body = _flip(body, fault.at)
    if fault := by_kind.get(FaultKind.STALL):
        body = _insert(body, fault.at, Pause(fault.seconds))
    if fault := by_kind.get(FaultKind.TRUNCATE):
        body = _insert(body, fault.at, End.CLOSE)
    if fault := by_kind.get(FaultKind.RESET):
        body = _insert(body, fault.at, End.RESET)
    if FaultKind.CHUNKED in by_kind and with_body:
        body = _chunk(body)
    response = _join(head, body)
    if FaultKind.BURSTS in by_kind:
        response = _in_bursts(response)
    if fault := by_kind.get(FaultKind.SPLIT):
        response = _split(response, min(fault.at, len(head)))
    return response


def _lower_case(head: bytes) -> bytes:
    status, *lines = head.split(b"\r\n")
    names = (line.partition(b":") for line in lines)
    return b"\r\n".join([status, *(name.lower() + colon + value for name, colon, value in names)])


def _without_length(head: bytes) -> bytes:
    return re.sub(rb"(?i)(\r\n)content-length:[^\r]*", rb"\1Transfer-Encoding: chunked", head)


def _flip(body: Iterable[Step], at: int) -> Iterator[Step]:
    start = 0
    for step in body:
        if isinstance(step, bytes):
            offset, start = at - start, start + len(step)
            if 0 <= offset < len(step):
                step = step[:offset] + bytes([step[offset] ^ 0xFF]) + step[offset + 1 :]
        yield step


def _insert(body: Iterable[Step], at: int, new: Step) -> Iterator[Step]:
    """Insert the step `new` at byte `at`; nothing follows an End. A shorter body is unchanged."""
    start = 0
    done = False
    for step in body:
        if isinstance(step, bytes):
            offset, start = at - start, start + len(step)
            if not done and offset < len(step):
                done = True
                if offset:
                    yield step[:offset]
                yield new
                if isinstance(new, End):
                    return
                step = step[offset:]
        yield step


def _chunk(body: Iterable[Step]) -> Iterator[Step]:
    for step in body:
        yield b"%x\r\n%b\r\n" % (len(step), step) if isinstance(step, bytes) else step
        if isinstance(step, End):
            return
    yield b"0\r\n\r\n"


def _join(head: bytes, body: Iterator[Step]) -> Iterator[Step]:
    first = next(body, b"")
    if isinstance(first, bytes):
        yield head + first
    else:
        yield from (head, first)
    yield from body


def _in_bursts(response: Iterable[Step]) -> Iterator[Step]:
    pending = b""
    for step in response:
        if isinstance(step, bytes):
            pending += step
            while len(pending) > BURST:
                yield from (pending[:BURST], Pause(_BURST_PAUSE))
                pending = pending[BURST:]
        else:
            if pending:
                yield from (pending, Pause(_BURST_PAUSE))
                pending = b""
            yield step
    if pending:
        yield pending


def _split(response: Iterator[Step], at: int) -> Iterator[Step]:
    first = next(response)
    if isinstance(first, bytes) and 0 < at < len(first):
        yield from (first[:at], Pause(_SPLIT_PAUSE), first[at:])
    else:
        yield first
    yield from response

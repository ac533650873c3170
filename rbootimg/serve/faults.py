"""What goes wrong in the field, for the development server to do on purpose: the faults, and a response with them."""

from __future__ import annotations

import enum
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..errors import SettingError

STATUS = {"404": 404, "500": 500, "404-as-200": 200, "redirect": 302}
"""The status of the faults that replace the whole response."""

BURST = 5840
"""Four segments of 1,460 bytes, what a device's TCP hands over at once when it was slow to ask."""

_FORM = re.compile(r"(?:(?P<path>[^=]*)=)?(?P<kind>[a-z0-9-]+)(?:@(?P<at>[0-9]{1,9})(?::(?P<seconds>[0-9]{1,9}))?)?")
_WHOLE = (*STATUS, "chunked", "lower-case", "bursts")
_AT_BYTE = ("truncate", "reset", "stall", "flip", "split")
KINDS = (*_WHOLE, *_AT_BYTE)
"""All faults there are."""

_FORMS = ", ".join([*_WHOLE, *(f"{kind}@N" for kind in _AT_BYTE), "stall@N:SECONDS"])
_SPLIT_PAUSE = 0.2
_BURST_PAUSE = 0.05
_MOST_SEEN, _MOST_LISTED = 10_000, 8

HELP = (
    "404, 500: that status; 404-as-200: a page that says so with status 200; redirect: to the same with ?redirected, "
    "which is served; truncate@N: the connection ends after N bytes of the body; reset@N: it is reset there; "
    "stall@N[:SECONDS]: nothing more comes there, for so long or for ever; flip@N: byte N of the body, counted from 0, "
    "is inverted; split@N: the first N bytes of the header are a segment of their own, or all of a shorter header; "
    "chunked: chunked encoding without a Content-Length; lower-case: header names are; "
    f"bursts: {BURST:,} bytes at a time"
)
"""What each fault does."""


@dataclass(frozen=True)
class Fault:
    """Something to go wrong at byte `at`, of the header for `split` and else of the body, on paths like `path`.

    `seconds` is how long a stall lasts.
    """

    kind: str
    at: int = 0
    seconds: float = math.inf
    path: str = "*"


@dataclass(frozen=True)
class Pause:
    """A step of a response: nothing is sent for so many seconds."""

    seconds: float


class End(enum.Enum):
    """The last step of a response that ends too early: the connection is closed, or reset."""

    CLOSE = enum.auto()
    RESET = enum.auto()


Step = bytes | Pause | End


def parse(text: str) -> Fault:
    """The fault of a `[PATH=]KIND[@BYTE[:SECONDS]]`, such as `reset@5000` or `rom1.bin=404`. Raises SettingError."""
    match = _FORM.fullmatch(text)
    if (
        match is None
        or match["kind"] not in (_WHOLE if match["at"] is None else _AT_BYTE)
        or (match["seconds"] is not None and match["kind"] != "stall")
    ):
        raise SettingError(f"{text!r} is no fault; write one of {_FORMS}, for one file only with PATH= before it")
    seconds = math.inf if match["seconds"] is None else float(match["seconds"])
    return Fault(match["kind"], int(match["at"] or 0), seconds, match["path"] or "*")


def meant_for(path: str, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Those of the `faults` that are for the file at `path`, relative to the web root; `*` goes over slashes."""
    return tuple(fault for fault in faults if fnmatchcase(path, fault.path))


def check(faults: Iterable[Fault], is_served: Callable[[str], bool], served: Callable[[], Iterable[str]]) -> None:
    """Raise SettingError for one that is for no file, most likely by a slip; one for every file is for those to come.

    `is_served` tells whether something is at a path, `served` has the paths of all. There need be one at the start
    only: what comes later has the faults of patterns too.
    """
    for fault in faults:
        if fnmatchcase("", fault.path):
            continue
        if any(character in fault.path for character in "*?["):
            found = any(fnmatchcase(path, fault.path) for path in served())
            said = f"no file is like {fault.path!r}"
        else:
            found = is_served(fault.path)
            said = f"there is no file {fault.path!r}"
        if not found:
            known = list(itertools.islice(served(), _MOST_SEEN))
            raise SettingError(f"{said}, which the fault {fault.kind} is for; {_instead(fault.path, known)}")


def _instead(path: str, known: Sequence[str]) -> str:
    import difflib  # for the error only

    if not known:
        return "publish something first, or leave the path out, for every file and those that are yet to come"
    # The whole path may be like none for want of a folder or for a slash at its beginning.
    near = difflib.get_close_matches(path, known, 3)
    near = near or [other for other in known if other.rpartition("/")[2] == path.rpartition("/")[2]][:3]
    if near:
        return f"similar: {', '.join(map(repr, near))}"
    more = f" and {len(known) - _MOST_LISTED:,} more" if len(known) > _MOST_LISTED else ""
    return f"there are {', '.join(map(repr, known[:_MOST_LISTED]))}{more}"


def steps(faults: Sequence[Fault], head: bytes, pieces: Iterable[bytes], with_body: bool = True) -> Iterator[Step]:
    """A response as it is sent, with the `faults` in it; without any, `head` and the first of `pieces` are one step.

    One to HEAD and a 304 are not `with_body`, have no `pieces` and get none: faults of the body do nothing to them.
    """
    by_kind = {fault.kind: fault for fault in faults}
    if "lower-case" in by_kind:
        head = _lower_case(head)
    if "chunked" in by_kind:
        head = _without_length(head)
    body: Iterator[Step] = iter(pieces)
    if "flip" in by_kind:
        body = _flipped(body, by_kind["flip"].at)
    if "stall" in by_kind:
        body = _at(body, by_kind["stall"].at, Pause(by_kind["stall"].seconds))
    if "truncate" in by_kind:
        body = _at(body, by_kind["truncate"].at, End.CLOSE)
    if "reset" in by_kind:
        body = _at(body, by_kind["reset"].at, End.RESET)
    if "chunked" in by_kind and with_body:
        body = _chunked(body)
    whole = _joined(head, body)
    if "bursts" in by_kind:
        whole = _in_bursts(whole)
    if "split" in by_kind:
        whole = _split(whole, min(by_kind["split"].at, len(head)))
    return whole


def _lower_case(head: bytes) -> bytes:
    status, *lines = head.split(b"\r\n")
    names = (line.partition(b":") for line in lines)
    return b"\r\n".join([status, *(name.lower() + colon + value for name, colon, value in names)])


def _without_length(head: bytes) -> bytes:
    return re.sub(rb"(?i)(\r\n)content-length:[^\r]*", rb"\1Transfer-Encoding: chunked", head)


def _flipped(body: Iterable[Step], at: int) -> Iterator[Step]:
    start = 0
    for step in body:
        if isinstance(step, bytes):
            place, start = at - start, start + len(step)
            if 0 <= place < len(step):
                step = step[:place] + bytes([step[place] ^ 0xFF]) + step[place + 1 :]
        yield step


def _at(body: Iterable[Step], at: int, what: Step) -> Iterator[Step]:
    """`body` with `what` at a byte; after an end nothing follows. A body that ends before that byte stays as it is."""
    start = 0
    done = False
    for step in body:
        if isinstance(step, bytes):
            place, start = at - start, start + len(step)
            if not done and place < len(step):
                done = True
                if place:
                    yield step[:place]
                yield what
                if isinstance(what, End):
                    return
                step = step[place:]
        yield step


def _chunked(body: Iterable[Step]) -> Iterator[Step]:
    for step in body:
        yield b"%x\r\n%b\r\n" % (len(step), step) if isinstance(step, bytes) else step
        if isinstance(step, End):
            return
    yield b"0\r\n\r\n"


def _joined(head: bytes, body: Iterator[Step]) -> Iterator[Step]:
    first = next(body, b"")
    if isinstance(first, bytes):
        yield head + first
    else:
        yield from (head, first)
    yield from body


def _in_bursts(whole: Iterable[Step]) -> Iterator[Step]:
    waiting = b""
    for step in whole:
        if isinstance(step, bytes):
            waiting += step
            while len(waiting) > BURST:
                yield from (waiting[:BURST], Pause(_BURST_PAUSE))
                waiting = waiting[BURST:]
        else:
            if waiting:
                yield from (waiting, Pause(_BURST_PAUSE))
                waiting = b""
            yield step
    if waiting:
        yield waiting


def _split(whole: Iterator[Step], at: int) -> Iterator[Step]:
    first = next(whole)
    if isinstance(first, bytes) and 0 < at < len(first):
        yield from (first[:at], Pause(_SPLIT_PAUSE), first[at:])
    else:
        yield first
    yield from whole

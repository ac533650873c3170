"""A server's reply as rbootimg's update client takes it: the rules of firmware/ota/ota_http.c, stated once more.

Both are strict in the same places (RFC 9112 is not everywhere), as what follows the header is written to the flash.
tests/release/test_reply_contract.py holds them against each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..text import quote

HEADER_MOST = 4096
"""Bytes of the header, with the interim replies before it: OTA_MAX_HEADER_SIZE."""

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: " + _TEXT + rb")?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(" + _TEXT + rb")")
_MORE = re.compile(rb"[ \t]" + _TEXT)
_LINE = re.compile(rb"([^\n]*?)\r?\n")
_LENGTH, _TRANSFER, _CONTENT = b"content-length", b"transfer-encoding", b"content-encoding"


@dataclass(frozen=True)
class ClientReply:
    """What the client makes of a reply. `problem` says why it refuses it, empty if it takes the body.

    `size` is that of the header in bytes, with the interim replies; `length` that of the body.
    """

    problem: str = ""
    size: int = 0
    length: int = 0


def read_as_client(data: bytes) -> ClientReply:
    """What the client makes of a reply that begins with `data`, before the body."""
    start = 0
    while True:
        end, lines = _header(data, start)
        if problem := _malformed(lines):
            return ClientReply(problem)
        if not end:
            too_long = len(data) > HEADER_MOST
            return ClientReply(f"has a header of more than {HEADER_MOST:,} bytes" if too_long else "ends in its header")
        status = int(lines[0][9:12])
        if status // 100 != 1 or status == 101:
            break
        start = end  # an interim reply: the one that counts follows
    if status != 200:
        return ClientReply(f"has status {status}, not 200")
    if any(name == _TRANSFER and value.lower() != b"identity" for name, value in _headers(lines)):
        return ClientReply("has a Transfer-Encoding")
    if any(name == _CONTENT and value.lower() not in (b"identity", b"") for name, value in _headers(lines)):
        return ClientReply("has a Content-Encoding")
    lengths = [value for name, value in _headers(lines) if name == _LENGTH]
    if not lengths:
        return ClientReply("has no Content-Length")
    return ClientReply(size=end, length=int(lengths[0]))


def _header(data: bytes, start: int) -> tuple[int, list[bytes]]:
    """Where the header ends that begins at `start`, 0 if it does not; and its lines, those that are whole."""
    lines: list[bytes] = []
    while line := _LINE.match(data, start, HEADER_MOST):
        start = line.end()
        if not line[1] and lines:
            return start, lines
        lines.append(line[1])
    return 0, lines


def _malformed(lines: list[bytes]) -> str:
    """What the client stops at, if at anything."""
    if lines and not _STATUS_LINE.fullmatch(lines[0]):
        return f"begins with {_shown(lines[0])}, not with HTTP/1.0 or HTTP/1.1 and a status"
    name = _LENGTH  # nothing that could go on
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header:
            name = header[1].lower()
        elif not _MORE.fullmatch(line) or name in (_LENGTH, _TRANSFER, _CONTENT):
            return f"has the header line {_shown(line)}, which is malformed"
    lengths = [value for name, value in _headers(lines) if name == _LENGTH]
    if not all(re.fullmatch(rb"[0-9]+", length) for length in lengths):
        return f"has Content-Length: {' and '.join(map(_shown, lengths))}, which is no number"
    if len({int(length) for length in lengths}) > 1:
        return f"has Content-Length: {' and '.join(map(_shown, lengths))}, which differ"
    return ""


def _headers(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    found = [header for line in lines[1:] if (header := _HEADER.fullmatch(line))]
    return [(header[1].lower(), header[2].rstrip(b" \t")) for header in found]


def _shown(data: bytes) -> str:
    return quote(data.decode("latin-1"), 40)

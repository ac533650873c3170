"""Parse a server's reply as rbootimg's update client does: the rules of firmware/ota/ota_http.c in Python.

Both are stricter than RFC 9112 in the same places, as the bytes after the header are written to the flash.
tests/release/test_reply_contract.py compares the two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..text import quote

MAX_HEADER_SIZE = 4096
"""Maximum bytes of the header, including interim replies: OTA_MAX_HEADER_SIZE."""

_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: " + _TEXT + rb")?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(" + _TEXT + rb")")
_MORE = re.compile(rb"[ \t]" + _TEXT)
_LINE = re.compile(rb"([^\n]*?)\r?\n")
_LENGTH, _TRANSFER, _CONTENT = b"content-length", b"transfer-encoding", b"content-encoding"


@dataclass(frozen=True)
class ClientReply:
    """The client's view of a reply. `problem` tells why the client refuses it; empty if it accepts the body.

    `size` is the size of the header in bytes, including interim replies; `length` that of the body.
    """

    problem: str = ""
    size: int = 0
    length: int = 0
    header_too_long: bool = False


def read_as_client(data: bytes) -> ClientReply:
    """Return the client's view of a reply that begins with `data`, before it reads the body."""
    start = 0
    while True:
        end, lines = _header(data, start)
        if problem := _malformed(lines):
            return ClientReply(problem)
        if not end:
            if len(data) > MAX_HEADER_SIZE:
                return ClientReply(f"header of more than {MAX_HEADER_SIZE:,} bytes", header_too_long=True)
            return ClientReply("truncated in the header")
        status = int(lines[0][9:12])
        if status // 100 != 1 or status == 101:
            break
        start = end  # an interim reply: the final one follows
    if status != 200:
        return ClientReply(f"status {status}, expected 200")
    if any(name == _TRANSFER and value.lower() != b"identity" for name, value in _headers(lines)):
        return ClientReply("Transfer-Encoding is not supported")
    if any(name == _CONTENT and value.lower() not in (b"identity", b"") for name, value in _headers(lines)):
        return ClientReply("Content-Encoding is not supported")
    lengths = [value for name, value in _headers(lines) if name == _LENGTH]
    if not lengths:
        return ClientReply("missing Content-Length")
    return ClientReply(size=end, length=int(lengths[0]))


def _header(data: bytes, start: int) -> tuple[int, list[bytes]]:
    """Return the end of the header that begins at `start`, 0 if it is incomplete; and its complete lines."""
    lines: list[bytes] = []
    while line := _LINE.match(data, start, MAX_HEADER_SIZE):
        start = line.end()
        if not line[1] and lines:
            return start, lines
        lines.append(line[1])
    return 0, lines


def _malformed(lines: list[bytes]) -> str:
    """Return why the client refuses the header lines; empty if it does not."""
    if lines and not _STATUS_LINE.fullmatch(lines[0]):
        return f"invalid status line {_shortened(lines[0])}: expected HTTP/1.0 or HTTP/1.1 and a status"
    name = _LENGTH  # must not be continued
    for line in lines[1:]:
        header = _HEADER.fullmatch(line)
        if header:
            name = header[1].lower()
        elif not _MORE.fullmatch(line) or name in (_LENGTH, _TRANSFER, _CONTENT):
            return f"invalid header line {_shortened(line)}"
    lengths = [value for name, value in _headers(lines) if name == _LENGTH]
    if not all(re.fullmatch(rb"[0-9]+", length) for length in lengths):
        return f"invalid Content-Length: {' and '.join(map(_shortened, lengths))}"
    if len({int(length) for length in lengths}) > 1:
        return f"different Content-Lengths: {' and '.join(map(_shortened, lengths))}"
    return ""


def _headers(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    found = [header for line in lines[1:] if (header := _HEADER.fullmatch(line))]
    return [(header[1].lower(), header[2].rstrip(b" \t")) for header in found]


def _shortened(data: bytes) -> str:
    return quote(data.decode("latin-1"), 40)

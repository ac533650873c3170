"""Recognize by the bytes that a serial port has another baud rate than the device."""

from __future__ import annotations

import re

RATES = (74880, 115200)
"""The mask ROM's with the usual crystal of 26 MHz, which rBoot and the SDK keep, and that of most applications."""

_WINDOW, _ENOUGH = 64, 24  # bytes that are judged, at most and at least
_MAX_UNREADABLE = 0.3  # a device that is reset while it prints sends some
_PATIENCE = 4096  # bytes until the next attempt, if neither rate was readable
_CONTINUATION = re.compile(rb"^[\x80-\xbf]{1,3}")  # of a character of which the first bytes are missing
_TEXT_CONTROLS = b"\t\n\r\b\x1b\x07"


class BaudDetector:
    """Chooses among `rates`, of which the first is the port's at the start."""

    def __init__(self, rates: tuple[int, ...] = RATES) -> None:
        self._rates = rates
        self._at = 0
        self._window = b""
        self._failed = 0  # rates in a row that were unreadable
        self._wait = 0

    @property
    def rate(self) -> int:
        """The rate that the port should have."""
        return self._rates[self._at]

    def restart(self) -> None:
        """Begin with the first rate again, as the device was reset."""
        self._at = self._failed = self._wait = 0
        self._window = b""

    def feed(self, data: bytes) -> bool:
        """Judge bytes that were received at `rate`; return whether that has changed."""
        self._wait = max(self._wait - len(data), 0)
        self._window = (self._window + data)[-_WINDOW:]
        if len(self._window) < _ENOUGH:
            return False
        if unreadable(self._window) <= _MAX_UNREADABLE:
            self._failed = 0
            return False
        if self._wait:
            return False
        self._failed += 1
        if self._failed >= len(self._rates):
            self._failed, self._wait = 0, _PATIENCE
        self._at = (self._at + 1) % len(self._rates)
        self._window = b""
        return True


def unreadable(data: bytes) -> float:
    """Return the share of `data` that is not text in UTF-8, 0 to 1. A character truncated at either end is text."""
    text = _CONTINUATION.sub(b"", data).decode(errors="replace")
    bad = sum(character == "\N{REPLACEMENT CHARACTER}" for character in text)
    bad += sum((byte < 0x20 and byte not in _TEXT_CONTROLS) or byte == 0x7F for byte in data)
    return bad / len(data)

"""What a development server tells of its work: one event for each change, and the latest of each device."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass


class State(enum.Enum):
    """How far a response is."""

    SENDING = "sending"
    DONE = "done"
    BROKEN = "broken off"


@dataclass(frozen=True)
class Listening:
    """The event that the server can be reached."""

    host: str
    port: int


@dataclass(frozen=True)
class Transfer:
    """The event of a response that has begun, has come further or has ended.

    `number` counts the responses. Of the body's `size` bytes the device has acknowledged `sent`.
    """

    number: int
    address: str
    agent: str
    method: str
    path: str
    status: int
    size: int
    sent: int = 0
    seconds: float = 0.0
    state: State = State.SENDING

    @property
    def speed(self) -> float:
        """Bytes per second since the response began."""
        return self.sent / self.seconds if self.seconds else 0.0


Event = Listening | Transfer


class Board:
    """The latest transfer of each device and file, for those who look on; from any thread."""

    def __init__(self, most: int = 50) -> None:
        self._most = most
        self._rows: dict[tuple[str, str, str], Transfer] = {}
        self._lock = threading.Lock()

    def add(self, transfer: Transfer) -> None:
        """Take note of a transfer; of too many rows the oldest goes."""
        key = (transfer.address, transfer.agent, transfer.path)
        with self._lock:
            known = self._rows.get(key)
            if known is None or known.number <= transfer.number:
                self._rows.pop(key, None)
                self._rows[key] = transfer
            if len(self._rows) > self._most:
                del self._rows[next(iter(self._rows))]

    def rows(self) -> tuple[Transfer, ...]:
        """The transfers, in the order in which they began."""
        with self._lock:
            return tuple(sorted(self._rows.values(), key=lambda transfer: transfer.number))

"""Events of the development server, and the log of the latest transfer of each device."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass


class State(enum.Enum):
    """The state of a response."""

    SENDING = "sending"
    DONE = "done"
    ABORTED = "aborted"


@dataclass(frozen=True)
class Listening:
    """The event that the server accepts connections."""

    host: str
    port: int


@dataclass(frozen=True)
class Transfer:
    """The event of a response: started, progressed or ended.

    `number` counts the responses. The device has acknowledged `sent` of the body's `size` bytes.
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
        """The bytes per second since the start of the response."""
        return self.sent / self.seconds if self.seconds else 0.0


Event = Listening | Transfer


class TransferLog:
    """The latest transfer of each device and file. Thread-safe."""

    def __init__(self, max_rows: int = 50) -> None:
        self._max_rows = max_rows
        self._rows: dict[tuple[str, str, str], Transfer] = {}
        self._lock = threading.Lock()

    def add(self, transfer: Transfer) -> None:
        """Add or update a transfer; drop the oldest row if there are too many."""
        key = (transfer.address, transfer.agent, transfer.path)
        with self._lock:
            previous = self._rows.get(key)
            if previous is None or previous.number <= transfer.number:
                self._rows.pop(key, None)
                self._rows[key] = transfer
            if len(self._rows) > self._max_rows:
                del self._rows[next(iter(self._rows))]

    def rows(self) -> tuple[Transfer, ...]:
        """Return the transfers in the order of their start."""
        with self._lock:
            return tuple(sorted(self._rows.values(), key=lambda transfer: transfer.number))

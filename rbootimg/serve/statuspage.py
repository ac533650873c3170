"""The development server's status page: each device and its transfer. It reloads every second, without a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..templates import render
from .events import State, Transfer

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The Content-Security-Policy of the page."""


class _Row(NamedTuple):
    """A row of the table; the progress bar is at `done` of `total` bytes."""

    address: str
    agent: str
    path: str
    status: int
    is_error: bool
    total: int
    done: int
    progress: str
    speed: str
    state: str
    is_aborted: bool


def status_page(transfers: Iterable[Transfer]) -> bytes:
    """Render the page as UTF-8."""
    return render("devices.html", rows=[_row(transfer) for transfer in transfers]).encode()


def _row(transfer: Transfer) -> _Row:
    return _Row(
        address=transfer.address,
        agent=transfer.agent,
        path=transfer.path,
        status=transfer.status,
        is_error=transfer.status >= 400,
        total=transfer.size or 1,
        done=transfer.sent if transfer.size else 1,
        progress=f"{transfer.sent:,} of {transfer.size:,}",
        speed=f"{transfer.speed / 1024:,.0f} KB/s",
        state=transfer.state.value,
        is_aborted=transfer.state is State.ABORTED,
    )

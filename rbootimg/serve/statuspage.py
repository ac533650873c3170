"""The development server's page of who fetches what; it shows itself anew each second, without a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..templates import render
from .events import State, Transfer

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The Content-Security-Policy that the page is right under."""


class _Row(NamedTuple):
    """A device; it has `done` of `most` bytes."""

    address: str
    agent: str
    path: str
    status: int
    bad: bool
    most: int
    done: int
    progress: str
    speed: str
    state: str
    broken: bool


def status_page(transfers: Iterable[Transfer]) -> bytes:
    """The page, as UTF-8."""
    return render("devices.html", rows=[_row(transfer) for transfer in transfers]).encode()


def _row(transfer: Transfer) -> _Row:
    return _Row(
        address=transfer.address,
        agent=transfer.agent,
        path=transfer.path,
        status=transfer.status,
        bad=transfer.status >= 400,
        most=transfer.size or 1,
        done=transfer.sent if transfer.size else 1,
        progress=f"{transfer.sent:,} of {transfer.size:,}",
        speed=f"{transfer.speed / 1024:,.0f} KB/s",
        state=transfer.state.value,
        broken=transfer.state is State.BROKEN,
    )

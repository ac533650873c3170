"""The development server's status page: the devices and their transfers, as HTML and as JSON. No sockets.

The page works without its script, which requests the JSON of what has changed. Each response closes its connection:
open pages must not take those that devices need.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from .._version import __version__
from ..templates import render
from ..text import counted
from .devices import Activity, Device, DeviceLog
from .events import State, Transfer
from .responses import Answer, page

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page."""

_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
)
_STATIC = Path(__file__).with_name("static")
_STATIC_TYPES = {"live.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
_SCHEMA = 1


class _Text(NamedTuple):
    """The texts of a row. The names are also the classes of the cells, by which the script finds them."""

    address: str
    app: str
    slot: str
    path: str
    progress: str
    result: str
    speed: str
    requests: str


class _Row(NamedTuple):
    """A row of the table; the progress bar is at `sent` of `size` bytes."""

    number: str
    activity: str
    text: _Text
    sent: int
    size: int
    time: str
    age: str


def status_answer(name: str, query: str, log: DeviceLog, now: float) -> Answer:
    """Answer a request for `name` in the directory of the status page; the page itself is the empty name."""
    if name == "":
        content_type, body = "text/html", status_page(log, now).encode()
    elif name == "devices.json":
        since = re.fullmatch("since=([0-9]{1,15})", query)
        content_type, body = "application/json", status_json(log, now, int(since[1]) if since else 0)
    elif name in _STATIC_TYPES:
        content_type, body = _STATIC_TYPES[name], (_STATIC / name).read_bytes()
    else:
        return page(404, (("Connection", "close"),))
    return Answer(200, (("Content-Type", f"{content_type}; charset=utf-8"), *_HEADERS), len(body), body)


def status_page(log: DeviceLog, now: float) -> str:
    """Render the page. `now` is the Unix time."""
    devices = tuple(log)
    return render(
        "devices.html",
        totals=_totals(devices),
        rows=[_row(device, now) for device in devices],
        new_row=_NEW_ROW,
        rbootimg=__version__,
    )


def status_json(log: DeviceLog, now: float, since: int = 0) -> bytes:
    """Describe the devices that have changed after the revision `since`."""
    devices = tuple(log)
    return json.dumps(
        {
            "schema": _SCHEMA,
            "rbootimg": __version__,
            "started": _iso(log.started),
            "time": _iso(now),
            "revision": log.revision,
            "totals": _totals(devices),
            "devices": [_description(device) for device in devices if device.revision > since],
        },
        separators=(",", ":"),
    ).encode()


def _totals(devices: Iterable[Device]) -> dict[str, int]:
    numbers = Counter(device.activity for device in devices)
    return {"devices": numbers.total(), **{activity.value: numbers[activity] for activity in Activity}}


def _description(device: Device) -> dict[str, object]:
    firmware = device.firmware
    return {
        "id": device.number,
        "state": device.activity.value,
        "address": device.latest.address,
        "user_agent": device.latest.agent,
        "app": firmware.app if firmware else None,
        "version": firmware.version if firmware else None,
        "slot": firmware.slot if firmware else None,
        "requests": device.requests,
        "last_request": _iso(device.time),
        "transfer": _transfer(device.running[-1]) if device.running else None,
        "result": _transfer(device.result) if device.result else None,
        "text": _text(device)._asdict(),
    }


def _transfer(transfer: Transfer) -> dict[str, object]:
    return {
        "number": transfer.number,
        "method": transfer.method,
        "path": transfer.path,
        "status": transfer.status,
        "state": transfer.state.value,
        "size": transfer.size,
        "sent": transfer.sent,
        "seconds": round(transfer.seconds, 3),
        "bytes_per_second": round(transfer.speed),
    }


def _row(device: Device, now: float) -> _Row:
    transfer = _shown(device)
    return _Row(
        number=str(device.number),
        activity=device.activity.value,
        text=_text(device),
        sent=transfer.sent,
        size=transfer.size or 1,
        time=_iso(device.time),
        age=_age(now - device.time),
    )


_NEW_ROW = _Row("", "", _Text(*[""] * len(_Text._fields)), 0, 1, "", "")


def _shown(device: Device) -> Transfer:
    return device.running[-1] if device.running else device.result or device.latest


def _text(device: Device) -> _Text:
    transfer, firmware = _shown(device), device.firmware
    is_active = device.activity is Activity.ACTIVE
    progress = counted(transfer.size, "byte")
    if is_active and transfer.size:
        progress = f"{100 * transfer.sent // transfer.size} % of {progress}"
    result = _result(device.result) if device.result else ""
    return _Text(
        address=transfer.address,
        app=f"{firmware.app} {firmware.version}" if firmware else device.latest.agent or "no User-Agent",
        slot=str(firmware.slot) if firmware and firmware.slot is not None else "",
        path=_request(transfer),
        progress=progress,
        result=f"{_request(device.result)}: {result}" if is_active and device.result else result,
        speed=f"{transfer.speed / 1024:,.0f} KB/s" if transfer.sent and transfer.status < 400 else "",
        requests=f"{device.requests:,}",
    )


def _request(transfer: Transfer) -> str:
    return transfer.path if transfer.method == "GET" else f"{transfer.method} {transfer.path}"


def _result(transfer: Transfer) -> str:
    if transfer.state is State.ABORTED:
        return f"aborted at {transfer.sent:,}"
    if transfer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        return "done"
    return f"{transfer.status} {HTTPStatus(transfer.status).phrase}"


def _iso(time: float) -> str:
    return datetime.fromtimestamp(time, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _age(seconds: float) -> str:
    """Format a time in the past as the script does."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name} ago"
    return f"{max(0, seconds) // 1:.0f} s ago"

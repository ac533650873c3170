"""The devices that the development server has answered, each with its transfers. No clock."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from .events import State, Transfer

_AGENTS = (
    re.compile(r"(?P<app>[^\s/()]+)/(?P<version>[^\s/()]+)(?: \(slot (?P<slot>[0-9]{1,3})\))?"),
    # Of the signed update client: firmware/update/rboot-update.c.
    re.compile(
        r"rboot-update/1 \(app (?P<app>[^\s;()]+); version (?P<version>[^\s;()]+); slot (?P<slot>[0-9]{1,3})"
        r"(?:; failed [0-9]{1,3})?(?:; reset [0-9]{1,5} [0-9a-f]{8})?\)"
    ),
)


class Firmware(NamedTuple):
    """What runs on a device; `slot` is None if unknown."""

    app: str
    version: str
    slot: int | None


def parse_agent(agent: str) -> Firmware | None:
    """Parse a User-Agent of an update client, `NAME/VERSION` or `NAME/VERSION (slot N)`; None for any other."""
    match = next((found for pattern in _AGENTS if (found := pattern.fullmatch(agent))), None)
    return match and Firmware(match["app"], match["version"], int(match["slot"]) if match["slot"] else None)


class Activity(enum.Enum):
    """What a device does, or the result of its last transfer."""

    ACTIVE = "active"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Device:
    """A device and its transfers: those in progress, and the last one that ended.

    `number` counts the devices, `revision` the changes of the log up to the latest of this device. `latest` is the
    latest request, `time` its Unix time.
    """

    number: int
    revision: int
    requests: int
    time: float
    latest: Transfer
    running: tuple[Transfer, ...] = ()
    result: Transfer | None = None

    @property
    def activity(self) -> Activity:
        """What the device does."""
        if self.running or not self.result:
            return Activity.ACTIVE
        failed = self.result.state is State.ABORTED or self.result.status >= 400
        return Activity.FAILED if failed else Activity.DONE

    @property
    def firmware(self) -> Firmware | None:
        """What runs on the device, None if its User-Agent does not tell."""
        return parse_agent(self.latest.agent)


class DeviceLog:
    """The latest `max_devices` devices since `started`, a Unix time.

    A device is an address with the application in its User-Agent, so that it is the same device after an update; a
    User-Agent of unknown form counts in full.
    """

    def __init__(self, started: float, max_devices: int = 1000) -> None:
        self.started = started
        self._max_devices = max_devices
        self._devices: dict[tuple[str, str], Device] = {}  # the one with the oldest request first
        self._numbers = 0
        self.revision = 0

    def __iter__(self) -> Iterator[Device]:
        """Iterate over the devices: active ones first, then by the latest request."""
        devices = reversed(self._devices.values())
        return iter(sorted(devices, key=lambda device: device.activity is not Activity.ACTIVE))

    def add(self, transfer: Transfer, time: float) -> None:
        """Add the event of a transfer. `time` is the Unix time, which counts for the first event of each."""
        firmware = parse_agent(transfer.agent)
        key = (transfer.address, firmware.app if firmware else transfer.agent)
        self.revision += 1
        known = self._devices.get(key)
        if known is None:
            self._numbers += 1
            device = Device(self._numbers, self.revision, 1, time, transfer)
        elif transfer.number > known.latest.number:
            device = replace(known, requests=known.requests + 1, time=time, latest=transfer)
            del self._devices[key]  # to the end
        else:
            device = known
        others = tuple(other for other in device.running if other.number != transfer.number)
        if transfer.state is State.SENDING:
            device = replace(device, running=(*others, transfer))
        else:
            device = replace(device, running=others, result=transfer)
        self._devices[key] = replace(device, revision=self.revision)
        if len(self._devices) > self._max_devices:
            del self._devices[next(iter(self._devices))]

"""The log of the development server's devices, and what their User-Agents say."""

from __future__ import annotations

import pytest

from rbootimg.serve.devices import Activity, Device, DeviceLog, Firmware, parse_agent
from rbootimg.serve.events import State, Transfer


def transfer(
    number: int,
    path: str = "/rom1.bin",
    state: State = State.DONE,
    *,
    address: str = "10.0.0.7",
    agent: str = "clock/1.0.0 (slot 0)",
    status: int = 200,
) -> Transfer:
    return Transfer(number, address, agent, "GET", path, status, 100, 50, 1.0, state)


def log_of(*transfers: Transfer) -> list[Device]:
    log = DeviceLog(0)
    for time, event in enumerate(transfers):
        log.add(event, time)
    return list(log)


@pytest.mark.parametrize(
    ("agent", "firmware"),
    [
        ("clock/1.2.0 (slot 1)", Firmware("clock", "1.2.0", 1)),
        ("rbootimg-example/1.3.0-rc.1 (slot 12)", Firmware("rbootimg-example", "1.3.0-rc.1", 12)),
        ("rBoot-Sample/1.0", Firmware("rBoot-Sample", "1.0", None)),
        ("", None),
        ("clock", None),
        ("clock/", None),
        ("a/b/c", None),
        ("clock/1.0 (slot 1) more", None),
        ("clock/1.0 (slot /)", None),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101", None),
    ],
)
def test_a_user_agent_has_the_application_its_version_and_the_slot(agent: str, firmware: Firmware | None) -> None:
    assert parse_agent(agent) == firmware


def test_a_device_that_comes_back_is_the_same_even_after_its_update() -> None:
    (device,) = log_of(
        transfer(1, "/version"), transfer(2, "/rom1.bin"), transfer(3, "/version", agent="clock/1.1.0 (slot 1)")
    )
    assert (device.number, device.requests, device.time) == (1, 3, 2)
    assert device.firmware == Firmware("clock", "1.1.0", 1)


@pytest.mark.parametrize("other", [{"address": "10.0.0.8"}, {"agent": "radio/1.0.0 (slot 0)"}, {"agent": ""}])
def test_another_address_or_application_is_another_device(other: dict[str, str]) -> None:
    assert [device.number for device in log_of(transfer(1), transfer(2, **other))] == [2, 1]


def test_the_progress_of_a_transfer_is_no_new_request() -> None:
    sending = transfer(1, state=State.SENDING)
    (device,) = log_of(sending, sending)
    assert (device.requests, device.time, device.running, device.result) == (1, 0, (sending,), None)
    (device,) = log_of(sending, transfer(1))
    assert (device.requests, device.time, device.running, device.result) == (1, 0, (), transfer(1))


def test_a_device_is_active_until_its_last_transfer_ends() -> None:
    first, second = transfer(1, state=State.SENDING), transfer(2, "/version", State.SENDING)
    (device,) = log_of(first, second, transfer(2, "/version"))
    assert (device.activity, device.running, device.result) == (Activity.ACTIVE, (first,), transfer(2, "/version"))


@pytest.mark.parametrize(
    ("end", "activity"),
    [
        (transfer(1), Activity.DONE),
        (transfer(1, status=304), Activity.DONE),
        (transfer(1, status=404), Activity.FAILED),
        (transfer(1, state=State.ABORTED), Activity.FAILED),
    ],
)
def test_an_aborted_transfer_and_an_error_are_failures(end: Transfer, activity: Activity) -> None:
    assert [device.activity for device in log_of(end)] == [activity]


def test_active_devices_are_first_then_the_one_with_the_latest_request() -> None:
    sending = [transfer(number, state=State.SENDING, address=str(number)) for number in (1, 2, 3, 4)]
    devices = log_of(*sending, transfer(2, address="2"), transfer(3, address="3"), transfer(5, address="2"))
    assert [device.latest.address for device in devices] == ["4", "1", "2", "3"]


def test_the_log_forgets_the_devices_that_have_not_come_for_the_longest() -> None:
    log = DeviceLog(0, max_devices=3)
    for number, address in enumerate("abcad"):
        log.add(transfer(number, address=address), number)
    assert [device.latest.address for device in log] == ["d", "a", "c"]

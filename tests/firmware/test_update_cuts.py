"""Power cuts and resets in signed updates, on the host: a good ROM boots, and the update is not lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from support.update_host import PROD, SPARE, Chip, build_client, server, update

pytestmark = pytest.mark.needs("gcc")

BEFORE, HALF_WAY, AFTER, EVERY_OTHER_BIT = range(4)
FIRST = server(update("1.1.0", 1), "1.1.0")
SECOND = server(update("1.2.0", 2), "1.2.0")
ROLLBACK = server(update("1.0.0", 2, withdrawn=("1.1.0",)), "1.0.0")
NEXT = server(update("2.0.0", 9), "2.0.0")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_client(tmp_path_factory.mktemp("client"), PROD, SPARE)


def updated(program: Path, has_rtc: bool) -> Chip:
    chip = Chip(program, has_rtc=has_rtc)
    chip.follow(FIRST)
    return chip


FLOWS: dict[str, tuple[Callable[[Path, bool], Chip], Mapping[str, bytes], str]] = {
    "to slot 1": (lambda program, rtc: Chip(program, has_rtc=rtc), FIRST, "1.1.0"),
    "to slot 0": (updated, SECOND, "1.2.0"),
    "followed rollback": (updated, ROLLBACK, "1.0.0"),
}


def arrive(chip: Chip, replies: Mapping[str, bytes], target: str) -> None:
    """Switch on, and check now and then, until the target runs for good."""
    for _ in range(4):
        if chip.check(replies) == "current" and chip.version == target:
            break
        chip.reset()
    assert (chip.version, chip.current) == (target, chip.running), chip.lines
    assert chip.power_cycle().version == target


@pytest.mark.parametrize("is_reset", [False, True], ids=["power cut", "reset"])
@pytest.mark.parametrize("part", [BEFORE, HALF_WAY, AFTER, EVERY_OTHER_BIT])
@pytest.mark.parametrize("has_rtc", [True, False], ids=["trial", "no trial"])
@pytest.mark.parametrize("flow", FLOWS)
def test_no_interruption_loses_the_device_or_the_update(
    program: Path, flow: str, has_rtc: bool, part: int, is_reset: bool
) -> None:
    """In each operation of the old ROM up to the restart, and of the new one until it is confirmed."""
    new, replies, target = FLOWS[flow]
    start = new(program, has_rtc)
    old = start.version
    for result in ("ready", "current"):
        complete = start.copy()
        assert complete.check(replies) == result
        count = len(complete.operations)
        assert count >= 2 or (result, has_rtc) == ("current", False)
        for number in range(1, count + 1):
            chip = start.copy()
            chip.check(replies, f"cut {number} {part}")
            assert "cut" in chip.lines
            if is_reset:
                chip.reset()
            else:
                chip.power_cycle()
            assert chip.version in (old, target)
            arrive(chip, replies, target)
            if number in (1, count):
                arrive(chip, NEXT, "2.0.0")
        start = complete.reset()

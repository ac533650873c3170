"""A power cut at every operation of the flash in the update to a ROM of 235 KB. It takes minutes; run by hand:

    PYTHONPATH=tests python tests/manual/cut_large_rom.py [before] [within] [after]

The suite does the same with a small ROM: test_ota_cuts.py.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from support.ota_device import Device, Server, assert_good, large_release, new_device, release, update_and_confirm

PARTS = {"before": 0, "within": 1, "after": 2}


def is_lost(number: int, part: int) -> bool:
    with Server(large_release("1.1.0")) as server:
        with Device(new_device(), server.port, f"cut={number}", f"part={part}") as device:
            update_and_confirm(device, "1.1.0")
        assert "end power-cut" in device.report, number
        try:
            assert_good(device.flash, server)
        except AssertionError as error:
            print(f"lost at {number}: {error}")
            return True
    return False


def main(parts: list[str]) -> None:
    release("1.2.0")
    with Server(large_release("1.1.0")) as server, Device(new_device(), server.port) as device:
        update_and_confirm(device, "1.1.0")
    operations = range(1, len(device.operations) + 1)
    with ThreadPoolExecutor(2) as both:
        for part in parts:
            lost = sum(both.map(lambda number, at=PARTS[part]: is_lost(number, at), operations))
            print(f"{part} each of {len(operations)} operations: {lost} devices lost", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(PARTS))

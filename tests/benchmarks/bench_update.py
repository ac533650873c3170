"""How long the update to a ROM of 235 KB takes on the device in the emulator: fetched, written, checked and booted.
The median. Run by hand:

    PYTHONPATH=tests python tests/benchmarks/bench_update.py
"""

from __future__ import annotations

import statistics
import time

from support.ota_device import Device, Server, large, large_release, new_device


def main() -> None:
    times = []
    chip = new_device()
    with Server(large_release("1.1.0")) as server:
        for _ in range(15):
            with Device(chip, server.port) as device:
                device.read_until("> ")
                start = time.perf_counter()
                device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
                times.append(time.perf_counter() - start)
    name = f"update to a ROM of {len(large('1.1.0')):,} bytes"
    print(f"{name:<44}{statistics.median(times):8.2f} s  ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()

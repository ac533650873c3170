"""How long packing takes: inside a process, and as one beside esptool's elf2image. Run by hand.

PYTHONPATH=tests python tests/benchmarks/bench_pack.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from support.project import VECTORS

from rbootimg.rom import elf
from rbootimg.rom.pack import pack

ELF = VECTORS / "big.rom0.elf"


def milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def show(name: str, times: list[float]) -> None:
    print(f"{name:<44}{statistics.median(times):8.1f} ms  ({min(times):.1f} to {max(times):.1f})")


def main() -> None:
    data = ELF.read_bytes()
    for irom_checksum in (False, True):
        times = [
            milliseconds(lambda: pack(elf.parse_elf(data), irom_checksum=irom_checksum).to_bytes())  # noqa: B023
            for _ in range(50)
        ]
        show(f"ELF to bytes{', irom checksum' * irom_checksum}", times[1:])

    with tempfile.TemporaryDirectory() as directory:
        commands = {
            "bare python": ["-c", ""],
            "rbootimg pack": ["-m", "rbootimg", "pack", ELF, "-o", f"{directory}/rom0.bin"],
            "esptool elf2image --version 2": [
                *("-m", "esptool", "--chip", "esp8266", "elf2image", "--version", "2", "-o", f"{directory}/e.bin", ELF)
            ],
        }
        times_of: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(11):  # in turn, so that a noisy moment hits all alike
            for name, arguments in commands.items():
                command = [sys.executable, *map(str, arguments)]
                run = milliseconds(lambda: subprocess.run(command, check=True, capture_output=True))  # noqa: B023
                times_of[name].append(run)
        for name, times in times_of.items():
            show(name, times[1:])


if __name__ == "__main__":
    main()

"""How long a boot of the example and a proof of a large ROM take: medians. Run by hand.

PYTHONPATH=tests python tests/benchmarks/bench_boot.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support import chip

from rbootimg.emulator.proof import prove
from rbootimg.emulator.qemu import BootOptions, boot
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.presets import preset_layout
from rbootimg.rom import elf
from rbootimg.rom.pack import pack

ROOT = chip.PACKAGE.parent
LAYOUT = preset_layout("1MB")


def flash(elfs: dict[int, elf.Elf]) -> bytes:
    loader = chip.loader(LAYOUT.loader)
    roms = {number: pack(app).to_bytes() for number, app in elfs.items()}
    return assemble(flash_pieces(LAYOUT, loader, roms, make_boot_config(LAYOUT, loader)), LAYOUT.size.bytes)


def show(name: str, action: Callable[[], object]) -> None:
    times = []
    for _ in range(31):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    print(f"{name:<44}{statistics.median(times):8.1f} ms  ({min(times):.1f} to {max(times):.1f})")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for name in ("SConstruct", "main.c"):
            (Path(directory) / name).write_bytes((ROOT / "examples" / "hello" / name).read_bytes())
        subprocess.run([sys.executable, "-m", "SCons", "-Q"], cwd=directory, check=True, capture_output=True)
        hello = flash({0: elf.parse_elf((Path(directory) / "hello" / "rom0.elf").read_bytes())})
    show("boot of the example, to its last line", lambda: boot(hello, BootOptions(until="flash words 77")))
    big = {0: elf.parse_elf(chip.linked(chip.SOURCES["big"], LAYOUT.slots[0]))}
    image = flash(big)
    show(f"proof of a ROM of {len(pack(big[0]).to_bytes()):,} bytes", lambda: prove(image, LAYOUT, big))


if __name__ == "__main__":
    main()

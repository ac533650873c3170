"""Fuzz all parsers with atheris, for as long as wanted. Run by hand:

    pip install atheris; PYTHONPATH=tests python tests/manual/fuzz_parsers.py -max_total_time=600 [libFuzzer's options]

Only the library's own errors may come out; anything else ends the run with the input that led to it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris
from support.project import VECTORS

with atheris.instrument_imports(include=["rbootimg"]):
    from support.parsers import PARSERS, refusal

    from rbootimg.flash.bootconfig import BootConfig
    from rbootimg.rom import elf, pack


def parse_all(data: bytes) -> None:
    for parser in PARSERS.keys() - {"esptool2 -lib"}:  # which parses no more than the others, and writes a file for it
        refusal(parser, data)


def main() -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for path in VECTORS.glob("[mt]*.elf"):
            data = path.read_bytes()
            (Path(corpus) / path.name).write_bytes(data)
            (Path(corpus) / f"{path.name}.bin").write_bytes(pack.pack(elf.parse_elf(data)).to_bytes())
        (Path(corpus) / "config").write_bytes(BootConfig((0x2000, 0x82000)).to_bytes(checksum=True))
        (Path(corpus) / "layout").write_text('flash_size = "1MB"\n[loader]\nrtc = true\n[[slot]]\naddress = 0x2000\n')
        atheris.Setup([*sys.argv, corpus], parse_all)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

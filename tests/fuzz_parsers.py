"""Fuzz all parsers with atheris, for as long as wanted. Run by hand:

    pip install atheris; python tests/fuzz_parsers.py -max_total_time=600 [libFuzzer's options]

Only the library's own errors may come out; anything else ends the run with the input that led to it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
with atheris.instrument_imports(include=["rbootimg"]):
    from rbootimg import elf, httpreply, info, layout, ldscript, mapfile, pack, rom, size
    from rbootimg.bootconfig import BootConfig
    from rbootimg.errors import RbootError
    from rbootimg.flashmap import Slot

VECTORS = Path(__file__).resolve().parent / "vectors"


def parse_all(data: bytes) -> None:
    text = data.decode("utf-8", errors="replace")
    slot = Slot(0x2000, 0x1000)
    for parse in (
        lambda: info.as_json(info.recognise(data)),
        lambda: rom.Rom.from_bytes(data),
        lambda: pack.pack(elf.parse(data)),
        lambda: elf.symbols(data),
        lambda: BootConfig.from_bytes(data, checksum=bool(data and data[0] & 1)),
        lambda: layout.from_toml(text),
        lambda: ldscript.for_slot(data, slot),
        lambda: ldscript.includes(data),
        lambda: mapfile.parse(text),
        lambda: size.measure(data, text),
        lambda: httpreply.read_as_client(data),
    ):
        message = ""
        try:
            parse()
        except RbootError as error:
            message = str(error)
        assert "\n" not in message


def main() -> None:
    with tempfile.TemporaryDirectory() as corpus:
        for path in VECTORS.glob("[mt]*.elf"):
            data = path.read_bytes()
            (Path(corpus) / path.name).write_bytes(data)
            (Path(corpus) / f"{path.name}.bin").write_bytes(pack.pack(elf.parse(data)).to_bytes())
        (Path(corpus) / "config").write_bytes(BootConfig((0x2000, 0x82000)).to_bytes(checksum=True))
        (Path(corpus) / "layout").write_text('flash_size = "1MB"\n[loader]\nrtc = true\n[[slot]]\naddress = 0x2000\n')
        atheris.Setup([*sys.argv, corpus], parse_all)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

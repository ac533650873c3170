"""ROMs that break a rule each, and what is said of it."""

from __future__ import annotations

from rbootimg.rom.format import RamSection, Rom

CODE = RamSection(0x40100000, bytes(range(16)))
GOOD = Rom(0x40100004, b"flash code", (CODE, RamSection(0x3FFE8000, b"data")))


def with_section(address: int, data: bytes) -> Rom:
    return GOOD._replace(sections=(*GOOD.sections, RamSection(address, data)))


BROKEN: dict[str, tuple[Rom, str]] = {
    "over rBoot's second stage": (
        with_section(0x4010F364, b"1234"),
        "RAM section 2, 0x4010f364 to 0x4010f368, is outside the RAM: expected DRAM (0x3ffe8000 to 0x3fffc000) or IRAM "
        "(0x40100000 to 0x40108000); the loader would overwrite itself or the chip's own memory",
    ),
    "in the flash cache": (with_section(0x40108000, b"1234"), "RAM section 2, 0x40108000 to 0x40108004, is outside"),
    "over the loader's stack": (with_section(0x3FFFC000, b"1234"), "RAM section 2, 0x3fffc000 to"),
    "beyond the IRAM": (with_section(0x40107FFC, bytes(8)), "RAM section 2, 0x40107ffc to 0x40108004, is outside"),
    "before the DRAM": (with_section(0x3FFE7FFC, bytes(4)), "RAM section 2, 0x3ffe7ffc to 0x3ffe8000, is outside"),
    "in the DPORT": (with_section(0x3FF00000, b"1234"), "RAM section 2, 0x3ff00000"),
    "at 0": (with_section(0, b"1234"), "RAM section 2, 0x0 to 0x4, is outside"),
    "empty, outside": (with_section(0x50000000, b""), "RAM section 2, 0x50000000 to 0x50000000, is outside"),
    "unaligned": (
        with_section(0x3FFE9002, b"1234"),
        "RAM section 2 at 0x3ffe9002: expected an address that is a multiple of 4",
    ),
    "over another": (with_section(0x4010000C, bytes(8)), "RAM sections 0 and 2 overlap at 0x4010000c"),
    "the same twice": (with_section(0x3FFE8000, b"data"), "RAM sections 1 and 2 overlap at 0x3ffe8000"),
    "17 sections": (
        GOOD._replace(sections=(CODE, *(RamSection(0x3FFE8000 + 4 * n, b"1234") for n in range(16)))),
        "17 RAM sections: expected at most 16",
    ),
    "entry in flash": (GOOD._replace(entry=0x40202010), "entry point 0x40202010 is outside the RAM sections in IRAM"),
    "entry in data": (GOOD._replace(entry=0x3FFE8000), "entry point 0x3ffe8000 is outside the RAM sections in IRAM"),
    "entry after the code": (GOOD._replace(entry=0x40100010), "entry point 0x40100010 is outside the RAM sections"),
    "entry in nothing": (GOOD._replace(entry=0x40107FF0), "entry point 0x40107ff0 is outside the RAM sections in IRAM"),
    "entry within an instruction": (
        GOOD._replace(entry=0x40100001),
        "entry point 0x40100001: expected a multiple of 4",
    ),
}

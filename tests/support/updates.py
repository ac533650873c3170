"""Update files for the tests of both parsers, in Python and in C."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from rbootimg.release.update import Update, UpdateDelta, UpdateRom

DIGEST = "0123456789abcdef" * 4
ROMS = (UpdateRom(0, 0x2000, 0x80000, 450_704, DIGEST), UpdateRom(1, 0x82000, 0x79000, 450_704, DIGEST[::-1]))
MINIMAL = Update("blink", "esp8266", "1.3.0", 17, ROMS)
FULL = replace(
    MINIMAL,
    issued="2026-11-27",
    withdrawn=("1.2.9", "1.2.8-rc.1"),
    rollout=2500,
    deltas=(UpdateDelta("1.2.7", 0, 1, 4591, DIGEST),),
)
TEXT = f"""\
rbootimg-update 1
app blink
device esp8266
version 1.3.0
serial 17
issued 2026-11-27
withdrawn 1.2.9
withdrawn 1.2.8-rc.1
rollout 2500
rom 0 2000 80000 450704 {DIGEST}
rom 1 82000 79000 450704 {DIGEST[::-1]}
delta 1.2.7 0 1 4591 {DIGEST}
end
"""

identifiers = st.text("0123456789abz-", min_size=1, max_size=6).filter(
    lambda text: not text.isdigit() or text == "0" or text[0] != "0"
)
numbers = st.integers(0, 999_999_999)
versions = st.builds(
    lambda core, rest: ".".join(map(str, core)) + (f"-{'.'.join(rest)}" if rest else ""),
    st.tuples(numbers, numbers, numbers),
    st.lists(identifiers, max_size=3),
).filter(lambda version: len(version) <= 63)
words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="%"), min_size=1, max_size=20)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
u32 = st.integers(0, 0xFFFF_FFFF)
roms = st.builds(UpdateRom, st.integers(0, 255), u32, u32, u32, digests)
updates = st.builds(
    Update,
    st.just("blink"),
    st.just("esp8266"),
    versions,
    st.integers(1, 0xFFFF_FFFF),
    st.lists(roms, min_size=1, max_size=4, unique_by=lambda rom: rom.slot).map(
        lambda found: tuple(sorted(found, key=lambda rom: rom.slot))
    ),
    st.none() | st.dates().map(str),
    st.lists(versions, max_size=5).map(tuple),
    st.none() | st.integers(0, 10_000),
    st.lists(st.builds(UpdateDelta, versions, st.integers(0, 255), st.integers(0, 255), u32, digests), max_size=3).map(
        tuple
    ),
).filter(lambda update: update.version not in update.withdrawn)

CHANGES = [
    ("rbootimg-update 1", "rbootimg-update 2"),
    ("rbootimg-update 1\n", "\n"),
    ("\nend\n", "\nend"),
    ("\nend\n", "\nend\n\n"),
    ("\nend\n", "\nend\nend\n"),
    ("\n", "\r\n"),
    ("app blink", "app  blink"),
    ("app blink", "app blink "),
    ("app blink", "app"),
    ("app blink", "app bl\0nk"),
    ("app blink", "app bl\x7fnk"),
    ("app blink", "app blïnk"),
    ("app blink\ndevice esp8266", "device esp8266\napp blink"),
    ("app blink\n", "app blink\napp blink\n"),
    ("version 1.3.0", "version 1.3"),
    ("version 1.3.0", "version 01.3.0"),
    ("version 1.3.0", "version 1.3.0+1"),
    ("version 1.3.0", "version 1.3.0-01"),
    ("version 1.3.0", "version 1.3.1234567890"),
    ("version 1.3.0", f"version 1.3.0-{'a' * 58}"),
    ("withdrawn 1.2.9", "withdrawn 1.3.0"),
    ("serial 17", "serial 0"),
    ("serial 17", "serial 017"),
    ("serial 17", "serial 4294967296"),
    ("serial 17", "serial -1"),
    ("issued 2026-11-27", "issued 2026-1-27"),
    ("rollout 2500", "rollout 10001"),
    ("rollout 2500", "rollout 02500"),
    ("rom 0 2000", "rom 0 02000"),
    ("rom 0 2000", "rom 0 0x2000"),
    ("rom 1 82000", "rom 1 8200A"),
    ("rom 1 82000", "rom 0 82000"),
    ("rom 0 2000", "rom 2 2000"),
    ("rom 1 82000", "rom 256 82000"),
    ("450704 0123", "450704 A123"),
    ("450704 0123", "450704 123"),
    ("450704 0123", "4507040000000 0123"),
    ("delta 1.2.7 0", "delta 1.2.7 256"),
    ("rollout 2500\n", "rollout 2500\nrollout 2500\n"),
]
"""Of a text in TEXT to another, each of which no parser accepts."""


def changed(old: str, new: str) -> bytes:
    """TEXT after a change: the first place only, but for line ends."""
    return TEXT.replace(old, new, 1 if old != "\n" else -1).encode("latin-1")

"""The rules of a ROM in Python and in the update client's C: the same ROMs are taken and refused by both."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.broken_roms import BROKEN, GOOD
from support.images import SLOTS
from support.ota_host import HARNESS, REASONS, Host, build, flash, reply, update

from rbootimg.errors import RomError
from rbootimg.rom import fit
from rbootimg.rom.format import Rom

pytestmark = pytest.mark.needs("gcc")

SLOT = SLOTS[1]
CODE, DATA = 0x40100000, 0x3FFE8000


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("harness"), HARNESS / "harness.c")


@dataclass(frozen=True)
class Raw:
    """A ROM field by field, as no packer would write it."""

    entry: int = CODE + 4
    second_entry: int = CODE + 4
    ignored: int = 0
    irom: bytes = bytes(range(32))
    count: int | None = None
    flash: bytes = b"\0\x20"
    second_flash: bytes = b"\0\x20"
    sections: tuple[tuple[int, bytes], ...] = ((CODE, bytes(16)), (DATA, b"data"))
    wrong_sum: int = 0
    padding: int = 0

    def to_bytes(self) -> bytes:
        data = struct.pack("<BB2sIII", 0xEA, 4, self.flash, self.entry, self.ignored, len(self.irom)) + self.irom
        count = len(self.sections) if self.count is None else self.count
        data += struct.pack("<BB2sI", 0xE9, count, self.second_flash, self.second_entry)
        total = 0xEF ^ self.wrong_sum
        for address, content in self.sections:
            data += struct.pack("<II", address, len(content)) + content
            for byte in content:
                total ^= byte
        return data + bytes((self.padding,)) * (15 - len(data) % 16) + bytes((total,))


def is_taken(data: bytes) -> bool:
    """What Python says."""
    try:
        return not fit.problems(Rom.from_bytes(data, irom_checksum=False), SLOT)
    except RomError:
        return False


def verdicts(program: Path, roms: list[bytes]) -> list[bool]:
    """What the client's check says, of all of them in one process."""
    host = Host(program, flash())
    for data in roms:
        host.do(f"load {host.file(data)} {SLOT.address:x}", f"verify {SLOT.address:x} 0 {len(data):x}")
    lines = [line.split() for line in host.run() if line.startswith("verify")]
    assert len(lines) == len(roms)
    found = [REASONS[int(line[1])] for line in lines]
    assert set(found) <= {"OK", "BAD_ROM"}
    return [reason == "OK" for reason in found]


ADDRESSES = [
    *(0, 1, DATA - 4, DATA, DATA + 1, DATA + 2, DATA + 4, 0x3FFFBFFC, 0x3FFFBFF8, 0x3FFFC000, 0x3FFFFFF0, 0x40000000),
    *(CODE - 4, CODE, CODE + 2, CODE + 8, CODE + 16, 0x40107FF0, 0x40107FFC, 0x40108000, 0x4010F364, 0x4010FC00),
    *(0x40200000, 0x40282010, 0x60001200, 0xFFFFFFFC, 0xFFFFFFFF),
]
EDGES = [
    Raw(),
    *(Raw(sections=((CODE, bytes(16)), (address, bytes(size)))) for address in ADDRESSES for size in (0, 4, 8, 32)),
    *(Raw(entry=entry, second_entry=entry) for entry in (*ADDRESSES, CODE + 12, CODE + 15)),
    *(Raw(sections=((CODE, bytes(16)), *((DATA + 8 * n, bytes(8)) for n in range(n)))) for n in (14, 15, 16, 254)),
    Raw(sections=((DATA, bytes(16)), (CODE, bytes(16)), (DATA + 12, bytes(8)))),
    Raw(sections=((CODE, b""), (CODE, bytes(16)), (CODE + 16, bytes(4)))),
    Raw(sections=((DATA, bytes(16)),)),
    Raw(sections=((CODE, b""),)),
    Raw(sections=(), count=0),
    Raw(count=1),
    Raw(count=3),
    Raw(second_entry=CODE),
    Raw(ignored=16),
    Raw(irom=b""),
    Raw(irom=bytes(24)),
    Raw(wrong_sum=1),
    Raw(padding=1),
    Raw(sections=((CODE, bytes(16)), (DATA, bytes(6)))),
    Raw(flash=b"\0\1"),
    Raw(flash=b"\0\2", second_flash=b"\2\x2f"),
]


def test_the_edges_of_every_rule_are_where_python_has_them(program: Path) -> None:
    roms = [raw.to_bytes() for raw in EDGES]
    expected = [is_taken(data) for data in roms]
    assert verdicts(program, roms) == expected
    assert expected[0]
    assert 20 < sum(expected) < len(expected) - 60


def test_they_agree_on_generated_roms(program: Path) -> None:
    draw = random.Random(14)

    def content(size: int) -> bytes:
        return draw.randbytes(size).replace(b"\x40", b"\0")  # no word that could point into the flash

    def sections() -> tuple[tuple[int, bytes], ...]:
        found, at = [], {"iram": CODE, "dram": DATA}
        for _ in range(draw.choice((1, 2, 3, 3, 3, 15, 16, 17))):
            kind = draw.choice(("iram", "dram", "dram"))
            address = draw.choice(ADDRESSES) if draw.random() < 0.06 else at[kind]
            data = content(draw.choice((0, 4, 8, 40)))
            found.append((address, data))
            at[kind] += len(data) + draw.choice((0, 0, 0, 0, 0, 4, -4 if draw.random() < 0.1 else 0))
        return tuple(found)

    raws = []
    for _ in range(1500):
        entry = draw.choice((CODE, CODE + 4, CODE + 4, CODE + 4, CODE + 8, *ADDRESSES[:1]))
        raw = Raw(
            entry, entry, irom=draw.randbytes(16 * draw.randint(1, 4)).replace(b"\x40", b"\0"), sections=sections()
        )
        if draw.random() < 0.1:
            raw = replace(raw, second_entry=draw.choice((CODE, CODE + 4, CODE + 2)))
        raws.append(raw)
    roms = [raw.to_bytes() for raw in raws]
    expected = [is_taken(data) for data in roms]
    found = verdicts(program, roms)
    assert [raw for raw, one, other in zip(raws, expected, found) if one != other] == []
    assert 200 < sum(expected) < 1300


@pytest.mark.parametrize("name", BROKEN)
def test_a_rom_that_breaks_a_rule_never_becomes_bootable(program: Path, name: str) -> None:
    data = BROKEN[name][0].to_bytes()
    host = Host(program, flash())
    assert update(host, reply(data))[-1].startswith(f"reason {REASONS.index('BAD_ROM')} ")
    assert host.flash[SLOT.address : SLOT.address + 4] == b"\xff" * 4


def test_a_good_one_does(program: Path) -> None:
    host = Host(program, flash())
    assert update(host, reply(GOOD.to_bytes()))[-1].startswith(f"reason {REASONS.index('OK')} ")
    assert host.flash[SLOT.address : SLOT.address + GOOD.size] == GOOD.to_bytes()

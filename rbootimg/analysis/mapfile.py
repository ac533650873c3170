"""A map file of GNU ld (`-Wl,-Map=app.map`) -> the objects' contributions to each output section. No files.

The format is undocumented; it is the output of binutils 2.40 (ld/ldlang.c: print_output_section_statement,
print_input_section, print_padding_statement, print_data_statement). Lines are recognised by their shape, not by
headings, as ld translates those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise

from ..errors import RbootError

FILL = "*fill*"
"""The name that ld gives to padding."""


@dataclass(frozen=True)
class Contribution:
    """`size` bytes at link `address` that the input section `section` adds to the output section `output`.

    `file` is the object's path, within `archive` if that is not empty. It is empty for the linker's own bytes: FILL,
    and data from the linker script (`section` is BYTE, SHORT, LONG or QUAD).
    """

    output: str
    section: str
    address: int
    size: int
    file: str = ""
    archive: str = ""

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class OutputSection:
    """A section of the linked program: `size` bytes at link `address`, and its known `parts` by address.

    The parts do not overlap and are inside the section; together they may be smaller than it.
    """

    name: str
    address: int
    size: int
    parts: tuple[Contribution, ...]

    @property
    def end(self) -> int:
        return self.address + self.size


# ld's SECTION_NAME_MAP_LENGTH. A name too long for it is on a line of its own, and its numbers are on the next line.
# A name that ends with a parenthesis is a pattern of the linker script.
_NAME_FIELD = " " * 16
_LONE_NAME = re.compile(r" ?\S{14,}(?<!\))")
_RANGE = r"\s+0x([0-9a-f]{1,16})\s+0x([0-9a-f]{1,16})"
_OUTPUT = re.compile(rf"(\S+){_RANGE}(?:\s.*)?")
_INPUT = re.compile(rf" (\S+){_RANGE}(?:\s+(\S.*))?")
_DATA = re.compile(rf"{_RANGE} (BYTE|SHORT|LONG|S?QUAD|RELOC)\s.*")
_MEMBER = re.compile(r"(.*[^(])\(([^()]+)\)")


def parse(text: str) -> tuple[OutputSection, ...]:
    """Return the output sections with an address in the map file `text`, in its order. Takes linear time.

    Discarded input sections, and sections without an address like .comment, are left out. Raises
    RbootError if there are none.
    """
    sections = tuple(_sections(text))
    if not sections:
        raise RbootError("not a map file of GNU ld: no section with an address; link with -Wl,-Map=app.map")
    return sections


def _sections(text: str) -> Iterator[OutputSection]:
    output: OutputSection | None = None
    parts: list[Contribution] = []
    for line in chain(_joined_lines(text), ["end"]):
        if line[:1].isspace():
            if output and (part := _contribution(output.name, line)):
                parts.append(part)
        elif line:
            if output and parts:
                yield replace(output, parts=_without_overlaps(output, parts))
            output, parts = _output(line), []


def _joined_lines(text: str) -> Iterator[str]:
    """Yield the lines, with those that ld splits after a long name joined."""
    name = ""
    for raw in text.splitlines():
        line = raw.rstrip()
        if name and line.startswith(_NAME_FIELD):
            line = name + line
        elif name:
            yield name
        name = line if _LONE_NAME.fullmatch(line) else ""
        if not name:
            yield line
    yield name


def _output(line: str) -> OutputSection | None:
    match = _OUTPUT.fullmatch(line)
    # Only debugging sections are listed at 0, which is not mapped on the ESP8266.
    if not match or not int(match[2], 16):
        return None
    return OutputSection(match[1], int(match[2], 16), int(match[3], 16), ())


def _contribution(output: str, line: str) -> Contribution | None:
    if match := _INPUT.fullmatch(line):
        file, archive = _member(match[4] or "")
        # The *fill* of a linker script's FILL() is followed by the pattern, not by a file.
        file = "" if match[1] == FILL else file
        return Contribution(output, match[1], int(match[2], 16), int(match[3], 16), file, archive)
    if match := _DATA.fullmatch(line):
        return Contribution(output, match[3], int(match[1], 16), int(match[2], 16))
    return None


def _member(path: str) -> tuple[str, str]:
    """Return the paths of the object and its archive, from `lib/libx.a(member.o)` or `main.o`."""
    match = _MEMBER.fullmatch(path)
    return (match[2], match[1]) if match else (path, "")


def _without_overlaps(output: OutputSection, parts: Iterable[Contribution]) -> tuple[Contribution, ...]:
    """Return the parts by address, each ending where the next begins.

    A section whose strings were all merged into another object's is listed with its old size, although it is empty
    and the next one is at the same address.
    """
    inside = sorted((part for part in parts if output.address <= part.address < output.end), key=_address)
    end = Contribution(output.name, "", output.end, 0)
    cut = (replace(part, size=min(part.size, after.address - part.address)) for part, after in pairwise([*inside, end]))
    return tuple(part for part in cut if part.size)


def _address(part: Contribution) -> int:
    return part.address

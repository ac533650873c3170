"""An application ELF's bytes -> entry and sections. The only user of pyelftools."""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ElfError

_SHF_ALLOC = 0x2  # sh_flags: takes memory while the program runs (System V ABI, section header)


@dataclass(frozen=True)
class Section:
    """A section that takes memory on the chip: `size` bytes at link `address`.

    `data` is empty for one that is only reserved there, like .bss; else it has `size` bytes.
    """

    name: str
    address: int
    size: int
    data: bytes = field(repr=False)

    @property
    def end(self) -> int:
        return self.address + self.size


@dataclass(frozen=True)
class Elf:
    """An application: its `entry` address and the sections that take memory, in file order."""

    entry: int
    sections: tuple[Section, ...]

    def find(self, name: str) -> Section | None:
        """The section called `name` if it has bytes to load, else None."""
        for section in self.sections:
            if section.name == name and section.data:
                return section
        return None


def parse(data: bytes) -> Elf:
    """The application in the ELF file `data`.

    Raises ElfError if it is not a whole, linked, 32-bit little-endian Xtensa ELF with sections.
    """
    # Here and not above: it takes longer than all the rest, and a build with nothing to do never gets here.
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    if not data.startswith(b"\x7fELF"):
        raise ElfError("not an ELF file" if data else "the file is empty")
    try:
        elf = ELFFile(io.BytesIO(data))
        header = elf.header
        if elf.elfclass != 32 or not elf.little_endian or header["e_machine"] != "EM_XTENSA":
            order = "little" if elf.little_endian else "big"
            raise ElfError(
                f"a {elf.elfclass}-bit {order}-endian ELF for {_machine(header['e_machine'])}, not for the "
                "ESP8266 (32-bit little-endian Xtensa); build it with xtensa-lx106-elf-gcc"
            )
        if header["e_type"] != "ET_EXEC":
            raise ElfError("not a linked program but an object file or a library; link it first")
        if elf.num_sections() == 0:
            raise ElfError("the ELF has no sections; do not strip its section headers")
        if elf.get_section(elf.get_shstrndx()).header["sh_type"] != "SHT_STRTAB":
            raise ElfError("the ELF is damaged or cut off (no section names); link it again")
        found = [_section(section.name, section.header, data) for section in elf.iter_sections()]
    # A damaged file shows in many ways below pyelftools; here they become one.
    except (ELFError, struct.error, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise ElfError(f"the ELF is damaged or cut off ({error}); link it again") from None
    sections = tuple(section for section in found if section is not None)
    twice = [name for name, count in Counter(section.name for section in sections).items() if count > 1]
    if twice:
        raise ElfError(f"the ELF has more than one section {twice[0]}; merge them in the linker script")
    return Elf(header["e_entry"], sections)


def _section(name: str, header: Mapping[str, Any], data: bytes) -> Section | None:
    """The section, or None if it takes no memory on the chip; its bytes must be there all the same."""
    start, size = header["sh_offset"], header["sh_size"]
    in_file = header["sh_type"] not in ("SHT_NOBITS", "SHT_NULL")
    if in_file and start + size > len(data):
        raise ElfError(
            f"section {name} ends {start + size - len(data):,} bytes behind the end of the file, which is cut off; "
            "link it again"
        )
    if not header["sh_flags"] & _SHF_ALLOC or not size:
        return None
    return Section(name, header["sh_addr"], size, data[start : start + size] if in_file else b"")


def _machine(machine: object) -> str:
    return str(machine).removeprefix("EM_")

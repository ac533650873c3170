"""Small ELF files in memory, so that each test shows its input. Layout: ELF specification 1.2, and Xtensa's machine."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

EM_386, EM_XTENSA = 3, 94
ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_NOBITS, SHT_SYMTAB_SHNDX = 0, 1, 2, 3, 8, 18
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4

# Extended section numbering: what does not fit 16 bits stands in section 0, or in a section SHT_SYMTAB_SHNDX.
SHN_LORESERVE, SHN_XINDEX = 0xFF00, 0xFFFF

IROM0, IROM1 = 0x40202010, 0x40282010
IRAM, DRAM = 0x40100000, 0x3FFE8000


@dataclass(frozen=True)
class Sec:
    """A section; `size` is for one without data, like .bss; `link` and `entry_size` are for a symbol table."""

    name: str
    address: int = 0
    data: bytes = b""
    type: int = SHT_PROGBITS
    flags: int = SHF_ALLOC | SHF_EXECINSTR
    size: int | None = None
    link: int = 0
    entry_size: int = 0


APP = (
    Sec(".text", IRAM, bytes(range(1, 9)), flags=SHF_ALLOC | SHF_EXECINSTR),
    Sec(".data", DRAM, b"data", flags=SHF_ALLOC | SHF_WRITE),
    Sec(".rodata", DRAM + 4, b"read only", flags=SHF_ALLOC),
    Sec(".bss", DRAM + 0x10, type=SHT_NOBITS, flags=SHF_ALLOC | SHF_WRITE, size=0x20),
    Sec(".irom0.text", IROM0, b"code in the flash", flags=SHF_ALLOC | SHF_EXECINSTR),
)


def build_elf(
    sections: Sequence[Sec] = APP,
    entry: int = IRAM,
    machine: int = EM_XTENSA,
    bits: int = 32,
    order: str = "<",
    kind: int = ET_EXEC,
    headers_first: bool = False,
) -> bytes:
    """The bytes of an ELF: file header, the sections' data, .shstrtab, and the section headers.

    `headers_first` puts the section headers before the data. Section 0 is the null section, so the
    first of `sections` is number 1; .shstrtab comes after the last. From 65,280 sections on their number and that of
    .shstrtab stand in section 0.
    """
    word = "I" if bits == 32 else "Q"
    header = struct.Struct(f"{order}16sHHI{word}{word}{word}IHHHHHH")
    section_header = struct.Struct(f"{order}II{word}{word}{word}{word}II{word}{word}")
    names = b"\0" + b"".join(section.name.encode() + b"\0" for section in sections) + b".shstrtab\0"
    count = len(sections) + 2
    extended = count >= SHN_LORESERVE
    null = Sec("", type=SHT_NULL, flags=0, size=count * extended, link=(count - 1) * extended)
    all_sections = (null, *sections, Sec(".shstrtab", data=names, type=SHT_STRTAB, flags=0))
    table_size = section_header.size * len(all_sections)

    start = header.size + table_size * headers_first
    body, table, name_at = bytearray(), bytearray(), 1
    for number, section in enumerate(all_sections):
        size = len(section.data) if section.size is None else section.size
        table += section_header.pack(
            name_at if number else 0,
            section.type,
            section.flags,
            section.address,
            start + len(body) if number else 0,
            size,
            section.link,
            0,
            1,
            section.entry_size,
        )
        body += section.data
        name_at += len(section.name) + 1 if number else 0

    ident = b"\x7fELF" + bytes((1 if bits == 32 else 2, 1 if order == "<" else 2, 1)) + bytes(9)
    table_at = header.size if headers_first else header.size + len(body)
    fields = (kind, machine, 1, entry, 0, table_at, 0, header.size, 0, 0, section_header.size)
    numbers = (0, SHN_XINDEX) if extended else (count, count - 1)
    return header.pack(ident, *fields, *numbers) + (table + body if headers_first else body + table)


NOTYPE, OBJECT, FUNC, SECTION, FILE = range(5)
UNDEFINED, ABSOLUTE = 0, 0xFFF1
TEXT, DATA, RODATA, BSS, FLASH = range(1, len(APP) + 1)


@dataclass(frozen=True)
class Sym:
    """An entry of the symbol table; `section` is a number in APP, from 1."""

    name: str
    address: int
    size: int = 0
    type: int = FUNC
    section: int = TEXT


def with_symbols(*symbols: Sym, sections: Sequence[Sec] = APP) -> bytes:
    """An ELF with a symbol table and its strings after `sections`."""
    names, entries = b"\0", bytes(16)
    for symbol in symbols:
        entries += struct.pack("<IIIBBH", len(names), symbol.address, symbol.size, symbol.type, 0, symbol.section)
        names += symbol.name.encode() + b"\0"
    return build_elf((*sections, *tables_of(names, entries, len(sections))))


def tables_of(names: bytes, entries: bytes, before: int) -> tuple[Sec, Sec]:
    table = Sec(".symtab", type=SHT_SYMTAB, flags=0, data=entries, link=before + 2, entry_size=16)
    return table, Sec(".strtab", type=SHT_STRTAB, flags=0, data=names)

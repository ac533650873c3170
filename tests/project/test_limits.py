"""Files that are made to take memory or time: each parser needs no more than a share of the file's size, or refuses it.

Every input is parsed in a process of its own, under limits of the system: MEMORY bytes and MEMORY_SHARE times the
file's size of address space more than the interpreter has with all modules loaded, and SECONDS of CPU time. A parser
that goes beyond either fails here with MemoryError or is killed.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.elf_builder import DRAM, IRAM, IROM0, SHT_STRTAB, SHT_SYMTAB, Sec, build_elf
from support.limited import Processes
from support.parsers import PARSERS, refusal

from rbootimg.flash.bootconfig import BootConfig
from rbootimg.rom.format import RamSection, Rom

MEMORY, MEMORY_SHARE, SECONDS = 24 << 20, 80, 2
SIZE = 140_000
"""Bytes of an input, about; an ELF of 137 KB once took 823 MB."""
LAYOUT_SIZE = 64_000
FUZZ_MEMORY = 64 << 20  # which is Hypothesis's own, but for a few MB


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with Processes(__file__) as processes:
        yield processes


# Hostile ELFs

SYMBOL = struct.Struct("<IIIBBH")
FUNC, GLOBAL = 2, 16


def with_places(sections: int, place: tuple[int, int, int], data: bytes) -> bytes:
    """An ELF whose `sections` have all the same place: the name's offset in `data`, offset in the file and size."""
    elf = bytearray(build_elf([Sec("", IRAM + number) for number in range(sections)]))
    table = int.from_bytes(elf[32:36], "little")
    for number in range(1, sections + 1):
        struct.pack_into("<I", elf, table + 40 * number, place[0])
        struct.pack_into("<II", elf, table + 40 * number + 16, *place[1:])
    struct.pack_into("<II", elf, table + 40 * (sections + 1) + 16, len(elf), len(data))  # .shstrtab
    return bytes(elf) + data


def with_symbols(
    entries: list[tuple[int, int, int]], names: bytes, text: bytes = bytes(64), address: int = IRAM
) -> bytes:
    """An ELF with symbols of these offsets in `names`, addresses and sizes, all in its one section."""
    table = b"".join(SYMBOL.pack(*entry, FUNC | GLOBAL, 0, 1) for entry in entries)
    return build_elf(
        (
            Sec(".text", address, text),
            Sec(".symtab", type=SHT_SYMTAB, flags=0, data=table, link=3, entry_size=16),
            Sec(".strtab", type=SHT_STRTAB, flags=0, data=names),
        )
    )


def numbered(count: int) -> bytes:
    """Names of 5 letters, at offsets that are multiples of 6."""
    return b"".join(b"%05x\0" % number for number in range(count))


def many_symbols(name_size: int = 0) -> bytes:
    count = (SIZE - name_size) // 24
    entries = [(6 * number, DRAM + number, 1) for number in range(count)]
    entries += [(6 * count, DRAM, count)] * bool(name_size)
    return with_symbols(entries, numbered(count) + b"n" * name_size + b"\0", bytes(count), DRAM)


def long_section_name() -> bytes:
    """The symbols of many_symbols() in a section with a name that takes half of the file."""
    elf = many_symbols()
    table = int.from_bytes(elf[32:36], "little")
    name = b".data" + b"n" * SIZE + b"\0"
    at = table + 40 * 4 + 16  # .shstrtab
    names_at, names_size = struct.unpack_from("<II", elf, at)
    names = elf[names_at : names_at + names_size] + name
    changed = bytearray(elf + names)
    struct.pack_into("<II", changed, at, len(elf), len(names))
    struct.pack_into("<I", changed, table + 40, names_size)
    return bytes(changed)


def mapped_symbols() -> bytes:
    """Thousands of functions of the SDK's name, from each place to the end of the same code."""
    text = b"\x21\0\xff" * (SIZE // 6)
    entries = [(0, IROM0 + 3 * number, len(text) - 3 * number) for number in range(SIZE // 32)]
    return with_symbols(entries, b"Cache_Read_Enable_New\0", text, IROM0)


def anagrams() -> bytes:
    """Functions with the letters of the entry's name in another order, which take long to compare with it."""
    chance = random.Random(1)
    names = ["".join(chance.sample("call_user_start", 15)) for _ in range(SIZE // 32)]
    entries = [(16 * number, IRAM, 4) for number in range(len(names))]
    return with_symbols(entries, "".join(f"{name}\0" for name in names).encode())


# Hostile ROMs and flash images


def rom_of_words(size: int, in_ram: bool) -> bytes:
    """A ROM of words that all point into the flash, each to another place."""
    words = struct.pack(f"<{size // 4}I", *range(0x40200001, 0x40200001 + size, 4))
    return Rom(IRAM, bytes(16) if in_ram else words, (RamSection(IRAM, words if in_ram else bytes(64)),)).to_bytes()


def flash_of_roms(size: int, rom: Callable[[int], bytes]) -> bytes:
    """A flash whose config has 255 ROMs; `rom` makes what begins at an address, whatever it writes over."""
    flash = bytearray(b"\xff" * size)
    flash[:16] = struct.pack("<BBBBIII", 0xE9, 1, 0, 0x20, IRAM, IRAM, 0)
    count = min(255, size // 0x1000 - 3)
    addresses = [0x2000 + 0x1000 * number for number in range(count)]
    flash[0x1000 : 0x1008 + 4 * count] = struct.pack(f"<6B2x{count}I", 0xE1, 1, 0, 0, 0, count, *addresses)
    for address in addresses:
        data = rom(address)
        flash[address : address + len(data)] = data
    return bytes(flash)


def roms_over_each_other() -> bytes:
    """ROMs that reach from each sector of a megabyte to its end, where they have their RAM part in common."""
    ram_at = 0xFFF00
    flash = flash_of_roms(0x100000, lambda address: struct.pack("<BBHIII", 0xEA, 4, 0, IRAM, 0, ram_at - address - 16))
    ram = struct.pack("<BBHIII", 0xE9, 1, 0, IRAM, IRAM, 16)
    return flash[:ram_at] + ram + flash[ram_at + len(ram) :]


def images_over_each_other() -> bytes:
    """Images with a RAM section that reaches from each sector to the end of the flash."""
    return flash_of_roms(
        0x400000, lambda address: struct.pack("<BBHIII", 0xE9, 1, 0, IRAM, IRAM, 0x3FFF00 - address) + bytes(0x20)
    )


def many_small_sections() -> bytes:
    sections = b"".join(struct.pack("<III", IRAM + 4 * number, 4, number) for number in range(255))
    return flash_of_roms(0x40000, lambda address: struct.pack("<BBHI", 0xE9, 255, 0, IRAM) + sections)


# Hostile texts


def manifest(**changes: object) -> bytes:
    """A manifest with `changes` in its one ROM, and for `flash` in its flash."""
    flash = {"size": 0x100000, "parts": [], **changes.pop("flash", {})}
    file = {"path": "", "size": 1, "sha256": "0" * 64}
    rom = {"slot": 0, **file, "flash_address": 0x2000, "slot_size": 0x1000, "link_address": 0}
    values = {"schema": 1, "app": "a", "version": "1.0.0", "device": "x", "flash": flash}
    return json.dumps({**values, "roms": [{**rom, "checksum": "ram", **changes}]}).encode()


def toml(start: str, repeated: str, size: int = LAYOUT_SIZE) -> bytes:
    return (start + repeated * ((size - len(start)) // len(repeated))).encode()


REGION = b"irom0_0_seg : org = "
OVERLAP = "corrupt or truncated ELF ("
HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "sections of the same bytes": (
        "ELF",
        lambda: with_places(SIZE // 80, (0, 52, SIZE // 2), bytes(SIZE // 2)),
        f"{OVERLAP}sections overlap in the file)",
    ),
    "sections with one long name": (
        "ELF",
        lambda: with_places(SIZE // 80, (0, 52, 1), b"n" * (SIZE // 2) + b"\0"),
        f"{OVERLAP}section names overlap)",
    ),
    "a string table as a section for each symbol": (
        "ELF",
        lambda: with_symbols([(number % 16, IRAM, 4) for number in range(SIZE // 32)], b"n" * (SIZE // 2) + b"\0"),
        f"{OVERLAP}symbol names overlap)",
    ),
    "a name of four bytes a letter": (
        "ELF",
        lambda: with_symbols([(0, IRAM, 4)] * (SIZE // 32), b"\xf0\x9f\x98\x80" + b"n" * 100 + b"\0" * (SIZE // 2)),
        "",
    ),
    "one name, which is the entry's many times": (
        "ELF",
        lambda: with_symbols([(0, IRAM, 4)], b"call_user_start" * (4 << 16) + b"\0"),
        "",
    ),
    "a name without an end": (
        "ELF",
        lambda: with_symbols([(0, IRAM, 4)], b"n" * SIZE),
        "corrupt or truncated ELF (a symbol's name)",
    ),
    "as many symbols as there is room for": ("size", many_symbols, ""),
    "one symbol with a long name": ("size", lambda: many_symbols(SIZE // 2), ""),
    "a section with a long name": ("size", long_section_name, "corrupt or truncated ELF (a section's name)"),
    "functions that may be the SDK's": ("mapping", mapped_symbols, ""),
    "functions that may be the entry": ("ELF", anagrams, ""),
    "a map of parts": (
        "map",
        lambda: b".text 0x40100000 0x100000\n" + b" a 0x40100000 0x1\n" * (SIZE // 18),
        "",
    ),
    "a map of blanks": (
        "map",
        lambda: b".text 0x1" + b" " * SIZE + b"0x1\n .text" + b" " * SIZE,
        "not a map file of GNU ld:",
    ),
    "a map of long names": (
        "map",
        lambda: (b" " + b"x" * 20 + b"\n") * (SIZE // 22),
        "not a map file of GNU ld: no section",
    ),
    "words that point into the flash": ("info", lambda: rom_of_words(SIZE, in_ram=False), ""),
    "words in RAM that point into the flash": ("info", lambda: rom_of_words(1 << 20, in_ram=True), ""),
    "a ROM larger than any slot": ("info", lambda: rom_of_words(4 << 20, in_ram=False), ""),
    "ROMs that differ in every byte": (
        "compare",
        lambda: Rom(IRAM, random.Random(1).randbytes(SIZE), (RamSection(IRAM, bytes(8)),)).to_bytes(),
        "",
    ),
    "ROMs over each other": ("info", roms_over_each_other, ""),
    "images over each other": ("info", images_over_each_other, ""),
    "images of many sections": ("info", many_small_sections, ""),
    "a loader's version": ("loader", lambda: b"rBoot v" + b"9" * SIZE + b".1", ""),
    "a layout of 200 KB": ("layout", lambda: toml("", "a.", 200_000), "layout too large"),
    "a dotted key": ("layout", lambda: toml("", "a.") + b"a = 1", "line 1: too many dots"),
    "a dotted key in quotes": (
        "layout",
        lambda: toml("", '"] #".') + b"a = 1",
        "line 1: too many dots",
    ),
    "a dotted table": ("layout", lambda: toml("a = 1\n[", "a.") + b"a]", "line 2: too many dots"),
    "dots behind texts": (
        "layout",
        lambda: toml('b = """\n"\\"""""\n', "a.") + b"a = 1",
        "line 3: too many dots",
    ),
    "nested lists": ("layout", lambda: toml("a = ", "["), "line 1: nesting too deep"),
    "nested lists over lines": ("layout", lambda: toml("a = ", '["]",\n'), "line 9: nesting too deep"),
    "a large number": ("layout", lambda: toml("flash_size = 0x", "f"), "line 1: word too long"),
    "many slots": (
        "layout",
        lambda: toml('flash_size = "16MB"\n', "[[slot]]\naddress = 8192\n"),
        "too many slots",
    ),
    "many regions": (
        "layout",
        lambda: toml('flash_size = "16MB"\n', '[[region]]\nname = "x"\naddress = 0\nsize = 4096\n'),
        "two regions are called 'x'",
    ),
    "many tables": (
        "layout",
        lambda: b"".join(b"[a%d]\n" % number for number in range(LAYOUT_SIZE // 8)),
        "unknown key 'a0'",
    ),
    "a manifest of brackets": ("manifest", lambda: b"[" * SIZE, "manifest: not JSON"),
    "a manifest of lists": ("manifest", lambda: b"[" + b"[]," * (SIZE // 3) + b"[]]", "manifest: not a JSON object"),
    "a manifest of 2 MB": (
        "manifest",
        lambda: b" " * (2 << 20),
        "manifest: too large: expected at most 1,048,576 bytes",
    ),
    "a history of brackets": ("history", lambda: b'{"schema":' * (SIZE // 10), "history: not JSON"),
    "a flash of no bytes": ("manifest", lambda: manifest(flash={"size": 0}), "manifest: flash: invalid size 0: "),
    "a flash of 10 TB": (
        "manifest",
        lambda: manifest(flash={"size": 10**13}),
        "manifest: flash: invalid size: expected",
    ),
    "a flash of 4 GB": (
        "manifest",
        lambda: manifest(flash={"size": 0xFFFFFFFF}),
        "manifest: flash: invalid size 429496",
    ),
    "parts over each other": (
        "manifest",
        lambda: manifest(flash={"parts": [{"kind": "", "name": "", "address": 0, "size": 0x100000}] * 2000}),
        "manifest: flash: parts: invalid ",
    ),
    "a slot of no bytes": ("manifest", lambda: manifest(slot_size=0), "manifest: roms: invalid slot_size: "),
    "a ROM of thousands of digits": (
        "manifest",
        lambda: manifest(size=10**4000),
        "manifest: roms: invalid size: expected",
    ),
    "half a character": (
        "manifest",
        lambda: manifest(proved_by="\ud800"),
        "manifest: roms: proved_by: unpaired surrogate",
    ),
    "blanks in a script": (
        "script",
        lambda: REGION + b"1" + b" " * SIZE + b"len",
        "unsupported syntax for region irom0_0_seg",
    ),
    "blanks before an operand": (
        "script",
        lambda: REGION + b"1 +" + b" " * SIZE + b")",
        "unsupported syntax for region irom0_0_seg",
    ),
    "brackets without an end": ("script", lambda: b"irom0_0_seg (" * (SIZE // 13), "no memory region irom0_0_seg"),
    "a script of names": ("script", lambda: b"irom0_0_seg " * (SIZE // 12), "no memory region irom0_0_seg"),
    "operands": ("script", lambda: REGION + b"1" + b"+1" * SIZE, "unsupported syntax for region irom0_0_seg"),
    "nested operands": ("script", lambda: REGION + b"((" + b"(1)" * SIZE, "unsupported syntax for region irom0_0_seg"),
    "a script of 2 MB": ("script", lambda: b" " * (2 << 20), "linker script has 2,097,152 bytes"),
    "interim replies": ("reply", lambda: b"HTTP/1.1 100 C\r\n\r\n" * (SIZE // 18), ""),
    "a length of digits": ("reply", lambda: b"HTTP/1.1 200 C\r\nContent-Length: " + b"9" * SIZE + b"\r\n\r\n", ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_takes_no_more_than_its_share(processes: Processes, name: str) -> None:
    parser, make, refused = HOSTILE[name]
    data = make()
    is_well, told = processes.run("refusal", parser, data, memory=MEMORY + MEMORY_SHARE * len(data), seconds=SECONDS)
    assert is_well, told
    assert (told or "")[: len(refused) or None] == refused


def test_what_takes_too_much_is_noticed(processes: Processes) -> None:
    is_well, told = processes.run("fill", memory=MEMORY, seconds=SECONDS)
    assert (is_well, told.splitlines()[-1]) == (False, "MemoryError")
    is_well, told = processes.run("loop", memory=MEMORY, seconds=1)
    assert (is_well, told.partition(":")[0]) == (False, f"killed by signal {signal.SIGXCPU.value}")


def fill() -> None:
    bytearray(2 * MEMORY)


def loop() -> None:
    while True:
        pass


def test_esptool2_reads_no_file_without_an_end(tmp_path: Path) -> None:
    output = tmp_path / "app.bin"
    done = subprocess.run(
        [sys.executable, "-m", "rbootimg.commands.esptool2", "-lib", "/dev/zero", output],
        capture_output=True,
        text=True,
        preexec_fn=lambda: (resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)), None)[1],
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr == "Error: Can't open elf file '/dev/zero': larger than 256 MB.\n"
    assert not output.exists()


# Good and damaged files, made up by Hypothesis


TEXTS = st.text("a\N{EURO SIGN}\N{GRINNING FACE}\0\x7f\\", max_size=3)  # not of all of Unicode, which takes memory


def joined(*texts: str) -> st.SearchStrategy[bytes]:
    """Texts of these pieces, in any order."""
    return st.lists(st.sampled_from(texts) | TEXTS, max_size=40).map(lambda text: "".join(text).encode())


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """`good` with some bytes or words changed, and perhaps cut off."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1))
        word = draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80"]))
        data[at : at + len(word)] = word
    return bytes(data[: draw(st.none() | st.integers(0, len(data)))])


ELF = with_symbols([(0, IRAM, 8), (16, IRAM + 8, 0), (18, IROM0, 4)], b"call_user_start\0f\0Cache_Read_Enable_New\0")
ROM = Rom(IRAM, b"code in the flash" * 20, (RamSection(IRAM, b"code in RAM"), RamSection(DRAM, b"data"))).to_bytes()
LOADER = struct.pack("<BBBBIII", 0xE9, 1, 0, 0x20, IRAM, IRAM, 16) + b"rBoot v1.4.2\r\n\0\0" + bytes(16)
CONFIG = BootConfig((0x2000, 0x82000)).to_bytes(checksum=True)
FLASH = LOADER.ljust(0x1000, b"\xff") + CONFIG.ljust(0x1000, b"\xff") + ROM
NUMBERS = ("0", "1", "8192", "0x40100000", "-1", "1e9", "9" * 30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**70) | TEXTS | st.just("1.0.0"),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from([*json.loads(manifest()), *json.loads(manifest())["roms"][0], "parts", "manifests"]),
            children,
        )
    ),
    max_leaves=12,
)
TOML = joined(
    *(
        "preset",
        "flash_size",
        "flash_mode",
        "[loader]",
        "[[slot]]",
        "[[region]]",
        "name",
        "address",
        "size",
        "max_roms",
    ),
    *(" = ", "\n", "[", "]", "{", "}", '"""', "'", '"', ".", ",", "#", '"1MB"', '"512KB"', '"x"', "true", *NUMBERS),
)
MAP = joined(
    *(".text", " .text.f", " *fill*", "  ", "\n", "0x40100000", " 0x8", " main.o", "lib.a(x.o)", " LONG", *NUMBERS),
)
SCRIPT = joined(
    *("MEMORY {", "}", "irom0_0_seg", ":", "org", "=", "len", ",", "(", ")", "+", "-", "~", " ", "\n", "/*", "*/", '"'),
    *("INCLUDE ", "ENTRY(call_user_start1)", *NUMBERS),
)
REPLY = joined(
    *("HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 C\r\n", "Content-Length: ", "Transfer-Encoding: chunked", "\r\n", "\n", " "),
    *(":", "\t", *NUMBERS),
)
FUZZED: dict[str, st.SearchStrategy[bytes]] = {
    "info": damaged(FLASH) | damaged(ROM) | damaged(ELF) | st.binary(),
    "ROM": damaged(ROM) | st.binary(),
    "ELF": damaged(ELF) | st.binary().map(lambda data: ELF[:52] + data),
    "pack": damaged(ELF),
    "mapping": damaged(ELF),
    "size": damaged(ELF),
    "map": MAP,
    "compare": damaged(ROM) | st.just(ROM),
    "config": damaged(CONFIG) | st.binary(max_size=64),
    "loader": damaged(LOADER),
    "layout": TOML,
    "manifest": damaged(manifest()) | JSON.map(lambda values: json.dumps(values).encode()),
    "history": JSON.map(lambda values: json.dumps(values).encode()),
    "script": SCRIPT,
    "reply": REPLY | st.binary().map(lambda data: b"HTTP/1.1 200 OK\r\n" + data),
    "esptool2 -lib": damaged(ELF),
}


def fuzz(parser: str) -> None:
    @settings(
        max_examples=40,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(FUZZED[parser])
    def run(data: bytes) -> None:
        refusal(parser, data)

    run()


@pytest.mark.parametrize("parser", FUZZED)
def test_a_result_or_a_refusal_is_all_that_comes_out(processes: Processes, parser: str) -> None:
    is_well, told = processes.run("fuzz", parser, memory=FUZZ_MEMORY, seconds=10 * SECONDS)
    assert is_well, told


def test_the_files_to_be_damaged_are_good() -> None:
    for parser, data in (("ELF", ELF), ("ROM", ROM), ("manifest", manifest()), ("size", ELF), ("compare", ROM)):
        assert refusal(parser, data) is None
    assert PARSERS.keys() - FUZZED.keys() == {"size with a map"}

"""The proof that a flash boots: examples from every slot, real applications, and packers that are broken on purpose."""

from __future__ import annotations

import functools
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import chip
from support.programs import run_module

from rbootimg.emulator.proof import SlotProof, prove
from rbootimg.emulator.qemu import BootEnd, BootOptions, boot
from rbootimg.errors import EmulatorError, FitError, LayoutError, ProofError
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.model import FlashLayout, LoaderOptions
from rbootimg.layout.presets import preset_layout
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.rom import elf
from rbootimg.rom.format import RamSection, Rom
from rbootimg.rom.pack import pack

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

ROOT = chip.PACKAGE.parent

LAYOUTS = {
    "512KB": preset_layout("512KB"),
    "1MB": preset_layout("1MB"),
    "4MB-big": preset_layout("4MB-big"),
    "four-1MB": preset_layout("four-1MB"),
    "three, all options": parse_layout(
        """
        flash_size = "4MB"
        loader = {big_flash = true, irom_checksum = true, config_checksum = true, max_roms = 8, gpio = "rom"}
        slot = [{address = 0x2000, size = 0x20000}, {address = 0x180000}, {address = "2MB"}]
        """
    ),
}


@functools.cache
def hello(name: str) -> tuple[elf.Elf, ...]:
    """The example's ELF for each slot of a layout, built by scons."""
    layout = LAYOUTS[name]
    slots = " ".join(f"{slot.address:#x}:{slot.size:#x}" for slot in layout.slots)
    settings = [f"RBOOT_FLASH_SIZE={layout.size.name}", f"RBOOT_SLOTS={slots}", f"RBOOT_BIG_FLASH={layout.big_flash:d}"]
    with tempfile.TemporaryDirectory() as directory:
        for part in ("SConstruct", "main.c"):
            shutil.copy(ROOT / "examples" / "hello" / part, directory)
        run_module("SCons", "-Q", *settings, cwd=Path(directory)).check_returncode()
        built = {
            program.find(".irom0.text").address: program  # type: ignore[union-attr]
            for program in (elf.parse_elf(path.read_bytes()) for path in Path(directory).glob("hello/*.elf"))
        }
    return tuple(built[slot.link_address] for slot in layout.slots)


def flash_of(layout: FlashLayout, roms: dict[int, bytes], loader: bytes | None = None, current: int = 0) -> bytes:
    loader = loader or chip.loader(layout.loader)
    config = make_boot_config(layout, loader, current)
    pieces = flash_pieces(layout, loader, roms, config)
    return assemble(pieces, layout.size.bytes)


def packed(layout: FlashLayout, elfs: dict[int, elf.Elf]) -> dict[int, bytes]:
    checksum = layout.loader.irom_checksum
    return {number: pack(app, irom_checksum=checksum).to_bytes() for number, app in elfs.items()}


@functools.cache
def real(name: str) -> dict[int, elf.Elf]:
    """An application, linked for the two slots of the 1 MB layout."""
    return {
        number: elf.parse_elf(chip.linked(chip.SOURCES[name], slot))
        for number, slot in enumerate(preset_layout("1MB").slots)
    }


# What boots


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_example_boots_from_every_slot_and_says_where_it_is(name: str) -> None:
    layout, elfs = LAYOUTS[name], dict(enumerate(hello(name)))
    roms = packed(layout, elfs)
    for slot in layout.slots:
        result = boot(flash_of(layout, roms, current=slot.number or 0), BootOptions(until="words 77\r\n"))
        assert result.ended == BootEnd.UNTIL, result.uart
        assert result.rom == slot.number
        assert (
            f"hello from slot {slot.number}: flash address {slot.address:#x}, linked at {slot.link_address:#x}\r\n"
            "hello: data 43, flash words 77\r\n"
        ) in result.uart
        assert result.misuse == ()
    proofs = prove(flash_of(layout, roms), layout, elfs)
    assert [(proof.number, proof.slot, proof.entry) for proof in proofs] == [
        (slot.number, slot, elfs[slot.number or 0].entry) for slot in layout.slots
    ]


@pytest.mark.parametrize("name", ["tiny", "mixed", "big"])
def test_a_real_application_is_proved_in_both_slots(name: str) -> None:
    layout, elfs = preset_layout("1MB"), real(name)
    proofs = prove(flash_of(layout, packed(layout, elfs)), layout, elfs)
    for proof in proofs:
        loaded = [section for section in elfs[proof.number].sections if section.data]
        assert proof.size == sum(section.size for section in loaded)
    assert len(proofs) == 2


def test_the_proof_is_of_the_slots_that_are_asked_for_whichever_is_current() -> None:
    layout, elfs = preset_layout("1MB"), real("mixed")
    flash = flash_of(layout, packed(layout, {1: elfs[1]}), current=1)
    assert [proof.number for proof in prove(flash, layout, {1: elfs[1]})] == [1]
    blank_config = flash[:0x1000] + b"\xff" * 0x1000 + flash[0x2000:]
    assert len(prove(blank_config, layout, {1: elfs[1]})) == 1


def test_only_the_sections_that_were_packed_are_looked_for() -> None:
    layout, app = preset_layout("1MB"), real("mixed")[0]
    rom = pack(app, [".text", ".rodata"]).to_bytes()
    flash = flash_of(layout, {0: rom})
    assert prove(flash, layout, {0: app}, [".text", ".rodata"])
    assert ".data+0x0 at 0x3ffe8" in failure(flash, app)


# Its code stands where the application's goes, with a loop at the application's entry; it copies the part that
# loads the application to the upper half of the IRAM. So does rBoot.
LOW_LOADER = """
#include <stdint.h>
extern int ets_printf(const char *, ...);
extern int SPIRead(uint32_t, void *, uint32_t);
extern void *ets_memcpy(void *, const void *, uint32_t);
extern void spin(uint32_t);
__asm__(".section .first, \\"ax\\"\\n .word 0, 0\\n .global spin\\n spin: addi a2, a2, -1\\n bnez a2, spin\\n ret.n\\n"
        " .previous");
extern char _stage2_start[], _stage2_end[];
__attribute__((section(".stage2"), noinline)) void stage2(uint32_t at, int (*read)(uint32_t, void *, uint32_t))
{
    uint32_t header[2], section[2];
    read(at, header, 8), at += 8;
    for (int left = header[0] >> 8 & 0xff; left; left--) {
        read(at, section, 8), at += 8;
        read(at, (void *)section[0], section[1]), at += section[1];
    }
    ((void (*)(void))header[1])();
}
void call_user_start(void)
{
    uint32_t irom;
    ets_printf("low loader\\r\\n"), spin(100000);
    SPIRead(0x2000 + 12, &irom, 4);
    ets_printf("Booting rom %d at %x\\r\\n", 0, 0x2000), spin(100000);
    ets_memcpy((void *)0x4010f000, _stage2_start, _stage2_end - _stage2_start);
    ((void (*)(uint32_t, void *))0x4010f000)(0x2010 + irom, SPIRead);
}
"""


def test_a_loader_in_low_iram_may_pass_the_entry_before_it_loads_the_rom(tmp_path: Path) -> None:
    script = tmp_path / "low.ld"
    text = chip.BARE_METAL.read_text().replace('INCLUDE "maskrom.ld"', f'INCLUDE "{chip.BARE_METAL.parent}/maskrom.ld"')
    stage2 = "_stage2_start = .; *(.stage2) . = ALIGN(4); _stage2_end = .; "
    script.write_text(text.replace("*(.entry.text)", f"*(.first) *(.literal .text) . = ALIGN(4); {stage2}"))
    program = chip.compiled(LOW_LOADER, script=script)
    layout, elfs = preset_layout("1MB"), real("mixed")
    assert [symbol.address for symbol in elf.elf_symbols(program) if symbol.name == "spin"] == [elfs[0].entry]
    flash = flash_of(layout, packed(layout, elfs), chip.image(program))
    assert prove(flash, layout, {0: elfs[0]})


# What does not


def failure(flash: bytes, app: elf.Elf, slot: int = 0, layout: FlashLayout = LAYOUTS["1MB"]) -> str:
    """The message of the failed proof of one ROM; it comes soon, not when the time is over."""
    start = time.monotonic()
    with pytest.raises(ProofError) as error:
        prove(flash, layout, {slot: app})
    assert time.monotonic() - start < 2
    message = str(error.value)
    assert "\n" not in message
    return message


def _reordered(rom: bytes) -> bytes:
    """The sections' data in another order than their headers."""
    parsed = Rom.from_bytes(rom)
    first, second, *rest = parsed.sections
    swapped = (first._replace(data=second.data), second._replace(data=first.data))
    return parsed._replace(sections=(*swapped, *rest)).to_bytes()


def _with_section(rom: bytes, **change: object) -> bytes:
    parsed = Rom.from_bytes(rom)
    changed = parsed.sections[0]._replace(**change)  # type: ignore[arg-type]
    return parsed._replace(sections=(changed, *parsed.sections[1:])).to_bytes()


def _with(rom: bytes, **change: object) -> bytes:
    return Rom.from_bytes(rom)._replace(**change).to_bytes()  # type: ignore[arg-type]


def _ram_start(rom: bytes) -> int:
    (size,) = struct.unpack_from("<I", rom, 12)
    return 16 + int(size)


def _patched(rom: bytes, at: int, value: int) -> bytes:
    return rom[:at] + struct.pack("<I", value) + rom[at + 4 :]


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "data in another order": (_reordered, "RAM sections 1 and 2 overlap at 0x3ffe8008"),
    "a section is missing": (lambda rom: _with(rom, sections=Rom.from_bytes(rom).sections[:-1]), ": RAM mismatch in "),
    "checksum": (
        lambda rom: rom[:-1] + bytes((rom[-1] ^ 0xFF,)),
        "starts ROM 1 instead of the one in slot 0",
    ),
    "checksum at another place": (lambda rom: rom[:-1] + b"\0" + rom[-1:], "instead of the one in slot 0"),
    "seed of the checksum": (lambda rom: rom[:-1] + bytes((rom[-1] ^ 0xEF,)), "instead of the one in slot 0"),
    "address": (
        lambda rom: _with_section(rom, address=Rom.from_bytes(rom).sections[0].address + 4),
        "RAM mismatch in .text+0x0 at 0x40100000: found ",
    ),
    "length": (
        lambda rom: _patched(rom, _ram_start(rom) + 12, len(Rom.from_bytes(rom).sections[0].data) - 4),
        "instead of the one in slot 0",
    ),
    "entry": (lambda rom: _with(rom, entry=Rom.from_bytes(rom).entry + 4), "entry point 0x4010"),
    "irom shifted": (lambda rom: _with(rom, irom=bytes(16) + Rom.from_bytes(rom).irom), ".irom0.text+0x"),
    "irom cut": (lambda rom: _with(rom, irom=Rom.from_bytes(rom).irom[:-32]), ".irom0.text+0x"),
    "irom padding": (
        lambda rom: _patched(rom, 12, _ram_start(rom) - 16 - 4),
        "ROM for slot 0 at 0x2000: entry point 0x",
    ),
    "byte order": (
        lambda rom: _with_section(
            rom,
            data=b"".join(
                Rom.from_bytes(rom).sections[0].data[at : at + 4][::-1]
                for at in range(0, len(Rom.from_bytes(rom).sections[0].data), 4)
            ),
        ),
        "RAM mismatch in .text+0x0 at 0x40100000: found ",
    ),
    "truncated": (lambda rom: rom[:-20], "instead of the one in slot 0"),
    "a byte of the last section": (
        lambda rom: _with(
            rom,
            sections=(
                *Rom.from_bytes(rom).sections[:-1],
                Rom.from_bytes(rom).sections[-1]._replace(data=b"\xa5" + Rom.from_bytes(rom).sections[-1].data[1:]),
            ),
        ),
        ".rodata+0x0 at 0x3ffe8",
    ),
}


@pytest.mark.parametrize("bug", BROKEN)
def test_a_packer_with_a_bug_is_caught(bug: str) -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    roms = packed(layout, elfs)
    break_it, message = BROKEN[bug]
    flash = bytearray(flash_of(layout, {1: roms[1]}, current=1))
    broken = break_it(roms[0])
    assert broken != roms[0]
    flash[0x2000 : 0x2000 + len(broken)] = broken
    assert message in failure(bytes(flash), elfs[0])


def in_slot(data: bytes, layout: FlashLayout = LAYOUTS["1MB"], number: int = 0) -> bytes:
    """A flash with what a packer may have written into a slot, whatever that is."""
    other = 1 - number if number < 2 else 0
    flash = bytearray(flash_of(layout, packed(layout, {other: linked_for(layout, other)}), current=other))
    address = layout.slots[number].address
    flash[address : address + len(data)] = data
    return bytes(flash)


def linked_for(layout: FlashLayout, number: int, source: str = chip.SOURCES["mixed"]) -> elf.Elf:
    return elf.parse_elf(chip.linked(source, layout.slots[number]))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (RamSection(0x4010F364, b"over the loader"), "RAM section 3, 0x4010f364 to 0x4010f374, is outside the RAM"),
        (RamSection(0x3FFFF000, b"over its stack"), "RAM section 3, 0x3ffff000 to 0x3ffff010, is outside the RAM"),
        (RamSection(0x3FFE9002, b"odd"), "RAM section 3 at 0x3ffe9002: expected an address that is a multiple of 4"),
        (RamSection(0x40100000, b"again"), "RAM sections 3 and 0 overlap at 0x40100000"),
        (RamSection(0x3FFEA000, b"not in the ELF"), "does not match its ELF: no section starts at 0x3ffea000"),
    ],
)
def test_a_section_that_the_elf_does_not_have_is_caught(section: RamSection, message: str) -> None:
    app = real("mixed")[0]
    rom = pack(app)
    broken = rom._replace(sections=(*rom.sections, section)).to_bytes()
    assert message in failure(in_slot(broken), app)


# Past the entry


def proof_of(body: str, layout: FlashLayout = LAYOUTS["1MB"], number: int = 0) -> SlotProof:
    source = (
        f'{chip.START}FLASH void in_flash(void) {{ __asm__ volatile(""); }}\nvoid call_user_start(void) {{ {body} }}'
    )
    app = linked_for(layout, number, source)
    [found] = prove(in_slot(pack(app).to_bytes(), layout, number), layout, {number: app})
    return found


MAPPED = "Cache_Read_Enable(0, 0, 1), in_flash();"


@pytest.mark.parametrize(
    ("body", "reached"),
    [
        (MAPPED, "end"),
        (f"{MAPPED} for (;;) ;", "still running"),
        ('for (;;) ets_printf("for ever ");', "still running"),
        (f'{MAPPED} *(volatile uint32_t *)0x60000200 = 1; __asm__("ill");', "hardware"),
        ('(void)*(volatile uint32_t *)0x60001404; __asm__("ill");', "hardware"),
        ("*(volatile uint32_t *)0x60001200 = 1; *(volatile uint32_t *)0x600013fc = 2;", "end"),  # RTC memory
        ("*(volatile uint32_t *)0x3FF00014 = 1;", "hardware"),
        ("((void (*)(void))0x40003f4c)();", "mask ROM function 0x40003f4c"),
        ("((void (*)(void))0x4000264c)();", "restart"),
    ],
)
def test_a_proof_tells_how_far_an_application_ran(body: str, reached: str) -> None:
    assert proof_of(body).reached == reached


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '__asm__("ill");',
            "crashes after its entry point 0x4010000.*: IllegalInstruction .illegal instruction. at 0x4010",
        ),
        (
            "(void)*(volatile uint32_t *)0x20;",
            "LoadStorePIFAddrError .load or store at an unmapped address. at 0x4010.*, address 0x20",
        ),
        ("((void (*)(void))0x3FFE8000)();", "at 0x3ffe8000"),
        ("in_flash();", "code in unmapped flash executed .call Cache_Read_Enable first. at 0x4020"),
        (f'{MAPPED} for (volatile int i = 0; i < 100000; i++) ; __asm__("ill");', "IllegalInstruction"),
        ("Cache_Read_Enable(1, 0, 1);", "maps megabyte 1 of the flash .*; override Cache_Read_Enable_New"),
    ],
)
def test_an_application_that_dies_after_its_entry_is_caught(body: str, message: str) -> None:
    with pytest.raises(ProofError, match=rf"application in slot 0 at 0x2000 .*{message}"):
        proof_of(body)


def test_what_an_application_writes_to_the_debuggers_connection_does_no_harm() -> None:
    call = 'register int a2 asm("a2") = 4, a3 asm("a3") = f, a4 asm("a4") = (int)"x$T05watch#00", a5 asm("a5") = 13; '
    call += 'asm volatile("simcall" : "+r"(a2), "+r"(a3) : "r"(a4), "r"(a5) : "memory");'
    body = f"for (;;) for (int f = 3; f < 32; f++) {{ {call} }}"
    start = time.monotonic()
    assert proof_of(body).reached in ("still running", "hardware", "end")
    assert time.monotonic() - start < 3


def test_an_application_above_the_first_megabyte_must_map_its_own() -> None:
    layout = LAYOUTS["four-1MB"]
    assert proof_of("Cache_Read_Enable(1, 1, 1), in_flash();", layout, 3).reached == "end"
    with pytest.raises(ProofError, match="slot 3 at 0x302000 maps megabyte 0 of the flash"):
        proof_of(MAPPED, layout, 3)


def test_an_entry_that_is_not_code_is_caught() -> None:
    app = real("mixed")[0]
    for entry, message in (
        (0x40100000, "no function starts at entry"),
        (app.entry + 4, "inside the function call_user"),
    ):
        moved = app._replace(entry=entry)
        moved = moved._replace(entry_symbols=tuple(at for at in app.entry_symbols or () if at.address <= entry))
        rom = pack(app)._replace(entry=entry).to_bytes()
        assert message in failure(in_slot(rom), moved)


def test_swapped_slots_are_caught() -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    flash = bytearray(flash_of(layout, packed(layout, elfs)))
    first, second = (bytes(flash[slot.address : slot.address + 0x8000]) for slot in layout.slots)
    flash[0x2000:0xA000], flash[0x82000:0x8A000] = second, first
    for number in (0, 1):
        assert ".irom0.text+0x" in failure(bytes(flash), elfs[number], number)
    with pytest.raises(
        FitError, match=r"linked at 0x40282010 .slot at 0x82000., expected 0x40202010 for slot 0 at 0x2000"
    ):
        prove(bytes(flash), layout, {0: elfs[1]})


def test_another_application_is_caught_by_its_first_different_byte() -> None:
    layout = LAYOUTS["1MB"]
    flash = flash_of(layout, packed(layout, real("mixed")))
    message = failure(flash, real("big")[0])
    assert message.startswith("ROM for slot 0 at 0x2000: flash mismatch in .irom0.text+0x")


def test_a_loader_that_finds_no_rom_says_so() -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    flash = bytearray(flash_of(layout, packed(layout, {0: elfs[0]})))
    flash[0x2000 + len(packed(layout, elfs)[0]) - 1] ^= 1
    message = failure(bytes(flash), elfs[0])
    assert message.startswith("the loader does not start slot 0 at 0x2000; last lines on the UART: ")
    assert "Rom 0 at 2000 is bad. | Rom 1 at 82000 is bad. | No good rom available. | user code done" in message


def test_a_loader_for_another_kind_of_checksum_is_caught() -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    wrong = chip.loader(LoaderOptions(irom_checksum=True))
    flash = bytearray(flash_of(layout, packed(layout, elfs)))
    flash[: len(wrong)] = wrong
    assert "the loader does not start slot 0 at 0x2000; last lines" in failure(bytes(flash), elfs[0])


def test_without_a_loader_nothing_is_proved() -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    flash = b"\xff" * 0x1000 + flash_of(layout, packed(layout, elfs))[0x1000:]
    assert "flash read err: no image at 0" in failure(flash, elfs[0])


def test_a_loader_that_hangs_times_out() -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    flash = bytearray(flash_of(layout, packed(layout, elfs)))
    hangs = chip.image(chip.compiled("void call_user_start(void) { for (;;) ; }"))
    flash[: len(hangs)] = hangs
    start = time.monotonic()
    with pytest.raises(ProofError, match="the loader does not start slot 0 at 0x2000; last lines on the UART: ets"):
        prove(bytes(flash), layout, {0: elfs[0]}, timeout=0.5)
    assert 0.5 <= time.monotonic() - start < 2


def test_an_invalid_slot_is_refused() -> None:
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    with pytest.raises(LayoutError, match="invalid slot 2 to prove: expected 0-1"):
        prove(flash_of(layout, packed(layout, elfs)), layout, {2: elfs[0]})


def test_a_long_temporary_directory_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / ("long" * 30) / ("longer" * 30)
    directory.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    assert prove(flash_of(layout, packed(layout, elfs)), layout, elfs)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no machine' >&2; exit 1", "no machine"),
        ("exit 1", "status 1"),
        ("sleep 5", "no response"),
        ("exec sleep 5", "no response"),
    ],
)
def test_a_qemu_that_fails_or_hangs_is_one_line(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "qemu-system-xtensa"
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    layout, elfs = LAYOUTS["1MB"], real("mixed")
    start = time.monotonic()
    with pytest.raises(EmulatorError, match=f"qemu-system-xtensa failed: {message}"):
        prove(flash_of(layout, packed(layout, elfs)), layout, elfs, timeout=0.5)
    assert time.monotonic() - start < 4

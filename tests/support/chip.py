"""Programs for the chip, made by the real compiler, and flashes that boot them."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

import rbootimg
from rbootimg.flash.macros import defines
from rbootimg.layout.model import DEFAULT_LOADER, LoaderOptions, Slot
from rbootimg.rom import elf
from rbootimg.rom.format import RamSection, old_image
from rbootimg.rom.ldscript import slot_linker_script

PACKAGE = Path(rbootimg.__file__).parent
BARE_METAL = PACKAGE / "ld" / "baremetal.ld"
LOADER = PACKAGE / "firmware" / "loader"
SDK_SECTIONS = (".text", ".data", ".rodata")


START = """
#include <stdint.h>
extern int ets_printf(const char *, ...);
extern void Cache_Read_Enable(uint32_t, uint32_t, uint32_t);
#define FLASH __attribute__((section(".irom0.text"), noinline))
"""
FILL = """
__asm__(".section %s,\\"%s\\"\\n.set x,%d\\n.rept %d\\n"
        ".set x,(x*1103515245+12345)&0x7fffffff\\n.long x\\n.endr\\n.text\\n");
"""
SOURCES = {
    "tiny": START
    + "FLASH void in_flash(void) {}\nvoid call_user_start(void) { Cache_Read_Enable(0, 0, 1), in_flash(); }",
    # Every kind of section, with sizes that need padding.
    "mixed": START
    + """
__attribute__((section(".irom.text"))) static const uint8_t table[] = {1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29};
uint8_t odd_data[5] = {0xde, 0xad, 0xbe, 0xef, 0x42};
static uint32_t zeroed[300];
const char banner[] = "mixed";
FLASH int in_flash(int n) { zeroed[n] += table[n & 7]; ets_printf("%s %d\\n", banner, n); return odd_data[n & 3]; }
void call_user_start(void)
{
    Cache_Read_Enable(0, 0, 1);
    for (int i = 0; i < 10; i++) in_flash(i);
}
""",
    # 400 KB of flash data, 24 KB of IRAM, 16 KB of DRAM: nearly all of a slot of 512 KB.
    "big": START
    + FILL % (".irom.text", "ax", 0x12345, 102400)
    + FILL % (".text.fill", "ax", 0x777, 6144)
    + FILL % (".data", "aw", 0x99, 4096)
    + "FLASH void in_flash(void) {}\nvoid call_user_start(void) { Cache_Read_Enable(0, 0, 1), in_flash(); }",
}
"""Applications that map the flash of the first megabyte and run code there."""


@functools.cache
def compiled(source: str, *flags: str, script: Path = BARE_METAL) -> bytes:
    """The ELF of C `source`, linked with `script`."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "app.elf"
        command = ["xtensa-lx106-elf-gcc", "-mlongcalls", "-mtext-section-literals", "-Os", "-ffreestanding", "-w"]
        command += ["-fno-builtin", "-nostdlib", "-static", *flags, "-x", "c", "-", "-x", "none"]
        command += [f"-L{BARE_METAL.parent}", "-T", str(script), "-o", str(out)]
        subprocess.run(command, input=source.encode(), check=True)
        return out.read_bytes()


@functools.cache
def linked(source: str, slot: Slot) -> bytes:
    """The ELF of C `source`, linked for `slot`."""
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "slot.ld")
        script.write_bytes(slot_linker_script(BARE_METAL.read_bytes(), slot))
        return compiled.__wrapped__(source, script=script)


def image(program: bytes) -> bytes:
    """What the mask ROM loads from flash 0, of an ELF."""
    parsed = elf.parse_elf(program)
    found = (parsed.find(name) for name in SDK_SECTIONS)
    return old_image(parsed.entry, tuple(RamSection(part.address, part.data) for part in found if part))


def flash(program: bytes, size: int = 0x80000) -> bytes:
    """A blank flash with the program at 0."""
    return image(program).ljust(size, b"\xff")


@functools.cache
def loader(options: LoaderOptions = DEFAULT_LOADER) -> bytes:
    """Our loader, built with `options`."""
    flags = [f"-D{name}" + ("" if value is None else f"={value}") for name, value in defines(options).items()]
    return image(compiled((LOADER / "loader.c").read_text(), f"-I{LOADER}", *flags, script=LOADER / "loader.ld"))

"""An application that crashes, with debug information, and what devices print when one does."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from rbootimg.layout.model import Slot
from rbootimg.layout.presets import preset_layout
from rbootimg.rom.elf import elf_symbols
from rbootimg.rom.ldscript import slot_linker_script
from support import chip

LAYOUT = preset_layout("1MB")

SOURCE = """
#line 1 "sensor.c"
extern int ets_printf(const char *, ...);
extern void Cache_Read_Enable(unsigned, unsigned, unsigned);
#define FLASH __attribute__((section(".irom0.text"), noipa))
struct sensor { unsigned value, *history; };
static inline __attribute__((always_inline)) void store(unsigned *at, unsigned value)
{
    *(volatile unsigned *)at = value;
}
FLASH void record(struct sensor *sensor)
{
    store(sensor->history, sensor->value);
}
FLASH void run(void)
{
    struct sensor sensor = {VALUE};
    ets_printf("sensor 1.2.0\\r\\n");
    record(&sensor);
    for (;;) ;
}
void call_user_start(void)
{
    Cache_Read_Enable(0, 0, 1);
    run();
}
"""
RECORD, INLINED, CALL, START = 11, 7, 17, 23
"""Lines: of the call of store(), of what it does, of the calls of record() and of run()."""


@functools.cache
def elf(slot: int, *flags: str, value: int = 21, debug: bool = True) -> bytes:
    """The ELF for slot 0 or 1."""
    return _linked(LAYOUT.slots[slot], *(("-g",) if debug else ()), f"-DVALUE={value}", *flags)


def _linked(slot: Slot, *flags: str) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "slot.ld")
        script.write_bytes(slot_linker_script(chip.BARE_METAL.read_bytes(), slot))
        return chip.compiled.__wrapped__(SOURCE, *flags, script=script)


def address(program: bytes, name: str) -> int:
    """The address of a function."""
    return next(symbol.address for symbol in elf_symbols(program) if symbol.name == name)


def exception(pc: int, cause: int = 29, address: int = 0) -> str:
    """What NONOS SDK 3 prints."""
    names = {28: "LoadProhibitedCause", 29: "StoreProhibitedCause", 0: "IllegalInstructionCause"}
    return (
        f"Fatal exception {cause}({names[cause]}):\n"
        f"epc1={pc:#010x}, epc2=0x00000000, epc3=0x00000000, excvaddr={address:#010x}, depc=0x00000000\n"
    )


def boot_log(rom: int) -> str:
    """What the mask ROM and rBoot print."""
    at = LAYOUT.slots[rom].address
    return (
        "\n ets Jan  8 2013,rst cause:2, boot mode:(3,6)\n\nload 0x4010f000, len 1384, room 16 \n\n"
        "rBoot v1.4.2 - richardaburton@gmail.com\nFlash Size:   8 Mbit\n"
        f"Booting rom {rom} at {at:x}, load addr {at + 0x40:x}.\n"
    )

"""The proof that a flash boots: the loader starts each slot's ROM, all of it is in place, and its first code runs.

RAM and flash are compared when the application's entry is reached, so that it holds for applications on the SDK too.
Then the application runs on until it touches what the emulator does not have, or for _RUN_ON seconds. A crash before
that is a dead ROM, and so is one that maps another megabyte of the flash than that of its slot.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ElfError, LayoutError, ProofError, RomError
from ..flash.bootconfig import BootConfig, infer_max_roms
from ..flash.image import check_size
from ..flash.loader import read_options
from ..layout.memory import CONFIG_ADDRESS, DRAM, IRAM, IROM_OFFSET, SECTOR_SIZE, WINDOW_SIZE, Region
from ..layout.model import FlashLayout, LoaderOptions, Slot
from ..rom import fit
from ..rom.elf import Elf, Section
from ..rom.entry import entry_problem
from ..rom.format import Rom, image_size
from ..rom.pack import IROM_SECTION, difference, find_section, irom
from .gdb import Debugger, StoppedError
from .qemu import crash_in, failure, machine, read_report
from .rundir import run_directory

# Functions of the mask ROM.
_PRINTF = 0x400024CC
_SPI_READ = 0x40004B1C

_BOOTING = b"Booting rom %d"
"""How the last text that rBoot prints begins; the ROM's number is the first value."""

_UART_LINES = 8

_RUN_ON = 0.02
"""Seconds of QEMU's CPU time that an application runs on from its entry: some million instructions."""

# What the emulator has only as memory, or not at all: an application that touches it has left the emulator's reach.
# RTC memory (0x60001000 to 0x60001400) is there. Source: ESP8266 Technical Reference, address mapping.
_PERIPHERALS = (Region("peripherals", 0x60000000, 0x1000), Region("peripherals", 0x60001400, 0x0FFFEC00))
_DPORT = Region("DPORT", 0x3FF00000, 0x40000)
_MASK_ROM = Region("mask ROM", 0x40000000, 0x10000)


@dataclass(frozen=True)
class SlotProof:
    """ROM `number` in `slot` was started at `entry`; `size` bytes of its ELF were in place, in RAM and flash.

    `reached` says what ended its run from there: "hardware" or "mask ROM function 0x40003f4c", which the emulator does
    not have, "end", "restart", or "still running" after 20 ms.
    """

    number: int
    slot: Slot
    entry: int
    size: int
    reached: str


def prove(
    flash: bytes,
    layout: FlashLayout,
    elfs: Mapping[int, Elf],
    sections: Sequence[str] | None = None,
    timeout: float = 5.0,
) -> tuple[SlotProof, ...]:
    """Boot each of the ROMs that `elfs` says, by slot number, what they were packed from.

    For each, the flash's config gets it as current ROM; the rest of `flash` stays. `sections` are those loaded to
    RAM; without it all that the ELF has there. Takes about 0.1 s for each. Raises ProofError if a ROM breaks a rule of
    fit.problems(), does not get to its entry within `timeout` seconds, or crashes or maps another megabyte after it; if
    a byte in RAM or flash is not the ELF's, or if the ROM has bytes that the ELF does not have;
    FitError if it is linked for another slot, ElfError if one of the `sections` is not there, LayoutError if there is
    no such slot or the flash has another size, EmulatorError if QEMU is not there.
    """
    check_size(flash, layout)
    return tuple(_prove_slot(flash, layout, number, elf, sections, timeout) for number, elf in sorted(elfs.items()))


def _prove_slot(
    flash: bytes, layout: FlashLayout, number: int, elf: Elf, sections: Sequence[str] | None, timeout: float
) -> SlotProof:
    if not 0 <= number < len(layout.slots):
        raise LayoutError(f"there is no slot {number} to prove; the layout has 0 to {len(layout.slots) - 1}")
    slot = replace(layout.slots[number], number=number)
    flash_code = irom(elf)
    fit.check_link(flash_code.address, slot)
    loaded = _loaded(elf, sections)
    rom, invalid = _rom_in(flash, slot, layout)
    for problem in (*(fit.problems(rom, slot) if rom else ()), entry_problem(elf)):
        if problem:
            raise ProofError(f"the ROM for {slot.label}: {problem}")
    start = slot.address + flash_code.address - slot.link_address + IROM_OFFSET
    _compare(slot, flash_code, flash[start : start + flash_code.size], "flash")
    _check_entry(flash, slot, elf)
    ours, qemus = socket.socketpair()
    with run_directory() as folder, ours, qemus:
        file = qemus.fileno()
        options = ["-serial", "file:uart", "-S", "-chardev", f"socket,id=gdb,fd={file}", "-gdb", "chardev:gdb"]
        with machine(folder, with_current(flash, number, layout), ["resets=4"], options, (file,)) as qemu:
            qemus.close()  # so that ours ends with QEMU
            debugger = Debugger(ours, time.monotonic() + timeout)
            try:
                _run_to_entry(debugger, slot, elf.entry)
                for section in loaded:
                    _compare(slot, section, debugger.read(section.address, section.size), "RAM")
                if rom is None:
                    raise ProofError(f"the ROM for {slot.label}: {invalid}")
                if (clause := difference(elf, rom, slot.link_address)) is not None:
                    raise ProofError(f"the ROM for {slot.label} does not match its ELF: {clause}")
                before = len(read_report(folder))
                # All that is compared was read by now: what comes next may be the application's words.
                reached = debugger.run_on(qemu, _PERIPHERALS, _RUN_ON)
                reached = _reached(reached, read_report(folder)[before:], slot, elf)
            except StoppedError as stop:
                if not (folder / "report").stat().st_size:
                    raise failure(qemu) from None
                raise ProofError(f"{stop}; {_last_lines(folder)}") from None
            except TimeoutError:
                raise ProofError(f"the proof of {slot.label} took longer than {timeout:g} s") from None
    return SlotProof(number, slot, elf.entry, flash_code.size + sum(section.size for section in loaded), reached)


def _rom_in(flash: bytes, slot: Slot, layout: FlashLayout) -> tuple[Rom | None, str]:
    """The ROM in its slot, or None and why it is none; of such a one the loader has the first word."""
    try:
        data = flash[slot.address : slot.end]
        return Rom.from_bytes(data[: image_size(data)], layout.loader.irom_checksum), ""
    except RomError as error:
        return None, str(error)


def _reached(stop: str, report: str, slot: Slot, elf: Elf) -> str:
    """How far an application ran that made the emulator report this since its entry. Raises ProofError for a crash."""
    for megabyte in map(int, re.findall(r"^cache (\d+)$", report, re.MULTILINE)):
        if megabyte != slot.address // WINDOW_SIZE:
            raise ProofError(
                f"the application in {slot.label} maps megabyte {megabyte} of the flash into its window, and would run "
                "the code there; let it override Cache_Read_Enable_New, or keep its slot in that megabyte"
            )
    crash = crash_in(report)
    if crash is None:
        if "\nend done" in f"\n{report}":
            return "end"
        return "restart" if re.search("^reset ", report, re.MULTILINE) else stop
    if _is_in(_DPORT, crash.address):
        return "hardware"
    if _is_in(_MASK_ROM, crash.pc):
        return f"mask ROM function {crash.pc:#x}"
    raise ProofError(f"the application in {slot.label} crashes after its entry {elf.entry:#x}: {crash.describe()}")


def _is_in(region: Region, address: int) -> bool:
    return region.start <= address < region.end


def _run_to_entry(debugger: Debugger, slot: Slot, entry: int) -> None:
    """Up to the application's entry, by way of what the loader does: its own code may pass that address before."""
    text = b""
    while text != _BOOTING:
        debugger.run_to(_PRINTF, f"the loader does not start {slot.label}")
        address, rom = debugger.arguments()
        text = debugger.read(address, len(_BOOTING))
    if rom != slot.number:
        raise StoppedError(f"the loader starts ROM {rom} instead of that in {slot.label}")
    # From its next read on the loader runs above all that it loads.
    for place in (_SPI_READ, entry):
        debugger.run_to(place, f"the ROM for {slot.label} did not get to its entry {entry:#x}")


def _check_entry(flash: bytes, slot: Slot, elf: Elf) -> None:
    """Raise ProofError at once if the ROM would be started elsewhere than at the ELF's entry."""
    irom_size = int.from_bytes(flash[slot.address + 12 : slot.address + IROM_OFFSET], "little")
    place = slot.address + IROM_OFFSET + irom_size + 4
    entry = int.from_bytes(flash[place : place + 4], "little")
    if entry != elf.entry:
        raise ProofError(f"the ROM for {slot.label} starts at {entry:#x}, and the ELF at {elf.entry:#x}")


def _last_lines(folder: Path) -> str:
    uart = (folder / "uart").read_text(errors="replace") if (folder / "uart").exists() else ""
    lines = [line.strip() for line in uart.splitlines() if line.strip()][-_UART_LINES:]
    return f"the last lines on the UART: {' | '.join(lines)}"


def _loaded(elf: Elf, names: Sequence[str] | None) -> list[Section]:
    if names is not None:
        found = [find_section(elf, name) for name in names]
    else:
        found = [
            section
            for section in elf.sections
            if section.data
            and section.name != IROM_SECTION
            and any(region.start <= section.address < region.end for region in (DRAM, IRAM))
        ]
    if not found:
        raise ElfError("the ELF has no section that is loaded to RAM, so nothing to prove")
    return found


def with_current(flash: bytes, number: int, layout: FlashLayout | None = None) -> bytes:
    """The flash with a config that boots ROM `number`: for `layout`, else the config in the flash, changed.

    Raises ConfigError if there is no such ROM or, without a layout, no config; its checksum is made new if it has one.
    """
    end = CONFIG_ADDRESS + SECTOR_SIZE
    sector = flash[CONFIG_ADDRESS:end]
    if layout:
        config = BootConfig(tuple(slot.address for slot in layout.slots), number)
        options = layout.loader
    else:
        known = read_options(flash[:CONFIG_ADDRESS])
        checksum = bool(known.config_checksum)
        options = LoaderOptions(config_checksum=checksum, max_roms=infer_max_roms(sector, checksum))
        config = replace(BootConfig.from_bytes(sector, options.max_roms, options.config_checksum), current_rom=number)
    sector = config.rewrite(sector, options.max_roms, options.config_checksum)
    return flash[:CONFIG_ADDRESS] + sector + flash[end:]


def _compare(slot: Slot, section: Section, found: bytes, where: str) -> None:
    if found == section.data:
        return
    at = next((i for i, (a, b) in enumerate(zip(found, section.data)) if a != b), len(found))
    raise ProofError(
        f"the ROM for {slot.label} does not boot as it was linked: {section.name}+{at:#x} at {section.address + at:#x} "
        f"in {where} is {found[at : at + 8].hex(' ') or 'missing'}, and {section.data[at : at + 8].hex(' ')} in the ELF"
    )

"""The proof that a ROM boots: the loader starts it, RAM and flash match its ELF, and its first code runs.

RAM and flash are compared when the entry point is reached, so that applications on the SDK can be proved too. Then
the application runs on until it accesses hardware that is not emulated, or for _RUN_ON seconds. A crash before that is
an error, and so is mapping another megabyte of the flash than the slot's.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ElfError, LayoutError, ProofError, RomError
from ..flash.bootconfig import BootConfig
from ..flash.image import check_size
from ..flash.loader import read_options
from ..layout.memory import CONFIG_ADDRESS, DRAM, IRAM, IROM_OFFSET, SECTOR_SIZE, WINDOW_SIZE, Region
from ..layout.model import FlashLayout, Slot
from ..rom import fit
from ..rom.elf import Elf, Section
from ..rom.entry import entry_problem
from ..rom.format import HEADER, SECTION_HEADER, Rom, image_size
from ..rom.pack import IROM_SECTION, difference, find_section, irom
from .gdb import Debugger, NotReachedError, StopReason
from .qemu import crash_in, failure, machine, read_report
from .rundir import run_directory

# Functions of the mask ROM.
_PRINTF = 0x400024CC
_SPI_READ = 0x40004B1C

_BOOTING = b"Booting rom %d"
"""The start of the format string of rBoot's last message; the ROM's number is its first value."""

_UART_LINES = 8

_RUN_ON = 0.02
"""Seconds of QEMU's CPU time for an application from its entry point on: some million instructions."""

# Hardware that is not emulated, or only as memory: a proof ends when the application accesses it.
# RTC memory (0x60001000 to 0x60001400) is emulated. Source: ESP8266 Technical Reference, address mapping.
_PERIPHERALS = (Region("peripherals", 0x60000000, 0x1000), Region("peripherals", 0x60001400, 0x0FFFEC00))
_DPORT = Region("DPORT", 0x3FF00000, 0x40000)
_MASK_ROM = Region("mask ROM", 0x40000000, 0x10000)


@dataclass(frozen=True)
class SlotProof:
    """The proof for ROM `number` in `slot`: started at `entry`, with `size` bytes of its ELF in place in RAM and flash.

    `reached` is the reason why its run ended: "hardware" or "mask ROM function 0x40003f4c", which are not emulated,
    "end", "restart", or "still running" after 20 ms.
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
    """Prove that the ROMs boot that were packed from `elfs`, by slot number; takes about 0.1 s for each.

    Each ROM is booted with a config that makes it the current one; the rest of `flash` is unchanged. `sections` are
    the sections loaded to RAM; by default all that the ELF has there.

    Raises ProofError if a ROM breaks a rule of fit.problems(), does not reach its entry point within `timeout` seconds,
    crashes or maps another megabyte after it, or if RAM, flash or the ROM do not match the ELF. Raises FitError if it
    is linked for another slot, ElfError if one of the `sections` is missing, LayoutError if there is no such slot or
    the flash has another size, EmulatorError if QEMU is not installed.
    """
    check_size(flash, layout)
    return tuple(_prove_slot(flash, layout, number, elf, sections, timeout) for number, elf in sorted(elfs.items()))


def _prove_slot(
    flash: bytes, layout: FlashLayout, number: int, elf: Elf, sections: Sequence[str] | None, timeout: float
) -> SlotProof:
    if not 0 <= number < len(layout.slots):
        raise LayoutError(f"invalid slot {number} to prove: expected 0-{len(layout.slots) - 1}")
    slot = replace(layout.slots[number], number=number)
    flash_code = irom(elf)
    fit.check_link(flash_code.address, slot)
    loaded = _ram_sections(elf, sections)
    rom, invalid = _read_rom(flash, slot, layout)
    for problem in (*(fit.problems(rom, slot) if rom else ()), entry_problem(elf)):
        if problem:
            raise ProofError(f"ROM for {slot.label}: {problem}")
    start = slot.address + flash_code.address - slot.link_address + IROM_OFFSET
    _compare(slot, flash_code, flash[start : start + flash_code.size], "flash")
    _check_entry(flash, slot, elf)
    ours, qemus = socket.socketpair()
    with run_directory() as directory, ours, qemus:
        file = qemus.fileno()
        options = ["-serial", "file:uart", "-S", "-chardev", f"socket,id=gdb,fd={file}", "-gdb", "chardev:gdb"]
        with machine(directory, set_current_rom(flash, number, layout), ["resets=4"], options, (file,)) as qemu:
            qemus.close()  # so that `ours` is closed when QEMU ends
            debugger = Debugger(ours, time.monotonic() + timeout)
            try:
                _run_to_entry(debugger, slot, elf.entry)
                for section in loaded:
                    _compare(slot, section, debugger.read(section.address, section.size), "RAM")
                if rom is None:
                    raise ProofError(f"ROM for {slot.label}: {invalid}")
                if (clause := difference(elf, rom, slot.link_address)) is not None:
                    raise ProofError(f"ROM for {slot.label} does not match its ELF: {clause}")
                before = len(read_report(directory))
                # All comparisons are done: from here on the application may write to the report itself.
                stop = debugger.run_on(qemu, _PERIPHERALS, _RUN_ON)
                reached = _stop_text(stop, read_report(directory)[before:], slot, elf)
            except NotReachedError as error:
                if not (directory / "report").stat().st_size:
                    raise failure(qemu) from None
                raise ProofError(f"{error}; {_last_lines(directory)}") from None
            except TimeoutError:
                raise ProofError(f"proof of {slot.label} timed out after {timeout:g} s") from None
    return SlotProof(number, slot, elf.entry, flash_code.size + sum(section.size for section in loaded), reached)


def _read_rom(flash: bytes, slot: Slot, layout: FlashLayout) -> tuple[Rom | None, str]:
    """Return the ROM in its slot, or None and the error, which is reported only if the loader starts the ROM."""
    try:
        data = flash[slot.address : slot.end]
        return Rom.from_bytes(data[: image_size(data)], layout.loader.irom_checksum), ""
    except RomError as error:
        return None, str(error)


def _stop_text(stop: StopReason, report: str, slot: Slot, elf: Elf) -> str:
    """Return how far the application ran, given the report since its entry point. Raises ProofError for a crash."""
    for megabyte in map(int, re.findall(r"^cache (\d+)$", report, re.MULTILINE)):
        if megabyte != slot.address // WINDOW_SIZE:
            raise ProofError(
                f"application in {slot.label} maps megabyte {megabyte} of the flash and would run the code there; "
                f"override Cache_Read_Enable_New, or use a slot in megabyte {megabyte}"
            )
    crash = crash_in(report)
    if crash is None:
        if "\nend done" in f"\n{report}":
            return StopReason.END.value
        return "restart" if re.search("^reset ", report, re.MULTILINE) else stop.value
    if _is_in(_DPORT, crash.address):
        return StopReason.HARDWARE.value
    if _is_in(_MASK_ROM, crash.pc):
        return f"mask ROM function {crash.pc:#x}"
    raise ProofError(f"application in {slot.label} crashes after its entry point {elf.entry:#x}: {crash.describe()}")


def _is_in(region: Region, address: int) -> bool:
    return region.start <= address < region.end


def _run_to_entry(debugger: Debugger, slot: Slot, entry: int) -> None:
    """Run to the entry point by way of the loader's steps: the loader's own code may pass that address before."""
    text = b""
    while text != _BOOTING:
        debugger.run_to(_PRINTF, f"the loader does not start {slot.label}")
        address, rom = debugger.arguments()
        text = debugger.read(address, len(_BOOTING))
    if rom != slot.number:
        raise NotReachedError(f"the loader starts ROM {rom} instead of the one in {slot.label}")
    # From its next read on the loader runs from addresses above those that it loads.
    for address in (_SPI_READ, entry):
        debugger.run_to(address, f"ROM for {slot.label} did not reach its entry point {entry:#x}")


def _check_entry(flash: bytes, slot: Slot, elf: Elf) -> None:
    """Raise ProofError if the ROM's entry point is not the ELF's."""
    _, irom_size = SECTION_HEADER.unpack_from(flash, slot.address + HEADER.size)
    start = slot.address + IROM_OFFSET + irom_size
    *_, entry = HEADER.unpack(flash[start : start + HEADER.size].ljust(HEADER.size, b"\0"))
    if entry != elf.entry:
        raise ProofError(f"ROM for {slot.label}: entry point {entry:#x}: expected {elf.entry:#x} as in the ELF")


def _last_lines(directory: Path) -> str:
    uart = (directory / "uart").read_text(errors="replace") if (directory / "uart").exists() else ""
    lines = [line.strip() for line in uart.splitlines() if line.strip()][-_UART_LINES:]
    return f"last lines on the UART: {' | '.join(lines)}"


def _ram_sections(elf: Elf, names: Sequence[str] | None) -> list[Section]:
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
        raise ElfError("no sections to load to RAM in the ELF: nothing to prove")
    return found


def set_current_rom(flash: bytes, number: int, layout: FlashLayout | None = None) -> bytes:
    """Return the flash with a config that boots ROM `number`: a new one for `layout`, else the flash's own, changed.

    Raises ConfigError if there is no such ROM or, without a layout, no valid config.
    """
    end = CONFIG_ADDRESS + SECTOR_SIZE
    sector = flash[CONFIG_ADDRESS:end]
    if layout:
        config = BootConfig(tuple(slot.address for slot in layout.slots), number)
        options = layout.loader
    else:
        options = read_options(flash[:CONFIG_ADDRESS]).loader_options(sector)
        config = replace(BootConfig.from_bytes(sector, options.max_roms, options.config_checksum), current_rom=number)
    sector = config.rewrite(sector, options.max_roms, options.config_checksum)
    return flash[:CONFIG_ADDRESS] + sector + flash[end:]


def _compare(slot: Slot, section: Section, found: bytes, where: str) -> None:
    if found == section.data:
        return
    at = next((i for i, (a, b) in enumerate(zip(found, section.data)) if a != b), len(found))
    raise ProofError(
        f"ROM for {slot.label}: {where} mismatch in {section.name}+{at:#x} at {section.address + at:#x}: found "
        f"{found[at : at + 8].hex(' ') or 'nothing'}, expected {section.data[at : at + 8].hex(' ')}"
    )

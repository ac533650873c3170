"""The proof that a flash boots: the loader starts each slot's ROM, and all of the application is where it belongs.

It is looked at when the application's entry is reached, so that it holds for applications on the SDK too, which
cannot run any further in the emulator.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .bootconfig import BootConfig
from .elf import Elf, Section
from .emulator import machine
from .errors import ElfError, EmulatorError, ProofError
from .flash import CONFIG_ADDRESS, DRAM, IRAM, SECTOR_SIZE, FlashMap, Slot
from .pack import IROM_SECTION, check_link, irom

_MOST_STOPS = 64
"""How often the loader's own code may pass the application's entry before the application is loaded."""

_UART_LINES = 8


@dataclass(frozen=True)
class SlotProof:
    """ROM `number` in `slot` was started at `entry`; `size` bytes of its ELF were in place, in RAM and flash."""

    number: int
    slot: Slot
    entry: int
    size: int


def prove(
    flash: bytes,
    layout: FlashMap,
    elfs: Mapping[int, Elf],
    sections: Sequence[str] | None = None,
    timeout: float = 5.0,
) -> tuple[SlotProof, ...]:
    """Boot each of the ROMs that `elfs` says, by slot number, what they were packed from.

    For each, the flash's config gets it as current ROM; the rest of `flash` stays. `sections` are those loaded to
    RAM; without it all that the ELF has there. Takes about 0.1 s for each. Raises ProofError if a ROM does
    not get to its entry within `timeout` seconds, or if a byte in RAM or flash is not the ELF's;
    FitError if it is linked for another slot, EmulatorError if QEMU is not there.
    """
    return tuple(_prove_slot(flash, layout, number, elf, sections, timeout) for number, elf in sorted(elfs.items()))


def _prove_slot(
    flash: bytes, layout: FlashMap, number: int, elf: Elf, sections: Sequence[str] | None, timeout: float
) -> SlotProof:
    slot = replace(layout.slots[number], number=number)
    flash_code = irom(elf)
    check_link(flash_code, slot)
    loaded = _loaded(elf, sections)
    start = slot.address + flash_code.address - slot.link_address + 0x10
    _compare(slot, flash_code, flash[start : start + flash_code.size], "flash")
    with tempfile.TemporaryDirectory(prefix="rbootimg-") as name:
        folder = Path(name)
        options = ["-serial", "file:uart", "-S", "-gdb", "unix:gdb,server=on,wait=off"]
        with machine(folder, _booting(flash, layout, number), ["resets=4"], options) as qemu:
            debugger = _Debugger(_connected(folder / "gdb", qemu), time.monotonic() + timeout)
            error: ProofError | None = None
            debugger.set_breakpoint(elf.entry)
            for _ in range(_MOST_STOPS):
                if not debugger.run():
                    break
                uart = _uart(folder)
                if f"Booting rom {number}" not in uart:
                    debugger.step()
                    continue
                try:
                    for section in loaded:
                        _compare(slot, section, debugger.read(section.address, section.size), "RAM")
                except ProofError as difference:
                    error = error or difference
                    debugger.step()
                    continue
                size = flash_code.size + sum(section.size for section in loaded)
                return SlotProof(number, slot, elf.entry, size)
            uart = _uart(folder)
    raise error or ProofError(
        f"ROM {number} in {slot.label} did not get to its entry {elf.entry:#x}; the last lines on the UART: "
        f"{' | '.join(uart.split(chr(10))[-_UART_LINES:])}"
    )


def _loaded(elf: Elf, names: Sequence[str] | None) -> list[Section]:
    if names is not None:
        found = [section for name in names if (section := elf.find(name))]
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


def _booting(flash: bytes, layout: FlashMap, number: int) -> bytes:
    """The flash with a config that boots ROM `number`."""
    config = BootConfig(tuple(slot.address for slot in layout.slots), number)
    end = CONFIG_ADDRESS + SECTOR_SIZE
    sector = config.rewrite(flash[CONFIG_ADDRESS:end], layout.loader.max_roms, layout.loader.config_checksum)
    return flash[:CONFIG_ADDRESS] + sector + flash[end:]


def _compare(slot: Slot, section: Section, found: bytes, where: str) -> None:
    if found == section.data:
        return
    at = next((i for i, (a, b) in enumerate(zip(found, section.data)) if a != b), len(found))
    raise ProofError(
        f"the ROM for {slot.label} does not boot as it was linked: {section.name}+{at:#x} at {section.address + at:#x} "
        f"in {where} is {found[at : at + 8].hex(' ') or 'missing'}, and {section.data[at : at + 8].hex(' ')} in the ELF"
    )


def _uart(folder: Path) -> str:
    text = (folder / "uart").read_text(errors="replace") if (folder / "uart").exists() else ""
    return text.replace("\r", "").strip()


def _connected(path: Path, qemu: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to QEMU's debugger, which is there soon after the start."""
    deadline = time.monotonic() + 10
    # A socket's path has at most 108 bytes; the working folder is not ours to change.
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if qemu.poll() is not None or time.monotonic() > deadline:
                output = qemu.stdout.read().decode(errors="replace").strip() if qemu.stdout else ""
                raise EmulatorError(f"QEMU failed: {output or 'its debugger does not answer'}") from None
            time.sleep(0.002)
        else:
            return connection


class _Debugger:
    """As much of GDB's remote protocol as the proof needs. Source: GDB manual, appendix E."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._buffer = b""

    def set_breakpoint(self, address: int) -> None:
        self._ask(f"Z0,{address:x},4")

    def run(self) -> bool:
        """Run up to the breakpoint; False if the machine ended or the time is over instead."""
        try:
            return self._ask("c").startswith((b"T", b"S"))
        except (TimeoutError, ConnectionError):
            return False

    def step(self) -> None:
        self._ask("s")

    def read(self, address: int, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = min(size - len(data), 1024)
            data += bytes.fromhex(self._ask(f"m{address + len(data):x},{part:x}").decode())
        return bytes(data)

    def _ask(self, command: str) -> bytes:
        text = command.encode()
        self._connection.sendall(b"+$%s#%02x" % (text, sum(text) % 256))
        while True:
            start = self._buffer.find(b"$")
            end = self._buffer.find(b"#", start)
            if 0 <= start < end and len(self._buffer) >= end + 3:
                answer = self._buffer[start + 1 : end]
                self._buffer = self._buffer[end + 3 :]
                self._connection.sendall(b"+")
                return answer
            self._connection.settimeout(max(self._deadline - time.monotonic(), 0.001))
            data = self._connection.recv(65536)
            if not data:
                raise ConnectionError
            self._buffer += data

"""A whole flash in QEMU's ESP8266 core: boot it and see what becomes of it.

QEMU has the CPU and the memory map; `firmware/maskrom` is what the chip's mask ROM does, with the flash in a file.
There is no Wi-Fi, no timer and no UART register: an application on the SDK gets as far as its entry, one that
prints through the mask ROM runs whole. See `rbootimg.prove` for what holds at the entry, and `rbootimg.relay` for
the network of an application that has a port for it.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .bootconfig import RtcData
from .elf import Symbol, place
from .errors import EmulatorError
from .relay import relay

QEMU = "qemu-system-xtensa"
MISSING = f"no {QEMU} on PATH; install it with `apt-get install qemu-system-misc`"
"""What there is to do without it; the package is Debian's."""

MASK_ROM = Path(__file__).parent / "firmware" / "maskrom.elf"
"""The stand-in for the mask ROM, built from `firmware/maskrom`."""

FLASH_SIZES = (0x40000, 0x1000000)
"""The least and the greatest flash, in bytes."""

# Xtensa ISA reference manual, table of EXCCAUSE values: those that the lx106 has.
_CAUSES = MappingProxyType(
    {
        0: "illegal instruction",
        1: "syscall",
        2: "instruction fetch error",
        3: "load or store error",
        4: "level-1 interrupt",
        5: "alloca",
        6: "division by zero",
        9: "unaligned load or store",
        12: "data error at fetch",
        13: "data error at load or store",
        14: "instruction fetch from no memory",
        15: "load from or store to no memory",
        20: "instruction fetch from no memory",
        28: "load from no memory",
        29: "store to no memory",
    }
)
ENDS = MappingProxyType(
    {
        "done": "the code returned",
        "crash": "crash",
        "no-image": "the mask ROM found no loader at flash 0",
        "resets": "too many resets",
        "until": "the text came",
        "keyboard": "Ctrl-C",
        "time-out": "still running when the time was over",
        "power-cut": "the power was cut",
    }
)
"""BootResult.ended in words."""

_UNMAPPED = "unmapped flash (call Cache_Read_Enable before code in flash), executed"
_CTRL_C = b"\x03"
_LONGEST_WAIT = 3600.0  # in seconds; select() takes no infinity
_BOOTING = re.compile(r"^Booting rom (\d+)\b", re.MULTILINE)


@dataclass(frozen=True)
class Crash:
    """A fatal exception: its cause by number and in words, where it happened, what address it was about."""

    cause: int
    pc: int
    address: int
    registers: tuple[int, ...]
    kind: str = "exception"

    def describe(self, symbols: Sequence[Symbol] = ()) -> str:
        """One line: `load from no memory at 0x40100123 (in_flash+0x13), address 0x0`."""
        cause = _CAUSES.get(self.cause, f"cause {self.cause}")
        kinds = {"exception": cause, "double exception": f"double exception: {cause}", "unmapped": _UNMAPPED}
        what = kinds.get(self.kind, self.kind)
        name = place(symbols, self.pc)
        return f"{what} at {self.pc:#x}{f' ({name})' if name else ''}, address {self.address:#x}"


@dataclass(frozen=True)
class SpiStatistics:
    """What the flash had to do: calls, and bytes."""

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    erases: int


@dataclass(frozen=True)
class Operation:
    """A write to the flash or an erase of it: `size` bytes at `address`."""

    kind: str
    address: int
    size: int


@dataclass(frozen=True)
class PowerCut:
    """Power goes at the write or erase number `operation`, from 1: 0 before it, 1 half-way through, 2 after it."""

    operation: int
    part: int = 1


@dataclass(frozen=True)
class BootResult:
    """What became of a boot.

    `ended` is "done" (the code returned), "crash", "no-image" (the mask ROM found nothing to start at flash 0),
    "resets" (more than were allowed), "power-cut", "until" (the text that was waited for came), "keyboard" (Ctrl-C)
    or "time-out".
    `uart` is all that was printed, `rom` the number of the ROM that the loader said last to start. `flash` is the
    flash afterwards, `operations` what changed it, `misuse` what the chip would not have done as asked. `rtc` are
    rBoot's data in RTC memory; they and `spi` are None if the boot was ended from outside.
    """

    ended: str
    uart: str
    rom: int | None
    resets: int
    flash: bytes
    operations: tuple[Operation, ...]
    misuse: tuple[str, ...]
    crash: Crash | None = None
    rtc: RtcData | None = None
    spi: SpiStatistics | None = None


def boot(
    flash: bytes,
    *,
    timeout: float = 5.0,
    max_resets: int = 16,
    until: str | None = None,
    uart_input: bytes = b"",
    gpio_low: bool = False,
    rtc: RtcData | None = None,
    cut: PowerCut | None = None,
    net: tuple[str, int] | None = None,
    on_uart: Callable[[bytes], None] | None = None,
    keyboard: int | None = None,
) -> BootResult:
    """Boot the chip with `flash`, for at most `timeout` seconds and `max_resets` resets after the first.

    `until`: stop as soon as the UART has printed this. `uart_input`: what is typed, from the start. `gpio_low`: all
    pins are low. `rtc`: what rBoot finds in RTC memory. `net`: the host and the port of the server that the
    application's connections lead to; without it nobody answers. `on_uart` is called with what is printed, as it comes.
    `keyboard` is the descriptor of a file: what comes from it is typed too, and Ctrl-C in it ends the boot. Raises
    EmulatorError if QEMU is not installed or fails, or if the flash has no size of a flash.
    """
    settings = [f"resets={max_resets}", "uart-in=/dev/stdin", "uart-out=/dev/stdout"]
    if gpio_low:
        settings += ["gpio=0", "gpio16=0"]
    if rtc is not None:
        words = rtc.to_bytes()
        settings.append("rtc=" + "".join(words[i : i + 4][::-1].hex() for i in range(0, 12, 4)))
    if cut is not None:
        settings += [f"cut={cut.operation}", f"part={cut.part}"]
    with contextlib.ExitStack() as open_until_the_end:
        folder = Path(open_until_the_end.enter_context(tempfile.TemporaryDirectory(prefix="rbootimg-")))
        if net:
            open_until_the_end.enter_context(relay(folder, *net))
        with machine(folder, flash, settings, ["-serial", "null"]) as qemu:
            text, stopped = _talk(qemu, uart_input, until, timeout, on_uart, keyboard)
            report = (folder / "report").read_text(errors="replace")
            if not stopped and "\nend " not in report:
                raise failure(qemu, text)
        # Only now that QEMU is gone are both what they will be.
        report = (folder / "report").read_text(errors="replace")
        return _result(report, text.decode(errors="replace"), stopped, (folder / "flash").read_bytes())


def interact(
    flash: bytes, *, timeout: float | None = None, gpio_low: bool = False, net: tuple[str, int] | None = None
) -> BootResult:
    """Boot the chip with its UART on this process's stdin and stdout, until it ends or Ctrl-C. See boot().

    Without a `timeout` that is for as long as it takes if stdin is a terminal, else for 5 seconds.
    """

    def show(text: bytes) -> None:
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()

    keyboard = sys.stdin.fileno()
    if timeout is None:
        timeout = math.inf if os.isatty(keyboard) else 5.0
    sys.stdout.flush()
    with _raw(keyboard):
        return boot(
            flash, timeout=timeout, max_resets=1000, gpio_low=gpio_low, net=net, on_uart=show, keyboard=keyboard
        )


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """The terminal without echo, each key as it is typed, Ctrl-C too; as it was at the end. A file stays as it is."""
    if not os.isatty(terminal):
        yield
        return
    import termios  # not for every boot

    before = termios.tcgetattr(terminal)
    now = termios.tcgetattr(terminal)
    now[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    termios.tcsetattr(terminal, termios.TCSANOW, now)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def check(result: BootResult, until: str | None = None, symbols: Sequence[Symbol] = ()) -> None:
    """Raise EmulatorError if no ROM came up, if it crashed, or if the text `until` did not come."""
    if result.crash:
        raise EmulatorError(f"crash: {result.crash.describe(symbols)}")
    if result.ended in ("no-image", "resets"):
        raise EmulatorError(ENDS[result.ended])
    if until is not None and result.ended != "until":
        raise EmulatorError(f"the UART did not print {until!r}: {ENDS[result.ended]}")
    if until is None and result.rom is None and result.ended != "keyboard":
        raise EmulatorError("no ROM was started; the loader says on the UART why")


def failure(qemu: subprocess.Popen[bytes], said: bytes = b"") -> EmulatorError:
    """The error of a QEMU that did not run to an end: with the last that it `said`, or what it left to read."""
    try:
        status = f"status {qemu.wait(0.5)}"
    except subprocess.TimeoutExpired:
        status = "it does not answer"
        qemu.kill()
    assert qemu.stdout is not None
    os.set_blocking(qemu.stdout.fileno(), False)  # a script in QEMU's place may have left a child that holds it open
    lines = (said + (qemu.stdout.read() or b"")).decode(errors="replace").split("\n")
    return EmulatorError(f"{QEMU} failed: {next((line.strip() for line in reversed(lines) if line.strip()), status)}")


@contextlib.contextmanager
def machine(
    folder: Path, flash: bytes, settings: Sequence[str], options: Sequence[str], files: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """QEMU with the mask ROM and `flash`, started in `folder`; it is gone at the end, whatever happens.

    `options` are QEMU's, `files` the descriptors that they name.
    """
    least, greatest = FLASH_SIZES
    if not least <= len(flash) <= greatest or len(flash) & (len(flash) - 1):
        raise EmulatorError(f"the flash has {len(flash):,} bytes; that of a chip has 256 KB, 512 KB and so on to 16 MB")
    (folder / "flash").write_bytes(flash)
    (folder / "report").touch()
    words = ["flash=flash", "report=report", f"size={len(flash)}", *settings]
    command = [*command_line(), *options, "-append", " ".join(words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=folder, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, pass_fds=files
    ) as qemu:
        try:
            yield qemu
        finally:
            qemu.kill()


def command_line() -> list[str]:
    """The start of QEMU's command line. Raises EmulatorError if it is not installed."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise EmulatorError(MISSING)
    # So that not even a killed rbootimg leaves one behind. It is in every Debian; elsewhere it may be missing.
    guard = shutil.which("setpriv")
    return [
        *([guard, "--pdeathsig", "KILL"] if guard else []),
        *(qemu, "-M", "sim", "-cpu", "lx106", "-semihosting", "-display", "none", "-monitor", "none"),
        *("-kernel", str(MASK_ROM)),
    ]


def _talk(
    qemu: subprocess.Popen[bytes],
    typed: bytes,
    until: str | None,
    timeout: float,
    on_uart: Callable[[bytes], None] | None,
    keyboard: int | None,
) -> tuple[bytes, str | None]:
    """What QEMU prints, and "time-out", "until" or "keyboard" if it did not end by itself."""
    assert qemu.stdin is not None
    assert qemu.stdout is not None
    deadline = time.monotonic() + timeout
    wanted = until.encode() if until is not None else None
    out = bytearray()
    while (left := deadline - time.monotonic()) > 0:
        sources = [qemu.stdout.fileno(), *([keyboard] if keyboard is not None else [])]
        readable, writable, _ = select.select(sources, [qemu.stdin] if typed else [], [], min(left, _LONGEST_WAIT))
        if keyboard in readable:
            keys = os.read(keyboard, 256)
            if _CTRL_C in keys:
                return bytes(out), "keyboard"
            typed += keys
            keyboard = keyboard if keys else None
        if writable:
            with contextlib.suppress(BrokenPipeError):
                typed = typed[os.write(qemu.stdin.fileno(), typed[:256]) :]
        if qemu.stdout.fileno() in readable:
            data = os.read(qemu.stdout.fileno(), 65536)
            if not data:
                qemu.wait()
                return bytes(out), None
            out += data
            if on_uart:
                on_uart(data)
            if wanted is not None and wanted in out:
                return bytes(out), "until"
    return bytes(out), "time-out"


def _result(report: str, uart: str, stopped: str | None, flash: bytes) -> BootResult:
    lines = [line.split() for line in report.splitlines() if line]
    by_kind: dict[str, list[list[str]]] = {}
    for kind, *words in lines:
        by_kind.setdefault(kind, []).append(words)
    ended = stopped or " ".join(by_kind["end"][0])
    if ended == "host-error":
        raise EmulatorError("the emulator could not write its flash file; is the disk full?")
    spi = by_kind.get("spi")
    rtc = by_kind.get("rtc")
    booted = _BOOTING.findall(uart)
    return BootResult(
        ended=ended,
        uart=uart,
        rom=int(booted[-1]) if booted else None,
        resets=max(len(by_kind.get("reset", [])) - 1, 0),
        flash=flash,
        operations=tuple(
            Operation(kind, int(words[0], 16), int(words[1])) for kind, *words in lines if kind in ("write", "erase")
        ),
        misuse=tuple(" ".join(words) for words in by_kind.get("misuse", [])),
        crash=_crash(by_kind),
        rtc=RtcData.from_bytes(b"".join(int(word, 16).to_bytes(4, "little") for word in rtc[0])) if rtc else None,
        spi=SpiStatistics(*map(int, spi[0])) if spi else None,
    )


def crash_in(report: str) -> Crash | None:
    """The crash that the mask ROM's `report` tells of, if it does."""
    by_kind: dict[str, list[list[str]]] = {}
    for kind, *words in (line.split() for line in report.splitlines() if line):
        by_kind.setdefault(kind, []).append(words)
    return _crash(by_kind)


def _crash(by_kind: dict[str, list[list[str]]]) -> Crash | None:
    if "crash" not in by_kind:
        return None
    cause, pc, address, *kind = by_kind["crash"][0]
    registers = tuple(int(word, 16) for first in (0, 4, 8, 12) for word in by_kind[f"a{first}"][0])
    return Crash(int(cause), int(pc, 16), int(address, 16), registers, " ".join(kind))

"""Boot a flash image in QEMU's ESP8266 core.

QEMU emulates the CPU and the memory map; `firmware/maskrom` replaces the chip's mask ROM, with the flash in a file.
There is no Wi-Fi, no timer and no UART register: an application on the SDK reaches its entry point, one that prints
through the mask ROM runs to its end. See `proof` for the checks at the entry point, and `network` for the network of
an application with a port for the emulator.
"""

from __future__ import annotations

import contextlib
import enum
import math
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ..errors import EmulatorError
from ..flash.bootconfig import RtcData
from ..rom.causes import describe_cause
from ..rom.demangle import demangle
from ..rom.elf import Symbol, describe_address
from ..text import counted
from . import confinement
from .network import relay
from .program import MISSING, QEMU
from .rundir import name_temporary_directory, run_directory

MASK_ROM = Path(__file__).parents[1] / "firmware" / "maskrom.elf"
"""The emulated mask ROM, built from `firmware/maskrom`."""

FLASH_SIZES = (0x40000, 0x1000000)
"""The smallest and the largest flash, in bytes."""

DEFAULT_TIMEOUT = 5.0
MAX_RESETS = 16
_MAX_RESETS_INTERACTIVE = 1000


class BootEnd(enum.Enum):
    """The way a boot ended. The values are those in JSON and in the mask ROM's report; `text` is for people."""

    DONE = ("done", "application returned")
    CRASH = ("crash", "crash")
    NO_IMAGE = ("no-image", "no boot loader at flash 0x0")
    RESETS = ("resets", "too many resets")
    POWER_CUT = ("power-cut", "power was cut")
    UNTIL = ("until", "matched --until")
    KEYBOARD = ("keyboard", "interrupted by Ctrl-C")
    TIMEOUT = ("time-out", "timed out (still running)")

    text: str

    def __new__(cls, value: str, text: str) -> BootEnd:
        end = object.__new__(cls)
        end._value_ = value
        end.text = text
        return end


_ENDS = MappingProxyType({end.value: end for end in BootEnd})

_UNMAPPED = "code in unmapped flash executed (call Cache_Read_Enable first)"
_HOST_ERROR = "host-error"  # the end in the report if a file operation of the host failed
_CTRL_C = b"\x03"
_BOOTING = re.compile(rb"^Booting rom (\d{1,3})\b", re.MULTILINE)

UART_HEAD, UART_TAIL = 0x10000, 0x100000
"""The bytes of the UART's output that are kept, from its start and from its end."""

REPORT_SIZE = 0x400000
"""The longest report of the mask ROM, in bytes: about 250,000 writes and erases."""

_MAX_PENDING_INPUT = 0x10000
_REPORT_TOO_LONG = (
    f"too many writes and erases: the report is longer than {REPORT_SIZE >> 20} MB; check whether the ROM boot-loops"
)
_CHECK_INTERVAL = 1.0  # seconds


@dataclass(frozen=True)
class Crash:
    """A fatal exception: EXCCAUSE, PC, EXCVADDR (the address that was accessed), the registers, and its kind."""

    cause: int
    pc: int
    address: int
    registers: tuple[int, ...]
    kind: str = "exception"

    def describe(self, symbols: Sequence[Symbol] = (), demangled: bool = True) -> str:
        """Return a line such as `LoadProhibited (…) at 0x40100123 (in_flash+0x13), address 0x0`.

        With `demangled` a function of C++ has its demangled name, if c++filt knows it.
        """
        cause = describe_cause(self.cause)
        kinds = {"exception": cause, "double exception": f"double exception: {cause}", "unmapped": _UNMAPPED}
        what = kinds.get(self.kind, self.kind)
        name = describe_address(symbols, self.pc)
        if name and demangled:
            name = demangle([name]).get(name, name)
        return f"{what} at {self.pc:#x}{f' ({name})' if name else ''}, address {self.address:#x}"


@dataclass(frozen=True)
class SpiStatistics:
    """The flash accesses: calls and bytes."""

    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    erases: int


@dataclass(frozen=True)
class Operation:
    """A write or an erase of the flash: `size` bytes at `address`."""

    kind: str
    address: int
    size: int


@dataclass(frozen=True)
class PowerCut:
    """A power cut at write or erase number `operation`, from 1; `part`: 0 before, 1 half-way through, 2 after it."""

    operation: int
    part: int = 1


@dataclass(frozen=True)
class BootOptions:
    """The conditions of a boot.

    `timeout`: the time limit in seconds, None for the default. `max_resets`: the limit of resets after the first, None
    for the default. `until`: stop as soon as the UART has printed this string. `uart_input`: bytes that the UART
    receives, from the start. `gpio_low`: all pins are low. `rtc`: rBoot's data in RTC memory. `cut`: a power cut.
    `net`: host and port to which the application's connections are forwarded; without it they fail.
    """

    timeout: float | None = None
    max_resets: int | None = None
    until: str | None = None
    uart_input: bytes = b""
    gpio_low: bool = False
    rtc: RtcData | None = None
    cut: PowerCut | None = None
    net: tuple[str, int] | None = None


DEFAULT_OPTIONS = BootOptions()


@dataclass(frozen=True)
class BootResult:
    """The result of a boot.

    `uart` is the UART's output; of more than UART_HEAD + UART_TAIL bytes only so many from the start and the end, with
    a note between them. `rom` is the number of the ROM that the loader started last. `flash` is the flash afterwards,
    `operations` are the writes and erases, `misuse` the requests that the chip would have refused. `rtc` is rBoot's
    data in RTC memory; it and `spi` are None if the boot was ended from outside.
    """

    ended: BootEnd
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
    options: BootOptions = DEFAULT_OPTIONS,
    *,
    on_uart: Callable[[bytes], None] | None = None,
    keyboard: int | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> BootResult:
    """Boot the chip with `flash`; by default for at most 5 seconds and 16 resets after the first.

    `on_uart` is called with the UART's output as it comes. `keyboard` is a file descriptor whose input the UART
    receives; Ctrl-C in it ends the boot, as does `is_interrupted`. Raises EmulatorError if QEMU is not installed or
    fails, or if the flash does not have the size of a flash chip.
    """
    settings = [
        f"resets={MAX_RESETS if options.max_resets is None else options.max_resets}",
        *("uart-in=/dev/stdin", "uart-out=/dev/stdout"),
    ]
    if options.gpio_low:
        settings += ["gpio=0", "gpio16=0"]
    if options.rtc is not None:
        words = options.rtc.to_bytes()
        settings.append("rtc=" + "".join(words[i : i + 4][::-1].hex() for i in range(0, 12, 4)))
    if options.cut is not None:
        settings += [f"cut={options.cut.operation}", f"part={options.cut.part}"]
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(run_directory())
        if options.net:
            stack.enter_context(relay(directory, *options.net))
        with machine(directory, flash, settings, ["-serial", "null"]) as qemu:
            uart, stopped = _run_console(qemu, directory, options, on_uart, keyboard, is_interrupted)
            if not stopped and "\nend " not in read_report(directory):
                raise failure(qemu, uart.last)
        # The report and the flash are complete only after QEMU has ended.
        return _result(read_report(directory), uart, stopped, _read(directory / "flash", len(flash)))


def _show(text: bytes) -> None:
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def interact(
    flash: bytes,
    options: BootOptions = DEFAULT_OPTIONS,
    *,
    on_uart: Callable[[bytes], None] = _show,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> BootResult:
    """Boot the chip with its UART on this process's stdin and stdout, until it ends or Ctrl-C; else as boot().

    By default there is no time limit if stdin is a terminal, and at most 1,000 resets.
    """
    keyboard = sys.stdin.fileno()
    if options.timeout is None and os.isatty(keyboard):
        options = replace(options, timeout=math.inf)
    if options.max_resets is None:
        options = replace(options, max_resets=_MAX_RESETS_INTERACTIVE)
    sys.stdout.flush()
    with raw_terminal(keyboard):
        return boot(flash, options, on_uart=on_uart, keyboard=keyboard, is_interrupted=is_interrupted)


@contextlib.contextmanager
def raw_terminal(terminal: int, *, enter_is_cr: bool = False) -> Iterator[None]:
    """Set a terminal to raw mode: no echo, each key at once, Ctrl-C as a key. Restores it at the end.

    The Enter key is a line feed, or with `enter_is_cr` a carriage return, as serial terminals send it.
    """
    if not os.isatty(terminal):
        yield
        return
    import termios  # not loaded for every boot

    before = termios.tcgetattr(terminal)
    now = termios.tcgetattr(terminal)
    now[0] &= ~(termios.ICRNL if enter_is_cr else 0)
    now[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
    termios.tcsetattr(terminal, termios.TCSANOW, now)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


def check(result: BootResult, until: str | None = None, symbols: Sequence[Symbol] = ()) -> None:
    """Raise EmulatorError if no ROM started, if it crashed, or if the UART did not print `until`."""
    if result.crash:
        raise EmulatorError(f"crash: {result.crash.describe(symbols)}")
    if result.ended in (BootEnd.NO_IMAGE, BootEnd.RESETS):
        raise EmulatorError(result.ended.text)
    if until is not None and result.ended is not BootEnd.UNTIL:
        raise EmulatorError(f"no {until!r} on the UART: {result.ended.text}")
    if until is None and result.rom is None and result.ended is not BootEnd.KEYBOARD:
        raise EmulatorError("no ROM started; see the UART log")


def failure(qemu: subprocess.Popen[bytes], output: bytes = b"") -> EmulatorError:
    """Return the error for a QEMU that failed, with the last line of its `output` and of what is still to read."""
    try:
        status = f"status {qemu.wait(0.5)}"
    except subprocess.TimeoutExpired:
        status = "no response"
        qemu.kill()
    assert qemu.stdout is not None
    os.set_blocking(qemu.stdout.fileno(), False)  # a wrapper script may have left a child that keeps it open
    lines = (output + (qemu.stdout.read() or b"")).decode(errors="replace").split("\n")
    return EmulatorError(f"{QEMU} failed: {next((line.strip() for line in reversed(lines) if line.strip()), status)}")


@contextlib.contextmanager
def machine(
    directory: Path, flash: bytes, settings: Sequence[str], options: Sequence[str], files: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """Run QEMU with the mask ROM and `flash` in `directory`; it is killed at the end.

    `options` are QEMU's, `files` the descriptors that they name; they can write to `directory`/"uart". The ROM can
    access only the files that are in `directory` now, see `confinement`. QEMU ends with the thread that started it:
    leave the `with` in the same thread. Raises EmulatorError if QEMU is not installed or the flash has an invalid size.
    """
    smallest, largest = FLASH_SIZES
    if not smallest <= len(flash) <= largest or len(flash) & (len(flash) - 1):
        raise EmulatorError(f"flash size must be a power of two from 256 KB to 16 MB, got {len(flash):,} bytes")
    with name_temporary_directory():
        (directory / "flash").write_bytes(flash)
        for name in ("report", "uart"):  # QEMU cannot create files
            (directory / name).touch()
    words = ["flash=flash", "report=report", f"size={len(flash)}", *settings]
    command = [*command_line(), *options, "-append", " ".join(words)]
    with (
        confinement.child_setup(directory, command[0], MASK_ROM, max(len(flash), REPORT_SIZE + 1)) as confine,
        _start(command, directory, files, confine) as qemu,
    ):
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        # A ROM that opens the other end must not block us.
        os.set_blocking(qemu.stdin.fileno(), False)
        os.set_blocking(qemu.stdout.fileno(), False)
        try:
            yield qemu
        finally:
            qemu.kill()


def _start(
    command: Sequence[str], directory: Path, files: Sequence[int], confine: Callable[[], None]
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            pass_fds=files,
            env=confinement.environment(os.environ),
            preexec_fn=confine,  # takes no lock
        )
    except subprocess.SubprocessError:
        raise EmulatorError("cannot confine the emulator: the kernel rejects the Landlock rules") from None


def command_line() -> list[str]:
    """Return the first part of QEMU's command line. Raises EmulatorError if QEMU is not installed."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise EmulatorError(MISSING)
    qemu = os.path.abspath(qemu)  # it runs in another directory
    return [
        *(qemu, *confinement.sandbox(qemu), "-no-user-config", "-nic", "none"),
        *("-M", "sim", "-cpu", "lx106", "-semihosting", "-display", "none", "-monitor", "none"),
        *("-kernel", str(MASK_ROM)),
    ]


def _read(path: Path, max_size: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(max_size)


def read_report(directory: Path) -> str:
    """Return the mask ROM's report. Raises EmulatorError if it is too long."""
    report = _read(directory / "report", REPORT_SIZE + 1)
    if len(report) > REPORT_SIZE:
        raise EmulatorError(_REPORT_TOO_LONG)
    return report.decode(errors="replace")


class _Uart:
    """The UART's output: its start, its end, and the number of bytes omitted between them."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._omitted = 0
        self._booted: int | None = None  # the last ROM that was started in the omitted part

    def add(self, data: bytes) -> None:
        room = UART_HEAD - len(self._head)
        self._head += data[:room] if room > 0 else b""
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * UART_TAIL:  # not after each byte
            self._shorten()

    def _shorten(self) -> None:
        size = len(self._tail) - UART_TAIL
        size = self._tail.rfind(b"\n", 0, size) + 1 or size  # complete lines, if there are any
        before = b"" if self._omitted else self._head
        found = _BOOTING.findall(before + self._tail[:size])
        self._booted = int(found[-1]) if found else self._booted
        del self._tail[:size]
        self._omitted += size

    @property
    def last(self) -> bytes:
        """The end of the output; all of it if nothing is omitted."""
        return bytes(self._tail if self._omitted else self._head + self._tail)

    @property
    def rom(self) -> int | None:
        """The ROM that the loader started last."""
        found = _BOOTING.findall(self.last)
        return int(found[-1]) if found else self._booted

    def text(self) -> str:
        """Return the output, with a note in place of the omitted bytes."""
        if not self._omitted and len(self._tail) > UART_TAIL:
            self._shorten()
        if not self._omitted:
            return self.last.decode(errors="replace")
        note = f"\n[{counted(self._omitted, 'byte')} omitted]\n"
        return self._head.decode(errors="replace") + note + self._tail.decode(errors="replace")


def _run_console(
    qemu: subprocess.Popen[bytes],
    directory: Path,
    options: BootOptions,
    on_uart: Callable[[bytes], None] | None,
    keyboard: int | None,
    is_interrupted: Callable[[], bool],
) -> tuple[_Uart, BootEnd | None]:
    """Pass input and output; return the output, and TIMEOUT, UNTIL or KEYBOARD unless QEMU ended by itself.

    Raises EmulatorError as soon as the report is too long.
    """
    assert qemu.stdin is not None
    assert qemu.stdout is not None
    deadline = time.monotonic() + (DEFAULT_TIMEOUT if options.timeout is None else options.timeout)
    next_check = time.monotonic() + _CHECK_INTERVAL
    wanted = options.until.encode() if options.until is not None else None
    typed = options.uart_input
    out = _Uart()
    window = b""  # the end of the output, in which `wanted` may have begun
    while (left := deadline - time.monotonic()) > 0:
        if is_interrupted():
            return out, BootEnd.KEYBOARD
        is_full = len(typed) >= _MAX_PENDING_INPUT
        sources = [qemu.stdout.fileno(), *([keyboard] if keyboard is not None and not is_full else [])]
        readable, writable, _ = select.select(sources, [qemu.stdin] if typed else [], [], min(left, _CHECK_INTERVAL))
        if (now := time.monotonic()) >= next_check:
            next_check = now + _CHECK_INTERVAL
            if (directory / "report").stat().st_size > REPORT_SIZE:
                raise EmulatorError(_REPORT_TOO_LONG)
        if keyboard is not None and keyboard in readable:
            keys = os.read(keyboard, 256)
            if _CTRL_C in keys:
                return out, BootEnd.KEYBOARD
            typed += keys
            keyboard = keyboard if keys else None
        if writable:
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                typed = typed[os.write(qemu.stdin.fileno(), typed[:256]) :]
        if qemu.stdout.fileno() in readable:
            try:
                data = os.read(qemu.stdout.fileno(), 65536)
            except BlockingIOError:  # the ROM itself has read it
                continue
            if not data:
                qemu.wait()
                return out, None
            out.add(data)
            if on_uart:
                on_uart(data)
            if wanted is not None:
                window += data
                if wanted in window:
                    return out, BootEnd.UNTIL
                window = window[max(len(window) - len(wanted) + 1, 0) :]
    return out, BootEnd.TIMEOUT


def _result(report: str, uart: _Uart, stopped: BootEnd | None, flash: bytes) -> BootResult:
    try:
        return _parse_report(report, uart, stopped, flash)
    except (ValueError, LookupError, TypeError):
        raise EmulatorError("corrupt report of the mask ROM; check whether the ROM writes to its files") from None


def _parse_report(report: str, uart: _Uart, stopped: BootEnd | None, flash: bytes) -> BootResult:
    lines = [line.split() for line in report.splitlines() if line]
    by_kind: dict[str, list[list[str]]] = {}
    for kind, *words in lines:
        by_kind.setdefault(kind, []).append(words)
    ended = stopped
    if ended is None:
        word = " ".join(by_kind["end"][0])
        if word == _HOST_ERROR:
            raise EmulatorError("the emulator cannot write its flash file; check for free disk space")
        ended = _ENDS[word]
    spi = by_kind.get("spi")
    rtc = by_kind.get("rtc")
    return BootResult(
        ended=ended,
        uart=uart.text(),
        rom=uart.rom,
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
    """Return the crash in the mask ROM's `report`, if any."""
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

"""A whole flash in QEMU's ESP8266 core: boot it and see what becomes of it.

QEMU has the CPU and the memory map; `firmware/maskrom` is what the chip's mask ROM does, with the flash in a file.
There is no Wi-Fi, no timer and no UART register: an application on the SDK gets as far as its entry, one that
prints through the mask ROM runs whole. See `proof` for what holds at the entry, and `network` for the network of an
application that has a port for it.
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
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import EmulatorError
from ..flash.bootconfig import RtcData
from ..rom.demangle import demangle
from ..rom.elf import Symbol, describe_address
from . import confinement
from .network import relay
from .program import MISSING, QEMU
from .rundir import name_temporary_folder, run_directory

MASK_ROM = Path(__file__).parents[1] / "firmware" / "maskrom.elf"
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
_BOOTING = re.compile(rb"^Booting rom (\d{1,3})\b", re.MULTILINE)

UART_HEAD, UART_TAIL = 0x10000, 0x100000
"""How many bytes of the UART's text are kept, from its start and from its end."""

REPORT_SIZE = 0x400000
"""The longest report of the mask ROM, in bytes: some 250,000 writes and erases."""

_MOST_TYPED = 0x10000
_TOO_MUCH = f"too many writes and erases: the report of them is longer than {REPORT_SIZE >> 20} MB; does the ROM loop?"
_LOOK_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class Crash:
    """A fatal exception: its cause by number and in words, where it happened, what address it was about."""

    cause: int
    pc: int
    address: int
    registers: tuple[int, ...]
    kind: str = "exception"

    def describe(self, symbols: Sequence[Symbol] = (), demangled: bool = True) -> str:
        """One line: `load from no memory at 0x40100123 (in_flash+0x13), address 0x0`.

        A function of C++ is called as people write it, if `demangled` and c++filt knows its name.
        """
        cause = _CAUSES.get(self.cause, f"cause {self.cause}")
        kinds = {"exception": cause, "double exception": f"double exception: {cause}", "unmapped": _UNMAPPED}
        what = kinds.get(self.kind, self.kind)
        name = describe_address(symbols, self.pc)
        if name and demangled:
            name = demangle([name]).get(name, name)
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
    `uart` is what was printed; of more than UART_HEAD + UART_TAIL bytes so many from the start and the end, with a
    line between them that says how much was left out. `rom` is the number of the ROM that the loader said last to
    start. `flash` is the flash afterwards, `operations` what changed it, `misuse` what the chip would not have done
    as asked. `rtc` are rBoot's data in RTC memory; they and `spi` are None if the boot was ended from outside.
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
    is_interrupted: Callable[[], bool] = lambda: False,
) -> BootResult:
    """Boot the chip with `flash`, for at most `timeout` seconds and `max_resets` resets after the first.

    `until`: stop as soon as the UART has printed this. `uart_input`: what is typed, from the start. `gpio_low`: all
    pins are low. `rtc`: what rBoot finds in RTC memory. `net`: the host and the port of the server that the
    application's connections lead to; without it nobody answers. `on_uart` is called with what is printed, as it comes.
    `keyboard` is the descriptor of a file: what comes from it is typed too, and Ctrl-C in it ends the boot, as does
    `is_interrupted`. Raises EmulatorError if QEMU is not installed or fails, or if the flash has no size of a flash.
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
        folder = open_until_the_end.enter_context(run_directory())
        if net:
            open_until_the_end.enter_context(relay(folder, *net))
        with machine(folder, flash, settings, ["-serial", "null"]) as qemu:
            uart, stopped = _run_console(qemu, folder, uart_input, until, timeout, on_uart, keyboard, is_interrupted)
            if not stopped and "\nend " not in read_report(folder):
                raise failure(qemu, uart.last)
        # Only now that QEMU is gone are both what they will be.
        return _result(read_report(folder), uart, stopped, _read(folder / "flash", len(flash)))


def interact(
    flash: bytes,
    *,
    timeout: float | None = None,
    gpio_low: bool = False,
    net: tuple[str, int] | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
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
            flash,
            timeout=timeout,
            max_resets=1000,
            gpio_low=gpio_low,
            net=net,
            on_uart=show,
            keyboard=keyboard,
            is_interrupted=is_interrupted,
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

    `options` are QEMU's, `files` the descriptors that they name; they can write to `folder`/"uart". The ROM reaches
    no file of the host but those that are in `folder` now, see `confinement`. It ends with the thread that
    started it: leave the `with` in the same one.
    """
    least, greatest = FLASH_SIZES
    if not least <= len(flash) <= greatest or len(flash) & (len(flash) - 1):
        raise EmulatorError(f"the flash has {len(flash):,} bytes; that of a chip has 256 KB, 512 KB and so on to 16 MB")
    with name_temporary_folder():
        (folder / "flash").write_bytes(flash)
        for name in ("report", "uart"):  # QEMU may make none
            (folder / name).touch()
    words = ["flash=flash", "report=report", f"size={len(flash)}", *settings]
    command = [*command_line(), *options, "-append", " ".join(words)]
    with (
        confinement.confined(folder, command[0], MASK_ROM, max(len(flash), REPORT_SIZE + 1)) as confine,
        _start(command, folder, files, confine) as qemu,
    ):
        assert qemu.stdin is not None
        assert qemu.stdout is not None
        # A ROM that opens the other end must not make us wait for it.
        os.set_blocking(qemu.stdin.fileno(), False)
        os.set_blocking(qemu.stdout.fileno(), False)
        try:
            yield qemu
        finally:
            qemu.kill()


def _start(
    command: Sequence[str], folder: Path, files: Sequence[int], confine: Callable[[], None]
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
            pass_fds=files,
            env=confinement.environment(os.environ),
            preexec_fn=confine,  # which is made for it: it takes no lock
        )
    except subprocess.SubprocessError:
        raise EmulatorError("the emulator cannot be confined: the kernel refuses Landlock's rules") from None


def command_line() -> list[str]:
    """The start of QEMU's command line, its program first. Raises EmulatorError if it is not installed."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        raise EmulatorError(MISSING)
    qemu = os.path.abspath(qemu)  # it is started in another directory
    return [
        *(qemu, *confinement.sandbox(qemu), "-no-user-config", "-nic", "none"),
        *("-M", "sim", "-cpu", "lx106", "-semihosting", "-display", "none", "-monitor", "none"),
        *("-kernel", str(MASK_ROM)),
    ]


def _read(path: Path, most: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(most)


def read_report(folder: Path) -> str:
    """What the mask ROM reported. Raises EmulatorError if that is too much to be of use."""
    report = _read(folder / "report", REPORT_SIZE + 1)
    if len(report) > REPORT_SIZE:
        raise EmulatorError(_TOO_MUCH)
    return report.decode(errors="replace")


class _Uart:
    """What the UART has printed: its start, its end, and how much between them was left out."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0
        self._booted: int | None = None  # the last ROM that was started in what is left out

    def add(self, data: bytes) -> None:
        room = UART_HEAD - len(self._head)
        self._head += data[:room] if room > 0 else b""
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * UART_TAIL:  # not for each byte
            self._shorten()

    def _shorten(self) -> None:
        size = len(self._tail) - UART_TAIL
        size = self._tail.rfind(b"\n", 0, size) + 1 or size  # whole lines, if it prints such
        before = b"" if self._left_out else self._head[-64:]
        found = _BOOTING.findall(before + self._tail[:size])
        self._booted = int(found[-1]) if found else self._booted
        del self._tail[:size]
        self._left_out += size

    @property
    def last(self) -> bytes:
        """Its end; all of it if nothing is left out."""
        return bytes(self._tail if self._left_out else self._head + self._tail)

    @property
    def rom(self) -> int | None:
        """The ROM that the loader said last to start."""
        found = _BOOTING.findall(self.last)
        return int(found[-1]) if found else self._booted

    def text(self) -> str:
        if not self._left_out and len(self._tail) > UART_TAIL:
            self._shorten()
        if not self._left_out:
            return self.last.decode(errors="replace")
        note = f"\n[{self._left_out:,} bytes are left out]\n"
        return self._head.decode(errors="replace") + note + self._tail.decode(errors="replace")


def _run_console(
    qemu: subprocess.Popen[bytes],
    folder: Path,
    typed: bytes,
    until: str | None,
    timeout: float,
    on_uart: Callable[[bytes], None] | None,
    keyboard: int | None,
    is_interrupted: Callable[[], bool],
) -> tuple[_Uart, str | None]:
    """What QEMU prints, and "time-out", "until" or "keyboard" if it did not end by itself.

    Raises EmulatorError as soon as the report is longer than will be read.
    """
    assert qemu.stdin is not None
    assert qemu.stdout is not None
    deadline = time.monotonic() + timeout
    next_look = time.monotonic() + _LOOK_EVERY
    wanted = until.encode() if until is not None else None
    out = _Uart()
    window = b""  # what the text that is waited for may have begun in
    while (left := deadline - time.monotonic()) > 0:
        if is_interrupted():
            return out, "keyboard"
        is_full = len(typed) >= _MOST_TYPED
        sources = [qemu.stdout.fileno(), *([keyboard] if keyboard is not None and not is_full else [])]
        readable, writable, _ = select.select(sources, [qemu.stdin] if typed else [], [], min(left, _LOOK_EVERY))
        if (now := time.monotonic()) >= next_look:
            next_look = now + _LOOK_EVERY
            if (folder / "report").stat().st_size > REPORT_SIZE:
                raise EmulatorError(_TOO_MUCH)
        if keyboard is not None and keyboard in readable:
            keys = os.read(keyboard, 256)
            if _CTRL_C in keys:
                return out, "keyboard"
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
                    return out, "until"
                window = window[max(len(window) - len(wanted) + 1, 0) :]
    return out, "time-out"


def _result(report: str, uart: _Uart, stopped: str | None, flash: bytes) -> BootResult:
    lines = [line.split() for line in report.splitlines() if line]
    by_kind: dict[str, list[list[str]]] = {}
    for kind, *words in lines:
        by_kind.setdefault(kind, []).append(words)
    ended = stopped or " ".join(by_kind["end"][0])
    if ended == "host-error":
        raise EmulatorError("the emulator could not write its flash file; is the disk full?")
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

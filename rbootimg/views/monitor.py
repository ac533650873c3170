"""The UART's output for people: lines in colours, with time stamps, and what crashes mean below them."""

from __future__ import annotations

import codecs
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from ..emulator.qemu import BootOptions, BootResult, interact, raw_terminal
from ..layout.memory import MASK_ROM
from ..monitor.baud import RATES
from ..monitor.decoder import Frame, LogDecoder, LogLine, LogReport, ReportKind
from ..monitor.elfs import ElfFinder, describe_elf
from ..monitor.lines import Kind
from ..monitor.port import Monitor, find_port, open_port
from ..monitor.source import describe
from ..rom.causes import CAUSES
from ..text import printable
from .messages import Style, styled

_STYLES = {Kind.BOOT: Style.DIM, Kind.WARNING: Style.YELLOW, Kind.CRASH: Style.RED, Kind.STACK: Style.DIM}
_NULL_PAGE = 0x1000  # an access through a null pointer has the offset of a member
_MAX_LINE = 4096  # characters: more are shown as several lines
_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")
_HARMLESS = "\t\b\r"  # control characters that a line may have
_INDENT = "    "
_CALLED_FROM = "called from:"
_ON_STACK = "return addresses on the stack, the innermost first; some may be of earlier calls:"


def report_lines(report: LogReport) -> list[str]:
    """Return the lines of a report."""
    if report.kind is ReportKind.WATCHDOG:
        where = report.running.describe()
        return [
            f"hardware watchdog reset{f' of {where}' if where else ''}: the code hung, or did not return to the SDK"
        ]
    lines = []
    is_caller = [frame.role for frame in report.frames] == ["a0"]  # after the report of the exception
    if report.kind is ReportKind.EXCEPTION:
        lines.append(_cause(report))
        frames = report.frames
        width = max((len(frame.role) for frame in frames), default=0)
        for frame in frames:
            lines += _frame(frame, f"{frame.role:{width}}  {frame.address:#010x}", report.elf is not None)
    elif report.frames:
        lines.append(_CALLED_FROM if is_caller else _ON_STACK)
        for frame in report.frames:
            lines += _frame(frame, f"{frame.address:#010x}", True)
    elif report.elf:
        lines.append("no return addresses on the stack")
    if report.elf and not is_caller:
        lines.append(f"ELF: {describe_elf(report.elf)}")
    return [*lines, *(f"note: {remark}" for remark in report.remarks)]


def _cause(report: LogReport) -> str:
    cause = CAUSES.get(report.cause) if report.cause is not None else None
    name = f"{cause.name}: {cause.meaning}" if cause else "exception"
    if report.address is None or (cause and report.cause in (0, 6)):  # EXCVADDR is not about these
        return name
    null = " (a null pointer)" if report.address < _NULL_PAGE else ""
    return f"{name}, address {report.address:#x}{null}"


def _frame(frame: Frame, start: str, with_elf: bool) -> list[str]:
    if not frame.places:
        unknown = "unknown function" if with_elf else ""
        return [f"{start}  {'in the mask ROM' if MASK_ROM.start <= frame.address < MASK_ROM.end else unknown}".rstrip()]
    first, *others = frame.places
    return [
        f"{start}  {describe(first)}",
        *(f"{'':{len(start)}}  inlined into {describe(place)}" for place in others),
    ]


class MonitorView:
    """Prints the UART's output and the reports about it; copies both to a log without colours.

    `timestamp` returns the text that begins each line, such as the time.
    """

    def __init__(
        self,
        decoder: LogDecoder,
        log: TextIO | None = None,
        timestamp: Callable[[], str] | None = None,
        out: TextIO | None = None,
    ) -> None:
        self._decoder = decoder
        self._log = log
        self._timestamp = timestamp
        self._out = out or sys.stdout
        self._text = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._shown = 0  # characters of the incomplete line that are on the terminal

    def feed(self, data: bytes) -> None:
        """Show all lines that `data` completes."""
        self._line += self._text.decode(data)
        *complete, self._line = self._line.split("\n")
        for line in complete:
            self._complete(line)
        while len(self._line) > _MAX_LINE:
            line, self._line = self._line[:_MAX_LINE], self._line[_MAX_LINE:]
            self._complete(line)
        self._out.flush()

    def pause(self) -> None:
        """Show an incomplete line, such as a prompt, and report a stack dump: nothing has come for a moment."""
        if not self._line:
            self._show(self._decoder.end())
        self.show_incomplete()

    def show_incomplete(self) -> None:
        """Show an incomplete line, such as a prompt."""
        if self._line[self._shown :]:
            start = self._start() if not self._shown else ""
            self._out.write(start + _safe(self._line[self._shown :]))
            self._shown = len(self._line)
        self._out.flush()

    def drop_line(self) -> None:
        """Forget an incomplete line, which is unreadable."""
        self._out.write("\n" if self._shown else "")
        self._text.reset()
        self._line, self._shown = "", 0

    def note(self, text: str) -> None:
        """Show a line of our own."""
        if self._shown:
            self._out.write("\n")
            self._shown = 0
        self._write(f"[{text}]", Style.BOLD)
        self._out.flush()

    def close(self, registers: Iterable[int] = ()) -> None:
        """Show the rest; `registers` are those of a crash in the emulator."""
        self._line += self._text.decode(b"", final=True)
        if self._line:
            self._complete(self._line)
            self._line = ""
        self._show(self._decoder.end())
        self._show(self._decoder.registers(tuple(registers)))
        self._out.flush()

    def _complete(self, line: str) -> None:
        line = line.rstrip("\r")
        self._show(self._decoder.decode(line))

    def _show(self, items: Iterable[LogLine | LogReport]) -> None:
        for item in items:
            if isinstance(item, LogLine):
                self._write_line(item)
            else:
                for line in report_lines(item):
                    self._write(_INDENT + printable(line), Style.BOLD)

    def _write_line(self, line: LogLine) -> None:
        text = _safe(line.text)
        if self._shown:
            self._out.write(f"{_safe(line.text[self._shown :])}\n")
            self._copy(f"{self._start()}{text}")
            self._shown = 0
        else:
            style = _STYLES.get(line.kind)
            start = self._start()
            self._out.write(f"{start}{styled(text, style, self._out) if style else text}\n")
            self._copy(f"{start}{text}")

    def _write(self, text: str, style: Style) -> None:
        self._out.write(f"{styled(text, style, self._out)}\n")
        self._copy(text)

    def _copy(self, line: str) -> None:
        if self._log:
            self._log.write(_COLOURS.sub("", line) + "\n")
            self._log.flush()

    def _start(self) -> str:
        return f"{self._timestamp()}  " if self._timestamp else ""


def _safe(text: str) -> str:
    """Return `text` with colours and tabs, but without other control characters, which could do harm to a terminal."""
    return "".join(
        part if _COLOURS.fullmatch(part) else "".join(each if each in _HARMLESS else printable(each) for each in part)
        for part in _COLOURS.split(text)
    )


def monitor_port(
    port: str | None,
    baud: int | None,
    elfs: ElfFinder,
    *,
    log: TextIO | None = None,
    timestamp: Callable[[], str] | None = None,
    reset: bool = False,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> None:
    """Show the output of the device at a serial port until Ctrl-C; stdin is its keyboard.

    Without `port` the only USB serial port is used, without `baud` the readable rate. Raises PortError.
    """
    name = port or find_port()
    screen = MonitorView(LogDecoder(elfs), log, timestamp)
    with open_port(name, baud or RATES[0]) as opened:
        screen.note(f"{name}, {baud or RATES[0]} baud; Ctrl-C quits, Ctrl-T Ctrl-R resets the device")
        monitor = Monitor(opened, baud, screen)
        keyboard = sys.stdin.fileno()
        with raw_terminal(keyboard, enter_is_cr=True):
            if reset:
                monitor.reset()
            try:
                monitor.run(keyboard, is_interrupted)
            finally:
                screen.close()


def monitor_emulator(
    flash: bytes,
    options: BootOptions,
    elfs: ElfFinder,
    *,
    log: TextIO | None = None,
    timestamp: Callable[[], str] | None = None,
    is_interrupted: Callable[[], bool] = lambda: False,
) -> BootResult:
    """Run a flash in the emulator as interact() does, and show its output."""
    screen = MonitorView(LogDecoder(elfs), log, timestamp)
    registers: Sequence[int] = ()

    def show(data: bytes) -> None:
        screen.feed(data)
        screen.show_incomplete()

    try:
        result = interact(flash, options, on_uart=show, is_interrupted=is_interrupted)
        registers = result.crash.registers if result.crash else ()
    finally:
        screen.close(registers)
    return result


def local_time() -> str:
    """Return the time of day with milliseconds."""
    now = time.time()
    return f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now * 1000) % 1000:03}"

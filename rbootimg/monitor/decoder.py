"""Decode the UART's output: exceptions and stack dumps to functions, files and lines of the running ROM."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import ElfError
from . import lines
from .elfs import ElfFinder, FoundElf, KnownElf, Running
from .lines import Kind
from .source import Location

_MAX_STACK = 4096
"""Words of a stack dump: the ESP8266's stacks have 4 to 8 KB."""


class ReportKind(enum.Enum):
    """What a report is about. The values are those in JSON."""

    EXCEPTION = "exception"
    STACK = "stack"
    WATCHDOG = "watchdog"


@dataclass(frozen=True)
class LogLine:
    """A line of the UART's output, without its end."""

    text: str
    kind: Kind = Kind.TEXT


@dataclass(frozen=True)
class Frame:
    """An address in code and its `places`: the function, followed by those that it is inlined into.

    `role` is the register that had the address, or `stack`. In `a0` and on the stack it is a return address.
    """

    role: str
    address: int
    places: tuple[Location, ...]


@dataclass(frozen=True)
class LogReport:
    """What one or several lines mean.

    `cause` is EXCCAUSE, `address` EXCVADDR, the address that was accessed; `frames` are the code, the innermost first;
    `elf` is that with which it was decoded. `remarks` say what is missing, and how sure it is that this is the ELF.
    """

    kind: ReportKind
    running: Running
    cause: int | None = None
    address: int | None = None
    frames: tuple[Frame, ...] = ()
    elf: KnownElf | None = None
    remarks: tuple[str, ...] = ()


def decode_log(text: Iterable[str], elfs: ElfFinder) -> Iterator[LogLine | LogReport]:
    """Decode the lines of a log: each of them, with a report after those that one is about."""
    decoder = LogDecoder(elfs)
    for line in text:
        yield from decoder.decode(line.rstrip("\r\n"))
    yield from decoder.end()


class LogDecoder:
    """Decodes lines as they come; it remembers which ROM runs."""

    def __init__(self, elfs: ElfFinder) -> None:
        self._elfs = elfs
        self._running = Running()
        self._cause: int | None = None
        self._caller: int | None = None  # a0 of the exception, which is printed before the stack
        self._stack: list[int] = []

    @property
    def running(self) -> Running:
        """What the output has said of the running ROM so far."""
        return self._running

    def decode(self, line: str) -> Iterator[LogLine | LogReport]:
        """Decode one line without its end. A report about a stack comes before the line after the stack."""
        words = lines.stack_line(line)
        if words is not None:
            if len(self._stack) < _MAX_STACK:
                self._stack += words.words
            yield LogLine(line, Kind.STACK)
            return
        if self._stack and _ends_stack(line):
            yield LogLine(line, Kind.STACK)
            yield from self.end()
            return
        if line.strip():
            yield from self.end()
        yield LogLine(line, lines.kind_of(line))
        yield from self._follow(line)

    def end(self) -> Iterator[LogReport]:
        """Report the stack dump that is complete because the output has ended or paused."""
        if self._stack:
            words, self._stack = self._stack, []
            yield from self._report_stack(words)

    def registers(self, values: Sequence[int]) -> Iterator[LogReport]:
        """Report the caller of the code that crashed, by the registers a0 to a15 that the emulator has."""
        if values:
            yield from self._report_stack([values[0]], "a0")

    def _follow(self, line: str) -> Iterator[LogReport]:
        cause = lines.reset_cause(line)
        if cause is not None:
            before, self._running = self._running, Running()
            self._cause = self._caller = None
            if cause == lines.WATCHDOG:
                yield LogReport(ReportKind.WATCHDOG, before)
            return
        if (started := lines.booting(line)) is not None:
            self._running = Running(started.rom, started.address)
            self._cause = self._caller = None
            return
        if (printed := lines.printed_version(line, self._elfs.apps)) is not None:
            app, version = printed
            self._running = replace(self._running, app=app or self._running.app, version=version)
        if (cause := lines.exception_cause(line)) is not None:
            self._cause = cause
        found = lines.registers(line)
        if "epc1" in found or ("pc" in found and self._cause is not None):
            yield self._report_exception(found)
            self._cause = None
        self._caller = found.get("a0", self._caller)

    def _report_exception(self, values: dict[str, int]) -> LogReport:
        addresses = [(name, values[name]) for name in ("epc1", "pc", "epc2", "epc3", "depc") if values.get(name)]
        found = self._elfs.find(self._running, values.get("epc1", values.get("pc")))
        frames, remarks = self._look_up(found, addresses)
        return LogReport(
            ReportKind.EXCEPTION, self._running, self._cause, values.get("excvaddr"), frames, found.elf, remarks
        )

    def _report_stack(self, words: Sequence[int], role: str = "stack") -> Iterator[LogReport]:
        first = () if self._caller is None else (self._caller,)
        self._caller = None
        found = self._elfs.find(self._running)
        calls = [word for word in (*first, *words) if found.program and found.program.is_return_address(word)]
        if not calls and role != "stack":
            return
        frames, remarks = self._look_up(found, [(role, word) for word in calls])
        yield LogReport(ReportKind.STACK, self._running, frames=frames, elf=found.elf, remarks=remarks)

    def _look_up(
        self, found: FoundElf, addresses: Sequence[tuple[str, int]]
    ) -> tuple[tuple[Frame, ...], tuple[str, ...]]:
        """Look up addresses of code. A return address is that after the call, so the call itself is looked up."""
        if found.program is None:
            return tuple(Frame(role, address, ()) for role, address in addresses), found.remarks
        calls = {address: address - _CALL_SIZE * (role in ("stack", "a0")) for role, address in addresses}
        try:
            places = found.program.find(calls.values())
        except ElfError as error:
            return tuple(Frame(role, address, ()) for role, address in addresses), (*found.remarks, error.message)
        frames = tuple(Frame(role, address, places[calls[address]]) for role, address in addresses)
        missing = found.program.missing
        return frames, (*found.remarks, *((missing,) if missing else ()))


_CALL_SIZE = 3
"""Bytes of CALL0 and CALLX0."""


def _ends_stack(line: str) -> bool:
    """Whether the line is the last one of a stack dump: `<<<stack<<<` of the Arduino core, `====` of Sming."""
    return "<<<stack" in line or line.strip().startswith("====")

"""Recognize what the mask ROM, rBoot, the SDK and exception handlers print. Strings in, values out.

Sources: boot.c of the mask ROM and rBoot 1.4.2's messages; NONOS SDK 2.0.0 to 3.0.6; the handlers of the Arduino core,
Sming and esp-open-rtos; our emulator's mask ROM.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple


class Kind(enum.Enum):
    """What a line is about, for its colour."""

    TEXT = "text"
    BOOT = "boot"
    WARNING = "warning"
    CRASH = "crash"
    STACK = "stack"


class Booting(NamedTuple):
    """rBoot starts ROM `rom`, at `address` in the flash if the version prints that."""

    rom: int
    address: int | None


class StackLine(NamedTuple):
    """The `words` of the stack from `address`."""

    address: int
    words: tuple[int, ...]


WATCHDOG = 4
"""The hardware watchdog, as a reset cause of the mask ROM."""

_RESET = re.compile(r"\bets .{1,30}, ?rst cause:(\d+), ?boot mode:")
_BOOTING = re.compile(r"\bBooting rom (\d{1,3})(?: at ([0-9a-f]{1,8}))?\b", re.IGNORECASE)
_EXCEPTION = re.compile(r"\b(?:Fatal e|E)xception \(?(\d{1,2})\b|\bexccause[=: ]+(\d{1,2})\b")
_REGISTER = re.compile(r"\b(epc[123]|excvaddr|depc|pc|address|r00|a0)(?:=|: ?| )(?:0x)?([0-9a-f]{8})\b", re.IGNORECASE)
_STACK = re.compile(r"(?<![0-9a-fx])([0-9a-f]{8}): +((?:[0-9a-f]{8}[ \t]*){1,8})$")
_BOOT = re.compile(
    r"^\W{0,3}(rBoot|rbootimg loader|Flash (Size|Mode|Speed):|Booting |load 0x|tail \d|chksum 0x|csum 0x|~ld)"
)
_WARNING = re.compile(
    r"\bis bad\.|No good rom|Invalid (rom|temp rom|GPIO rom)|Writing default boot config|\bwdt reset|WDT reset"
    r"|csum err|ets_main\.c|rf_cal\[0\]|system param|mismatch map|^err|^E:M |already freed"
)
_SEMVER = r"v?(?P<version>\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)(?![\w.])"
_OWN_VERSION = re.compile(rf"^\W*version[\s:=]+{_SEMVER}", re.IGNORECASE)


def kind_of(line: str) -> Kind:
    """Return what the line is about."""
    if _EXCEPTION.search(line) or "epc1=" in line:
        return Kind.CRASH
    if _STACK.search(line) or "stack>>>" in line or "<<<stack" in line:
        return Kind.STACK
    if _WARNING.search(line):
        return Kind.WARNING
    return Kind.BOOT if _BOOT.search(line) or _RESET.search(line) else Kind.TEXT


def reset_cause(line: str) -> int | None:
    """Return the cause in the mask ROM's first line after a reset, else None."""
    match = _RESET.search(line)
    return int(match[1]) if match else None


def booting(line: str) -> Booting | None:
    """Return the ROM that rBoot starts, if this is its line."""
    match = _BOOTING.search(line)
    return Booting(int(match[1]), int(match[2], 16) if match[2] else None) if match else None


def exception_cause(line: str) -> int | None:
    """Return the EXCCAUSE in a line about an exception, else None."""
    match = _EXCEPTION.search(line)
    return int(match[1] or match[2]) if match else None


def registers(line: str) -> dict[str, int]:
    """Return the registers of an exception in the line: epc1 to epc3, depc, excvaddr, a0; pc where it is called so."""
    found = {name.lower(): int(value, 16) for name, value in _REGISTER.findall(line)}
    for other, name in (("address", "excvaddr"), ("r00", "a0")):
        if other in found:
            found.setdefault(name, found.pop(other))
    return found


def stack_line(line: str) -> StackLine | None:
    """Return the words in a line of a stack dump, else None."""
    match = _STACK.search(line.rstrip())
    return StackLine(int(match[1], 16), tuple(int(word, 16) for word in match[2].split())) if match else None


def printed_version(line: str, apps: tuple[str, ...]) -> tuple[str | None, str] | None:
    """Return the application, if named, and the version that it prints: `version 1.2.0…` or `clock 1.2.0…`.

    `apps` are the names of the known applications.
    """
    if match := _OWN_VERSION.search(line):
        return None, match["version"]
    for app in apps:
        match = re.search(rf"(?<![\w.-]){re.escape(app)}(?: version)?[\s:/]+{_SEMVER}", line, re.IGNORECASE)
        if match:
            return app, match["version"]
    return None

"""Writing a device with esptool: the command line, and running it. The only user of esptool."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Iterable, Sequence

from ..errors import FlashError

BEFORE = ("default-reset", "no-reset", "no-reset-no-sync")
AFTER = ("hard-reset", "soft-reset", "no-reset")
"""How esptool resets the ESP8266 before and after; the first is what it does unless told otherwise."""


def command_line(
    files: Iterable[tuple[int, str]],
    port: str | None = None,
    baud: int | None = None,
    before: str | None = None,
    after: str | None = None,
) -> list[str]:
    """esptool's arguments to write `files`, flash address and file name each, byte for byte.

    What is None is left to esptool: it looks for the port itself.
    """
    arguments = ["--chip", "esp8266"]
    for option, value in (("--port", port), ("--baud", baud), ("--before", before), ("--after", after)):
        if value is not None:
            arguments += (option, str(value))
    # The loader's header has the layout's values already; esptool would put its own there.
    arguments += ("write-flash", "--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep")
    for address, name in files:
        arguments += (f"{address:#x}", name)
    return arguments


def run(arguments: Sequence[str]) -> None:
    """Run esptool with `arguments`, in this process; it prints its progress to stdout, its warnings to stderr.

    Raises FlashError if esptool is not installed, finds no device, or fails.
    """
    try:
        import esptool
        import serial
    except ModuleNotFoundError:
        # For the Python that runs here: another one's pip would install it where we do not look.
        command = shlex.join([sys.executable or "python3", "-m", "pip", "install", "esptool"])
        raise FlashError(f"esptool is not installed; {command}") from None
    warnings = io.StringIO()  # where it fails, the error says enough
    try:
        with contextlib.redirect_stderr(warnings):
            esptool.main(list(arguments))
    except (esptool.FatalError, serial.SerialException) as error:
        reason = str(error).strip() or type(error).__name__
        raise FlashError(f"esptool: {reason.splitlines()[0]}") from None
    except SystemExit as error:
        sys.stderr.write(warnings.getvalue())
        raise FlashError(f"esptool ended with status {error.code}") from None
    sys.stderr.write(warnings.getvalue())

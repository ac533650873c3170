"""Writing to a device with esptool: its command line, and running it."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Iterable, Sequence

from ..errors import FlashError

BEFORE = ("default-reset", "no-reset", "no-reset-no-sync")
AFTER = ("hard-reset", "soft-reset", "no-reset")
"""How esptool resets the ESP8266 before and after; the first of each is its default."""


def command_line(
    files: Iterable[tuple[int, str]],
    port: str | None = None,
    baud: int | None = None,
    before: str | None = None,
    after: str | None = None,
) -> list[str]:
    """Return esptool's arguments to write `files` (flash address, file name) unchanged.

    With None esptool uses its default; it looks for the port itself.
    """
    arguments = ["--chip", "esp8266"]
    for option, value in (("--port", port), ("--baud", baud), ("--before", before), ("--after", after)):
        if value is not None:
            arguments += (option, str(value))
    # The loader's header already has the layout's values; esptool would replace them.
    arguments += ("write-flash", "--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep")
    for address, name in files:
        arguments += (f"{address:#x}", name)
    return arguments


def run(arguments: Sequence[str]) -> None:
    """Run esptool with `arguments` in this process; it prints its progress to stdout, its warnings to stderr.

    Raises FlashError if esptool is not installed, finds no device, or fails.
    """
    try:
        import esptool
        import serial
    except ModuleNotFoundError:
        # The pip of the Python that is running: another one's would install it elsewhere.
        command = shlex.join([sys.executable or "python3", "-m", "pip", "install", "esptool"])
        raise FlashError(f"esptool is not installed; run `{command}`") from None
    warnings = io.StringIO()  # not printed if it fails: the error is enough
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

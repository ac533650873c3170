"""Programs on a pseudo-terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from .programs import ROOT

_UNSET = ("NO_COLOR", "TERM", "COLUMNS", "LINES", "RBOOT_CONFINE")


def run_on_terminal(*command: str, cwd: Path, columns: int, status: int = 0, **environment: str) -> str:
    """Run Python with the arguments `command`, which must end with `status`; what it writes to its terminal."""
    surroundings = {name: value for name, value in os.environ.items() if name not in _UNSET}
    settings = {**surroundings, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
    terminal, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-B", *command], cwd=cwd, stdin=program, stdout=program, stderr=program, env=settings
    ) as process:
        os.close(program)
        shown = b""
        while part := _read(terminal):
            shown += part
        os.close(terminal)
        ended = process.wait(60)
    text = shown.decode().replace("\r\n", "\n")
    assert ended == status, text
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # closed by the last writer
        return b""


def without_styles(text: str) -> str:
    """The text without the control sequences for colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)

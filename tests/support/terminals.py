"""Programs on a pseudo-terminal of a given size."""

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

from support.project import ROOT, Run


def run_on_terminal(*arguments: object, columns: int = 80, cwd: Path = ROOT, **environment: str) -> Run:
    """Run rbootimg with stdin, stdout and stderr on a terminal with `columns`; the text has its control sequences."""
    return run_python_on_terminal("-m", "rbootimg", *arguments, columns=columns, cwd=cwd, **environment)


def run_python_on_terminal(*arguments: object, columns: int = 80, cwd: Path = ROOT, **environment: str) -> Run:
    """Run Python in the same way."""
    terminal, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    with subprocess.Popen(
        [sys.executable, "-B", *map(str, arguments)],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment},
        stdin=program,
        stdout=program,
        stderr=program,
    ) as process:
        os.close(program)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # closed by the last writer
                break
            if not part:
                break
            shown += part
        os.close(terminal)
        status = process.wait(60)
    return Run(status, shown.decode().replace("\r\n", "\n"), "")


def without_controls(text: str) -> str:
    """Return `text` without control sequences of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

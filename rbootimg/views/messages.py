"""Errors, warnings and lines of results: coloured on a terminal, else plain. Rich is too slow to load here."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Sequence
from typing import TextIO


class Style(enum.Enum):
    """The styles of a text on a terminal. The value is the parameter of the control sequence SGR (ECMA-48, 8.3.117)."""

    BOLD = "1"
    DIM = "2"
    RED = "1;31"
    GREEN = "1;32"
    YELLOW = "1;33"


def has_colours(stream: TextIO | None) -> bool:
    """Return whether `stream` is a terminal with colours, and the environment does not say NO_COLOR."""
    terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    return terminal and not os.environ.get("NO_COLOR")


def styled(text: str, style: Style, stream: TextIO | None = None) -> str:
    """Return `text` in that style, for `stream` (default: stdout); unchanged without colours."""
    return f"\x1b[{style.value}m{text}\x1b[0m" if text and has_colours(stream or sys.stdout) else text


def print_result(lines: Sequence[str]) -> None:
    """Print the lines of a success to stdout, the first one green."""
    print(styled(lines[0], Style.GREEN), *lines[1:], sep="\n")


def print_note(prefix: str, text: str) -> None:
    """Print a note to stderr, `PREFIX: note:` with `note:` bold."""
    sys.stderr.write(f"{prefix}: {styled('note:', Style.BOLD, sys.stderr)} {text}\n")


def error_line(prefix: str, text: str) -> str:
    """Return an error for stderr: the prefix red, the hint at its end dim."""
    return f"{styled(f'{prefix}:', Style.RED, sys.stderr)} {_with_hint(text)}"


def error_text(text: str) -> str:
    """Return an error for stderr after a prefix that another program prints: red, the hint at its end dim."""
    return _with_hint(text, Style.RED)


def warning_line(prefix: str, text: str) -> str:
    """Return a warning for stderr: `PREFIX: warning:` yellow, the hint at its end dim."""
    return f"{prefix}: {styled('warning:', Style.YELLOW, sys.stderr)} {_with_hint(text)}"


def print_warning(prefix: str, text: str) -> None:
    """Print a warning to stderr in one write, as other jobs of a build print too."""
    sys.stderr.write(f"{warning_line(prefix, text)}\n")


def _with_hint(text: str, style: Style | None = None) -> str:
    """Return `text` in `style`, with its hint dim: what comes after the last semicolon."""
    message, semicolon, hint = text.rpartition("; ") if "; " in text else (text, "", "")
    message = styled(message, style, sys.stderr) if style else message
    return f"{message}{semicolon}{styled(hint, Style.DIM, sys.stderr)}"

"""Asking for a passphrase on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import SettingError


def can_ask() -> bool:
    """Return whether there is a terminal with somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask_passphrase(key: Path, prompt: str = "") -> bytes:
    """Ask for the passphrase of a key, without showing it. Raises SettingError if there is no answer."""
    import getpass  # takes 5 ms to import

    try:
        return getpass.getpass(prompt or f"passphrase of {key}: ").encode()
    except EOFError:
        raise SettingError("no passphrase", subject=key) from None

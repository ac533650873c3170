"""$RBOOT_CONFINE: what `scons prove`, `publish` and `boot` say and do where the kernel cannot confine a ROM."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from ..emulator import confinement
from .variables import text


def check(env: Any) -> None:
    """Warn once if the emulator does not confine ROMs. Raises EmulatorError if it must, or for an unknown value."""
    warning = confinement.check(text(env, "RBOOT_CONFINE") or os.environ.get("RBOOT_CONFINE", ""))
    if warning:
        _warn(warning)


@functools.lru_cache  # once, however many targets run ROMs
def _warn(warning: str) -> None:
    sys.stderr.write(f"rboot: warning: {warning}\n")

"""$RBOOT_CONFINE: whether QEMU runs ROMs in the kernel's sandbox, for `scons prove`, `publish` and `boot`."""

from __future__ import annotations

import functools
import os
from typing import Any

from ..emulator import confinement
from ..views.messages import print_warning
from .frontend import front_end
from .variables import get_string


def check_confinement(env: Any) -> None:
    """Warn once if ROMs run unconfined. Raises EmulatorError if $RBOOT_CONFINE forbids that or has an invalid value."""
    warning = confinement.check(get_string(env, "RBOOT_CONFINE") or os.environ.get("RBOOT_CONFINE", ""))
    if warning:
        _warn(front_end(env).translate(warning))


@functools.lru_cache  # once, however many targets run ROMs
def _warn(warning: str) -> None:
    print_warning("rboot", warning)

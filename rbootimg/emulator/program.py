"""The name of the emulator's program, and the error without it."""

from __future__ import annotations

QEMU = "qemu-system-xtensa"
MISSING = f"{QEMU} not found on PATH; install it with `apt-get install qemu-system-misc`"
"""The package is Debian's."""

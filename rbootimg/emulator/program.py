"""The program that emulates, and what there is to do without it."""

from __future__ import annotations

QEMU = "qemu-system-xtensa"
MISSING = f"no {QEMU} on PATH; install it with `apt-get install qemu-system-misc`"
"""The package is Debian's."""

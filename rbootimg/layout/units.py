"""Addresses and sizes as the user writes them."""

from __future__ import annotations

import re

from ..errors import LayoutError


def parse_number(text: object) -> int:
    """Parse a number of bytes or an address: 8192, `0x2000`, `8K`, `1MB`. Raises LayoutError if it is invalid."""
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return text
    match = re.fullmatch(r"(0x[0-9a-f]{1,16}|[0-9]{1,19})(?:([km])b?)?", str(text).strip().lower())
    if not match:
        raise LayoutError(f"invalid address or size {str(text)!r}: expected e.g. 0x2000, 8192 or 8KB")
    return int(match[1], 0 if match[1].startswith("0x") else 10) * {None: 1, "k": 1024, "m": 1024 * 1024}[match[2]]

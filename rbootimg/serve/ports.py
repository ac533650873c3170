"""TCP ports."""

from __future__ import annotations

import re

from ..errors import SettingError


def parse_port(text: str) -> int:
    """Parse a TCP port, 0 to 65535; 0 means any free port. Raises SettingError for anything else."""
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) > 65535:
        raise SettingError(f"invalid port {text!r}: expected 0-65535")
    return int(text)

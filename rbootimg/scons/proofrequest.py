"""What is to be proved of an application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..layout.model import FlashLayout


@dataclass(frozen=True)
class ProofRequest:
    """That the `roms` of application `name`, in slot order, boot; `file` says so once it is proved."""

    name: str
    file: Any
    layout: FlashLayout
    loader: Any
    roms: list[Any]

"""What is to be proved of an application."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..layout.model import FlashLayout


class ProofRequest(NamedTuple):
    """That the `roms` of application `name`, in slot order, boot; `file` says so once it is proved."""

    name: str
    file: Any
    layout: FlashLayout
    loader: Any
    roms: list[Any]

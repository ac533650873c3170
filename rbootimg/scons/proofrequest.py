"""A request to prove the ROMs of an application."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..layout.model import FlashLayout


class ProofRequest(NamedTuple):
    """The `roms` of application `name`, in slot order, that must boot with `loader`; `file` records the proof."""

    name: str
    file: Any
    layout: FlashLayout
    loader: Any
    roms: list[Any]

"""The gate before the web root: no ROM goes out that has not booted in the emulator."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SCons.Builder

from .. import emulator, flashimage, prove
from ..errors import LayoutError
from ..files import write_atomic
from ..flash import FlashMap
from .actions import OWN_SCANNER, action, build
from .loader import default_loader
from .variables import text

MISSING = (
    f"rboot: the ROMs are not proved: no {emulator.QEMU}; install it (Debian: qemu-system-misc), "
    "or set RBOOT_PROVE=never\n"
)
"""What `scons publish` says where ROMs would be proved if that were possible."""


@dataclass(frozen=True)
class _Proof:
    """What is proved: ROMs of the slots of a layout, by their nodes."""

    layout: FlashMap
    loader: Any
    roms: list[Any]


def builder() -> Any:
    """The step that boots ROMs and says so in a file, so that the same ROMs are not proved again."""
    return SCons.Builder.Builder(
        action=action(_prove, "$RBOOTPROVECOMSTR", "_RBOOT_PROOF_OPTIONS"), target_scanner=OWN_SCANNER
    )


def wanted(env: Any) -> bool | None:
    """Whether $RBOOT_PROVE asks for proofs here; None if it does where QEMU is, and QEMU is not. Raises LayoutError."""
    value = text(env, "RBOOT_PROVE") or "auto"
    if value not in ("auto", "always", "never"):
        raise LayoutError(f"RBOOT_PROVE is {value!r}; write auto, always or never")
    if value == "never":
        return False
    return True if value == "always" or _has_qemu() else None


@functools.lru_cache
def _has_qemu() -> bool:
    return shutil.which(emulator.QEMU) is not None


def add(env: Any, target: Any, roms: list[Any], layout: FlashMap) -> Any:
    """The node of the proof `target` that `roms`, in slot order, boot; `scons prove` builds it."""
    loader = default_loader(env, layout.loader)
    elfs = [rom.attributes.rboot_packing.elf for rom in roms]
    [proof] = build(env, "_RbootProof", target, [loader, *roms, *elfs])
    proof.attributes.rboot_proof = _Proof(layout, loader, roms)
    env.Ignore(proof.dir, proof)
    env.Alias("prove", proof)
    return proof


def options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_PROOF_OPTIONS: what a proof depends on beside its files."""
    found = getattr(target[0].attributes, "rboot_proof", None)
    return str(found.layout) if found else ""


def _prove(target: Any, source: Any, env: Any) -> None:
    found = target[0].attributes.rboot_proof
    loader = found.loader.get_contents()
    images = {number: rom.get_contents() for number, rom in enumerate(found.roms)}
    config = flashimage.boot_config(found.layout, loader)
    pieces = flashimage.flash_pieces(found.layout, loader, images, config)
    flash = flashimage.assemble(pieces, found.layout.size.bytes)
    packings = [rom.attributes.rboot_packing for rom in found.roms]
    elfs = {number: packing.read() for number, packing in enumerate(packings)}
    proofs = prove.prove(flash, found.layout, elfs, packings[0].sections or None)
    said = {
        "schema": 1,
        "loader_sha256": hashlib.sha256(loader).hexdigest(),
        "roms": [
            {
                "slot": proof.number,
                "flash_address": proof.slot.address,
                "sha256": hashlib.sha256(images[proof.number]).hexdigest(),
                "bytes_proved": proof.size,
            }
            for proof in proofs
        ],
    }
    write_atomic(Path(target[0].get_abspath()), (json.dumps(said, indent=2) + "\n").encode())

"""Booting the ROMs of applications in the emulator, those that were not proved yet."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .._version import __version__
from ..emulator import proof as prove
from ..emulator.program import MISSING
from ..errors import ProofError, RbootError
from ..fileio import sha256_hex, write_atomic
from ..flash import image
from . import confine
from .proofrequest import ProofRequest

NO_QEMU = f"{MISSING}, or set RBOOT_PROVE=never"
"""Why ROMs go out unproved."""

_PROOF = 2
"""What a proof covers; it rises when it covers more, so that ROMs are proved again. 2: also past the entry."""


def prove_target(target: Any, env: Any) -> None:
    """Prove what a target is about, and say what was proved before."""
    only = getattr(target[0].attributes, "rboot_only", None)
    claims = [each for each, wanted in target[0].attributes.rboot_claims if (each.name in only if only else wanted)]
    if not env.GetOption("silent"):
        sys.stdout.write("".join(f"  {_said(each, 'already ')}\n" for each in claims if is_proved(each)))
    prove_pending(claims, env)


def is_proved(each: ProofRequest) -> bool:
    """Whether the claim's file says that its ROMs, as they are, were proved. They and its loader must be built."""
    return _inputs(each) == _proved(each)


def prove_pending(claims: Iterable[ProofRequest], env: Any) -> None:
    """Prove the `claims` that are not proved yet, as many at once as there are jobs. Raises ProofError."""
    unproved = [each for each in claims if not is_proved(each)]
    if unproved:
        confine.check(env)
    failed: list[tuple[ProofRequest, ProofError]] = []
    with ThreadPoolExecutor(env.GetOption("num_jobs")) as pool:
        for each, booted in [(each, pool.submit(_boot, each)) for each in unproved]:
            try:
                roms = booted.result()
            except ProofError as error:
                failed.append((each, error))
                continue
            said = json.dumps({"schema": 1, "inputs": _inputs(each), "roms": roms}, indent=2) + "\n"
            write_atomic(Path(each.file.get_abspath()), said.encode())
            if not env.GetOption("silent"):
                sys.stdout.write(f"  {_said(each)}\n")
    if failed:
        others = f"; nor is {', '.join(each.name for each, _ in failed[1:])}" if failed[1:] else ""
        raise ProofError(f"{failed[0][1]}{others}")


def _said(each: ProofRequest, already: str = "") -> str:
    return f"{each.name}: {len(each.roms)} ROM{'s' * (len(each.roms) > 1)} {already}proved with {each.loader.name}"


def _inputs(each: ProofRequest) -> Mapping[str, object]:
    """All that the proof depends on."""
    return {
        "rbootimg": __version__,
        "proof": _PROOF,
        "layout": str(each.layout),
        "loader": each.loader.get_csig(),
        "roms": [rom.get_csig() for rom in each.roms],
        "elfs": [rom.attributes.rboot_packing.elf.get_csig() for rom in each.roms],
    }


def _proved(each: ProofRequest) -> object:
    """The inputs of the proof that there is, if any."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        return json.loads(Path(each.file.get_abspath()).read_bytes()).get("inputs")
    return None


def _boot(each: ProofRequest) -> list[dict[str, object]]:
    """Boot the claim's ROMs; what is known of each then."""
    try:
        loader = each.loader.get_contents()
        images = {number: rom.get_contents() for number, rom in enumerate(each.roms)}
        config = image.make_boot_config(each.layout, loader)
        pieces = image.flash_pieces(each.layout, loader, images, config)
        flash = image.assemble(pieces, each.layout.size.bytes)
        packings = [rom.attributes.rboot_packing for rom in each.roms]
        proofs = [
            proof
            for number, packing in enumerate(packings)  # a recovery ROM may have other sections
            for proof in prove.prove(flash, each.layout, {number: packing.read()}, packing.sections or None)
        ]
    except RbootError as error:
        raise ProofError(f"{each.name} is not proved: {error}") from None
    except OSError as error:
        raise ProofError(f"{each.name} is not proved: {error.filename or 'the emulator'}: {error.strerror}") from None
    return [
        {
            "slot": proof.number,
            "flash_address": proof.slot.address,
            "sha256": sha256_hex(images[proof.number]),
            "bytes_proved": proof.size,
            "ran_until": proof.reached,
        }
        for proof in proofs
    ]

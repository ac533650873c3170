"""The action of `scons prove`: boot ROMs that are not proved yet in QEMU."""

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
"""Why ROMs are published without a proof."""

_PROOF_VERSION = 2
"""Version of what a proof covers; increased when it covers more, so that ROMs are proved again.

2: also the code after the entry point.
"""


def prove_target(target: Any, env: Any) -> None:
    """Prove the applications of a target, and print those that were proved before."""
    attributes = target[0].attributes
    only = getattr(attributes, "rboot_selected", None)
    requests = [
        request for request, selected in attributes.rboot_proof_requests if (request.name in only if only else selected)
    ]
    if not env.GetOption("silent"):
        lines = [_proof_line(request, "already ") for request in requests if is_proved(request)]
        sys.stdout.write("".join(f"  {line}\n" for line in lines))
    prove_pending(requests, env)


def is_proved(request: ProofRequest) -> bool:
    """Whether the proof's file is about these ROMs, loader and layout. The ROMs and the loader must be built."""
    return _inputs(request) == _recorded_inputs(request)


def prove_pending(requests: Iterable[ProofRequest], env: Any) -> None:
    """Prove the `requests` that are not proved yet, in parallel with -j. Raises ProofError."""
    unproved = [request for request in requests if not is_proved(request)]
    if unproved:
        confine.check_confinement(env)
    failed: list[tuple[ProofRequest, ProofError]] = []
    with ThreadPoolExecutor(env.GetOption("num_jobs")) as pool:
        for request, booted in [(request, pool.submit(_boot, request)) for request in unproved]:
            try:
                roms = booted.result()
            except ProofError as error:
                failed.append((request, error))
                continue
            proof = json.dumps({"schema": 1, "inputs": _inputs(request), "roms": roms}, indent=2) + "\n"
            write_atomic(Path(request.file.get_abspath()), proof.encode())
            if not env.GetOption("silent"):
                sys.stdout.write(f"  {_proof_line(request)}\n")
    if failed:
        (_, first), *others = failed
        more = f"; also not proved: {', '.join(request.name for request, _ in others)}" if others else ""
        raise ProofError(f"{first.message}{more}", subject=first.subject)


def _proof_line(request: ProofRequest, already: str = "") -> str:
    count = len(request.roms)
    return f"{request.name}: {count} ROM{'s' * (count > 1)} {already}proved with {request.loader.name}"


def _inputs(request: ProofRequest) -> Mapping[str, object]:
    """Everything that a proof depends on."""
    return {
        "rbootimg": __version__,
        "proof": _PROOF_VERSION,
        "layout": str(request.layout),
        "loader": request.loader.get_csig(),
        "roms": [rom.get_csig() for rom in request.roms],
        "elfs": [rom.attributes.rboot_packing.elf.get_csig() for rom in request.roms],
    }


def _recorded_inputs(request: ProofRequest) -> object:
    """The inputs in the proof's file, None without a valid one."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        return json.loads(Path(request.file.get_abspath()).read_bytes()).get("inputs")
    return None


def _boot(request: ProofRequest) -> list[dict[str, object]]:
    """Boot the ROMs of a request. Returns what the proof records of request. Raises ProofError."""
    try:
        loader = request.loader.get_contents()
        images = {number: rom.get_contents() for number, rom in enumerate(request.roms)}
        config = image.make_boot_config(request.layout, loader)
        pieces = image.flash_pieces(request.layout, loader, images, config)
        flash = image.assemble(pieces, request.layout.size.bytes)
        packings = [rom.attributes.rboot_packing for rom in request.roms]
        proofs = [
            proof
            for number, packing in enumerate(packings)  # a recovery ROM may have other sections
            for proof in prove.prove(flash, request.layout, {number: packing.read()}, packing.sections or None)
        ]
    except RbootError as error:
        raise ProofError(f"not proved: {error}", subject=request.name) from None
    except OSError as error:
        reason = f"{error.filename or 'the emulator'}: {error.strerror}"
        raise ProofError(f"not proved: {reason}", subject=request.name) from None
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

"""The action of `scons prove`: boot ROMs that are not proved yet in QEMU."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .._version import __version__
from ..emulator import proof as prove
from ..emulator.program import MISSING
from ..errors import ProofError, RbootError
from ..fileio import sha256_hex, write_atomic
from ..flash import image
from ..views.build import ProvedRoms, proof_line
from ..views.messages import Style, styled
from ..views.progress import progress
from . import confine
from .interrupt import is_interrupted
from .messages import requested_proofs
from .proofrequest import ProofRequest
from .summary import print_roms

NO_QEMU = f"{MISSING}, or set RBOOT_PROVE=never"
"""Why ROMs are published without a proof."""

_PROOF_VERSION = 2
"""Version of what a proof covers; increased when it covers more, so that ROMs are proved again.

2: also the code after the entry point.
"""


def prove_target(target: Any, env: Any) -> None:
    """Prove the applications of a target."""
    print_roms(env)
    prove_pending(requested_proofs(target[0]), env, Style.GREEN)


def is_proved(request: ProofRequest) -> bool:
    """Whether the proof's file is about these ROMs, loader and layout. The ROMs and the loader must be built."""
    return _inputs(request) == _recorded_inputs(request)


def prove_pending(requests: Sequence[ProofRequest], env: Any, style: Style | None = None) -> None:
    """Prove the `requests` that are not proved yet, in parallel with -j. Raises ProofError.

    Prints one line about those that are proved then, in `style`, also if others are not.
    """
    silent = bool(env.GetOption("silent"))
    unproved = [request for request in requests if not is_proved(request)]
    if unproved:
        confine.check_confinement(env)
    failed: list[tuple[ProofRequest, ProofError]] = []
    with (
        progress("proving", len(unproved), silent=silent) as advance,
        ThreadPoolExecutor(env.GetOption("num_jobs")) as pool,
    ):
        for request, booted in [(request, pool.submit(_boot, request)) for request in unproved]:
            try:
                roms = booted.result()
            except ProofError as error:
                failed.append((request, error))
                continue
            finally:
                advance()
            proof = json.dumps({"schema": 1, "inputs": _inputs(request), "roms": roms}, indent=2) + "\n"
            write_atomic(Path(request.file.get_abspath()), proof.encode())
    without = [request for request, _ in failed]
    proved = [
        ProvedRoms(request.name, len(request.roms), str(request.loader.name), before=request not in unproved)
        for request in requests
        if request not in without
    ]
    if proved and not silent:
        line = proof_line(proved)
        sys.stdout.write(f"{styled(line, style) if style else line}\n")
    if failed:
        (_, first), *others = failed
        more = f"; also not proved: {', '.join(request.name for request, _ in others)}" if others else ""
        raise ProofError(f"{first.message}{more}", subject=first.subject)


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
    """Boot the ROMs of a request, unless SCons was told to stop. Returns what the proof records. Raises ProofError."""
    if is_interrupted():
        raise ProofError("not proved: interrupted", subject=request.name)
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

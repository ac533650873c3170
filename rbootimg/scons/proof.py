"""The gate before the web root: no ROM goes out that has not booted in the emulator.

Proofs are no SCons targets: a build that publishes nothing need not know of them. Each is a file that
says what was proved, so that the same files are not proved again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..emulator import proof as prove
from ..emulator import qemu
from ..errors import LayoutError, PublishError, RbootError
from ..fileio import write_atomic
from ..flash import image
from ..layout.model import FlashMap
from . import confine, targets
from .actions import action
from .loader import default_loader
from .variables import is_set, text

NO_QEMU = f"{qemu.MISSING}, or set RBOOT_PROVE=never"
"""Why ROMs go out unproved."""

_PROOF = 2
"""What a proof covers; it rises when it covers more, so that ROMs are proved again. 2: also past the entry."""


@dataclass(frozen=True)
class Claim:
    """That the `roms` of application `name`, in slot order, boot; `file` says so once it is proved."""

    name: str
    file: Any
    layout: FlashMap
    loader: Any
    roms: list[Any]


def wanted(env: Any, known: bool) -> bool | None:
    """Whether `scons publish` is to prove ROMs; None if it is to where QEMU is, and QEMU is not.

    `known` says that it is known what they were packed from. Raises LayoutError, also if they are always to be proved
    and cannot be.
    """
    value = text(env, "RBOOT_PROVE") or "auto"
    if value not in ("auto", "always", "never"):
        raise LayoutError(f"RBOOT_PROVE is {value!r}; write auto, always or never")
    if value == "always" and not known:
        raise LayoutError(
            "RBOOT_PROVE is always, but it is not known what these ROMs were packed from; build them with RbootApp or "
            "RbootImage, or write auto here"
        )
    if value == "never":
        return False
    return True if value == "always" or _has_qemu() else None


@functools.lru_cache
def _has_qemu() -> bool:
    return shutil.which(qemu.QEMU) is not None


def claim(env: Any, name: str, file: Any, roms: list[Any], layout: FlashMap, wanted: bool) -> Claim:
    """The claim that `roms` boot with this environment's loader; `scons prove` proves it, whatever $RBOOT_PROVE is.

    One that is not `wanted` is proved only if it is asked for by its name.
    """
    loader = default_loader(env, layout.loader)
    found = Claim(name, file, layout, loader, roms)
    alias = env.Alias("prove")[0]
    if not hasattr(alias.attributes, "rboot_claims"):
        act = action(_prove, "$RBOOTPROVECOMSTR")
        alias = env.AlwaysBuild(env.Alias("prove", [], act))[0]
        alias.attributes.rboot, alias.attributes.rboot_claims = act, []
    if wanted:
        env.Depends(alias, [*roms, loader])
    targets.name_one(alias, name, [*roms, loader])
    alias.attributes.rboot_claims.append((found, wanted))
    made = [] if is_set(env, "RBOOT_LOADER") else [loader, *loader.sources]
    env.Clean(roms[0], [file, *made])
    return found


def _prove(target: Any, source: Any, env: Any) -> None:
    only = getattr(target[0].attributes, "rboot_only", None)
    claims = [each for each, wanted in target[0].attributes.rboot_claims if (each.name in only if only else wanted)]
    if not env.GetOption("silent"):
        sys.stdout.write("".join(f"  {_said(each, 'already ')}\n" for each in claims if is_proved(each)))
    settle(claims, env)


def is_proved(each: Claim) -> bool:
    """Whether the claim's file says that its ROMs, as they are, were proved. They and its loader must be built."""
    return _inputs(each) == _proved(each)


def settle(claims: Iterable[Claim], env: Any) -> None:
    """Prove the `claims` that are not proved yet, as many at once as there are jobs. Raises PublishError."""
    unproved = [each for each in claims if not is_proved(each)]
    if unproved:
        confine.check(env)
    failed: list[tuple[Claim, PublishError]] = []
    with ThreadPoolExecutor(env.GetOption("num_jobs")) as pool:
        for each, booted in [(each, pool.submit(_boot, each)) for each in unproved]:
            try:
                roms = booted.result()
            except PublishError as error:
                failed.append((each, error))
                continue
            said = json.dumps({"schema": 1, "inputs": _inputs(each), "roms": roms}, indent=2) + "\n"
            write_atomic(Path(each.file.get_abspath()), said.encode())
            if not env.GetOption("silent"):
                sys.stdout.write(f"  {_said(each)}\n")
    if failed:
        others = f"; nor is {', '.join(each.name for each, _ in failed[1:])}" if failed[1:] else ""
        raise PublishError(f"{failed[0][1]}{others}")


def _said(each: Claim, already: str = "") -> str:
    return f"{each.name}: {len(each.roms)} ROM{'s' * (len(each.roms) > 1)} {already}proved with {each.loader.name}"


def _inputs(each: Claim) -> Mapping[str, object]:
    """All that the proof depends on."""
    return {
        "rbootimg": __version__,
        "proof": _PROOF,
        "layout": str(each.layout),
        "loader": each.loader.get_csig(),
        "roms": [rom.get_csig() for rom in each.roms],
        "elfs": [rom.attributes.rboot_packing.elf.get_csig() for rom in each.roms],
    }


def _proved(each: Claim) -> object:
    """The inputs of the proof that there is, if any."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        return json.loads(Path(each.file.get_abspath()).read_bytes()).get("inputs")
    return None


def _boot(each: Claim) -> list[dict[str, object]]:
    """Boot the claim's ROMs; what is known of each then."""
    try:
        loader = each.loader.get_contents()
        images = {number: rom.get_contents() for number, rom in enumerate(each.roms)}
        config = image.boot_config(each.layout, loader)
        pieces = image.flash_pieces(each.layout, loader, images, config)
        flash = image.assemble(pieces, each.layout.size.bytes)
        packings = [rom.attributes.rboot_packing for rom in each.roms]
        proofs = [
            proof
            for number, packing in enumerate(packings)  # a recovery ROM may have other sections
            for proof in prove.prove(flash, each.layout, {number: packing.read()}, packing.sections or None)
        ]
    except RbootError as error:
        raise PublishError(f"{each.name} is not proved: {error}") from None
    except OSError as error:
        raise PublishError(f"{each.name} is not proved: {error.filename or 'the emulator'}: {error.strerror}") from None
    return [
        {
            "slot": proof.number,
            "flash_address": proof.slot.address,
            "sha256": hashlib.sha256(images[proof.number]).hexdigest(),
            "bytes_proved": proof.size,
            "ran_until": proof.reached,
        }
        for proof in proofs
    ]

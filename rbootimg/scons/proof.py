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

from .. import __version__, emulator, flashimage, prove
from ..errors import LayoutError, PublishError, RbootError
from ..files import write_atomic
from ..flashmap import FlashMap
from .actions import action
from .loader import default_loader
from .variables import text

MISSING = (
    f"rboot: the ROMs are not proved: no {emulator.QEMU}; install it (Debian: qemu-system-misc), "
    "or set RBOOT_PROVE=never\n"
)
"""What `scons publish` says where ROMs would be proved if that were possible."""


@dataclass(frozen=True)
class Claim:
    """That the `roms` of application `name`, in slot order, boot; `file` says so once it is proved."""

    name: str
    file: Any
    layout: FlashMap
    loader: Any
    roms: list[Any]


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


def claim(env: Any, name: str, file: Any, roms: list[Any], layout: FlashMap) -> Claim:
    """The claim that `roms` boot with this environment's loader; `scons prove` proves it."""
    loader = default_loader(env, layout.loader)
    found = Claim(name, file, layout, loader, roms)
    alias = env.Alias("prove")[0]
    if not hasattr(alias.attributes, "rboot_claims"):
        alias = env.AlwaysBuild(env.Alias("prove", [*roms, loader], action(_prove, "$RBOOTPROVECOMSTR")))[0]
        alias.attributes.rboot_claims = []
    else:
        env.Depends(alias, [*roms, loader])
    alias.attributes.rboot_claims.append(found)
    return found


def _prove(target: Any, source: Any, env: Any) -> None:
    settle(target[0].attributes.rboot_claims, env)


def settle(claims: Iterable[Claim], env: Any) -> None:
    """Prove the `claims` that are not proved yet, as many at once as there are jobs. Raises PublishError."""
    open_claims = [(each, inputs) for each in claims if (inputs := _inputs(each)) != _proved(each)]
    with ThreadPoolExecutor(env.GetOption("num_jobs")) as pool:
        for (each, inputs), roms in zip(open_claims, pool.map(_boot, (each for each, _ in open_claims))):
            said = json.dumps({"schema": 1, "inputs": inputs, "roms": roms}, indent=2) + "\n"
            write_atomic(Path(each.file.get_abspath()), said.encode())
            if not env.GetOption("silent"):
                sys.stdout.write(f"  {each.name}: {len(roms)} ROM{'s' * (len(roms) > 1)} proved\n")


def _inputs(each: Claim) -> Mapping[str, object]:
    """All that the proof depends on."""
    return {
        "rbootimg": __version__,
        "layout": str(each.layout),
        "loader": each.loader.get_csig(),
        "roms": [rom.get_csig() for rom in each.roms],
        "elfs": [rom.attributes.rboot_packing.elf.get_csig() for rom in each.roms],
    }


def _proved(each: Claim) -> object:
    """The inputs of the proof that there is, if any."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return json.loads(Path(each.file.get_abspath()).read_bytes()).get("inputs")
    return None


def _boot(each: Claim) -> list[dict[str, object]]:
    """Boot the claim's ROMs; what is known of each then."""
    try:
        loader = each.loader.get_contents()
        images = {number: rom.get_contents() for number, rom in enumerate(each.roms)}
        config = flashimage.boot_config(each.layout, loader)
        pieces = flashimage.flash_pieces(each.layout, loader, images, config)
        flash = flashimage.assemble(pieces, each.layout.size.bytes)
        packings = [rom.attributes.rboot_packing for rom in each.roms]
        elfs = {number: packing.read() for number, packing in enumerate(packings)}
        proofs = prove.prove(flash, each.layout, elfs, packings[0].sections or None)
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
        }
        for proof in proofs
    ]

"""The gate before the web root: no ROM goes out that has not booted in the emulator. `proving` boots them.

Proofs are no SCons targets: a build that publishes nothing need not know of them. Each is a file that
says what was proved, so that the same files are not proved again.
"""

from __future__ import annotations

import functools
import shutil
from typing import Any

from ..emulator.program import QEMU
from ..errors import SettingError
from ..layout.model import FlashLayout
from . import targets
from .actions import action
from .loader import default_loader
from .proofrequest import ProofRequest
from .variables import is_set, text


def wanted(env: Any, known: bool) -> bool | None:
    """Whether `scons publish` is to prove ROMs; None if it is to where QEMU is, and QEMU is not.

    `known` says that it is known what they were packed from. Raises LayoutError, also if they are always to be proved
    and cannot be.
    """
    value = text(env, "RBOOT_PROVE") or "auto"
    if value not in ("auto", "always", "never"):
        raise SettingError(f"RBOOT_PROVE is {value!r}; write auto, always or never")
    if value == "always" and not known:
        raise SettingError(
            "RBOOT_PROVE is always, but it is not known what these ROMs were packed from; build them with RbootApp or "
            "RbootImage, or write auto here"
        )
    if value == "never":
        return False
    return True if value == "always" or _has_qemu() else None


@functools.lru_cache
def _has_qemu() -> bool:
    return shutil.which(QEMU) is not None


def claim(env: Any, name: str, file: Any, roms: list[Any], layout: FlashLayout, wanted: bool) -> ProofRequest:
    """The claim that `roms` boot with this environment's loader; `scons prove` proves it, whatever $RBOOT_PROVE is.

    One that is not `wanted` is proved only if it is asked for by its name.
    """
    loader = default_loader(env, layout.loader)
    found = ProofRequest(name, file, layout, loader, roms)
    alias = env.Alias("prove")[0]
    if not hasattr(alias.attributes, "rboot_claims"):
        act = action(_prove, "$RBOOTPROVECOMSTR", about_source=False)
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
    from . import proving  # with the emulator: not for every build

    proving.prove_target(target, env)

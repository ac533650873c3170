"""What ROMs are proved to boot in QEMU before they are published. `proving` boots them.

A proof is not a SCons target, so a build that publishes nothing does not depend on it. It is a file that records what
was proved, so that the same ROMs are not proved again.
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
from .variables import get_string, invalid_value, is_set


def needs_proof(env: Any, elfs_known: bool) -> bool | None:
    """Whether `scons publish` proves ROMs, by $RBOOT_PROVE; None if it would, but QEMU is not installed.

    `elfs_known`: whether the ELFs that the ROMs were packed from are known. Raises SettingError if they are not and
    $RBOOT_PROVE is always, or if its value is invalid.
    """
    value = get_string(env, "RBOOT_PROVE") or "auto"
    if value not in ("auto", "always", "never"):
        raise invalid_value("RBOOT_PROVE", value, "auto, always or never")
    if value == "always" and not elfs_known:
        raise SettingError(
            "cannot be always: the ELFs of these ROMs are unknown; build the ROMs with RbootApp or RbootImage",
            subject="RBOOT_PROVE",
        )
    if value == "never":
        return False
    return True if value == "always" or _has_qemu() else None


@functools.lru_cache
def _has_qemu() -> bool:
    return shutil.which(QEMU) is not None


def request_proof(env: Any, name: str, file: Any, roms: list[Any], layout: FlashLayout, selected: bool) -> ProofRequest:
    """Let `scons prove` prove that `roms` boot with the loader of `env`, whatever $RBOOT_PROVE is.

    An application that is not `selected` is proved by `scons prove-NAME` only.
    """
    loader = default_loader(env, layout.loader)
    request = ProofRequest(name, file, layout, loader, roms)
    alias = env.Alias("prove")[0]
    if not hasattr(alias.attributes, "rboot_proof_requests"):
        act = action(_prove, "$RBOOTPROVECOMSTR", about_source=False)
        alias = env.AlwaysBuild(env.Alias("prove", [], act))[0]
        alias.attributes.rboot, alias.attributes.rboot_proof_requests = act, []
    if selected:
        env.Depends(alias, [*roms, loader])
    targets.add_named(alias, name, [*roms, loader])
    alias.attributes.rboot_proof_requests.append((request, selected))
    built_loader = [] if is_set(env, "RBOOT_LOADER") else [loader, *loader.sources]
    env.Clean(roms[0], [file, *built_loader])
    return request


def _prove(target: Any, source: Any, env: Any) -> None:
    from . import proving  # with the emulator: not for every build

    proving.prove_target(target, env)

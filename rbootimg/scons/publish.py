"""RbootPublish: what `scons publish` is about. `publishing` does it."""

from __future__ import annotations

import os
from typing import Any

from ..errors import SettingError, error_subject
from ..layout.model import FlashLayout
from . import proof, targets
from .actions import action, nodes
from .apps import (
    App,
    Recovery,
    WebRoot,
    app_name,
    chosen,
    provable,
    recovery_rom,
    release_files,
    web_root_path,
)
from .proofrequest import ProofRequest
from .variables import flash_map, for_call, is_on, text, version_of


def rboot_publish(env: Any, name: str, roms: Any, **overrides: object) -> Any:
    """Let `scons publish` put `roms`, in slot order, into $RBOOT_WEBROOT as those of application `name`."""
    env = for_call(env, overrides)
    name = app_name(env, name)
    roms = nodes(env, name, roms)
    with error_subject(name):
        found = flash_map(env)
        # Other ROMs of that name may be published from the same folder, into another web root.
        proof_name = f"{os.path.basename(name)}-{os.path.splitext(roms[0].name)[0]}-proof.json"
        return add(env, name, roms, found, proof_name, built_here=False, recovery=recovery_rom(env, name, found))


def add(
    env: Any,
    name: str,
    roms: list[Any],
    found: FlashLayout,
    proof_name: str,
    built_here: bool,
    recovery: Recovery | None = None,
) -> Any:
    """Let `scons publish` publish the `roms`, of the layout `found`, under the last part of `name`.

    Before that they are proved, if that is wanted and it is known what they were packed from; the file `proof_name`
    beside them says so. Raises LayoutError or UserError.

    The web root's files are no SCons targets: SCons deletes targets before it builds them and when it
    cleans, and a device may be fetching just then. So the alias itself has the action; it runs once,
    after all ROMs are built, and knows all applications.
    """
    alias = env.Alias("publish")[0]
    if not hasattr(alias.attributes, "rboot_web_roots"):
        act = action(_publish, "$RBOOTPUBLISHCOMSTR", about_source=False)
        alias = env.AlwaysBuild(env.Alias("publish", [], act))[0]
        alias.attributes.rboot, alias.attributes.rboot_web_roots = act, {}
        # Nothing is built for these: they are about what was published.
        for other, function in (
            ("releases", _show),
            ("rollback", _roll_back),
            ("serve", _serve),
        ):
            targets.add(env, other, [], function).attributes.rboot_web_roots = alias.attributes.rboot_web_roots
    path = web_root_path(env, name)
    web_root = alias.attributes.rboot_web_roots.setdefault(os.path.realpath(path), WebRoot(path, {}))
    name = os.path.basename(name)
    wanted = not (only := chosen(env)) or name in only
    known = all(hasattr(rom.attributes, "rboot_packing") for rom in roms)
    proving = proof.wanted(env, known)
    known = known and len(roms) <= len(found.slots)
    proved = [*roms, *provable(recovery, len(roms))]
    claim = _claim(env, name, proof_name, proved, found, wanted) if known else None
    if not (claim and (proving or (proving is None and claim.file.exists()))):
        claim = None
    files = release_files(env, name)
    built = [*roms, *([claim.loader] if claim else []), *files.values(), *([recovery.rom] if recovery else [])]
    if wanted:
        env.Depends(alias, built)  # not Alias(), whose time grows with the square of the ROMs
        env.Depends(targets.add(env, "roms", [], None), roms)
    targets.name_one(alias, name, built)
    targets.name_one(env.Alias("rollback")[0], name, [])
    app = App(
        roms,
        found,
        built_here,
        claim,
        may_be_unproved=known and proving is None,
        version=version_of(env),
        device=text(env, "RBOOT_DEVICE"),
        with_elfs=bool(is_on(env, "RBOOT_PUBLISH_ELFS")) and known,
        files=files,
        checksum_files=bool(is_on(env, "RBOOT_CHECKSUM_FILES")),
        recovery=recovery,
        force=bool(is_on(env, "RBOOT_FORCE")),
        allow_downgrade=bool(is_on(env, "RBOOT_ALLOW_DOWNGRADE")),
    )
    if web_root.apps.setdefault(name, app) is not app:
        raise SettingError(f"there are two applications called {name}; rename one or give it another RBOOT_WEBROOT")
    return alias


def _claim(env: Any, name: str, proof_name: str, roms: list[Any], found: FlashLayout, wanted: bool) -> ProofRequest:
    try:
        file = roms[0].dir.File(proof_name)
        file.duplicate = 0  # or SCons deletes it from a variant_dir with copies, as no source is called so
    except TypeError as error:  # which SCons raises for a folder
        raise SettingError(str(error), subject=name) from None
    return proof.claim(env, name, file, roms, found, wanted)


def _publish(target: Any, source: Any, env: Any) -> None:
    from . import publishing  # with all of releases: not for every build

    publishing.write_web_roots(target, env)


def _show(target: Any, source: Any, env: Any) -> None:
    from . import releases

    releases.show(target, env)


def _roll_back(target: Any, source: Any, env: Any) -> None:
    from . import releases

    releases.roll_back(target, env)


def _serve(target: Any, source: Any, env: Any) -> None:
    from . import releases

    releases.serve(target, env)

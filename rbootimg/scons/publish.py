"""RbootPublish and the target `scons publish`. `publishing` has its action."""

from __future__ import annotations

import os
from typing import Any

from ..errors import SettingError, error_subject
from ..layout.model import FlashLayout
from . import proof, targets
from .actions import action, nodes, variable_node
from .apps import (
    App,
    Recovery,
    WebRoot,
    app_name,
    elf_archive_path,
    file_regions,
    recovery_rom,
    recovery_to_prove,
    release_files,
    selected_apps,
    web_root_path,
)
from .variables import call_environment, get_bool, get_layout, get_string, version_of


def rboot_publish(env: Any, name: str, roms: Any, **overrides: object) -> Any:
    """Let `scons publish` publish `roms`, in slot order, as application `name` to $RBOOT_WEBROOT."""
    env = call_environment(env, overrides)
    name = app_name(env, name)
    roms = nodes(env, name, roms)
    with error_subject(name):
        layout = get_layout(env)
        # With the ROM's name: other ROMs of the same directory may be published as `name` to another web root.
        proof_name = f"{os.path.basename(name)}-{os.path.splitext(roms[0].name)[0]}-proof.json"
        return add_app(env, name, roms, layout, proof_name, built_here=False, recovery=recovery_rom(env, name, layout))


def add_app(
    env: Any,
    name: str,
    roms: list[Any],
    layout: FlashLayout,
    proof_name: str,
    built_here: bool,
    recovery: Recovery | None = None,
) -> Any:
    """Let `scons publish` publish `roms`, for the slots of `layout`, under the last part of `name`.

    Before that the ROMs are proved, if $RBOOT_PROVE says so and their ELFs are known; the file `proof_name` beside them
    records it. Raises LayoutError or SettingError.

    The files of the web root are not SCons targets: SCons deletes a target before it builds it and with -c, while a
    device may be fetching it. So the alias has the action; it runs once, after all ROMs are built.
    """
    alias = _publish_alias(env)
    path = web_root_path(env, name)
    web_root = alias.attributes.rboot_web_roots.setdefault(os.path.realpath(path), WebRoot(path, {}))
    name = os.path.basename(name)
    selection = selected_apps(env)
    selected = not selection or name in selection
    elfs_known = all(hasattr(rom.attributes, "rboot_packing") for rom in roms)
    prove = proof.needs_proof(env, elfs_known)
    elfs_known = elfs_known and len(roms) <= len(layout.slots)
    request = None
    if elfs_known:
        booted = [*roms, *recovery_to_prove(recovery, len(roms))]
        request = proof.request_proof(env, name, _proof_file(name, proof_name, roms[0]), booted, layout, selected)
        if not prove and not (prove is None and request.file.exists()):
            request = None  # for `scons prove` only
    files = release_files(env, name)
    regions = file_regions(env, files)
    notes = variable_node(env, "RBOOT_NOTES")
    others = (request and request.loader, recovery and recovery.rom, notes)
    built = [*roms, *files.values(), *(node for node in others if node)]
    if selected:
        env.Depends(alias, built)  # not Alias(), whose time grows with the square of the ROMs
        env.Depends(targets.add_target(env, "roms", [], None), roms)
    targets.add_named(alias, name, built)
    targets.add_named(env.Alias("rollback")[0], name, [])
    app = App(
        roms,
        layout,
        built_here,
        request,
        proof_is_optional=elfs_known and prove is None,
        version=version_of(env),
        device=get_string(env, "RBOOT_DEVICE"),
        with_elfs=bool(get_bool(env, "RBOOT_PUBLISH_ELFS")) and elfs_known,
        elf_archive=elf_archive_path(env, name, path),
        files=files,
        file_regions=regions,
        notes=notes,
        checksum_files=bool(get_bool(env, "RBOOT_CHECKSUM_FILES")),
        recovery=recovery,
        force=bool(get_bool(env, "RBOOT_FORCE")),
        allow_downgrade=bool(get_bool(env, "RBOOT_ALLOW_DOWNGRADE")),
        in_directory=bool(get_bool(env, "RBOOT_IN_DIRECTORY")),
    )
    if web_root.apps.setdefault(name, app) is not app:
        raise SettingError("two applications of one web root have this name; rename one", subject=name)
    return alias


def _publish_alias(env: Any) -> Any:
    """The alias of `scons publish`, which has all applications by web root. Creates it and the related targets."""
    alias = env.Alias("publish")[0]
    if not hasattr(alias.attributes, "rboot_web_roots"):
        act = action(_publish, "$RBOOTPUBLISHCOMSTR", about_source=False)
        alias = env.AlwaysBuild(env.Alias("publish", [], act))[0]
        alias.attributes.rboot, alias.attributes.rboot_web_roots = act, {}
        # These are about published releases: nothing is built for them.
        for name, function in (("releases", _show), ("rollback", _roll_back), ("serve", _serve)):
            targets.add_target(env, name, [], function).attributes.rboot_web_roots = alias.attributes.rboot_web_roots
    return alias


def _proof_file(name: str, proof_name: str, rom: Any) -> Any:
    """The node of the proof beside `rom`. Raises SettingError if it is a directory."""
    try:
        file = rom.dir.File(proof_name)
    except TypeError as error:
        raise SettingError(str(error), subject=name) from None
    file.duplicate = 0  # or SCons deletes it from a variant_dir with copies, where its source is missing
    return file


def _publish(target: Any, source: Any, env: Any) -> None:
    from . import publishing  # imports the release package: not for every build

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

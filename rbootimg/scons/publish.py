"""RbootPublish and the `publish` target: ROMs into web roots."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import SCons.Errors

from ..errors import CheckoutError, LayoutError, PublishError, RbootError, VersionError
from ..layout.model import FlashMap
from ..release import bundle as release
from ..release import manifest, unversioned, version, webroot
from ..views import release as report
from . import proof, releases, targets
from .actions import action, nodes, said
from .apps import (
    App,
    Recovery,
    WebRoot,
    app_name,
    chosen,
    named,
    place,
    recovery_rom,
    release_files,
    web_root_path,
    web_roots,
)
from .variables import CheckoutVersion, flash_map, for_call, is_on, text, version_of


def rboot_publish(env: Any, name: str, roms: Any, **overrides: object) -> Any:
    """Let `scons publish` put `roms`, in slot order, into $RBOOT_WEBROOT as those of application `name`."""
    env = for_call(env, overrides)
    name = app_name(env, name)
    roms = nodes(env, name, roms)
    try:
        found = flash_map(env)
        # Other ROMs of that name may be published from the same folder, into another web root.
        proof_name = f"{os.path.basename(name)}-{os.path.splitext(roms[0].name)[0]}-proof.json"
        return add(env, name, roms, found, proof_name, built_here=False, recovery=recovery_rom(env, name, found))
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None


def add(
    env: Any,
    name: str,
    roms: list[Any],
    found: FlashMap,
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
        act = action(_write_web_roots, "$RBOOTPUBLISHCOMSTR")
        alias = env.AlwaysBuild(env.Alias("publish", [], act))[0]
        alias.attributes.rboot, alias.attributes.rboot_web_roots = act, {}
        # Nothing is built for these: they are about what was published.
        for other, function in (
            ("releases", releases.show),
            ("rollback", releases.roll_back),
            ("serve", releases.serve),
        ):
            targets.add(env, other, [], function).attributes.rboot_web_roots = alias.attributes.rboot_web_roots
    path = web_root_path(env, name)
    web_root = alias.attributes.rboot_web_roots.setdefault(os.path.realpath(path), WebRoot(path, {}))
    name = os.path.basename(name)
    wanted = not (only := chosen(env)) or name in only
    known = all(hasattr(rom.attributes, "rboot_packing") for rom in roms)
    proving = proof.wanted(env, known)
    known = known and len(roms) <= len(found.slots)
    proved = [*roms, *_provable(recovery, len(roms))]
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
    )
    if web_root.apps.setdefault(name, app) is not app:
        raise SCons.Errors.UserError(
            f"rboot: there are two applications called {name}; rename one or give it another RBOOT_WEBROOT"
        )
    return alias


def _provable(recovery: Recovery | None, number: int) -> list[Any]:
    """The recovery ROM, if it is for slot `number`, the next, and it is known what it was packed from."""
    if recovery and recovery.number == number and hasattr(recovery.rom.attributes, "rboot_packing"):
        return [recovery.rom]
    return []


def _claim(env: Any, name: str, proof_name: str, roms: list[Any], found: FlashMap, wanted: bool) -> proof.Claim:
    try:
        file = roms[0].dir.File(proof_name)
    except TypeError as error:  # which SCons raises for a folder
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None
    return proof.claim(env, name, file, roms, found, wanted)


def _write_web_roots(target: Any, source: Any, env: Any) -> None:
    """Check all that is to be published, then publish it."""
    trees: list[tuple[dict[str, bytes], WebRoot]] = []
    owners: dict[str, str] = {}
    built = set()
    for web_root in web_roots(target, env):
        tree = _tree(web_root)
        built |= {os.path.realpath(str(rom.get_abspath())) for app in web_root.apps.values() for rom in app.roms}
        for file in tree:
            path = os.path.realpath(os.path.join(web_root.path, file))
            if owners.setdefault(path, web_root.path) != web_root.path:
                raise PublishError(
                    f"the web roots {owners[path]} and {web_root.path} both have a {path}; keep them apart"
                )
            if path in built:
                raise PublishError(f"{path} is built here, and would be published there; choose another RBOOT_WEBROOT")
        trees.append((tree, web_root))
    apps = [app for _, web_root in trees for app in web_root.apps.values()]
    proof.settle([app.claim for app in apps if app.claim and not app.may_be_unproved], env)
    unproved = [
        name
        for _, web_root in trees
        for name, app in web_root.apps.items()
        if app.may_be_unproved and not _proved_by(app)
    ]
    if unproved:
        sys.stderr.write(f"rboot: published without a proof: {', '.join(unproved)}: {proof.NO_QEMU}\n")
    lines = []
    for (tree, web_root), bundles in [(each, _bundles(each[1], env)) for each in trees]:
        if bundles:
            lines += _release(web_root, bundles, env)
        else:
            lines += _copy(web_root, tree, env)
    if not env.GetOption("silent"):
        sys.stdout.write("".join(f"  {line}\n" for line in lines))


def _proved_by(app: App) -> str | None:
    """The loader with which the ROMs were proved; those that had to be are, by now."""
    if app.claim is None or (app.may_be_unproved and not proof.is_proved(app.claim)):
        return None
    return str(app.claim.loader.name)


def _bundles(web_root: WebRoot, env: Any) -> list[release.Bundle]:
    """The releases for the web root; none if there is no version for them. Raises PublishError or VersionError."""
    versions = {name: app.version for name, app in web_root.apps.items()}
    if any(isinstance(found, CheckoutVersion) or not found for found in versions.values()):
        try:
            now = version.from_git(Path(env.Dir("#").get_abspath()))
        except CheckoutError:
            raise
        except VersionError as error:
            if any(versions.values()) or webroot.has_releases(Path(web_root.path)):
                raise
            if alone := [name for name, app in web_root.apps.items() if app.files or app.recovery]:
                raise VersionError(f"{alone[0]} has files that only a release can have: {error}", error.way) from None
            sys.stderr.write(f"rboot: published without releases: {said(error)}\n")
            return []
        built = next((found for found in versions.values() if isinstance(found, CheckoutVersion)), "")
        if built != now:  # the ROMs may say which version they are
            raise PublishError(
                f"the checkout was {built or 'without a version'} when this build began, and is {now} now; "
                "run scons again"
            )
    return [
        release.bundle(
            name,
            str(versions[name]),
            [rom.get_contents() for rom in app.roms],
            app.layout,
            device=app.device or manifest.DEVICE,
            date=version.source_date(os.environ),
            elfs=[rom.attributes.rboot_packing.elf.get_contents() for rom in app.roms] if app.with_elfs else (),
            proved_by=_proved_by(app),
            one_build=app.built_here,
            files={file: node.get_contents() for file, node in app.files.items()},
            recovery=_recovery(app),
            checksum_files=app.checksum_files,
            called={manifest.RECOVERY: str(app.recovery.rom)} if app.recovery else None,
        )
        for name, app in web_root.apps.items()
    ]


def _recovery(app: App) -> release.Recovery | None:
    if not app.recovery:
        return None
    proved_by = _proved_by(app) if _provable(app.recovery, len(app.roms)) else None
    return release.Recovery(app.recovery.number, app.recovery.rom.get_contents(), proved_by)


def _release(web_root: WebRoot, bundles: list[release.Bundle], env: Any) -> list[str]:
    """Make `bundles` the current releases; what there is to say."""
    # What was not committed is built anew under one version, on the desk.
    forced = bool(is_on(env, "RBOOT_FORCE"))
    with named(Path(web_root.path), env):
        published = webroot.publish(
            Path(web_root.path),
            bundles,
            in_folders=web_root.total > 1 or None,
            force=forced or all(".dirty" in bundle.release.version for bundle in bundles),
            fewer_roms=forced,
            allow_downgrade=bool(is_on(env, "RBOOT_ALLOW_DOWNGRADE")),
        )
    return [line for each in published for line in report.published(each, place(each.folder, env))]


def _copy(web_root: WebRoot, tree: dict[str, bytes], env: Any) -> list[str]:
    """The ROMs and nothing else, for want of a version; what there is to say."""
    found = unversioned.publish(tree, Path(web_root.path))
    return [f"{place(each.path, env)}  {each.size:,} bytes{'' if each.changed else ', unchanged'}" for each in found]


def _tree(web_root: WebRoot) -> dict[str, bytes]:
    """The files for the web root, checked. Raises PublishError."""
    contents = {name: [rom.get_contents() for rom in app.roms] for name, app in web_root.apps.items()}
    kinds = {name: app.layout.loader.irom_checksum for name, app in web_root.apps.items()}
    tree = unversioned.web_tree(
        contents,
        kinds,
        in_folders=web_root.total > 1,
        checksum_files=any(app.checksum_files for app in web_root.apps.values()),
    )
    changed = {tree[name] for name in unversioned.to_publish(tree, Path(web_root.path))}
    for name, app in web_root.apps.items():
        if app.built_here:
            for rom, data in zip(app.roms, contents[name]):
                if data in changed or app.with_elfs:
                    _check_packed(name, rom, data)
        else:
            release.check_app(name, contents[name], app.layout.slots)
    return tree


def _check_packed(name: str, rom: Any, data: bytes) -> None:
    """Raise PublishError unless the ROM is what its ELF packs to, whatever came between: another scons, an editor."""
    packing = rom.attributes.rboot_packing
    try:
        expected = packing.pack(packing.read()).to_bytes()
    except (RbootError, OSError) as error:
        raise PublishError(f"{rom} of {name} is not published: {packing.elf}: {error}") from None
    if data != expected:
        raise PublishError(
            f"{rom} of {name} is not published: it is not what {packing.elf} packs to; delete it and build again"
        )

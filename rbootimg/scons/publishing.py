"""What `scons publish` does: check all that is to be published, then publish it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..errors import CheckoutError, PublishError, RbootError, VersionError
from ..release import bundle as release
from ..release import manifest, names, unversioned, version, webroot
from ..views import release as report
from . import proving
from .actions import format_error
from .apps import App, WebRoot, named, place, provable, web_roots
from .variables import CheckoutVersion


def write_web_roots(target: Any, env: Any) -> None:
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
    proving.prove_pending([app.claim for app in apps if app.claim and not app.may_be_unproved], env)
    unproved = [
        name
        for _, web_root in trees
        for name, app in web_root.apps.items()
        if app.may_be_unproved and not _proved_by(app)
    ]
    if unproved:
        sys.stderr.write(f"rboot: published without a proof: {', '.join(unproved)}: {proving.NO_QEMU}\n")
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
    if app.claim is None or (app.may_be_unproved and not proving.is_proved(app.claim)):
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
                raise VersionError(
                    f"{alone[0]} has files that only a release can have: {error}", hint=error.hint
                ) from None
            sys.stderr.write(f"rboot: published without releases: {format_error(error)}\n")
            return []
        built = next((found for found in versions.values() if isinstance(found, CheckoutVersion)), "")
        if built != now:  # the ROMs may say which version they are
            raise PublishError(
                f"the checkout was {built or 'without a version'} when this build began, and is {now} now; "
                "run scons again"
            )
    return [
        release.make_bundle(
            name,
            str(versions[name]),
            [rom.get_contents() for rom in app.roms],
            app.layout,
            _release_options(app),
        )
        for name, app in web_root.apps.items()
    ]


def _release_options(app: App) -> release.ReleaseOptions:
    return release.ReleaseOptions(
        device=app.device or manifest.DEVICE,
        date=version.source_date(os.environ),
        proved_by=_proved_by(app),
        elfs=[rom.attributes.rboot_packing.elf.get_contents() for rom in app.roms] if app.with_elfs else (),
        data_files={file: node.get_contents() for file, node in app.files.items()},
        recovery=_recovery(app),
        checksum_files=app.checksum_files,
        same_build=app.built_here,
        display_names={names.RECOVERY: str(app.recovery.rom)} if app.recovery else {},
    )


def _recovery(app: App) -> release.RecoveryRom | None:
    if not app.recovery:
        return None
    proved_by = _proved_by(app) if provable(app.recovery, len(app.roms)) else None
    return release.RecoveryRom(app.recovery.number, app.recovery.rom.get_contents(), proved_by)


def _release(web_root: WebRoot, bundles: list[release.Bundle], env: Any) -> list[str]:
    """Make `bundles` the current releases; what there is to say."""
    forced = {name for name, app in web_root.apps.items() if app.force}
    # What was not committed is built again under one version, in development.
    uncommitted = {bundle.release.app for bundle in bundles if ".dirty" in bundle.release.version}
    with named(Path(web_root.path), env):
        published = webroot.publish(
            Path(web_root.path),
            bundles,
            in_folders=web_root.total > 1 or None,
            force=forced | uncommitted,
            allow_missing_roms=forced,
            allow_downgrade={name for name, app in web_root.apps.items() if app.allow_downgrade},
        )
    return [line for each in published for line in report.published(each, place(each.folder, env))]


def _copy(web_root: WebRoot, tree: dict[str, bytes], env: Any) -> list[str]:
    """The ROMs and nothing else, for want of a version; what there is to say."""
    found = unversioned.publish_files(tree, Path(web_root.path))
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
    changed = {tree[name] for name in unversioned.changed_files(tree, Path(web_root.path))}
    for name, app in web_root.apps.items():
        if app.built_here:
            for rom, data in zip(app.roms, contents[name]):
                if data in changed or app.with_elfs:
                    _check_packed(name, rom, data)
        else:
            release.check_same_app(name, contents[name], app.layout.slots)
    return tree


def _check_packed(name: str, rom: Any, data: bytes) -> None:
    """Raise PublishError unless the ROM is what its ELF packs to, whatever came between: another scons, an editor."""
    packing = rom.attributes.rboot_packing
    try:
        expected = packing.pack(packing.read()).to_bytes()
    except (RbootError, OSError) as error:
        raise PublishError(f"not published: {packing.elf}: {error}", subject=f"{rom} of {name}") from None
    if data != expected:
        raise PublishError(
            f"not published: it is not what {packing.elf} packs to; delete it and build again",
            subject=f"{rom} of {name}",
        )

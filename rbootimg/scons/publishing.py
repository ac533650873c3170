"""The action of `scons publish`: check all files, prove the ROMs, then publish."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from ..errors import CheckoutError, PublishError, RbootError, VersionError
from ..layout.model import Slot
from ..release import bundle as release
from ..release import elfarchive, manifest, names, unversioned, version, webroot
from ..release.signing import Signer
from ..views import build as report
from ..views.messages import Style, print_warning, styled
from ..views.progress import progress
from ..views.release import new_key
from . import proving
from .apps import App, WebRoot, display_path, recovery_to_prove, web_root_subject, web_roots
from .frontend import front_end
from .signing import signer_of
from .summary import print_roms
from .users import format_error
from .variables import CheckoutVersion


def write_web_roots(target: Any, env: Any) -> None:
    """Publish the applications of a target. Nothing is written before everything is checked and proved."""
    roots = web_roots(target, env)
    files = _collect_files(roots)
    silent = bool(env.GetOption("silent"))
    print_roms(env, _slots(roots))
    _prove_roms(roots, env)
    _warn_of_unproved(roots, env)
    signer = signer_of(env)
    bundles = [_make_bundles(root, signer is not None, env) for root in roots]
    lines: list[str] = []
    with progress(f"publishing to {display_path(roots[0].path, env)}", silent=silent):
        for root, root_files, root_bundles in zip(roots, files, bundles):
            if root_bundles:
                lines += _publish_release(root, root_bundles, signer, env)
            else:
                lines += _publish_files(root, root_files, env)
            _archive_elfs(root)
    if not silent:
        sys.stdout.write("".join(f"{styled(line, Style.GREEN)}\n" for line in lines))
        hints = (f"serve it with: {command}" for command in _serve_commands(target, env))
        sys.stdout.write("".join(f"{styled(hint, Style.DIM)}\n" for hint in hints))


def _slots(roots: list[WebRoot]) -> dict[Any, Slot | None]:
    """The ROMs to publish, with the slots that they are published for."""
    slots: dict[Any, Slot | None] = {}
    for app in (app for root in roots for app in root.apps.values()):
        numbered = [*enumerate(app.roms), *([app.recovery] if app.recovery else [])]
        known = app.layout.slots
        slots |= {rom: known[at] if at < len(known) else None for at, rom in numbered}
    return slots


def _serve_commands(target: Any, env: Any) -> list[str]:
    """The commands that serve the web roots of a target; none if `scons serve` is a target of the project's own."""
    roots = target[0].attributes.rboot_web_roots.values()
    if len(roots) > 1:
        return [shlex.join(("rbootimg", "serve", "--web-root", display_path(root.path, env))) for root in roots]
    if not getattr(env.Alias("serve")[0].attributes, "rboot", None):
        return []
    return [front_end(env).command(env, "serve")]


def _collect_files(roots: list[WebRoot]) -> list[dict[str, bytes]]:
    """The checked files of each web root, by path. Raises PublishError if two web roots or the build share a file."""
    files = [_files_of(root) for root in roots]
    roms = [rom for root in roots for app in root.apps.values() for rom in app.roms]
    built = {os.path.realpath(rom.get_abspath()) for rom in roms}
    owners: dict[str, str] = {}
    for root, root_files in zip(roots, files):
        for name in root_files:
            path = os.path.realpath(os.path.join(root.path, name))
            owner = owners.setdefault(path, root.path)
            if owner != root.path:
                raise PublishError(
                    f"would be in two web roots, {owner} and {root.path}; use separate directories", subject=path
                )
            if path in built:
                raise PublishError("would be overwritten by publishing; use another RBOOT_WEBROOT", subject=path)
    return files


def _prove_roms(roots: list[WebRoot], env: Any) -> None:
    """Prove the ROMs that must be proved and are not yet. Raises ProofError."""
    apps = [app for root in roots for app in root.apps.values()]
    proving.prove_pending([app.proof_request for app in apps if app.proof_request and not app.proof_is_optional], env)


def _warn_of_unproved(roots: list[WebRoot], env: Any) -> None:
    """Warn of ROMs that are published without a proof because QEMU is missing."""
    unproved = [
        name for root in roots for name, app in root.apps.items() if app.proof_is_optional and not _proving_loader(app)
    ]
    if unproved:
        reason = front_end(env).translate(proving.NO_QEMU)
        print_warning("rboot", f"published without a proof: {', '.join(unproved)}: {reason}")


def _proving_loader(app: App) -> str | None:
    """The name of the loader with which the ROMs were proved, None if they are not. Called after _prove_roms()."""
    request = app.proof_request
    if request is None or (app.proof_is_optional and not proving.is_proved(request)):
        return None
    return str(request.loader.name)


def _make_bundles(web_root: WebRoot, is_signed: bool, env: Any) -> list[release.Bundle]:
    """The releases for a web root, none if the project is unversioned. Raises PublishError or VersionError."""
    versions = {name: app.version for name, app in web_root.apps.items()}
    top = Path(env.Dir("#").get_abspath())
    if any(isinstance(each, CheckoutVersion) or not each for each in versions.values()):
        try:
            now = version.from_git(top)
        except CheckoutError:
            raise
        except VersionError as error:
            if any(versions.values()) or webroot.has_releases(Path(web_root.path)):
                raise
            if is_signed:
                raise VersionError(f"a signature needs a release: {error}", hint=error.hint) from None
            if needing := [name for name, app in web_root.apps.items() if app.files or app.recovery or app.notes]:
                raise VersionError(
                    f"data files, recovery ROMs and release notes need a release: {error}",
                    subject=needing[0],
                    hint=error.hint,
                ) from None
            reason = front_end(env).translate(format_error(error))
            print_warning("rboot", f"published without releases: {reason}")
            return []
        built = next((each for each in versions.values() if isinstance(each, CheckoutVersion)), "")
        if built != now:  # the ROMs may contain the version
            raise PublishError(
                f"the checkout changed from {built or 'none'} to {now} during the build; run scons again"
            )
    date = version.release_date(os.environ, top)
    tag_notes = {each: version.tag_notes(top, each) for each in {*versions.values()}}
    return [
        release.make_bundle(
            name,
            str(versions[name]),
            [rom.get_contents() for rom in app.roms],
            app.layout,
            _release_options(app, date, app.notes.get_contents() if app.notes else tag_notes[app.version]),
        )
        for name, app in web_root.apps.items()
    ]


def _release_options(app: App, date: str | None, notes: bytes | None) -> release.ReleaseOptions:
    display_names = {names.RECOVERY: str(app.recovery.rom)} if app.recovery else {}
    display_names[names.NOTES] = str(app.notes or f"message of the git tag of {app.version}")
    return release.ReleaseOptions(
        device=app.device or manifest.DEVICE,
        date=date,
        proved_by=_proving_loader(app),
        elfs=[rom.attributes.rboot_packing.elf.get_contents() for rom in app.roms] if app.with_elfs else (),
        data_files={file: node.get_contents() for file, node in app.files.items()},
        file_regions=app.file_regions,
        recovery=_release_recovery(app),
        checksum_files=app.checksum_files,
        notes=notes,
        same_build=app.built_here,
        display_names=display_names,
    )


def _release_recovery(app: App) -> release.RecoveryRom | None:
    if not app.recovery:
        return None
    proved_by = _proving_loader(app) if recovery_to_prove(app.recovery, len(app.roms)) else None
    return release.RecoveryRom(app.recovery.number, app.recovery.rom.get_contents(), proved_by)


def _publish_release(web_root: WebRoot, bundles: list[release.Bundle], signer: Signer | None, env: Any) -> list[str]:
    """Make `bundles` the current releases. Returns the lines to print."""
    forced = {name for name, app in web_root.apps.items() if app.force}
    # During development the same version is built again and again from uncommitted changes.
    uncommitted = {bundle.release.app for bundle in bundles if ".dirty" in bundle.release.version}
    with web_root_subject(Path(web_root.path), env):
        published = webroot.publish(
            Path(web_root.path),
            bundles,
            in_directories=web_root.in_directories or None,
            force=forced | uncommitted,
            allow_missing_roms=forced,
            allow_downgrade={name for name, app in web_root.apps.items() if app.allow_downgrade},
            signer=signer,
        )
    for each in published:
        if warning := new_key(each):
            print_warning("rboot", warning)
    return [report.published_line(each, display_path(each.directory, env)) for each in published]


def _publish_files(web_root: WebRoot, files: dict[str, bytes], env: Any) -> list[str]:
    """Publish plain ROMs, for projects without a version. Returns the lines to print."""
    published = {each.path: each for each in unversioned.publish_files(files, Path(web_root.path))}
    lines = []
    for name, app in web_root.apps.items():
        directory = Path(web_root.path, name) if web_root.in_directories else Path(web_root.path)
        roms = [published[directory / names.rom_name(number)] for number in range(len(app.roms))]
        changed = any(each.changed for each in published.values() if each.path.parent == directory)
        sizes = [rom.size for rom in roms]
        place = display_path(directory, env)
        lines.append(report.published_files_line(name, place, sizes, _proving_loader(app), changed))
    return lines


def _archive_elfs(web_root: WebRoot) -> None:
    """Keep the ELFs of the published ROMs. What fails here is a warning, as the release is published."""
    for name, app in web_root.apps.items():
        if app.elf_archive is None:
            continue
        roms = {f"rom{number}": rom for number, rom in enumerate(app.roms)}
        roms |= {"recovery": app.recovery.rom} if app.recovery else {}
        built = [
            elfarchive.BuiltRom(rom_name, rom.get_contents(), rom.attributes.rboot_packing.data())
            for rom_name, rom in roms.items()
            if hasattr(rom.attributes, "rboot_packing")
        ]
        try:
            elfarchive.store_elfs(app.elf_archive, name, app.version, built)
        except OSError as error:
            print_warning(f"rboot: {name}", elfarchive.failure(error))


def _files_of(web_root: WebRoot) -> dict[str, bytes]:
    """The files of one web root without releases, by path. Raises PublishError if ROMs do not belong together."""
    contents = {name: [rom.get_contents() for rom in app.roms] for name, app in web_root.apps.items()}
    files = unversioned.web_tree(
        contents,
        {name: app.layout.loader.irom_checksum for name, app in web_root.apps.items()},
        in_directories=web_root.in_directories,
        checksum_files=any(app.checksum_files for app in web_root.apps.values()),
    )
    changed = {files[name] for name in unversioned.changed_files(files, Path(web_root.path))}
    for name, app in web_root.apps.items():
        if app.built_here:
            for rom, data in zip(app.roms, contents[name]):
                if data in changed or app.with_elfs:
                    _check_packed(name, rom, data)
        else:
            release.check_same_app(name, contents[name], app.layout.slots)
    return files


def _check_packed(name: str, rom: Any, data: bytes) -> None:
    """Raise PublishError unless the ROM is what its ELF packs to: another program may have changed either file."""
    packing = rom.attributes.rboot_packing
    subject = f"{rom} of {name}"
    try:
        expected = packing.pack(packing.read()).to_bytes()
    except RbootError as error:
        raise PublishError(f"not published: {packing.elf}: {error}", subject=subject) from None
    except OSError as error:
        raise PublishError(f"not published: {packing.elf}: {error.strerror}", subject=subject) from None
    if data != expected:
        raise PublishError(
            f"not published: content differs from what {packing.elf} packs to; delete it and build again",
            subject=subject,
        )

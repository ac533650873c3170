"""RbootPublish and the `publish` target: ROMs into web roots."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SCons.Errors

from .. import publish, release, report, version, webroot
from ..errors import CheckoutError, LayoutError, PublishError, RbootError, ServerError, VersionError
from ..flashmap import FlashMap
from . import proof, targets
from .actions import action, nodes, said
from .variables import CheckoutVersion, expand, flash_map, for_call, is_on, text, version_of


@dataclass(frozen=True)
class _App:
    """An application's ROMs, in the order of the slots of `layout`.

    Those that RbootApp built together, of one set of objects, need no proof of being one application. Without a `claim`
    nothing is known of a proof that they boot, or wanted; `may_be_unproved` says that they go out without one too, for
    want of QEMU.
    """

    roms: list[Any]
    layout: FlashMap
    built_here: bool
    claim: proof.Claim | None
    may_be_unproved: bool
    version: str
    device: str
    with_elfs: bool


@dataclass(frozen=True)
class _WebRoot:
    """A web root, as the user names it first, and the applications in it by name."""

    path: str
    apps: dict[str, _App]


def rboot_publish(env: Any, name: str, roms: Any, **overrides: object) -> Any:
    """Let `scons publish` put `roms`, in slot order, into $RBOOT_WEBROOT as those of application `name`."""
    env = for_call(env, overrides)
    name = app_name(env, name)
    roms = nodes(env, name, roms)
    try:
        found = flash_map(env)
        # Other ROMs of that name may be published from the same folder, into another web root.
        proof_name = f"{os.path.basename(name)}-{os.path.splitext(roms[0].name)[0]}-proof.json"
        return add(env, name, roms, found, proof_name, built_here=False)
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None


def app_name(env: Any, name: object) -> str:
    """The name of an application, which may have folders before it. Raises UserError if it cannot be one."""
    if not isinstance(name, str):
        raise SCons.Errors.UserError(f"rboot: an application cannot be called {name!r}; give its name as a text")
    try:
        full = expand(env, "its name", name)
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {error}") from None
    last = os.path.basename(full)
    if last in ("", ".", "..") or last.startswith("#") or "\0" in full or "\\" in full:
        raise SCons.Errors.UserError(
            f"rboot: an application cannot be called {full!r}; its name becomes a folder of the web root"
        )
    return full


def add(env: Any, name: str, roms: list[Any], found: FlashMap, proof_name: str, built_here: bool) -> Any:
    """Let `scons publish` publish the `roms`, of the layout `found`, under the last part of `name`.

    Before that they are proved, if that is wanted and it is known what they were packed from; the file `proof_name`
    beside them says so. Raises LayoutError or UserError.

    The web root's files are no SCons targets: SCons deletes targets before it builds them and when it
    cleans, and a device may be fetching just then. So the alias itself has the action; it runs once,
    after all ROMs are built, and knows all applications.
    """
    alias = env.Alias("publish")[0]
    if not hasattr(alias.attributes, "rboot_web_roots"):
        alias = env.AlwaysBuild(env.Alias("publish", roms, action(_write_web_roots, "$RBOOTPUBLISHCOMSTR")))[0]
        alias.attributes.rboot_web_roots = {}
        for other, act in (("releases", _releases), ("rollback", _rollback), ("serve", _serve)):
            # Nothing is built for these: they are about what was published.
            targets.add(env, other, [], act).attributes.rboot_web_roots = alias.attributes.rboot_web_roots
    else:
        env.Depends(alias, roms)  # not Alias(), whose time grows with the square of the ROMs
    place = _web_root(env, name)
    web_root = alias.attributes.rboot_web_roots.setdefault(os.path.realpath(place), _WebRoot(place, {}))
    name = os.path.basename(name)
    known = all(hasattr(rom.attributes, "rboot_packing") for rom in roms)
    proving = proof.wanted(env, known)
    known = known and len(roms) <= len(found.slots)
    claim = _claim(env, name, proof_name, roms, found) if known else None
    if claim and (proving or (proving is None and claim.file.exists())):
        env.Depends(alias, claim.loader)
    else:
        claim = None
    app = _App(
        roms,
        found,
        built_here,
        claim,
        may_be_unproved=known and proving is None,
        version=version_of(env),
        device=text(env, "RBOOT_DEVICE"),
        with_elfs=bool(is_on(env, "RBOOT_PUBLISH_ELFS")) and known,
    )
    if web_root.apps.setdefault(name, app) is not app:
        raise SCons.Errors.UserError(
            f"rboot: there are two applications called {name}; rename one or give it another RBOOT_WEBROOT"
        )
    return alias


def _claim(env: Any, name: str, proof_name: str, roms: list[Any], found: FlashMap) -> proof.Claim:
    try:
        file = roms[0].dir.File(proof_name)
    except TypeError as error:  # which SCons raises for a folder
        raise SCons.Errors.UserError(f"rboot: {name}: {error}") from None
    return proof.claim(env, name, file, roms, found)


def _web_root(env: Any, app: str) -> str:
    """$RBOOT_WEBROOT, as SCons reads a folder; not as its node, which fails with a traceback for a file."""
    try:
        name = text(env, "RBOOT_WEBROOT") or "#build/webroot"
        if "\0" in name:
            raise LayoutError(f"RBOOT_WEBROOT is {name!r}, which is no folder's name")
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {app}: {error}") from None
    if name.startswith("#"):
        return os.path.normpath(os.path.join(env.Dir("#").get_abspath(), name[1:].lstrip("/")))
    return os.path.normpath(os.path.join(env.Dir(".").get_abspath(), name))


def _write_web_roots(target: Any, source: Any, env: Any) -> None:
    """Check all that is to be published, then publish it."""
    trees: list[tuple[dict[str, bytes], _WebRoot]] = []
    owners: dict[str, str] = {}
    built = {os.path.realpath(str(node.get_abspath())) for node in source}
    for web_root in target[0].attributes.rboot_web_roots.values():
        tree = _tree(web_root)
        for file in tree:
            place = os.path.realpath(os.path.join(web_root.path, file))
            if owners.setdefault(place, web_root.path) != web_root.path:
                raise PublishError(
                    f"the web roots {owners[place]} and {web_root.path} both have a {place}; keep them apart"
                )
            if place in built:
                raise PublishError(f"{place} is built here, and would be published there; choose another RBOOT_WEBROOT")
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


def _proved_by(app: _App) -> str | None:
    """The loader with which the ROMs were proved; those that had to be are, by now."""
    if app.claim is None or (app.may_be_unproved and not proof.is_proved(app.claim)):
        return None
    return str(app.claim.loader.name)


def _bundles(web_root: _WebRoot, env: Any) -> list[release.Bundle]:
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
            device=app.device or release.DEVICE,
            date=version.source_date(os.environ),
            elfs=[rom.attributes.rboot_packing.elf.get_contents() for rom in app.roms] if app.with_elfs else (),
            proved_by=_proved_by(app),
            one_build=app.built_here,
        )
        for name, app in web_root.apps.items()
    ]


def _release(web_root: _WebRoot, bundles: list[release.Bundle], env: Any) -> list[str]:
    """Make `bundles` the current releases; what there is to say."""
    # What was not committed is built anew under one version, on the desk.
    forced = bool(is_on(env, "RBOOT_FORCE"))
    with _named(Path(web_root.path), env):
        published = webroot.publish(
            Path(web_root.path),
            bundles,
            force=forced or all(".dirty" in bundle.release.version for bundle in bundles),
            fewer_roms=forced,
            allow_downgrade=bool(is_on(env, "RBOOT_ALLOW_DOWNGRADE")),
        )
    return [line for each in published for line in report.published(each, _place(each.folder, env))]


def _copy(web_root: _WebRoot, tree: dict[str, bytes], env: Any) -> list[str]:
    """The ROMs and nothing else, for want of a version; what there is to say."""
    found = publish.publish(tree, Path(web_root.path))
    return [f"{_place(each.path, env)}  {each.size:,} bytes{'' if each.changed else ', unchanged'}" for each in found]


def _place(path: Path, env: Any) -> str:
    return os.path.relpath(path, env.Dir("#").get_abspath())


@contextlib.contextmanager
def _named(web_root: Path, env: Any) -> Iterator[None]:
    """Let errors name the web root that they are about."""
    try:
        yield
    except (PublishError, ServerError) as error:
        raise PublishError(f"{_place(web_root, env)}: {error}", error.way) from None


def _only(target: Any) -> Path:
    """The web root that a target is about."""
    paths = [web_root.path for web_root in target[0].attributes.rboot_web_roots.values()]
    if len(paths) > 1:
        raise PublishError(f"there are {len(paths)} web roots; use `rbootimg {target[0]} --web-root FOLDER` for one")
    return Path(paths[0])


def _releases(target: Any, source: Any, env: Any) -> None:
    place = _only(target)
    with _named(place, env):
        sys.stdout.write(report.releases(webroot.releases(place)))


def _rollback(target: Any, source: Any, env: Any) -> None:
    place = _only(target)
    forced = bool(is_on(env, "RBOOT_FORCE"))
    with _named(place, env):
        found = webroot.rollback_all(place, text(env, "RBOOT_ROLLBACK") or None, fewer_roms=forced)
    for back in found:
        sys.stdout.write("".join(f"  {line}\n" for line in report.rolled_back(back, _place(back.folder, env))))


def _serve(target: Any, source: Any, env: Any) -> None:
    from ..server import Options
    from ..serverview import serve_and_show  # not for every build

    port = text(env, "RBOOT_SERVE_PORT") or "8080"
    if not port.isdecimal() or int(port) > 65535:
        raise PublishError(f"RBOOT_SERVE_PORT is {port!r}; write 1 to 65535, or 0 for a free port")
    place = _only(target)
    with _named(place, env):
        serve_and_show(place, "0.0.0.0", int(port), Options())


def _tree(web_root: _WebRoot) -> dict[str, bytes]:
    """The files for the web root, checked. Raises PublishError."""
    contents = {name: [rom.get_contents() for rom in app.roms] for name, app in web_root.apps.items()}
    kinds = {name: app.layout.loader.irom_checksum for name, app in web_root.apps.items()}
    tree = publish.web_tree(contents, kinds)
    changed = {tree[name] for name in publish.to_publish(tree, Path(web_root.path))}
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

"""Releases as lines and tables for a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..text import counted
from .messages import Style, styled
from .tables import Heading, Table, plain

if TYPE_CHECKING:  # to start the command line faster
    from ..release.finding import Finding
    from ..release.history import ListedRelease
    from ..release.manifest import Release
    from ..release.update import UpdateFile
    from ..release.webroot import Published


def published(result: Published, directory: str = "") -> list[str]:
    """Describe a publication, with a line for each file; `directory` is the application's directory."""
    from ..release.webroot import Outcome

    release = result.release
    if result.outcome is Outcome.REPAIRED:
        return [f"{release.app} {release.version} repaired; {result.before} is still current"]
    line = f"{release.app} {release.version} is current"
    is_switched = result.outcome not in (Outcome.UNCHANGED, Outcome.ANNOUNCED)
    repaired = result.outcome is Outcome.SWITCHED and result.before == release.version
    if repaired or not is_switched:
        line += f" already{'; its files were repaired' * repaired}"
    elif result.outcome is Outcome.REPLACED:
        line += "; the release of this version was replaced"
    elif result.before:
        line += f" (previously {result.before})"
    line += about_update(result) + omission_text(result)
    return [line] if repaired or not is_switched else [line, *_files(release, directory)]


def omission_text(result: Published) -> str:
    """Say at the end of a line what was not published because the stored release was kept; empty for nothing."""
    if not result.omitted:
        return ""
    names = " and ".join(omission.value for omission in result.omitted)
    return f"; the stored release has the same ROMs and was kept, without the new {names}"


def rolled_back(result: Published, directory: str = "") -> list[str]:
    """Describe a rollback, with a line for each file; `directory` is the application's directory."""
    from ..release.webroot import Outcome

    release = result.release
    if result.outcome is not Outcome.SWITCHED or result.before == release.version:
        return published(result)
    instead = f" instead of {result.before}" if result.before else ""
    line = f"{release.app} {release.version} is current again{instead}{about_update(result)}"
    return [line, *_files(release, directory)]


def about_update(result: Published) -> str:
    """Return what to add to a line about a publication: whether only the update file is new, and its key."""
    from ..release.signing import signer_name
    from ..release.webroot import Outcome

    name = signer_name(result.update.signed) if result.update else None
    text = "; its update file is new" if result.outcome is Outcome.ANNOUNCED else ""
    return f"{text}, signed with {name}" if name else text


def new_key(result: Published) -> str | None:
    """Describe, for a warning, that another key than before signed the update file; None if it did not."""
    from ..release.signing import describe_signer

    if not (result.update and result.update_before and result.update_before.signed.number):
        return None
    now, before = result.update.signed, result.update_before.signed
    if now.number == before.number:
        return None
    return (
        f"{result.release.app} is signed with {describe_signer(now)}, before with {describe_signer(before)}; devices "
        "that have only the old key refuse it"
    )


def _files(release: Release, directory: str) -> list[str]:
    files = {rom.file.name: rom.file for rom in release.roms}
    others = ((release.recovery.file,) if release.recovery else ()) + release.data_files
    others += (release.notes,) if release.notes else ()
    files |= {f"{release.directory}/{file.name}": file for file in others}
    return [
        f"  {os.path.join(directory, name)}  {counted(file.size, 'byte')}  sha256 {file.sha256}"
        for name, file in files.items()
    ]


def releases(listed: Mapping[str, Sequence[ListedRelease]], updates: Mapping[str, UpdateFile | None]) -> str:
    """List the releases of each application, one per line, below its name and the key of its update file."""
    from ..release.signing import signer_name

    blocks: list[Heading | Table] = []
    for app, every in listed.items():
        rows = tuple(
            (
                each.version,
                each.label,
                each.release.date or "" if each.release else "",
                file_sizes(each.release),
            )
            for each in every
        )
        update = updates.get(app)
        key = signer_name(update.signed) if update else None
        blocks += (Heading(f"{app}, signed with {key}" if key else app), Table((), rows, "<<<<"))
    return f"{plain(blocks)}\n" if blocks else ""


def file_sizes(release: Release | None) -> str:
    """Return the sizes of a release's ROMs, its recovery ROM and its data files, for a table."""
    if release is None:
        return "manifest unreadable"
    sizes = " + ".join(f"{rom.file.size:,}" for rom in release.roms) + " bytes"
    if release.recovery:
        sizes += f", recovery {release.recovery.file.size:,} bytes"
    if release.data_files:
        total = sum(file.size for file in release.data_files)
        sizes += f", {counted(len(release.data_files), 'file')} ({counted(total, 'byte')})"
    return sizes


def finding(found: Finding) -> str:
    """Describe a finding of a check in one line, for stdout: a fault has its path red."""
    if found.fault:
        return f"{styled(f'{found.path}:', Style.RED)} {found.text}"
    return f"{found.path}: {styled('note:', Style.BOLD)} {found.text}"

"""Publish ROMs without a version: only the ROMs, each file replaced in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import FitError, PublishError, RomError, WebRootError
from ..fileio import not_a_directory, resolve, sha256_hex, write_atomic
from ..rom import fit
from .names import check_app_name, checksum_line, checksum_name, rom_name
from .storage import FILE_MODE, has_content, make_directory


@dataclass(frozen=True)
class PublishedFile:
    """A file of the web root; `changed` if it was written, not if it had the same content before."""

    path: Path
    size: int
    changed: bool


def web_tree(
    apps: Mapping[str, Sequence[bytes]],
    irom_checksums: Mapping[str, bool] = MappingProxyType({}),
    *,
    in_directories: bool | None = None,
    checksum_files: bool = False,
) -> dict[str, bytes]:
    """Return the files for the web root by path. `apps` maps application names to ROMs in slot order.

    A single application has rom0.bin, rom1.bin in the web root itself, where rBoot's OTA samples request them; several
    applications have a directory each, with `in_directories` a single one too. `irom_checksums` tells which kind of
    checksum an application's ROMs must have. With `checksum_files` each ROM has a file such as rom0.bin.sha256 right
    after it, as in a release. Raises PublishError for an invalid ROM, SettingError for an invalid application name.
    """
    files = {}
    in_directories = in_directories or len(apps) > 1
    for app, roms in apps.items():
        check_app_name(app)
        for number, data in enumerate(roms):
            name = f"{app}/{rom_name(number)}" if in_directories else rom_name(number)
            try:
                fit.read(data, irom_checksums.get(app))
            except (RomError, FitError) as error:
                raise PublishError(f"not published: {error}", subject=f"{rom_name(number)} of {app}") from None
            files[name] = data
            if checksum_files:
                files[checksum_name(name)] = checksum_line(rom_name(number), sha256_hex(data))
    return files


def changed_files(files: Mapping[str, bytes], web_root: Path) -> frozenset[str]:
    """Return the names of those `files` whose content is not in `web_root` yet. Raises WebRootError."""
    try:
        resolve(web_root)  # raises for a link that leads nowhere
        return frozenset(name for name, data in files.items() if not has_content(web_root / name, data))
    except OSError as error:
        raise WebRootError(f"cannot read the web root: {error.strerror}", subject=error.filename) from None


def publish_files(files: Mapping[str, bytes], web_root: Path) -> tuple[PublishedFile, ...]:
    """Write `files` to `web_root`, which is created if it is missing.

    A file with the same content is left alone; any other is replaced in one step, so that a download in progress
    finishes with the old bytes. Nothing is deleted. Raises WebRootError if the web root cannot be written.
    """
    published = []
    for name, data in files.items():
        path = web_root / name
        try:
            resolve(web_root)
            changed = not has_content(path, data)
            if changed:
                make_directory(path.parent)
                write_atomic(path, data, durable=True, mode=FILE_MODE)
        except (FileExistsError, NotADirectoryError) as error:
            obstacle = Path(error.filename or path)
            raise WebRootError(f"cannot write the web root: {not_a_directory(obstacle)}", subject=obstacle) from None
        except OSError as error:
            reason = f"cannot write the web root: {error.strerror}"
            raise WebRootError(reason, subject=error.filename or path) from None
        published.append(PublishedFile(path, len(data), changed))
    return tuple(published)

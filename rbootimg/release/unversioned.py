"""ROMs into a web root, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import FitError, PublishError, RomError, SettingError, WebRootError
from ..fileio import not_a_directory, resolve, write_atomic
from ..rom import fit
from .manifest import checksum_line, checksum_name, digest, rom_name
from .storage import FILE_MODE, has_content, make_folder


@dataclass(frozen=True)
class PublishedFile:
    """A file of the web root; `changed` if it was written, not if it stood there already."""

    path: Path
    size: int
    changed: bool


def web_tree(
    apps: Mapping[str, Sequence[bytes]],
    irom_checksums: Mapping[str, bool] = MappingProxyType({}),
    *,
    in_folders: bool | None = None,
    checksum_files: bool = False,
) -> dict[str, bytes]:
    """The web root's files for `apps`, from the name of each to its ROMs in slot order.

    A single app has `rom0.bin`, `rom1.bin` at the root, where rBoot's OTA samples look for them; of several, each has
    a folder of its name, with `in_folders` a single one too. `irom_checksums` says of an app which kind of checksum its
    ROMs must have. With `checksum_files` each ROM has a file such as rom0.bin.sha256 right after it, as a release has.
    Raises PublishError for a ROM that is not sound, SettingError for a name that is no folder's.
    """
    files = {}
    in_folders = in_folders or len(apps) > 1
    for app, roms in apps.items():
        if app in ("", ".", "..") or "/" in app or "\\" in app or "\0" in app:
            raise SettingError(f"an application cannot be called {app!r}; its name becomes a folder of the web root")
        for number, data in enumerate(roms):
            name = f"{app}/{rom_name(number)}" if in_folders else rom_name(number)
            try:
                fit.read(data, irom_checksums.get(app))
            except (RomError, FitError) as error:
                raise PublishError(f"not published: {error}", subject=f"{name} of {app}") from None
            files[name] = data
            if checksum_files:
                files[checksum_name(name)] = checksum_line(rom_name(number), digest(data))
    return files


def to_publish(files: Mapping[str, bytes], web_root: Path) -> frozenset[str]:
    """The names of those `files` that do not stand in `web_root` as they are. Raises WebRootError."""
    try:
        resolve(web_root)  # which tells what is wrong with its links
        return frozenset(name for name, data in files.items() if not has_content(web_root / name, data))
    except OSError as error:
        raise WebRootError(f"the web root cannot be read: {error.strerror}", subject=error.filename) from None


def publish_files(files: Mapping[str, bytes], web_root: Path) -> tuple[PublishedFile, ...]:
    """Put `files` into `web_root`, made if need be, and return what became of each.

    A file that stands there with the same bytes is left alone; another is replaced in one step, so
    a device that is just fetching it gets the old one to the end. Nothing is ever deleted. Raises
    WebRootError if the web root cannot be written.
    """
    published = []
    for name, data in files.items():
        path = web_root / name
        try:
            resolve(web_root)
            changed = not has_content(path, data)
            if changed:
                make_folder(path.parent)
                write_atomic(path, data, durable=True, mode=FILE_MODE)
        except (FileExistsError, NotADirectoryError) as error:
            place = Path(error.filename or path)
            raise WebRootError(f"the web root cannot be written: {not_a_directory(place)}", subject=place) from None
        except OSError as error:
            reason = f"the web root cannot be written: {error.strerror}"
            raise WebRootError(reason, subject=error.filename or path) from None
        published.append(PublishedFile(path, len(data), changed))
    return tuple(published)

"""The ELFs that were published with a release."""

from __future__ import annotations

from pathlib import Path

from ..errors import WebRootError, error_subject
from ..fileio import read_file, sha256_hex
from .manifest import MAX_MANIFEST_SIZE, Release
from .names import MANIFEST


def published_elf(directory: Path, link_address: int) -> bytes:
    """Return the ELF of the ROM with that link address, of a release.

    `directory` is that of the release, releases/VERSION, or that of an application with its current release. Raises
    WebRootError or ManifestError if there is no such ELF, or OSError.
    """
    manifest = directory / MANIFEST
    with error_subject(manifest):
        release = Release.from_json(read_file(manifest, MAX_MANIFEST_SIZE))
        elf = next((rom.elf for rom in release.roms if rom.link_address == link_address and rom.elf), None)
        if elf is None:
            raise WebRootError(
                f"{release.app} {release.version} was published without an ELF linked at {link_address:#x}; publish "
                "with RBOOT_PUBLISH_ELFS=yes or --elf"
            )
    path = directory / elf.name
    if directory.name != release.version:
        path = directory / release.directory / elf.name
    data = read_file(path)
    if sha256_hex(data) != elf.sha256:
        raise WebRootError("does not match its manifest", subject=path)
    return data

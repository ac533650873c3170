"""Check an update file against keys and against the release that it announces. Reads and writes no files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .issuing import update_roms
from .manifest import Release
from .signify import PublicKey
from .signing import describe_signer, key_name, verify
from .update import Update, UpdateFile, encode_name


def signature_problem(file: UpdateFile, keys: Sequence[PublicKey]) -> str | None:
    """Return why devices with `keys` refuse the signature of an update file; None if they accept it."""
    if verify(file.signed, keys):
        return None
    expected = " or ".join(map(key_name, keys))
    if file.signed.number is None:
        return f"not signed: expected a signature of {expected}"
    if any(key.number == file.signed.number for key in keys):
        return f"invalid signature of {expected}"
    return f"signed with {describe_signer(file.signed)}: expected {expected}"


def content_problems(update: Update, release: Release) -> Iterator[str]:
    """Yield the differences between an update file and the release that should be current."""
    expected = {"application": release.app, "device class": release.device, "version": release.version}
    got = {"application": update.app, "device class": update.device, "version": update.version}
    for name, value in expected.items():
        if encode_name(value) != got[name]:
            yield f"{name} {got[name]}: expected {value} as in the manifest"
    if update.version == release.version and update.roms != update_roms(release):
        yield "other ROMs than in the manifest"


def describe_signed(file: UpdateFile, keys: Sequence[PublicKey]) -> str:
    """Describe a signed update file, and whether one of `keys` verified it."""
    update = file.update
    issued = f", issued {update.issued}" if update.issued else ""
    verified = "" if verify(file.signed, keys) else ", not verified"
    return f"serial {update.serial}{issued}, signed with {describe_signer(file.signed)}{verified}"

"""Decide whether a history needs another update file, and make it. Reads and writes no files."""

from __future__ import annotations

from dataclasses import replace

from ..errors import Hint, PublishError
from .history import History
from .manifest import Release
from .signify import SignedMessage, join
from .signing import Signer, is_development, key_name, sign, signature_size, signer_name, verify
from .update import MAX_UPDATE_SIZE, Update, UpdateFile, UpdateRom, is_readable_version


def issue_update(history: History, release: Release, signer: Signer | None, date: str | None) -> History:
    """Return `history` with the update file of its current `release`, signed by `signer`; `date` is for people.

    `history.update` is the last file. It stays while it says the same and is signed by `signer`, if there is one; so
    the serial grows only with what changes for devices.

    Raises PublishError if the last file is signed and there is no `signer`, or only one for development with another
    key; SigningError if the signature cannot be made.
    """
    last = history.update_file
    if last and (signer is None or verify(last.signed, (signer.public,))):
        same = _content(history, release, last.update.serial, last.update.issued)
        if same.to_bytes(MAX_UPDATE_SIZE - len(join(last.signed._replace(message=b"")))) == last.signed.message:
            return history
    _check_key(history.app, last, signer)
    content = _content(history, release, last.update.serial + 1 if last else 1, date)
    message = content.to_bytes(MAX_UPDATE_SIZE - (signature_size(signer.public) if signer else 0))
    return replace(history, update=join(sign(message, signer) if signer else SignedMessage(message)))


def update_roms(release: Release) -> tuple[UpdateRom, ...]:
    """Return the ROMs of a release as its update file has them."""
    return tuple(
        UpdateRom(rom.slot, rom.flash_address, rom.slot_size, rom.file.size, rom.file.sha256) for rom in release.roms
    )


def _content(history: History, release: Release, serial: int, date: str | None) -> Update:
    return Update(
        app=release.app,
        device=release.device,
        version=release.version,
        serial=serial,
        roms=update_roms(release),
        issued=date,
        # Any other was published by an rbootimg without update files, for devices that do not read them.
        withdrawn=tuple(known for known in history.withdrawn if is_readable_version(known)),
    )


def _check_key(app: str, last: UpdateFile | None, signer: Signer | None) -> None:
    if last is None or last.signed.number is None:
        return
    name = signer_name(last.signed)
    if signer is None:
        raise PublishError(f"the update file of {app} is signed with {name}: expected a key", hint=Hint.SIGN)
    if is_development(signer.public) and signer.public.number != last.signed.number:
        raise PublishError(
            f"the update file of {app} is signed with {name}: {key_name(signer.public)} is only for development"
        )

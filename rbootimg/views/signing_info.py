"""The description of an update file or a public key, as headings and tables. No files."""

from __future__ import annotations

from collections.abc import Iterator

from ..release.signify import PublicKey
from ..release.signing import describe_signer, is_development, key_name
from ..release.update import UpdateFile
from ..release.updateinfo import KEY_KIND, SigningInfo
from .tables import Heading, Table


def blocks(name: str, found: SigningInfo) -> list[Heading | Table]:
    """Return the description of the file `name`."""
    kind = "public key of Ed25519" if found.kind == KEY_KIND else "update file"
    is_valid = not found.problems
    heading = Heading(f"{name}: {kind}, {'valid' if is_valid else 'invalid'}", is_valid)
    rows = [("problem", problem) for problem in found.problems]
    rows += [("size", f"{found.size:,} bytes"), ("SHA-256", found.sha256)]
    tables = [Table((), tuple(rows), "<<")]
    if isinstance(found.content, UpdateFile):
        tables += _update(found.content)
    elif isinstance(found.content, PublicKey):
        tables.append(Table((), tuple(_key(found.content)), "<<"))
    return [heading, *tables]


def _update(file: UpdateFile) -> Iterator[Table]:
    update = file.update
    facts = [
        ("app", update.app),
        ("device", update.device),
        ("version", update.version),
        ("serial", str(update.serial)),
    ]
    if update.issued:
        facts.append(("issued", update.issued))
    if update.withdrawn:
        facts.append(("withdrawn", ", ".join(update.withdrawn)))
    if update.rollout is not None:
        facts.append(("rollout", f"{update.rollout / 100:g} % of the devices"))
    signed = f"with {describe_signer(file.signed)}, not verified" if file.signed.number else "no"
    yield Table((), (*facts, ("signed", signed)), "<<")
    rows = (
        (str(rom.slot), f"{rom.flash_address:#x}", f"{rom.size:,}", f"{rom.slot_size:,}", rom.sha256)
        for rom in update.roms
    )
    yield Table(("slot", "address", "bytes", "of", "SHA-256"), tuple(rows), "><>><")
    if update.deltas:
        deltas = (
            (delta.source, str(delta.source_slot), str(delta.slot), f"{delta.size:,}", delta.sha256)
            for delta in update.deltas
        )
        yield Table(("delta from", "in slot", "to slot", "bytes", "SHA-256"), tuple(deltas), "<>>><")


def _key(key: PublicKey) -> Iterator[tuple[str, str]]:
    yield "name", key_name(key)
    yield "number", key.number.hex()
    yield "key", key.key.hex()
    if is_development(key):
        yield "for", "development: it signs no web root that another key signed"

"""The kind and the contents of an update file and of a public key. Reads and writes no files.

JSON, as `rbootimg info` prints it; addresses and sizes are numbers:

    {"kind": "update" or "public key", "size", "sha256", "problems": ["…"], …}

    update      "app", "device" (percent-encoded), "version", "serial", "issued": "2026-11-27" or null,
                "withdrawn": ["1.2.9"], "rollout": hundredths of a percent or null,
                "roms": [{"slot", "flash_address", "slot_size", "size", "sha256"}],
                "deltas": [{"source", "source_slot", "slot", "size", "sha256"}],
                "key": {"name", "number"} or null without a signature, which is not verified
    public key  "name", "number": 16 hex digits, "key": 64 hex digits, "development"
"""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

from ..errors import ManifestError, SettingError
from ..fileio import sha256_hex
from .signify import PublicKey, SignedMessage, is_public_key, parse_public_key
from .signing import is_development, key_name, signer_name
from .update import UpdateFile, parse_update_file


class SigningInfo(NamedTuple):
    """The description of a file. `content` is None if it is invalid."""

    kind: str
    size: int
    sha256: str
    problems: tuple[str, ...]
    content: UpdateFile | PublicKey | None


UPDATE_KIND, KEY_KIND = "update", "public key"


def identify(data: bytes) -> SigningInfo:
    """Describe an update file or a public key."""
    is_key = is_public_key(data)
    content: UpdateFile | PublicKey | None = None
    problems: tuple[str, ...] = ()
    try:
        content = parse_public_key(data) if is_key else parse_update_file(data)
    except (ManifestError, SettingError) as error:
        problems = (error.message,)
    return SigningInfo(KEY_KIND if is_key else UPDATE_KIND, len(data), sha256_hex(data), problems, content)


def as_json(found: SigningInfo) -> dict[str, object]:
    """Return the JSON values that the module's docstring describes."""
    values = {
        "kind": found.kind,
        "size": found.size,
        "sha256": found.sha256,
        "problems": list(found.problems),
    }
    if isinstance(found.content, UpdateFile):
        return {**values, **update_json(found.content)}
    if isinstance(found.content, PublicKey):
        key = found.content
        return {
            **values,
            "name": key_name(key),
            "number": key.number.hex(),
            "key": key.key.hex(),
            "development": is_development(key),
        }
    return values


def update_json(file: UpdateFile) -> dict[str, object]:
    """Return the values of an update file."""
    return {**asdict(file.update), "key": _key_json(file.signed)}


def _key_json(signed: SignedMessage) -> dict[str, object] | None:
    return {"name": signer_name(signed), "number": signed.number.hex()} if signed.number else None

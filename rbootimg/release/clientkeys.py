"""The C header with the keys that the signed update client trusts: rboot-keys.h. No files."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ..errors import SettingError
from .signify import PublicKey

NAME = "rboot-keys.h"
"""The header that ota_signature.c includes if RBOOT_UPDATE_KEYS is defined."""

MAX_KEYS = 4


def keys_header(keys: Sequence[PublicKey]) -> str:
    """Return the header for `keys`: their numbers and points as little-endian words, exactly as many as given.

    Raises SettingError for no key, more than 4, and two that the client could not tell apart.
    """
    if not 1 <= len(keys) <= MAX_KEYS:
        raise SettingError(f"invalid number of keys: expected 1 to {MAX_KEYS}, got {len(keys)}")
    for number, key in enumerate(keys):
        for other in keys[:number]:
            # The client remembers the serial for the first word of the number.
            if other.key == key.key or other.number[:4] == key.number[:4]:
                raise SettingError(f"the same key twice: {other.comment!r} and {key.comment!r}")
    entries = (f"    {{{{{_words(key.number)}}}, {{{_words(key.key)}}}}}" for key in keys)
    return "\n".join(
        (
            "/* Written by rbootimg from public keys: compile the update client with -DRBOOT_UPDATE_KEYS. */",
            "#define RBOOT_KEYS \\",
            ", \\\n".join(entries),
            "",
        )
    )


def _words(data: bytes) -> str:
    return ", ".join(f"{word:#010x}" for word in struct.unpack(f"<{len(data) // 4}I", data))

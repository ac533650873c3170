"""Keys that sign releases; each test run makes its own."""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory

from rbootimg.release import signing
from rbootimg.release.signing import KeySigner


def write_key(path: Path, passphrase: bytes | None = None, development: bool = False) -> Path:
    """Make PATH.key and PATH.pub, and return the first."""
    key, _ = signing.write_key_pair(path, *signing.generate(path.name, passphrase, development))
    return key


@functools.cache
def signer(name: str = "prod", development: bool = False) -> KeySigner:
    """The same key for the same name."""
    with TemporaryDirectory() as directory:
        return signing.read_key(write_key(Path(directory, name), development=development))

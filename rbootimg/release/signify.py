"""The formats of OpenBSD's signify: public keys, and messages with an embedded Ed25519 signature.

A signed message is a comment line, a line of base64, and the message itself. The base64 has 2 bytes `Ed`, 8 bytes of
the key's number, and 64 bytes of the signature (RFC 8032, no prehash) over the message. Neither the comment nor the
number is covered by the signature: nothing may be decided by them but which key to try.

Source: OpenBSD, signify.c (struct pubkey, struct sig). `signify -V -e -p KEY.pub -x FILE -m -` verifies our files.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from ..errors import ManifestError, SettingError

_COMMENT = b"untrusted comment: "
_ALGORITHM = b"Ed"
_SIGNED = re.compile(rb"untrusted comment: ([ -~]*)\n([A-Za-z0-9+/]{99}=)\n", re.DOTALL)
_PUBLIC_KEY = re.compile(rb"untrusted comment: ([ -~]*)\n([A-Za-z0-9+/]{56})\n")

KEY_SIZE, SIGNATURE_SIZE, NUMBER_SIZE = 32, 64, 8
"""Bytes of a public key, of a signature, and of the number of a key."""


class PublicKey(NamedTuple):
    """An Ed25519 key that verifies: its comment, its number of 8 bytes, and the 32 bytes of the key."""

    comment: str
    number: bytes
    key: bytes


class SignedMessage(NamedTuple):
    """A message, and if it is signed the number of the key, the signature and the comment."""

    message: bytes
    number: bytes | None = None
    signature: bytes | None = None
    comment: str = ""


def join(signed: SignedMessage) -> bytes:
    """Return the message with its signature before it; without one, as it is."""
    if signed.number is None or signed.signature is None:
        return signed.message
    encoded = base64.b64encode(_ALGORITHM + signed.number + signed.signature)
    return _COMMENT + signed.comment.encode("ascii", "replace") + b"\n" + encoded + b"\n" + signed.message


def split(data: bytes) -> SignedMessage:
    """Take a message from its signature; one without a signature is returned as it is. Verifies nothing.

    Raises ManifestError if the signature has another form. Devices accept the same: canonical base64 only.
    """
    if not data.startswith(b"untrusted"):
        return SignedMessage(data)
    found = _SIGNED.match(data)
    decoded = found and _decode(found[2])
    if not found or not decoded or decoded[:2] != _ALGORITHM:
        raise ManifestError("invalid signature: expected a comment line and a line of signify's base64")
    return SignedMessage(data[found.end() :], decoded[2:10], decoded[10:], found[1].decode())


def public_key_file(key: PublicKey) -> bytes:
    """Return the file KEY.pub."""
    encoded = base64.b64encode(_ALGORITHM + key.number + key.key)
    return _COMMENT + key.comment.encode("ascii", "replace") + b"\n" + encoded + b"\n"


def is_public_key(data: bytes) -> bool:
    """Return whether `data` has the form of a file KEY.pub: a comment and a line of base64 of its length."""
    return _PUBLIC_KEY.fullmatch(data) is not None


def parse_public_key(data: bytes) -> PublicKey:
    """Parse a file KEY.pub. Raises SettingError if it is no signify public key, or one with which anybody can sign."""
    found = _PUBLIC_KEY.fullmatch(data)
    decoded = found and _decode(found[2])
    if not found or not decoded or decoded[:2] != _ALGORITHM:
        raise SettingError("not a public key: expected a file of signify or `rbootimg keygen`, such as prod.pub")
    key = PublicKey(found[1].decode(), decoded[2:10], decoded[10:])
    if is_weak(key.key):
        raise SettingError("unsafe public key: a point of small order, for which anybody can make signatures")
    return key


def _decode(text: bytes) -> bytes | None:
    """Decode base64; None unless it is in its only canonical form."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return decoded if base64.b64encode(decoded) == text else None


_PRIME = 2**255 - 19
_ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
"""The y coordinate of two of the four points of order 8; of the others it is the negative."""
_SMALL_ORDER_Y = frozenset((0, 1, _PRIME - 1, _ORDER_8_Y, _PRIME - _ORDER_8_Y))


def is_weak(key: bytes) -> bool:
    """Return whether the 32 bytes encode one of the 8 points of small order, or are not canonical."""
    y = int.from_bytes(key, "little") & (2**255 - 1)
    return y >= _PRIME or y in _SMALL_ORDER_Y

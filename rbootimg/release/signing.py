"""Ed25519 keys: making, reading and using them. `cryptography` (the extra `sign`) is loaded when a key is needed."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import Hint, SettingError, SigningError, error_subject
from ..fileio import read_file
from ..text import printable, quote
from .signify import (
    NUMBER_SIZE,
    SIGNATURE_SIZE,
    PublicKey,
    SignedMessage,
    is_weak,
    join,
    parse_public_key,
    public_key_file,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_KEY_SIZE = 1 << 16
"""Bytes of a key or passphrase file that are read at most."""

COMMAND_TIMEOUT = 120.0
"""Seconds in which a signing command must answer; a person may have to touch a token."""

DEVELOPMENT = "development"
"""A word in the comment of a key that may not sign what devices in the field get."""


class Signer(Protocol):
    """What signs: a key here, or a command."""

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this signs."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes. Raises SigningError."""


def sign(message: bytes, signer: Signer) -> SignedMessage:
    """Sign `message`, and verify the signature. Raises SigningError if the signer fails or signs with another key."""
    public = signer.public
    signature = signer.sign(message)
    if not verify(SignedMessage(message, public.number, signature), (public,)):
        raise SigningError(f"signing failed: the signature does not match the public key {key_name(public)}")
    return SignedMessage(message, public.number, signature, _comment(public))


def signature_size(public: PublicKey) -> int:
    """Return the bytes that the signature of a key takes before the message."""
    return len(join(SignedMessage(b"", public.number, bytes(SIGNATURE_SIZE), _comment(public))))


def _comment(public: PublicKey) -> str:
    """Return the comment of a signature, as signify writes it."""
    return f"verify with {key_name(public)}.pub"


def signer_name(signed: SignedMessage) -> str | None:
    """Return the name that the comment of a signature has for its key, else its number; None without a signature.

    Not verified: for people.
    """
    if signed.number is None:
        return None
    match = re.fullmatch(r"verify with (.+)\.pub", signed.comment)
    return match[1] if match else f"key {signed.number.hex()}"


def describe_signer(signed: SignedMessage) -> str:
    """Return the name and the number of the key that made a signature. Not verified: for people."""
    name = signer_name(signed)
    number = signed.number.hex() if signed.number else ""
    return f"key {number}" if name == f"key {number}" else f"{name} (key {number})"


def verify(signed: SignedMessage, keys: Sequence[PublicKey]) -> PublicKey | None:
    """Return the key of `keys` that made the signature, None if none of them did."""
    if signed.signature is None or not keys:
        return None
    with _cryptography():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    for public in keys:
        if public.number == signed.number and not is_weak(public.key):
            with contextlib.suppress(InvalidSignature):
                Ed25519PublicKey.from_public_bytes(public.key).verify(signed.signature, signed.message)
                return public
    return None


def key_name(key: PublicKey) -> str:
    """Return the name that a key has for people: its comment without what `keygen` and signify add."""
    return key.comment.partition(" public key")[0] or f"key {key.number.hex()}"


def is_development(key: PublicKey) -> bool:
    """Return whether a key is marked as one for development."""
    return DEVELOPMENT in key.comment.split()


def check_name(name: str) -> str:
    """Return `name` if a key can have it: it is part of each signature. Raises SettingError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name) or name.endswith((".key", ".pub")):
        raise SettingError(
            f"invalid name of a key {quote(name, 40)}: expected up to 40 letters, digits, '.', '_' and '-', as in prod"
        )
    return name


def generate(name: str, passphrase: bytes | None, development: bool = False) -> tuple[bytes, bytes]:
    """Make a key. Returns the files NAME.key (PKCS#8 PEM, encrypted if there is a passphrase) and NAME.pub.

    Raises SettingError for an invalid name.
    """
    check_name(name)
    with _cryptography():
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    private = Ed25519PrivateKey.generate()
    encryption = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    mark = f" {DEVELOPMENT}" if development else ""
    return pem, public_key_file(_public(private, f"{name} public key{mark}"))


def check_absent(path: Path) -> tuple[Path, Path]:
    """Return PATH.key and PATH.pub. Raises SettingError if one of them exists."""
    files = Path(f"{path}.key"), Path(f"{path}.pub")
    for file in files:
        if os.path.lexists(file):
            raise SettingError("exists already; a key is never overwritten", subject=file)
    return files


def write_key_pair(path: Path, private: bytes, public: bytes) -> tuple[Path, Path]:
    """Write PATH.key, which only its owner can read, and PATH.pub. Raises SettingError if one of them exists."""
    key, pub = check_absent(path)
    for file, data, mode in ((key, private, 0o600), (pub, public, 0o644)):
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
            opened.write(data)
    return key, pub


class KeySigner:
    """A key in a file of this machine."""

    def __init__(self, private: Ed25519PrivateKey, public: PublicKey) -> None:
        self._private = private
        self.public = public

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def read_key(path: Path, passphrase: bytes | None = None) -> KeySigner:
    """Read a private key, PEM as of `keygen`, openssl or imgtool. PATH.pub, if it is there, has its name and number.

    Raises SettingError for another kind of key, a missing or wrong passphrase, or a PATH.pub of another key.
    """
    with _cryptography():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    data = read_file(path, MAX_KEY_SIZE)
    try:
        private = load_pem_private_key(data, passphrase)
    except TypeError:  # a passphrase that is missing, or not needed
        if passphrase is None:
            raise SettingError("the key has a passphrase; set RBOOT_SIGN_PASSPHRASE_FILE", subject=path) from None
        private = load_pem_private_key(data, None)
    except ValueError:
        reason = (
            "wrong passphrase, or a corrupt key" if passphrase and is_encrypted(data) else "not a private key in PEM"
        )
        raise SettingError(reason, subject=path) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingError("not an Ed25519 key", subject=path)
    public = _public(private, f"{path.stem} public key")
    pub = path.with_suffix(".pub")
    if pub != path and pub.exists():
        known = read_public_key(pub)
        if known.key != public.key:
            raise SettingError(f"not the public key of {path.name}", subject=pub)
        public = known
    return KeySigner(private, public)


def read_public_key(path: Path) -> PublicKey:
    """Read a file KEY.pub. Raises SettingError."""
    try:
        return parse_public_key(read_file(path, MAX_KEY_SIZE))
    except SettingError as error:
        raise SettingError(error.message, subject=path) from None


def read_any_public_key(path: Path, name: str) -> PublicKey:
    """Read a file KEY.pub, or an Ed25519 public key in PEM, which gets the name `name`. Raises SettingError."""
    data = read_file(path, MAX_KEY_SIZE)
    if not data.lstrip().startswith(b"-----BEGIN "):
        return read_public_key(path)
    with _cryptography():
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    try:
        key = load_pem_public_key(data)
    except ValueError:
        raise SettingError("invalid public key in PEM", subject=path) from None
    if not isinstance(key, Ed25519PublicKey):
        raise SettingError("not an Ed25519 key", subject=path)
    # Through the file's form, which refuses what no device accepts.
    with error_subject(path):
        check_name(name)
        return parse_public_key(public_key_file(_numbered(key.public_bytes_raw(), f"{name} public key")))


class SignerSettings(NamedTuple):
    """What signs, as users set it: a private key, or a command with the public key that verifies its signatures.

    `passphrase_file` has the passphrase of the private key, and may end with a newline.
    """

    key: Path | None = None
    command: str = ""
    public_key: Path | None = None
    passphrase_file: Path | None = None


def make_signer(settings: SignerSettings, ask: Callable[[Path], bytes] | None = None) -> Signer | None:
    """Return what signs, None if nothing is set. `ask` asks for the passphrase of a key, if somebody can be asked.

    Raises SettingError if the settings do not go together, or if a key cannot be read.
    """
    if settings.key and settings.command:
        raise SettingError("expected a key or a signing command, got both", subject="RBOOT_SIGN_KEY")
    if settings.command:
        try:
            command = shlex.split(settings.command)
        except ValueError as error:
            raise SettingError(f"invalid signing command {settings.command!r}: {error}") from None
        if not command:
            raise SettingError(f"invalid signing command {settings.command!r}: expected a program")
        if not settings.public_key:
            raise SettingError(
                "a signing command needs the public key that verifies its signatures", hint=Hint.SIGN_PUBLIC_KEY
            )
        return CommandSigner(command, read_public_key(settings.public_key))
    if not settings.key:
        return None
    passphrase = None
    if settings.passphrase_file:
        passphrase = read_passphrase(settings.passphrase_file)
    elif ask and is_encrypted(read_file(settings.key, MAX_KEY_SIZE)):
        passphrase = ask(settings.key)
    signer = read_key(settings.key, passphrase)
    if settings.public_key:
        public = read_public_key(settings.public_key)
        if public.key != signer.public.key:
            raise SettingError(f"not the public key of {settings.key}", subject=settings.public_key)
        signer.public = public  # devices find the key by the number of this file
    return signer


def is_encrypted(private: bytes) -> bool:
    """Return whether a private key in PEM has a passphrase."""
    return b"ENCRYPTED" in private


def read_passphrase(path: Path) -> bytes:
    """Read a file with a passphrase, without the newline at its end. Raises SettingError if there is none."""
    passphrase = read_file(path, MAX_KEY_SIZE).removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise SettingError("empty: expected a passphrase", subject=path)
    return passphrase


class CommandSigner:
    """A program that gets the message on stdin and prints the signature in base64: an HSM's, a CI secret store's."""

    def __init__(self, command: Sequence[str], public: PublicKey) -> None:
        self._command = tuple(command)
        self.public = public

    def sign(self, message: bytes) -> bytes:
        name = self._command[0]
        status, output, errors = self._run(message)
        if status:
            lines = errors.decode(errors="replace").strip().splitlines()
            reason = f": {printable(lines[-1])}" if lines else ""
            raise SigningError(f"signing failed with exit status {status}{reason}", subject=name)
        try:
            signature = base64.b64decode(output.strip(), validate=True)
        except binascii.Error:
            signature = b""
        if len(signature) != SIGNATURE_SIZE:
            raise SigningError(
                f"signing failed with an invalid answer: expected {SIGNATURE_SIZE} bytes in base64, got "
                f"{len(output):,} bytes of output",
                subject=name,
            )
        return signature

    def _run(self, message: bytes) -> tuple[int, bytes, bytes]:
        name, pipe = self._command[0], subprocess.PIPE
        try:
            process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            raise SigningError(f"cannot run the signing command: {error.strerror}", subject=name) from None
        with process:  # closes the pipes; subprocess.run() would wait until the program's own children have done so
            try:
                output, errors = process.communicate(message, COMMAND_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                raise SigningError(f"signing failed: no answer within {COMMAND_TIMEOUT:.0f} s", subject=name) from None
            except BaseException:
                process.kill()
                raise
        return process.returncode, output, errors


def _public(private: Ed25519PrivateKey, comment: str) -> PublicKey:
    return _numbered(private.public_key().public_bytes_raw(), comment)


def _numbered(key: bytes, comment: str) -> PublicKey:
    """A public key with a number. That of signify is random, and must only differ: here it is of the key's digest."""
    import hashlib

    return PublicKey(comment, hashlib.sha256(key).digest()[:NUMBER_SIZE], key)


@contextlib.contextmanager
def _cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise SettingError(
            "signing requires the Python package cryptography; run `pip install 'rbootimg[sign]'`"
        ) from None

"""The update file: its grammar, and its signature as signify, openssl and cryptography see it."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from support.updates import CHANGES, FULL, MINIMAL, TEXT, changed, updates

from rbootimg.errors import ManifestError, PublishError, SettingError, SigningError
from rbootimg.release import signify, signing
from rbootimg.release.update import MAX_UPDATE_SIZE, Update, parse_update


def test_the_form_of_the_file() -> None:
    assert FULL.to_bytes().decode() == TEXT
    assert parse_update(TEXT.encode()) == FULL
    assert parse_update(MINIMAL.to_bytes()) == MINIMAL


@given(updates)
def test_what_is_written_is_read(update: Update) -> None:
    assert parse_update(update.to_bytes()) == update


def test_names_are_as_in_urls() -> None:
    update = replace(MINIMAL, app="Küche/2 %", device="a b")
    assert b"\napp K%C3%BCche%2F2%20%25\ndevice a%20b\n" in update.to_bytes()


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_any_other_form_is_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(ManifestError, match="update file"):
        parse_update(changed(old, new))


def test_the_oldest_withdrawn_versions_make_room() -> None:
    update = replace(MINIMAL, withdrawn=tuple(f"1.2.{patch}" for patch in range(1000)))
    data = update.to_bytes()
    assert len(data) <= MAX_UPDATE_SIZE
    kept = parse_update(data).withdrawn
    assert kept == update.withdrawn[-len(kept) :]
    assert len(data) + len(f"withdrawn 1.2.{999 - len(kept)}\n") > MAX_UPDATE_SIZE


def test_a_release_that_devices_could_not_read_is_not_written() -> None:
    with pytest.raises(PublishError, match=r"devices cannot read the version .*: expected at most 63 char"):
        replace(MINIMAL, version=f"1.0.0-{'a' * 60}").to_bytes()
    with pytest.raises(PublishError, match="update file too large: expected at most 4,096 bytes"):
        replace(MINIMAL, app="a" * 4000).to_bytes()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys")
    signing.write_key_pair(directory / "prod", *signing.generate("prod", None))
    return directory / "prod.key"


def sign(message: bytes, key: Path) -> bytes:
    return signify.join(signing.sign(message, signing.read_key(key)))


@pytest.mark.needs("signify-openbsd")
def test_signify_verifies_our_signatures(key: Path, tmp_path: Path) -> None:
    (tmp_path / "update").write_bytes(sign(TEXT.encode(), key))
    command = ["signify-openbsd", "-V", "-q", "-e", "-p", key.with_suffix(".pub"), "-x", tmp_path / "update", "-m", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, TEXT), done.stderr
    (tmp_path / "update").write_bytes(sign(TEXT.encode(), key).replace(b"serial 17", b"serial 18"))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


@pytest.mark.needs("signify-openbsd")
def test_we_verify_what_signify_signed(tmp_path: Path) -> None:
    (tmp_path / "update").write_text(TEXT)
    keys = ["-p", tmp_path / "k.pub", "-s", tmp_path / "k.sec"]
    subprocess.run(["signify-openbsd", "-G", "-n", *keys], check=True)
    subprocess.run(["signify-openbsd", "-S", "-e", *keys[2:], "-m", tmp_path / "update"], check=True)
    signed = signify.split((tmp_path / "update.sig").read_bytes())
    public = signing.read_public_key(tmp_path / "k.pub")
    assert signed.message.decode() == TEXT
    assert signing.verify(signed, [public]) == public
    assert signing.verify(signed._replace(message=signed.message[:-1]), [public]) is None


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("passphrase", [None, b"secret words"])
def test_keys_of_openssl_are_read(passphrase: bytes | None, tmp_path: Path) -> None:
    cipher = ["-aes256", "-pass", f"pass:{passphrase.decode()}"] if passphrase else []
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", *cipher, "-out", tmp_path / "prod.pem"], check=True)
    signer = signing.read_key(tmp_path / "prod.pem", passphrase)
    assert signing.key_name(signer.public) == "prod"
    assert signing.verify(signing.sign(b"message", signer), [signer.public]) == signer.public


def test_a_key_has_the_number_of_the_public_key_that_is_set(tmp_path: Path, key: Path) -> None:
    """Devices look for a key by that number; one of signify has been drawn by lot."""
    public = signing.read_public_key(key.with_suffix(".pub"))._replace(comment="token public key", number=bytes(8))
    (tmp_path / "devices.pub").write_bytes(signify.public_key_file(public))
    signer = signing.make_signer(signing.SignerSettings(key, public_key=tmp_path / "devices.pub"))
    assert signer
    assert signing.sign(b"message", signer)[1:] == (bytes(8), signer.sign(b"message"), "verify with token.pub")


def test_a_passphrase_is_asked_for_and_checked(tmp_path: Path) -> None:
    signing.write_key_pair(tmp_path / "prod", *signing.generate("prod", b"right"))
    assert (tmp_path / "prod.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (tmp_path / "prod.key").read_bytes()
    signing.read_key(tmp_path / "prod.key", b"right")
    with pytest.raises(SettingError, match="has a passphrase; set RBOOT_SIGN_PASSPHRASE_FILE"):
        signing.read_key(tmp_path / "prod.key")
    with pytest.raises(SettingError, match="wrong passphrase"):
        signing.read_key(tmp_path / "prod.key", b"wrong")


def test_a_key_is_never_overwritten(key: Path) -> None:
    before = key.read_bytes()
    with pytest.raises(SettingError, match=r"prod\.key: exists already; a key is never overwritten"):
        signing.write_key_pair(key.with_suffix(""), b"other", b"other")
    assert key.read_bytes() == before


def test_what_is_no_key_is_refused(tmp_path: Path, key: Path) -> None:
    (tmp_path / "a.key").write_bytes(b"no key")
    with pytest.raises(SettingError, match=r"a\.key: not a private key in PEM"):
        signing.read_key(tmp_path / "a.key")
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "b.key").write_bytes(pem)
    with pytest.raises(SettingError, match=r"b\.key: not an Ed25519 key"):
        signing.read_key(tmp_path / "b.key")
    (tmp_path / "c.key").write_bytes(key.read_bytes())
    (tmp_path / "c.pub").write_bytes(signing.generate("other", None)[1])
    with pytest.raises(SettingError, match=r"c\.pub: not the public key of c\.key"):
        signing.read_key(tmp_path / "c.key")
    with pytest.raises(SettingError, match=r"a\.key: not a public key"):
        signing.read_public_key(tmp_path / "a.key")


Y8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
Y8_NEGATIVE = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
P = 2**255 - 19


@pytest.mark.parametrize(
    "y", [0, 1, P - 1, P, P + 1, int.from_bytes(Y8, "little"), int.from_bytes(Y8_NEGATIVE, "little")]
)
@pytest.mark.parametrize("sign_bit", [0, 1])
def test_weak_public_keys_are_refused(y: int, sign_bit: int) -> None:
    weak = signify.PublicKey("weak public key", bytes(8), (y | sign_bit << 255).to_bytes(32, "little"))
    with pytest.raises(SettingError, match="small order"):
        signify.parse_public_key(signify.public_key_file(weak))
    signed = signify.SignedMessage(b"message", bytes(8), bytes(64))
    assert signing.verify(signed, [weak]) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"untrusted comment: ", b"untrusted comment:"),
        lambda data: data.replace(b"=\n", b"\n"),
        lambda data: data.replace(b"\nRW", b"\nRX"),
        lambda data: data.replace(b"=\n", b"==\n"),
        lambda data: data.replace(b"prod.pub", b"prod\xff"),
        lambda data: data[:60],
    ],
)
def test_a_signature_of_another_form_is_refused(change: object, key: Path) -> None:
    with pytest.raises(ManifestError, match="invalid signature"):
        signify.split(change(sign(TEXT.encode(), key)))  # type: ignore[operator]


def test_base64_that_is_not_canonical_is_refused(key: Path) -> None:
    comment, line, message = sign(TEXT.encode(), key).split(b"\n", 2)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = line[:-2] + bytes([alphabet[alphabet.index(line[-2]) + 1]]) + b"="  # only bits that stand for nothing
    assert base64.b64decode(other) == base64.b64decode(line)
    with pytest.raises(ManifestError, match="invalid signature"):
        signify.split(b"\n".join((comment, other, message)))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "exit status 3$"),
        ("echo no token >&2; exit 1", "exit status 1: no token"),
        ("echo garbage!", "invalid answer: expected 64 bytes in base64"),
        ("head -c 63 /dev/zero | base64 -w0", "invalid answer"),
        ("head -c 64 /dev/zero | base64 -w0", "does not match the public key prod$"),
        ("cat >/dev/null; echo", "invalid answer"),
    ],
)
def test_a_signing_command_that_fails_signs_nothing(script: str, message: str, key: Path) -> None:
    signer = signing.CommandSigner(("sh", "-c", script), signing.read_key(key).public)
    with pytest.raises(SigningError, match=message):
        signing.sign(TEXT.encode(), signer)


def test_a_signing_command_that_does_not_answer_is_ended(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "COMMAND_TIMEOUT", 0.2)
    signer = signing.CommandSigner(("sleep", "60"), signing.read_key(key).public)
    with pytest.raises(SigningError, match="sleep: signing failed: no answer within 0 s"):
        signing.sign(TEXT.encode(), signer)
    with pytest.raises(SigningError, match="cannot run the signing command: No such file"):
        signing.sign(TEXT.encode(), signing.CommandSigner(("no-such-program",), signer.public))


@pytest.mark.needs("openssl")
def test_a_signing_command_signs(key: Path, tmp_path: Path) -> None:
    script = f"cat >{tmp_path}/m; openssl pkeyutl -sign -rawin -inkey {key} -in {tmp_path}/m | base64 -w0"
    signer = signing.CommandSigner(("sh", "-c", script), signing.read_key(key).public)
    signed = signing.sign(TEXT.encode(), signer)
    assert signing.verify(signed, [signer.public]) == signer.public
    assert signify.join(signed) == sign(TEXT.encode(), key)

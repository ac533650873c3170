"""`rbootimg keygen`: make a key that signs releases."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import SettingError, error_subject
from ..release import signing
from ..views.messages import print_result
from ..views.passphrase import ask_passphrase, can_ask

DESCRIPTION = (
    "Make a key pair that signs releases: NAME.key, which only its owner can read, and NAME.pub. Existing files are "
    "never overwritten. The passphrase is asked for twice."
)

EPILOG = """\
Examples:
  rbootimg keygen prod
  rbootimg keygen desk --development --no-passphrase"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="the name of the key; a directory may be before it")
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="read the passphrase from a file (default: ask for it)"
    )
    either.add_argument(
        "--no-passphrase", action="store_true", help="do not encrypt the private key, e.g. for the secret store of a CI"
    )
    parser.add_argument(
        "--development",
        action="store_true",
        help="mark the key: no web root that was signed with another key can be published to with it",
    )


def run(options: argparse.Namespace) -> None:
    """Write the key pair, and print what to do with it. Raises SettingError."""
    path = Path(options.name)
    signing.check_name(path.name)
    signing.check_absent(path)
    private, public = signing.generate(path.name, _passphrase(options), options.development)
    key, pub = signing.write_key_pair(path, private, public)
    number = signing.read_public_key(pub).number.hex()
    print_result(
        [
            f"{key}: private key; keep it secret, and a copy in a safe place",
            f"{pub}: public key {number}; commit it",
            f"Build the update client with it: env.RbootOtaClient(RBOOT_UPDATE_KEYS=['{pub}'])",
            f"Sign releases with it: scons publish RBOOT_SIGN_KEY={key}",
        ]
    )


def _passphrase(options: argparse.Namespace) -> bytes | None:
    if options.no_passphrase:
        return None
    if options.passphrase_file:
        return signing.read_passphrase(options.passphrase_file)
    key = Path(f"{options.name}.key")
    with error_subject(key):
        if not can_ask():
            raise SettingError("no terminal to ask for a passphrase; use --passphrase-file or --no-passphrase")
        passphrase = ask_passphrase(key, f"passphrase for {key}: ")
        if not passphrase:
            raise SettingError("empty passphrase; use --no-passphrase for a key without one")
        if ask_passphrase(key, "the same again: ") != passphrase:
            raise SettingError("the passphrases differ")
    return passphrase

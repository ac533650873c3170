"""The options that sign a release."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..views.messages import print_warning
from ..views.passphrase import ask_passphrase, can_ask
from ..views.release import new_key

if TYPE_CHECKING:  # not loaded by keygen
    from ..release.signing import Signer
    from ..release.webroot import Published


def sign_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --sign-key, --sign-command and --sign-public-key."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--sign-key",
        type=Path,
        metavar="FILE",
        help="sign the update file with this private key (default: $RBOOT_SIGN_KEY); its passphrase is read from the "
        "file $RBOOT_SIGN_PASSPHRASE_FILE, else asked for",
    )
    either.add_argument(
        "--sign-command",
        metavar="COMMAND",
        help="sign with a program that reads the update file from stdin and prints its signature in base64 (default: "
        "$RBOOT_SIGN_COMMAND)",
    )
    parser.add_argument(
        "--sign-public-key",
        type=Path,
        metavar="KEY.PUB",
        help="verify the signature with this public key (default: $RBOOT_SIGN_PUBLIC_KEY; required for --sign-command)",
    )


def read_signer(options: argparse.Namespace) -> Signer | None:
    """Return what signs, None if there is neither an option nor a variable for it. Raises SettingError."""
    from ..release.signing import SignerSettings, make_signer

    key, command = options.sign_key, options.sign_command
    if not key and not command:
        key, command = _path("RBOOT_SIGN_KEY"), os.environ.get("RBOOT_SIGN_COMMAND")
    settings = SignerSettings(
        key,
        command or "",
        options.sign_public_key or _path("RBOOT_SIGN_PUBLIC_KEY"),
        _path("RBOOT_SIGN_PASSPHRASE_FILE"),
    )
    return make_signer(settings, ask_passphrase if can_ask() else None)


def warn_of_new_key(published: Published) -> None:
    """Warn if devices got a file of another key before."""
    if warning := new_key(published):
        print_warning("rbootimg", warning)


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None

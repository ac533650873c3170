"""`rbootimg keys`: public keys -> the form of signify, or the update client's header."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..fileio import write_output
from ..release import clientkeys, signify, signing
from .common import check_not_input

DESCRIPTION = (
    "Write a public key in the form of signify, as KEY.pub of keygen is; or with --client-header the header "
    f"{clientkeys.NAME} of the update client, for the keys that its devices trust. A key is such a file, or an Ed25519 "
    "public key in PEM, e.g. that of an HSM."
)

EPILOG = """\
Examples:
  rbootimg keys token.pem -o token.pub
  rbootimg keys prod.pub spare.pub --client-header -o rboot-keys.h"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="a public key")
    parser.add_argument(
        "--client-header", action="store_true", help=f"write a header for 1 to {clientkeys.MAX_KEYS} keys"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to this file (default: stdout)")
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Read the keys, and write them. Raises SettingError."""
    if not options.client_header and len(options.files) > 1:
        options.usage_error("several keys require --client-header")
    check_not_input(options.output, options.files)
    named = options.output if options.output and not options.client_header else None
    keys = [signing.read_any_public_key(path, (named or path).stem) for path in options.files]
    text = clientkeys.keys_header(keys).encode() if options.client_header else signify.public_key_file(keys[0])
    if options.output:
        write_output(options.output, text)
    else:
        print(text.decode(), end="")

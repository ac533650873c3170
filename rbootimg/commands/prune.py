"""`rbootimg prune`: delete old releases."""

from __future__ import annotations

import argparse

from ..release import webroot
from .arguments import count
from .common import app_argument, wait_argument, web_root_argument

DESCRIPTION = "Delete old releases, but never the current one nor the one before it."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--keep", type=count, required=True, metavar="N", help="keep this many of the newest releases")
    app_argument(parser)
    wait_argument(parser)
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Delete old releases, and print their versions."""
    deleted = webroot.prune(options.web_root, options.keep, options.app, options.wait)
    print(f"deleted: {', '.join(deleted)}" if deleted else "nothing to delete")

"""`rbootimg rollback`: return to an earlier release."""

from __future__ import annotations

import argparse

from ..release import webroot
from ..views import release
from ..views.messages import print_result
from .common import app_argument, wait_argument, web_root_argument

DESCRIPTION = (
    "Make an earlier release current again, by default the one that was current before. The release that is rolled "
    "back stays in the web root, and can be made current again in the same way."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "version", nargs="?", metavar="VERSION", help="the version to roll back to (default: the previous one)"
    )
    parser.add_argument("--force", action="store_true", help="allow a release with fewer ROMs (development only)")
    app_argument(parser)
    wait_argument(parser)
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Roll back, and print the current files."""
    result = webroot.rollback(
        options.web_root, options.version, options.app, allow_missing_roms=options.force, timeout=options.wait
    )
    print_result(release.rolled_back(result))

"""`rbootimg rollback`: return to an earlier release."""

from __future__ import annotations

import argparse
import os

from ..errors import error_subject
from ..release import manifest, webroot
from ..release.version import source_date
from ..views import release
from ..views.messages import print_result
from .common import app_argument, wait_argument, web_root_argument
from .signer import read_signer, sign_arguments, warn_of_new_key

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
    parser.add_argument(
        "--date", help="date of the rollback in the update file, as YYYY-MM-DD (default: that of $SOURCE_DATE_EPOCH)"
    )
    app_argument(parser)
    sign_arguments(parser)
    wait_argument(parser)
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Roll back, and print the current files."""
    if options.date is not None:
        with error_subject("--date"):
            manifest.check_date(options.date)
    result = webroot.rollback(
        options.web_root,
        options.version,
        options.app,
        allow_missing_roms=options.force,
        signer=read_signer(options),
        date=options.date or source_date(os.environ),
        timeout=options.wait,
    )
    print_result(release.rolled_back(result))
    warn_of_new_key(result)

"""`rbootimg check`: check a web root, in its directory or through its server."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import CheckError, error_subject
from ..release import check, check_http
from ..release.signing import read_public_key
from ..text import counted, printable
from ..views import release
from ..views.messages import print_result
from ..views.progress import progress
from .common import json_argument, print_json, web_root_argument

DESCRIPTION = (
    "Check every file of a web root against its manifest; with --url fetch the files as a device would, and report "
    "replies with which an update fails. The exit status is 1 if there is a fault."
)

EPILOG = """\
Examples:
  rbootimg check --web-root build/webroot
  rbootimg check --url http://192.168.1.10:8080/ --key prod.pub"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--url", metavar="URL", help="check through the server, with the URL of the application's directory"
    )
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        default=[],
        metavar="KEY.PUB",
        help="require that the update file is signed with this public key, or with one of several; repeatable",
    )
    json_argument(parser)
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Print the findings."""
    keys = [read_public_key(path) for path in options.key]
    if options.url is None:
        subject = options.web_root
        with progress("checking"):
            findings = check.check_web_root(options.web_root, keys)
    else:
        subject = printable(options.url)
        with error_subject(subject), progress("checking"):
            findings = check_http.check_url(options.url, keys=keys)
    faults = sum(finding.fault for finding in findings)
    if options.json:
        print_json({"findings": [finding.to_json() for finding in findings]})
    else:
        for finding in findings:
            print(release.finding(finding))
        if not faults:
            print_result([f"{subject}: ok"])
    if faults:
        raise CheckError(counted(faults, "fault"), subject=subject)

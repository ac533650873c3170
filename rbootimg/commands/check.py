"""`rbootimg check`: whether a web root is what was published, in its folder or through its server."""

from __future__ import annotations

import argparse
import json

from ..errors import CheckError, error_subject
from ..release import check, check_http
from ..text import printable
from .common import web_root_argument

DESCRIPTION = (
    "Check every file of a web root against its manifest; with --url fetch them as a device would, and tell what it "
    "would choke on. The exit status is 1 if anything is wrong."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--url", metavar="URL", help="the application's folder on its server")
    parser.add_argument("--json", action="store_true", help="print JSON")
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Print what was found."""
    where = options.web_root
    if options.url is None:
        found = [check_http.Finding(problem.name, problem.text) for problem in check.check_web_root(options.web_root)]
    else:
        where = printable(options.url)
        with error_subject(where):
            found = list(check_http.check_url(options.url))
    faults = sum(finding.fault for finding in found)
    if options.json:
        told = [{"path": f.path, "fault": f.fault, "text": f.text} for f in found]
        if options.url is not None:
            told = [{**each, "client_fails": f.client, "sample_fails": f.sample} for each, f in zip(told, found)]
        print(json.dumps(told, indent=2))
    else:
        for finding in found:
            print(f"{finding.path}: {'' if finding.fault else 'note: '}{finding.text}")
        if not faults:
            print(f"{where}: ok")
    if faults:
        raise CheckError(f"{faults} fault{'s' * (faults > 1)}", subject=where)

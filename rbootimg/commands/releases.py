"""`rbootimg releases`: what is in a web root."""

from __future__ import annotations

import argparse
import json

from ..errors import PublishError
from ..release import webroot
from ..views import release
from .common import app_argument, web_root_argument

DESCRIPTION = "List the releases in a web root: the current one first, then the newest."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    app_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Print the list."""
    found = webroot.list_releases(options.web_root)
    if options.app is not None:
        if options.app not in found:
            raise PublishError(f"there is no application {options.app!r}, but {', '.join(found)}")
        found = {options.app: found[options.app]}
    if options.json:
        print(json.dumps({app: [_as_json(listed) for listed in every] for app, every in found.items()}, indent=2))
        return
    print(release.releases(found), end="")


def _as_json(listed: webroot.ListedRelease) -> dict[str, object]:
    return {
        "version": listed.version,
        "current": listed.current,
        "previous": listed.previous,
        "manifest": json.loads(listed.release.to_json()) if listed.release else None,
    }

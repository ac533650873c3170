"""`rbootimg releases`: list the releases in a web root."""

from __future__ import annotations

import argparse
import json

from ..errors import error_subject
from ..release import webroot
from ..release.history import ListedRelease
from ..release.updateinfo import update_json
from ..views import release
from .common import app_argument, json_argument, print_json, web_root_argument

DESCRIPTION = "List the releases in a web root: the current one first, then the newest."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    app_argument(parser)
    json_argument(parser)
    web_root_argument(parser)


def run(options: argparse.Namespace) -> None:
    """Print the list."""
    apps, updates = webroot.list_releases(options.web_root), webroot.list_updates(options.web_root)
    if options.app is not None:
        with error_subject(options.web_root):
            webroot.check_known(options.app, apps)
        apps = {options.app: apps[options.app]}
    if options.json:
        print_json(
            {
                "applications": [
                    {
                        "app": app,
                        "update": update_json(update) if (update := updates[app]) else None,
                        "releases": [_as_json(listed) for listed in releases],
                    }
                    for app, releases in apps.items()
                ]
            }
        )
        return
    print(release.releases(apps, updates), end="")


def _as_json(listed: ListedRelease) -> dict[str, object]:
    return {
        "version": listed.version,
        "current": listed.current,
        "previous": listed.previous,
        "rolled_back": listed.rolled_back,
        "manifest": json.loads(listed.release.to_json()) if listed.release else None,
    }

"""The actions of `scons releases`, `rollback` and `serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ..errors import SettingError, error_subject
from ..release import webroot
from ..release.version import source_date
from ..views import release
from ..views.build import rolled_back_line
from ..views.messages import Style, print_warning, styled
from .apps import display_path, web_root_subject, web_roots
from .interrupt import is_interrupted
from .signing import signer_of
from .summary import print_roms
from .variables import get_bool, get_string


def show(target: Any, env: Any) -> None:
    """List the releases in the web root."""
    root, only = _select_web_root(target, env)
    with web_root_subject(root, env):
        found, updates = webroot.list_releases(root), webroot.list_updates(root)
    selected = {name: each for name, each in found.items() if only is None or name in only}
    sys.stdout.write(release.releases(selected, updates))


def roll_back(target: Any, env: Any) -> None:
    """Make the previous release current again, or that of $RBOOT_ROLLBACK."""
    root, only = _select_web_root(target, env)
    forced = bool(get_bool(env, "RBOOT_FORCE"))
    signer = signer_of(env)
    with web_root_subject(root, env):
        results = webroot.rollback_all(
            root,
            get_string(env, "RBOOT_ROLLBACK") or None,
            only,
            allow_missing_roms=forced,
            signer=signer,
            date=source_date(os.environ),
        )
    for result in results:
        if warning := release.new_key(result):
            print_warning("rboot", warning)
    if not env.GetOption("silent"):
        lines = (rolled_back_line(result, display_path(result.directory, env)) for result in results)
        sys.stdout.write("".join(f"{styled(line, Style.GREEN)}\n" for line in lines))


def serve(target: Any, env: Any) -> None:
    """Serve the web root until Ctrl-C, on all interfaces."""
    from ..serve.ports import parse_port
    from ..serve.server import ServerOptions  # not for the two targets above
    from ..views.server import serve_and_show

    with error_subject("RBOOT_SERVE_PORT"):
        port = parse_port(get_string(env, "RBOOT_SERVE_PORT") or "8080")
    root, _ = _select_web_root(target, env)
    print_roms(env)
    with web_root_subject(root, env):
        serve_and_show(root, "0.0.0.0", port, ServerOptions(), is_interrupted)


def _select_web_root(target: Any, env: Any) -> tuple[Path, list[str] | None]:
    """The web root of a target and its selected applications, None for all of them. Raises SettingError."""
    roots = web_roots(target, env)
    if len(roots) > 1:
        name = str(target[0]).partition("-")[0]
        raise SettingError(
            f"the project has {len(roots)} web roots; run `rbootimg {name} --web-root DIRECTORY` for one"
        )
    [root] = roots
    return Path(root.path), list(root.apps) if len(root.apps) < root.total else None

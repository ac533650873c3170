"""`scons releases`, `rollback` and `serve`: what is done with a web root after it was published to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..errors import SettingError, error_subject
from ..release import webroot
from ..views import release
from .apps import named, place, web_roots
from .interrupt import is_interrupted
from .variables import is_on, text


def show(target: Any, env: Any) -> None:
    """List the releases."""
    root, only = _one(target, env)
    with named(root, env):
        found = webroot.list_releases(root)
    sys.stdout.write(release.releases({name: each for name, each in found.items() if only is None or name in only}))


def roll_back(target: Any, env: Any) -> None:
    """Make another release current again."""
    root, only = _one(target, env)
    forced = bool(is_on(env, "RBOOT_FORCE"))
    with named(root, env):
        found = webroot.rollback_all(root, text(env, "RBOOT_ROLLBACK") or None, only, allow_missing_roms=forced)
    for back in found:
        sys.stdout.write("".join(f"  {line}\n" for line in release.rolled_back(back, place(back.folder, env))))


def serve(target: Any, env: Any) -> None:
    """Serve the web root until Ctrl-C."""
    from ..serve.ports import parse_port
    from ..serve.server import ServerOptions  # which the other two do without
    from ..views.server import serve_and_show

    with error_subject("RBOOT_SERVE_PORT"):
        port = parse_port(text(env, "RBOOT_SERVE_PORT") or "8080")
    root, _ = _one(target, env)
    with named(root, env):
        serve_and_show(root, "0.0.0.0", port, ServerOptions(), is_interrupted)


def _one(target: Any, env: Any) -> tuple[Path, list[str] | None]:
    """The web root that a target is about, and the applications, None for all that it has. Raises SettingError."""
    roots = web_roots(target, env)
    if len(roots) > 1:
        name = str(target[0]).partition("-")[0]
        raise SettingError(f"there are {len(roots)} web roots; use `rbootimg {name} --web-root FOLDER` for one")
    return Path(roots[0].path), list(roots[0].apps) if len(roots[0].apps) < roots[0].total else None

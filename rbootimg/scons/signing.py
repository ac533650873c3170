"""$RBOOT_SIGN_KEY and $RBOOT_SIGN_COMMAND: what signs, for `scons publish` and `scons rollback`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..release.signing import Signer, SignerSettings, make_signer
from ..views.passphrase import ask_passphrase, can_ask
from .variables import get_string


def signer_of(env: Any) -> Signer | None:
    """What signs, None if no variable is set, here or in the shell. Raises SettingError."""
    key, command = _value(env, "RBOOT_SIGN_KEY"), _value(env, "RBOOT_SIGN_COMMAND")
    settings = SignerSettings(
        _path(env, key),
        command,
        _path(env, _value(env, "RBOOT_SIGN_PUBLIC_KEY")),
        _path(env, _value(env, "RBOOT_SIGN_PASSPHRASE_FILE")),
    )
    return make_signer(settings, ask_passphrase if can_ask() else None)


def _value(env: Any, name: str) -> str:
    return get_string(env, name) or os.environ.get(name, "")


def _path(env: Any, name: str) -> Path | None:
    """A file, relative to the directory of the SConstruct."""
    if not name:
        return None
    return Path(env.Dir("#").get_abspath(), name[1:].lstrip("/") if name.startswith("#") else name)

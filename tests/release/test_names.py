"""Names of applications: one rule, whichever way a name is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from support.images import rom
from support.releases import make

from rbootimg.errors import ManifestError, RbootError, SettingError
from rbootimg.release.history import History
from rbootimg.release.manifest import Release
from rbootimg.release.names import check_app_name
from rbootimg.release.unversioned import web_tree
from rbootimg.scons.apps import app_name

VALID = ("blink", "a b", "a.b", "a#b", "_x", "-x", "blink-2", "Schlüssel", "x" * 100, "release")
INVALID = (
    *("", ".", "..", ".hidden", "#x", " x", "\tx", "a\\b", "a\0", "a\n", "\x1fa", "\udcff", "x" * 101),
    *("releases", "index.html", "style.css", "_status"),
)


def in_a_manifest(name: str) -> None:
    values = json.loads(make("1.0.0").release.to_json())
    Release.from_json(json.dumps({**values, "app": name}).encode())


def in_a_history(name: str) -> None:
    History.from_json(History(name, ("1.0.0",), {"1.0.0": ""}).to_json())


def in_scons(name: str) -> None:
    env = SimpleNamespace(subst=lambda text, *_: text, get=lambda *_: None)
    assert app_name(env, name) == name


DOORS: dict[str, Callable[[str], object]] = {
    "check_app_name": check_app_name,
    "a release": lambda name: make("1.0.0", name),
    "a manifest": in_a_manifest,
    "a history": in_a_history,
    "ROMs without a version": lambda name: web_tree({name: [rom(0)]}),
    "SCons": in_scons,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_the_same_names(door: str) -> None:
    for name in VALID:
        DOORS[door](name)
    for name in INVALID:
        with pytest.raises(RbootError) as refused:
            DOORS[door](name)
        assert isinstance(refused.value, (SettingError, ManifestError)), name


@pytest.mark.parametrize("name", ["a/b", "/", "../x", "x/"])
def test_a_slash_is_refused_where_a_name_has_no_directory(name: str) -> None:
    for door in DOORS.keys() - {"SCons"}:
        with pytest.raises(RbootError, match="invalid application name"):
            DOORS[door](name)


def test_the_error_shows_the_name_and_the_rule() -> None:
    with pytest.raises(SettingError) as refused:
        check_app_name("x" * 101)
    assert str(refused.value) == (
        f"invalid application name '{'x' * 99}…': expected up to 100 characters, none of them '/', '\\' or a control "
        "character, and not '.', '#' or a space first"
    )
    with pytest.raises(SettingError) as refused:
        check_app_name("releases")
    assert str(refused.value) == (
        "invalid application name 'releases': reserved for a file or directory of the web root"
    )

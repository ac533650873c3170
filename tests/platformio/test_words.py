"""Messages of the SCons tool in the words of PlatformIO's users."""

from __future__ import annotations

import pytest

from rbootimg.errors import Hint
from rbootimg.platformio.options import OPTIONS
from rbootimg.platformio.words import translator

translate = translator("esp01", tuple(OPTIONS.values()))


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("RBOOT_WEBROOT: not a directory", "custom_rboot_webroot: not a directory"),
        (Hint.VERSION.scons, "set custom_rboot_version = X.Y.Z"),
        (Hint.FORCE.scons, "use custom_rboot_force = yes to override (development only)"),
        (Hint.ROLLBACK.scons, "run `RBOOT_ROLLBACK=VERSION pio run -e esp01 -t rollback`"),
        (Hint.RELEASE.scons, "run `RBOOT_VERSION=X.Y.Z pio run -e esp01 -t publish`"),
        ("changed during the build; run scons again", "changed during the build; run `pio run` again"),
        ("free space with `rbootimg prune`", "free space with `rbootimg prune`"),
    ],
)
def test_variables_are_options_and_targets_are_those_of_pio_run(text: str, translated: str) -> None:
    assert translate(text) == translated


@pytest.mark.parametrize("text", ["set RBOOT_TOOLCHAIN to its directory", "compile with -DRBOOT_LAYOUTS"])
def test_names_without_an_option_stay(text: str) -> None:
    assert translate(text) == text


@pytest.mark.parametrize("hint", Hint)
def test_no_hint_names_scons(hint: Hint) -> None:
    assert "scons" not in translate(hint.scons)

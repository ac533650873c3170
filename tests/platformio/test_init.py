"""`rbootimg platformio init`: the script and its lines in platformio.ini."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest
from support.programs import run_module

from rbootimg.errors import SettingError
from rbootimg.platformio.init import SCRIPT, add_script, is_ours

ADDED = "extra_scripts =\n    pre:rboot.py\n    post:rboot.py\n"
ENVIRONMENT = "[env:esp01]\nplatform = espressif8266\nboard = esp01_1m\n"


def scripts(text: str, section: str) -> list[str]:
    """The scripts of a section, as PlatformIO reads them."""
    config = configparser.ConfigParser(inline_comment_prefixes=("#", ";"), interpolation=None)
    config.read_string(text)
    value = config[section]["extra_scripts"]
    return [item.strip() for item in (value.split("\n") if "\n" in value else value.split(", ")) if item.strip()]


def test_the_option_is_added_where_the_platform_is() -> None:
    assert add_script(ENVIRONMENT) == ENVIRONMENT + ADDED
    common = "[env]\nplatform = espressif8266@4.2.1 ; pinned\n"
    two = "\n[env:one]\nboard = esp01_1m\n\n[env:two]\nboard = d1_mini\n"
    assert add_script(common + two) == common + ADDED + two


def test_what_is_there_stays_as_it_is() -> None:
    text = f"; first\n[platformio]\ndefault_envs = esp01\n\n{ENVIRONMENT}# last\n\n[env:other]\nplatform = native\n"
    assert add_script(text) == text.replace("esp01_1m\n", f"esp01_1m\n{ADDED}")


def test_a_second_time_nothing_changes() -> None:
    once = add_script(ENVIRONMENT)
    assert add_script(once) == once


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("extra_scripts = a.py\n", ["a.py", "pre:rboot.py", "post:rboot.py"]),
        ("extra_scripts = a.py, pre:b.py ; mine\n", ["a.py", "pre:b.py", "pre:rboot.py", "post:rboot.py"]),
        ("extra_scripts =\n  a.py\n\n  ; mine\n  pre:b.py\n", ["a.py", "pre:b.py", "pre:rboot.py", "post:rboot.py"]),
        ("extra_scripts: post:rboot.py\n", ["post:rboot.py", "pre:rboot.py"]),
        ("Extra_Scripts = rboot.py\nlib_deps = a\n", ["rboot.py", "pre:rboot.py"]),
        ("extra_scripts =\n", ["pre:rboot.py", "post:rboot.py"]),
    ],
)
def test_the_scripts_that_are_there_stay_before_ours(before: str, expected: list[str]) -> None:
    text = add_script(f"{ENVIRONMENT}{before}\n[env:other]\nplatform = native\n")
    assert scripts(text, "env:esp01") == expected
    assert "[env:other]" in text
    assert add_script(text) == text


def test_scripts_of_a_section_that_environments_extend_are_extended() -> None:
    text = f"[base]\nextra_scripts = a.py\n\n{ENVIRONMENT}extends = base\n"
    assert scripts(add_script(text), "base") == ["a.py", "pre:rboot.py", "post:rboot.py"]


def test_other_environments_do_not_get_the_script() -> None:
    text = "[env]\nplatform = espressif8266\n\n[env:device]\nboard = d1_mini\n\n[env:host]\nplatform = native\n"
    changed = add_script(text)
    assert changed == text.replace("d1_mini\n", f"d1_mini\n{ADDED}")


def test_scripts_shared_with_other_environments_are_not_changed() -> None:
    text = f"[env]\nextra_scripts = a.py\n\n{ENVIRONMENT}\n[env:host]\nplatform = native\n"
    with pytest.raises(SettingError, match=r"other environments have extra_scripts of \[env\] too; give \[env:esp01\]"):
        add_script(text)


def test_environments_can_be_selected() -> None:
    text = "[env:one]\nplatform = https://example.org/my8266\n"
    assert add_script(text, ["one"]) == text + ADDED
    with pytest.raises(SettingError, match="unknown environment 'two': expected one of one"):
        add_script(text, ["two"])
    with pytest.raises(SettingError, match="no environment has platform = espressif8266; select one with -e"):
        add_script(text)


def test_an_invalid_ini_is_an_error() -> None:
    with pytest.raises(SettingError, match="invalid: "):
        add_script("platform = espressif8266\n")


def run(directory: Path, *arguments: str) -> tuple[int, str]:
    done = run_module("rbootimg", "platformio", "init", *arguments, cwd=directory)
    return done.returncode, done.stdout + done.stderr


def test_the_command_writes_the_script_and_shows_the_difference(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").write_text(ENVIRONMENT)
    assert run(tmp_path) == (
        0,
        """\
wrote rboot.py
wrote platformio.ini
--- platformio.ini
+++ platformio.ini
@@ -1,3 +1,6 @@
 [env:esp01]
 platform = espressif8266
 board = esp01_1m
+extra_scripts =
+    pre:rboot.py
+    post:rboot.py
""",
    )
    assert (tmp_path / "rboot.py").read_bytes() == SCRIPT.read_bytes()
    assert run(tmp_path) == (0, "rboot.py is up to date\nplatformio.ini is up to date\n")


def test_an_older_script_is_replaced_but_not_another_one(tmp_path: Path) -> None:
    (tmp_path / "platformio.ini").write_text(ENVIRONMENT)
    script = tmp_path / "rboot.py"
    script.write_text(SCRIPT.read_text() + "# older\n")
    assert is_ours(script.read_text())
    assert run(tmp_path)[1].startswith("wrote rboot.py\n")
    script.write_text("print('mine')\n")
    assert run(tmp_path) == (1, "rbootimg: rboot.py: already exists and is another script; rename it\n")
    assert script.read_text() == "print('mine')\n"


def test_without_a_project_it_says_how_to_create_one(tmp_path: Path) -> None:
    expected = "rbootimg: platformio.ini: no such file; create the project with `pio project init` first\n"
    assert run(tmp_path) == (1, expected)

"""The documentation: all that its reader types works, and prints what it shows. See support/console.py.

`pytest tests/docs/test_pages.py --update-docs` writes the outputs into the pages, for you to read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from support import console
from support.project import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    if any(console.steps(path.read_text(encoding="utf-8")))
}

SUDO = """#!/bin/sh
# The packages must be Debian's: to install them is not for a test.
[ "$*" = "apt-get update -qq" ] && exit
[ "$1 $2" = "apt-get install" ] || [ "$1 $2" = "apt install" ] || { echo "sudo: not in a test: $*"; exit 1; }
shift 2
for package; do
    case $package in -*) continue ;; esac
    dpkg -s "$package" >/dev/null 2>&1 || apt-cache show "$package" >/dev/null 2>&1 ||
        { apt-get update -q >/dev/null 2>&1; apt-cache show "$package" >/dev/null; } || exit
done
"""


COPY = """#!/bin/sh
# As a clone, but with what is not committed yet.
mkdir "$1" && git -C "$RBOOTIMG" ls-files -z --cached --others --exclude-standard |
    tar -C "$RBOOTIMG" -c --null -T - | tar -C "$1" -x
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in (("sudo", SUDO), ("copy-rbootimg", COPY)):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    kept = {name: os.environ[name] for name in os.environ if not name.startswith(("RBOOT", "SDK", "GIT_", "SCONS"))}
    return {
        **kept,
        "PATH": os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin")),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "COLUMNS": "100",
        "RBOOTIMG": str(ROOT),
        "GIT_CONFIG_COUNT": "3",
        **{f"GIT_CONFIG_KEY_{at}": name for at, name in enumerate(("user.name", "user.email", "init.defaultBranch"))},
        **{f"GIT_CONFIG_VALUE_{at}": value for at, value in enumerate(("you", "you@example.com", "main"))},
    }


@pytest.mark.needs("qemu-system-xtensa", "nginx")
@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_says_works_and_prints_what_it_shows(
    name: str, tmp_path: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    page = PAGES[name].read_text(encoding="utf-8")
    directory = tmp_path / "work"
    directory.mkdir()
    results = console.run(page, directory, environment)
    if request.config.getoption("update_docs"):
        PAGES[name].write_text(console.with_outputs(page, results), encoding="utf-8")
    wrong = [
        f"line {ran.command.lines[0]}: $ {ran.command.text}\nexit status {ran.status}, expected {ran.command.status}\n"
        f"--- shown\n{ran.command.shown}\n--- printed\n{ran.output}"
        for ran in results
        if not ran.is_as_shown
    ]
    assert not wrong, "\n\n".join(wrong)

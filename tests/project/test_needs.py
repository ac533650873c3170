"""What the tests themselves need: without one of the programs a run ends at once and says which, and skips nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT, Run, without_qemu

NEEDS_QEMU = "tests/firmware/test_maskrom.py"
NO_QEMU = "Exit: these tests need qemu-system-xtensa: not on PATH; `./sconsw test` installs what is missing"


def run(environment: dict[str, str], *arguments: str) -> Run:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_without_a_program_a_run_ends_at_once_and_says_which(tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = run(without_qemu(tmp_path), *workers, NEEDS_QEMU, "tests/rom/test_fit.py")
    assert done.status == pytest.ExitCode.USAGE_ERROR, done.text
    assert done.text.count(NO_QEMU) == 1
    assert "passed" not in done.text
    assert "error" not in done.text.lower()


def test_tests_that_need_none_run_without_it(tmp_path: Path) -> None:
    environment = without_qemu(tmp_path)
    done = run(environment, "-q", NEEDS_QEMU, "tests/rom/test_fit.py", "-k", "a_good_rom_has_no_problems")
    assert done.status == 0, done.text
    assert "1 passed" in done.out


def test_collecting_runs_none_of_them() -> None:
    """Or the run would end with errors instead."""
    listed = run({"PATH": "/nowhere"}, "-q", "--collect-only")
    assert listed.status == 0, listed.out[-2000:]


def test_sconsw_installs_every_program_that_tests_are_marked_to_need() -> None:
    marks = [
        mark
        for path in (ROOT / "tests").rglob("test_*.py")
        for mark in re.findall(r"mark\.needs\((.*)\)$", path.read_text(), re.MULTILINE)
    ]
    needed = {name for mark in marks for name in re.findall(r'"([^"]+)"', mark)}
    sconsw = (ROOT / "sconsw").read_text()
    (packages,) = re.findall(r"^test_needs='(.*)'$", sconsw, re.MULTILINE)
    (compiler,) = re.findall(r"^compiler=(.*)$", sconsw, re.MULTILINE)
    assert needed == {pair.partition(":")[0] for pair in packages.split()} | {compiler}

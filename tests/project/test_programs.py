"""Programs that the tests fork: what comes of them is what comes of those that are started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import run_module
from support.project import ROOT, TOOL, Project

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

COMMANDS = {
    "a build": ("SCons", "-Q", "-n"),
    "an error": ("SCons", "-Q", "RBOOT_NONE=1"),
    "a traceback": ("SCons", "-Q", "-f", "broken"),
    "no such option": ("SCons", "--nothing"),
    "a help": ("rbootimg", "--help"),
    "wrong usage": ("rbootimg", "nothing"),
    "no such file": ("rbootimg", "verify", "none.bin"),
    "stdin": ("rbootimg", "verify", "/dev/stdin"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_forked_program_prints_and_returns_what_a_started_one_does(project: Project, name: str) -> None:
    project.write("broken", f"env = Environment({TOOL})\nimport sys\nsys.stdout.write(str(sys.argv[1:]))\n1 / 0\n")
    module, *arguments = COMMANDS[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=project.directory,
        env=environment,
        input="typed",
        capture_output=True,
        text=True,
        check=False,
    )
    forked = run_module(module, *arguments, cwd=project.directory, env=environment, typed="typed")
    assert forked.returncode == started.returncode
    assert forked.stdout == started.stdout
    assert forked.stderr == started.stderr
    assert started.stdout or started.stderr


def test_a_project_with_its_own_copy_of_the_tool_loads_that(project: Project) -> None:
    project.write(
        "site_scons/site_tools/rboot.py", "def exists(env):\n    return True\n\n\ndef generate(env):\n    pass\n"
    )
    project.write("rbootimg/__init__.py", "")
    project.write("SConstruct", "Environment(tools=['rboot'])\nimport rbootimg\nprint(rbootimg.__file__)\n")
    assert str(project.directory / "rbootimg" / "__init__.py") in project.build()


def test_a_program_that_does_not_end_is_killed(tmp_path: Path) -> None:
    (tmp_path / "SConstruct").write_text("import time\nprint('begun', flush=True)\ntime.sleep(60)\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run_module("SCons", "-Q", cwd=tmp_path, timeout=0.5)
    (tmp_path / "SConstruct").write_text("print('again')\n")
    assert re.match("again\n", run_module("SCons", "-Q", cwd=tmp_path).stdout)

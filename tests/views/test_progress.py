"""Progress of what takes more than a second: on a terminal with Rich, else nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import ROOT
from support.terminals import run_python_on_terminal, without_controls

PROGRAM = """
import sys, time
from rbootimg.views.progress import progress
with progress({title!r}, 3, silent={silent}) as advance:
    for _ in range(3):
        time.sleep({seconds})
        advance()
print("rich" in sys.modules)
"""


def on_terminal(seconds: float, tmp_path: Path, silent: bool = False, title: str = "proving") -> str:
    program = PROGRAM.format(seconds=seconds, silent=silent, title=title)
    return without_controls(run_python_on_terminal("-c", program, cwd=tmp_path).out)


def test_slow_steps_are_counted_on_a_terminal(tmp_path: Path) -> None:
    shown = on_terminal(0.8, tmp_path)
    assert "proving" in shown
    assert "2/3" in shown
    assert shown.endswith("True\n")


@pytest.mark.parametrize(("seconds", "silent"), [(0.01, False), (0.5, True)])
def test_fast_or_silent_steps_are_not(tmp_path: Path, seconds: float, silent: bool) -> None:
    assert on_terminal(seconds, tmp_path, silent) == "False\n"


def test_a_pipe_gets_nothing() -> None:
    program = PROGRAM.format(seconds=0.5, silent=False, title="proving")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_a_title_with_brackets_is_shown_as_it_is(tmp_path: Path) -> None:
    assert "to web [x] [bold]root[/y]" in on_terminal(0.5, tmp_path, title="to web [x] [bold]root[/y]")


def test_a_long_title_leaves_room_for_the_count(tmp_path: Path) -> None:
    shown = on_terminal(0.8, tmp_path, title="publishing to " + "x" * 100)
    assert "publishing to xxxxxxx" in shown
    assert "2/3" in shown


def test_lines_of_other_jobs_are_not_broken(tmp_path: Path) -> None:
    program = """
import time
from rbootimg.views.progress import progress
with progress("proving"):
    time.sleep(1.5)
    print("cc -o [x] " + "y" * 200)
"""
    assert "cc -o [x] " + "y" * 200 + "\n" in without_controls(run_python_on_terminal("-c", program, cwd=tmp_path).out)

"""Colours of results, warnings and errors: on a terminal only, and not with NO_COLOR or on a dumb one."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.programs import run_module
from support.project import ROOT, VECTORS
from support.terminals import run_on_terminal, without_controls

from rbootimg.serve.server import ServerOptions, serving
from rbootimg.views.messages import print_note

ELFS = [VECTORS / f"tiny.rom{number}.elf" for number in range(2)]
GREEN, RED, YELLOW, BOLD, DIM, END = (f"\x1b[{code}m" for code in ("1;32", "1;31", "1;33", "1", "2", "0"))

PUBLISH = ("publish", "rom0.bin", "rom1.bin", "--app", "blink", "--layout", "1MB", "--version", "1.0.0")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ROMs and a published release."""
    directory = tmp_path_factory.mktemp("colours")
    for number, elf in enumerate(ELFS):
        assert run_module("rbootimg", "pack", str(elf), "-o", f"rom{number}.bin", cwd=directory).returncode == 0
    assert run_module("rbootimg", *PUBLISH, cwd=directory).returncode == 0
    return directory


RESULTS = {
    "green": (PUBLISH, f"{GREEN}blink 1.0.0 is current already{END}\n"),
    "verified": (("verify", "rom0.bin"), f"{GREEN}rom0.bin: ok, "),
    "compared": (("compare", "rom0.bin", "rom1.bin"), f"{GREEN}"),
    "checked": (("check",), f"{GREEN}build/webroot: ok{END}\n"),
    "error": (("verify", "missing.bin"), f"{RED}rbootimg:{END} missing.bin: No such file or directory\n"),
    "hint": (
        ("rollback",),
        f"{RED}rbootimg:{END} build/webroot: 1.0.0 is the only release of blink; {DIM}publish another one{END}\n",
    ),
    "usage error": (
        ("verify",),
        f"\n{RED}rbootimg verify: error:{END} the following arguments are required: ROM.BIN\n",
    ),
    "unknown command": (("nosuch",), f"\n{RED}rbootimg: error:{END} argument COMMAND: invalid choice: 'nosuch'"),
}


@pytest.mark.parametrize(("arguments", "expected"), RESULTS.values(), ids=RESULTS)
def test_a_result_is_green_and_an_error_red_on_a_terminal(
    directory: Path, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in "\n" + run_on_terminal(*arguments, cwd=directory).out


@pytest.mark.parametrize(("arguments", "expected"), RESULTS.values(), ids=RESULTS)
@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_without_colours_the_text_is_the_same(
    directory: Path, arguments: tuple[str, ...], expected: str, setting: dict[str, str]
) -> None:
    shown = run_on_terminal(*arguments, cwd=directory, **setting).out
    assert "\x1b" not in shown
    assert without_controls(expected) in "\n" + shown


@pytest.mark.parametrize(("arguments", "expected"), RESULTS.values(), ids=RESULTS)
def test_a_pipe_gets_the_same_text_without_colours(directory: Path, arguments: tuple[str, ...], expected: str) -> None:
    done = run_module("rbootimg", *arguments, cwd=directory, env={**os.environ, "COLUMNS": "80"})
    assert "\x1b" not in done.stdout + done.stderr
    assert without_controls(expected) in "\n" + done.stdout + done.stderr


def test_a_warning_is_yellow(directory: Path) -> None:
    shown = run_on_terminal("pack", VECTORS / "big.rom0.elf", "-o", "big.bin", "--section", ".text", cwd=directory).out
    assert f"big.rom0.elf: {YELLOW}warning:{END} section .data " in shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_note_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_note("rbootimg", "use --pieces")
    assert sys.stderr.getvalue() == f"rbootimg: {BOLD}note:{END} use --pieces\n"


def test_the_faults_of_a_check_are_red(directory: Path, tmp_path: Path) -> None:
    assert run_module("rbootimg", *PUBLISH, "--web-root", str(tmp_path), cwd=directory).returncode == 0
    (tmp_path / "rom1.bin").write_bytes(b"corrupt")
    done = run_on_terminal("check", "--web-root", tmp_path)
    assert done.status == 1
    assert f"{RED}rom1.bin:{END} does not match 1.0.0; run " in done.out
    assert f"{RED}rbootimg:{END} {tmp_path}: 1 fault\n" in done.out


@pytest.fixture
def slow_url(directory: Path) -> Iterator[str]:
    """The URL of the release on a server that takes seconds to send it."""
    with serving(directory / "build/webroot", host="127.0.0.1", options=ServerOptions(rate=1000)) as listening:
        yield f"http://127.0.0.1:{listening.port}/"


def test_a_check_of_more_than_a_second_shows_progress_on_a_terminal_only(slow_url: str) -> None:
    done = run_on_terminal("check", "--url", slow_url)
    assert done.status == 0, done.out
    progress, _, result = done.out.rpartition(GREEN)
    assert "checking" in progress
    assert result == f"{slow_url}: ok{END}\n"
    assert run_module("rbootimg", "check", "--url", slow_url).stdout == f"{slow_url}: ok\n"


def test_a_quick_check_shows_no_progress_and_does_not_load_rich(directory: Path) -> None:
    assert run_on_terminal("check", cwd=directory).out == f"{GREEN}build/webroot: ok{END}\n"
    code = "import sys; from rbootimg.cli.main import main; main(['check']); print('rich' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "False"

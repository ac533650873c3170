"""`rbootimg completion`: its scripts in bash, zsh and fish, with real completions in each."""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.programs import run_module
from support.project import ROOT

from rbootimg.cli.parser import COMMANDS, command_parser, complete_parser
from rbootimg.commands.completion import SHELLS, value_kind
from rbootimg.layout.presets import LAYOUT_PRESETS

pytestmark = pytest.mark.needs("zsh", "fish")

FILES = {"app.elf", "rom0.bin"}
DIRECTORIES = {"images", "web root"}

Complete = Callable[[str], set[str]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current directory of the shells."""
    directory = tmp_path_factory.mktemp("completion")
    for name in FILES:
        (directory / name).touch()
    for name in DIRECTORIES:
        (directory / name).mkdir()
    return directory


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of the script for each shell."""
    directory = tmp_path_factory.mktemp("scripts")
    scripts = {}
    for shell in SHELLS:
        done = run_module("rbootimg", "completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        scripts[shell] = directory / f"rbootimg.{shell}"
        scripts[shell].write_text(done.stdout)
    return scripts


@pytest.fixture(params=SHELLS)
def complete(request: pytest.FixtureRequest, scripts: dict[str, Path], directory: Path) -> Complete:
    """A function that returns the completions of a command line in a shell."""
    shell: str = request.param
    by_shell = {"bash": bash_completions, "zsh": zsh_completions, "fish": fish_completions}
    return lambda line: {
        re.sub(r"\\(.)", r"\1", found).rstrip("/") for found in by_shell[shell](scripts[shell], line, directory)
    }


BASH = """
source "$1"
read -ra COMP_WORDS <<<"$2"
[[ $2 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
function=$(complete -p rbootimg)
[[ $function =~ -F\\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" rbootimg
printf '%s\\n' "${COMPREPLY[@]}"
"""


def output(directory: Path, *command: object) -> list[str]:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=directory,
        env={**os.environ, "HOME": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def bash_completions(script: Path, line: str, directory: Path) -> list[str]:
    return output(directory, "bash", "--norc", "-c", BASH, "bash", script, line)


def fish_completions(script: Path, line: str, directory: Path) -> list[str]:
    lines = output(directory, "fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', script, line)
    return [line.partition("\t")[0] for line in lines]


# zsh completes only where it edits a line. compadd() prints what is added, as <…>, before it adds it.
ZSH = """
PS1= PROMPT_EOL_MARK=; setopt no_beep
autoload -Uz compinit; compinit -D -u
eval "$(<%s)"
compadd() {
    if [[ -n ${@[(r)-[OAD]]} ]]; then builtin compadd "$@"; return; fi
    local -a added
    builtin compadd -A added "$@"
    print -r -- "${(@)${(@)added/#/<}/%%/>}"
    builtin compadd "$@"
}
stop() { print -r -- "<end>"; exit }
comppostfuncs=(stop)
stty -echo
print ready
"""


def zsh_completions(script: Path, line: str, directory: Path) -> list[str]:
    setup = script.with_suffix(".setup")
    setup.write_text(ZSH % script)
    process, terminal = pty.fork()
    if not process:
        os.chdir(directory)
        environment = {**os.environ, "TERM": "dumb", "HOME": os.devnull, "COLUMNS": "500"}
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
    try:
        os.write(terminal, f"source '{setup}'\n".encode())
        read_until(terminal, b"ready\r\n")
        os.write(terminal, f"{line}\t".encode())
        shown = read_until(terminal, b"<end>")
    finally:
        os.close(terminal)
        os.waitpid(process, 0)
    return re.findall("<(.*?)>", shown.decode().rpartition("<end>")[0])


def read_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    end = time.monotonic() + 30
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, shown
        shown += os.read(terminal, 65536)
    return shown


def options_of(command: str) -> set[str]:
    return {option for action in command_parser(command)._actions for option in action.option_strings}


def test_a_command_is_completed(complete: Complete) -> None:
    assert complete("rbootimg pu") == {"publish"}
    assert complete("rbootimg ro") == {"rollback"}


def test_all_commands_are_offered(complete: Complete) -> None:
    assert complete("rbootimg ") == set(COMMANDS)


@pytest.mark.parametrize("command", ["pack", "publish", "serve", "flash"])
def test_all_long_options_of_a_command_are_offered(complete: Complete, command: str) -> None:
    assert complete(f"rbootimg {command} --") == {option for option in options_of(command) if option[:2] == "--"}


def test_the_choices_of_an_option_are_offered(complete: Complete) -> None:
    assert complete("rbootimg pack --flash-mode ") == {"qio", "qout", "dio", "dout"}
    assert {"512KB", "16MB"} < complete("rbootimg pack --flash-size ")
    assert complete("rbootimg completion ") == set(SHELLS)


@pytest.mark.parametrize("line", ["pack ", "publish --elf ", "flash --rom ", "esptool2 "])
def test_files_are_offered_where_a_file_is_expected(complete: Complete, line: str) -> None:
    assert complete(f"rbootimg {line}") == FILES | DIRECTORIES


@pytest.mark.parametrize("line", ["serve ", "releases --web-root ", "split -o "])
def test_directories_are_offered_where_a_directory_is_expected(complete: Complete, line: str) -> None:
    assert complete(f"rbootimg {line}") == DIRECTORIES


@pytest.mark.parametrize("line", ["layout ", "publish --layout "])
def test_a_layout_is_a_preset_or_a_file(complete: Complete, line: str) -> None:
    assert complete(f"rbootimg {line}") == FILES | DIRECTORIES | set(LAYOUT_PRESETS)


def test_nothing_is_offered_for_a_free_text(complete: Complete) -> None:
    assert complete("rbootimg publish --app ") == set()


def test_the_complete_parser_has_every_command_with_its_arguments() -> None:
    (commands,) = (action for action in complete_parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert tuple(commands.choices) == COMMANDS
    for name, parser in commands.choices.items():
        assert parser.prog == f"rbootimg {name}"
        assert parser.description
        if name != "esptool2":
            assert parser.format_help() == command_parser(name).format_help()


def test_each_argument_that_is_a_path_has_a_kind() -> None:
    """Its metavar tells that it is a file or a directory, as its type does."""
    paths = {"Path", "directory", "slot_and_file", "region_and_file", "name_and_file"}
    for command in COMMANDS:
        for action in command_parser(command)._actions if command != "esptool2" else ():
            is_path = getattr(action.type, "__name__", None) in paths
            kind = value_kind(str(action.metavar or action.dest.upper()))
            assert (kind in ("file", "directory")) or not is_path, (command, action.dest)


def test_a_wrong_shell_is_a_usage_error() -> None:
    done = run_module("rbootimg", "completion", "tcsh")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "rbootimg completion: error: argument shell: invalid choice: 'tcsh' (choose from "
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_the_help_tells_how_to_install_the_script(shell: str) -> None:
    assert f"rbootimg completion {shell}" in run_module("rbootimg", "completion", "--help").stdout


def test_shtab_is_loaded_by_this_command_only() -> None:
    for module in ("rbootimg.cli.main", "rbootimg.cli.parser", "rbootimg.commands.completion"):
        code = f"import sys, {module}; print('shtab' in sys.modules)"
        assert output(ROOT, sys.executable, "-c", code) == ["False"]


@pytest.mark.parametrize(
    ("shell", "path", "setup"),
    [
        ("bash", ".local/share/bash-completion/completions/rbootimg", "source ~/%s; complete -p rbootimg"),
        (
            "zsh",
            ".zfunc/_rbootimg",
            "fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit -D; echo $_comps[rbootimg]",
        ),
        ("fish", ".config/fish/completions/rbootimg.fish", "complete -C 'rbootimg publ'"),
    ],
)
def test_the_script_works_where_the_help_says(
    scripts: dict[str, Path], tmp_path: Path, shell: str, path: str, setup: str
) -> None:
    assert f"> ~/{path}" in run_module("rbootimg", "completion", "--help").stdout
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(scripts[shell].read_bytes())
    programs = Path(sys.executable).parent  # fish completes only commands that are on PATH
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / ".config"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    command = [shell, "-c", setup.replace("%s", path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "rbootimg" in done.stdout or done.stdout.startswith("publish\t")

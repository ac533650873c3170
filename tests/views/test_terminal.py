"""Output on a terminal with Rich, and plain text in a pipe without it."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT, VECTORS

from rbootimg.text import printable
from rbootimg.views import terminal
from rbootimg.views.tables import Heading, Table, plain

BIG = VECTORS / "big.rom0.elf"
BLOCKS = [
    Heading("title"),
    Table((), (("a", "fact"),), "<<"),
    Table(("name", "bytes"), (("x", "1"), ("longer", "22")), "<>", (0.5, None)),
    Heading("next"),
]
BAR, ESCAPE = "\N{BOX DRAWINGS HEAVY HORIZONTAL}", "\x1b["


def on_a_terminal(*arguments: object, **environment: str) -> str:
    """Return the output of rbootimg on a pseudo-terminal."""
    surroundings = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    reader, program = pty.openpty()
    command = [sys.executable, "-B", "-m", "rbootimg", *map(str, arguments)]
    settings = {**surroundings, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    with subprocess.Popen(command, cwd=ROOT, stdout=program, stderr=subprocess.PIPE, env=settings) as process:
        os.close(program)
        shown = b""
        while True:
            try:
                part = os.read(reader, 4096)
            except OSError:  # closed by the last writer
                break
            if not part:
                break
            shown += part
        os.close(reader)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    return shown.decode().replace("\r\n", "\n")


def in_a_pipe(*arguments: object) -> str:
    command = [sys.executable, "-B", "-m", "rbootimg", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def words(text: str) -> list[str]:
    """The words of a text without colours and bars."""
    return re.sub(f"\x1b\\[[0-9;]*m|[{BAR}╸╺]", "", text).split()


@pytest.fixture(params=["pack", "info", "size"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[object, ...]:
    """A command that shows memory usage."""
    options = ("-o", tmp_path / "rom.bin", "--slot", "0x2000") if request.param == "pack" else ()
    return (request.param, BIG, *options)


def test_a_terminal_gets_colours_and_bars(command: tuple[object, ...]) -> None:
    shown = on_a_terminal(*command)
    assert f"{ESCAPE}33m{BAR}" in shown  # 75 % of the IRAM: yellow
    assert f"{ESCAPE}32m{BAR}" in shown  # 20 % of the DRAM: green


def test_a_pipe_gets_neither(command: tuple[object, ...]) -> None:
    shown = in_a_pipe(*command)
    assert "IRAM" in shown
    assert BAR not in shown
    assert ESCAPE not in shown


@pytest.mark.parametrize("name", ["info", "size"])
def test_a_terminal_shows_the_words_of_the_plain_text(name: str) -> None:
    assert words(on_a_terminal(name, BIG)) == words(in_a_pipe(name, BIG))


def test_no_color_disables_colours_but_not_bars(command: tuple[object, ...]) -> None:
    shown = on_a_terminal(*command, NO_COLOR="1")
    assert BAR in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


def test_a_dumb_terminal_gets_plain_text() -> None:
    assert on_a_terminal("info", BIG, TERM="dumb") == in_a_pipe("info", BIG)


def test_rich_is_loaded_for_a_terminal_only() -> None:
    show = f"import sys\nfrom rbootimg.cli.main import main\nmain(['info', {str(BIG)!r}])\nprint('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_names_in_a_file_do_not_control_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "evil\x1b[2J.elf"
    path.write_bytes(BIG.read_bytes())
    for shown in (on_a_terminal("info", path), in_a_pipe("info", path)):
        assert "\x1b[2J" not in shown
        assert "evil\N{REPLACEMENT CHARACTER}[2J" in shown


def test_blocks_as_plain_text() -> None:
    assert plain(BLOCKS) == "title\n  a  fact\n\n  name    bytes\n  x           1\n  longer     22\n\nnext"
    assert plain(BLOCKS[1:3]) == "a  fact\n\nname    bytes\nx           1\nlonger     22"
    assert printable("a\nb\x1b") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


PATH = "/home/someone/projects/living-room-thermostat/build/libraries/lwip/core/ipv4/icmp_with_a_long_name.o"
WIDE = Table(
    ("ROM", "address", "bytes", "of", "%", "linked at", "state"),
    (("0", "0x102000", "1,040,384", "1,040,384", "100.0", "0x40202010", "invalid"),),
    "><>>><<",
    (1.0,),
)
LONG = Table(("flash", "%", "address", "object"), (("1,040,384", "100.0", "0x40202010", PATH),), ">><<", (0.5,))


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_shows_addresses_in_one_line_and_paths_in_full(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.show([Heading("title"), WIDE, LONG])
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    (row,) = (line for line in lines if "0x102000" in line)
    assert words(row) == [*WIDE.rows[0]]
    assert BAR in row
    start = next(line for line in lines if "object" in line).index("object")
    assert "".join(line[start:].split(" ")[0] for line in lines[lines.index(row) + 3 :]) == PATH
    assert "…" not in shown


def test_a_heading_is_one_line_however_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal wraps it, so that a path in it can be copied."""
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    terminal.show([Heading(f"{PATH}: valid", good=True)])
    assert capsys.readouterr().out == f"{PATH}: valid\n"

"""Runs what a page of the documentation has its reader type, and compares what comes out with what the page shows.

A page is Markdown. A `console` block has commands after `$ `, each with its output below; one that ends in a backslash
goes on in the next line. All of a page run in one bash in one directory, one after the other. HTML comments, which no
reader sees, say what else there is:

    <!-- file: NAME -->         the next block is this file
    <!-- append to: NAME -->    the next block is added to this file
    <!-- run: COMMAND -->       a command that is run without being shown
    <!-- not run: REASON -->    the next block cannot be run here
    <!-- exit status: N -->     the last command of the next block ends with N instead of 0

In output that is shown, `…` is any text of a line, a line of `…` any lines; a SHA-256, a size and a percentage are like
any other, and blanks like any other number of them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

_COMMENT = re.compile(r"<!-- (file|append to|run|not run|exit status): (.+?) -->", re.DOTALL)
_MARK = "\x1e"  # the control character "record separator"
_TOKEN = re.compile(
    r"(?P<any>…)|(?P<digest>\b[0-9a-f]{64}\b)|(?P<blanks>[ \t]+)"
    r"|(?P<number>(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,])"  # 1,234
    r"|(?<![\w.,])\d+(?= (?:B|bytes|KB|MB|%|ms|s)\b)"  # 12 KB
    r"|(?<![\w.])\d+\.\d(?![\d.]))"  # 1.2, but not 1.2.3
)
_PATTERNS = {"any": ".*", "digest": "[0-9a-f]{64}", "blanks": "[ \t]+", "number": r"[\d,.]+"}


class Command(NamedTuple):
    """A command, the output that the page shows for it, and that output's lines: the first and the one after."""

    text: str
    shown: str
    status: int
    lines: tuple[int, int]


class File(NamedTuple):
    """A file that the reader writes."""

    name: str
    text: str
    appended: bool


class Ran(NamedTuple):
    """What became of a command."""

    command: Command
    output: str
    status: int | None

    @property
    def is_as_shown(self) -> bool:
        return self.status == self.command.status and matches(self.output, self.command.shown)


def steps(page: str) -> Iterator[Command | File]:
    """What the reader of `page` does, in order. Hidden commands show no output and are compared with none."""
    said: dict[str, str] = {}
    for token in MarkdownIt().parse(page):
        if token.type == "html_block":
            for kind, value in _COMMENT.findall(token.content):
                assert token.map
                if kind == "run":
                    yield Command(value, "…", 0, (token.map[0], token.map[0]))
                else:
                    said[kind] = value
        elif token.type == "fence":
            assert token.map
            if "file" in said or "append to" in said:
                yield File(said.get("file") or said["append to"], token.content, "append to" in said)
            elif token.info == "console" and "not run" not in said:
                yield from _commands(token.content, token.map[0] + 1, int(said.get("exit status", 0)))
            said = {}


def _commands(block: str, first: int, status: int) -> Iterator[Command]:
    lines = block.splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    assert starts[:1] == [0], f"line {first + 1}: a console block begins with a command"
    for start, after in zip(starts, [*starts[1:], len(lines)]):
        end = start + 1
        while lines[end - 1].endswith("\\"):
            end += 1
        text = "\n".join([lines[start][2:], *(line.removeprefix("> ") for line in lines[start + 1 : end])])
        ends_with = status if after == len(lines) else 0
        yield Command(text, "\n".join(lines[end:after]), ends_with, (first + end, first + after))


def matches(output: str, shown: str) -> bool:
    """Whether `output` is what a page shows."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else _line_pattern(line.rstrip()) + "\n" for line in shown.splitlines()
    )
    lines = [line.rstrip() for line in output.rstrip().splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _line_pattern(line: str) -> str:
    pattern, end = "", 0
    for found in _TOKEN.finditer(line):
        pattern += re.escape(line[end : found.start()]) + _PATTERNS[str(found.lastgroup)]
        end = found.end()
    return pattern + re.escape(line[end:])


def run(page: str, directory: Path, environment: Mapping[str, str], seconds: float = 240) -> list[Ran]:
    """Do what `page` says in `directory`. A command that was not reached has no status."""
    todo = list(steps(page))
    commands = [step for step in todo if isinstance(step, Command)]
    script = "".join(map(_shell, todo))
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
            output, _ = process.communicate()
    _, *parts = output.split(_MARK)
    outputs, statuses = parts[::2], parts[1::2]
    return [
        Ran(command, outputs[at] if at < len(outputs) else "", int(statuses[at]) if at < len(statuses) else None)
        for at, command in enumerate(commands)
    ]


def _shell(step: Command | File) -> str:
    mark = f"printf '{_MARK}'\n"
    if isinstance(step, Command):
        return f"{mark}{step.text}\nprintf '{_MARK}%s' $?\n"
    to = shlex.quote(step.name)
    return f'mkdir -p "$(dirname {to})"\nprintf %s {shlex.quote(step.text)} >{">" * step.appended}{to}\n'


def with_outputs(page: str, results: Sequence[Ran]) -> str:
    """`page` with what the commands printed where that is not what it shows."""
    lines = page.splitlines(keepends=True)
    for ran in reversed(results):
        start, end = ran.command.lines
        if not matches(ran.output, ran.command.shown):
            lines[start:end] = [f"{line.rstrip()}\n" for line in ran.output.rstrip().splitlines()]
    return "".join(lines)

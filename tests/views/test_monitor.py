"""The UART's output as people see it: colours, time stamps, prompts, the log, and nothing that harms a terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from support import crashes

from rbootimg.monitor.decoder import LogDecoder
from rbootimg.monitor.elfs import ElfFinder, KnownElf
from rbootimg.views.monitor import MonitorView, local_time


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def view(out: io.StringIO, *, log: io.StringIO | None = None, stamp: str = "", elf: Path | None = None) -> MonitorView:
    finder = ElfFinder([KnownElf(elf)] if elf else [])
    return MonitorView(LogDecoder(finder), log, (lambda: stamp) if stamp else None, out)


def shown(*parts: bytes, out: io.StringIO | None = None, stamp: str = "") -> str:
    out = out or io.StringIO()
    screen = view(out, stamp=stamp)
    for part in parts:
        screen.feed(part)
    screen.close()
    return out.getvalue()


def test_a_pipe_gets_the_lines_as_they_are() -> None:
    assert shown(b"Rom 1 at 82000 is bad.\r\nhel", b"lo\r\n") == "Rom 1 at 82000 is bad.\nhello\n"


def test_a_terminal_gets_colours() -> None:
    text = shown(b"Rom 1 at 82000 is bad.\r\nBooting rom 0 at 2000\r\nFatal exception (28):\r\nplain\n", out=Terminal())
    assert text.splitlines() == [
        "\x1b[1;33mRom 1 at 82000 is bad.\x1b[0m",
        "\x1b[2mBooting rom 0 at 2000\x1b[0m",
        "\x1b[1;31mFatal exception (28):\x1b[0m",
        "plain",
    ]


def test_time_stamps_begin_each_line() -> None:
    assert shown(b"one\ntwo\n", stamp="12:00:00.000") == "12:00:00.000  one\n12:00:00.000  two\n"
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", local_time())


def test_a_prompt_is_shown_before_its_line_ends_and_only_once() -> None:
    out = io.StringIO()
    screen = view(out, stamp="12:00")
    screen.feed(b"> ")
    assert out.getvalue() == ""
    screen.pause()
    assert out.getvalue() == "12:00  > "
    screen.feed(b"help\n")
    assert out.getvalue() == "12:00  > help\n"


def test_a_character_in_two_pieces_is_one() -> None:
    assert shown("°".encode()[:1], "°".encode()[1:] + b"\n") == "°\n"


def test_control_sequences_are_not_passed_to_the_terminal_but_for_colours() -> None:
    text = shown(b"\x1b]0;title\x07\x1b[2J\x1b[32mgreen\x1b[0m\ttab\n")
    assert text.replace("\N{REPLACEMENT CHARACTER}", "?") == "?]0;title??[2J\x1b[32mgreen\x1b[0m\ttab\n"


def test_a_line_without_an_end_is_cut_into_several() -> None:
    assert [len(line) for line in shown(b"x" * 10000).splitlines()] == [4096, 4096, 1808]


@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_the_log_has_reports_and_no_colours(tmp_path: Path) -> None:
    path = tmp_path / "rom0.elf"
    path.write_bytes(crashes.elf(0))
    log, out = io.StringIO(), Terminal()
    screen = view(out, log=log, elf=path)
    pc = crashes.address(crashes.elf(0), "record") + 4
    screen.feed(b"\x1b[32mgreen\x1b[0m\n" + (crashes.boot_log(0) + crashes.exception(pc)).encode())
    screen.close()
    assert "\x1b" in out.getvalue()
    assert "\x1b" not in log.getvalue()
    assert log.getvalue().startswith("green\n")
    assert f"record at {re.search('record at (.*)', log.getvalue())[1]}" in log.getvalue()  # type: ignore[index]
    assert f"sensor.c:{crashes.RECORD}" in log.getvalue()


def test_a_stack_dump_is_reported_when_nothing_comes_any_more() -> None:
    out = io.StringIO()
    screen = view(out)
    screen.feed(b"3ffffe40:  00000000 40202014\n")
    assert "note:" not in out.getvalue()
    screen.pause()
    assert "note: no ELF to look up addresses" in out.getvalue()


def test_an_unreadable_line_is_forgotten() -> None:
    out = io.StringIO()
    screen = view(out)
    screen.feed(b"\x00\xff\x00")
    screen.drop_line()
    screen.note("115200 baud")
    screen.feed(b"hello\n")
    assert out.getvalue() == "[115200 baud]\nhello\n"

"""What a build prints about its ROMs, proofs and releases, as lines and tables."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.releases import make
from support.terminals import without_controls

from rbootimg.layout.memory import Usage
from rbootimg.layout.model import Slot
from rbootimg.release.webroot import Omission, Outcome, Published
from rbootimg.views import build
from rbootimg.views.build import (
    ProvedRoms,
    RomUsage,
    proof_line,
    published_files_line,
    published_line,
    rolled_back_line,
)

LOADER = "loader.bin"


def usage(name: str, number: int | None = 0) -> RomUsage:
    usages = (Usage("IRAM", 24_512, 32_768), Usage("DRAM", 79_000, 81_920), Usage("flash", 450_704, 503_808))
    return RomUsage(name, Slot(0x2000, 503_808, number), 0x40202010, {each.name: each for each in usages})


def draw(roms: list[RomUsage], columns: int) -> list[str]:
    return build._draw(roms, columns).splitlines()


# The table


def test_a_wide_terminal_gets_all_columns() -> None:
    head, row = draw([usage("app/rom0.bin")], 140)
    assert head.split() == ["ROM", "slot", "linked", "at", "IRAM", "of", "%", "DRAM", "of", "%", "flash", "of", "%"]
    assert row.replace("━", "").replace("╸", "").split() == [
        *("app/rom0.bin", "0", "at", "0x2000", "0x40202010"),
        *("24,512", "32,768", "74.8", "79,000", "81,920", "96.4", "450,704", "503,808", "89.5"),
    ]
    assert row.count("━") > 3 * 8


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_bars_that_it_can_show(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    build.print_roms([usage("größer\N{SNOWMAN}/rom0.bin")])
    stdout.flush()
    shown = without_controls(stdout.buffer.getvalue().decode(encoding))
    assert "24,512 ======-.." in shown
    assert {"ascii": "gr??er?/rom0.bin", "latin-1": "größer?/rom0.bin"}[encoding] in shown


@pytest.mark.parametrize(
    ("columns", "numbers"),
    [(120, ["24,512", "74.8", "79,000", "96.4", "450,704", "89.5"]), (80, ["24,512", "79,000", "450,704"])],
)
def test_a_narrow_terminal_gets_fewer_columns_and_all_bars(columns: int, numbers: list[str]) -> None:
    _, row = draw([usage("app/rom0.bin")], columns)
    words = row.replace("━", " ").replace("╸", " ").split()
    assert words == ["app/rom0.bin", "0", "at", "0x2000", "0x40202010", *numbers]
    assert len(row) <= columns


def test_a_long_name_has_a_line_of_its_own() -> None:
    name = "a/very/long/path/to/an/application/rom0.bin"
    lines = draw([usage(name), usage("b/rom0.bin")], 80)
    assert lines[2::2] == [name, "b/rom0.bin"]
    assert lines[3].startswith("  0 at 0x2000  0x40202010  24,512 ━")
    assert max(map(len, lines)) <= 80


def test_a_tiny_terminal_gets_no_bars_and_all_numbers() -> None:
    lines = draw([usage("app/rom0.bin")], 40)
    assert lines[2:] == ["app/rom0.bin", "  0 at 0x2000  0x40202010  24,512   79,000   450,704"]


def test_what_is_unknown_is_empty() -> None:
    rom = RomUsage("x.bin", None, None, {"flash": Usage("flash", 160, None)})
    assert build._draw([rom], 200).splitlines()[1].split() == ["x.bin", "160"]


def test_a_thousand_roms_take_less_than_a_second() -> None:
    roms = [usage(f"app{number}/rom0.bin") for number in range(1000)]
    start = time.process_time()
    assert len(draw(roms, 80)) == 1001
    assert time.process_time() - start < 1


# Proofs


@pytest.mark.parametrize(
    ("proved", "line"),
    [
        ([ProvedRoms("a", 2, LOADER, False)], "proved 2 ROMs with loader.bin, every byte in place"),
        ([ProvedRoms("a", 1, LOADER, True)], "proved before: 1 ROM with loader.bin"),
        (
            [ProvedRoms("a", 2, LOADER, True), ProvedRoms("b", 3, "other.bin", False)],
            "proved 3 ROMs of b with other.bin, every byte in place; proved before: 2 ROMs of a",
        ),
        (
            [ProvedRoms(str(number), 2, LOADER, False) for number in range(1000)],
            "proved 2,000 ROMs of 1,000 applications with loader.bin, every byte in place",
        ),
    ],
)
def test_one_line_says_what_is_proved(proved: list[ProvedRoms], line: str) -> None:
    assert proof_line(proved) == line


# Releases


def published(outcome: Outcome, before: str | None = None, **options: object) -> Published:
    return Published(Path("web"), make("1.3.0", **options).release, outcome, before)


SIZES = "(rom0 80 B, rom1 80 B)"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (published(Outcome.SWITCHED), f"published blink 1.3.0 to web {SIZES}, not proved"),
        (
            published(Outcome.SWITCHED, "1.2.0", proved_by=LOADER),
            f"published blink 1.3.0 to web {SIZES}, proved with loader.bin, previously 1.2.0",
        ),
        (published(Outcome.SWITCHED, "1.3.0"), f"repaired blink 1.3.0 in web {SIZES}, not proved"),
        (published(Outcome.REPLACED, "1.3.0"), f"replaced blink 1.3.0 in web {SIZES}, not proved"),
        (published(Outcome.UNCHANGED, "1.3.0"), f"blink 1.3.0 is current already in web {SIZES}, not proved"),
        (published(Outcome.REPAIRED, "1.4.0"), "repaired blink 1.3.0 in web; 1.4.0 is still current"),
        (
            replace(published(Outcome.UNCHANGED, "1.3.0"), omitted=(Omission.ELFS, Omission.DATE)),
            f"blink 1.3.0 is current already in web {SIZES}, not proved; the stored release has the same ROMs and was "
            "kept, without the new ELFs and date",
        ),
    ],
)
def test_one_line_says_what_was_published(result: Published, line: str) -> None:
    assert published_line(result, "web") == line


def test_many_roms_are_counted() -> None:
    line = published_files_line("app", "web", [100] * 12, LOADER, changed=True)
    assert line == "published app to web (12 ROMs 1,200 B), proved with loader.bin, without a version"
    line = published_files_line("app", "web", [100] * 2, None, changed=False)
    assert line == "app is current already in web (rom0 100 B, rom1 100 B), not proved, without a version"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (published(Outcome.SWITCHED, "1.4.0"), f"blink 1.3.0 is current again instead of 1.4.0 in web {SIZES}"),
        (published(Outcome.SWITCHED), f"blink 1.3.0 is current again in web {SIZES}"),
        (published(Outcome.SWITCHED, "1.3.0"), f"repaired blink 1.3.0 in web, which was current already {SIZES}"),
        (published(Outcome.UNCHANGED, "1.3.0"), f"blink 1.3.0 is current already in web {SIZES}"),
    ],
)
def test_one_line_says_what_was_rolled_back(result: Published, line: str) -> None:
    assert rolled_back_line(result, "web") == line

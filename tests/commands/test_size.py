"""The command size against another build, with limits, and as Markdown."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from support.programs import run_module
from support.project import ROOT, VECTORS

APP, OLD = str(VECTORS / "mixed.rom0.elf"), str(VECTORS / "tiny.rom0.elf")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with an application's files."""
    for number in (0, 1):
        elf = (VECTORS / f"mixed.rom{number}.elf").read_bytes()
        (tmp_path / f"{number}.elf").write_bytes(elf)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, status: int = 0) -> tuple[str, str]:
    """Run rbootimg; return its stdout and stderr."""
    done = run_module("rbootimg", *arguments, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def web_root(directory: Path) -> Path:
    """A web root with a release and its ELFs."""
    for number in (0, 1):
        run("pack", f"{number}.elf", "-o", f"{number}.bin")
    release = ["0.bin", "1.bin", "--app", "blink", "--layout", "1MB", "--elf", "0.elf", "--elf", "1.elf"]
    run("publish", *release, "--version", "1.0.0", "--web-root", "www")
    return directory / "www"


def test_against_an_elf_is_the_same_as_an_old_elf() -> None:
    assert run("size", APP, "--against", OLD) == run("size", APP, OLD)


@pytest.mark.parametrize("release", ["www", "www/releases/1.0.0"])
@pytest.mark.parametrize("number", [0, 1])
def test_against_a_release_compares_with_the_elf_of_the_same_slot(web_root: Path, release: str, number: int) -> None:
    out, _ = run("size", f"{number}.elf", "--against", release)
    assert "no difference by symbol" in out
    assert "no difference by section" in out


def test_a_release_without_the_elf_is_refused(directory: Path, web_root: Path) -> None:
    (web_root / "releases/1.0.0/rom0.elf").write_bytes(b"x")
    _, err = run("size", "0.elf", "--against", "www", status=1)
    assert err == "rbootimg: www/releases/1.0.0/rom0.elf: does not match its manifest\n"
    run(*shlex.split("publish 0.bin 1.bin --app blink --layout 1MB --version 1.1.0 --web-root www"))
    _, err = run("size", "0.elf", "--against", "www", status=1)
    assert err == (
        "rbootimg: www/manifest.json: blink 1.1.0 was published without an ELF linked at 0x40202010; publish "
        "with RBOOT_PUBLISH_ELFS=yes or --elf\n"
    )
    _, err = run("size", "0.elf", "--against", ".", status=1)
    assert err == "rbootimg: manifest.json: No such file or directory\n"


def test_a_limit_that_is_exceeded_fails_after_the_tables() -> None:
    out, err = run("size", APP, "--fail-over", "IRAM=32", "--fail-over", "DRAM=99%", status=1)
    assert out == run("size", APP)[0]
    assert err == (
        f"rbootimg: {APP}: IRAM: 36 bytes, 4 over the limit of 32; largest: call_user_start 32, (no symbol, .text) 4\n"
    )
    run("size", APP, "--fail-over", "IRAM=36", "--fail-over", "rom=0.1%", "--layout", "1MB")


def test_the_growth_of_the_rom_has_a_limit() -> None:
    run("size", APP, "--against", OLD, "--fail-over", "rom=+4KB")
    _, err = run("size", APP, "--against", OLD, "--fail-over", "rom=+1", status=1)
    assert " over the limit of " in err
    assert " (+1); grown most: " in err


def test_markdown_has_the_memories_first_and_what_is_over_the_limit() -> None:
    command = ("size", APP, "--against", OLD, "--format", "markdown", "--fail-over", "IRAM=32")
    out, _ = run(*command, status=1)
    lines = out.splitlines()
    assert lines[0] == f"### {APP} compared with {OLD}"
    assert lines[2].startswith("**Over the limit:** `IRAM: 36 bytes, 4 over the limit of 32; largest: call_user_start")
    assert lines[4:6] == ["| old | new | change | % | memory |", "| ---: | ---: | ---: | ---: | --- |"]
    assert "<details><summary>by section</summary>" in lines
    assert "<details><summary>by symbol</summary>" in lines
    assert out.count("</details>") == 2
    assert "<details><summary>by symbol</summary>" in run("size", APP, "--format", "markdown", "--by", "symbol")[0]


def test_json_is_complete_also_over_the_limit() -> None:
    out, _ = run("size", APP, "--json", "--fail-over", "IRAM=32", status=1)
    assert json.loads(out)["regions"][0]["used"] == 36


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((OLD, "--against", OLD), "OLD.ELF and --against are mutually exclusive"),
        (("--json", "--format", "markdown"), "--json and --format markdown are mutually exclusive"),
        (
            ("--fail-over", "IRAM"),
            "argument --fail-over: invalid limit 'IRAM': expected MEMORY=LIMIT, such as IRAM=95%",
        ),
        (("--fail-over", "RAM=1"), "argument --fail-over: unknown memory 'RAM': expected one of IRAM, DRAM, rom"),
    ],
)
def test_wrong_usage_names_the_argument(arguments: tuple[str, ...], error: str) -> None:
    _, err = run("size", APP, *arguments, status=2)
    assert err.splitlines()[-1] == f"rbootimg size: error: {error}"


@pytest.mark.parametrize("limit", ["rom=95%", "rom=+1"])
def test_a_limit_that_cannot_be_calculated_is_refused(limit: str) -> None:
    out, err = run("size", APP, "--fail-over", limit, status=1)
    assert out == ""
    assert err.startswith("rbootimg: --fail-over: limit ")

"""A layout, a script and sources in a variant_dir, with and without copies: SCons's options behave as documented."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from support.project import APP, ROOT, TOOL, Project

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")


@pytest.fixture(params=[True, False], ids=["copies", "no copies"])
def variant(project: Project, request: pytest.FixtureRequest) -> Project:
    project.write("src/fw/main.c", APP)
    project.write("src/board.toml", 'preset = "1MB"\n')
    shutil.copy(ROOT / "rbootimg" / "ld" / "baremetal.ld", project.directory / "src" / "my.ld")
    shutil.copy(ROOT / "rbootimg" / "ld" / "maskrom.ld", project.directory / "src" / "maskrom.ld")
    project.write(
        "src/SConscript",
        "Import('env')\n"
        "roms = env.RbootApp('app', Glob('fw/*.c'), RBOOT_LAYOUT='board.toml', RBOOT_LDSCRIPT='my.ld')\n"
        "env.RbootFlashImage('flash.bin', roms, RBOOT_LAYOUT='board.toml')\n",
    )
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_VERSION='1.0.0')\n"
        f"SConscript('src/SConscript', variant_dir='out', duplicate={request.param}, exports='env')\n",
    )
    return project


def files(project: Project) -> set[str]:
    """All files except SCons's database, which it writes with -n too."""
    found = {str(path.relative_to(project.directory)) for path in project.directory.rglob("*") if path.is_file()}
    return found - {".sconsign.dblite"}


def test_a_dry_run_says_what_it_would_do_and_does_nothing(variant: Project) -> None:
    targets = (
        "",
        "publish",
        "prove",
        "boot",
        "flash",
        "releases",
        "rollback",
        "serve",
        "roms",
        "compile_commands.json",
    )
    before = files(variant)
    for target in targets:
        assert variant.build("-n", *filter(None, [target])), target
        assert files(variant) == before, target
    variant.build()
    variant.build("publish")
    before = files(variant)
    for target in targets:
        variant.build("-n", *filter(None, [target]))
        assert files(variant) == before, target


def test_a_question_is_answered_by_the_status(variant: Project) -> None:
    assert variant.run("-q").status == 1
    assert not variant.exists("out/app/rom0.bin")
    variant.build()
    assert variant.run("-q").status == 0
    variant.write("src/board.toml", 'preset = "1MB"\nflash_mode = "dio"\n')
    assert variant.run("-q").status == 1


@pytest.mark.parametrize("option", ["--debug=explain", "--tree=all", "--tree=status,derived", "--debug=presub"])
def test_options_that_show_more_build_the_same(variant: Project, option: str) -> None:
    variant.build(option)
    first = variant.read("out/app/rom1.bin")
    assert "PACK" not in variant.build(option)
    variant.build("-c")
    variant.build()
    assert variant.read("out/app/rom1.bin") == first


def test_cleaning_removes_what_was_built(variant: Project) -> None:
    variant.build("publish")
    variant.build()
    variant.build("-c")
    left = {name for name in files(variant) if name.startswith(("out/", "build/rboot"))}
    sources = {"out/SConscript", "out/board.toml", "out/my.ld", "out/maskrom.ld", "out/fw/main.c"}
    assert left <= sources
    assert variant.exists("build/webroot/rom0.bin")


def test_an_interactive_session(variant: Project) -> None:
    lines = "build\nbuild publish\nclean\nbuild publish prove boot\nexit\n"
    done = subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", "--interactive"],
        cwd=variant.directory,
        input=lines,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stdout.count("app 1.0.0") >= 2
    assert "Booting rom 0" in done.stdout


def test_a_proof_stays_while_its_roms_do(variant: Project) -> None:
    """Found: SCons deletes files without a source and a builder from a variant_dir with copies."""
    variant.build("publish")
    variant.build()
    variant.build("-n")
    assert "proved before: 2 ROMs with" in variant.build("prove")

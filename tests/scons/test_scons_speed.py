"""What a build leaves undone for the sake of time, and what it does side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import APP, ROOT, TOOL, Project

# A linker that notes when it begins and ends. The first waits for the second one, for a while.
WRAPPER = """\
#!/bin/sh
echo begin >> notes
for try in $(seq ${WAIT:-0}); do [ $(grep -c begin notes) = 2 ] && break; sleep 0.1; done
xtensa-lx106-elf-gcc "$@"
status=$?
echo end >> notes
exit $status
"""
WITH_LINKER = f"env = Environment({TOOL}, LINK='./linker')\nenv['ENV']['WAIT'] = ARGUMENTS['WAIT']\n"


@pytest.fixture
def linked(project: Project) -> Project:
    """A project whose linker is the one above."""
    project.write("linker", WRAPPER).chmod(0o755)
    project.write("SConstruct", WITH_LINKER + "env.RbootApp('app', 'main.c', RBOOT_MAP='yes')\n")
    return project


def notes(project: Project) -> list[str]:
    return project.read("notes").decode().split()


def test_with_jobs_the_slots_are_linked_side_by_side(linked: Project) -> None:
    printed = linked.build("-j2", "WAIT=300")
    assert notes(linked) == ["begin", "begin", "end", "end"]
    parallel = [linked.digest(f"app/rom{slot}.{kind}") for slot in (0, 1) for kind in ("elf", "bin", "map")]
    linked.build("-c", "WAIT=0")
    (linked.folder / "notes").unlink()
    assert sorted(linked.build("-j1", "WAIT=0").splitlines()) == sorted(printed.splitlines())
    assert notes(linked) == ["begin", "end", "begin", "end"]
    assert [linked.digest(f"app/rom{slot}.{kind}") for slot in (0, 1) for kind in ("elf", "bin", "map")] == parallel


def test_of_two_links_that_fail_at_once_the_first_is_told(linked: Project) -> None:
    linked.write("main.c", APP.replace("in_flash();", "in_flash(); nowhere();"))
    run = linked.run("-j2", "WAIT=300")
    assert (run.status, notes(linked)) == (2, ["begin", "begin", "end", "end"])
    assert run.err.count("collect2: error") == run.err.count("main.c:(.text+0x23): undefined reference") == 1, run.err
    assert run.err.count("scons: ***") == run.err.count("scons: *** [app/rom0.elf]") == 1
    assert "rom1.elf" not in run.text
    linked.build("-c", "WAIT=0")
    (linked.folder / "notes").unlink()
    assert linked.run("-j1", "WAIT=0").err == run.err


@pytest.mark.parametrize("slot", [0, 1])
def test_the_other_link_of_one_that_fails_is_as_without_jobs(linked: Project, slot: int) -> None:
    filler = '__asm__(".section .irom0.text,\\"ax\\"\\n.zero 5000\\n.text\\n");'
    linked.write("main.c", APP + filler)
    slots = ("0x2000:0x1000 0x82000", "0x2000 0x82000:0x1000")[slot]
    left = set()
    for arguments in (("-j2", "WAIT=300"), ("-j1", "WAIT=0")):
        run = linked.run(*arguments, f"RBOOT_SLOTS={slots}")
        assert run.status == 2
        assert f"] app/rom{slot}.elf: the flash code is " in run.err
        left.add((run.out.count("rom1.elf"), *sorted(path.name for path in (linked.folder / "app").iterdir())))
        linked.build("-c", "WAIT=0", f"RBOOT_SLOTS={slots}")
    assert len(left) == 1, left


def test_a_dry_run_with_jobs_links_nothing(linked: Project) -> None:
    assert linked.build("-n", "-j2", "WAIT=0").count("./linker") == 2
    assert not linked.exists("notes")


# What takes its time to load, of Python's and of ours: for proofs, releases, devices, and for what is packed or linked.
OURS = """
    analysis emulator.qemu emulator.proof flash.image flash.bootconfig release.webroot release.manifest rom.elf
    rom.format rom.pack scons.publishing scons.proving scons.releases scons.running layout.presets serve templates
    views.rom
"""
OTHERS = "asyncio concurrent.futures elftools esptool h11 html http jinja2 rich semver socket ssl tomllib tomli urllib"
SLOW = {*(f"rbootimg.{name}" for name in OURS.split()), *OTHERS.split()}


def test_a_build_with_nothing_to_do_loads_only_what_it_needs(project: Project) -> None:
    project.write("SConstruct", (ROOT / "examples" / "hello" / "SConstruct").read_text())
    project.write("main.c", (ROOT / "examples" / "hello" / "main.c").read_text())
    project.build("-j2")
    project.write("empty/SConstruct", "")

    def loaded(folder: Path) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-m", "SCons", "-Q"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        assert "is up to date" in done.stdout
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    more = loaded(project.folder) - loaded(project.folder / "empty")
    assert "rbootimg.scons.tool" in more
    assert not more & SLOW
    # Each takes 0.2 ms and more; SCons itself loads some three hundred.
    assert len(more) < 50, sorted(more)

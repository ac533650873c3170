"""What a build skips to save time, and what it does in parallel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.project import APP, ROOT, TOOL, Project

# A linker that logs its start and end. The first one waits up to WAIT / 10 seconds for the second to start.
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
    (linked.directory / "notes").unlink()
    assert sorted(linked.build("-j1", "WAIT=0").splitlines()) == sorted(printed.splitlines())
    assert notes(linked) == ["begin", "end", "begin", "end"]
    assert [linked.digest(f"app/rom{slot}.{kind}") for slot in (0, 1) for kind in ("elf", "bin", "map")] == parallel


def test_of_two_links_that_fail_the_first_is_reported(linked: Project) -> None:
    linked.write("main.c", APP.replace("in_flash();", "in_flash(); nowhere();"))
    run = linked.run("-j2", "WAIT=300")
    assert (run.status, notes(linked)) == (2, ["begin", "begin", "end", "end"])
    assert run.err.count("collect2: error") == run.err.count("main.c:(.text+0x23): undefined reference") == 1, run.err
    assert run.err.count("scons: ***") == run.err.count("scons: *** [app/rom0.elf]") == 1
    assert "rom1.elf" not in run.text
    linked.build("-c", "WAIT=0")
    (linked.directory / "notes").unlink()
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
        assert f"] app/rom{slot}.elf: flash code overflows slot {slot} at " in run.err
        left.add((run.out.count("rom1.elf"), *sorted(path.name for path in (linked.directory / "app").iterdir())))
        linked.build("-c", "WAIT=0", f"RBOOT_SLOTS={slots}")
    assert len(left) == 1, left


# A linker that never ends, with an incomplete file as its output.
ENDLESS = """\
#!/bin/sh
printf half > "$2"
echo $$ >> linkers
sleep 60
"""


@pytest.mark.parametrize("jobs", ["-j1", "-j2"])
def test_ctrl_c_ends_all_links_and_leaves_no_incomplete_elf(linked: Project, jobs: str) -> None:
    expected = int(jobs[-1])
    linked.write("linker", ENDLESS).chmod(0o755)
    command = [sys.executable, "-m", "SCons", "-Q", jobs, "WAIT=0", "RBOOT_SLOTS=0x2000:64KB 0x12000:64KB 0x22000:64KB"]

    def accept_interrupt() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell lets its background jobs ignore it

    with subprocess.Popen(
        command,
        cwd=linked.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=accept_interrupt,
    ) as scons:
        deadline = time.monotonic() + 60
        while not linked.exists("linkers") or len(linked.read("linkers").split()) < expected:
            assert time.monotonic() < deadline
            assert scons.poll() is None
            time.sleep(0.05)
        os.killpg(scons.pid, signal.SIGINT)  # as a terminal does
        text = scons.communicate(timeout=30)[0]
    assert scons.returncode == 2, text
    assert "Build interrupted" in text
    assert "Traceback" not in text
    processes = linked.read("linkers").split()
    assert len(processes) == expected, "no other link is started"
    assert not [process for process in processes if Path(f"/proc/{process}").exists()]
    assert not list((linked.directory / "app").glob("*"))
    linked.write("linker", WRAPPER).chmod(0o755)
    linked.build("WAIT=0")


def test_a_dry_run_with_jobs_links_nothing(linked: Project) -> None:
    assert linked.commands("-n", "-j2", "WAIT=0").count("./linker") == 2
    assert not linked.exists("notes")


# Modules that are slow to import, for proofs, releases, devices, packing and linking.
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

    def loaded(directory: Path) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-m", "SCons", "-Q"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=True)
        assert "is up to date" in done.stdout
        return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}

    more = loaded(project.directory) - loaded(project.directory / "empty")
    assert "rbootimg.scons.tool" in more
    assert not more & SLOW
    # Each takes 0.2 ms or more; SCons itself loads about three hundred.
    assert len(more) < 52, sorted(more)


def test_a_build_looks_for_no_compiler_of_the_host(project: Project) -> None:
    """SCons's default environment would; it is made without tools, unless the SConstruct uses it."""
    sconstruct = project.read("SConstruct").decode() + (
        "def report(target, source, env):\n"
        "    print('TOOLS', DefaultEnvironment()['TOOLS'])\n"
        "env.AlwaysBuild(env.Command('report', 'app/rom0.bin', report))\n"
    )
    project.write("SConstruct", sconstruct)
    assert "TOOLS []\n" in project.build()
    assert "TOOLS []\n" in project.build("-j2")
    project.write("host.c", "int main(void) { return 0; }\n")
    project.write("SConstruct", f"{sconstruct}Install('out', Program('host', 'host.c'))\n")
    assert "'gcc'" in project.build()
    assert subprocess.run([project.directory / "out/host"], check=False).returncode == 0

"""What a build leaves undone for the sake of time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.project import ROOT, Project

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

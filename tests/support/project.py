"""What tests of whole builds share: a project in a directory of its own, built by the real SCons."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .programs import ROOT, run_module

VECTORS = ROOT / "tests" / "vectors"

APP = """
extern int ets_printf(const char *, ...);
#define Cache_Read_Enable ((void (*)(int, int, int))0x40004678) /* the mask ROM's */
static const char text[] = "an application";
int counter = 3;
__attribute__((section(".irom0.text"), noinline)) void in_flash(void) { ets_printf(text, counter++); }
void call_user_start(void) { Cache_Read_Enable(0, 0, 1); in_flash(); }
"""

TOOL = f"tools=['default', 'rboot'], toolpath=[{str(ROOT / 'site_scons' / 'site_tools')!r}], CCFLAGS='-Os'"


def segments(client: socket.socket) -> int:
    """How many TCP segments with data have come: tcpi_data_segs_in, linux/tcp.h."""
    return int(struct.unpack_from("I", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160), 152)[0])


@dataclass(frozen=True)
class Run:
    """What a run of a program came to."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Project:
    """A project's directory."""

    directory: Path

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def read(self, name: str) -> bytes:
        return (self.directory / name).read_bytes()

    def digest(self, name: str) -> str:
        return hashlib.sha256(self.read(name)).hexdigest()

    def exists(self, name: str) -> bool:
        return (self.directory / name).exists()

    def run(self, *arguments: str, environment: dict[str, str] | None = None, **options: object) -> Run:
        """Run scons with `arguments`, with `environment` over that of the tests."""
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("RBOOT", "SDK"))}
        surroundings |= environment or {}
        if not options:
            done = run_module("SCons", "-Q", *arguments, cwd=self.directory, env=surroundings)
            return Run(done.returncode, done.stdout, done.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "SCons", "-Q", *arguments],
            cwd=self.directory,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def build(self, *arguments: str, **options: object) -> str:
        """Run scons, which must succeed; what it printed."""
        run = self.run(*arguments, **options)
        assert run.status == 0, run.text
        return run.out

    def commands(self, *arguments: str, **options: object) -> str:
        """As build(), with the complete commands instead of short lines."""
        return self.build("RBOOT_VERBOSE=yes", *arguments, **options)

    def fail(self, *arguments: str, **options: object) -> str:
        """Run scons, which must fail without a traceback; the line that says why."""
        run = self.run(*arguments, **options)
        assert run.status == 2, run.text
        assert "Traceback" not in run.text
        assert "Error:" not in run.err.replace("scons: ***", ""), run.text
        lines = [line for line in run.err.splitlines() if line.startswith("scons: ***")]
        assert len(lines) == 1, run.text
        return lines[0]


def known_files() -> list[str]:
    """The project without what builds and tests left in it: what git knows, or all of an sdist."""
    known = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    made = re.compile(r"\.(?!ci/|gitignore$)|(.*/)?(build|__pycache__)/")
    names = known.split("\0") if known else [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    return [name for name in names if (ROOT / name).is_file() and (known or not made.match(name))]


def clean_copy(directory: Path) -> Path:
    for name in known_files():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    return directory


def without_qemu(tmp_path: Path) -> dict[str, str]:
    """An environment with all programs but QEMU on its PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*") if Path(place).is_dir() else ():
            if not program.name.startswith("qemu-"):
                link = directory / program.name
                link.unlink(missing_ok=True)
                link.symlink_to(program)
    return {"PATH": str(directory)}

"""The oldest packages that setup.cfg allows: SCons 4.8, and each other one, with the examples and the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import sdk
from support.project import ROOT, Project, clean_copy

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with those packages, rbootimg and none else."""
    top = tmp_path_factory.mktemp("lowest")
    directory = top / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True, timeout=120)
    locks = [["--require-hashes", "-r", str(ROOT / f".ci/requirements-{name}.txt")] for name in ("build", "lowest")]
    for what in (*locks, ["--isolated", "--no-index", str(clean_copy(top / "source"))]):
        pip = [sys.executable, "-m", "pip", "--python", directory, "install", "-q", "--no-build-isolation", *what]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    return directory / "bin" / "python"


def run(python: Path, directory: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RBOOT", "SDK"))}
    done = subprocess.run(
        [python, *arguments],
        cwd=directory,
        env={**environment, "PATH": f"{python.parent}:{environment['PATH']}"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "deprecat" not in done.stderr.lower()
    return done.stdout


def test_the_oldest_packages_that_setup_cfg_allows_are_enough(python: Path, tmp_path: Path) -> None:
    """In one test, as to install them takes longer than all that is done with them."""
    versions = run(Path(sys.executable), tmp_path, "-m", "pip", "--python", python, "list", "--format=freeze").lower()
    for text in metadata.requires("rbootimg") or ():
        wanted = Requirement(text)
        if wanted.marker is None:
            (lowest,) = (each.version for each in wanted.specifier if each.operator == ">=")
            installed = dict(line.split("==") for line in versions.splitlines() if "==" in line)
            found = {canonicalize_name(name): version for name, version in installed.items()}
            padded = f"{lowest}.0.0".split(".")[:3]
            assert f"{found[canonicalize_name(wanted.name)]}.0.0".split(".")[:3] == padded, text

    for name in ("hello", "imported", "ota", "nonos_sdk"):
        shutil.copytree(ROOT / "examples" / name, tmp_path / name, ignore=shutil.ignore_patterns("build", "*.o"))
    imported = tmp_path / "imported" / "SConstruct"
    imported.write_text(imported.read_text().replace("../../site_scons", str(ROOT / "site_scons")))
    scons = ("-m", "SCons", "-Q", "-j2")
    publish = ("publish", "RBOOT_VERSION=1.0.0", "RBOOT_PROVE=always")
    base = sdk.make(tmp_path / "sdk")
    for name, arguments in (
        ("hello", ()),
        ("imported", ()),
        ("ota", ("SDK_BASE=",)),
        ("ota", (f"SDK_BASE={base}",)),
        ("nonos_sdk", (f"SDK_BASE={base}",)),
    ):
        run(python, tmp_path / name, *scons, *arguments, ".")
        if arguments != (f"SDK_BASE={base}",):  # a stand-in, for linking
            assert "proved with" in run(python, tmp_path / name, *scons, *arguments, *publish)
        assert "up to date" in run(python, tmp_path / name, *scons, *arguments, ".")
        run(python, tmp_path / name, *scons, *arguments, "releases", "compile_commands.json", "-h")
    run(python, tmp_path / "hello", *scons, "boot", "prove", "roms")
    run(python, tmp_path / "ota", *scons, "demo")
    run(python, tmp_path / "hello", *scons, "--interactive", "-c")

    hello = Project(tmp_path / "hello")
    for command in (
        "info hello/rom1.bin --layout 1MB",
        "info hello/rom1.elf --json",
        "verify hello/rom0.bin",
        "compare hello/rom0.bin hello/rom1.bin --elf0 hello/rom0.elf --elf1 hello/rom1.elf",
        "size hello/rom0.elf hello/rom1.elf --svg size.svg",
        "layout 4MB-big --svg -o layout.svg",
        "releases --web-root build/webroot",
        "check --web-root build/webroot",
        "flash --layout 1MB --loader build/rboot/loader-max_roms4.bin --rom hello/rom0.bin --dry-run",
        "prove flash.bin --layout 1MB --elf hello/rom0.elf --elf hello/rom1.elf",
        "nginx-conf build/webroot",
    ):
        assert run(python, hello.directory, "-m", "rbootimg", *command.split()) or "-o" in command
    assert hello.exists("size.svg")

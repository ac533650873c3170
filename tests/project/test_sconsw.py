"""The wrapper `sconsw`, between fake programs that write down how they were called: nothing is installed for real."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.project import ROOT, Run

COMPILER = "xtensa-lx106-elf-gcc"
# What sconsw itself needs of a system; everything else on its PATH is fake.
SYSTEM = (
    "cat",
    "chmod",
    "cmp",
    "cp",
    "dirname",
    "env",
    "flock",
    "mkdir",
    "mv",
    "readlink",
    "rm",
    "sleep",
    "tail",
    "touch",
)

VENV = "python3|-m|venv|.venv"
PIP = "pip|install|--disable-pip-version-check|--no-input"
LOCKS = tuple(f".ci/requirements-{name}.txt" for name in ("build", "run", "test"))
BUILD, RUN, TEST = (f"{PIP}|--no-build-isolation|--require-hashes|-r|{lock}" for lock in LOCKS)
PROJECT = f"{PIP}|--isolated|--no-index|--no-build-isolation|-e|."
PACKAGES = (BUILD, RUN, PROJECT)
TESTS_PACKAGES = (BUILD, TEST, f"{PROJECT}[docs,test]")
INSTALL_REQUIRES, EXTRAS = "options]\ninstall_requires", "options.extras_require]\ntest"
UPDATE = "apt-get noninteractive|update"
INSTALL = "apt-get noninteractive|install|-y|--no-install-recommends"

# The real Python answers sconsw's question, in the fake's name and after {before}.
PYTHON = """
if [ "$1" = -c ]; then
    exec {real} -I -S -c 'import os, sys; sys.executable, code = sys.argv[1:]; {before}; exec(code)' "$0" "$2"
fi
write python3 "$@"
mkdir -p "$3/bin" && cp {fakes}/venv-python "$3/bin/python"
"""
VENV_PYTHON = """
[ "$1" = -m ] || exit 0
[ "$2" != SCons ] || {{ shift 2 && exec .venv/bin/scons "$@"; }}
shift && write "$@"
[ ! -e {offline} ] || {{ for line in 1 2 3 4 5 6 7 8 9; do echo "no network $line"; done; exit 1; }}
cp {fakes}/scons .venv/bin/scons
"""
APT_GET = """
write "apt-get $DEBIAN_FRONTEND" "$@"
[ ! -e {offline} ] || {{ echo "no network"; exit 100; }}
for package; do touch {fakes}/"$package"; done
"""
SUDO = """
write sudo "$1"
exec "$@"
"""
SCONS = """
write scons "$@"
echo "built in $PWD"
exit 7
"""


@dataclass(frozen=True)
class Machine:
    """A project with the wrapper, and the programs it finds."""

    directory: Path

    @property
    def project(self) -> Path:
        return self.directory / "a project"

    @property
    def bin(self) -> Path:
        return self.directory / "bin"

    @property
    def offline(self) -> Path:
        return self.directory / "offline"

    @property
    def calls(self) -> list[str]:
        """How the fakes were called since this was last asked."""
        log = self.directory / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def fake(self, path: str, script: str, **words: str) -> None:
        text = script.format(fakes=self.directory / "fakes", offline=self.offline, **words)
        log = f"write() {{ ( IFS='|'; echo \"$*\" >>{self.directory}/calls ); }}\n"
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"#!/bin/sh\n{log}{text}\n")
        target.chmod(0o755)

    def python(self, before: str = "pass", name: str = "bin/python3") -> None:
        self.fake(name, PYTHON, real=sys.executable, before=before)

    def user(self, number: int) -> None:
        self.fake("bin/id", f"echo {number}")

    def test_needs(self, words: str) -> None:
        """Let the tests need these programs; the true ones are, or are not, where the fakes do not reach."""
        wrapper = self.project / "sconsw"
        wrapper.write_text(re.sub("(?m)^test_needs='.*'$", f"test_needs='{words}'", wrapper.read_text()))

    def start(
        self, *arguments: str, command: str = "./sconsw", cwd: Path | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [command, *arguments],
            cwd=cwd or self.project,
            env={"PATH": str(self.bin), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **options: object) -> Run:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=20)
        return Run(process.returncode, out, err)

    def installed(self) -> Machine:
        """This machine after a first run."""
        assert self.run("-Q").status == 7
        assert self.calls == [VENV, *PACKAGES, "scons|-Q"]
        return self


def needs_of_tests() -> list[str]:
    """What sconsw installs for the tests alone: words COMMAND:PACKAGE."""
    line = next(line for line in (ROOT / "sconsw").read_text().splitlines() if line.startswith("test_needs="))
    return line.partition("=")[2].strip("'").split()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A root's machine with everything but the .venv."""
    machine = Machine(tmp_path)
    machine.project.mkdir()
    shutil.copy(ROOT / "sconsw", machine.project)
    machine.test_needs("")
    (machine.project / "setup.cfg").write_text("[metadata]\nname = example\n")
    for lock in LOCKS:
        (machine.project / ".ci").mkdir(exist_ok=True)
        (machine.project / lock).write_text("")
    machine.bin.mkdir()
    for name in SYSTEM:
        program = shutil.which(name)
        assert program is not None, name
        (machine.bin / name).symlink_to(program)
    machine.python()
    machine.user(0)
    machine.fake(f"bin/{COMPILER}", "")
    for need in needs_of_tests():
        machine.fake(f"bin/{need.partition(':')[0]}", "")
    machine.fake("bin/apt-get", APT_GET)
    machine.fake("fakes/venv-python", VENV_PYTHON)
    machine.fake("fakes/scons", SCONS)
    return machine


@pytest.fixture
def bare(machine: Machine) -> Machine:
    """The same without a compiler."""
    (machine.bin / COMPILER).unlink()
    return machine


def assert_one_line(run: Run, *words: str) -> None:
    assert run.status == 1
    assert run.out == ""
    assert run.err.startswith("sconsw: ")
    assert run.err.count("\n") == 1
    for word in words:
        assert word in run.err


# The call itself


def test_arguments_output_and_exit_status_pass_through(machine: Machine) -> None:
    machine.installed()
    run = machine.run("a b", "", "--", "X=$HOME *")
    assert run == Run(7, f"built in {machine.project}\n", "")
    assert machine.calls == ["scons|a b||--|X=$HOME *"]


def test_it_works_in_its_own_directory_wherever_it_is_called_from(machine: Machine) -> None:
    elsewhere = machine.directory / "elsewhere" / "deeper"
    elsewhere.mkdir(parents=True)
    (elsewhere.parent / "link").symlink_to("../a project/sconsw")
    (elsewhere / "link").symlink_to("../link")
    for command in (str(machine.project / "sconsw"), "../../a project/sconsw", "./link"):
        run = machine.run("-Q", command=command, cwd=elsewhere)
        assert run.out == f"built in {machine.project}\n", run.err
    assert list(elsewhere.iterdir()) == [elsewhere / "link"]


def test_a_shells_search_path_for_directories_does_not_lead_astray(machine: Machine) -> None:
    decoy = machine.directory / "decoy"
    (decoy / machine.project.name).mkdir(parents=True)
    run = machine.run("-Q", command=f"{machine.project.name}/sconsw", cwd=machine.directory, CDPATH=str(decoy))
    assert run.out == f"built in {machine.project}\n", run.err


def test_a_link_to_the_directory_is_the_same_directory(machine: Machine) -> None:
    machine.installed()
    link = machine.directory / "link"
    link.symlink_to(machine.project)
    assert machine.run("-Q", command=f"{link}/sconsw").err == ""
    assert machine.calls == ["scons|-Q"]


# The .venv


def test_the_first_run_says_what_it_installs_and_the_second_starts_scons_at_once(machine: Machine) -> None:
    first = machine.run("-Q")
    assert first.err.splitlines() == [
        f"sconsw: making .venv with {machine.bin}/python3",
        "sconsw: installing into .venv the Python packages that setup.cfg asks for",
    ]
    assert machine.calls == [VENV, *PACKAGES, "scons|-Q"]
    assert machine.run("-Q").err == ""
    assert machine.calls == ["scons|-Q"]


def test_a_changed_setup_cfg_is_installed_again(machine: Machine) -> None:
    machine.installed()
    (machine.project / "setup.cfg").write_text("[metadata]\nname = other\n")
    machine.run("-Q")
    machine.run("-Q")
    assert machine.calls == [*PACKAGES, "scons|-Q", "scons|-Q"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_changed_lock_is_installed_again(machine: Machine, lock: str) -> None:
    machine.installed()
    (machine.project / lock).write_text("another")
    machine.run("-Q")
    machine.run("-Q")
    assert machine.calls == [*PACKAGES, "scons|-Q", "scons|-Q"]


@pytest.mark.parametrize(("target", "section"), [("-Q", INSTALL_REQUIRES), ("test", EXTRAS)], ids=["run", "test"])
def test_what_is_not_locked_ends_in_one_line_that_says_how_to_lock_it(
    machine: Machine, target: str, section: str
) -> None:
    true_pip = f'case "$*" in *" -e "*) exec {sys.executable} "$@" --dry-run ;; esac'
    machine.fake("fakes/venv-python", true_pip + VENV_PYTHON)
    shutil.copy(ROOT / "pyproject.toml", machine.project)
    (machine.project / "setup.cfg").write_text(f"[metadata]\nname = example\n[{section} = pytest >=9999, <10000\n")
    for _ in range(2):
        run = machine.run(target)  # pip alone knows, and says it in words of its own
        assert run.status == 1
        [line] = [line for line in run.err.splitlines() if "installing" not in line and "making" not in line]
        assert line.startswith("sconsw: setup.cfg asks for pytest<10000,>=9999")
        assert line.endswith(", which is not locked: run .ci/lock, then run this again")


def test_a_failed_installation_shows_its_end_and_is_repeated(machine: Machine) -> None:
    machine.offline.touch()
    run = machine.run("-Q")
    assert run.status == 1
    assert "no network 9" in run.err
    assert run.err.splitlines()[-1] == (
        "sconsw: pip could not install the packages (is there a network?): see .venv/sconsw.log, then run this again"
    )
    assert machine.calls == [VENV, BUILD]
    machine.offline.unlink()
    assert machine.run("-Q").status == 7
    assert machine.calls == [*PACKAGES, "scons|-Q"]


def test_after_a_failed_installation_the_old_setup_cfg_is_not_taken_for_installed(machine: Machine) -> None:
    machine.installed()
    old = (machine.project / "setup.cfg").read_text()
    (machine.project / "setup.cfg").write_text("[metadata]\nname = other\n")
    machine.offline.touch()
    assert machine.run("-Q").status == 1
    machine.offline.unlink()
    (machine.project / "setup.cfg").write_text(old)
    assert machine.run("-Q").status == 7
    assert machine.calls == [BUILD, *PACKAGES, "scons|-Q"]


def test_the_tests_packages_are_installed_for_test_alone(machine: Machine) -> None:
    machine.installed()
    machine.run("-Q", "test")
    machine.run("test")
    machine.run("-Q")
    machine.run("tests")
    assert machine.calls == [*TESTS_PACKAGES, "scons|-Q|test", "scons|test", "scons|-Q", "scons|tests"]


def test_a_first_run_with_test_installs_once(machine: Machine) -> None:
    machine.run("test")
    machine.run("-Q")
    assert machine.calls == [VENV, *TESTS_PACKAGES, "scons|test", "scons|-Q"]


def test_a_venv_whose_python_is_gone_is_made_anew(machine: Machine) -> None:
    machine.installed()
    python = machine.project / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3")
    machine.run("-Q")
    assert machine.calls == [VENV, *PACKAGES, "scons|-Q"]


def test_a_venv_whose_directory_was_moved_is_made_anew(machine: Machine) -> None:
    machine.installed()
    machine.project.rename(machine.directory / "moved")
    machine.run("-Q", cwd=machine.directory / "moved")
    assert machine.calls == [VENV, *PACKAGES, "scons|-Q"]


def test_two_first_runs_at_once_install_once(machine: Machine) -> None:
    machine.fake("fakes/venv-python", "sleep 0.2" + VENV_PYTHON)
    runs = [machine.start("-Q"), machine.start("-Q")]
    for run in runs:
        run.communicate(timeout=20)
    assert [run.returncode for run in runs] == [7, 7]
    assert sorted(machine.calls) == sorted([VENV, *PACKAGES, "scons|-Q", "scons|-Q"])


# Python


def test_another_python_may_be_named(machine: Machine) -> None:
    machine.python("sys.exit(3)")
    machine.python(name="other/python")
    machine.run("-Q", RBOOT_PYTHON=str(machine.directory / "other/python"))
    assert machine.calls == [VENV, *PACKAGES, "scons|-Q"]


def test_an_old_python_is_refused_in_one_line(bare: Machine) -> None:
    bare.python("sys.version_info = (3, 9, 18)")
    assert_one_line(bare.run("-Q"), "python3 is older than Python 3.10", "RBOOT_PYTHON")
    assert bare.calls == []


@pytest.mark.parametrize("named", ["/nowhere/python3", "false"])
def test_a_named_python_that_does_not_run_is_refused_in_one_line(machine: Machine, named: str) -> None:
    machine.fake("bin/false", "exit 1")
    assert_one_line(machine.run("-Q", RBOOT_PYTHON=named), f"{named} does not run", "RBOOT_PYTHON")
    assert machine.calls == []


def test_what_python_lacks_is_installed_together_with_the_compiler(bare: Machine) -> None:
    package = bare.directory / "fakes" / "python3-venv"
    bare.python(f'sys.modules.update({{}} if os.path.exists("{package}") else {{"ensurepip": None}})')
    bare.run("-Q")
    assert bare.calls == [
        UPDATE,
        f"{INSTALL}|gcc-xtensa-lx106|binutils-xtensa-lx106|python3-venv",
        VENV,
        *PACKAGES,
        "scons|-Q",
    ]


def test_a_python_that_debian_cannot_complete_is_refused(machine: Machine) -> None:
    machine.python('sys.modules["ensurepip"] = None')
    run = machine.run("-Q")
    assert run.status == 1
    assert "python3 has no venv, even with python3-venv" in run.err
    assert machine.calls == [UPDATE, f"{INSTALL}|python3-venv"]


def test_without_python_debians_is_installed(machine: Machine) -> None:
    (machine.bin / "python3").rename(machine.directory / "python3")
    machine.fake("bin/apt-get", APT_GET + f"cp {machine.directory}/python3 {machine.bin}/python3")
    machine.run("-Q")
    assert f"{INSTALL}|python3|python3-venv" in machine.calls


# The compiler


def test_root_installs_the_compiler_in_one_call(bare: Machine) -> None:
    run = bare.run("-Q")
    assert run.status == 7
    assert run.err.splitlines()[0] == (
        "sconsw: installing gcc-xtensa-lx106 binutils-xtensa-lx106 with apt-get: "
        "the build lacks a compiler for the ESP8266"
    )
    assert bare.calls == [UPDATE, f"{INSTALL}|gcc-xtensa-lx106|binutils-xtensa-lx106", VENV, *PACKAGES, "scons|-Q"]


def test_another_user_installs_the_compiler_through_sudo(bare: Machine) -> None:
    bare.user(1000)
    bare.fake("bin/sudo", SUDO)
    assert "with apt-get through sudo" in bare.run("-Q").err
    assert bare.calls == [
        "sudo|env",
        UPDATE,
        "sudo|env",
        f"{INSTALL}|gcc-xtensa-lx106|binutils-xtensa-lx106",
        VENV,
        *PACKAGES,
        "scons|-Q",
    ]


@pytest.mark.parametrize("lack", ["sudo", "apt-get"])
def test_who_cannot_install_the_compiler_is_told_what_to_install(bare: Machine, lack: str) -> None:
    if lack == "sudo":
        bare.user(1000)
    else:
        (bare.bin / "apt-get").unlink()
    run = bare.run("-Q")
    assert_one_line(run, "apt-get install gcc-xtensa-lx106 binutils-xtensa-lx106", "RBOOT_TOOLCHAIN")
    assert bare.calls == []
    assert not (bare.project / ".venv").exists()


def test_a_compiler_that_could_not_be_installed_is_tried_again(bare: Machine) -> None:
    bare.offline.touch()
    run = bare.run("-Q")
    assert run.status == 1
    assert "no network" in run.err
    assert "apt-get could not install gcc-xtensa-lx106 binutils-xtensa-lx106" in run.err.splitlines()[-1]
    bare.offline.unlink()
    assert bare.run("-Q").status == 7


def test_a_compiler_that_is_gone_is_installed_again(machine: Machine) -> None:
    machine.installed()
    (machine.bin / COMPILER).unlink()
    machine.run("-Q")
    assert machine.calls == [UPDATE, f"{INSTALL}|gcc-xtensa-lx106|binutils-xtensa-lx106", "scons|-Q"]


@pytest.mark.parametrize("named", ["tools/bin", "tools/bin/", "tools", "tools/", "tools/bin/xtensa-lx106-elf-"])
def test_another_toolchain_may_be_named(bare: Machine, named: str) -> None:
    bare.fake(f"tools/bin/{COMPILER}", "")
    bare.run("-Q", RBOOT_TOOLCHAIN=f"{bare.directory}/{named}")
    assert bare.calls == [VENV, *PACKAGES, "scons|-Q"]


@pytest.mark.parametrize("named", ["tools/bin", "tools/bin/", "nowhere", "tools/bin/xtensa-lx106-elf-"])
def test_a_named_toolchain_without_the_compiler_is_refused_in_one_line(machine: Machine, named: str) -> None:
    machine.fake("tools/bin/gcc", "")
    named = f"{machine.directory}/{named}"
    assert_one_line(machine.run("-Q", RBOOT_TOOLCHAIN=named), f"no {COMPILER} in RBOOT_TOOLCHAIN ({named})")
    assert machine.calls == []


# What only the tests run


def test_a_program_of_the_tests_is_installed_for_test_alone(machine: Machine) -> None:
    machine.test_needs("simulator:the-simulator sleep:coreutils")
    machine.installed()
    machine.run("test")
    assert machine.calls == [UPDATE, f"{INSTALL}|the-simulator", *TESTS_PACKAGES, "scons|test"]


@pytest.mark.parametrize("target", ["publish", "prove", "boot", "demo"])
def test_the_emulator_is_installed_for_what_runs_in_it(machine: Machine, target: str) -> None:
    machine.installed()
    (machine.bin / "qemu-system-xtensa").unlink()
    machine.run("-Q")
    assert machine.calls == ["scons|-Q"]
    machine.run(target)
    assert machine.calls == [UPDATE, f"{INSTALL}|qemu-system-misc", f"scons|{target}"]


def test_publish_goes_on_where_the_emulator_cannot_be_had_and_does_not_try_each_time(machine: Machine) -> None:
    machine.installed()
    (machine.bin / "qemu-system-xtensa").unlink()
    machine.offline.touch()
    run = machine.run("publish")
    assert "ROMs are neither proved nor run; to try again remove .venv/no-emulator" in run.err
    assert machine.calls[-1] == "scons|publish"
    machine.run("publish")
    assert machine.calls == ["scons|publish"]


def test_publish_without_apt_says_nothing_of_the_emulator(machine: Machine) -> None:
    machine.installed()
    (machine.bin / "qemu-system-xtensa").unlink()
    (machine.bin / "apt-get").unlink()
    assert machine.run("publish").err == ""
    assert machine.calls == ["scons|publish"]

"""SCons reports an error at the user's line, or with the file that it is about."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import SCons
from support.project import APP, ROOT, TOOL, Project

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")


def error_location(project: Project, *arguments: str, **options: object) -> tuple[str, str]:
    """The error and the location that SCons prints for a build that fails while SConscripts are read."""
    run = project.run(*arguments, **options)
    assert run.status == 2, run.text
    assert "Traceback" not in run.text
    error, where = run.err.strip().splitlines()
    return error, where.replace(f"{project.directory}/", "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "env.RbootApp('app', 'main.c', RBOOT_MISSPELT=1)",
            "RBOOT_MISSPELT: unknown variable; `scons -h` lists all variables",
        ),
        ("env.RbootApp('..', 'main.c')", "invalid application name '..'"),
        ("env.RbootApp('app', [])", "app: no files given"),
        (
            "env.RbootApp('app', 'main.c', RBOOT_LAYOUT='no.toml')",
            "rboot: no.toml: cannot read the layout file",
        ),
        ("env.RbootApp('app', 'main.c', RBOOT_VERSION='1')", "RBOOT_VERSION: invalid version '1': expected semver"),
        ("env.RbootApp('app', 'main.c', RBOOT_FLASH_MODE='x')", "app: "),
        (
            "env.RbootProgram('app', 'main.c', RBOOT_LDSCRIPT=['a', 'b'])",
            "app.elf: expected 1 linker scripts, one for each program, got 2",
        ),
        ("env.RbootLinkerScript('a.ld', 'b.ld')", "a.ld: expected RBOOT_SLOT, the flash address of the slot"),
        ("env.RbootImage('a.bin', 'a.elf', RBOOT_SLOT=5)", "a.bin: "),
        (
            "env.RbootPublish('app', ['a.bin'], RBOOT_PROVE='always')",
            "RBOOT_PROVE: cannot be always: the ELFs of these ROMs are unknown",
        ),
        ("env.RbootLoader('l.bin', RBOOT_SRC='none')", "RBOOT_SRC: no rboot.c in 'none'"),
        ("env.RbootOtaClient('rtos')", "unknown port 'rtos'"),
        (
            "env.RbootFlashImage('f.bin', 'a.bin', RBOOT_FILES=5)",
            "RBOOT_FILES: invalid value 5: expected a dictionary {REGION: FILE}",
        ),
        ("env.RbootVersionHeader(RBOOT_VERSION='x')", "RBOOT_VERSION: invalid version 'x': expected semver"),
        ("Environment(RBOOT_FLASHSIZE='1MB', " + TOOL + ")", "RBOOT_FLASHSIZE: unknown variable"),
        ("env.Clone(tools=[('rboot', {'RBOOT_NOT': 1})])", "RBOOT_NOT: unknown variable"),
        ("env.RbootApp('main.c', 'main.c')", "main.c"),
        ("SetOption('experimental', 'ninja'); env.RbootApp('app', 'main.c')", "Ninja tool cannot link"),
        ("env.RbootApp('app', 'main.c', RBOOT_BUILD_DIR='main.c')", "RBOOT_BUILD_DIR: "),
    ],
)
def test_an_error_names_the_sconstruct_and_the_line(project: Project, line: str, message: str) -> None:
    project.write("SConstruct", f"env = Environment({TOOL})\n\n{line}\n")
    error, where = error_location(project)
    assert error.startswith("scons: *** ")
    assert message in error
    assert where == 'File "SConstruct", line 3, in <module>'


def test_an_error_in_a_function_or_sconscript_names_that_file_and_function(project: Project) -> None:
    project.write(
        "sub/SConscript",
        "Import('env')\n\ndef app(name):\n    return env.RbootApp(name, 'main.c')\n\napp('..')\n",
    )
    project.write("SConstruct", f"env = Environment({TOOL})\nSConscript('sub/SConscript', exports='env')\n")
    assert error_location(project)[1] == 'File "sub/SConscript", line 4, in app'


def test_an_unknown_variable_of_the_command_line_is_reported_where_the_tool_is_loaded(project: Project) -> None:
    error, where = error_location(project, "RBOOT_FLASHSIZE=1MB")
    assert "RBOOT_FLASHSIZE: unknown variable" in error
    assert where == 'File "SConstruct", line 1, in <module>'


def test_debug_stacktrace_shows_where_an_error_was_raised(project: Project) -> None:
    project.write("SConstruct", f"env = Environment({TOOL})\nenv.RbootApp('..', 'main.c')\n")
    run = project.run("--debug=stacktrace")
    assert "rbootimg/scons/app" in run.err
    assert 'SConstruct", line 2' in run.err


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff", "not UTF-8"), (b"flash_size = ", "board.toml"), (b"nothing = 1", "board.toml")]
)
def test_an_error_in_a_file_names_it(project: Project, content: bytes, words: str) -> None:
    project.write("board.toml", content)
    project.write(
        "SConstruct", f"env = Environment({TOOL})\nenv.RbootApp('app', 'main.c', RBOOT_LAYOUT='board.toml')\n"
    )
    error, where = error_location(project)
    assert "rboot: board.toml: " in error
    assert words in error
    assert where == 'File "SConstruct", line 2, in <module>'


def test_an_error_of_a_build_names_the_file_it_is_about(project: Project) -> None:
    project.write("a.elf", b"no ELF")
    project.write("SConstruct", f"env = Environment({TOOL})\nenv.RbootImage('a.bin', 'a.elf')\n")
    assert re.match(r"scons: \*\*\* \[a\.bin\] a\.elf: ", project.fail())


# Missing requirements


def test_a_submodule_without_its_packages_is_one_line_with_the_command(project: Project, tmp_path: Path) -> None:
    """A fresh clone with submodules: the package's requirements are not installed."""
    directory = tmp_path / "only scons"
    directory.mkdir()
    (directory / "SCons").symlink_to(Path(SCons.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(directory)!r})\n{_MAIN}", "-Q"],
        cwd=project.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    error, where = done.stderr.strip().splitlines()
    assert done.returncode == 2
    packages = "esptool, h11, jinja2, markdown-it-py, pyelftools, pyserial, rich, semver, shtab, squarify"
    assert f"rboot: missing Python packages: {packages}; run " in error
    assert f"{sys.executable} -m pip install 'esptool>=5,<6' 'h11>=0.16,<1' " in error
    assert where == f'File "{project.directory}/SConstruct", line 1, in <module>'


_MAIN = "import SCons.Script; SCons.Script.main()"


@pytest.mark.parametrize("module", ["rbootimg", "rbootimg.cli.main", "rbootimg.scons.tool"])
def test_on_windows_the_error_is_one_line_with_the_alternative(module: str) -> None:
    code = f"import sys; sys.platform = 'win32'; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "rbootimg: there is no support for Windows itself; use it in WSL, the Windows Subsystem for Linux\n"
    )


# Ninja


NINJA = f"""
env = Environment({TOOL}, RBOOT_VERSION='1.0.0')
env.RbootApp('app', 'main.c')
SetOption('experimental', 'ninja')
env.Tool('ninja')
"""


@pytest.mark.parametrize("target", [(), ("publish",), ("roms",)])
@pytest.mark.needs("ninja")
def test_the_ninja_tool_is_an_error(project: Project, target: tuple[str, ...]) -> None:
    lines = NINJA.strip().splitlines()
    project.write("SConstruct", "\n".join([lines[2], lines[0], lines[3], lines[1]]) + "\n")
    error, where = error_location(project, *target)
    assert "SCons's experimental Ninja tool cannot link for slots or publish; do not load it" in error
    assert where == 'File "SConstruct", line 2, in <module>'
    project.write("SConstruct", NINJA)
    run = project.run(*target)
    assert run.status == 2, run.text
    assert not project.exists("build/webroot")


# With -j targets run in threads


@pytest.mark.parametrize("jobs", ["-j1", "-j4"])
@pytest.mark.parametrize("whole_group", [True, False])
def test_serve_ends_with_ctrl_c_under_any_jobs(project: Project, jobs: str, whole_group: bool) -> None:
    project.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_PROVE=never")
    command = [sys.executable, "-m", "SCons", "-Q", jobs, "serve", "RBOOT_SERVE_PORT=0"]
    with subprocess.Popen(
        command,
        cwd=project.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
        reader.start()
        deadline = time.monotonic() + 20
        while not any("A device connects" in line for line in lines):
            assert time.monotonic() < deadline, lines
            assert process.poll() is None, lines
            time.sleep(0.05)
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
        status = process.wait(20)
        reader.join()
    text = "".join(lines)
    assert "stopped" in text
    assert "Traceback" not in text
    assert status in (0, 2), text


def test_lines_are_not_interleaved_with_those_of_other_jobs(project: Project) -> None:
    names = [f"app{number}" for number in range(12)]
    for name in names:
        project.write(f"{name}.c", APP)
    project.write(
        "SConstruct", f"env = Environment({TOOL})\nfor name in {names}:\n    env.RbootApp(name, f'{{name}}.c')\n"
    )
    lines = project.build("-j8").splitlines()
    for name in names:
        steps = [f"CC       {name}.o", *(f"LD       {name}/rom{n}.elf" for n in (0, 1))]
        assert {*steps, *(f"PACK     {name}/rom{n}.bin" for n in (0, 1))} <= {*lines}
    table = lines[lines.index("") + 1 :]
    roms = [f"{name}/rom{n}.bin" for name in sorted(names) for n in (0, 1)]
    assert [line.split()[0] for line in table] == ["ROM", *roms]

"""Paths with a blank, a quote, an umlaut or a dollar, and compilers that are called through something else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import sdk
from support.project import APP, ROOT, TOOL, Project

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

COMPILER = shutil.which("xtensa-lx106-elf-gcc")
ODD = "it's a dir; ü $HOME (x) & co"
"""What a shell, SCons and C each read in their own way."""
IGNORED = shutil.ignore_patterns("__pycache__", "build", "*.o")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    directory = tmp_path / ODD
    directory.mkdir()
    return directory


def copy_of_the_tool(directory: Path) -> Path:
    for name in ("rbootimg", "site_scons"):
        shutil.copytree(ROOT / name, directory / name, ignore=IGNORED)
    return directory


def at(directory: Path) -> str:
    """The settings of an environment with the tool in `directory`."""
    place = str(directory / "site_scons" / "site_tools").replace("$", "$$")
    return f"tools=['default', 'rboot'], toolpath=[{place!r}], CCFLAGS='-Os -ffreestanding'"


def test_project_and_tool_may_be_anywhere(odd: Path) -> None:
    tool = copy_of_the_tool(odd / "tool")
    project = Project(odd / "project")
    project.write("main.c", APP)
    project.write("a name's.c", "int more;\n")
    project.write(
        "SConstruct",
        f"env = Environment({at(tool)}, RBOOT_MAP=True)\n"
        "roms = env.RbootApp('app', ['main.c', \"a name's.c\"])\n"
        "env.RbootLoader('own-loader.bin')\n"
        "env.RbootFlashImage('flash.bin', roms)\n",
    )
    project.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_PROVE=always")
    project.build(".")
    project.build("boot")
    project.build("prove", "compile_commands.json")
    assert project.exists("app/rom1.map")
    assert "up to date" in project.build()
    project.build("-c")
    assert not project.exists("app/rom1.map")


def test_the_bytes_do_not_depend_on_it(odd: Path, project: Project) -> None:
    project.build()
    there = Project(odd / "project")
    there.write("main.c", APP)
    there.write("SConstruct", project.read("SConstruct"))
    there.build()
    assert there.read("app/rom1.bin") == project.read("app/rom1.bin")


@pytest.mark.parametrize("layout", ["1MB", "4MB-big"])
def test_the_sdk_may_be_anywhere(odd: Path, layout: str) -> None:
    tool = copy_of_the_tool(odd / "tool")
    base = sdk.make(odd / "sdk", partitions=False)
    shutil.copytree(ROOT / "examples" / "nonos_sdk", odd / "nonos", ignore=IGNORED)
    project = Project(odd / "nonos")
    arguments = (f"SDK_BASE={base}", f"RBOOT_LAYOUT={layout}", "RBOOT_VERSION=1.0.0")
    environment = {"PYTHONPATH": str(tool)}
    project.build(*arguments, environment=environment)
    assert project.exists("build/app/rom1.bin")


def test_the_client_may_be_anywhere(odd: Path) -> None:
    tool = copy_of_the_tool(odd / "tool")
    shutil.copytree(ROOT / "examples" / "ota", odd / "ota", ignore=IGNORED)
    environment = {"PYTHONPATH": str(tool), "SDK_BASE": ""}
    Project(odd / "ota").build("publish", environment=environment)
    Project(odd / "ota").build("demo", environment=environment)


def test_the_python_may_be_anywhere(odd: Path, project: Project) -> None:
    """As in a clone of this repository at such a place, whose SConstruct runs Python."""
    link = odd / "python"
    link.symlink_to(sys.executable)
    top = (ROOT / "SConstruct").read_text()
    tests = top[top.index("checks = ") :].replace("sys.executable", repr(str(link)))
    project.write("SConstruct", f"import os\n{tests}")
    output = project.build("-n", "test", "demo")
    assert f'"{link}" -m pytest' in output
    project.write("examples/ota/demo.py", "print('the demo')\n")
    assert "the demo" in project.build("demo")


def test_a_layout_loader_and_script_may_be_called_anything(odd: Path, project: Project) -> None:
    escaped = str(odd).replace("$", "$$")
    shutil.copy(ROOT / "rbootimg" / "ld" / "baremetal.ld", odd / "my.ld")
    shutil.copy(ROOT / "rbootimg" / "ld" / "maskrom.ld", odd / "maskrom.ld")
    (odd / "board.toml").write_text('preset = "1MB"\n')
    project.build("prove")
    shutil.copy(project.directory / "build/rboot/loader-max_roms4.bin", odd / "my loader.bin")
    settings = {
        "RBOOT_LAYOUT": f"{escaped}/board.toml",
        "RBOOT_LDSCRIPT": f"{escaped}/my.ld",
        "RBOOT_LOADER": f"{escaped}/my loader.bin",
        "RBOOT_WEBROOT": f"{escaped}/web root",
        "RBOOT_BUILD_DIR": f"{escaped}/generated",
    }
    words = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, {words})\n"
        "roms = env.RbootApp('app', 'main.c')\n"
        "env.RbootFlashImage('flash.bin', roms)\n",
    )
    project.build("publish", "RBOOT_VERSION=1.0.0", "flash.bin")
    assert (odd / "web root" / "rom1.bin").is_file()
    assert (odd / "generated" / "my-082000-0fb000.ld").is_file()
    assert not (project.directory / "app$").exists()


def test_an_application_name_can_be_any_directory_name(project: Project) -> None:
    project.write(
        "SConstruct", f"env = Environment({TOOL}, RBOOT_PROVE='never')\nenv.RbootApp(\"it's $$5\", 'main.c')\n"
    )
    project.build("publish")
    assert project.exists("it's $5/rom0.bin")


# What comes before the compiler, and what the user links with


def wrapper(directory: Path, name: str = "cache it") -> Path:
    """A launcher such as ccache: it runs the following command, if that compiles or links, and logs it."""
    program = directory / name
    program.write_text(
        f'#!/bin/sh\ncase "$1" in *gcc|*g++) ;; *) exit 9 ;; esac\necho "$@" >>"{directory}/log"\nexec "$@"\n'
    )
    program.chmod(0o755)
    return program


SOURCES = {
    "more.cpp": 'extern "C" __attribute__((section(".irom0.text"))) int more() { return 1; }\n',
    "plain.s": ".text\n.global plain\nplain: ret\n",
    "entry.S": "#define RESULT a2\n.text\n.global entry\nentry: movi RESULT, 5\n ret\n",
}


@pytest.mark.parametrize(
    "settings",
    [
        "CC='{launcher} xtensa-lx106-elf-gcc'",
        "CC=[{spaced!r}, 'xtensa-lx106-elf-gcc']",
        "CC='\"{spaced}\" xtensa-lx106-elf-gcc'",
        "CC='{launcher} {compiler}'",
        "CC='{launcher} xtensa-lx106-elf-gcc', CXX='{launcher} xtensa-lx106-elf-g++', LINK='xtensa-lx106-elf-gcc'",
    ],
)
def test_a_compiler_launcher_is_kept(project: Project, settings: str) -> None:
    spaced, launcher = wrapper(project.directory), wrapper(project.directory, "cache")
    for name, text in SOURCES.items():
        project.write(name, text)
    settings = settings.format(launcher=launcher, spaced=str(spaced), compiler=COMPILER)
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, {settings})\n"
        "library = env.StaticLibrary('own', 'more.cpp')\n"
        f"roms = env.RbootApp('app', ['main.c', 'plain.s', 'entry.S', library])\n"
        "env.RbootFlashImage('flash.bin', roms)\n"
        f"env.RbootLoader('mine.bin', RBOOT_CCFLAGS='-mlongcalls')\n",
    )
    project.build("-j2")
    log = project.read("log").decode()
    assert log.count(" -c ") == 3, log
    assert "loader.c" in log
    project.build("prove")
    plain = Project(project.directory / "plain")
    for name in (*SOURCES, "main.c"):
        plain.write(name, project.read(name))
    plain.write("SConstruct", project.read("SConstruct").decode().replace(settings, ""))
    plain.build()
    assert plain.read("app/rom1.bin") == project.read("app/rom1.bin")


@pytest.mark.needs("ccache")
def test_ccache_itself(project: Project, tmp_path: Path) -> None:
    environment = {"CCACHE_DIR": str(tmp_path / "ccache"), "HOME": str(tmp_path)}
    project.write(
        "SConstruct",
        f"import os\nenv = Environment({TOOL}, CC='ccache xtensa-lx106-elf-gcc', ENV=os.environ)\n"
        "env.RbootFlashImage('flash.bin', env.RbootApp('app', 'main.c'))\n",
    )
    project.build(environment=environment)
    first = project.read("app/rom0.bin")
    project.build("-c", environment=environment)
    project.build(environment=environment)
    assert project.read("app/rom0.bin") == first
    said = subprocess.run(
        ["ccache", "--print-stats"], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    ).stdout
    assert "direct_cache_hit\t1" in said or "local_storage_hit\t" in said, said


@pytest.mark.parametrize("form", ["text", "list", "quoted"])
def test_a_compiler_with_a_space_in_its_path(project: Project, tmp_path: Path, form: str) -> None:
    directory = tmp_path / "my tools"
    directory.mkdir()
    for name in ("gcc", "g++", "as", "ar", "ranlib", "objcopy", "ld", "nm"):
        (directory / f"xtensa-lx106-elf-{name}").symlink_to(shutil.which(f"xtensa-lx106-elf-{name}") or "")
    compiler = str(directory / "xtensa-lx106-elf-gcc")
    value = {"text": repr(compiler), "list": repr([compiler]), "quoted": repr(f'"{compiler}"')}[form]
    for name, text in SOURCES.items():
        project.write(name, text)
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, CC={value})\n"
        f"env.RbootFlashImage('flash.bin', env.RbootApp('app', ['main.c', *{list(SOURCES)}]))\n",
    )
    output = project.commands()
    assert f'"{directory}/xtensa-lx106-elf-as"' in output
    assert f'"{directory}/xtensa-lx106-elf-g++"' in output


@pytest.mark.parametrize(
    "settings",
    [
        "RBOOT_LINKFLAGS='-nostdlib -static -Wl,-u,nothing -Wl,--defsym=nothing=0 -Wl,-ewrong'",
        "RBOOTLINKCOM='false'",
        "LINK='false'",
        "RBOOT_CCFLAGS='-mlongcalls -mtext-section-literals -include no-such.h'",
        "LINKFLAGS='-T no-such.ld'",
        "CPPDEFINES=['MAX_ROMS=banana'], CFLAGS='-no-such-flag', CPPPATH=['no-such']",
        "CCCOM='false'",
    ],
)
@pytest.mark.parametrize("sources", ["", ", RBOOT_SRC='rboot'"])
def test_the_applications_flags_are_not_the_loaders(project: Project, settings: str, sources: str) -> None:
    if sources:
        make_rboot(project)
    project.write("SConstruct", f"env = Environment({TOOL}{sources})\nenv.RbootLoader('loader.bin')\n")
    project.build("loader.bin")
    loader = project.read("loader.bin")
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}{sources})\nenv.Replace({settings})\nenv.RbootLoader('loader.bin')\n",
    )
    project.build("loader.bin")
    assert project.read("loader.bin") == loader


def make_rboot(project: Project) -> None:
    """Sources like rBoot's: the second stage becomes a header of the first one."""
    project.write(
        "rboot/rboot.c",
        "#include <stdint.h>\n#include <rboot-hex2a.h>\nvoid call_user_start(void) { (void)_text_data[0]; }\n",
    )
    project.write("rboot/rboot-stage2a.c", "void call_user_start(void) {}\n")
    script = (
        "MEMORY { iram1_0_seg : org = 0x4010f000, len = 0x1000 dram0_0_seg : org = 0x3ffe8000, len = 0x4000 }\n"
        "ENTRY(call_user_start)\n"
        "SECTIONS { .text : { *(.literal* .text*) } >iram1_0_seg .rodata : { *(.rodata* .data*) } >dram0_0_seg }\n"
    )
    for name in ("eagle.app.v6.ld", "rboot-stage2a.ld"):
        project.write(f"rboot/{name}", script)


@pytest.mark.parametrize(
    ("settings", "order"),
    [
        ("LIBS=['one', 'two']", "-Wl,--start-group -lone -ltwo main.o -Wl,--end-group"),
        ("LIBS=['one', 'two'], RBOOT_LINK_INPUTS='$SOURCES $_LIBFLAGS'", "main.o -lone -ltwo\n"),
        ("LIBS=['two'], LINKFLAGS='-Wl,--start-group -lone -ltwo -Wl,--end-group'", "-Wl,--end-group -L. "),
        ("LIBS=[], _LIBFLAGS='-Wl,-( -lone -ltwo -Wl,-)'", " -Wl,-( -lone -ltwo -Wl,-) main.o\n"),
    ],
)
def test_link_inputs_set_the_order_of_libraries(project: Project, settings: str, order: str) -> None:
    for name in ("one", "two"):
        project.write(f"{name}.c", f"int {name};\n")
    project.write(
        "SConstruct",
        f"env = Environment({TOOL})\n"
        "[env.StaticLibrary(name, f'{name}.c') for name in ('one', 'two')]\n"
        f"env.RbootApp('app', 'main.c', LIBPATH=['.'], {settings})\n",
    )
    project.build("libone.a", "libtwo.a")
    run = project.run("RBOOT_VERBOSE=yes")
    assert order in run.out, run.text


def test_a_command_longer_than_the_system_takes(project: Project) -> None:
    """Linux limits an argument, such as the command of a shell, to 128 KB."""
    names = [f"{'long' * 50}{number}.c" for number in range(700)]
    for number, name in enumerate(names):
        project.write(name, f"int of_{number};\n")
    project.write(
        "SConstruct",
        f"env = Environment({TOOL})\n"
        f"sources = ['{'long' * 50}%d.c' % number for number in range({len(names)})]\n"
        "def copy(target, source, env):\n"
        "    for node in target:\n"
        "        open(str(node), 'wb').write(source[0].get_contents())\n"
        "objects = env.Command([name[:-1] + 'o' for name in sources], 'empty.o', Action(copy, 'copying'))\n"
        "library = env.StaticLibrary('all', objects)\n"
        "env.RbootApp('app', ['main.c', *objects])\n"
        "env.RbootApp('with_library', ['main.c', library])\n",
    )
    project.write("empty.c", "\n")
    subprocess.run([COMPILER or "", "-c", "empty.c"], cwd=project.directory, check=True)
    project.build()
    assert project.exists("app/rom1.bin")
    assert project.read("app/rom1.bin") == project.read("with_library/rom1.bin")


# Nothing beside our own sources, nor at the top


@pytest.mark.parametrize(
    "glob", ["Glob(package + '/firmware/ota/ota_sh*.c')", "[package + '/firmware/ota/ota_sha256.c']"]
)
def test_our_sources_never_get_objects_beside_them(project: Project, tmp_path: Path, glob: str) -> None:
    tool = copy_of_the_tool(tmp_path / "site packages")
    package = str(tool / "rbootimg")
    before = {path for path in tool.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}
    project.write(
        "SConstruct",
        f"package = {package!r}\n"
        f"env = Environment({at(tool)}, CPPPATH=[package + '/firmware/ota'])\n"
        f"env.RbootApp('app', ['main.c', *{glob}])\n"
        f"env.RbootOtaClient('emulator')\n"
        "env.RbootLoader('loader.bin')\n",
    )
    project.build(".")
    after = {path for path in tool.rglob("*") if path.suffix != ".pyc" and path.name != "__pycache__"}
    assert after == before
    assert project.exists("build/rboot/firmware/ota/ota_sha256.o")


def test_nothing_is_generated_at_the_top(project: Project) -> None:
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='always')\n"
        "env.Append(CCFLAGS=' -ffreestanding')\n"
        "env.RbootApp('app', 'main.c')\n"
        "env.RbootVersionHeader()\n"
        "env.RbootOtaClient('emulator')\n",
    )
    project.build("publish", ".")
    found = {path.name for path in project.directory.iterdir()} - {"main.c", "SConstruct", ".sconsign.dblite"}
    assert found == {"app", "build", "main.o"}


def test_equal_files_are_shared_by_all_sconscripts(project: Project) -> None:
    for name in ("one", "two"):
        project.write(f"{name}/SConscript", "Import('env')\nenv.RbootApp('app', 'main.c')\n")
        project.write(f"{name}/main.c", APP)
    project.write(
        "SConstruct",
        f"env = Environment({TOOL})\n"
        "for name in ('one', 'two'):\n"
        "    each = env.Clone(RBOOT_WEBROOT=f'#web/{name}')\n"
        "    SConscript(f'{name}/SConscript', variant_dir=f'out/{name}', duplicate=False, exports={'env': each})\n",
    )
    output = project.build("prove")
    assert output.count("LDSCRIPT ") == 2
    assert output.count("LOADER ") == 1
    assert sorted(path.name for path in (project.directory / "build/rboot").iterdir()) == [
        "baremetal-002000-082000.ld",
        "baremetal-082000-0fb000.ld",
        "loader-max_roms4.bin",
        "loader-max_roms4.elf",
    ]

"""Whole builds through the real SCons and the real compiler."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import chip, sdk
from support.images import SLOTS
from support.project import APP, ROOT, TOOL, VECTORS, Project, clean_copy

from rbootimg.rom import elf
from rbootimg.rom.format import Rom
from rbootimg.scons.targets import TARGETS
from rbootimg.scons.variables import VARIABLE_GROUPS

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

COMPILER = shutil.which("xtensa-lx106-elf-gcc")


def sconstruct(project: Project, *lines: str, settings: str = "") -> None:
    """An SConstruct with an environment of `settings`, then `lines`."""
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\n" + "\n".join(lines) + "\n")


def app(project: Project, settings: str = "") -> None:
    sconstruct(project, "env.RbootApp('app', 'main.c')", settings=settings)


def link_address(path: Path) -> int:
    section = elf.parse_elf(path.read_bytes()).find(".irom0.text")
    assert section is not None
    return section.address


def symbols(path: Path) -> str:
    return subprocess.run(["xtensa-lx106-elf-nm", path], capture_output=True, text=True, check=True).stdout


# Applications


def test_each_source_is_compiled_once_and_linked_and_packed_for_each_slot(project: Project) -> None:
    output = project.commands()
    assert output.count(" -c ") == 1
    assert output.count(" -T ") == 2
    assert link_address(project.directory / "app/rom0.elf") == 0x40202010
    assert link_address(project.directory / "app/rom1.elf") == 0x40282010
    for name in ("app/rom0.bin", "app/rom1.bin"):
        rom = Rom.from_bytes(project.read(name))
        assert rom.params.describe() == "qio, 1MB, 40m"
        assert not rom.irom_checksum
    assert "up to date" in project.build()


def test_the_roms_nodes_are_returned_in_slot_order(project: Project) -> None:
    sconstruct(project, "print([str(node) for node in env.RbootApp('out/app', 'main.c')])")
    assert "['out/app/rom0.bin', 'out/app/rom1.bin']" in project.build()


def test_one_table_says_what_each_rom_takes(project: Project) -> None:
    table = (
        "\n"
        "ROM           slot          linked at   IRAM      of    %  DRAM      of    %  flash       of    %\n"
        "app/rom0.bin  0 at 0x2000   0x40202010    40  32,768  0.1    20  81,920  0.0    160  524,288  0.0\n"
        "app/rom1.bin  1 at 0x82000  0x40282010    40  32,768  0.1    20  81,920  0.0    160  495,616  0.0\n"
    )
    assert project.build().endswith(table)
    assert f"PUBLISH  build/webroot\n{table}\n" in project.build("publish"), "also of ROMs that are up to date"


def test_silent_builds_print_nothing(project: Project) -> None:
    assert project.build("-s") == ""


def test_c_plus_plus_and_assembly_sources(project: Project) -> None:
    project.write("more.cpp", 'extern "C" __attribute__((section(".irom0.text"))) int more() { return 1; }\n')
    project.write("entry.S", "#define RESULT a2\n.text\n.global entry\nentry: movi RESULT, 5\n ret\n")
    project.write("plain.s", ".text\n.global plain\nplain: call0 entry\n ret\n")
    sconstruct(project, "env.RbootApp('app', ['main.c', 'more.cpp', 'entry.S', 'plain.s'])")
    project.build()
    assert project.exists("app/rom1.bin")


def test_objects_and_libraries_can_be_sources(project: Project) -> None:
    project.write("library.c", "int in_library(void) { return 5; }\n")
    project.write("user.c", APP.replace("in_flash();", "in_flash(); extern int in_library(void); in_library();"))
    sconstruct(
        project,
        "library = env.StaticLibrary('own', 'library.c')",
        "env.RbootApp('app', [env.Object('user.c'), library])",
        "env.RbootApp('other', 'user.c', LIBS=['own'], LIBPATH=['.'])",
    )
    output = project.commands("-j2")
    assert output.count("user.c") == 1
    assert "xtensa-lx106-elf-ar" in output
    assert project.read("app/rom0.bin") == project.read("other/rom0.bin")


def test_the_users_flags_stay_and_come_after_ours(project: Project) -> None:
    app(project, "CFLAGS='-DMINE', LINKFLAGS='-Wl,-Map=app.map', CPPDEFINES=['TOO']")
    output = project.commands()
    compiling, linking = (next(line for line in output.splitlines() if flag in line) for flag in (" -c ", " -T "))
    assert "-mlongcalls -mtext-section-literals -DMINE -Os -DTOO" in compiling
    assert "-nostdlib -static -Wl,-Map=app.map" in linking
    assert project.exists("app.map")


def test_the_users_compiler_stays(project: Project) -> None:
    wrapper = project.write("wrap-xtensa-gcc", f'#!/bin/sh\nexec {COMPILER} "$@"\n')
    wrapper.chmod(0o755)
    app(project, f"CC={str(wrapper)!r}")
    assert f"{wrapper} -o main.o" in project.commands()


def test_overrides_are_for_one_application(project: Project) -> None:
    project.write("other.c", APP)
    sconstruct(
        project,
        "env.RbootApp('one', 'main.c')",
        "env.RbootApp('two', 'other.c', CCFLAGS='-O2', RBOOT_FLASH_MODE='dio')",
    )
    output = project.commands()
    assert "-Os main.c" in output
    assert "-O2 other.c" in output
    assert project.read("one/rom0.bin")[2] == 0
    assert project.read("two/rom0.bin")[2] == 2


def test_the_sconstruct_goes_before_the_tools_keywords_and_the_command_line_before_both(project: Project) -> None:
    tool = TOOL.replace("'rboot']", "('rboot', {'RBOOT_FLASH_MODE': 'dout'})]")
    project.write("SConstruct", f"env = Environment({tool}, RBOOT_FLASH_FREQ='80m')\nenv.RbootApp('app', 'main.c')\n")
    project.build()
    assert Rom.from_bytes(project.read("app/rom0.bin")).params.describe() == "dout, 1MB, 80m"
    project.build("RBOOT_FLASH_SIZE=512KB", "RBOOT_FLASH_FREQ=20m", "RBOOT_FLASH_MODE=qio")
    assert Rom.from_bytes(project.read("app/rom0.bin")).params.describe() == "qio, 512KB, 20m"


def test_the_compilers_variables_too_can_come_from_the_command_line_and_from_a_call(project: Project) -> None:
    assert "-c -mlongcalls -DX" in project.commands("RBOOT_CCFLAGS=-mlongcalls -DX")
    project.write("other.c", APP)
    sconstruct(project, "env.RbootProgram('one', 'other.c', RBOOT_CCFLAGS='-mlongcalls -DY')")
    assert "-c -mlongcalls -DY" in project.commands("one.elf")


def test_a_slot_is_not_for_the_command_line(project: Project) -> None:
    assert "RBOOT_SLOT: unknown variable" in project.fail("RBOOT_SLOT=0x2000")


def test_a_clone_that_loads_the_tool_again_gets_its_settings(project: Project) -> None:
    sconstruct(project, "env.Clone(tools=[('rboot', {'RBOOT_FLASH_SIZE': '4MB'})]).RbootApp('app', 'main.c')")
    project.build()
    assert Rom.from_bytes(project.read("app/rom0.bin")).params.describe() == "qio, 4MB, 40m"


def test_help_names_targets_and_variables(project: Project) -> None:
    project.write("SConstruct", project.read("SConstruct").decode() + "env.Clone(tools=['rboot'])\n")
    text = project.build("-h")
    assert text.count("rBoot targets:") == 1
    lines = text.splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 100
    names = [name for name, _ in TARGETS] + [each.name for group in VARIABLE_GROUPS.values() for each in group]
    assert [line.split("  ")[1] for line in lines if line.startswith("  ") and line[2] != " "][-len(names) :] == names
    for word in ("publish", "compile_commands.json", "RBOOT_SLOTS", "RBOOT_WEBROOT", "[1MB]"):
        assert word in text


def test_compile_commands_are_written_when_asked_for(project: Project) -> None:
    project.build()
    assert not project.exists("compile_commands.json")
    project.build("compile_commands.json")
    (command,) = json.loads(project.read("compile_commands.json"))
    assert command["file"] == "main.c"
    assert command["command"].startswith("xtensa-lx106-elf-gcc -o main.o -c -mlongcalls")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("RbootApp('..', 'main.c')", "invalid application name '..'"),
        ("RbootApp('', 'main.c')", "invalid application name ''"),
        (
            "RbootApp('app/', 'main.c')",
            "app/: invalid application name ''",
        ),
        ("RbootApp(File('app'), 'main.c')", "invalid application name <SCons"),
        ("RbootApp(None, 'main.c')", "invalid application name None: expected a string"),
        ("RbootApp('app', [])", "rboot: app: no files given; check the names or the Glob() pattern"),
        ("RbootApp('app', None)", "rboot: app: expected a file name or node, got None"),
        ("RbootApp('app', 5)", "rboot: app: expected a file name or node, got 5"),
        ("RbootApp('app', 'src')", "rboot: app: expected a file, got the directory src; use Glob() for its files"),
        ("RbootApp('app', Dir('src'))", "rboot: app: expected a file, got the directory src; use Glob() for its files"),
        (
            "RbootApp('app', 'main.c', RBOOT_SLOT='0x2000')",
            "rboot: app: RBOOT_SLOT has no effect here; use RBOOT_SLOTS",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LDSCRIPT=['a.ld', 'b.ld'])",
            "rboot: app: RBOOT_LDSCRIPT: expected one base script for all slots, got 2",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LDSCRIPT=Dir('src'))",
            "RBOOT_LDSCRIPT: expected a file, got the directory src",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LAYOUT=Dir('src'))",
            "cannot read the layout file: Tried to lookup Dir 'src' as a File",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LAYOUT='$NOPE/x.toml')",
            "RBOOT_LAYOUT: cannot expand '$NOPE/x.toml': name 'NOPE' is not defined",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_WEBROOT='${NOPE}/x')",
            "RBOOT_WEBROOT: cannot expand '${NOPE}/x': name 'NOPE' is not defined",
        ),
        ("RbootApp('app', 'main.c', RBOOT_SLOTS=b'0x2000')", "invalid slots b'0x2000': expected a string or a list"),
        (
            "RbootApp('app', 'main.c', RBOOT_FLASH_SIZE='$TYPO')",
            "RBOOT_FLASH_SIZE: cannot expand '$TYPO': name 'TYPO' is not",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_SECTIONS=['.text', '$TYPO'])",
            "RBOOT_SECTIONS: cannot expand '$TYPO': name 'TYPO' is",
        ),
        ("RbootApp('app', 'main.c', RBOOT_SLOTS=['$TYPO'])", "RBOOT_SLOTS: cannot expand '$TYPO': name 'TYPO' is not"),
        (
            "RbootApp('app', 'main.c', RBOOT_WEBROOT='${NOPE.dir}/x')",
            "RBOOT_WEBROOT: cannot expand '${NOPE.dir}/x': name 'NOPE'",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LDSCRIPT='$NOPE')",
            "RBOOT_LDSCRIPT: cannot expand '$NOPE': name 'NOPE' is not",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LDSCRIPT=Glob('nope*'))",
            "RBOOT_LDSCRIPT: no files given; check the names or the Glob() pattern",
        ),
        ("RbootApp('app', 'main.c', RBOOT_SLOTS=0)", "slot 0 at 0x0 overlaps rBoot's loader"),
        (
            "RbootApp('app', 'main.c', RBOOT_TOOLCHAIN='/nowhere')",
            "RBOOT_TOOLCHAIN: changed after the tool was loaded; pass it to Environment(...)",
        ),
        ("RbootApp('app', 'main.c', srcdir='src')", "srcdir: has no effect here"),
        (
            "RbootApp('app', 'main.c', RBOOT_LAYOUT='nope')",
            "rboot: nope: neither a file nor a preset: expected one of 512KB, 1MB,",
        ),
        (
            "RbootApp('app', 'main.c', RBOOT_LAYOUT='nope.toml')",
            "rboot: nope.toml: cannot read the layout file: No such file",
        ),
        ("RbootApp('app', 'main.c', RBOOT_LAYOUT='a\\0b')", "cannot read the layout file: embedded null byte"),
        (
            "RbootApp('app', 'main.c', RBOOT_WEBROOT='a\\0b')",
            "RBOOT_WEBROOT: invalid value 'a\\x00b': expected a directory",
        ),
        ("RbootApp('main.c', 'main.c')", "Tried to lookup File 'main.c' as a Dir"),
        ("RbootApp('main.c/x', 'main.c')", "Tried to lookup File 'main.c' as a Dir"),
        (
            "RbootApp('#app', 'main.c')",
            "invalid application name '#app'",
        ),
        ("RbootImage('a.bin', Dir('src'))", "rboot: a.bin: expected a file, got the directory src"),
        ("RbootImage('a.bin', 5)", "rboot: a.bin: expected a file name or node, got 5"),
        ("RbootImage(5, 'a.elf')", "RbootImage of 5: expected the name of the ROM as target"),
        ("RbootImage([], 'a.elf')", "RbootImage of []: expected the name of the ROM as target"),
        ("RbootProgram([], 'main.c')", "RbootProgram: expected the name of the program as target"),
        (
            "RbootLinkerScript('n.ld', [], RBOOT_SLOT=0x2000)",
            "rboot: n.ld: no files given; check the names or the Glob() pattern",
        ),
        ("RbootLinkerScript('n.ld', 'base.ld')", "rboot: n.ld: expected RBOOT_SLOT, the flash address of the slot"),
        (
            "RbootLinkerScript(['n.ld', 'o.ld'], 'base.ld', RBOOT_SLOT=['0x2000', '0x82000'])",
            "expected one target and one base script",
        ),
        ("RbootPublish('app', [])", "rboot: app: no files given; check the names or the Glob() pattern"),
        (
            "RbootPublish('.', 'a.bin')",
            "invalid application name '.'",
        ),
        ("RbootPublish('app', [])", "rboot: app: no files given"),
    ],
)
def test_an_invalid_call_is_one_line(project: Project, call: str, message: str) -> None:
    project.write("src/other.c", APP)
    sconstruct(project, "env.Object('src/other.c')", f"env.{call}")
    assert message in project.fail()


def test_without_a_linker_a_build_fails(project: Project) -> None:
    app(project, "LINK=''")
    assert "app/rom0.elf" in project.fail()
    assert not project.exists("app/rom0.bin")


def test_every_message_can_be_replaced(project: Project) -> None:
    names = ("RBOOTLDSCRIPT", "RBOOTLINK", "RBOOTIMAGE", "RBOOTPUBLISH")
    app(project, ", ".join(f"{name}COMSTR='{name} of $TARGET'" for name in names))
    lines = project.build("publish").splitlines()
    for line in (
        "RBOOTLDSCRIPT of build/rboot/baremetal-082000-0fb000.ld",
        "RBOOTLINK of app/rom1.elf",
        "RBOOTIMAGE of app/rom0.bin",
        "RBOOTPUBLISH of publish",
    ):
        assert line in lines


# Loading the tool


def copy_of_the_tool(directory: Path) -> None:
    for part in ("rbootimg", "site_scons"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))


SHOW = "import rbootimg.scons\nprint(rbootimg.scons.__file__)\n"


@pytest.mark.parametrize(
    ("where", "tools"),
    [
        (".", "tools=['default', 'rboot']"),
        (".", "tools=['rboot']"),
        (".", "tools=['default', ('rboot', {'RBOOT_FLASH_SIZE': '1MB'})]"),
        ("vendor/rbootimg", "tools=['default', 'rboot'], toolpath=['vendor/rbootimg/site_scons/site_tools']"),
    ],
)
def test_the_tool_loads_from_the_tree_and_from_a_submodule(project: Project, where: str, tools: str) -> None:
    copy_of_the_tool(project.directory / where)
    project.write("SConstruct", f"env = Environment({tools}, CCFLAGS='-Os')\nenv.RbootApp('app', 'main.c')\n" + SHOW)
    output = project.build()
    assert str(project.directory / where / "rbootimg" / "scons") in output
    assert project.exists("app/rom1.bin")


def test_wheel_and_sdist_build_and_the_wheel_works_in_a_new_environment(project: Project, tmp_path: Path) -> None:
    source = clean_copy(tmp_path / "source")
    leftovers = ("examples/hello/build/app/rom0.bin", "examples/hello/main.o", "tests/__pycache__/x.pyc", "tests/x.ld")
    for name in leftovers:  # of a tree in which someone has worked
        Project(source).write(name, "built")
    # The wheel is made from the sdist, so that this holds all it needs.
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", source]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    listing = subprocess.run(["tar", "tf", sdist], capture_output=True, text=True, check=True).stdout
    for name in (
        "SConstruct",
        "sconsw",
        "examples/hello/main.c",
        "tests/vectors/expected.tsv",
        "rbootimg/ld/maskrom.ld",
        "rbootimg/firmware/maskrom.elf",
        "rbootimg/firmware/rboot_format.h",
        "rbootimg/firmware/loader/loader.c",
        "rbootimg/firmware/maskrom/vectors.S",
    ):
        assert name in listing
    for name in leftovers:
        assert name not in listing

    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    locked = ["--require-hashes", "--no-build-isolation", "-r"]
    for what in (
        [*locked, ROOT / ".ci/requirements-build.txt"],
        [*locked, ROOT / ".ci/requirements-run.txt"],
        ["--isolated", "--no-index", wheel],  # needs nothing else
    ):
        pip = [sys.executable, "-m", "pip", "--python", environment, "install", "-q", "--no-compile", *what]
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
    project.write(
        "SConstruct",
        "env = Environment(tools=['default', 'rboot'], toolpath=[PyPackageDir('rbootimg.site_tools')], CCFLAGS='-Os')\n"
        "env.RbootApp('app', 'main.c')\n" + SHOW,
    )
    done = subprocess.run(
        [environment / "bin/scons", "-Q"],
        cwd=project.directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert str(environment) in done.stdout
    checked = subprocess.run(
        [environment / "bin/rbootimg", "verify", "app/rom1.bin"], cwd=project.directory, capture_output=True, check=True
    )
    assert b"ok" in checked.stdout
    (package,) = environment.glob("lib/*/site-packages/rbootimg")
    for name in ("maskrom.elf", "rboot_format.h", "loader/loader.c", "loader/loader.ld"):
        assert (package / "firmware" / name).read_bytes() == (ROOT / "rbootimg/firmware" / name).read_bytes()
    templates = sorted((ROOT / "rbootimg/html").iterdir())
    assert [path.read_bytes() for path in sorted((package / "html").iterdir())] == [
        path.read_bytes() for path in templates
    ]


# The toolchain

NO_PATH = {"PATH": "/nowhere"}


def without_compiler(project: Project, *lines: str, settings: str = "") -> None:
    sconstruct(project, *lines, settings="ENV={'PATH': '/nowhere'}, " + settings)


def test_no_compiler_is_one_line_and_only_when_it_is_needed(project: Project) -> None:
    without_compiler(project, "env.RbootApp('app', 'main.c')")
    line = project.fail(environment=NO_PATH)
    assert "no xtensa-lx106-elf-gcc on PATH; install it (Debian: gcc-xtensa-lx106" in line
    assert not project.exists("app/rom0.bin")
    project.build("-h", environment=NO_PATH)
    project.build("-c", environment=NO_PATH)


def test_packing_needs_no_compiler(project: Project) -> None:
    without_compiler(project, f"env.RbootImage('rom.bin', {str(VECTORS / 'mixed.rom0.elf')!r})")
    project.build(environment=NO_PATH)
    assert project.exists("rom.bin")


def toolchain(bin_directory: Path) -> None:
    bin_directory.mkdir(parents=True)
    for tool in ("gcc", "as", "ar", "ranlib", "g++"):
        wrapper = bin_directory / f"xtensa-lx106-elf-{tool}"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which(wrapper.name)} "$@"\n')
        wrapper.chmod(0o755)


def with_own_toolchain(project: Project, directory: str, named: str) -> Path:
    """A project with its compiler in `directory`, named in a SConscript of a directory of its own; the compiler."""
    toolchain(project.directory / directory / "bin")
    project.write("sub/main.c", APP)
    project.write(
        "sub/SConscript",
        f"env = Environment({TOOL}, RBOOT_TOOLCHAIN={named!r})\nenv.RbootApp('app', 'main.c')\n",
    )
    project.write("SConstruct", "SConscript('sub/SConscript')\n")
    return project.directory / directory / "bin" / "xtensa-lx106-elf-gcc"


@pytest.mark.parametrize("named", ["tools", "#tools", "./tools/bin/xtensa-lx106-elf-"])
def test_a_toolchain_of_the_project_is_named_from_the_top_and_its_change_builds_all(
    project: Project, named: str
) -> None:
    gcc = with_own_toolchain(project, "tools", named)
    output = project.commands()
    assert f"{gcc} -o sub/main.o" in output
    assert "up to date" in project.build()
    gcc.write_text(gcc.read_text() + "# another version\n")
    assert steps(project.build()) == ["CC sub/main.o", "LD sub/app/rom0.elf", "LD sub/app/rom1.elf"]


def test_a_toolchain_with_a_space_in_its_path(project: Project) -> None:
    gcc = with_own_toolchain(project, "tool chain", "tool chain")
    assert f'"{gcc}" -o sub/main.o' in project.commands()
    assert "up to date" in project.build()
    project.build("compile_commands.json")
    (command,) = json.loads(project.read("compile_commands.json"))
    assert shlex.split(command["command"])[0] == str(gcc)


@pytest.mark.parametrize("kind", ["directory", "directory above bin", "prefix"])
def test_the_toolchain_can_be_anywhere(project: Project, kind: str) -> None:
    bin_directory = project.directory / "toolchain" / "bin"
    toolchain(bin_directory)
    value = {
        "directory": bin_directory,
        "directory above bin": bin_directory.parent,
        "prefix": bin_directory / "xtensa-lx106-elf-",
    }[kind]
    output = project.commands(environment={"RBOOT_TOOLCHAIN": str(value)})
    assert f"{bin_directory}/xtensa-lx106-elf-gcc -o main.o" in output


@pytest.mark.needs("gcc")
def test_a_toolchain_that_is_not_there_is_one_line(project: Project, tmp_path: Path) -> None:
    app(project, "RBOOT_TOOLCHAIN='/nowhere'")
    assert "no xtensa-lx106-elf-gcc in RBOOT_TOOLCHAIN (/nowhere)" in project.fail()
    # A directory that ends in a slash is not the prefix of the host's gcc in it.
    (tmp_path / "gcc").symlink_to(shutil.which("gcc") or "")
    app(project, f"RBOOT_TOOLCHAIN='{tmp_path}/'")
    assert "no xtensa-lx106-elf-gcc in RBOOT_TOOLCHAIN" in project.fail()


# Slots


def test_three_slots_with_sizes(project: Project) -> None:
    app(project, "RBOOT_SLOTS=[0x2000, ('0x40000', '128KB'), '0x80000:0x20000'], RBOOT_FLASH_SIZE='4MB'")
    output = project.build()
    assert re.search(r"app/rom0.bin  0 at 0x2000 .* 253,952 ", output)
    assert [link_address(project.directory / f"app/rom{n}.elf") for n in range(3)] == [
        0x40202010,
        0x40240010,
        0x40280010,
    ]


def test_slots_with_one_link_address_share_one_link(project: Project) -> None:
    app(project, "RBOOT_FLASH_SIZE='4MB', RBOOT_BIG_FLASH=True, RBOOT_SLOTS='0x2000 0x82000 0x102000 0x182000'")
    output = project.commands()
    assert output.count(" -T ") == 2
    assert project.read("app/rom0.bin") == project.read("app/rom2.bin")
    assert project.read("app/rom1.bin") == project.read("app/rom3.bin")
    assert project.read("app/rom0.bin") != project.read("app/rom1.bin")


def test_a_shared_link_is_for_the_smallest_of_its_slots(project: Project) -> None:
    app(project, "RBOOT_FLASH_SIZE='4MB', RBOOT_BIG_FLASH=True, RBOOT_SLOTS='0x2000 0x102000:0x4000'")
    project.build()
    assert b"len = 0x3ff0" in project.read("build/rboot/baremetal-102000-106000.ld")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("RBOOT_SLOTS='0x2100'", "slot 0 at 0x2100: invalid address: expected a multiple of the flash sector"),
        ("RBOOT_SLOTS='0x2000:0x20000 0x10000'", "slot 0 at 0x2000 ends at 0x22000 and overlaps slot 1 at 0x10000"),
        ("RBOOT_SLOTS='0x1000'", "slot 0 at 0x1000 overlaps rBoot's config sector"),
        ("RBOOT_SLOTS='0x2000 0x82000', RBOOT_FLASH_SIZE='512KB'", "past the end of the 512KB flash"),
        ("RBOOT_SLOTS='0x102000', RBOOT_FLASH_SIZE='4MB'", "above the first megabyte"),
        (
            "RBOOT_SLOTS='0xF0000:0x20000', RBOOT_FLASH_SIZE='4MB', RBOOT_BIG_FLASH='yes'",
            "crosses the 1 MB boundary at 0x100000",
        ),
        ("RBOOT_FLASH_SIZE='3MB'", "unknown flash size '3MB': expected one of 256KB, 512KB, 1MB"),
        ("RBOOT_FLASH_MODE='fast'", "unknown flash mode 'fast': expected one of qio, qout, dio, dout"),
        ("RBOOT_FLASH_FREQ='60m'", "unknown flash frequency '60m': expected one of 40m, 26m, 20m, 80m"),
        ("RBOOT_HEADER_FLASH_SIZE='3MB'", "unknown flash size '3MB'"),
    ],
)
def test_an_invalid_layout_is_one_line(project: Project, settings: str, message: str) -> None:
    app(project, settings)
    line = project.fail()
    assert "rboot: app: " in line
    assert message in line
    assert not project.exists("app")


def test_an_invalid_value_names_its_variable(project: Project) -> None:
    app(project, "RBOOT_BIG_FLASH='maybe'")
    assert "rboot: RBOOT_BIG_FLASH: invalid value 'maybe': expected yes or no" in project.fail()
    assert not project.exists("app")


@pytest.mark.parametrize(
    "sconstruct_line",
    [
        f"Environment({TOOL}, RBOOT_FLASHSIZE='1MB')",
        f"Environment({TOOL}).RbootApp('app', 'main.c', RBOOT_FLASHSIZE='1MB')",
        f"Environment({TOOL}).RbootProgram('app', 'main.c', RBOOT_FLASHSIZE='1MB')",
        f"Environment({TOOL}).RbootImage('app', 'app.elf', RBOOT_FLASHSIZE='1MB')",
        f"Environment({TOOL}).RbootLinkerScript('app', 'app.ld', RBOOT_FLASHSIZE='1MB')",
        f"Environment({TOOL}).RbootPublish('app', 'app.bin', RBOOT_FLASHSIZE='1MB')",
        f"Environment({TOOL}).Clone(RBOOT_FLASHSIZE='1MB').RbootApp('app', 'main.c')",
        f"env = Environment({TOOL}); env['RBOOT_FLASHSIZE'] = '1MB'; env.RbootApp('app', 'main.c')",
        f"Environment({TOOL.replace(repr('rboot'), str(('rboot', {'RBOOT_FLASHSIZE': '1MB'})))})",
    ],
)
def test_a_misspelt_variable_is_refused(project: Project, sconstruct_line: str) -> None:
    project.write("SConstruct", sconstruct_line + "\n")
    assert "rboot: RBOOT_FLASHSIZE: unknown variable; `scons -h` lists all variables" in project.fail()


def test_a_misspelt_variable_on_the_command_line_is_refused(project: Project) -> None:
    assert "rboot: RBOOT_WEBROT: unknown variable; `scons -h` lists all variables" in project.fail("RBOOT_WEBROT=x")


LAYOUT = """
flash_size = "4MB"
flash_mode = "dio"
[loader]
big_flash = true
irom_checksum = true
[[slot]]
address = 0x2000
[[slot]]
address = 0x202000
size = "64KB"
"""


def test_a_layout_file_sets_what_the_variables_do_not(project: Project) -> None:
    project.write("board.toml", LAYOUT)
    app(project, "RBOOT_LAYOUT='board.toml', RBOOT_FLASH_FREQ='80m'")
    assert "  1 at 0x202000  " in project.build()
    rom = Rom.from_bytes(project.read("app/rom1.bin"), irom_checksum=True)
    assert rom.params.describe() == "dio, 4MB, 80m"
    project.write("board.toml", LAYOUT.replace("dio", "dout"))
    assert steps(project.build()) == PACKED
    project.build("publish", "RBOOT_IROM_CHECKSUM=no", "RBOOT_SLOTS=0x2000")
    assert not Rom.from_bytes(project.read("app/rom0.bin")).irom_checksum
    assert not project.exists("build/webroot/rom1.bin")


@pytest.mark.parametrize("how", ["", ", variant_dir='out'", ", variant_dir='out', duplicate=False"])
def test_a_layout_file_is_relative_to_its_sconscript(project: Project, how: str) -> None:
    project.write("board.toml", LAYOUT.replace("dio", "dout"))
    project.write("sub/board.toml", LAYOUT)
    project.write("sub/main.c", APP)
    shutil.copy(VECTORS / "mixed.rom0.elf", project.directory / "sub/linked.elf")
    project.write(
        "sub/SConscript",
        f"env = Environment({TOOL}, RBOOT_LAYOUT='board.toml')\nenv.RbootApp('app', 'main.c')\n"
        "env.RbootImage('image.bin', 'linked.elf')\n",
    )
    project.write("SConstruct", f"SConscript('sub/SConscript'{how})\n")
    project.build()
    for name in ("app/rom0.bin", "image.bin"):
        rom = Rom.from_bytes(project.read(f"{'out' if how else 'sub'}/{name}"))
        assert rom.params.describe() == "dio, 4MB, 40m"
        assert rom.irom_checksum


def test_a_preset_is_a_layout(project: Project) -> None:
    app(project, "RBOOT_LAYOUT='four-1MB'")
    output = project.commands()
    assert output.count(" -T ") == 1
    assert "  3 at 0x302000  0x40202010  " in output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "board.toml: cannot read the layout file: No such file or directory"),
        (b"\xff", "board.toml: cannot read the layout file: not UTF-8"),
        (b"slots = 2", "board.toml: unknown key 'slots'"),
        (b'flash_size = "512KB"\n[[slot]]\naddress = 0x82000', "board.toml: slot 0 at 0x82000 ends at"),
    ],
)
def test_an_invalid_layout_file_is_one_line(project: Project, content: bytes | None, message: str) -> None:
    if content is not None:
        project.write("board.toml", content)
    app(project, "RBOOT_LAYOUT='board.toml'")
    assert message in project.fail()


# Linker scripts


def with_sdk_script(project: Project) -> None:
    project.write("sdk/ld/eagle.app.v6.ld", sdk.SCRIPT.replace("\n", "\r\n"))
    project.write("sdk/ld/addresses.ld", "INCLUDE nested.ld\r\n")
    project.write("sdk/ld/nested.ld", "PROVIDE(ets_printf = 0x400024cc);\r\n")
    app(project, "RBOOT_LDSCRIPT='sdk/ld/eagle.app.v6.ld'")


def test_an_sdks_script_is_linked_for_each_slot(project: Project) -> None:
    with_sdk_script(project)
    project.build()
    assert link_address(project.directory / "app/rom1.elf") == 0x40282010
    script = project.read("build/rboot/eagle.app.v6-082000-0fb000.ld").decode()
    expected = sdk.SCRIPT.replace("0x40240000, len = 0x3C000", "0x40282010, len = 0x78ff0")
    assert script == expected.replace("\n", "\r\n")


@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
@pytest.mark.parametrize("name", ["sdk/ld/eagle.app.v6.ld", "sdk/ld/addresses.ld", "sdk/ld/nested.ld"])
def test_an_edited_script_relinks_without_compiling(project: Project, name: str, jobs: str) -> None:
    with_sdk_script(project)
    project.build(jobs)
    assert "up to date" in project.build(jobs)
    old = project.read("app/rom0.bin")
    project.write(name, project.read(name).replace(b"0x400024cc", b"0x400024d0") + b"/* edited */\n")
    output = project.commands(jobs)
    assert output.count(" -T ") == 2
    assert " -c " not in output
    assert (project.read("app/rom0.bin") != old) == (name == "sdk/ld/nested.ld")
    assert "up to date" in project.build(jobs)


def test_includes_are_found_along_the_library_path(project: Project) -> None:
    with_sdk_script(project)
    project.write("sdk/ld/addresses.ld", "INCLUDE elsewhere.ld\n")
    project.write("scripts/elsewhere.ld", "PROVIDE(ets_printf = 0x400024cc);\n")
    app(project, "RBOOT_LDSCRIPT='sdk/ld/eagle.app.v6.ld', LIBPATH=['scripts']")
    project.build()
    project.write("scripts/elsewhere.ld", "PROVIDE(ets_printf = 0x400024d0);\n")
    assert project.commands().count(" -T ") == 2


def test_an_include_in_the_library_path_goes_before_one_beside_the_script(project: Project) -> None:
    with_sdk_script(project)
    project.write("sdk/ld/addresses.ld", "INCLUDE both.ld\n")
    project.write("sdk/ld/both.ld", "PROVIDE(ets_printf = 0x40001110);\n")
    project.write("scripts/both.ld", "PROVIDE(ets_printf = 0x40002220);\n")
    app(project, "RBOOT_LDSCRIPT='sdk/ld/eagle.app.v6.ld', LIBPATH=['scripts']")
    project.build()
    assert "40002220 A ets_printf" in symbols(project.directory / "app/rom0.elf")
    project.write("scripts/both.ld", "PROVIDE(ets_printf = 0x40002224);\n")
    project.build()
    assert "40002224 A ets_printf" in symbols(project.directory / "app/rom0.elf")


def test_scripts_of_a_repository_are_used_where_they_are(project: Project, tmp_path: Path) -> None:
    with_sdk_script(project)
    project.build()
    here = Project(tmp_path / "here")
    here.directory.mkdir()
    here.build("-Y", str(project.directory))
    here.write("main.c", APP.replace("= 3", "= 4"))
    here.build("-Y", str(project.directory))
    assert link_address(here.directory / "app/rom1.elf") == 0x40282010


@pytest.mark.parametrize("flags", ["-Lscripts", "-L scripts"])
def test_includes_are_found_in_the_users_link_flags(project: Project, flags: str) -> None:
    with_sdk_script(project)
    project.write("sdk/ld/addresses.ld", "INCLUDE deep.ld\n")
    project.write("scripts/deep.ld", "PROVIDE(ets_printf = 0x40001110);\n")
    app(project, f"RBOOT_LDSCRIPT='sdk/ld/eagle.app.v6.ld', LINKFLAGS={flags!r}")
    project.build()
    project.write("scripts/deep.ld", "PROVIDE(ets_printf = 0x40001114);\n")
    project.build()
    assert "40001114 A ets_printf" in symbols(project.directory / "app/rom0.elf")


def test_the_users_spawn_links_too(project: Project) -> None:
    sconstruct(
        project,
        "plain = env['SPAWN']",
        "def spawn(shell, escape, command, arguments, environment):",
        "    print('SPAWNED', command)",
        "    return plain(shell, escape, command, arguments, environment)",
        "env.Replace(SPAWN=spawn)",
        "env.RbootApp('app', 'main.c')",
    )
    assert project.build().count("SPAWNED") == 3


def test_a_generated_base_script_and_a_generated_include_are_built_first(project: Project) -> None:
    project.write("base.in", sdk.SCRIPT.replace("../ld/addresses.ld", "made.ld"))
    project.write("made.in", "PROVIDE(ets_printf = 0x400024cc);\n")
    sconstruct(
        project,
        "base = env.Command('base.ld', 'base.in', Copy('$TARGET', '$SOURCE'))",
        "env.Command('made.ld', 'made.in', Copy('$TARGET', '$SOURCE'))",
        "env.RbootApp('app', 'main.c', RBOOT_LDSCRIPT=base)",
    )
    project.build("-j8")
    assert "up to date" in project.build("-j8")
    project.write("made.in", "PROVIDE(ets_printf = 0x400024d0);\n")
    assert project.commands("-j8").count(" -T ") == 2


def test_base_scripts_of_one_name_do_not_get_in_each_others_way(project: Project) -> None:
    for directory, address in (("a", "0x400024cc"), ("b", "0x400024d0")):
        project.write(
            f"{directory}/base.ld", sdk.SCRIPT.replace('INCLUDE "../ld/addresses.ld"', f"ets_printf = {address};")
        )
    sconstruct(
        project,
        "env.RbootApp('one', 'main.c', RBOOT_LDSCRIPT='a/base.ld')",
        "env.RbootApp('two', 'main.c', RBOOT_LDSCRIPT='b/base.ld')",
        "env.RbootApp('three', 'main.c', RBOOT_LDSCRIPT='b/base.ld')",
    )
    project.build()
    assert project.read("one/rom0.bin") != project.read("two/rom0.bin")
    assert project.read("two/rom0.bin") == project.read("three/rom0.bin")


def test_a_script_without_the_region_is_one_line(project: Project) -> None:
    project.write("base.ld", "MEMORY { ram : org = 0, len = 1 }\n")
    app(project, "RBOOT_LDSCRIPT='base.ld'")
    assert "base.ld: no memory region irom0_0_seg with org and len" in project.fail()


def test_a_missing_script_is_one_line(project: Project) -> None:
    app(project, "RBOOT_LDSCRIPT='no.ld'")
    assert "Source `no.ld' not found" in project.fail()


# The single steps


def test_the_builders_without_rboot_app(project: Project) -> None:
    project.write("base.ld", sdk.SCRIPT.replace('INCLUDE "../ld/addresses.ld"', "ets_printf = 0x400024cc;"))
    sconstruct(
        project,
        "script = env.RbootLinkerScript('my.ld', 'base.ld', RBOOT_SLOT='0x82000')",
        "program = env.RbootProgram('my.elf', ['main.c'], RBOOT_LDSCRIPT=script[0])",
        "env.RbootImage('my.bin', program, RBOOT_SLOT=('0x82000', '64KB'))",
        "env.RbootProgram('other.elf', 'main.c', RBOOT_LDSCRIPT='my.ld')",
    )
    output = project.commands()
    assert output.count(" -c ") == 1
    assert link_address(project.directory / "my.elf") == 0x40282010
    assert project.read("my.elf") == project.read("other.elf")
    assert "\nmy.bin  0x82000  0x40282010  " in output


def test_an_elf_linked_elsewhere_gives_esptool2s_bytes(project: Project) -> None:
    elf_path = str(VECTORS / "mixed.rom1.elf")
    sconstruct(
        project,
        f"env.RbootImage('mixed', {elf_path!r}, RBOOT_FLASH_SIZE='4MB', RBOOT_FLASH_MODE='dio', "
        "RBOOT_FLASH_FREQ='80m', RBOOT_SECTIONS='.data .rodata .text')",
        f"env.RbootImage('summed', {elf_path!r}, RBOOT_HEADER_FLASH_SIZE='512KB', RBOOT_IROM_CHECKSUM='yes', "
        "RBOOT_SECTIONS=['.text', '.data', '.rodata'], RBOOT_SLOT=0x82000)",
    )
    project.build()
    expected = (VECTORS / "expected.tsv").read_text()
    for name in ("mixed.bin", "summed.bin"):
        assert f"240\t{project.digest(name)}" in expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("RBOOT_SLOT=0", "slot 0 at 0x0 overlaps rBoot's loader"),
        ("RBOOT_SLOT='0x82000'", "linked at 0x40202010 (slot at 0x2000), expected 0x40282010 for slot at 0x82000"),
        ("RBOOT_SLOT=['0x2000', '0x82000', '0x1000']", "expected an address, or an address and a size"),
        ("RBOOT_SECTIONS='.text .text'", "section .text is named twice"),
    ],
)
def test_an_invalid_image_is_one_line(project: Project, settings: str, message: str) -> None:
    sconstruct(project, f"env.RbootImage('a.bin', {str(VECTORS / 'mixed.rom0.elf')!r}, {settings})")
    assert message in project.fail()
    assert not project.exists("a.bin")


def test_of_several_images_each_has_its_slot(project: Project) -> None:
    elfs = [str(VECTORS / f"mixed.rom{n}.elf") for n in (0, 1)]
    images = f"env.RbootImage(['a.bin', 'b.bin'], {elfs!r}, RBOOT_SLOT={{}})"
    sconstruct(project, images.format("['0x2000', ('0x82000', '16KB')]"))
    assert "\nb.bin  0x82000  0x40282010  " in project.build()
    sconstruct(project, images.format("['0x82000', '0x2000']"))
    assert "expected 0x40282010 for slot at 0x82000" in project.fail()
    sconstruct(project, images.format("'0x2000'"))
    assert "RBOOT_SLOT: invalid value '0x2000': expected a list of 2 slots, one for each target" in project.fail()


def test_an_elf_needs_no_suffix(project: Project) -> None:
    shutil.copy(VECTORS / "mixed.rom0.elf", project.directory / "linked")
    sconstruct(project, "env.RbootImage('a', 'linked')")
    project.build()
    assert project.exists("a.bin")


def test_several_images_in_one_step(project: Project) -> None:
    elfs = [str(VECTORS / f"mixed.rom{n}.elf") for n in (0, 1)]
    sconstruct(project, f"env.RbootImage(['a.bin', 'b.bin'], {elfs!r})", f"env.RbootImage(['c.bin'], {elfs!r})")
    assert "c.bin: expected 1 ELFs, one for each ROM, got 2" in project.fail()
    for number, slot in enumerate(SLOTS):
        project.write(f"{number}.elf", chip.linked(chip.SOURCES["mixed"], slot))
    sconstruct(project, "env.RbootPublish('app', env.RbootImage(['a.bin', 'b.bin'], ['0.elf', '1.elf']))")
    project.build("publish")
    assert project.read("build/webroot/rom1.bin") == project.read("b.bin")


def test_sections_left_out_of_the_rom_are_reported(project: Project) -> None:
    sconstruct(project, f"env.RbootImage('rom.bin', {str(VECTORS / 'mixed.rom0.elf')!r}, RBOOT_SECTIONS='.text')")
    run = project.run()
    assert run.status == 0
    assert "warning: section .data (5 bytes at 0x3ffe8000) is not in the ROM" in run.err


# Nothing wrong gets out


def test_flash_code_that_does_not_fit_names_the_slot_and_the_bytes(project: Project) -> None:
    filler = '__asm__(".section .irom0.text,\\"ax\\"\\n.zero 5000\\n.text\\n");'
    project.write("main.c", APP + filler)
    app(project, "RBOOT_SLOTS='0x2000 0x82000:0x1000'")
    line = project.fail()
    assert "app/rom1.elf: flash code overflows slot 1 at 0x82000 by " in line
    assert line.endswith(" bytes; reduce it or enlarge the slot")
    assert not project.exists("app/rom0.bin")
    assert not project.exists("app/rom1.elf")


@pytest.mark.parametrize(
    ("section", "memory"),
    [('.text,\\"ax\\"', "IRAM sections"), ('.bss,\\"aw\\",@nobits', "DRAM sections")],
)
def test_ram_that_does_not_fit_names_the_memory(project: Project, section: str, memory: str) -> None:
    project.write("main.c", APP + f'__asm__(".section {section}\\n.zero 90000\\n.text\\n");')
    line = project.fail()
    assert f"{memory} overflow the " in line
    assert not project.exists("app/rom0.bin")


def test_a_rom_whose_ram_sections_make_it_too_large_is_refused(project: Project) -> None:
    project.write("main.c", APP + '__asm__(".data\\n.zero 4096\\n.text\\n");')
    app(project, "RBOOT_SLOTS='0x2000:0x1000 0x82000'")
    line = project.fail()
    assert "[app/rom0.bin] app/rom0.elf: ROM has 4," in line
    assert "more than slot 0 at 0x2000 holds (4,096)" in line
    assert not project.exists("app/rom0.bin")
    assert not project.exists("app/rom1.bin")


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b"", "", "rom.elf: empty file"),
        (b"MZ no ELF", "", "rom.elf: not an ELF file"),
        ((VECTORS / "mixed.rom0.elf").read_bytes()[:5000], "", "rom.elf: corrupt or truncated ELF"),
        ((VECTORS / "mixed.rom1.elf").read_bytes(), "RBOOT_SLOT=0x2000", "rom.elf: linked at 0x40282010"),
        ((VECTORS / "mixed.rom0.elf").read_bytes(), "RBOOT_SECTIONS='.nosuch'", "no section .nosuch with data"),
        ((VECTORS / "mixed.rom0.elf").read_bytes(), "RBOOT_FLASH_SIZE='3MB'", "unknown flash size '3MB'"),
    ],
)
def test_a_bad_elf_is_one_line_and_no_rom(project: Project, content: bytes, settings: str, message: str) -> None:
    project.write("rom.elf", content)
    sconstruct(project, f"env.RbootImage('rom.bin', 'rom.elf', {settings})")
    assert message in project.fail()
    assert not project.exists("rom.bin")


def test_a_failed_pack_leaves_no_rom_that_a_later_run_accepts(project: Project) -> None:
    sconstruct(project, f"env.RbootImage('rom.bin', {str(VECTORS / 'big.rom0.elf')!r})")
    project.build()
    good = project.read("rom.bin")
    (project.directory / "rom.bin").unlink()

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    assert "rom.bin" in project.fail(preexec_fn=small_files_only)
    assert sorted(path.name for path in project.directory.iterdir()) == [".sconsign.dblite", "SConstruct", "main.c"]
    project.build()
    assert project.read("rom.bin") == good


# Rebuilds


PACKED = ["PACK app/rom0.bin", "PACK app/rom1.bin"]


def test_a_changed_flash_mode_only_repacks(project: Project) -> None:
    project.build()
    assert steps(project.build("RBOOT_FLASH_MODE=dio")) == PACKED


def steps(output: str) -> list[str]:
    """What a build did: compiling, linking and packing, each by its target."""
    return [" ".join(step) for step in re.findall(r"^(CC|LD|LDSCRIPT|PACK) +(\S+)$", output, re.MULTILINE)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("RBOOT_FLASH_FREQ='80m'", PACKED),
        ("RBOOT_HEADER_FLASH_SIZE='512KB'", PACKED),
        ("RBOOT_IROM_CHECKSUM='yes'", PACKED),
        ("RBOOT_SECTIONS='.text .rodata .data'", PACKED),
        ("LINKFLAGS='-Wl,--gc-sections'", ["LD app/rom0.elf", "LD app/rom1.elf", *PACKED]),
        ("CCFLAGS='-Os -DX'", ["CC main.o"]),
        (
            "RBOOT_SLOTS='0x2000 0x42000'",
            [
                "LDSCRIPT build/rboot/baremetal-002000-042000.ld",
                "LDSCRIPT build/rboot/baremetal-042000-0fb000.ld",
                "LD app/rom0.elf",
                "LD app/rom1.elf",
                *PACKED,
            ],
        ),
    ],
)
def test_a_changed_setting_rebuilds_only_what_depends_on_it(
    project: Project, settings: str, expected: list[str]
) -> None:
    sconstruct(project, "env.RbootApp('app', 'main.c')")
    project.build()
    sconstruct(project, f"env.Replace({settings})", "env.RbootApp('app', 'main.c')")
    assert steps(project.build()) == expected


@pytest.mark.parametrize("first", ["changed", "plain"])
def test_a_changed_option_of_one_application_rebuilds_only_that(project: Project, first: str) -> None:
    project.write("other.c", APP)

    def build(flags: str) -> str:
        apps = ["env.RbootApp('plain', 'main.c')", f"env.RbootApp('changed', 'other.c', CCFLAGS={flags!r})"]
        sconstruct(project, *(reversed(apps) if first == "changed" else apps))
        return project.build()

    build("-Os")
    assert steps(build("-O2 -DX")) == [
        "CC other.o",
        "LD changed/rom0.elf",
        "LD changed/rom1.elf",
        "PACK changed/rom0.bin",
        "PACK changed/rom1.bin",
    ]


@pytest.mark.parametrize(
    "call",
    ["env.RbootApp('loud', 'other.c', {})", "env.RbootProgram('loud', 'other.c', {}, RBOOT_SECTIONS='.text')"],
)
def test_the_overrides_of_one_call_do_not_leak_into_the_next(project: Project, call: str) -> None:
    project.write("other.c", APP)
    project.write("third.c", APP)
    sconstruct(
        project,
        call.format("CCFLAGS='-O2 -DLOUD', LINKFLAGS='-Wl,--gc-sections', RBOOT_FLASH_MODE='dio'"),
        "env.RbootApp('plain', 'main.c')",
        "env.Object('third.c')",
        "env.RbootProgram('alone', 'third.o', RBOOT_LDSCRIPT='build/rboot/baremetal-002000-082000.ld')",
    )
    for line in project.commands().splitlines():
        assert ("-DLOUD" in line) == ("-c " in line and "other.c" in line)
        assert ("--gc-sections" in line) == ("-T " in line and "loud" in line)
    assert project.read("plain/rom0.bin")[2] == 0


def with_library(project: Project, name: str, settings: str = "") -> None:
    """An application of that name: SCons looks at what it builds in the order of the names."""
    project.write("aside.c", "int aside(void) { return 1; }\n")
    project.write("main.c", APP.replace("int counter = 3;", "extern int aside(void); int counter = 3;"))
    project.write("main.c", project.read("main.c").replace(b"counter++)", b"counter + aside())"))
    sconstruct(
        project,
        "own = env.StaticLibrary('own', 'aside.c')",
        f"env.RbootApp({name!r}, 'main.c', LIBS=['own'], LIBPATH=['.'])",
        settings=settings,
    )


@pytest.mark.parametrize("name", ["app", "zapp"])
@pytest.mark.parametrize(
    "altered", ["main.o", "aside.o", "libown.a", "build/rboot/baremetal-002000-082000.ld", "{}/rom0.elf", "{}/rom1.bin"]
)
def test_a_built_file_that_something_else_changed_is_built_again(project: Project, name: str, altered: str) -> None:
    with_library(project, name)
    project.build("publish")
    altered = altered.format(name)
    good = project.read(altered)
    published = {path.name: path.read_bytes() for path in (project.directory / "build/webroot").iterdir()}
    project.write(altered, good.replace(b"*(.entry.text)", b"LONG(0) *(.entry.text)") if b"entry" in good else b"x")
    project.build("publish")
    assert project.read(altered) == good
    assert {path.name: path.read_bytes() for path in (project.directory / "build/webroot").iterdir()} == published
    os.utime(project.directory / altered, (1, 1))
    assert "up to date" in project.build()


def test_an_interactive_session_builds_once(project: Project) -> None:
    project.build()
    project.write("main.o", b"altered")
    done = subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", "--interactive", "RBOOT_VERBOSE=yes"],
        cwd=project.directory,
        input="build publish\nshell touch main.c\nbuild publish\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count("-o main.o -c") <= 1
    assert "Traceback" not in done.stderr


def test_a_rom_that_is_not_what_its_elf_packs_to_is_not_published(project: Project) -> None:
    """E.g. if another scons runs in the same directory, or with SCons options that skip the check."""
    project.build()
    roms = "for rom in env.RbootApp('app', 'main.c'):\n    "
    sconstruct(project, roms + "env.AddPostAction(rom, 'cp app/rom1.bin app/rom0.bin')")
    project.write("main.c", APP.replace("= 3", "= 4"))
    line = project.fail("publish")
    assert "app/rom0.bin of app: not published: content differs from what app/rom0.elf packs to" in line
    assert not project.exists("build/webroot")


def test_roms_are_packed_together_or_not_at_all(project: Project) -> None:
    sconstruct(project, "env.AddPreAction(env.RbootApp('app', 'main.c'), Mkdir('app/rom1.bin'))")
    project.fail()
    assert not project.exists("app/rom0.bin")


@pytest.mark.parametrize("ending", ["exit 1", "kill -9 $PPID; exit 1"])
@pytest.mark.parametrize("step", ["-c", "-T"])
def test_outputs_of_failed_or_killed_commands_are_not_accepted(
    project: Project, tmp_path: Path, step: str, ending: str
) -> None:
    """Compiled or linked from other sources, then failed; then the sources are in their old state again."""
    wrapper = tmp_path / "xtensa-gcc"
    wrapper.write_text(
        f'#!/bin/sh\n{COMPILER} "$@" || exit\n[ -e {tmp_path}/fail ] || exit 0\n'
        f'case "$*" in *" {step} "*) {ending};; esac\n'
    )
    wrapper.chmod(0o755)
    for tool in ("ar", "ranlib"):
        (tmp_path / f"xtensa-{tool}").symlink_to(shutil.which(f"xtensa-lx106-elf-{tool}") or "")
    with_library(project, "zapp", f"CC={str(wrapper)!r}")
    project.build()
    good = roms(project, "zapp")
    source = project.read("main.c")
    project.write("main.c", source.replace(b"counter = 3", b"counter = 4"))
    (tmp_path / "fail").touch()
    assert project.run().status != 0
    (tmp_path / "fail").unlink()
    project.write("main.c", source)
    project.build()
    assert roms(project, "zapp") == good


def test_another_version_of_the_tool_packs_again(project: Project) -> None:
    copy_of_the_tool(project.directory)
    project.write("SConstruct", "Environment(tools=['rboot']).RbootApp('app', 'main.c')\n")
    project.build()
    project.write("rbootimg/_version.py", "__version__ = '99.0'\n")
    scripts = [f"LDSCRIPT build/rboot/baremetal-{slot}.ld" for slot in ("002000-082000", "082000-0fb000")]
    assert steps(project.build()) == [*scripts, *PACKED]


def roms(project: Project, directory: str = "app") -> list[bytes]:
    return [project.read(f"{directory}/rom{number}.bin") for number in (0, 1)]


def test_all_ways_to_build_give_the_same_bytes(project: Project) -> None:
    project.build("-j8")
    expected = roms(project)
    shutil.copytree(project.directory, project.directory.parent / "a longer path" / "copy")
    elsewhere = Project(project.directory.parent / "a longer path" / "copy")
    elsewhere.build("-c")
    elsewhere.build()
    assert roms(elsewhere) == expected

    project.build("-c")
    project.write("SConscript", project.read("SConstruct"))
    for duplicate in (0, 1):
        project.write("SConstruct", f"SConscript('SConscript', variant_dir='out{duplicate}', duplicate={duplicate})\n")
        project.build()
        assert roms(project, f"out{duplicate}/app") == expected


def test_a_cache_gives_the_same_bytes(project: Project) -> None:
    cache = f"CacheDir({str(project.directory / 'cache')!r})\n".encode()
    project.write("SConstruct", cache + project.read("SConstruct"))
    project.build()
    expected = roms(project)
    project.build("-c")
    output = project.build()
    assert "Retrieved `app/rom0.bin' from cache" in output
    assert roms(project) == expected


# Publishing


def test_publish_puts_the_roms_of_one_application_at_the_root(project: Project) -> None:
    previous = os.umask(0o077)
    try:
        output = project.build("publish")
    finally:
        os.umask(previous)
    assert (
        "\npublished app to build/webroot (rom0 160 B, rom1 160 B), proved with loader-max_roms4.bin, "
        "without a version\n"
        "serve it with: scons serve\n"
    ) in output
    web_root = project.directory / "build/webroot"
    assert sorted(path.name for path in web_root.iterdir()) == ["rom0.bin", "rom1.bin"]
    assert stat.S_IMODE((web_root / "rom0.bin").stat().st_mode) == 0o644
    assert stat.S_IMODE(web_root.stat().st_mode) == 0o755
    assert (web_root / "rom0.bin").read_bytes() == project.read("app/rom0.bin")


def test_publish_puts_several_applications_into_directories(project: Project) -> None:
    sconstruct(
        project,
        "env.RbootApp('one', 'main.c')",
        "env.RbootApp('sub/two', 'main.c')",
        "env.RbootApp('alone', 'main.c', RBOOT_WEBROOT='elsewhere')",
        settings="RBOOT_WEBROOT='www'",
    )
    project.build("publish")
    found = sorted(str(path.relative_to(project.directory)) for path in project.directory.glob("*/**/rom?.bin"))
    assert [name for name in found if name.startswith(("www", "else"))] == [
        "elsewhere/rom0.bin",
        "elsewhere/rom1.bin",
        "www/one/rom0.bin",
        "www/one/rom1.bin",
        "www/two/rom0.bin",
        "www/two/rom1.bin",
    ]


def test_a_published_file_that_was_altered_is_repaired(project: Project) -> None:
    project.build("publish")
    good = project.read("build/webroot/rom0.bin")
    project.write("build/webroot/rom0.bin", b"altered")
    project.write("build/webroot/other.txt", b"not ours")
    output = project.build("publish")
    assert project.read("build/webroot/rom0.bin") == good
    assert "\npublished app to build/webroot (" in output
    assert "\napp is current already in build/webroot (" in project.build("publish")
    assert project.exists("build/webroot/other.txt")


def test_cleaning_leaves_the_web_root_alone(project: Project) -> None:
    project.build("publish")
    project.build("-c", "publish")
    project.build("-c")
    assert not project.exists("app/rom0.bin")
    assert project.exists("build/webroot/rom0.bin")
    assert project.exists("build/webroot/rom1.bin")


def test_a_failed_build_publishes_nothing(project: Project) -> None:
    project.build("publish")
    good = project.read("build/webroot/rom0.bin")
    project.write("main.c", "#error broken\n")
    project.fail("publish")
    assert project.read("build/webroot/rom0.bin") == good


def test_a_corrupt_rom_stops_the_publication_of_all(project: Project) -> None:
    shutil.copy(VECTORS / "mixed.rom0.elf", project.directory / "0.elf")
    sconstruct(project, "env.RbootImage('made.bin', '0.elf')")
    project.build()
    project.write("bad.bin", project.read("made.bin")[:-20])
    sconstruct(
        project,
        "env.RbootApp('app', 'main.c', RBOOT_WEBROOT='www1')",
        "env.RbootPublish('other', 'bad.bin', RBOOT_WEBROOT='www2')",
    )
    assert "rom0.bin of other: not published: " in project.fail("publish")
    assert not project.exists("www1")
    assert not project.exists("www2")


def test_a_silent_publish_prints_nothing(project: Project) -> None:
    assert project.build("-s", "publish") == ""


def test_a_name_with_a_variable_in_it(project: Project) -> None:
    sconstruct(
        project,
        "env.RbootApp('out/$NAME', 'main.c')",
        "env.RbootApp('out/other', 'main.c')",
        settings="NAME='app'",
    )
    project.build("publish")
    assert project.exists("build/webroot/app/rom1.bin")


@pytest.mark.parametrize("spelling", ["build/../www", "#www", "link", "sub/../www/"])
def test_two_spellings_of_one_web_root_are_one(project: Project, spelling: str) -> None:
    (project.directory / "link").symlink_to("www")
    apps = [
        "env.RbootApp('one', 'main.c', RBOOT_WEBROOT='www')",
        f"env.RbootApp('{{}}', 'main.c', RBOOT_WEBROOT={spelling!r})",
    ]
    sconstruct(project, apps[0], apps[1].format("two"))
    project.build("publish")
    assert sorted(path.name for path in (project.directory / "www").iterdir()) == ["one", "two"]
    sconstruct(project, apps[0], apps[1].format("sub/one"))
    assert "one: two applications of one web root have this name; rename one" in project.fail()


def test_a_web_root_in_the_directory_of_another_ones_application_is_refused(project: Project) -> None:
    sconstruct(
        project,
        "env.RbootApp('one', 'main.c')",
        "env.RbootApp('two', 'main.c')",
        "env.RbootApp('three', 'main.c', RBOOT_WEBROOT='#build/webroot/two')",
    )
    line = project.fail("publish")
    assert ": would be in two web roots, " in line
    assert line.endswith("/build/webroot/two; use separate directories")
    assert not project.exists("build/webroot")


def test_a_web_root_that_is_the_builds_own_directory_is_refused(project: Project) -> None:
    sconstruct(project, "env.RbootApp('one', 'main.c')", "env.RbootApp('two', 'main.c')", settings="RBOOT_WEBROOT='.'")
    assert ": would be overwritten by publishing; use another RBOOT_WEBROOT" in project.fail("publish")


def test_roms_from_elsewhere_are_checked_although_already_published(project: Project) -> None:
    elfs = [str(VECTORS / f"mixed.rom{n}.elf") for n in (0, 1)]
    sconstruct(project, f"env.RbootImage(['a.bin', 'b.bin'], {elfs!r})")
    project.build()
    publish = "env.RbootPublish('app', ['a.bin', 'b.bin'], RBOOT_SLOTS={!r})"
    sconstruct(project, publish.format("0x2000 0x82000"))
    project.build("publish")
    sconstruct(project, publish.format("0x10000 0x90000"))
    assert (
        "rom0.bin of app: linked at 0x40202010 (slot at 0x2000), expected 0x40210010 for slot 0 at 0x10000"
        in project.fail("publish")
    )


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_web_root_is_the_default(project: Project, value: str | None) -> None:
    app(project, f"RBOOT_WEBROOT={value!r}")
    project.build("publish")
    assert project.exists("build/webroot/rom0.bin")


def test_roms_that_were_not_built_here_are_published_only_in_the_slots_order(project: Project) -> None:
    for number in (0, 1):
        shutil.copy(VECTORS / f"mixed.rom{number}.elf", project.directory / f"{number}.elf")
    sconstruct(project, "env.RbootImage(['a.bin', 'b.bin'], ['0.elf', '1.elf'])")
    project.build()
    project.write("SConstruct", f"Environment({TOOL}).RbootPublish('app', ['b.bin', 'a.bin'])\n")
    line = project.fail("publish")
    assert "rom0.bin of app: linked at 0x40282010 (slot at 0x82000), expected 0x40202010 for slot 0 at 0x2000" in line
    assert not project.exists("build/webroot")
    project.write("SConstruct", f"Environment({TOOL}).RbootPublish('app', ['a.bin', 'b.bin'])\n")
    project.build("publish")
    assert project.read("build/webroot/rom1.bin") == project.read("b.bin")


def test_roms_of_different_builds_are_not_published_as_one_application(project: Project) -> None:
    sconstruct(
        project,
        "one = env.RbootApp('one', 'main.c', RBOOT_WEBROOT='www1')",
        "two = env.RbootApp('two', env.Object('two.o', 'main.c', CCFLAGS='-O0'), RBOOT_WEBROOT='www2')",
        "env.RbootPublish('mixed', [one[0], two[1]])",
    )
    assert "rom1.bin of mixed: not the same application as rom0.bin of mixed" in project.fail("publish")
    assert not project.exists("build/webroot")


def test_two_applications_of_one_name_are_refused(project: Project) -> None:
    sconstruct(project, "env.RbootApp('a/app', 'main.c')", "env.RbootApp('b/app', 'main.c')")
    assert "app: two applications of one web root have this name; rename one" in project.fail()


def test_a_web_root_that_cannot_be_written_is_one_line(project: Project) -> None:
    project.write("file", "in the way")
    line = project.fail("publish", "RBOOT_WEBROOT=file/webroot")
    assert line.endswith(f"[publish] {project.directory}/file: cannot write the web root: not a directory")
    # A directory that not even root can write to.
    line = project.fail("publish", "RBOOT_WEBROOT=/proc/self/webroot")
    assert "[publish] /proc/self/webroot: cannot write the web root: " in line


def test_a_full_disk_leaves_the_web_root_as_it_was(project: Project) -> None:
    app(project, "RBOOT_PROVE='never'")
    project.build("publish")
    good = project.read("build/webroot/rom1.bin")
    project.write("main.c", APP.replace("an application", "another" * 8000))
    project.build()

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    assert ": cannot write the web root: " in project.fail("publish", preexec_fn=small_files_only)
    assert project.read("build/webroot/rom1.bin") == good
    assert sorted(path.name for path in (project.directory / "build/webroot").iterdir()) == ["rom0.bin", "rom1.bin"]


# The examples


def example(project: Project, name: str) -> Project:
    """A copy of the example, as a user would make one, in a tree that has the tool two directories up."""
    copy_of_the_tool(project.directory)
    copy = Project(project.directory / "examples" / name)
    for path in (ROOT / "examples" / name).rglob("*"):  # but nothing that was built there
        if path.name == "SConstruct" or path.suffix in (".c", ".h"):
            copy.write(str(path.relative_to(ROOT / "examples" / name)), path.read_bytes())
    return copy


def test_the_hello_example(project: Project) -> None:
    hello = example(project, "hello")
    hello.build("publish")
    app = elf.parse_elf(hello.read("hello/rom1.elf"))
    for name in (".text", ".data", ".rodata", ".irom0.text"):
        assert app.find(name) is not None
    assert any(section.name == ".bss" and section.size for section in app.sections)
    assert hello.exists("build/webroot/rom1.bin")


def test_the_imported_example_has_eight_lines_and_builds(project: Project) -> None:
    imported = example(project, "imported")
    lines = [line for line in imported.read("SConstruct").decode().splitlines() if not line.startswith("#")]
    assert len(lines) <= 8
    imported.build("publish")
    assert imported.exists("build/webroot/rom1.bin")


def test_the_sdk_example_without_an_sdk_is_one_line(project: Project) -> None:
    copy = example(project, "nonos_sdk")
    assert copy.build() == "nonos_sdk: skipped; set SDK_BASE to the directory of the NONOS SDK\n"


HERE = {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_sdk_example_links_as_the_makefile_does(project: Project, tmp_path: Path) -> None:
    """From the same objects, in the Makefile's order: the libraries before the objects, in one group."""
    stand_in = sdk.make(tmp_path / "sdk")
    copy = example(project, "nonos_sdk")
    copy.write("user/second.c", '#include "c_types.h"\nuint32 ICACHE_FLASH_ATTR second(void) { return 2; }\n')
    copy.build(f"SDK_BASE={stand_in}")
    libraries = [f"-l{name}" for name in sdk.LIBRARIES]
    for number, (org, size) in enumerate((("0x40202010", "0x7fff0"), ("0x40282010", "0x78ff0"))):
        script = sdk.SCRIPT.replace("0x40240000, len = 0x3C000", f"{org}, len = {size}")
        (tmp_path / "rom.ld").write_text(script)
        sdk.run_tool(
            copy.directory / "build",
            *("gcc", f"-L{stand_in}/lib", f"-T{tmp_path}/rom.ld", "-nostdlib", "-Wl,--no-check-sections"),
            *("-u", "call_user_start", "-Wl,-static", "-Wl,--start-group", *libraries),
            *("main.o", "second.o", "-Wl,--end-group", "-o", f"{tmp_path}/rom.elf"),
        )
        by_hand = elf.parse_elf((tmp_path / "rom.elf").read_bytes())
        ours = elf.parse_elf(copy.read(f"build/app/rom{number}.elf"))
        assert by_hand == ours
        sections = [name for name in (".text", ".data", ".rodata") if by_hand.find(name)]
        packing = ["-bin", "-boot2", "rom.elf", "rom.bin", *sections]  # as the Makefile calls esptool2
        subprocess.run([sys.executable, "-m", "rbootimg", "esptool2", *packing], cwd=tmp_path, env=HERE, check=True)
        assert copy.read(f"build/app/rom{number}.bin") == (tmp_path / "rom.bin").read_bytes()

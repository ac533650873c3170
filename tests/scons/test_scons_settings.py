"""Precedence of settings: the command line overrides every SConscript."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.project import ROOT, TOOL, Project

from rbootimg.rom.format import Rom

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")


def params(project: Project, rom: str = "app/rom0.bin") -> str:
    return Rom.from_bytes(project.read(rom)).params.describe()


def environment(project: Project, settings: str, *lines: str) -> None:
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\n" + "\n".join(lines) + "\n")


def test_the_command_line_overrides_the_sconstruct(project: Project) -> None:
    """The case of the README's first example: it published 1.0.0, and qio, and said nothing."""
    environment(
        project,
        "RBOOT_VERSION='1.0.0', RBOOT_FLASH_MODE='qio', RBOOT_PROVE='never'",
        "env.RbootApp('app', 'main.c')",
    )
    project.build("publish", "RBOOT_VERSION=1.1.0", "RBOOT_FLASH_MODE=dio")
    assert params(project) == "dio, 1MB, 40m"
    assert project.read("build/webroot/version").decode().strip() == "1.1.0"
    project.build()
    assert params(project) == "qio, 1MB, 40m"


@pytest.mark.parametrize(
    "line",
    [
        "env.RbootApp('app', 'main.c', RBOOT_FLASH_MODE='dout')",
        "env['RBOOT_FLASH_MODE'] = 'dout'; env.RbootApp('app', 'main.c')",
        "env.Clone(RBOOT_FLASH_MODE='dout').RbootApp('app', 'main.c')",
        "env.Clone(tools=[('rboot', {'RBOOT_FLASH_MODE': 'dout'})]).RbootApp('app', 'main.c')",
        "env.Replace(RBOOT_FLASH_MODE='dout'); env.RbootApp('app', 'main.c')",
    ],
)
def test_it_overrides_a_call_and_later_assignments(project: Project, line: str) -> None:
    environment(project, "", line)
    project.build()
    assert params(project) == "dout, 1MB, 40m"
    project.build("RBOOT_FLASH_MODE=dio")
    assert params(project) == "dio, 1MB, 40m"


def test_the_environment_has_the_command_lines_values(project: Project) -> None:
    """Environment() puts its keywords back after the tools are loaded; `$RBOOT_VERSION` in a define was the old one."""
    environment(
        project,
        "RBOOT_VERSION='v1.0.0', CPPDEFINES=[('MINE', '$RBOOT_VERSION')]",
        "print('VERSION', env['RBOOT_VERSION'], env.Clone()['RBOOT_VERSION'])",
        "env.RbootApp('app', 'main.c')",
    )
    for arguments, version in (((), "1.0.0"), (("RBOOT_VERSION=v1.1.0",), "1.1.0")):
        output = project.commands(*arguments)
        assert f"VERSION {version} {version}\n" in output
        assert f"-DMINE={version} " in output


def test_a_layout_on_the_command_line_overrides_the_flash_settings_of_the_sconstruct(project: Project) -> None:
    environment(
        project,
        "RBOOT_FLASH_SIZE='1MB', RBOOT_SLOTS=[0x2000, 0x42000], RBOOT_FLASH_MODE='dout'",
        "env.RbootApp('app', 'main.c')",
    )
    project.build("RBOOT_LAYOUT=2MB-big")
    assert params(project) == "qio, 2MB, 40m"
    project.build("RBOOT_LAYOUT=2MB-big", "RBOOT_FLASH_MODE=dio")
    assert params(project) == "dio, 2MB, 40m"


def test_slots_on_the_command_line_override_a_layout(project: Project) -> None:
    environment(project, "RBOOT_LAYOUT='1MB'", "env.RbootApp('app', 'main.c')")
    project.build("RBOOT_SLOTS=0x2000:64KB 0x12000:64KB 0x22000:64KB")
    assert project.exists("app/rom2.bin")


def test_compiler_flags_on_the_command_line_override_those_of_a_call(project: Project) -> None:
    environment(project, "", "env.RbootApp('app', 'main.c', RBOOT_CCFLAGS='-mlongcalls')")
    output = project.commands("RBOOT_CCFLAGS=-mlongcalls -mtext-section-literals -DTYPED")
    assert "-DTYPED" in output


# The variables of the tool beside SCons's own


def test_the_checks_of_a_configure_context_answer_as_at_first(project: Project) -> None:
    """Found: from the second run on each answer was "no", from the cache."""
    environment(
        project,
        "",
        "conf = env.Configure()",
        "found = [conf.CheckCHeader('stddef.h'), conf.CheckDeclaration('__XTENSA__'), conf.CheckCHeader('no.h')]",
        "found += [conf.TryCompile('int x;', '.c'), conf.TryCompile('nonsense', '.c')]",
        "print('FOUND', [bool(each) for each in found])",
        "env = conf.Finish()",
        "env.RbootApp('app', 'main.c')",
    )
    answers = "FOUND [True, True, False, True, False]"
    for _ in range(3):
        assert answers in project.build()
    project.build("-c")
    assert answers in project.build("--config=force")
    assert answers in project.build("--config=cache")
    assert answers in project.build("-n")


@pytest.mark.parametrize("tools", ["['rboot', 'default']", "['rboot']", "['default', 'rboot', 'default']"])
def test_the_tool_comes_in_any_order(project: Project, tools: str) -> None:
    tool = TOOL.replace("['default', 'rboot']", tools)
    assert tool != TOOL
    project.write("entry.S", ".text\n.global entry\nentry: ret\n")
    project.write("plain.s", ".text\n.global plain\nplain: ret\n")
    project.write("library.c", "int in_library(void) { return 5; }\n")
    project.write(
        "SConstruct",
        f"env = Environment({tool})\n"
        "early = env.Object('entry.S')\n"
        "library = env.StaticLibrary('own', 'library.c')\n"
        "roms = env.RbootApp('app', ['main.c', 'plain.s', early, library])\n"
        "env.Install('out', roms)\n"
        "env.Textfile('note.txt', 'a line')\n",
    )
    output = project.commands()
    assert project.exists("out/rom0.bin")
    assert project.exists("note.txt")
    assert output.count("-mlongcalls") == 3
    assert "xtensa-lx106-elf-ar" in output
    assert "xtensa-lx106-elf-as" in output
    project.build("compile_commands.json")
    assert "main.c" in {entry["file"] for entry in json.loads(project.read("compile_commands.json"))}


def test_compile_commands_are_asked_for_from_anywhere(project: Project) -> None:
    project.write("sub/SConscript", f"env = Environment({TOOL})\nenv.RbootApp('app', 'main.c')\n")
    project.write("sub/main.c", project.read("main.c"))
    project.write("SConstruct", "SConscript('sub/SConscript', variant_dir='out', duplicate=False)\n")
    name = "compile_commands.json"
    for arguments in ((name,), (".", name), ("-j4", name, "out")):
        Path(project.directory / "compile_commands.json").unlink(missing_ok=True)
        project.build(*arguments)
        (command,) = json.loads(project.read("compile_commands.json"))
        assert command["file"] == "sub/main.c"
    Path(project.directory / "compile_commands.json").unlink()
    Project(project.directory / "sub").build("-D", "compile_commands.json")
    assert project.exists("compile_commands.json")
    project.build("-c")
    assert not project.exists("compile_commands.json")


def test_the_projects_own_compile_commands_are_written_as_it_says(project: Project) -> None:
    environment(project, "", "env.RbootApp('app', 'main.c')", "env.CompilationDatabase()")
    run = project.run(".")
    assert run.status == 0
    assert "warning" not in run.text
    assert project.exists("compile_commands.json")


# Found by people who tried to break the tool

SAYS = """
#include "rboot-version.h"
#define Cache_Read_Enable ((void (*)(int, int, int))0x40004678) /* the mask ROM's */
__attribute__((section(".irom0.text"))) const char *say(void) { return "I am " RBOOT_VERSION; }
void call_user_start(void) { Cache_Read_Enable(0, 0, 1); say(); }
"""


@pytest.mark.parametrize(
    "lines",
    [
        "each = env.Clone(RBOOT_VERSION='2.0.0'); each.RbootVersionHeader(); each.RbootApp('a', 'says.c')",
        "env.Clone(RBOOT_VERSION='2.0.0').RbootApp('a', 'says.c')",
        "env.RbootApp('a', 'says.c', RBOOT_VERSION='v2.0.0')",
        "env['RBOOT_VERSION'] = 'v2.0.0'; env.RbootApp('a', 'says.c')",
        "env.RbootApp('b', 'says.c', OBJPREFIX='x'); env.RbootApp('a', 'says.c', RBOOT_VERSION='2.0.0')",
    ],
)
def test_a_rom_says_the_version_it_is_published_as(project: Project, lines: str) -> None:
    project.write("says.c", SAYS)
    environment(project, "RBOOT_VERSION='1.0.0', RBOOT_PROVE='never'", "env.RbootVersionHeader()", lines)
    project.build("publish")
    root = "build/webroot/a" if project.exists("build/webroot/a") else "build/webroot"
    assert project.read(f"{root}/version") == b"2.0.0\n"
    assert b"I am 2.0.0" in project.read("a/rom0.bin")
    if project.exists("b/rom0.bin"):
        assert b"I am 1.0.0" in project.read("b/rom0.bin")


def test_a_define_has_the_version_of_the_call(project: Project) -> None:
    environment(
        project,
        "RBOOT_VERSION='1.0.0', CPPDEFINES=[('V', '$RBOOT_VERSION')]",
        "env.RbootApp('app', 'main.c', RBOOT_VERSION='v1.2.0')",
    )
    assert "-DV=1.2.0 " in project.commands()


def test_an_empty_value_is_none(project: Project) -> None:
    environment(project, "RBOOT_FLASH_SIZE='512KB', RBOOT_FLASH_MODE='dio'", "env.RbootApp('app', 'main.c')")
    project.build("RBOOT_LAYOUT=", "RBOOT_VERSION=")
    assert params(project) == "dio, 512KB, 40m"


@pytest.mark.parametrize("name", ["rboot_version", "Rboot_Version", "rboot_nothing"])
def test_a_name_in_another_case_is_refused(project: Project, name: str) -> None:
    hint = "use RBOOT_VERSION" if "ersion" in name else "`scons -h` lists all variables"
    assert f"{name}: unknown variable; {hint}" in project.fail(f"{name}=1.0.0")
    environment(project, "", f"env.RbootApp('app', 'main.c', {name}='1.0.0')")
    assert f"{name}: unknown variable; {hint}" in project.fail()


@pytest.mark.parametrize("name", ["RBOOT_APPS", "RBOOT_ROLLBACK", "RBOOT_SERVE_PORT"])
def test_a_call_cannot_have_a_variable_of_targets(project: Project, name: str) -> None:
    environment(project, "", f"env.RbootApp('app', 'main.c', {name}='1.0.0')")
    assert f"{name}: not for a single call; use the environment or the command line" in project.fail()


def test_force_and_downgrades_are_for_the_application_that_has_them(project: Project) -> None:
    lines = ["env.RbootApp('a', 'main.c'{})", "env.RbootApp('b', 'main.c', RBOOT_ALLOW_DOWNGRADE='yes')"]
    environment(project, "RBOOT_PROVE='never'", *(line.format("") for line in lines))
    project.build("publish", "RBOOT_VERSION=2.0.0")
    assert "1.5.0 of a is older than the current 2.0.0" in project.fail("publish", "RBOOT_VERSION=1.5.0")
    project.build("publish-b", "RBOOT_VERSION=1.5.0")
    assert project.read("build/webroot/b/version") == b"1.5.0\n"
    assert project.read("build/webroot/a/version") == b"2.0.0\n"


def test_each_flash_image_has_the_port_of_its_call(project: Project) -> None:
    environment(
        project,
        "",
        "roms = env.RbootApp('app', 'main.c')",
        "env.RbootFlashImage('a.bin', roms, RBOOT_PORT='/dev/no-port-a')",
        "env.Clone(RBOOT_PORT='/dev/no-port-b').RbootFlashImage('b.bin', roms)",
    )
    assert "/dev/no-port-a" in project.fail("flash-a")
    assert "/dev/no-port-b" in project.fail("flash-b")
    assert "/dev/no-port-c" in project.fail("flash-b", "RBOOT_PORT=/dev/no-port-c")


def test_images_of_sub_sconscripts_are_named_from_the_top(project: Project) -> None:
    for name in ("a", "b"):
        project.write(f"{name}/SConscript", "Import('env', 'roms')\nenv.RbootFlashImage('flash.bin', roms)\n")
    environment(
        project,
        "",
        "roms = env.RbootApp('app', 'main.c')",
        "SConscript(['a/SConscript', 'b/SConscript'], ['env', 'roms'])",
    )
    assert "run `scons boot-a/flash` or `scons boot-b/flash`" in project.fail("boot")
    assert "Booting rom 0" in project.build("boot-b/flash")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("env.RbootApp('app', 'main.c', RBOOT_MAP='maybe')", "RBOOT_MAP: invalid value 'maybe': expected yes or no"),
        ("env.RbootApp('app', 'main.c', RBOOT_RELEASE_FILES={5: 'main.c'})", "RbootApp"),
        (
            "env.RbootApp('app', 'main.c', RBOOT_RELEASE_FILES={'ok': ['main.c', 'SConstruct']})",
            "expected one file, got main.c, SConstruct",
        ),
        ("env.RbootOtaClient('emulator', directory='SConstruct')", "SConstruct"),
        ("env.RbootLoader(['l.bin', 'm.bin'])", "expected a file name as target"),
        ("env.RbootLoader('l.elf')", "expected a file name as target, e.g. rboot.bin"),
        ("env.RbootLoader(None)", "expected a file name as target"),
        ("env.RbootRom(5, 'main.c', RBOOT_SLOT=0x2000)", "expected the name of the ROM as target, e.g. recovery.bin"),
        (
            "env.RbootRom('r.elf', 'main.c', RBOOT_SLOT=0x2000)",
            "expected the name of the ROM as target, e.g. recovery.bin",
        ),
        ("env.RbootProgram(5, 'main.c', RBOOT_LDSCRIPT='x.ld')", "RbootProgram: "),
        ("env.RbootFlashImage(None, 'a.bin')", "RbootFlashImage: expected the name of one file, e.g. flash.bin"),
        (
            "env.RbootFlashImage(['a.bin', 'b.bin'], 'a.bin')",
            "RbootFlashImage: expected the name of one file, e.g. flash.bin",
        ),
        (
            "env.RbootLinkerScript(None, 'main.c', RBOOT_SLOT=0x2000)",
            "RbootLinkerScript: expected the name of the script as target",
        ),
        ("env.RbootApp('app')", "RbootApp() missing 1 required positional argument: 'source'"),
        (
            "env.RbootApp('a', 'main.c'); env.RbootApp('b', 'main.c', CCFLAGS='-O0')",
            "main.c: compiled with different flags for two applications; use another OBJPREFIX for one",
        ),
    ],
)
def test_a_call_with_invalid_arguments_is_one_line(project: Project, call: str, message: str) -> None:
    environment(project, "", call)
    assert message in project.fail()


@pytest.mark.parametrize(
    "call",
    [
        "env.RbootApp('b', 'main.c', LINKFLAGS='-Wl,--gc-sections', LIBPATH=['.'])",
        "env.Clone().RbootApp('b', 'main.c')",
    ],
)
def test_two_applications_share_an_object_without_a_warning(project: Project, call: str) -> None:
    environment(project, "", "env.RbootApp('a', 'main.c')", call)
    run = project.run("-n")
    assert run.status == 0, run.text
    assert "warning" not in run.text


def test_link_inputs_may_be_a_list_and_a_link_command_not(project: Project) -> None:
    inputs = "RBOOT_LINK_INPUTS=['$SOURCES', '-Wl,--start-group', '$_LIBFLAGS', '-Wl,--end-group'], LIBS=['gcc']"
    environment(project, inputs, "env.RbootApp('app', 'main.c')")
    project.build()
    environment(project, "RBOOTLINKCOM=['$LINK', 'echo']", "env.RbootApp('app', 'main.c')")
    assert "RBOOTLINKCOM: expected a string, got a list; join several commands with &&" in project.fail()


def test_files_beside_a_node_stay_there(project: Project) -> None:
    project.write(
        "SConstruct",
        f"env = Environment({TOOL})\n"
        "program = env.RbootProgram(File('x$y/prog.elf'), 'main.c', RBOOT_LDSCRIPT=env.RbootLinkerScript(\n"
        f"    'a.ld', {str(ROOT / 'rbootimg/ld/baremetal.ld')!r}, RBOOT_SLOT=0x2000))\n"
        "env.RbootImage(program)\n"
        "env.RbootRom(File('x$y/rec.bin'), 'main.c', RBOOT_SLOT=0x82000)\n",
    )
    project.build()
    names = ("prog.bin", "prog.elf", "rec.bin", "rec.elf")
    assert sorted(path.name for path in (project.directory / "x$y").iterdir()) == sorted(names)

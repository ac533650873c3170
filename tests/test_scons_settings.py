"""Where a setting comes from: what was typed holds, whatever an SConscript says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import TOOL, Project

from rbootimg.layout.model import parse_slots
from rbootimg.rom.format import Rom


def params(project: Project, rom: str = "app/rom0.bin") -> str:
    return Rom.from_bytes(project.read(rom)).params.describe()


def environment(project: Project, settings: str, *lines: str) -> None:
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\n" + "\n".join(lines) + "\n")


def test_what_was_typed_goes_before_the_sconstruct(project: Project) -> None:
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
def test_it_goes_before_a_call_and_what_is_set_later(project: Project, line: str) -> None:
    environment(project, "", line)
    project.build()
    assert params(project) == "dout, 1MB, 40m"
    project.build("RBOOT_FLASH_MODE=dio")
    assert params(project) == "dio, 1MB, 40m"


def test_the_environment_itself_has_what_was_typed(project: Project) -> None:
    """Environment() puts its keywords back after the tools are loaded; `$RBOOT_VERSION` in a define was the old one."""
    environment(
        project,
        "RBOOT_VERSION='v1.0.0', CPPDEFINES=[('MINE', '$RBOOT_VERSION')]",
        "print('VERSION', env['RBOOT_VERSION'], env.Clone()['RBOOT_VERSION'])",
        "env.RbootApp('app', 'main.c')",
    )
    for arguments, version in (((), "1.0.0"), (("RBOOT_VERSION=v1.1.0",), "1.1.0")):
        output = project.build(*arguments)
        assert f"VERSION {version} {version}\n" in output
        assert f"-DMINE={version} " in output


def test_a_layout_that_was_typed_goes_before_what_the_sconstruct_says_of_the_flash(project: Project) -> None:
    environment(
        project,
        "RBOOT_FLASH_SIZE='1MB', RBOOT_SLOTS=[0x2000, 0x42000], RBOOT_FLASH_MODE='dout'",
        "env.RbootApp('app', 'main.c')",
    )
    project.build("RBOOT_LAYOUT=2MB-big")
    assert params(project) == "qio, 2MB, 40m"
    project.build("RBOOT_LAYOUT=2MB-big", "RBOOT_FLASH_MODE=dio")
    assert params(project) == "dio, 2MB, 40m"


def test_slots_that_were_typed_go_before_a_layout(project: Project) -> None:
    environment(project, "RBOOT_LAYOUT='1MB'", "env.RbootApp('app', 'main.c')")
    project.build("RBOOT_SLOTS=0x2000:64KB 0x12000:64KB 0x22000:64KB")
    assert len(parse_slots("0x2000:64KB 0x12000:64KB 0x22000:64KB")) == 3
    assert project.exists("app/rom2.bin")


def test_flags_of_the_compiler_that_were_typed_hold_in_a_call_too(project: Project) -> None:
    environment(project, "", "env.RbootApp('app', 'main.c', RBOOT_CCFLAGS='-mlongcalls')")
    output = project.build("RBOOT_CCFLAGS=-mlongcalls -mtext-section-literals -DTYPED")
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
        "env.RbootApp('app', ['main.c', 'plain.s', early, library])\n",
    )
    output = project.build()
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
        Path(project.folder / "compile_commands.json").unlink(missing_ok=True)
        project.build(*arguments)
        (command,) = json.loads(project.read("compile_commands.json"))
        assert command["file"] == "sub/main.c"
    Path(project.folder / "compile_commands.json").unlink()
    Project(project.folder / "sub").build("-D", "compile_commands.json")
    assert project.exists("compile_commands.json")
    project.build("-c")
    assert not project.exists("compile_commands.json")


def test_the_projects_own_compile_commands_are_written_as_it_says(project: Project) -> None:
    environment(project, "", "env.RbootApp('app', 'main.c')", "env.CompilationDatabase()")
    run = project.run(".")
    assert run.status == 0
    assert "warning" not in run.text
    assert project.exists("compile_commands.json")

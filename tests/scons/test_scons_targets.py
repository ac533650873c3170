"""Our targets in projects that have nothing for them, or targets of the same name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import TOOL, Project, without_qemu

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

NO_APP = 'no application defined; add `env.RbootApp("app", Glob("*.c"))` to the SConstruct'
NO_IMAGE = 'no flash image defined; add `env.RbootFlashImage("flash.bin", roms)` to the SConstruct'
OURS = ("publish", "releases", "rollback", "serve", "prove", "flash", "boot")


def sconstruct(project: Project, *lines: str) -> None:
    project.write("SConstruct", "\n".join((f"env = Environment({TOOL})", *lines)) + "\n")


@pytest.mark.parametrize("name", OURS)
def test_a_target_without_what_it_is_about_says_what_to_add(project: Project, name: str) -> None:
    sconstruct(project)
    assert project.fail(name) == f"scons: *** [{name}] {NO_IMAGE if name in ('flash', 'boot') else NO_APP}"


def test_an_application_is_not_a_flash_image(project: Project) -> None:
    for name in ("flash", "boot"):
        assert project.fail(name) == f"scons: *** [{name}] {NO_IMAGE}"


def test_boot_without_qemu_says_what_to_install(project: Project, tmp_path: Path) -> None:
    sconstruct(project, "env.RbootFlashImage('flash.bin', env.RbootApp('app', 'main.c'))")
    line = project.fail("boot", environment=without_qemu(tmp_path))
    assert line.endswith("qemu-system-xtensa not found on PATH; install it with `apt-get install qemu-system-misc`")


def test_targets_do_not_exist_until_they_are_named(project: Project) -> None:
    sconstruct(project)
    assert project.build() == "scons: `.' is up to date.\n"
    for arguments in (("-c",), *(("-c", name) for name in OURS)):
        assert project.build(*arguments) == ""


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("env", ["env", "Environment(tools=[])"])
def test_an_alias_of_the_projects_own_is_left_alone(project: Project, name: str, env: str) -> None:
    sconstruct(project, f"AlwaysBuild({env}.Alias('{name}', 'main.c', 'echo own $SOURCE'))")
    assert project.build(name) == "echo own main.c\nown main.c\n"


@pytest.mark.parametrize("name", ["flash", "boot", "releases", "rollback", "serve"])
def test_an_alias_that_was_there_first_is_not_added_to(project: Project, name: str) -> None:
    sconstruct(
        project,
        f"env.AlwaysBuild(env.Alias('{name}', 'main.c', 'echo own $SOURCES'))",
        "env.RbootFlashImage('flash.bin', env.RbootApp('app', 'main.c'))",
    )
    assert project.build(name) == "echo own main.c\nown main.c\n"


def test_an_alias_adds_to_a_target_of_ours(project: Project) -> None:
    sconstruct(project, "env.RbootApp('app', 'main.c')", "env.Alias('publish', 'main.c', 'echo and so on')")
    assert project.build("publish").endswith("\nand so on\n")
    assert project.exists("build/webroot/rom0.bin")


def test_a_directory_or_file_of_that_name_stays_what_it_is(project: Project) -> None:
    project.write("boot/x.c", "int x;")
    project.write("flash", "a file")
    sconstruct(
        project,
        "env.Object('boot/x.c')",
        "env.Install('out', ['boot', 'flash'])",
        "env.Command('prove', [], 'touch $TARGET')",
        "env.Command('serve/roms', [], 'touch $TARGET')",
    )
    assert "CC       boot/x.o\n" in project.build("boot")
    assert "touch prove" in project.build("prove")
    assert "touch serve/roms" in project.build("serve")
    assert project.build("flash") == "scons: Nothing to be done for `flash'.\n"
    project.build()
    assert project.exists("out/boot/x.c")
    assert project.read("out/flash") == b"a file"


def test_cleaning_removes_the_compile_commands_that_scons_made(project: Project) -> None:
    project.build("compile_commands.json")
    project.build("-c")
    assert not project.exists("compile_commands.json")
    project.write("compile_commands.json", "[]")
    project.build("-c")
    assert project.exists("compile_commands.json"), "this one is another tool's"

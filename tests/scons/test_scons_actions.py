"""What users add to the nodes of our builders: SCons's manual holds for each node, however few steps make them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import TOOL, Project

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

SCONSTRUCT = f"""
env = Environment({TOOL}, RBOOT_PROVE='never')
roms = env.RbootApp('app', 'main.c')
elfs = [rom.sources[slot] for slot, rom in enumerate(roms)]
flash = env.RbootFlashImage('flash.bin', roms)
def note(target, source, env):
    with open('notes', 'a') as notes:
        print(*target, '<', *source, file=notes)
"""


def build(project: Project, *lines: str, arguments: tuple[str, ...] = ()) -> list[str]:
    """The notes of the actions that `lines` add."""
    project.write("SConstruct", SCONSTRUCT + "\n".join(lines) + "\n")
    Path(project.directory / "notes").unlink(missing_ok=True)
    project.build(*arguments)
    return project.read("notes").decode().splitlines() if project.exists("notes") else []


@pytest.mark.parametrize("add", ["AddPostAction", "AddPreAction", "env.AddPostAction"])
def test_an_action_that_is_added_to_one_runs_for_it_and_once(project: Project, add: str) -> None:
    assert build(project, f"{add}(roms[1], note)") == ["app/rom1.bin < app/rom1.elf"]
    assert build(project, f"{add}(roms[1], note)") == []
    assert build(project, f"{add}(elfs[1], note)", f"{add}(flash, note)") == [
        "app/rom1.elf < main.o",
        "flash.bin < build/rboot/loader-max_roms4.bin app/rom0.bin app/rom1.bin",
    ]
    assert build(project, f"{add}(roms, note)", f"{add}('main.o', note)", arguments=("-j4",)) == [
        "main.o < main.c",
        "app/rom0.bin < app/rom0.elf",
        "app/rom1.bin < app/rom1.elf",
    ]


def test_a_command_that_is_added_has_its_own_target_and_source(project: Project) -> None:
    build(project, "AddPostAction(roms[1], Action('cp $TARGET last.bin && echo $SOURCE > last.txt'))")
    assert project.read("last.bin") == project.read("app/rom1.bin")
    assert project.read("last.txt") == b"app/rom1.elf\n"


def test_a_changed_action_runs_again(project: Project) -> None:
    build(project, "AddPostAction(roms[1], 'echo one > last.txt')")
    build(project, "AddPostAction(roms[1], 'echo two > last.txt')")
    assert project.read("last.txt") == b"two\n"


def test_a_failed_action_fails_the_build_and_leaves_no_rom_that_counts(project: Project) -> None:
    project.write("SConstruct", SCONSTRUCT + "AddPostAction(roms[1], '@test -e ready')\n")
    assert project.fail() == "scons: *** [app/rom0.bin] Error 1"
    project.write("ready", "")
    assert "PACK     app/rom0.bin\n" in project.build()


def test_an_action_may_change_the_elf_before_it_is_packed(project: Project) -> None:
    build(project, "AddPostAction(elfs[1], 'xtensa-lx106-elf-objcopy --strip-debug $TARGET')")
    build(project, "AddPostAction(elfs[1], 'xtensa-lx106-elf-objcopy --strip-debug $TARGET')")
    project.build("publish")
    assert "up to date" in project.build()


@pytest.mark.parametrize("node", ["roms[1]", "elfs[1]", "flash", "'build/rboot/loader-max_roms4.bin'", "'main.o'"])
def test_each_node_takes_what_sconss_manual_says(project: Project, node: str) -> None:
    project.write("wanted.txt", "1")
    project.write("order.txt", "1")
    lines = [
        f"node = env.Flatten([{node}])",
        "node = [env.File(item) if isinstance(item, str) else item for item in node]",
        "Depends(node, 'wanted.txt')",
        "Requires(node, 'order.txt')",
        "SideEffect('aside.txt', node)",
        "Clean(node, 'notes')",
        "NoCache(node)",
        "Ignore(node, 'nothing.h')",
        "Precious(node)",
        "AddPostAction(node, note)",
    ]
    [note] = build(project, *lines)
    assert build(project, *lines) == []
    project.write("order.txt", "2")
    assert build(project, *lines) == []
    project.write("wanted.txt", "2")
    assert build(project, *lines) == [note]
    project.build("-c")
    assert not project.exists("notes")
    assert not project.exists("app/rom1.bin")


def test_nocache_files_are_not_cached(project: Project) -> None:
    lines = ["CacheDir('cache')", "NoCache(roms[1])"]
    build(project, *lines)
    project.build("-c")
    project.write("SConstruct", SCONSTRUCT + "\n".join(lines) + "\n")
    output = project.build()
    assert "Retrieved `app/rom1.elf' from cache" in output
    assert "PACK     app/rom0.bin\n" in output


def test_no_clean_keeps_one_rom(project: Project) -> None:
    build(project, "NoClean(roms[1])")
    project.build("-c")
    assert project.exists("app/rom1.bin")
    assert not project.exists("app/rom0.bin")


@pytest.mark.parametrize("target", ["publish", "prove"])
def test_a_target_takes_actions_and_dependencies(project: Project, target: str) -> None:
    project.write("extra.in", "x")
    lines = [
        f"AddPostAction('{target}', note)",
        f"Depends('{target}', env.Command('extra.out', 'extra.in', Copy('$TARGET', '$SOURCE')))",
    ]
    [note] = build(project, *lines, arguments=(target,))
    assert note == f"{target} <"
    assert project.exists("extra.out")

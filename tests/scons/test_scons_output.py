"""What a build prints: short lines or commands, the table of ROMs, results; on terminals and in pipes."""

from __future__ import annotations

import re

import pytest
from support.project import APP, TOOL, Project
from support.terminals import run_python_on_terminal, without_controls

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

BAR, HALF, RED, GREEN, DIM = (
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}",
    "\N{BOX DRAWINGS HEAVY LEFT}",
    "\x1b[1;31m",
    "\x1b[1;32m",
    "\x1b[2m",
)
COMMAND = "xtensa-lx106-elf-gcc -o main.o -c "


def sconstruct(project: Project, *lines: str, settings: str = "") -> None:
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\n" + "\n".join(lines) + "\n")


def on_terminal(project: Project, *arguments: str, columns: int = 100, status: int = 0, **environment: str) -> str:
    command = ("-m", "SCons", "-Q", *arguments)
    run = run_python_on_terminal(*command, columns=columns, cwd=project.directory, **environment)
    assert run.status == status, run.text
    return run.out


# Lines of steps


def test_each_step_is_a_verb_and_its_target(project: Project) -> None:
    project.write("more.cpp", 'extern "C" __attribute__((section(".irom0.text"))) int more() { return 1; }\n')
    project.write("entry.S", ".text\n.global entry\nentry: ret\n")
    project.write("plain.s", ".text\n.global plain\nplain: call0 entry\n ret\n")
    project.write("library.c", "int in_library(void) { return 5; }\n")
    sconstruct(
        project,
        "env.RbootVersionHeader()",
        "library = env.StaticLibrary('own', 'library.c')",
        "roms = env.RbootApp('app', ['main.c', 'more.cpp', 'entry.S', 'plain.s', library])",
        "env.RbootFlashImage('flash.bin', roms)",
        "env.Default('build/rboot/include/rboot-version.h', '.')",
    )
    assert [line for line in project.build().splitlines() if re.match("[A-Z]+ {1,7}[a-z]", line)] == [
        "HEADER   build/rboot/include/rboot-version.h",
        "CC       main.o",
        "CXX      more.o",
        "AS       entry.o",
        "AS       plain.o",
        "CC       library.o",
        "AR       libown.a",
        "RANLIB   libown.a",
        "LDSCRIPT build/rboot/baremetal-002000-082000.ld",
        "LDSCRIPT build/rboot/baremetal-082000-0fb000.ld",
        "LD       app/rom0.elf",
        "LD       app/rom1.elf",
        "PACK     app/rom0.bin",
        "PACK     app/rom1.bin",
        "LOADER   build/rboot/loader-max_roms4.elf",
        "PACK     build/rboot/loader-max_roms4.bin",
        "IMAGE    flash.bin",
    ]


@pytest.mark.parametrize(
    ("settings", "later", "call"),
    [
        ("RBOOT_VERBOSE=True", "", ""),
        ("", "env['RBOOT_VERBOSE'] = 'yes'", ""),
        ("", "", "RBOOT_VERBOSE=1"),
    ],
)
def test_rboot_verbose_shows_commands_wherever_it_is_set(
    project: Project, settings: str, later: str, call: str
) -> None:
    sconstruct(project, later, f"env.RbootApp('app', 'main.c', {call})", settings=settings)
    output = project.build()
    assert COMMAND in output
    assert output.count(" -T build/rboot/") == 2
    assert "\nPacking app/rom0.bin\n" in output
    assert not re.search("^(CC|LD|PACK) ", output, re.MULTILINE)


def test_rboot_verbose_can_be_typed_and_builds_nothing_again(project: Project) -> None:
    assert COMMAND in project.build("RBOOT_VERBOSE=1")
    assert "up to date" in project.build()
    assert "RBOOT_VERBOSE: invalid value 'maybe': expected yes or no" in project.fail("RBOOT_VERBOSE=maybe")


@pytest.mark.parametrize(
    ("settings", "later", "call"),
    [
        ("CCCOMSTR='mine $TARGET', RBOOTLINKCOMSTR='mine $TARGET'", "", ""),
        ("", "env.Replace(CCCOMSTR='mine $TARGET', RBOOTLINKCOMSTR='mine $TARGET')", ""),
        ("", "", "CCCOMSTR='mine $TARGET', RBOOTLINKCOMSTR='mine $TARGET'"),
    ],
)
@pytest.mark.parametrize("verbose", ["no", "yes"])
def test_the_users_messages_stay(project: Project, settings: str, later: str, call: str, verbose: str) -> None:
    sconstruct(project, later, f"env.RbootApp('app', 'main.c', {call})", settings=settings)
    lines = project.build(f"RBOOT_VERBOSE={verbose}").splitlines()
    assert [line for line in lines if line.startswith("mine")] == [
        "mine main.o",
        "mine app/rom0.elf",
        "mine app/rom1.elf",
    ]


def test_an_empty_message_of_the_user_is_the_command(project: Project) -> None:
    sconstruct(project, "env.RbootApp('app', 'main.c', RBOOTLINKCOMSTR='')", settings="CCCOMSTR=''")
    output = project.build()
    assert COMMAND in output
    assert output.count(" -T build/rboot/") == 2


@pytest.mark.needs("gcc")
def test_environments_without_the_tool_print_as_before(project: Project) -> None:
    project.write("host.c", "int main(void) { return 0; }\n")
    sconstruct(project, "Environment().Program('host', 'host.c')", "env.RbootApp('app', 'main.c')")
    assert "gcc -o host.o -c host.c\n" in project.build()


def test_the_log_of_configure_has_the_commands(project: Project) -> None:
    lines = ("conf = Configure(env)", "conf.CheckHeader('stdint.h')", "env = conf.Finish()")
    sconstruct(project, *lines, "env.RbootApp('app', 'main.c')")
    assert "CC       main.o\n" in project.build()
    assert "\nxtensa-lx106-elf-gcc -o .sconf_temp/conftest_" in project.read("config.log").decode()


# Failed commands


@pytest.mark.parametrize("jobs", ["-j1", "-j4"])
def test_the_command_that_failed_comes_last(project: Project, jobs: str) -> None:
    project.write("main.c", "#error broken\n")
    run = project.run(jobs)
    assert run.out.startswith("CC       main.o\n")
    assert run.err.splitlines()[-2] == "scons: *** [main.o] Error 1"
    assert re.search(r'\nfailed command: xtensa-lx106-elf-gcc -o "?main.o"? -c .* "?main.c"?\n$', run.err)
    project.write("main.c", APP.replace("in_flash();", "in_flash(); nowhere();"))
    run = project.run(jobs)
    assert run.err.count("failed command: ") == 1
    assert re.search(r'\nfailed command: xtensa-lx106-elf-gcc -o "?app/rom0.elf"? .*\n$', run.err)


def test_every_command_that_failed_is_shown(project: Project) -> None:
    for name in ("one", "two"):
        project.write(f"{name}.c", "#error broken\n")
    sconstruct(project, "env.RbootApp('app', ['one.c', 'main.c', 'two.c'])")
    err = project.run("-k").err
    assert re.findall(r"^failed command: \S+ -o \"?(\w+).o", err, re.MULTILINE) == ["one", "two"]


@pytest.mark.parametrize("settings", ["RBOOT_VERBOSE=True", "CCCOMSTR='mine'", "CCCOMSTR=''"])
def test_a_command_that_was_shown_is_not_repeated(project: Project, settings: str) -> None:
    project.write("main.c", "#error broken\n")
    sconstruct(project, "env.RbootApp('app', 'main.c')", settings=settings)
    assert "failed command" not in project.run().text


def test_the_command_that_failed_is_shown_with_a_spawn_of_the_user_too(project: Project) -> None:
    project.write("main.c", "#error broken\n")
    sconstruct(
        project,
        "plain = env['SPAWN']",
        "env['SPAWN'] = lambda *arguments: print('SPAWNED') or plain(*arguments)",
        "env.RbootApp('app', 'main.c')",
    )
    run = project.run()
    assert "SPAWNED" in run.out
    assert "failed command: xtensa-lx106-elf-gcc -o " in run.err


def test_an_error_of_ours_has_no_command(project: Project) -> None:
    assert "failed command" not in project.run("publish", "RBOOT_SLOTS=0x2000:0x1000 0x82000", "RBOOT_VERSION=x").text
    assert "failed command" not in project.run("flash").text


def test_an_error_of_the_system_is_red_on_a_terminal(project: Project) -> None:
    sconstruct(
        project,
        "roms = env.RbootApp('app', 'main.c')",
        "env.AddPreAction(roms[0], Mkdir('$TARGET'))",
    )
    output = on_terminal(project, status=2)
    assert f"scons: *** [app/rom0.bin] {RED}" in output
    assert "rom0.bin: Is a directory\x1b[0m\n" in output


# The table of ROMs


def test_the_table_has_all_roms_that_were_packed(project: Project) -> None:
    project.build()
    project.write("other.c", APP)
    sconstruct(
        project,
        "env.RbootApp('app', 'main.c')",
        "env.RbootApp('other', 'other.c')",
        "env.RbootRom('single.bin', 'other.c', RBOOT_SLOT=(0x40000, '64KB'))",
        "env.RbootImage('image.bin', 'app/rom0.elf')",
    )
    table = project.build().partition("\n\n")[2]
    assert [line.split()[0] for line in table.splitlines()] == [
        "ROM",
        "image.bin",
        "single.bin",
        "other/rom0.bin",
        "other/rom1.bin",
    ]
    assert "\nsingle.bin      0x40000       0x40240010  " in table
    assert re.search(r"\nimage.bin  +0x40202010 +40  32,768  0.1 +20  81,920  0.0 +160\n", table)
    assert "linked at" not in project.build()


def test_a_build_that_fails_has_no_table(project: Project) -> None:
    project.write("other.c", "#error broken\n")
    sconstruct(project, "env.RbootApp('app', 'main.c')", "env.RbootApp('other', 'other.c')")
    run = project.run("-k")
    assert "PACK     app/rom0.bin" in run.out
    assert "linked at" not in run.out


def test_publish_shows_the_table_once_and_before_the_proof(project: Project) -> None:
    output = project.build("publish")
    assert output.count("linked at") == 1
    assert output.index("PUBLISH") < output.index("linked at") < output.index("\nproved ") < output.index("\npublished")


# How to serve


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ((), "scons serve"),
        (("RBOOT_WEBROOT=out/my web",), "scons serve 'RBOOT_WEBROOT=out/my web'"),
        (("RBOOT_SERVE_PORT=9000", "BOARD=x", "RBOOT_PROVE=never"), "scons serve RBOOT_SERVE_PORT=9000 BOARD=x"),
        (("-f", "SConstruct"), "scons -f SConstruct serve"),
    ],
)
def test_publish_says_how_to_serve(project: Project, typed: tuple[str, ...], command: str) -> None:
    assert project.build("publish", *typed).endswith(f"\nserve it with: {command}\n")


def test_several_web_roots_are_served_by_the_command_line(project: Project) -> None:
    sconstruct(
        project,
        "env.RbootApp('one', 'main.c', RBOOT_WEBROOT='web one')",
        "env.RbootApp('two', 'main.c', RBOOT_WEBROOT='web2')",
        settings="RBOOT_PROVE='never'",
    )
    assert project.build("publish").endswith(
        "serve it with: rbootimg serve --web-root 'web one'\nserve it with: rbootimg serve --web-root web2\n"
    )


def test_a_serve_target_of_the_project_is_not_recommended(project: Project) -> None:
    sconstruct(project, "env.Alias('serve', [], 'echo own')", "env.RbootApp('app', 'main.c')")
    assert "serve it with" not in project.build("publish", "RBOOT_PROVE=never")


# Terminals


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_gets_bars_and_no_line_of_the_table_is_too_wide(project: Project, columns: int) -> None:
    name = "out/a/long/path/for/the/application/whose/name/is/long/blink"
    sconstruct(project, f"env.RbootApp({name!r}, 'main.c')", "env.RbootApp('app', 'main.c')")
    shown = on_terminal(project, "publish", "RBOOT_VERSION=1.0.0", columns=columns)
    text = without_controls(shown)
    table = text.partition("PUBLISH")[2].split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= columns
    for number, link in ((0, "0x40202010"), (1, "0x40282010")):
        row = rf"^{name}/rom{number}\.bin\s+{number} at 0x8?2000\s+{link} .*{HALF}"
        assert re.search(row, table, re.MULTILINE)
    assert f"{GREEN}published blink 1.0.0 to build/webroot/blink (rom0 160 B, rom1 160 B), proved with " in shown
    assert f"{DIM}serve it with: scons serve\x1b[0m\n" in shown


def test_a_full_memory_is_red_and_a_quarter_free_yellow(project: Project) -> None:
    project.write("main.c", APP + "char large[70000] = {1}; void *use = large;")
    shown = on_terminal(project)
    assert f"\x1b[1;33m{BAR}" in shown
    project.write("main.c", APP + "char large[79000] = {1}; void *use = large;")
    assert f"{RED}{BAR}" in on_terminal(project)


def test_no_color_has_bars_without_colours_and_a_dumb_terminal_neither(project: Project) -> None:
    plain = project.build("publish", "RBOOT_VERSION=1.0.0")
    shown = on_terminal(project, "publish", "RBOOT_VERSION=1.0.0", NO_COLOR="1")
    assert "\x1b" not in shown
    assert HALF in shown
    dumb = on_terminal(project, "publish", "RBOOT_VERSION=1.0.0", TERM="dumb")
    assert dumb == project.build("publish", "RBOOT_VERSION=1.0.0")
    assert dumb.split("\n\n")[1] in plain


def test_errors_are_red_and_hints_dim_on_a_terminal(project: Project) -> None:
    project.build("publish", "RBOOT_VERSION=1.1.0")
    shown = on_terminal(project, "publish", "RBOOT_VERSION=1.0.0", status=2)
    error = f"{RED}build/webroot: 1.0.0 of app is older than the current 1.1.0\x1b[0m; {DIM}run `scons rollback`"
    assert f"scons: *** [publish] {error}" in shown
    shown = on_terminal(project, "RBOOT_FLASH_SIZE=3MB", status=2)
    assert f"scons: *** rboot: {RED}" in shown
    project.write("main.c", APP + "char large[90000] = {1}; void *use = large;")
    shown = on_terminal(project, status=2)
    assert f"] app/rom0.elf: {RED}DRAM sections overflow the 81,920 bytes of DRAM by " in shown


def test_a_failed_command_and_a_proof_are_coloured_on_a_terminal(project: Project) -> None:
    assert f"{GREEN}proved 2 ROMs with " in on_terminal(project, "prove")
    project.write("main.c", "#error broken\n")
    assert f"{RED}failed command:\x1b[0m xtensa-" in on_terminal(project, status=2)

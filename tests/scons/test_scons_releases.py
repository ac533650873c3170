"""Releases by `scons publish`, and the targets that go with them, through the real SCons."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from support.project import APP, TOOL, VECTORS, Project

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

ROOT = "build/webroot"


@pytest.fixture
def released(project: Project) -> Project:
    """A project whose version comes from the command line, without the proofs' time."""
    project.write("SConstruct", f"env = Environment({TOOL}, RBOOT_PROVE='never')\nenv.RbootApp('app', 'main.c')\n")
    return project


def version_of(project: Project, directory: str = ROOT) -> str:
    """The version that devices get, after a look at whether the ROMs are its own."""
    manifest = json.loads(project.read(f"{directory}/manifest.json"))
    for number, rom in enumerate(manifest["roms"]):
        release = f"{directory}/releases/{manifest['version']}/rom{number}.bin"
        assert project.read(f"{directory}/rom{number}.bin") == project.read(release)
        assert rom["sha256"] == project.digest(release)
    assert project.read(f"{directory}/version").decode() == manifest["version"] + "\n"
    return str(manifest["version"])


def change(project: Project, counter: int) -> None:
    project.write("main.c", APP.replace("= 3", f"= {counter}"))


def test_a_version_makes_a_release(released: Project) -> None:
    output = released.build("publish", "RBOOT_VERSION=1.0.0")
    place = f"{ROOT} (rom0 160 B, rom1 160 B), not proved"
    assert output.endswith(f"\npublished app 1.0.0 to {place}\nserve it with: scons serve\n")
    assert version_of(released) == "1.0.0"
    assert released.read(f"{ROOT}/rom0.bin") == released.read("app/rom0.bin")
    assert f"\napp 1.0.0 is current already in {place}\n" in released.build("publish", "RBOOT_VERSION=1.0.0")
    change(released, 4)
    output = released.build("publish", "RBOOT_VERSION=1.1.0")
    assert f"\npublished app 1.1.0 to {place}, previously 1.0.0\n" in output
    change(released, 5)
    output = released.build("publish", "RBOOT_VERSION=1.1.0", "RBOOT_FORCE=yes")
    assert f"\nreplaced app 1.1.0 in {place}\n" in output


def test_the_release_says_which_loader_proved_it(project: Project) -> None:
    project.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_DEVICE=lamp", "RBOOT_PUBLISH_ELFS=yes")
    manifest = json.loads(project.read(f"{ROOT}/manifest.json"))
    assert manifest["device"] == "lamp"
    assert [rom["proved_by"] for rom in manifest["roms"]] == ["loader-max_roms4.bin"] * 2
    assert project.read(f"{ROOT}/releases/1.0.0/rom1.elf") == project.read("app/rom1.elf")


def test_no_elf_is_published_that_its_rom_was_not_packed_from(released: Project) -> None:
    """E.g. if another scons runs in the same directory."""
    released.build("publish", "RBOOT_VERSION=1.0.0")
    sconstruct = released.read("SConstruct").decode()
    released.write("SConstruct", f"{sconstruct}env.AddPreAction('publish', 'cp app/rom1.elf app/rom0.elf')\n")
    line = released.fail("publish", "RBOOT_VERSION=1.1.0", "RBOOT_PUBLISH_ELFS=yes")
    assert "app/rom0.bin of app: not published: app/rom0.elf: linked at 0x40282010" in line
    assert version_of(released) == "1.0.0"


def test_roms_that_rboot_image_packed_take_their_elfs_along(released: Project) -> None:
    elfs = [f"{slot}.elf" for slot in (0, 1)]
    for slot, name in enumerate(elfs):
        released.write(name, (VECTORS / f"mixed.rom{slot}.elf").read_bytes())
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never', RBOOT_SECTIONS='.rodata .text', RBOOT_FLASH_MODE='dio')\n"
        f"env.RbootPublish('app', [env.RbootImage(name)[0] for name in {elfs}])\n",
    )
    released.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_PUBLISH_ELFS=yes")
    assert released.read(f"{ROOT}/releases/1.0.0/rom1.elf") == released.read("1.elf")
    with open(released.directory / "SConstruct", "a") as file:
        file.write("env.AddPreAction('publish', 'cp 0.elf 1.elf')\n")
    assert "rom1.elf of app: does not match rom1.bin of app: " in released.fail(
        "publish", "RBOOT_VERSION=1.1.0", "RBOOT_PUBLISH_ELFS=yes"
    )
    assert version_of(released) == "1.0.0"


def test_a_version_is_published_once_and_not_an_older_one(released: Project) -> None:
    released.build("publish", "RBOOT_VERSION=1.1.0")
    good = released.read(f"{ROOT}/rom0.bin")
    change(released, 4)
    assert released.fail("publish", "RBOOT_VERSION=1.1.0").endswith(
        "1.1.0 of app was published already with other ROMs: a published version cannot change; "
        "use RBOOT_FORCE=yes to override (development only)"
    )
    assert released.fail("publish", "RBOOT_VERSION=1.0.9").endswith(
        "; run `scons rollback` to return to an earlier release, or use RBOOT_ALLOW_DOWNGRADE=yes"
    )
    assert released.read(f"{ROOT}/rom0.bin") == good
    released.build("publish", "RBOOT_VERSION=1.1.0", "RBOOT_FORCE=yes")
    assert released.read(f"{ROOT}/rom0.bin") != good
    released.build("publish", "RBOOT_VERSION=1.0.9", "RBOOT_ALLOW_DOWNGRADE=yes")
    assert version_of(released) == "1.0.9"


def test_releases_are_listed_and_rolled_back(released: Project) -> None:
    for number in (1, 2, 3):
        change(released, number)
        released.build("publish", f"RBOOT_VERSION=1.{number}.0")
    listed = released.build("releases")
    assert re.findall(r"^  (\S+)  (current|previous)?", listed, re.MULTILINE) == [
        ("1.3.0", "current"),
        ("1.2.0", "previous"),
        ("1.1.0", ""),
    ]
    assert released.build("rollback") == (
        f"ROLLBACK {ROOT}\napp 1.2.0 is current again instead of 1.3.0 in {ROOT} (rom0 160 B, rom1 160 B)\n"
    )
    assert version_of(released) == "1.2.0"
    assert re.search("^  1.3.0  rolled back ", released.build("releases"), re.MULTILINE)
    released.build("rollback", "RBOOT_ROLLBACK=1.1.0")
    assert version_of(released) == "1.1.0"
    assert "9.9.9" in released.fail("rollback", "RBOOT_ROLLBACK=9.9.9")
    assert released.fail("rollback").endswith("; run `scons rollback RBOOT_ROLLBACK=VERSION`")
    (released.directory / ROOT / "releases/history.json").unlink()
    line = released.fail("publish", "RBOOT_VERSION=1.4.0")
    assert line.endswith("; run `scons rollback RBOOT_ROLLBACK=VERSION` to rebuild it with VERSION current")
    assert f"app 1.1.0 is current again in {ROOT} (" in released.build("rollback", "RBOOT_ROLLBACK=1.1.0")
    released.build("-c")
    assert version_of(released) == "1.1.0"


def test_several_applications_have_a_directory_and_a_version_each(released: Project) -> None:
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never', RBOOT_VERSION='1.0.0')\n"
        "env.RbootApp('one', 'main.c')\nenv.RbootApp('two', 'main.c', RBOOT_VERSION='2.0.0-rc.1')\n",
    )
    released.build("publish")
    assert version_of(released, f"{ROOT}/one") == "1.0.0"
    assert version_of(released, f"{ROOT}/two") == "2.0.0-rc.1"
    assert released.exists(f"{ROOT}/index.html")
    assert released.fail("rollback").endswith(
        "[rollback] build/webroot: 1.0.0 is the only release of one; publish another one"
    )


@pytest.mark.parametrize("version", ["1", "vv1.0.0", "v1", "1.0.0+build", "../1.0.0"])
def test_an_invalid_version_is_one_line_at_once(released: Project, version: str) -> None:
    for target in ("publish", "app/rom0.bin"):
        assert "expected semver" in released.fail(target, f"RBOOT_VERSION={version}").replace(
            "build metadata is not supported", "expected semver"
        )
    assert not released.exists("main.o")
    assert not released.exists(ROOT)
    for target in ("releases", "rollback"):
        assert f"[{target}] build/webroot: no such directory" in released.fail(target)
    assert "[serve] build/webroot: no such directory" in released.fail("serve")


def test_an_invalid_version_is_reported_before_anything_is_published(released: Project) -> None:
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never', RBOOT_VERSION='1.0.0')\n"
        "env.RbootApp('one', 'main.c')\nenv.RbootApp('two', 'main.c', RBOOT_VERSION='2', RBOOT_WEBROOT='other')\n",
    )
    assert "rboot: RBOOT_VERSION: invalid version '2': expected semver" in released.fail("publish")
    assert not released.exists(ROOT)


def git(project: Project, *arguments: str) -> None:
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=project.directory, check=True, capture_output=True)


def test_the_version_is_that_of_the_checkout(released: Project) -> None:
    released.write(".gitignore", "*\n!main.c\n!SConstruct\n!.gitignore\n")
    git(released, "init", "-q")
    git(released, "add", ".")
    git(released, "commit", "-qm", "first")
    run = released.run("publish")
    assert (run.status, "rboot: warning: published without releases: no version: " in run.err) == (0, True), run.text
    assert "; pass RBOOT_VERSION=X.Y.Z\n" in run.err
    assert released.fail("releases").endswith(
        "there is no release, only rom0.bin, published without a version; run `scons publish RBOOT_VERSION=X.Y.Z`"
    )
    shutil.rmtree(released.directory / "build")
    git(released, "tag", "v1.2.0")
    released.build("publish")
    assert version_of(released) == "1.2.0"
    for counter in (4, 5):  # uncommitted changes, published again and again
        change(released, counter)
        released.build("publish")
        assert re.fullmatch(r"1\.2\.1-0\.dev\.0\.g[0-9a-f]+\.dirty", version_of(released))


PRINTS = """
#include "rboot-version.h"
extern int ets_printf(const char *, ...);
#define Cache_Read_Enable ((void (*)(int, int, int))0x40004678) /* the mask ROM's */
__attribute__((section(".irom0.text"))) void say(void) { ets_printf("I am " RBOOT_VERSION "\\n"); }
void call_user_start(void) { Cache_Read_Enable(0, 0, 1); say(); }
"""


def test_the_version_that_is_published_is_there_while_compiling(released: Project) -> None:
    """Also when it comes from the tags: an application prints it, and only what includes it is compiled again."""
    released.write("version.c", PRINTS)
    released.write("other.c", "int other;\n")
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never')\n"
        "print('VERSION', repr(env['RBOOT_VERSION']))\n"
        "env.RbootVersionHeader()\n"
        "roms = env.RbootApp('app', ['version.c', 'other.c'])\n"
        "env.RbootFlashImage('flash.bin', roms)\n",
    )
    assert "VERSION ''" in released.build()
    assert "I am 0.0.0-unknown\n" in released.build("boot")
    released.write(".gitignore", "*\n!*.c\n!SConstruct\n!.gitignore\n")
    git(released, "init", "-q")
    git(released, "add", ".")
    git(released, "commit", "-qm", "first")
    git(released, "tag", "v1.2.0")
    output = released.build("publish", "boot")
    assert "VERSION '1.2.0'" in output
    assert "I am 1.2.0\n" in output
    assert version_of(released) == "1.2.0"
    assert "CC       version.o\n" in output
    assert "other.o" not in output
    assert "I am 1.3.0\n" in released.build("publish", "boot", "RBOOT_VERSION=v1.3.0")
    assert version_of(released) == "1.3.0"
    assert "VERSION '1.2.0'" in released.build()


def test_each_application_may_have_its_own(released: Project) -> None:
    released.write("version.c", PRINTS)
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never')\n"
        "for name, version in (('one', '1.0.0'), ('two', '2.0.0')):\n"
        "    each = env.Clone(RBOOT_VERSION=version, OBJPREFIX=name)\n"
        "    each.RbootVersionHeader()\n"
        "    each.RbootApp(name, 'version.c')\n",
    )
    released.build("publish")
    assert b"I am " in released.read("one/rom0.bin")
    assert b"1.0.0" in released.read("one/rom0.bin")
    assert b"2.0.0" in released.read("two/rom0.bin")


def test_a_checkout_that_changes_during_the_build_is_not_published(released: Project) -> None:
    released.write(".gitignore", "*\n!main.c\n!SConstruct\n!.gitignore\n")
    released.write(
        "SConstruct",
        released.read("SConstruct").decode() + "AddPostAction('main.o', 'echo // >> main.c')\n",
    )
    git(released, "init", "-q")
    git(released, "add", ".")
    git(released, "commit", "-qm", "first")
    git(released, "tag", "v1.2.0")
    line = released.fail("publish")
    assert re.search(r"the checkout changed from 1\.2\.0 to 1\.2\.1-0.* during the build; run scons again$", line)
    assert not released.exists(ROOT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--depth=1",), "a shallow clone does not have all tags; run `git fetch --unshallow --tags`"),
        (("--no-tags",), "this clone was made without tags"),
    ],
)
def test_a_clone_without_its_tags_is_not_published_as_plain_roms(
    released: Project, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    released.write(".gitignore", "*\n!main.c\n!SConstruct\n!.gitignore\n")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "first"), ("tag", "v1.2.0")):
        git(released, *command)
    change(released, 5)
    git(released, "commit", "-qam", "second")
    git(released, "clone", "-q", *arguments, f"file://{released.directory}", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    assert message in clone.fail("publish")
    assert not clone.exists(ROOT)
    clone.build("publish", "RBOOT_VERSION=1.2.1")
    assert version_of(clone) == "1.2.1"


def test_without_version_tags_no_plain_roms_are_published(released: Project) -> None:
    released.write(".gitignore", "*\n!main.c\n!SConstruct\n!.gitignore\n")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "first"), ("tag", "release-7")):
        git(released, *command)
    assert "none of the tags (release-7) is a version of this commit" in released.fail("publish")
    assert not released.exists(ROOT)


def test_one_application_is_published_and_rolled_back_alone(released: Project) -> None:
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never', RBOOT_VERSION='1.0.0')\n"
        "env.RbootApp('one', 'main.c')\nenv.RbootApp('two', 'main.c')\nDefault(None)\n",
    )
    released.build("publish-one")
    assert version_of(released, f"{ROOT}/one") == "1.0.0"
    assert not released.exists(f"{ROOT}/two")
    assert not released.exists("two/rom0.bin"), "only what is needed is built"
    released.build("publish", "RBOOT_APPS=two")
    assert version_of(released, f"{ROOT}/two") == "1.0.0"
    released.build("publish", "RBOOT_VERSION=1.1.0")
    released.build("rollback-one")
    assert version_of(released, f"{ROOT}/one") == "1.0.0"
    assert version_of(released, f"{ROOT}/two") == "1.1.0"
    released.build("rollback", "RBOOT_APPS=two")
    assert version_of(released, f"{ROOT}/two") == "1.0.0"
    assert "two" not in released.build("releases", "RBOOT_APPS=one")
    for target in ("publish", "rollback", "prove"):
        message = f"[{target}-three] unknown target: expected one of {target}-one, {target}-two"
        assert released.fail(f"{target}-three").endswith(message)
    line = released.fail("publish", "RBOOT_APPS=three,one")
    assert line.endswith("RBOOT_APPS: unknown application 'three': expected one of one, two")


def test_roms_are_built_without_being_published(released: Project) -> None:
    released.write("SConstruct", released.read("SConstruct").decode() + "Default(None)\n")
    assert "PACK     app/rom0.bin\n" in released.build("roms")
    assert not released.exists(ROOT)
    assert "Nothing to be done" in released.build("roms")


def test_a_checkout_that_git_refuses_to_read_is_not_one_without_a_tag(released: Project) -> None:
    git(released, "init", "-q")
    environment = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}  # git's own switch for its tests
    line = released.fail("publish", environment=environment)
    assert 'git describe failed: "fatal: detected dubious ownership in repository at ' in line
    assert line.endswith("; pass RBOOT_VERSION=X.Y.Z")
    assert "git config --global --add safe.directory" in line
    assert not released.exists(ROOT)
    released.build("publish", "RBOOT_VERSION=1.0.0", environment=environment)
    assert version_of(released) == "1.0.0"


def test_a_web_root_with_releases_needs_a_version(released: Project) -> None:
    released.build("publish", "RBOOT_VERSION=1.0.0")
    change(released, 4)
    assert "no version: " in released.fail("publish")
    assert version_of(released) == "1.0.0"


def test_the_date_is_that_of_the_source(released: Project) -> None:
    released.build("publish", "RBOOT_VERSION=1.0.0", environment={"SOURCE_DATE_EPOCH": "1700000000"})
    assert json.loads(released.read(f"{ROOT}/manifest.json"))["date"] == "2023-11-14"


def test_date_and_notes_are_those_of_the_tag(released: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-11-23T12:00:00Z")
    git(released, "init", "-q")
    git(released, "add", ".")
    git(released, "commit", "-qm", "first")
    git(released, "tag", "-a", "v1.2.0", "-m", "Sleeps *deeply*")
    released.build("publish")
    found = json.loads(released.read(f"{ROOT}/manifest.json"))
    assert [found["version"], found["date"]] == ["1.2.0", "2026-11-23"]
    assert released.read(f"{ROOT}/releases/1.2.0/notes.md") == b"Sleeps *deeply*\n"
    assert b"Sleeps <em>deeply</em>" in released.read(f"{ROOT}/index.html")
    released.build("publish", "RBOOT_VERSION=1.3.0")
    assert "notes" not in json.loads(released.read(f"{ROOT}/manifest.json"))


def test_notes_are_a_variable_and_an_argument_of_a_call(released: Project) -> None:
    released.write("CHANGES.md", "# Changes\n")
    released.write("clock.md", "# Clock\n")
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never', RBOOT_VERSION='1.0.0')\n"
        "env.RbootApp('app', 'main.c')\n"
        "env.RbootApp('clock', 'main.c', RBOOT_NOTES=env.Command('out.md', 'clock.md', Copy('$TARGET', '$SOURCE')))\n",
    )
    released.build("publish")
    assert not released.exists(f"{ROOT}/app/releases/1.0.0/notes.md")
    assert released.read(f"{ROOT}/clock/releases/1.0.0/notes.md") == b"# Clock\n"
    released.build("publish", "RBOOT_VERSION=1.1.0", "RBOOT_NOTES=CHANGES.md")
    assert released.read(f"{ROOT}/app/releases/1.1.0/notes.md") == b"# Changes\n"
    assert released.read(f"{ROOT}/clock/releases/1.1.0/notes.md") == b"# Changes\n"
    assert "up to date" in released.build()  # notes are for publishing alone
    released.write("CHANGES.md", "# Other\n")
    line = released.fail("publish", "RBOOT_VERSION=1.1.0", "RBOOT_NOTES=CHANGES.md")
    assert "1.1.0 of app was published already with other release notes" in line
    released.write("CHANGES.md", " ")
    assert "CHANGES.md: release notes are empty" in released.fail("publish", "RBOOT_NOTES=CHANGES.md")
    assert "`none.md' not found" in released.fail("publish", "RBOOT_NOTES=none.md")
    assert "RBOOT_NOTES: expected a file, got the directory" in released.fail("publish", "RBOOT_NOTES=build")


def test_serve_hands_out_the_web_root_until_ctrl_c(released: Project) -> None:
    released.build("publish", "RBOOT_VERSION=1.0.0")
    command = [sys.executable, "-m", "SCons", "-Q", "serve", "RBOOT_SERVE_PORT=0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=released.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as server:
        assert server.stdout is not None
        lines: list[str] = []
        deadline = time.monotonic() + 30
        while not (match := re.search(r"http://[^\s/]+:(\d+)", "".join(lines))) and time.monotonic() < deadline:
            lines.append(server.stdout.readline())
        assert match, lines
        with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/rom1.bin", timeout=10) as answer:
            assert answer.read() == released.read("app/rom1.bin")
        server.send_signal(signal.SIGINT)
        rest = server.communicate(timeout=30)[0]
        assert "Traceback" not in rest


def test_a_release_with_fewer_slots_needs_force_also_in_development(released: Project) -> None:
    """A build of uncommitted changes overwrites a release of the same version, but does not remove a ROM."""
    released.build("publish", "RBOOT_VERSION=1.0.0-dirty.dirty")
    one = ("publish", "RBOOT_VERSION=1.0.0-dirty.dirty", "RBOOT_SLOTS=0x2000")
    assert "lacks rom1.bin, which devices request" in released.fail(*one)
    released.build(*one, "RBOOT_FORCE=yes")
    assert not released.exists(f"{ROOT}/rom1.bin")


@pytest.mark.parametrize("port", ["abc", "99999"])
def test_an_invalid_port_is_one_line(released: Project, port: str) -> None:
    line = released.fail("serve", f"RBOOT_SERVE_PORT={port}")
    assert line.endswith(f"RBOOT_SERVE_PORT: invalid port '{port}': expected 0-65535")


# Further files of a release

THREE_SLOTS = "RBOOT_SLOTS='0x2000:256KB 0x42000:256KB 0x82000:64KB'"


def carrying(project: Project, settings: str, *lines: str, prove: str = "never") -> None:
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE={prove!r}, RBOOT_VERSION='1.0.0')\n"
        + "\n".join(lines)
        + f"\nenv.RbootApp('app', 'main.c', {settings})\n",
    )


def test_data_files_go_into_the_release_and_its_manifest(released: Project) -> None:
    released.write("www/index.html", "<h1>hello</h1>")
    released.write("ca.der", "certificate")
    carrying(
        released,
        "RBOOT_RELEASE_FILES=[page, 'ca.der']",
        "page = env.Command('out/ui.html', 'www/index.html', Copy('$TARGET', '$SOURCE'))",
    )
    assert " (rom0 160 B, rom1 160 B, 2 files 25 B), not proved\n" in released.build("publish")
    manifest = json.loads(released.read(f"{ROOT}/manifest.json"))
    assert [(entry["name"], entry["path"], entry["size"]) for entry in manifest["files"]] == [
        ("ca.der", "releases/1.0.0/ca.der", 11),
        ("ui.html", "releases/1.0.0/ui.html", 14),
    ]
    assert released.read(f"{ROOT}/releases/1.0.0/ui.html") == b"<h1>hello</h1>"
    released.write("www/index.html", "<h1>another</h1>")
    assert "1.0.0 of app was published already with other data files" in released.fail("publish")
    carrying(released, "RBOOT_RELEASE_FILES={'web.html': 'www/index.html'}")
    released.build("publish", "RBOOT_VERSION=1.1.0")
    assert released.read(f"{ROOT}/releases/1.1.0/web.html") == b"<h1>another</h1>"


def test_a_file_system_goes_into_the_release_with_its_region(released: Project) -> None:
    released.write("www/index.html", "<h1>hello</h1>")
    region = '[[region]]\nname = "{}"\naddress = "{}KB"\nsize = "16KB"\n'
    released.write("board.toml", 'preset = "1MB"\n' + region.format("files", 448) + region.format("keys", 464))
    files = "RBOOT_RELEASE_FILES=[www, 'ca.der'], RBOOT_FILE_REGIONS={'ca.der': 'keys'}"
    carrying(
        released,
        f"{files}, RBOOT_LAYOUT='board.toml'",
        "www = env.RbootFileSystem('www.bin', 'www', region='files', RBOOT_LAYOUT='board.toml')",
    )
    released.write("ca.der", "certificate")
    released.build("publish")
    files = json.loads(released.read(f"{ROOT}/manifest.json"))["files"]
    assert [(entry["name"], entry["size"], entry["region"]) for entry in files] == [
        ("ca.der", 11, "keys"),
        ("www.bin", 0x4000, "files"),
    ]
    page = released.read(f"{ROOT}/index.html").decode()
    assert '>www.bin</a> <span class="change">(region files)</span>' in page
    released.write("ca.der", "x" * 0x4001)
    assert "data file 'ca.der': file for region keys at 0x74000 is 16,385 bytes, 1 more than the region" in (
        released.fail("publish", "RBOOT_VERSION=1.1.0")
    )


def test_file_regions_are_a_dictionary(released: Project) -> None:
    carrying(released, "RBOOT_RELEASE_FILES=['main.c'], RBOOT_FILE_REGIONS='files'")
    assert "RBOOT_FILE_REGIONS: invalid value 'files': expected a dictionary {NAME: REGION}" in released.fail()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("['rom0.bin']", "RBOOT_RELEASE_FILES: "),
        ("['a/x.txt', 'b/x.txt']", "RBOOT_RELEASE_FILES: two files are called x.txt; use a dictionary {NAME: FILE}"),
        ("{'a b': 'main.c'}", "RBOOT_RELEASE_FILES: "),
        ("{'../x': 'main.c'}", "RBOOT_RELEASE_FILES: "),
        ("5", "app: expected a file name or node, got 5"),
    ],
)
def test_invalid_data_files_are_one_line(released: Project, value: str, message: str) -> None:
    carrying(released, f"RBOOT_RELEASE_FILES={value}")
    assert message in released.fail()


def test_data_files_need_a_version(released: Project) -> None:
    released.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_PROVE='never', RBOOT_RELEASE_FILES='main.c')\n"
        "env.RbootApp('app', 'main.c')\n",
    )
    assert "app: data files, recovery ROMs and release notes need a release: no version: " in released.fail("publish")
    assert not released.exists(ROOT)


def test_checksum_files_on_request(released: Project) -> None:
    carrying(released, "")
    released.build("publish", "RBOOT_CHECKSUM_FILES=yes")
    line = released.read(f"{ROOT}/rom1.bin.sha256").decode()
    assert line == f"{released.digest(f'{ROOT}/rom1.bin')}  rom1.bin\n"
    released.build("publish", "RBOOT_VERSION=1.1.0")
    assert not released.exists(f"{ROOT}/rom1.bin.sha256")


RECOVERY = """
extern int ets_printf(const char *, ...);
#define Cache_Read_Enable ((void (*)(int, int, int))0x40004678) /* the mask ROM's */
__attribute__((section(".irom0.text"))) void rescue(void) { ets_printf("rescue"); while (1); }
void call_user_start(void) { Cache_Read_Enable(0, 0, 1); rescue(); }
"""


def test_a_recovery_rom_is_published_with_the_others(released: Project) -> None:
    released.write("rescue.c", RECOVERY)
    carrying(
        released,
        f"{THREE_SLOTS}, RBOOT_RECOVERY={{2: rescue}}",
        "rescue = env.RbootRom('rescue.bin', 'rescue.c', RBOOT_SLOT=(0x82000, 0x10000))",
        prove="always",
    )
    output = released.build("publish")
    assert "\nproved 3 ROMs with loader-max_roms4.bin, every byte in place\n" in output
    assert re.search(r"\nrescue.bin +2 at 0x82000 +0x40282010 ", output)
    assert re.search(r" \(rom0 160 B, rom1 160 B, recovery \d+ B\), proved with loader-max_roms4.bin\n", output)
    assert released.exists("app/rom1.bin")
    assert not released.exists("app/rom2.bin"), "that slot is the recovery ROM's"
    assert released.read(f"{ROOT}/releases/1.0.0/recovery.bin") == released.read("rescue.bin")
    manifest = json.loads(released.read(f"{ROOT}/manifest.json"))
    assert (manifest["recovery"]["slot"], manifest["recovery"]["flash_address"]) == (2, 0x82000)
    assert manifest["recovery"]["proved_by"] == "loader-max_roms4.bin"
    assert released.build("prove") == "PROVE    app\nproved before: 3 ROMs with loader-max_roms4.bin\n"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("'rescue.bin'", "RBOOT_RECOVERY: invalid value 'rescue.bin': expected a dictionary {SLOT_NUMBER: ROM}"),
        ("{0: 'rescue.bin'}", "RBOOT_RECOVERY: invalid slot 0: expected 2, the last one of the layout"),
        ("{3: 'rescue.bin'}", "RBOOT_RECOVERY: invalid slot 3: expected 2"),
        ("{'x': 'rescue.bin'}", "RBOOT_RECOVERY: invalid slot 'x': expected 2"),
    ],
)
def test_an_invalid_recovery_rom_is_one_line(released: Project, value: str, message: str) -> None:
    carrying(released, f"{THREE_SLOTS}, RBOOT_RECOVERY={value}")
    assert message in released.fail()


def test_a_recovery_rom_for_another_slot_is_refused(released: Project) -> None:
    released.write("rescue.c", RECOVERY)
    carrying(
        released,
        f"{THREE_SLOTS}, RBOOT_RECOVERY={{2: rescue}}",
        "rescue = env.RbootRom('rescue.bin', 'rescue.c', RBOOT_SLOT=0x2000)",
    )
    assert "rescue.bin: not published: linked at 0x40202010" in released.fail("publish")

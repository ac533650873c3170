"""The proof gate of `scons publish`, and `scons prove`, through the real SCons, compiler and QEMU."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import chip
from support.project import APP, ROOT, TOOL, Project, without_qemu

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

QUIET = APP.replace("Cache_Read_Enable(0, 0, 1); in_flash();", "ets_printf(text);")
BAD = APP.replace("Cache_Read_Enable(0, 0, 1);", "")
"""An application that runs code in flash that is not mapped."""

PROVED = "\nproved 2 ROMs with loader-max_roms4.bin, every byte in place\n"
PROVED_BEFORE = "\nproved before: 2 ROMs with loader-max_roms4.bin\n"
NO_QEMU = "qemu-system-xtensa not found on PATH; install it with `apt-get install qemu-system-misc`"


def sconstruct(project: Project, *lines: str, settings: str = "") -> None:
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\n" + "\n".join(lines) + "\n")


def with_qemu(tmp_path: Path, script: str) -> dict[str, str]:
    """An environment with `script` in QEMU's place."""
    qemu = tmp_path / "fake" / "qemu-system-xtensa"
    qemu.parent.mkdir(exist_ok=True)
    qemu.write_text(f"#!/bin/sh\n{script}\n")
    qemu.chmod(0o755)
    return {"PATH": f"{qemu.parent}{os.pathsep}{os.environ['PATH']}"}


def test_publish_proves_each_rom_once(project: Project) -> None:
    assert PROVED in project.build("publish")
    proof = json.loads(project.read("app/proof.json"))
    assert [rom["slot"] for rom in proof["roms"]] == [0, 1]
    assert PROVED_BEFORE in project.build("publish")
    project.write("main.c", APP.replace("= 3", "= 4"))
    assert "proved" not in project.build()
    assert PROVED in project.build("prove")
    assert PROVED_BEFORE in project.build("publish")
    project.write("app/proof.json", "{}")
    assert PROVED in project.build("publish")


def test_every_application_is_proved_in_its_own_layout(project: Project) -> None:
    sconstruct(
        project,
        "env.RbootApp('small', 'main.c', RBOOT_FLASH_SIZE='512KB')",
        "env.RbootApp('big', 'hello.c', RBOOT_LAYOUT='four-1MB', RBOOT_IROM_CHECKSUM=True, CCFLAGS='-ffreestanding')",
        "env.RbootApp('many', 'main.c', RBOOT_SLOTS=[0x2000, 0x12000, 0x22000, 0x32000, 0x42000, 0x52000])",
    )
    shutil.copy(ROOT / "examples" / "hello" / "main.c", project.directory / "hello.c")
    project.build("prove", "-j2")
    for name, count in (("small", 2), ("big", 4), ("many", 6)):
        assert len(json.loads(project.read(f"{name}/proof.json"))["roms"]) == count
    assert not project.exists("build/webroot")


def test_roms_of_elfs_from_elsewhere_are_proved_too(project: Project) -> None:
    sconstruct(project, "env.RbootApp('app', 'main.c')")
    project.build()
    project.write("main.c", APP.replace("= 3", "= 4"))
    for number in (0, 1):
        shutil.copy(project.directory / f"app/rom{number}.elf", project.directory / f"{number}.elf")
    project.build()
    for number in (0, 1):
        shutil.copy(project.directory / f"app/rom{number}.elf", project.directory / f"new{number}.elf")
    sconstruct(
        project,
        "for begin in ('', 'new'):",
        "    roms = env.RbootImage([f'{begin}{n}.bin' for n in (0, 1)], [f'{begin}{n}.elf' for n in (0, 1)])",
        "    env.RbootPublish('app', roms, RBOOT_WEBROOT=f'www{begin}')",
    )
    line = "4 ROMs of app with loader-max_roms4.bin"
    assert f"\nproved {line}, every byte in place\n" in project.build("publish")
    assert f"\nproved before: {line}\n" in project.build("publish"), "each has a proof of its own"
    assert sorted(path.name for path in project.directory.glob("*.json")) == ["app-0-proof.json", "app-new0-proof.json"]


def test_prove_prints_roms_proved_before_with_their_loader(project: Project) -> None:
    output = project.build("prove")
    assert output.endswith(f"\n{PROVED}")
    assert output.index("PROVE    app\n") < output.index("linked at"), "the proof comes last"
    before = project.read("app/proof.json")
    assert project.build("prove", "-j4") == f"PROVE    app{PROVED_BEFORE}"
    assert project.read("app/proof.json") == before
    assert project.build("prove", "-s") == ""
    shutil.copy(project.directory / "build/rboot/loader-max_roms4.bin", project.directory / "mine.bin")
    for _ in range(2):
        assert "\nproved before: 2 ROMs with mine.bin\n" in project.build("prove", "RBOOT_LOADER=mine.bin")


def test_prove_ignores_rboot_prove(project: Project) -> None:
    assert PROVED in project.build("prove", "RBOOT_PROVE=never")
    project.build("publish", "RBOOT_PROVE=never", "RBOOT_VERSION=1.0.0")
    assert proved_by(project) == [None, None]


def proved_by(project: Project) -> list[str | None]:
    return [rom["proved_by"] for rom in json.loads(project.read("build/webroot/manifest.json"))["roms"]]


def test_a_dry_run_proves_and_publishes_nothing(project: Project) -> None:
    assert project.build("-n", "publish").endswith("PUBLISH  build/webroot\n")
    assert sorted(path.name for path in project.directory.glob("[!.]*")) == ["SConstruct", "main.c"]


def test_the_proof_of_a_variant_is_beside_its_roms(project: Project) -> None:
    project.write("SConscript", f"Environment({TOOL}).RbootApp('app', 'main.c')\n")
    project.write("SConstruct", "SConscript('SConscript', variant_dir='out', duplicate=False)\n")
    assert PROVED in project.build("publish")
    assert project.exists("out/app/proof.json")
    assert project.exists("build/rboot/loader-max_roms4.bin")
    project.build("-c")
    assert [path.name for path in project.directory.glob("out/**/[!.]*")] == ["app"]


def test_cleaning_removes_proof_and_loader(project: Project) -> None:
    project.write("loader.bin", chip.loader())
    sconstruct(project, "env.RbootApp('one', 'main.c')", "env.RbootApp('two', 'main.c', RBOOT_LOADER='loader.bin')")
    project.build("publish")
    assert project.exists("two/proof.json")
    assert "two/proof.json" not in project.build("-c", "one/rom0.bin")
    assert not project.exists("one/proof.json")
    project.build("-c")
    assert not list(project.directory.glob("*/proof.json"))
    assert not list((project.directory / "build/rboot").glob("loader-*"))
    assert project.exists("loader.bin"), "the user's loader is not ours to remove"
    assert project.exists("build/webroot/one/rom0.bin")


# ROMs that do not boot


def test_a_rom_that_does_not_boot_is_not_published(project: Project) -> None:
    project.write("main.c", BAD)
    assert (
        "app: not proved: application in slot 0 at 0x2000 crashes after its entry point 0x40100004: code in "
        "unmapped flash executed (call Cache_Read_Enable first) at 0x4020201"
    ) in project.fail("publish")
    assert not project.exists("build/webroot")
    project.build("publish", "RBOOT_PROVE=never")
    assert project.exists("build/webroot/rom0.bin")


@pytest.mark.parametrize("jobs", ["-j1", "-j8"])
def test_of_several_applications_those_that_boot_need_no_second_proof(project: Project, jobs: str) -> None:
    project.write("bad.c", BAD)
    sconstruct(
        project,
        "for name in ('bad', 'worse'):",
        "    env.RbootApp(name, 'bad.c')",
        "for name in ('a', 'b', 'c'):",
        "    env.RbootApp(name, 'main.c')",
    )
    run = project.run("publish", jobs)
    assert "*** [publish] bad: not proved: application in slot 0 at 0x2000 crashes after its entry point" in run.err
    assert run.err.endswith("; also not proved: worse\n")
    roms = "6 ROMs of a, b, c with loader-max_roms4.bin"
    assert run.out.endswith(f"\n\nproved {roms}, every byte in place\n")
    assert not project.exists("build/webroot")
    assert project.run("publish", jobs).out.endswith(f"\n\nproved before: {roms}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "`mine.bin' not found, needed by target"),
        (
            lambda: b"no loader",
            "app: not proved: the chip would not start this loader: bad magic of the image: "
            "found 0x6e at offset 0x0, expected 0xe9",
        ),
        (
            lambda: chip.image(chip.compiled("void call_user_start(void) {}")),
            "app: not proved: the loader does not start slot 0 at 0x2000; last lines on the UART: ets (rbootimg)",
        ),
    ],
    ids=["missing", "text", "application"],
)
def test_an_invalid_loader_is_one_line(project: Project, content: Callable[[], bytes] | None, message: str) -> None:
    if content is not None:
        project.write("mine.bin", content())
    for target in ("prove", "publish"):
        assert message in project.fail(target, "RBOOT_LOADER=mine.bin")
    assert not project.exists("build/webroot")


def test_roms_of_unknown_elfs_cannot_always_be_proved(project: Project) -> None:
    sconstruct(project, "env.RbootApp('app', 'main.c')")
    project.build()
    for number in (0, 1):
        shutil.copy(project.directory / f"app/rom{number}.bin", project.directory / f"{number}.bin")
    sconstruct(project, "env.RbootPublish('app', ['0.bin', '1.bin'])")
    output = project.build("publish")
    assert re.search(r"\n0.bin  0 at 0x2000 +160  524,288  0.0\n", output)
    assert "), not proved, without a version\n" in output
    assert (
        "RBOOT_PROVE: cannot be always: the ELFs of these ROMs are unknown; build the ROMs with RbootApp or RbootImage"
        in project.fail("publish", "RBOOT_PROVE=always")
    )
    assert "[prove] the ELFs of the ROMs are unknown; build the ROMs with RbootApp or RbootImage" in project.fail(
        "prove"
    )


# proof.json


@pytest.mark.parametrize("corrupt", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"inputs": 1}'], ids=repr)
def test_a_corrupt_proof_is_made_again(project: Project, corrupt: bytes) -> None:
    project.write("app/proof.json", corrupt)
    assert PROVED in project.build("publish")
    assert PROVED_BEFORE in project.build("publish")


def test_a_proof_that_cannot_be_written_is_one_line(project: Project) -> None:
    place = project.directory / "app/proof.json"
    # The emulator itself cannot make it any more.
    meanwhile = f"""
import os
from rbootimg.emulator import proof
def prove_and_more(*arguments, proved=proof.prove):
    os.makedirs({str(place)!r}, exist_ok=True)
    return proved(*arguments)
proof.prove = prove_and_more
"""
    project.write("SConstruct", meanwhile + project.read("SConstruct").decode())
    assert project.fail("publish").startswith(f"scons: *** [publish] {place}: ")
    assert not project.exists("build/webroot")
    assert f"rboot: app: Directory {place} found where file expected" in project.fail("publish")


# QEMU


def test_without_qemu_publish_warns_unless_rboot_prove_says_otherwise(project: Project, tmp_path: Path) -> None:
    environment = without_qemu(tmp_path)
    run = project.run("publish", environment=environment)
    assert run.status == 0, run.text
    assert f"rboot: warning: published without a proof: app: {NO_QEMU}, or set RBOOT_PROVE=never\n" in run.err
    assert project.exists("build/webroot/rom0.bin")
    assert not project.exists("build/rboot/loader-max_roms4.bin")
    run = project.run("publish", "RBOOT_PROVE=never", environment=environment)
    assert "proof" not in run.err
    assert NO_QEMU in project.fail("publish", "RBOOT_PROVE=always", environment=environment)
    assert f"[prove] app: not proved: {NO_QEMU}" in project.fail("prove", environment=environment)


def test_without_qemu_an_existing_proof_counts(project: Project, tmp_path: Path) -> None:
    project.build("prove")
    environment = without_qemu(tmp_path)
    for how in ("auto", "always"):
        run = project.run("publish", "RBOOT_VERSION=1.0.0", f"RBOOT_PROVE={how}", environment=environment)
        assert (run.status, run.err) == (0, "")
        assert proved_by(project) == ["loader-max_roms4.bin"] * 2
    assert PROVED_BEFORE in project.build("prove", environment=environment)
    project.write("main.c", APP.replace("= 3", "= 4"))
    run = project.run("publish", "RBOOT_VERSION=1.0.1", environment=environment)
    assert "rboot: warning: published without a proof: app: " in run.err
    assert proved_by(project) == [None, None]


def test_a_manifest_keeps_the_state_of_its_first_publication(project: Project) -> None:
    project.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_PROVE=never")
    output = project.build("publish", "RBOOT_VERSION=1.0.0")
    assert PROVED in output
    assert "app 1.0.0 is current already" in output
    assert proved_by(project) == [None, None]
    project.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_FORCE=yes")
    assert proved_by(project) == ["loader-max_roms4.bin"] * 2


@pytest.mark.parametrize(("script", "message"), [("exit 1", "status 1"), ("exec sleep 60", "no response")])
def test_a_qemu_that_fails_or_hangs_is_one_line(project: Project, tmp_path: Path, script: str, message: str) -> None:
    line = project.fail("publish", environment=with_qemu(tmp_path, script))
    assert line == f"scons: *** [publish] app: not proved: qemu-system-xtensa failed: {message}"
    assert not project.exists("build/webroot")
    assert not project.exists("app/proof.json")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_proof_publishes_nothing(project: Project, tmp_path: Path, how: signal.Signals) -> None:
    project.build()
    runs = tmp_path / "runs"
    runs.mkdir()
    environment = {
        **os.environ,
        **with_qemu(tmp_path, "echo $$ > uart; exec sleep 60"),  # a file that the emulator may write to
        "TMPDIR": str(runs),
    }
    command = [sys.executable, "-m", "SCons", "-Q", "publish"]
    with subprocess.Popen(
        command,
        cwd=project.directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as scons:
        while not (started := [said for file in runs.glob("*/uart") if "\n" in (said := file.read_text())]):
            assert scons.poll() is None
            time.sleep(0.02)
        if how == signal.SIGINT:
            os.killpg(scons.pid, how)  # as a terminal does
        else:
            scons.kill()
        err = scons.communicate(timeout=30)[1]
    assert scons.returncode == (2 if how == signal.SIGINT else -9)
    assert err == ("scons: *** [publish] Build interrupted.\n" if how == signal.SIGINT else "")
    assert_ended(int(started[0]))
    assert not project.exists("build/webroot")
    assert not project.exists("app/proof.json")
    assert PROVED in project.build("publish")


def test_an_interrupt_starts_no_further_proof(project: Project, tmp_path: Path) -> None:
    sconstruct(project, "for name in ('one', 'two', 'three'): env.RbootApp(name, 'main.c')")
    project.build()
    runs = tmp_path / "runs"
    runs.mkdir()
    script = "trap 'sleep 0.5; exit 1' INT; echo > uart; sleep 60"  # SCons notices the signal before QEMU ends
    with subprocess.Popen(
        [sys.executable, "-m", "SCons", "-Q", "prove"],
        cwd=project.directory,
        env={**os.environ, **with_qemu(tmp_path, script), "TMPDIR": str(runs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as scons:
        while not list(runs.glob("*/uart")):
            assert scons.poll() is None
            time.sleep(0.02)
        first = {*runs.iterdir()}
        os.killpg(scons.pid, signal.SIGINT)
        while scons.poll() is None:
            assert {*runs.iterdir()} <= first
            time.sleep(0.02)
        assert scons.communicate()[1] == "scons: *** [prove] Build interrupted.\n"


def assert_ended(process: int) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if ") Z " not in Path(f"/proc/{process}/stat").read_text():
                time.sleep(0.02)
                continue
        return
    raise AssertionError("QEMU is still there")


def test_an_invalid_value_of_rboot_prove_is_an_error(project: Project) -> None:
    assert "RBOOT_PROVE: invalid value 'yes': expected auto, always or never" in project.fail("RBOOT_PROVE=yes")

"""`scons monitor`, crashes in `scons boot`, and the archive of ELFs that `scons publish` keeps."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest
from support import crashes
from support.project import TOOL, Project
from support.uart import Device

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

SETTINGS = "CPPDEFINES={'VALUE': '$VALUE'}, VALUE=21, RBOOT_VERSION='1.2.0', RBOOT_PROVE='never'"


@pytest.fixture
def sensor(project: Project) -> Project:
    """A project of an application that crashes."""
    project.write("main.c", crashes.SOURCE.replace('#line 1 "sensor.c"\n', ""))
    tool = TOOL.replace("'-Os'", "'-Os -g -ffreestanding'")
    project.write(
        "SConstruct",
        f"env = Environment({tool}, {SETTINGS})\nenv['VALUE'] = ARGUMENTS.get('VALUE', 21)\n"
        "roms = env.RbootApp('sensor', 'main.c')\nenv.RbootFlashImage('flash.bin', roms)\n",
    )
    return project


def archived(project: Project) -> list[str]:
    found = project.directory.glob("**/*elfs/*/*/*.elf")
    return sorted(str(path.relative_to(project.directory))[: -len("-.elf") - 64] for path in found)


def test_boot_turns_a_crash_into_file_and_line(sensor: Project) -> None:
    run = sensor.run("boot")
    assert run.status == 2
    assert f"main.c:{crashes.RECORD + 1}" in run.out
    assert "    called from:\n" in run.out
    assert "    ELF: sensor/rom0.elf (ROM 0, last build)\n" in run.out


def test_publish_keeps_the_elfs_outside_the_web_root(sensor: Project) -> None:
    sensor.build("publish")
    archive = "build/.webroot-elfs/sensor/1.2.0"
    assert archived(sensor) == [f"{archive}/rom0", f"{archive}/rom1"]
    assert not [*sensor.directory.glob("build/webroot/**/*.elf")]
    sensor.build("publish", "VALUE=22", "RBOOT_VERSION=1.3.0")
    assert len(archived(sensor)) == 4
    assert "sensor 1.3.0 is current already" in sensor.build("publish", "VALUE=22", "RBOOT_VERSION=1.3.0")


def test_the_archive_can_be_elsewhere_or_nowhere(sensor: Project) -> None:
    sensor.build("publish", "RBOOT_ELF_ARCHIVE=#my-elfs")
    sensor.build("publish", "RBOOT_ELF_ARCHIVE=none", "RBOOT_VERSION=1.3.0", "VALUE=3")
    assert archived(sensor) == ["my-elfs/sensor/1.2.0/rom0", "my-elfs/sensor/1.2.0/rom1"]


def test_an_archive_in_the_web_root_is_refused(sensor: Project) -> None:
    line = sensor.fail("publish", "RBOOT_ELF_ARCHIVE=build/webroot/elfs")
    assert "sensor: RBOOT_ELF_ARCHIVE: " in line
    assert "is in the web root, which is public" in line


def test_an_archive_that_cannot_be_written_is_a_warning(sensor: Project) -> None:
    sensor.write("build/.webroot-elfs", "a file")
    run = sensor.run("publish")
    assert run.status == 0, run.text
    assert "warning: ELFs not archived: " in run.err


def test_roms_without_a_version_are_kept_too(sensor: Project) -> None:
    sensor.write("SConstruct", sensor.read("SConstruct").decode().replace("RBOOT_VERSION='1.2.0', ", ""))
    sensor.build("publish")
    assert archived(sensor) == [f"build/.webroot-elfs/sensor/unversioned/rom{slot}" for slot in (0, 1)]


def monitor(project: Project, device: Device, log: str, until: str, *arguments: str) -> str:
    """Run `scons monitor` while the device sends `log`; what it prints up to Ctrl-C."""
    terminal, program = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "SCons", "-Q", "monitor", f"RBOOT_PORT={device.port}", *arguments],
        cwd=project.directory,
        env={**os.environ, "TERM": "dumb"},
        stdin=program,
        stdout=program,
        stderr=program,
        start_new_session=True,
    ) as process:
        text = ""
        deadline = time.monotonic() + 30
        sent = False
        while until not in text:
            if time.monotonic() > deadline:
                process.send_signal(signal.SIGKILL)
                raise AssertionError(text)
            if select.select([terminal], [], [], 0.05)[0]:
                text += os.read(terminal, 4096).decode().replace("\r\n", "\n")
            if not sent and "baud; Ctrl-C quits" in text:
                device.send(log)
                sent = True
        os.write(terminal, b"\x03")
        assert process.wait(20) == 0
    os.close(terminal)
    os.close(program)
    return text


def test_monitor_decodes_a_crash_of_an_earlier_release_and_builds_nothing(sensor: Project) -> None:
    sensor.build("publish")
    elf = sensor.read("sensor/rom1.elf")
    sensor.build("publish", "VALUE=22", "RBOOT_VERSION=1.3.0")
    sensor.write("main.c", "this is not C")
    log = crashes.boot_log(1) + "sensor 1.2.0\n" + crashes.exception(crashes.address(elf, "record") + 4)
    with Device(74880) as device:
        text = monitor(sensor, device, log, "ELF: ", "RBOOT_VERSION=1.3.0")
    assert f"main.c:{crashes.RECORD + 1}" in text
    assert "build/.webroot-elfs/sensor/1.2.0/rom1-" in text


def test_monitor_prefers_the_last_build_and_says_so(sensor: Project) -> None:
    sensor.build()
    elf = sensor.read("sensor/rom0.elf")
    log = crashes.boot_log(0) + crashes.exception(crashes.address(elf, "record") + 4)
    with Device(74880) as device:
        text = monitor(sensor, device, log, "note: ")
    assert "ELF: sensor/rom0.elf (sensor 1.2.0, ROM 0, last build)" in text
    assert "note: assuming the last build: the UART shows no version of the application" in text


def test_a_directory_of_that_name_stays_the_users(sensor: Project) -> None:
    sensor.write("monitor/filter.py", "")
    assert "MONITOR" not in sensor.build("monitor")


def test_several_flash_images_have_a_target_each(sensor: Project) -> None:
    text = sensor.read("SConstruct").decode() + "env.RbootFlashImage('other.bin', roms)\n"
    sensor.write("SConstruct", text)
    line = sensor.fail("monitor", "RBOOT_PORT=/dev/no-such-port")
    assert "run `scons monitor-flash` or `scons monitor-other`" in line
    line = sensor.fail("monitor-other", "RBOOT_PORT=/dev/no-such-port")
    assert "/dev/no-such-port: cannot open the port: No such file or directory" in line

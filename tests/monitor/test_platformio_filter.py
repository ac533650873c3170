"""The filter `rboot` in the real `pio device monitor`."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import crashes
from support.project import ROOT
from support.uart import Device

from rbootimg.release.elfarchive import BuiltRom, store_elfs
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.pack import pack

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

INI = """[env:sensor]
platform = espressif8266
monitor_filters = rboot
monitor_speed = 115200
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "monitor").mkdir(parents=True)
    shutil.copy(ROOT / "rbootimg/platformio/files/filter_rboot.py", project / "monitor")
    (project / "platformio.ini").write_text(INI)
    platform = tmp_path / "core/platforms/espressif8266"  # the monitor needs its name alone
    platform.mkdir(parents=True)
    names = {"name": "espressif8266", "version": "1.0.0"}
    (platform / "platform.json").write_text(json.dumps({**names, "title": "ESP8266", "packages": {}}))
    spec = {"owner": None, "id": None, "name": "espressif8266", "requirements": None, "uri": None}
    (platform / ".piopm").write_text(json.dumps({**names, "type": "platform", "spec": spec}))
    return project


def monitor(project: Path, log: str, until: str) -> str:
    """What `pio device monitor` prints while a device sends `log`."""
    terminal, program = pty.openpty()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PLATFORMIO_CORE_DIR": str(project.parent / "core"),
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "100000",
        "NO_COLOR": "1",
    }
    text, sent = "", False
    with (
        Device(115200) as device,
        subprocess.Popen(
            [sys.executable, "-m", "platformio", "device", "monitor", "--port", device.port, "--no-reconnect"],
            cwd=project,
            env=environment,
            stdin=program,
            stdout=program,
            stderr=program,
        ) as process,
    ):
        deadline = time.monotonic() + 60
        while until not in text:
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise AssertionError(text)
            if select.select([terminal], [], [], 0.05)[0]:
                text += os.read(terminal, 4096).decode().replace("\r", "")
            if not sent and "Quit: Ctrl+C" in text:
                device.send(log)
                sent = True
        process.kill()
    os.close(terminal)
    os.close(program)
    return text


def crash(rom: int, value: int) -> str:
    pc = crashes.address(crashes.elf(rom, value=value), "record") + 4
    return (crashes.boot_log(rom) + "sensor 1.2.0\n" + crashes.exception(pc) + "end\n").replace("\n", "\r\n")


def test_a_crash_is_decoded_with_the_elf_of_the_booted_rom(project: Path) -> None:
    directory = project / ".pio/build/sensor/rboot"
    directory.mkdir(parents=True)
    for slot in (0, 1):
        (directory / f"rom{slot}.elf").write_bytes(crashes.elf(slot))
    text = monitor(project, crash(1, 21), "end\n")
    assert f"sensor.c:{crashes.RECORD}" in text
    assert "ELF: .pio/build/sensor/rboot/rom1.elf (sensor, ROM 1, last build)" in text


def test_the_archive_has_the_elf_of_an_earlier_version(project: Path) -> None:
    program = crashes.elf(0, value=12)
    archive = project / ".pio/webroot/.sensor-elfs"
    store_elfs(archive, "sensor", "1.2.0", [BuiltRom("rom0", pack(parse_elf(program)).to_bytes(), program)])
    text = monitor(project, crash(0, 12), "end\n")
    assert f"sensor.c:{crashes.RECORD}" in text
    assert "(sensor 1.2.0, ROM 0, archive)" in text


def test_without_an_elf_the_output_is_complete_and_says_what_was_searched(project: Path) -> None:
    text = monitor(project, crash(0, 21), "end\n")
    assert "note: no ELF to look up addresses; searched " in text
    assert all(line in text for line in crash(0, 21).replace("\r", "").splitlines())

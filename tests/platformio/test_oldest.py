"""PlatformIO 6.1.18, the oldest that is supported, in an environment of its own: its packages conflict with ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import platformio
from support.project import ROOT, Project, clean_copy

from rbootimg.platformio.init import SCRIPT

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

APP = """\
#include "rboot-ota.h"
#include "osapi.h"
#include "user_interface.h"
void user_pre_init(void) {}
uint32 user_rf_cal_sector_set(void) { return RBOOT_FLASH_SIZE / 0x1000 - 5; }
void ICACHE_FLASH_ATTR user_init(void) { os_printf("hello\\n"); }
"""
INI = """\
[env:esp01]
platform = espressif8266
board = esp01_1m
framework = esp8266-nonos-sdk
extra_scripts =
    pre:rboot.py
    post:rboot.py
custom_rboot_version = 1.0.0
"""


def install(environment: Path, *what: str) -> None:
    pip = [sys.executable, "-m", "pip", "--python", environment, "install", "-q", "--no-build-isolation", *what]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_the_oldest_platformio_builds_uploads_and_publishes(tmp_path: Path) -> None:
    """In one test, as to install it takes longer than all that is done with it."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    for name in ("build", "platformio"):
        install(environment, "--require-hashes", "-r", str(ROOT / f".ci/requirements-{name}.txt"))
    python = environment / "bin" / "python"
    pio = platformio.make(python, tmp_path / "core")
    project = Project(tmp_path / "project")
    project.write("platformio.ini", INI)
    project.write("rboot.py", SCRIPT.read_bytes())
    project.write("src/main.c", APP)

    assert pio.fail(project.directory) == (f"Error: no Python package rbootimg; run `{python} -m pip install rbootimg`")
    install(environment, "--isolated", "--no-index", str(clean_copy(tmp_path / "source")))
    flash = tmp_path / "flash"
    flash.write_bytes(b"\xff" * 0x100000)
    upload = ("-t", "upload", "--upload-port", "/dev/null")
    text = pio.build(project.directory, *upload, FAKE_FLASH=str(flash))
    assert "ota_port_nonos.o" in text
    assert flash.read_bytes() == project.read(".pio/build/esp01/firmware.bin")
    text = pio.build(project.directory, "-t", "publish")
    assert "published esp01 1.0.0 to .pio/webroot/esp01 (" in text
    assert "proved with loader-max_roms4.bin" in text
    assert "rollback" in pio.run(project.directory, "--list-targets").out

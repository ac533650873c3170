"""Builds by the real PlatformIO, in the version that is locked for tests, with the script of `rbootimg platformio`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from support import platformio
from support.platformio import PlatformIO
from support.project import ROOT, Project, clean_copy

from rbootimg import __version__
from rbootimg.emulator import qemu
from rbootimg.layout.params import FlashParams
from rbootimg.platformio.init import SCRIPT

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

APP = """\
#include "osapi.h"
#include "user_interface.h"
#include "rboot-version.h"
void user_pre_init(void) {}
uint32 user_rf_cal_sector_set(void) { return 251; }
void ICACHE_FLASH_ATTR user_init(void) { os_printf("hello " RBOOT_VERSION " from %p\\n", user_init); }
"""
INI = """\
[env:esp01]
platform = espressif8266
board = esp01_1m
framework = esp8266-nonos-sdk
extra_scripts =
    pre:rboot.py
    post:rboot.py
"""
BUILD = ".pio/build/esp01"
PORT = ("--upload-port", "/dev/null")


@pytest.fixture(scope="session")
def pio(tmp_path_factory: pytest.TempPathFactory) -> PlatformIO:
    return platformio.make(Path(sys.executable), tmp_path_factory.mktemp("platformio") / "core")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.write("platformio.ini", INI)
    project.write("rboot.py", SCRIPT.read_bytes())
    project.write("src/main.c", APP)
    return project


def ini(project: Project, *lines: str, text: str = INI) -> None:
    project.write("platformio.ini", text + "".join(f"{line}\n" for line in lines))


def loader_params(project: Project, build: str = BUILD) -> tuple[str | int, ...]:
    """Mode, size and frequency in the header of the loader, at flash 0."""
    return FlashParams.from_bytes(project.read(f"{build}/firmware.bin")[2:4]).names()


def test_run_builds_the_roms_with_the_rest(pio: PlatformIO, project: Project) -> None:
    text = pio.build(project.directory)
    assert "esp01/rom1.bin  1 at 0x82000  0x40282010" in text
    assert project.read(f"{BUILD}/firmware.elf") == project.read(f"{BUILD}/esp01/rom0.elf")
    assert project.read(f"{BUILD}/firmware.bin") == project.read(f"{BUILD}/rboot/flash.bin")
    # PlatformIO's bar is about the slot: its size without the header of irom.
    assert f"bytes from {0x80000 - 0x10} bytes)" in text
    assert sorted(path.name for path in project.directory.iterdir()) == [".pio", "platformio.ini", "rboot.py", "src"]
    again = pio.build(project.directory)
    assert not any(verb in again for verb in ("Compiling", "LD ", "PACK", "COPY", "IMAGE")), again


def test_publish_proves_and_publishes_in_the_words_of_pio(pio: PlatformIO, project: Project) -> None:
    text = pio.build(project.directory, "-t", "publish", RBOOT_VERSION="1.2.0")
    assert "proved 2 ROMs with loader-max_roms4.bin, every byte in place" in text
    assert "published esp01 1.2.0 to .pio/webroot/esp01 (" in text
    assert "serve it with: pio run -e esp01 -t serve\n" in text
    assert "scons" not in text
    assert b"hello 1.2.0" in project.read(".pio/webroot/esp01/rom1.bin")
    ini(project, "custom_rboot_version = 1.1.0")
    assert pio.fail(project.directory, "-t", "publish") == (
        "*** [publish] .pio/webroot/esp01: 1.1.0 of esp01 is older than the current 1.2.0; run `pio run -e esp01 -t "
        "rollback` to return to an earlier release, or use custom_rboot_allow_downgrade = yes"
    )
    ini(project, "custom_rboot_version = 1.3.0")
    pio.build(project.directory, "-t", "publish")
    text = pio.build(project.directory, "-t", "rollback", "-t", "releases")
    assert "1.2.0  current" in text


def test_upload_writes_a_flash_that_boots(pio: PlatformIO, project: Project, tmp_path: Path) -> None:
    flash = tmp_path / "flash"
    flash.write_bytes(b"\xff" * 0x100000)
    text = pio.build(project.directory, "-t", "upload", *PORT, FAKE_FLASH=str(flash))
    addresses = [line.split()[-1] for line in text.splitlines() if line.startswith("Wrote ")]
    assert addresses == ["0x00000000", "0x00001000", "0x00002000", "0x00082000", "0x000fc000"]
    assert flash.read_bytes() == project.read(f"{BUILD}/firmware.bin")
    result = qemu.boot(flash.read_bytes())
    assert "hello 0.0.0-unknown from 402020" in result.uart


def test_a_command_of_the_user_uploads_the_complete_flash(pio: PlatformIO, project: Project) -> None:
    """And `-t nobuild` does, without a framework's images."""
    ini(project, "upload_command = cp $SOURCE written.bin")
    pio.build(project.directory, "-t", "upload", *PORT)
    assert len(project.read("written.bin")) == 0x100000
    assert project.read("written.bin") == project.read(f"{BUILD}/rboot/flash.bin")
    (project.directory / "written.bin").unlink()
    done = pio.run(project.directory, "-t", "nobuild", "-t", "upload", *PORT)
    assert (done.status, project.read("written.bin")) == (0, project.read(f"{BUILD}/rboot/flash.bin"))


def test_the_ide_lists_the_targets_with_titles(pio: PlatformIO, project: Project) -> None:
    rows = {tuple(line.split()[1:4]) for line in pio.run(project.directory, "--list-targets").out.splitlines()}
    for target in ("publish", "prove", "releases", "rollback", "serve", "flash", "boot"):
        assert ("Custom", target, target.capitalize()) in rows


def test_boot_runs_the_flash_image(pio: PlatformIO, project: Project) -> None:
    text = pio.build(project.directory, "-t", "boot")
    assert "Booting rom 0 at 2000" in text
    assert "hello 0.0.0" in text


def test_v_prints_complete_commands(pio: PlatformIO, project: Project) -> None:
    text = pio.build(project.directory, "-v")
    assert f"-T {BUILD}/rboot/eagle.app.v6-082000-0fb000.ld" in text
    assert "LD " not in text


BARE = INI.replace("    post:rboot.py\n", "")


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        (f"{INI}custom_rboot_lyout = 1MB\n", (), "custom_rboot_lyout: unknown option; use custom_rboot_layout"),
        (f"{INI}custom_rboot_layout = 4MB-big\n", (), "4MB-big: too large for esp01_1m: the layout has 4MB of flash, "),
        (f"{INI}custom_rboot_version = 1\n", (), "custom_rboot_version: invalid version '1': expected semver, "),
        (f"{INI}custom_rboot_files = a.bin\n", (), "custom_rboot_files: invalid value 'a.bin': expected lines NAME = "),
        (f"{INI}upload_protocol = espota\n", (), "upload_protocol: espota cannot write rBoot ROMs: expected esptool "),
        (INI.replace("esp8266-nonos-sdk", "arduino"), (), "framework: arduino: its applications need eboot, "),
        (INI.replace("nonos", "rtos"), (), "framework: esp8266-rtos-sdk: its applications need the boot loader of "),
        (BARE, (), "extra_scripts: the script of rbootimg is there as pre: only; add it as post: too"),
        (INI, ("-t", "uploadfs"), "-t uploadfs: unsupported: file systems of PlatformIO are not part of the "),
    ],
)
def test_what_does_not_work_is_refused_in_one_line(
    pio: PlatformIO, project: Project, text: str, arguments: tuple[str, ...], reason: str
) -> None:
    ini(project, text=text)
    assert pio.fail(project.directory, *arguments).startswith(f"Error: [env:esp01] {reason}")
    assert not project.exists(f"{BUILD}/firmware.elf")


def test_the_board_has_the_defaults_and_a_layout_precedes_it(pio: PlatformIO, project: Project) -> None:
    text = INI.replace("esp01_1m", "nodemcuv2")
    ini(project, text=text)
    pio.build(project.directory)
    assert loader_params(project) == ("dio", "4MB", "40m")
    project.write("board.toml", 'flash_size = "1MB"\nflash_mode = "dout"\n')
    ini(project, "custom_rboot_layout = board.toml", "custom_rboot_flash_freq = 80m", text=text)
    pio.build(project.directory)
    assert loader_params(project) == ("dout", "1MB", "80m")
    pio.build(project.directory, RBOOT_FLASH_FREQ="20m")
    assert loader_params(project) == ("dout", "1MB", "20m")


def test_environments_publish_to_roots_of_their_own_or_to_directories_of_one(pio: PlatformIO, project: Project) -> None:
    text = INI.replace("[env:esp01]", "[env]").replace("board = esp01_1m\n", "") + "custom_rboot_version = 1.0.0\n"
    boards = "[env:esp01]\nboard = esp01_1m\n[env:mcu]\nboard = nodemcuv2\ncustom_rboot_app = clock\n"
    ini(project, text=text + boards)
    pio.build(project.directory, "-t", "publish")
    assert project.exists(".pio/webroot/esp01/rom0.bin")
    assert project.exists(".pio/webroot/mcu/rom0.bin")
    ini(project, text=f"{text}custom_rboot_webroot = web\n{boards}")
    pio.build(project.directory, "-t", "publish")
    assert json.loads(project.read("web/clock/manifest.json"))["app"] == "clock"
    assert project.exists("web/esp01/rom1.bin")


def test_the_example_compiles_the_update_client_for_each_board(pio: PlatformIO, tmp_path: Path) -> None:
    example = Project(tmp_path / "example")
    shutil.copytree(ROOT / "examples" / "platformio", example.directory, ignore=shutil.ignore_patterns(".pio"))
    text = pio.build(example.directory, "-t", "publish", RBOOT_PROVE="never")  # the stand-in for the SDK is for linking
    assert text.count("published hello 1.0.0 to") == 2
    for name, device, size in (("esp01_1m", "esp01", 0x100000), ("nodemcuv2", "nodemcu", 0x400000)):
        build = example.directory / ".pio/build" / name
        assert f"#define RBOOT_FLASH_SIZE {size:#x}" in (build / "rboot/include/rboot-layout.h").read_text()
        assert list(build.glob("lib*/ota/port/nonos/ota_port_nonos.o"))
        # SDK 3 wants a partition table, whose rows have the addresses of the layout.
        assert (size - 0x4000).to_bytes(4, "little") in (build / "hello/rom0.elf").read_bytes()
        assert json.loads(example.read(f".pio/webroot/{name}/manifest.json"))["device"] == device


def test_as_post_script_alone_it_does_all_but_find_the_library(pio: PlatformIO, project: Project) -> None:
    ini(project, text=INI.replace("    pre:rboot.py\n", ""))
    project.write("src/main.c", APP.replace('#include "rboot-version.h"\n', "").replace(" RBOOT_VERSION ", " "))
    assert "published esp01 1.0.0" in pio.build(project.directory, "-t", "publish", RBOOT_VERSION="1.0.0")


def test_it_is_a_package_of_platformio_too(pio: PlatformIO, project: Project, tmp_path: Path) -> None:
    """Then nothing is copied into the project, and files are relative to the project nevertheless."""
    (project.directory / "rboot.py").unlink()
    source = clean_copy(tmp_path / "source")
    script = "${platformio.packages_dir}/tool-rbootimg/rbootimg/platformio/files/rboot.py"
    project.write("board.toml", 'flash_size = "1MB"\nflash_mode = "dout"\n')
    package, layout = f"platform_packages = tool-rbootimg @ file://{source}", "custom_rboot_layout = board.toml"
    ini(project, package, layout, text=INI.replace("rboot.py", script))
    core = tmp_path / "core"
    shutil.copytree(pio.core, core, symlinks=True)  # the package is installed there
    PlatformIO(pio.python, core).build(project.directory)
    assert loader_params(project) == ("dout", "1MB", "40m")
    assert sorted(path.name for path in project.directory.iterdir()) == [".pio", "board.toml", "platformio.ini", "src"]


@pytest.mark.parametrize("name", ["package.json", "rbootimg/firmware/ota/library.json"])
def test_the_packages_of_platformio_have_the_version(name: str) -> None:
    assert json.loads((ROOT / name).read_text())["version"] == __version__


def test_the_example_has_the_script() -> None:
    assert (ROOT / "examples/platformio/rboot.py").read_bytes() == SCRIPT.read_bytes()

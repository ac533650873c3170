"""The update client for the NONOS SDK: it compiles without a warning, as does an application after the tutorial."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import sdk
from conftest import ROOT, Project
from ota_host import HARNESS, SOURCES

COMPILER = (
    *("xtensa-lx106-elf-gcc", "-mlongcalls", "-mtext-section-literals", "-Os", "-ffreestanding"),
    *("-Wall", "-Wextra", "-Wpointer-arith", "-Wundef", "-Werror"),
    *("-D__ets__", "-DICACHE_FLASH", f"-I{SOURCES}", f"-I{HARNESS / 'sdk'}", "-c"),
)
PORT = SOURCES / "port" / "nonos" / "ota_port_nonos.c"
EXAMPLE = ROOT / "examples" / "ota"
CLIENT = [*sorted(SOURCES.glob("*.c")), PORT]


@pytest.mark.parametrize("standard", ["gnu89", "c99", "gnu17"])
@pytest.mark.parametrize("options", [(), ("-DBOOT_CONFIG_CHKSUM", "-DBOOT_IROM_CHKSUM", "-DMAX_ROMS=8")])
def test_the_client_compiles_without_a_warning(tmp_path: Path, standard: str, options: tuple[str, ...]) -> None:
    sources = [*CLIENT, HARNESS / "sdk" / "user_main.c"]
    done = subprocess.run(
        [*COMPILER, f"-std={standard}", *options, *sources], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_all_its_code_is_in_the_flash(tmp_path: Path) -> None:
    subprocess.run([*COMPILER, *CLIENT], cwd=tmp_path, check=True)
    for source in CLIENT:
        sizes = subprocess.run(
            ["xtensa-lx106-elf-size", "-A", source.with_suffix(".o").name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        sections = dict(line.split()[:2] for line in sizes.stdout.splitlines() if line.startswith("."))
        assert sections.get(".text", "0") == "0", source.name
        assert sections.get(".data", "0") == "0", source.name


def test_it_calls_nothing_beyond_the_sdk(tmp_path: Path) -> None:
    subprocess.run([*COMPILER, *CLIENT], cwd=tmp_path, check=True)
    objects = [source.with_suffix(".o").name for source in CLIENT]
    subprocess.run(["xtensa-lx106-elf-ld", "-r", "-o", "all.o", *objects], cwd=tmp_path, check=True)
    named = subprocess.run(
        ["xtensa-lx106-elf-nm", "-u", "all.o"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    undefined = {line.split()[-1] for line in named.stdout.splitlines()}
    known = ("espconn_", "spi_flash_", "system_rtc_mem_", "ets_timer_", "ets_mem")
    assert not {name for name in undefined if not name.startswith(known)} - {"memcpy", "memset"}


def test_the_example_is_built_on_the_sdk(project: Project, tmp_path: Path) -> None:
    """With Wi-Fi's name in it, without a warning, and the SDK's init data in its flash."""
    copy = Project(project.folder / "ota")
    shutil.copytree(EXAMPLE, copy.folder, ignore=shutil.ignore_patterns("build", "*.o", ".sconsign.dblite"))
    said = copy.run(f"SDK_BASE={sdk.make(tmp_path / 'sdk')}", "WIFI_SSID=home", "SERVER=10.1.2.3:8080")
    assert (said.status, said.err) == (0, "")
    rom = copy.read("build/nonos/app/rom1.bin")
    for text in (b"home\0", b"GET /rom1.bin HTTP/1.0\r\nHost: 10.1.2.3:8080\r\n"):
        assert text in rom
    assert copy.read("build/nonos/flash.bin")[0xFC000:0xFC080] == bytes(range(5, 133))

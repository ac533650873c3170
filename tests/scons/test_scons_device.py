"""Whole builds of loaders and flash images, through the real SCons, compiler and QEMU."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from support.esp8266 import FakeChip
from support.project import APP, TOOL, Project

from rbootimg.emulator.qemu import BootEnd, boot
from rbootimg.flash import image
from rbootimg.flash.bootconfig import BootConfig
from rbootimg.flash.loader import read_options
from rbootimg.layout import tomlfile

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

QUIET = APP.replace("Cache_Read_Enable(0, 0, 1); in_flash();", "ets_printf(text);")


def sconstruct(project: Project, *lines: str, settings: str = "") -> None:
    project.write("SConstruct", f"env = Environment({TOOL}, {settings})\n" + "\n".join(lines) + "\n")


def flash_image(project: Project, *lines: str, settings: str = "") -> None:
    project.write("main.c", QUIET)
    sconstruct(
        project,
        "roms = env.RbootApp('app', 'main.c')",
        *(lines or ("env.RbootFlashImage('flash.bin', roms)",)),
        settings=settings,
    )


# Loaders


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", []),
        ("big_flash = true\nirom_checksum = true", ["Big flash", "irom chksum"]),
        ("config_checksum = true\nrtc = true\nmax_roms = 8", ["Config chksum", "RTC data"]),
        ('gpio = "rom"\ngpio_pin = 0', ["GPIO rom mode (0)"]),
        ('gpio = "skip"', ["GPIO skip mode (16)"]),
    ],
)
def test_our_loader_is_built_with_the_layouts_options(project: Project, options: str, said: list[str]) -> None:
    project.write("board.toml", f'flash_size = "1MB"\n[loader]\n{options}\n')
    sconstruct(project, "env.RbootLoader('rboot.bin')", settings="RBOOT_LAYOUT='board.toml'")
    project.build()
    loader = project.read("rboot.bin")
    assert len(loader) <= 0x1000
    expected = tomlfile.parse_layout(project.read("board.toml").decode()).loader
    info = read_options(loader)
    assert (info.big_flash, info.irom_checksum, info.config_checksum, info.rtc, info.gpio) == (
        expected.big_flash,
        expected.irom_checksum,
        expected.config_checksum,
        expected.rtc,
        expected.gpio,
    )
    uart = boot(loader.ljust(0x100000, b"\xff")).uart
    assert [line.removeprefix("rBoot Option: ") for line in uart.splitlines() if "Option" in line] == said
    assert "up to date" in project.build()


RBOOT_SOURCES = {
    "rboot-stage2a.c": "unsigned call_user_start(void) { return 0xABCD; }\n",
    "rboot-stage2a.ld": "MEMORY { iram : org = 0x4010FC00, len = 0x400 }\nENTRY(call_user_start)\n"
    "SECTIONS { .text : { *(.literal .text .literal.* .text.*) } > iram }\n",
    "rboot.ld": "MEMORY { dram : org = 0x3FFE8000, len = 0x14000 iram : org = 0x40100000, len = 0x8000 }\n"
    "ENTRY(call_user_start)\nINCLUDE eagle.rom.addr.v6.ld\n"
    "SECTIONS { .rodata : { *(.rodata .rodata.*) } > dram .text : { *(.literal .text .literal.* .text.*) } > iram }\n",
    "rboot.c": """
#include <c_types.h>
#include <stdint.h>
#include <rboot-hex2a.h>
extern int ets_printf(const char *, ...);
void call_user_start(void)
{
    volatile uint32_t *to = (volatile uint32_t *)_text_addr;
    for (uint32_t i = 0; i < _text_len / 4; i++)
        to[i] = ((const uint32_t *)_text_data)[i];
#ifdef BOOT_BIG_FLASH
    ets_printf("big flash, ");
#endif
    ets_printf("%d ROMs, second stage says %x\\r\\n", MAX_ROMS, ((unsigned (*)(void))entry_addr)());
}
""",
}


def test_rboot_is_built_from_its_sources(project: Project) -> None:
    for name, text in RBOOT_SOURCES.items():
        project.write(f"rboot/{name}", text)
    sconstruct(project, "env.RbootLoader('out/rboot.bin', RBOOT_SRC='rboot')", settings="RBOOT_LAYOUT='4MB-big'")
    project.build()
    uart = boot(project.read("out/rboot.bin").ljust(0x100000, b"\xff")).uart
    assert "big flash, 4 ROMs, second stage says abcd" in uart
    assert "up to date" in project.build()
    project.write("rboot/rboot-stage2a.c", RBOOT_SOURCES["rboot-stage2a.c"].replace("0xABCD", "0x1234"))
    project.build()
    assert "says 1234" in boot(project.read("out/rboot.bin").ljust(0x100000, b"\xff")).uart
    assert not (project.directory / "rboot/rboot.o").exists(), "nothing is made in rBoot's own directory"


def test_a_directory_without_rboots_sources_is_one_line(project: Project) -> None:
    sconstruct(project, "env.RbootLoader('rboot.bin', RBOOT_SRC='.')")
    assert "rboot.bin: RBOOT_SRC: no rboot.c in '.': expected the directory of rBoot's sources" in project.fail()
    sconstruct(project, "env.RbootLoader('rboot.bin', RBOOT_SRC='main.c')")
    assert "rboot: rboot.bin: RBOOT_SRC: File " in project.fail()


# Flash images


def test_a_flash_image_boots(project: Project) -> None:
    flash_image(project)
    output = project.build()
    assert "0x082000  0x0820a0    160  rom1" in output
    flash = project.read("flash.bin")
    assert len(flash) == 0x100000
    assert flash[2:4] == bytes((0, 0x20))
    result = boot(flash)
    assert (result.ended, result.rom) == (BootEnd.DONE, 0)
    assert "an application" in result.uart
    assert "up to date" in project.build()


def test_the_current_rom_and_files_for_regions(project: Project) -> None:
    project.write("init.bin", bytes(range(128)))
    settings = "RBOOT_LAYOUT='1MB', RBOOT_CURRENT_ROM=1, RBOOT_FILES={'phy_init': 'init.bin'}, RBOOT_FLASH_MODE='dio'"
    flash_image(project, settings=settings)
    project.build()
    flash = project.read("flash.bin")
    assert BootConfig.from_bytes(flash[0x1000:0x2000]).current_rom == 1
    assert flash[0xFC000 : 0xFC000 + 128] == bytes(range(128))
    assert flash[2] == 2
    project.write("init.bin", bytes(128))
    project.build()
    assert project.read("flash.bin")[0xFC000 : 0xFC000 + 128] == bytes(128)
    flash_image(project, settings=settings.replace("ROM=1", "ROM=0"))
    project.build()
    assert BootConfig.from_bytes(project.read("flash.bin")[0x1000:0x2000]).current_rom == 0


def test_the_users_loader_is_checked_against_the_layout(project: Project) -> None:
    flash_image(project, "env.RbootLoader('rboot.bin')")
    project.build("rboot.bin")
    shutil.copy(project.directory / "rboot.bin", project.directory / "mine.bin")
    flash_image(project, settings="RBOOT_LOADER='mine.bin'")
    project.build()
    assert project.read("flash.bin").startswith(project.read("mine.bin")[:2])
    flash_image(project, settings="RBOOT_LOADER='mine.bin', RBOOT_IROM_CHECKSUM=True")
    assert "loader is built without BOOT_IROM_CHKSUM, but the layout has irom_checksum = true" in project.fail()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("env.RbootFlashImage('f.bin', [])", "rboot: f.bin: no files given"),
        (
            "env.RbootFlashImage('f.bin', roms, RBOOT_FILES='init.bin')",
            "RBOOT_FILES: invalid value 'init.bin': expected a dictionary {REGION: FILE}",
        ),
        (
            "env.RbootFlashImage('f.bin', roms, RBOOT_CURRENT_ROM='x')",
            "RBOOT_CURRENT_ROM: invalid value 'x': expected an integer >= 0",
        ),
        ("env.RbootFlashImage('f.bin', roms, RBOOT_CURRENT_ROM=2)", "invalid current ROM 2: expected 0-1"),
        (
            "env.RbootFlashImage('f.bin', roms[::-1])",
            "[f.bin] ROM for slot 0 at 0x2000: linked at 0x40282010",
        ),
        ("env.RbootFlashImage('f.bin', roms, RBOOT_FILES={'nope': 'main.c'})", "unknown region 'nope'"),
        (
            "env.RbootFlashImage('f.bin', roms, RBOOT_FILES={'phy_init': 'SConstruct'})",
            "expected 128 bytes, as in the SDK's esp_init_data_default.bin, got ",
        ),
    ],
)
def test_an_invalid_flash_image_is_one_line(project: Project, lines: str, message: str) -> None:
    project.write("main.c", APP)
    flash_image(project, lines)
    project.write("main.c", APP)
    assert message in project.fail()
    assert not project.exists("f.bin")


def test_flash_writes_exactly_the_pieces(project: Project) -> None:
    flash_image(project)
    project.build()
    with FakeChip(b"\xff" * 0x400000) as chip:
        output = project.build("flash", f"RBOOT_PORT={chip.port}", "RBOOT_BAUD=115200")
        assert output.startswith("FLASH    flash.bin\n")
        assert output.endswith("\nwrote flash.bin to the device (4 pieces, 5,888 B)\n")
        assert bytes(chip.flash[:0x100000]) == project.read("flash.bin")


def test_flash_without_a_device_is_one_line(project: Project) -> None:
    flash_image(project)
    assert "[flash] flash.bin: esptool: " in project.fail("flash", "RBOOT_PORT=/dev/nothing")


def test_boot_runs_the_image_with_what_is_typed(project: Project) -> None:
    flash_image(project)
    assert "an application" in project.build("boot")


def test_boot_fails_where_the_application_crashes_and_names_the_function(project: Project) -> None:
    flash_image(project, "env.RbootFlashImage('flash.bin', roms)", "env.Alias('boot', 'main.c')")
    project.write("main.c", QUIET.replace("ets_printf(text);", "*(volatile int *)0x20000000 = 1;"))
    line = project.fail("boot")
    assert "[boot] flash.bin: crash: LoadStorePIFAddrError (load or store at an unmapped address) at 0x401000" in line
    assert "(call_user_start+0x" in line


def test_boot_without_a_terminal_ends_after_a_while(project: Project) -> None:
    lines = ("env.RbootFlashImage('flash.bin', roms)", "from rbootimg.emulator import qemu", "qemu.DEFAULT_TIMEOUT = 1")
    flash_image(project, *lines)
    project.write("main.c", QUIET.replace("ets_printf(text);", "ets_printf(text); for (;;) ;"))
    assert "an application" in project.build("boot", stdin=subprocess.DEVNULL)


def test_of_several_images_each_has_a_target(project: Project) -> None:
    flash_image(
        project,
        "env.RbootFlashImage('small.bin', roms)",
        "env.RbootFlashImage('out/big.bin', roms, RBOOT_CURRENT_ROM=1)",
    )
    project.build()
    assert project.fail("boot") == (
        "scons: *** [boot] small.bin: the project has 2 flash images; run `scons boot-small` or `scons boot-big`"
    )
    assert "`scons flash-small` or `scons flash-big`" in project.fail("flash")
    assert "Booting rom 0" in project.build("boot-small")
    assert "Booting rom 1" in project.build("boot-big")
    assert "Booting rom 1" in project.build("boot-out/big")
    assert project.fail("boot-medium").endswith(
        "[boot-medium] unknown target: expected one of boot-small, boot-out/big, boot-big"
    )
    assert project.exists("small.bin")


def test_images_of_the_same_name_are_selected_by_path(project: Project) -> None:
    flash_image(project, "env.RbootFlashImage('a/flash.bin', roms)", "env.RbootFlashImage('b/flash.bin', roms)")
    project.build()
    for target in ("boot", "boot-flash"):
        assert "run `scons boot-a/flash` or `scons boot-b/flash`" in project.fail(target)
    assert "Booting rom 0" in project.build("boot-b/flash")


def test_a_file_or_an_alias_of_such_a_name_comes_first(project: Project) -> None:
    flash_image(
        project,
        "env.RbootFlashImage('small.bin', roms)",
        "env.Command('boot-notes', 'main.c', Copy('$TARGET', '$SOURCE'))",
        "env.Alias('flash-tool', 'main.c')",
    )
    project.build("boot-notes", "flash-tool")
    assert project.exists("boot-notes")


def test_the_pieces_are_those_of_the_command_line(project: Project) -> None:
    flash_image(project)
    project.build()
    found = tomlfile.parse_layout('flash_size = "1MB"\nsdk_data = false')
    pieces = {piece.name: piece.data for piece in image.split(project.read("flash.bin"), found)}
    assert pieces["rom1"] == project.read("app/rom1.bin")
    assert set(pieces) == {"loader", "config", "rom0", "rom1"}
    assert sys.executable


def test_init_data_go_into_a_flash_without_a_layout_file(project: Project) -> None:
    project.write("init.bin", bytes(range(128)))
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_FILES={{'phy_init': 'init.bin'}})\n"
        "env.RbootFlashImage('flash.bin', env.RbootApp('app', 'main.c'))\n",
    )
    project.build()
    assert project.read("flash.bin")[0xFC000:0xFC080] == bytes(range(128))

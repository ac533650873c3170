"""Applications on the SDK above the first megabyte: the override, the weak copy of libmain, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import chip, sdk
from support.project import ROOT, TOOL, Project

from rbootimg.emulator.qemu import BootEnd, BootOptions, boot
from rbootimg.errors import FitError
from rbootimg.flash.bootconfig import BootMode, RtcData
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.model import FlashLayout, Slot
from rbootimg.layout.presets import preset_layout
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.rom import elf
from rbootimg.rom.mapping import SYMBOL, check_mapping, mapping_notes

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

USER = """
extern int os_printf_plus(const char *, ...);
extern void Cache_Read_Enable_New(void);
#define FLASH __attribute__((section(".irom0.text"), noinline))
void user_pre_init(void) {}
int user_rf_cal_sector_set(void) { return 0; }
FLASH static void told(int n) { os_printf_plus("told %d\\n", n); }
void user_init(void)
{
    told(1);
    Cache_Read_Enable_New(); /* as after an access to the flash */
    told(2);
    for (;;) ;
}
"""
OWN = """
void Cache_Read_Enable_New(void)
{
    extern int os_printf_plus(const char *, ...);
    os_printf_plus("own\\n");
    ((void (*)(int, int, int))0x40004678)(1, 0, 1);
}
"""
SLOTS = {"4MB-big": (0x2000, 0x202000), "four-1MB": (0x2000, 0x102000, 0x202000, 0x302000)}
RTC = 'flash_size = "4MB"\nloader = {big_flash = true, rtc = true}\nslot = [{address = 0x2000}, {address = 0x302000}]\n'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdk.make(tmp_path_factory.mktemp("sdk") / "sdk")


@pytest.fixture
def app(project: Project, base: Path) -> Project:
    """An application on the SDK, in `layout.toml` or the layout that RBOOT_LAYOUT names."""
    project.write("main.c", USER)
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_LAYOUT=ARGUMENTS['RBOOT_LAYOUT'], LIBPATH=[{str(base / 'lib')!r}],\n"
        "    LIBS=['main', 'phy', 'net80211', 'pp'], LINKFLAGS='-u call_user_start',\n"
        f"    RBOOT_LDSCRIPT={str(base / 'ld' / 'eagle.app.v6.ld')!r})\n"
        "roms = env.RbootApp('app', Glob('*.c'))\n"
        "env.RbootFlashImage('flash.bin', roms)\n",
    )
    return project


def flash(project: Project, layout: FlashLayout, current: int) -> bytes:
    loader = chip.loader(layout.loader)
    roms = {number: project.read(f"app/rom{number}.bin") for number in range(len(layout.slots))}
    pieces = flash_pieces(layout, loader, roms, make_boot_config(layout, loader, current))
    return assemble(pieces, layout.size.bytes)


@pytest.mark.parametrize("name", SLOTS)
def test_an_application_on_the_sdk_runs_from_every_megabyte(app: Project, name: str) -> None:
    app.build(f"RBOOT_LAYOUT={name}")
    output = app.build("publish", f"RBOOT_LAYOUT={name}")
    assert f"\nproved {len(SLOTS[name])} ROMs with " in output
    layout = preset_layout(name)
    for number in range(len(layout.slots)):
        result = boot(flash(app, layout, number), BootOptions(until="told 2\n"))
        assert (result.ended, result.rom, result.crash) == (BootEnd.UNTIL, number, None), result.uart
    assert not list((ROOT / "rbootimg" / "firmware" / "bigflash").glob("*.o"))
    assert "up to date" in app.build(f"RBOOT_LAYOUT={name}")


def test_a_rom_that_boots_once_maps_its_own_megabyte(app: Project) -> None:
    app.write("board.toml", RTC)
    app.build("RBOOT_LAYOUT=board.toml")
    image = flash(app, parse_layout(RTC), 0)
    trial = RtcData(next_mode=BootMode.TEMP_ROM, temp_rom=1)
    result = boot(image, BootOptions(rtc=trial, until="told 2\n"))
    assert (result.ended, result.rom) == (BootEnd.UNTIL, 1), result.uart
    assert boot(image, BootOptions(until="told 2\n")).rom == 0


def test_an_override_of_the_applications_own_is_kept(app: Project) -> None:
    app.write("own.c", OWN)
    app.build("RBOOT_LAYOUT=4MB-big")
    result = boot(flash(app, preset_layout("4MB-big"), 1), BootOptions(until="own\n", timeout=2))
    assert result.ended == BootEnd.UNTIL, result.uart
    assert "maps megabyte 1 of the flash" in app.fail("publish", "RBOOT_LAYOUT=4MB-big")


def test_below_the_first_megabyte_nothing_is_added(app: Project) -> None:
    output = app.build("RBOOT_LAYOUT=1MB")
    assert "libmain-weak" not in output
    assert not app.exists("build/rboot/libmain-weak.a")


def test_a_changed_libmain_is_made_weak_again(app: Project, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base / "lib", tmp_path / "lib")
    app.write("SConstruct", app.read("SConstruct").decode().replace(str(base / "lib"), str(tmp_path / "lib")))
    app.build("RBOOT_LAYOUT=4MB-big")
    before = app.digest("build/rboot/libmain-weak.a")
    extra = tmp_path / "extra.c"
    extra.write_text("int extra_of_main = 5;\n")
    sdk.run_tool(tmp_path, "gcc", "-c", "extra.c", "-o", "extra.o")
    sdk.run_tool(tmp_path, "ar", "rs", "lib/libmain.a", "extra.o")
    assert "libmain-weak.a" in app.build("RBOOT_LAYOUT=4MB-big")
    assert app.digest("build/rboot/libmain-weak.a") != before


def linked_by_hand(base: Path, directory: Path, slot: Slot, *flags: str) -> bytes:
    """What a Makefile links that knows nothing of the override."""
    from rbootimg.rom.ldscript import slot_linker_script

    (directory / "main.c").write_text(USER)
    (directory / "slot.ld").write_bytes(slot_linker_script((base / "ld" / "eagle.app.v6.ld").read_bytes(), slot))
    command = ["gcc", "-Os", "-mlongcalls", "-mtext-section-literals", "-nostdlib", "-static", "-u", "call_user_start"]
    command += [*flags, f"-L{base / 'lib'}", f"-L{base / 'ld'}", "-T", "slot.ld", "-o", "app.elf", "main.c"]
    sdk.run_tool(directory, *command, "-Wl,--start-group", "-lmain", "-lphy", "-lnet80211", "-lpp", "-Wl,--end-group")
    return (directory / "app.elf").read_bytes()


HIGH = preset_layout("4MB-big").slots[1]
REFUSED = (
    f"{SYMBOL} is the SDK's function, which maps the first or second megabyte of the flash instead of that of slot 1 "
    "at 0x202000"
)


def test_without_the_override_it_is_refused(base: Path, tmp_path: Path, project: Project) -> None:
    program = linked_by_hand(base, tmp_path, HIGH)
    with pytest.raises(FitError, match="is the SDK's") as refused:
        check_mapping(program, HIGH)
    assert str(refused.value).startswith(REFUSED)
    check_mapping(program, preset_layout("4MB-big").slots[0])
    check_mapping(program, None)
    project.write("app.elf", program)
    project.write(
        "SConstruct",
        f"env = Environment({TOOL}, RBOOT_LAYOUT='4MB-big')\n"
        "env.RbootImage('rom.bin', 'app.elf', RBOOT_SLOT='0x202000')\n",
    )
    assert f"[rom.bin] app.elf: {SYMBOL} is the SDK's" in project.fail()
    assert not project.exists("rom.bin")
    done = subprocess.run(
        [sys.executable, "-m", "rbootimg", "pack", "app.elf", "-o", "rom.bin", "--slot", "0x202000"],
        cwd=project.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"rbootimg: app.elf: {SYMBOL} is the SDK's")


def test_of_a_stripped_elf_it_is_said_that_nothing_is_known(base: Path, tmp_path: Path) -> None:
    program = linked_by_hand(base, tmp_path, HIGH, "-s")
    check_mapping(program, HIGH)
    [note] = mapping_notes(program, HIGH)
    assert note == f"no symbols: not checked that Cache_Read_Enable_New maps the megabyte of {HIGH.label}"
    assert mapping_notes(program, preset_layout("1MB").slots[1]) == ()


def test_bare_metal_maps_the_flash_itself() -> None:
    program = chip.linked(chip.SOURCES["mixed"], HIGH)
    check_mapping(program, HIGH)
    assert mapping_notes(program, HIGH) == ()


def test_the_override_is_small_and_in_iram(app: Project) -> None:
    app.build("RBOOT_LAYOUT=4MB-big")
    program = app.read("app/rom0.elf")  # of both slots, which have one link address
    [found] = [symbol for symbol in elf.elf_symbols(program) if symbol.name == SYMBOL]
    assert 0x40100000 <= found.address < 0x40108000
    assert found.size <= 200

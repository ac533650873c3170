"""The update client and the layout that it was compiled for: it tells another one before it writes anything."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.images import rom
from support.ota_host import HARNESS, REASONS, SLOTS, Host, build, flash, reply, update
from support.project import ROOT, TOOL, Project
from support.update_host import PROD, SPARE, STRANGER

from rbootimg.flash.bootconfig import BootConfig
from rbootimg.flash.clientheader import client_header
from rbootimg.layout.model import FlashLayout
from rbootimg.layout.presets import preset_layout
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.release.signify import public_key_file

pytestmark = pytest.mark.needs("gcc", "xtensa-lx106-elf-gcc")

ONE_MB = 'flash_size = "1MB"\nslot = [{address = 0x2000}, {address = 0x82000, size = "64KB"}]\n'
FILES = range(0x92000, 0xC4000)
"""200 KB after slot 1, such as a file system."""


def board(loader: str = "") -> FlashLayout:
    return parse_layout(f"{ONE_MB}[loader]\n{loader}\n")


@functools.cache
def program(loader: str | None = "") -> Path:
    """The client for a layout, or for none."""
    directory = Path(tempfile.mkdtemp())
    if loader is None:
        return build(directory, HARNESS / "harness.c")
    (directory / "rboot-layout.h").write_text(client_header(board(loader)))
    return build(directory, HARNESS / "harness.c", options=["-DRBOOT_LAYOUT", f"-I{directory}"])


def reason(lines: list[str]) -> str:
    return REASONS[int(lines[-1].split()[1])]


def config(max_roms: int = 4, checksum: bool = False, roms: tuple[int, ...] = SLOTS, rest: bytes = b"") -> bytes:
    return BootConfig(roms).to_bytes(max_roms, checksum) + rest


@pytest.mark.parametrize("loader", ["", "config_checksum = true", "config_checksum = true\nmax_roms = 8", "rtc = true"])
@pytest.mark.parametrize("rest", [b"", b"\0\0\0", b"settings"])
def test_its_own_layout_is_updated(loader: str, rest: bytes) -> None:
    options = board(loader).loader
    host = Host(program(loader), flash(config(options.max_roms, options.config_checksum, rest=rest)))
    assert reason(update(host, reply())) == "OK"
    assert host.do("switch 1").run()[-1] == "switch 1"


@pytest.mark.parametrize(
    ("loader", "found"),
    [
        ("", config(checksum=True)),
        ("", config(checksum=True, rest=b"\0\0\0")),
        ("config_checksum = true", config()),
        ("config_checksum = true", config(8, checksum=True)),
        ("config_checksum = true\nmax_roms = 8", config(4, checksum=True)),
        ("", config(8, checksum=True)),
        ("", config(8, checksum=True, rest=b"\0\0\0")),
        (None, config(8, checksum=True)),
        ("max_roms = 8", config(4, checksum=True)),
        ("", config(roms=(0x2000, 0x80000))),
        ("", config(roms=(0x2000,))),
        ("", config(roms=(0x2000, 0x82000, 0xC2000))),
    ],
)
def test_another_layout_is_told_before_anything_is_written(loader: str | None, found: bytes) -> None:
    assert_refused(loader, flash(found))


@pytest.mark.parametrize("code", [0, 1])
def test_a_smaller_flash_is_told_before_anything_is_written(code: int) -> None:
    """Found: with a header of 512 KB an update was written at 0x82000, and the result was "done"."""
    assert_refused("", flash(config(), bytes((0xE9, 1, 0, code << 4))))


@pytest.mark.parametrize("code", [2, 3, 4, 5, 6, 8, 9])
def test_a_larger_flash_has_the_slots_all_the_same(code: int) -> None:
    host = Host(program(), flash(config(), bytes((0xE9, 1, 0, code << 4))))
    assert reason(update(host, reply())) == "OK"


def test_without_a_layout_the_flash_may_have_any_size() -> None:
    host = Host(program(None), flash(config(), b"\xe9\x01\x00\x30"))
    assert reason(update(host, reply())) == "OK"


def assert_refused(loader: str | None, before: bytes) -> None:
    host = Host(program(loader), before)
    lines = host.do("start 1 0 0 -", "reason", "switch 1").run()
    assert lines[0] == "start 0"
    assert REASONS[int(lines[1].split()[1])] == "LAYOUT"
    assert lines[1].endswith("built for another loader or flash layout")
    assert lines[2] == "switch 0"
    assert host.flash == before.ljust(0x100000, b"\xff")


def test_a_config_that_the_loader_would_not_take_is_not_written() -> None:
    """Found: with a config checksum only in the loader each switch was "done", and forgotten at the next start."""
    for loader in ("", None):
        before = flash(config(checksum=True))
        host = Host(program(loader), before)
        assert host.do("set-current 1").run()[-1].endswith(" 0")
        assert host.flash == before


def test_a_rom_larger_than_its_slot_touches_nothing() -> None:
    """Found: what was in the flash after the slot was overwritten, and the result was "done"."""
    large = rom(1, "big")
    assert 0x10000 < len(large) < 0xFB000 - 0x82000
    before = flash()
    host = Host(program(), before)
    assert reason(update(host, reply(large))) == "TOO_BIG"
    assert host.flash == before
    host = Host(program(None), before)
    assert reason(update(host, reply(large), requirements="10000 0 -")) == "TOO_BIG"
    assert host.flash[FILES.start : FILES.stop] == before[FILES.start : FILES.stop]


# The header


def test_the_header_has_the_loaders_options_and_the_slots() -> None:
    text = client_header(parse_layout(ONE_MB + "[loader]\nconfig_checksum = true\nrtc = true\nall_sizes = false\n"))
    lines = [line for line in text.splitlines() if line.startswith("#define ")]
    assert lines == [
        "#define RBOOT_LAYOUT_H",
        "#define BOOT_CONFIG_CHKSUM",
        "#define BOOT_RTC_ENABLED",
        "#define MAX_ROMS 4",
        "#define RBOOT_FLASH_SIZE 0x100000",
        "#define RBOOT_SLOTS {0x2000, 0x80000}, {0x82000, 0x10000} /* address and size of each */",
    ]


def test_the_command_line_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "rboot-layout.h"
    command = [sys.executable, "-m", "rbootimg", "layout", "4MB-big", "--client-header", "-o", path]
    subprocess.run(command, cwd=ROOT, check=True)
    assert path.read_text() == client_header(preset_layout("4MB-big"))


# The builder


FREESTANDING = TOOL.replace("-Os", "-Os -ffreestanding")
MAIN = """
#include "rboot-ota.h"
__attribute__((section(".irom0.text"), noinline)) int other(void) { return rboot_ota_running_rom() == 0; }
void call_user_start(void) { ((void (*)(int, int, int))0x40004678)(0, 0, 1); other(); }
"""


@pytest.fixture
def app(project: Project) -> Project:
    project.write("main.c", MAIN)
    project.write("rom.c", "void machine_restart(void) {}\n")
    project.write(
        "SConstruct",
        f"env = Environment({FREESTANDING}, RBOOT_LAYOUT=ARGUMENTS.get('RBOOT_LAYOUT', '1MB'))\n"
        "env.RbootApp('app', [*Glob('*.c'), *env.RbootOtaClient(port='emulator')])\n",
    )
    return project


def test_the_client_is_compiled_into_the_build(app: Project) -> None:
    before = set((ROOT / "rbootimg").rglob("*.o"))
    app.build()
    assert app.read("build/rboot/ota-client-emulator/rboot-layout.h").decode() == client_header(preset_layout("1MB"))
    assert app.exists("build/rboot/ota-client-emulator/rboot-ota.o")
    assert set((ROOT / "rbootimg").rglob("*.o")) == before
    assert "up to date" in app.build()
    output = app.build("RBOOT_LAYOUT=sming")
    assert "CC       build/rboot/ota-client-emulator/rboot-ota.o\n" in output
    assert "CC       main.o\n" in output


def test_the_package_may_be_read_only(app: Project, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name in ("rbootimg", "site_scons"):
        shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__", "*.o"))
    tool = f"toolpath=[{str(site / 'site_scons' / 'site_tools')!r}], CCFLAGS='-Os -ffreestanding'"
    app.write(
        "SConstruct",
        f"env = Environment(tools=['default', 'rboot'], {tool}, RBOOT_LAYOUT='1MB')\n"
        "[client] = env.RbootOtaClient(port='emulator')\n"
        "print(client.sources[0].sources[0])\n",
    )
    before = set(site.rglob("*"))
    for path in (site, *before):
        path.chmod(0o555 if path.is_dir() else 0o444)  # root writes all the same, so what is there is compared too
    environment = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        assert f"{site}/rbootimg/firmware" in app.build("build", environment=environment)
    finally:
        for path in (site, *before):
            path.chmod(0o755)
    assert set(site.rglob("*")) == before
    assert app.exists("build/rboot/ota-client-emulator/rboot-ota.o")


CLIENT = "build/rboot/ota-client-emulator"
SLOTS_OF = '#include "rboot-ota.h"\nconst unsigned slots[][2] = {RBOOT_SLOTS};\n'


def test_two_applications_share_it_and_layouts_do_not_mix(app: Project) -> None:
    """Found: what was compiled for a second layout included the header of the first, the client itself too."""
    app.write("slots.c", SLOTS_OF)
    app.write("slots2.c", SLOTS_OF)
    app.write(
        "SConstruct",
        f"env = Environment({FREESTANDING}, RBOOT_LAYOUT='1MB')\n"
        "objects = env.RbootOtaClient(port='emulator')\n"
        "assert objects == env.RbootOtaClient(port='emulator', RBOOT_FLASH_MODE='dio')\n"
        "env.Object('slots.c')\n"
        "clone = env.Clone(RBOOT_LAYOUT='sming')\n"
        "clone.RbootOtaClient(port='emulator')\n"
        "clone.Object('slots2.c')\n",
    )
    app.build(".")
    for directory, compiled, name in ((CLIENT, "slots.o", "1MB"), (f"{CLIENT}-2", "slots2.o", "sming")):
        slots = b"".join(struct.pack("<II", slot.address, slot.size) for slot in preset_layout(name).slots)
        assert app.read(f"{directory}/rboot-layout.h").decode() == client_header(preset_layout(name))
        assert slots in app.read(f"{directory}/libota.a"), name
        assert slots in app.read(compiled), name


def test_one_environment_has_the_client_for_one_layout(app: Project) -> None:
    app.write(
        "SConstruct",
        f"env = Environment({FREESTANDING}, RBOOT_LAYOUT='1MB')\n"
        "env.RbootOtaClient(port='emulator')\n"
        "env.RbootOtaClient(port='emulator', RBOOT_LAYOUT='sming')\n",
    )
    assert "RbootOtaClient: this environment has a client for another layout; use a Clone()" in app.run().err


def test_an_application_takes_no_client_for_another_layout(app: Project) -> None:
    app.write(
        "SConstruct",
        f"env = Environment({FREESTANDING}, RBOOT_LAYOUT='1MB')\n"
        "env.RbootApp('app', [*Glob('*.c'), *env.RbootOtaClient(port='emulator')], RBOOT_LAYOUT='sming')\n",
    )
    why = f"app: {CLIENT}/libota.a was compiled by RbootOtaClient for another layout; use the same"
    assert why in app.run().err


# Keys

UPDATE_MAIN = """
#include "rboot-update.h"
#include "rboot-ota.h"
const bool has_keys =
#ifdef RBOOT_UPDATE_KEYS
    true;
#else
    false;
#endif
void __attribute__((section(".irom0.text"))) update(const rboot_update *update) { rboot_update_start(update); }
void call_user_start(void) { update(0); }
"""


@pytest.fixture
def signed(project: Project) -> Project:
    for key in (PROD, SPARE):
        (project.directory / f"{key.name}.pub").write_bytes(public_key_file(key.public))
    project.write("main.c", UPDATE_MAIN)
    return project


def keys_sconstruct(keys: str, more: str = "") -> str:
    return (
        f"env = Environment({FREESTANDING}, RBOOT_LAYOUT='1MB')\n"
        f"client = env.RbootOtaClient(port='emulator', RBOOT_UPDATE_KEYS={keys}{more})\n"
        "env.RbootApp('app', ['main.c', client])\n"
    )


def test_the_public_keys_are_compiled_in(signed: Project) -> None:
    signed.write("SConstruct", keys_sconstruct("['prod.pub', File('spare.pub')]", ", RBOOT_LOWEST_VERSION='v1.2.0'"))
    signed.build()
    rom = signed.read("app/rom1.bin")
    assert PROD.public.number + PROD.public.key + SPARE.public.number + SPARE.public.key in rom
    assert b"1.2.0\0" in rom
    assert "up to date" in signed.build()
    (signed.directory / "prod.pub").write_bytes(public_key_file(STRANGER.public))
    assert "ota_signature.o" in signed.build()
    assert STRANGER.public.key + SPARE.public.number in signed.read("app/rom1.bin")


def test_a_client_with_keys_links_no_path_to_an_unsigned_rom(signed: Project) -> None:
    signed.write("SConstruct", keys_sconstruct("'prod.pub'"))
    signed.write("main.c", UPDATE_MAIN.replace("rboot_update_start(update)", "rboot_ota_start((rboot_ota *)update)"))
    signed.build()
    listed = subprocess.run(
        ["xtensa-lx106-elf-nm", signed.directory / "app" / "rom0.elf"], capture_output=True, text=True, check=True
    ).stdout
    assert "rboot_ota_start" in listed
    assert "end_update" not in listed


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("'lost.pub'", "lost.pub: cannot read the public key: No such file or directory"),
        ("'main.c'", "main.c: not a public key: expected a file of signify or `rbootimg keygen`, such as prod.pub"),
        ("'prod.pub weak.pub'", "weak.pub: unsafe public key"),
        ("['prod.pub', 'prod.pub']", "RBOOT_UPDATE_KEYS: the same key twice"),
        ("[]", "RBOOT_UPDATE_KEYS: no files given"),
        ("['prod.pub'] * 5", "RBOOT_UPDATE_KEYS: invalid number of keys: expected 1 to 4, got 5"),
        ("'prod.pub', RBOOT_LOWEST_VERSION='1.2'", "RBOOT_LOWEST_VERSION: invalid version '1.2'"),
    ],
)
def test_keys_that_cannot_be_used_are_one_line(signed: Project, keys: str, why: str) -> None:
    weak = PROD.public._replace(key=(1).to_bytes(32, "little"))
    (signed.directory / "weak.pub").write_bytes(public_key_file(weak))
    signed.write("SConstruct", keys_sconstruct(keys))
    said = signed.run()
    assert why in said.err
    assert not signed.exists("app")


def test_one_environment_has_the_client_with_one_set_of_keys(signed: Project) -> None:
    signed.write("SConstruct", keys_sconstruct("'prod.pub'") + "env.RbootOtaClient(port='emulator')\n")
    why = "RbootOtaClient: this environment has a client with other keys or another RBOOT_LOWEST_VERSION; use a Clone()"
    assert why in signed.run().err


def test_an_application_takes_no_two_clients_with_different_keys(signed: Project) -> None:
    signed.write(
        "SConstruct",
        f"env = Environment({FREESTANDING}, RBOOT_LAYOUT='1MB')\n"
        "one = env.RbootOtaClient(port='emulator', RBOOT_UPDATE_KEYS='prod.pub')\n"
        "other = env.Clone().RbootOtaClient(port='emulator')\n"
        "env.RbootApp('app', ['main.c', one, other])\n",
    )
    assert "were compiled by RbootOtaClient with different keys; use one of them" in signed.run().err


def test_keys_are_not_for_the_command_line(signed: Project) -> None:
    signed.write("SConstruct", keys_sconstruct("'prod.pub'"))
    assert "RBOOT_UPDATE_KEYS: unknown variable" in signed.run("RBOOT_UPDATE_KEYS=spare.pub").err


def test_a_port_that_is_not_there_is_one_line(app: Project) -> None:
    app.write("SConstruct", f"env = Environment({TOOL})\nenv.RbootOtaClient(port='rtos')\n")
    assert "RbootOtaClient: unknown port 'rtos': expected nonos or emulator" in app.run().err

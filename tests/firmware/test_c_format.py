"""The constants of the formats: the C code has each once, in rboot_format.h, with the value that Python has."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.ota_host import HARNESS, SOURCES
from support.project import ROOT

from rbootimg.emulator import proof, qemu
from rbootimg.flash import bootconfig, loader
from rbootimg.flash.bootconfig import BootConfig, BootMode, RtcData
from rbootimg.layout import memory, model, params
from rbootimg.rom import fit, format, mapping

FIRMWARE = ROOT / "rbootimg" / "firmware"
HEADER = FIRMWARE / "rboot_format.h"
STRICT = ("-Wall", "-Wextra", "-Werror", "-fsyntax-only")

_DEFINE = re.compile(r"^#define (\w+) (.+?)(?: +/\*.*)?$", re.MULTILINE)
_HEX = re.compile(r"\b0[xX][0-9a-fA-F]+")
_COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', re.DOTALL)

# Where each field is, told by the bytes.
_CONFIG = BootConfig((0x11111111,) * 100, current_rom=77, gpio_rom=88).to_bytes(max_roms=100)
_RTC = RtcData(last_rom=77, temp_rom=88).to_bytes()

PYTHON: list[tuple[str, int]] = [
    ("ESP8266_DRAM_START", memory.DRAM.start),
    ("ESP8266_DRAM_END", memory.DRAM.end),
    ("ESP8266_IRAM_START", memory.IRAM.start),
    ("ESP8266_IRAM_END", memory.IRAM.end),
    ("ESP8266_WINDOW_START", memory.WINDOW_START),
    ("ESP8266_WINDOW_SIZE", memory.WINDOW_SIZE),
    ("ESP8266_SECTOR_SIZE", memory.SECTOR_SIZE),
    ("ESP8266_MAX_FLASH_SIZE", qemu.FLASH_SIZES[1]),
    ("ESP8266_MAX_FLASH_SIZE", max(size.bytes for size in params.FLASH_SIZES.values())),
    ("ESP8266_SDK_TAIL_SIZE", model.SDK_TAIL_SIZE),
    ("ESP8266_IMAGE_MAGIC", format.RAM_MAGIC),
    *((f"ESP8266_FLASH_{name.upper()}", code) for name, code in (params.FLASH_MODES | params.FLASH_FREQS).items()),
    *((f"ESP8266_FLASH_{size.name.upper().replace('-', '_')}", size.code) for size in params.FLASH_SIZES.values()),
    ("RBOOT_CHECKSUM_SEED", format.CHECKSUM_SEED),
    ("RBOOT_ALIGNMENT", format.ALIGNMENT),
    ("RBOOT_MAX_SECTIONS", fit.MAX_SECTIONS),
    ("RBOOT_ROM_MAGIC", format.IROM_MAGIC),
    ("RBOOT_ROM_COUNT", format.IROM_COUNT),
    ("RBOOT_IROM_OFFSET", memory.IROM_OFFSET),
    ("RBOOT_IROM_OFFSET", format.HEADER.size + format.SECTION_HEADER.size),
    ("RBOOT_UNKNOWN_FLASH_SIZE", loader._UNKNOWN_SIZE),
    ("RBOOT_CONFIG_SECTOR", memory.CONFIG_ADDRESS // memory.SECTOR_SIZE),
    ("RBOOT_CONFIG_ADDRESS", memory.CONFIG_ADDRESS),
    ("RBOOT_FIRST_SLOT", memory.FIRST_SLOT_ADDRESS),
    ("RBOOT_CONFIG_MAGIC", bootconfig.MAGIC[0]),
    ("RBOOT_CONFIG_VERSION", bootconfig.MAGIC[1]),
    ("RBOOT_CONFIG_CURRENT_ROM", _CONFIG.index(77)),
    ("RBOOT_CONFIG_CURRENT_ROM", bootconfig.CURRENT_ROM_OFFSET),
    ("RBOOT_CONFIG_COUNT", _CONFIG.index(100)),
    ("RBOOT_CONFIG_COUNT", bootconfig.COUNT_OFFSET),
    ("RBOOT_CONFIG_ROMS", _CONFIG.index(0x11)),
    ("RBOOT_CONFIG_ROMS", bootconfig.address_offset(0)),
    ("RBOOT_DEFAULT_MAX_ROMS", bootconfig.MAX_ROMS),
    *((f"RBOOT_MODE_{mode.name}", mode.value) for mode in BootMode),
    ("RBOOT_RTC_MAGIC", bootconfig._RTC_MAGIC),
    ("RBOOT_RTC_LAST_ROM", _RTC.index(77)),
    ("RBOOT_RTC_CHECKSUM", bootconfig._RTC.size),
    # Python never touches RTC memory and pins, its documentation names the address.
    ("RBOOT_RTC_START", int(re.findall(r"0x\w+", RtcData.__doc__ or "")[0], 16)),
    ("RBOOT_RTC_BLOCK", 64),
    ("ESP8266_RTC_USER", 0x60001100),
    ("ESP8266_GPIO_IN", 0x60000318),
    ("ESP8266_RTC_GPIO_IN", 0x6000078C),
]
"""What the constants of the header are in Python; of some there is more than one."""

# What rBoot's own headers call it, for applications.
RBOOT_NAMES = {
    "SECTOR_SIZE": 0x1000,
    "BOOT_CONFIG_SECTOR": 1,
    "BOOT_CONFIG_MAGIC": 0xE1,
    "BOOT_CONFIG_VERSION": 0x01,
    "CHKSUM_INIT": 0xEF,
    "MAX_ROMS": 4,
    "MODE_STANDARD": 0x00,
    "MODE_GPIO_ROM": 0x01,
    "MODE_TEMP_ROM": 0x02,
    "MODE_GPIO_ERASES_SDKCONFIG": 0x04,
    "MODE_GPIO_SKIP": 0x08,
    "RBOOT_RTC_MAGIC": 0x2334AE68,
    "RBOOT_RTC_ADDR": 64,
}

LAYOUTS = {
    "sizeof(esp8266_image_header)": format.HEADER.size,
    "sizeof(esp8266_section_header)": format.SECTION_HEADER.size,
    "offsetof(rboot_config, mode)": bootconfig.MODE_OFFSET,
    "offsetof(rboot_config, current_rom)": bootconfig.CURRENT_ROM_OFFSET,
    "offsetof(rboot_config, gpio_rom)": bootconfig.GPIO_ROM_OFFSET,
    "offsetof(rboot_config, count)": bootconfig.COUNT_OFFSET,
    "offsetof(rboot_config, roms)": bootconfig.address_offset(0),
    "sizeof(rboot_rtc_data)": len(_RTC),
    "offsetof(rboot_rtc_data, last_rom)": _RTC.index(77),
    "offsetof(rboot_rtc_data, temp_rom)": _RTC.index(88),
    "offsetof(rboot_rtc_data, chksum)": bootconfig._RTC.size,
}


def constants() -> dict[str, int]:
    """The header's constants: numbers, and sums and products of those before."""
    found: dict[str, int] = {}
    for name, text in _DEFINE.findall(HEADER.read_text()):
        numbers = re.sub(r"[A-Z]\w*", lambda match: str(found[match[0]]), text) if text[0] == "(" else text
        assert re.fullmatch(r"\((?:[0-9]+|[ +*])+\)|0x[0-9A-F]+|[0-9]+", numbers), f"{name} is {text}"
        assert name not in found, name
        found[name] = int(eval(numbers))
    return found


def sources() -> list[Path]:
    """The C code that uses the header: not examples/hello, which needs nothing of ours, nor the tests' own SDK."""
    directories = (FIRMWARE, ROOT / "examples" / "ota", HARNESS)
    found = [
        path for directory in directories for path in sorted(directory.rglob("*")) if path.suffix in (".c", ".h", ".S")
    ]
    return [path for path in found if path != HEADER and path.name != "sdk_partitions.c" and path.parent.name != "sdk"]


def code(path: Path) -> str:
    """The file without comments and strings."""
    return _COMMENT_OR_STRING.sub(" ", path.read_text())


def test_each_constant_of_the_header_is_pythons() -> None:
    header = constants()
    assert {name: value for name, value in PYTHON if header.get(name) != value} == {}
    assert set(header) - {name for name, _ in PYTHON} == set()


def test_the_header_has_nothing_that_no_code_uses() -> None:
    words = {word for path in sources() for word in re.findall(r"\w+", code(path))}
    words |= {word for _, text in _DEFINE.findall(HEADER.read_text()) for word in re.findall(r"\w+", text)}
    assert set(constants()) - words == set()


def test_no_constant_stands_a_second_time() -> None:
    """But for small numbers, which mean anything."""
    header = {value: name for name, value in constants().items() if value > 0x40}
    # As two bytes of a word.
    header |= {0x04EA: "RBOOT_ROM_MAGIC and RBOOT_ROM_COUNT", 0x01E1: "RBOOT_CONFIG_MAGIC and RBOOT_CONFIG_VERSION"}
    assert len(sources()) > 25
    again = [
        f"{path.relative_to(ROOT)}: {literal} is {header[int(literal, 16)]}"
        for path in sources()
        for literal in _HEX.findall(code(path))
        if int(literal, 16) in header
    ]
    assert again == []


@pytest.mark.parametrize("compiler", ["gcc", "xtensa-lx106-elf-gcc"])
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.needs("gcc", "xtensa-lx106-elf-gcc")
def test_rboots_names_and_structures_are_as_ever(tmp_path: Path, compiler: str, checksum: bool) -> None:
    config = BootConfig((0x2000,)).to_bytes(checksum=checksum)
    checks = {**RBOOT_NAMES, **LAYOUTS, "sizeof(rboot_config)": (len(config) + 3) // 4 * 4}  # whole words
    if checksum:
        checks["offsetof(rboot_config, chksum)"] = len(config) - 1
    lines = [f'_Static_assert({what} == {value}, "{what} is not {value}");' for what, value in checks.items()]
    source = tmp_path / "checks.c"
    source.write_text("\n".join(["#include <stddef.h>", '#include "rboot.h"', *lines, ""]))
    flags = ["-std=c11", "-ffreestanding", *STRICT, f"-I{SOURCES}", *(["-DBOOT_CONFIG_CHKSUM"] if checksum else [])]
    done = subprocess.run([compiler, *flags, source], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("standard", ["c++98", "c++20"])
@pytest.mark.needs("gcc")
def test_applications_in_cpp_can_use_it(standard: str) -> None:
    flags = [f"-std={standard}", "-pedantic", *STRICT, f"-I{SOURCES}"]
    source = '#include "rboot-ota.h"\nint mode = MODE_TEMP_ROM;\n'
    done = subprocess.run(["g++", *flags, "-x", "c++", "-"], input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", ["firmware/loader/loader.ld", "ld/baremetal.ld"])
def test_linker_scripts_have_the_same_memory(script: str) -> None:
    text = (FIRMWARE.parent / script).read_text()
    (dram,) = re.findall(r"dram0_0_seg : org = (\w+), len = (\w+)", text)
    assert tuple(int(number, 16) for number in dram) == (memory.DRAM.start, memory.DRAM.size)
    (iram,) = re.findall(r"iram1_0_seg : org = (\w+), len = (\w+)", text)
    start, size = (int(number, 16) for number in iram)
    if script.endswith("loader.ld"):
        assert start >= memory.IRAM.end
    else:
        assert (start, size) == (memory.IRAM.start, memory.IRAM.size)


def test_the_mask_roms_functions_are_at_the_same_addresses() -> None:
    vectors = (FIRMWARE / "maskrom" / "vectors.S").read_text()
    ours = {name: int(address, 16) for address, name in re.findall(r"^ +function (0x\w+), (\w+)$", vectors, re.M)}
    script = (FIRMWARE.parent / "ld" / "maskrom.ld").read_text()
    linked = {name: int(address, 16) for name, address in re.findall(r"PROVIDE\((\w+) += (0x\w+)\);", script)}
    assert len(linked) > 30
    assert {name: address for name, address in linked.items() if name in ours and ours[name] != address} == {}
    assert set(linked.values()) <= set(ours.values())
    assert ours["Cache_Read_Enable"] == mapping._CACHE_READ_ENABLE
    assert (ours["ets_printf"], ours["SPIRead"]) == (proof._PRINTF, proof._SPI_READ)

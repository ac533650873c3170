"""A stand-in for Espressif's NONOS SDK: the headers of ota/sdk, a linker script in its manner, libraries of stubs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.project import ROOT

HEADERS = ROOT / "tests" / "ota" / "sdk"

SCRIPT = """\
MEMORY
{
  dram0_0_seg : org = 0x3FFE8000, len = 0x14000
  iram1_0_seg : org = 0x40100000, len = 0x8000
  irom0_0_seg : org = 0x40240000, len = 0x3C000 /* irom0_0_seg : org = 1, len = 2 */
}
PHDRS { dram PT_LOAD; iram PT_LOAD; irom PT_LOAD; }
ENTRY(call_user_start)
SECTIONS
{
  .data : ALIGN(4) { *(.data .data.*) } >dram0_0_seg :dram
  .rodata : ALIGN(4) { *(.rodata .rodata.*) } >dram0_0_seg :dram
  .bss (NOLOAD) : ALIGN(8) { *(.bss .bss.* COMMON) } >dram0_0_seg :dram
  .text : ALIGN(4) { *(.literal .text .literal.* .text.*) } >iram1_0_seg :iram
  .irom0.text : ALIGN(4) { *(.irom0.literal .irom0.text .irom.text) } >irom0_0_seg :irom
}
INCLUDE "../ld/addresses.ld"
"""

ROM_ADDRESSES = """\
PROVIDE ( os_printf_plus = 0x400024cc );
PROVIDE ( ets_memcpy = 0x400018b4 );
PROVIDE ( ets_memset = 0x400018a4 );
PROVIDE ( ets_strcmp = 0x40002aa8 );
PROVIDE ( ets_strlen = 0x40002ac8 );
PROVIDE ( ets_strstr = 0x40002ad8 );
PROVIDE ( Cache_Read_Enable = 0x40004678 );
PROVIDE ( SPIRead = 0x40004b1c );
"""

LIBRARIES = ("c", "gcc", "hal", "phy", "net80211", "lwip", "wpa", "main", "pp", "crypto")

PRE_INIT = " user_pre_init();"
PARTITIONS = '#include "sdk_partitions.c"\n'

# What is in a library beside a function of its own. Only start-up code is run: in a proof, up to the application.
STUBS = {
    "c": "int memcpy, memset;",
    "main": """
void user_init(void); void user_pre_init(void); extern int phy(void);
extern void Cache_Read_Enable(unsigned odd, unsigned pair, unsigned size);
static volatile unsigned char boots_second[4] /* set by nobody here: the SDK's own loader starts the first megabyte */
    __attribute__((section(".data"))); /* .bss is not cleared yet */
void Cache_Read_Enable_New(void)
{
    unsigned char second = boots_second[0];
    if (second == 0) {
        Cache_Read_Enable(0, 0, 1);
    } else if (second == 1) {
        Cache_Read_Enable(1, 0, 1);
    }
}
void call_user_start(void) { Cache_Read_Enable_New(); user_pre_init(); phy(); user_init(); }
int system_get_chip_id, system_get_rst_info, system_soft_wdt_feed;
int system_restart, system_init_done_cb, system_rtc_mem_read, system_rtc_mem_write;
int spi_flash_read, spi_flash_write, spi_flash_erase_sector;
int ets_timer_arm_new, ets_timer_disarm, ets_timer_setfn;
int wifi_set_event_handler_cb, wifi_set_opmode_current, wifi_station_set_config, wifi_station_get_config_default;
int wifi_station_connect, wifi_station_disconnect;
""",
    "phy": "int phy(void) { extern int net(void); return net(); }",
    "net80211": "int net(void) { extern int user_rf_cal_sector_set(void); return user_rf_cal_sector_set(); }",
    "lwip": """
int espconn_port, espconn_connect, espconn_disconnect, espconn_abort, espconn_send;
int espconn_gethostbyname;
int espconn_regist_connectcb, espconn_regist_disconcb, espconn_regist_reconcb, espconn_regist_recvcb;
""",
    "pp": """
#include "sdk_partitions.c"
const char *system_get_sdk_version(void) { return "9.9"; }
""",
}


def make(directory: Path, partitions: bool = True) -> Path:
    """The SDK, in a new `directory`; without `partitions` as SDK 2 is."""
    shutil.copytree(HEADERS, directory / "include", ignore=shutil.ignore_patterns("*.c", "*.md"))
    stubs = STUBS
    if not partitions:
        stubs = {name: text.replace(PRE_INIT, "").replace(PARTITIONS, "") for name, text in STUBS.items()}
        header = directory / "include" / "user_interface.h"
        before, rest = header.read_text().split("typedef enum {\n    SYSTEM_PARTITION_INVALID")
        header.write_text(before + rest.partition("uint32 map);\n")[2])
    for name in ("ld", "lib", "bin"):
        (directory / name).mkdir()
    (directory / "ld" / "eagle.app.v6.ld").write_bytes(SCRIPT.replace("\n", "\r\n").encode())
    (directory / "ld" / "addresses.ld").write_text(ROM_ADDRESSES)
    (directory / "bin" / "esp_init_data_default_v08.bin").write_bytes(bytes(range(5, 133)))
    for name in LIBRARIES:
        source = directory / f"{name}.c"
        source.write_text(stubs.get(name, f"int unused_{name};\n"))
        options = ("-mlongcalls", "-mtext-section-literals", "-Os", "-Iinclude", f"-I{HEADERS.parent}")
        run_tool(directory, "gcc", *options, "-c", source.name, "-o", f"{name}.o")
        run_tool(directory, "ar", "rcs", f"lib/lib{name}.a", f"{name}.o")
    return directory


def run_tool(directory: Path, tool: str, *arguments: str) -> None:
    """Run a tool of the cross compiler."""
    subprocess.run([f"xtensa-lx106-elf-{tool}", *arguments], cwd=directory, check=True, capture_output=True)

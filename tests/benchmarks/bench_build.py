"""How long a build with nothing to do takes, and a clean one. Run by hand; 1,000 applications take minutes to build.

    PYTHONPATH=tests python tests/benchmarks/bench_build.py [NUMBER OF APPLICATIONS ...]    (default: 100 500; 0: none)

Beside the one, in turn: an empty SConstruct, and the same applications with SCons's own builders, two Programs
and two packed files for each, without any linker script or check. Beside the other: make with the same commands, and
with both linker scripts there already. It packs nothing, as if esptool2 took no time at all.
"""

from __future__ import annotations

import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from support import sdk
from support.project import ROOT

from rbootimg import preset_layout, slot_linker_script

SOURCE = """
extern int ets_printf(const char *, ...);
__attribute__((section(".irom0.text"), noinline)) void in_flash(void) {{ ets_printf("application {0}"); }}
void call_user_start(void) {{ in_flash(); }}
"""
TOOLPATH = f"toolpath=[{str(ROOT / 'site_scons' / 'site_tools')!r}]"
OURS = f"""
env = Environment(tools=["default", "rboot"], {TOOLPATH}, CCFLAGS="-Os")
for number in range({{0}}):
    env.RbootApp(f"app{{{{number}}}}", f"src/app{{{{number}}}}.c")
"""
PACKED = f"""
env = Environment(tools=["rboot"], {TOOLPATH})
for number in range({{0}}):
    env.RbootImage([f"app{{{{number}}}}/rom{{{{slot}}}}.bin" for slot in (0, 1)],
                   [f"../apps{{0}}/app{{{{number}}}}/rom{{{{slot}}}}.elf" for slot in (0, 1)])
"""
PLAIN = """
def pack(target, source, env):
    with open(str(source[0]), "rb") as elf, open(str(target[0]), "wb") as rom:
        rom.write(elf.read())

env = Environment(tools=["default"], CC="xtensa-lx106-elf-gcc", LINK="xtensa-lx106-elf-gcc", CCFLAGS="-Os -mlongcalls")
env["LINKFLAGS"] = ["-nostdlib", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-ecall_user_start"]
env["BUILDERS"]["Pack"] = Builder(action=Action(pack, "Packing $TARGET"))
for number in range({0}):
    object = env.Object(f"app{{number}}/main.o", f"../apps{0}/src/app{{number}}.c")
    for slot in (0, 1):
        program = env.Program(f"app{{number}}/rom{{slot}}.elf", object)
        env.Pack(f"app{{number}}/rom{{slot}}.bin", program)
"""

FLAGS = "-Os -g -Wall -D__ets__ -DICACHE_FLASH"
LIBRARIES = " ".join(sdk.LIBRARIES)
SDK_OURS = f"""
env = Environment(tools=["default", "rboot"], {TOOLPATH}, CCFLAGS="{FLAGS}", CPPPATH="sdk/include")
env["RBOOT_LDSCRIPT"], env["LIBPATH"], env["LIBS"] = "sdk/ld/eagle.app.v6.ld", "sdk/lib", Split("{LIBRARIES}")
VariantDir("build", "src", duplicate=False)
env.RbootApp("build/app", Glob("build/*.c"))
"""
SDK_MAKE = f"""
CFLAGS = -mlongcalls -mtext-section-literals {FLAGS} -Isdk/include
INPUTS = -Wl,--start-group $(addprefix -l,{LIBRARIES}) $(OBJECTS) -Wl,--end-group
OBJECTS = $(patsubst src/%.c,made/%.o,$(wildcard src/*.c))
.SECONDARY:
all: made/rom0.elf made/rom1.elf
made/%.o: src/%.c | made
\txtensa-lx106-elf-gcc -o $@ -c $(CFLAGS) $<
made/%.elf: $(OBJECTS)
\txtensa-lx106-elf-gcc -o $@ -nostdlib -static -Lsdk/lib -Lsdk/ld -T $*.ld $(INPUTS)
made:
\tmkdir -p $@
"""
SDK_SOURCE = """
#include "user_interface.h"
#include "osapi.h"
#include "espconn.h"
#include "spi_flash.h"

static struct {{ uint32 count[64]; uint8 buffer[128]; }} state{0};

"""
SDK_FUNCTION = """
uint32 ICACHE_FLASH_ATTR work{0}_{1}(const uint8 *data, uint32 length)
{{
    uint32 sum = {1};
    for (uint32 i = 0; i < length; i++) {{
        sum = sum * 31 + (data[i] ^ state{0}.buffer[(i + {1}) % sizeof state{0}.buffer]);
        if ((sum & 15) == {1})
            state{0}.count[i % 64] += sum;
    }}
    os_printf("work %u: %u of %u\\n", {1}, sum, length);
    return sum;
}}
"""


def run(directory: Path, *command: str) -> float:
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run(command, cwd=directory, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


def scons(directory: Path, *arguments: str) -> float:
    return run(directory, sys.executable, "-m", "SCons", "-Q", *arguments)


def compare(builds: Mapping[str, Callable[[], float]], runs: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in builds}
    for _ in range(runs):
        for name, build in builds.items():
            times[name].append(build())
    for name, values in times.items():
        print(f"  {name:<40}{statistics.median(values):6.3f} s  ({min(values):.3f} to {max(values):.3f})", flush=True)
    return {name: statistics.median(values) for name, values in times.items()}


def nothing_to_do(directories: Mapping[str, Path], runs: int) -> None:
    compare({name: functools.partial(scons, directory) for name, directory in directories.items()}, runs)


def sdk_application(directory: Path, files: int) -> Path:
    """An application of `files` sources on a stand-in for the SDK, for SCons and for make."""
    project(directory, SDK_OURS)
    sdk.make(directory / "sdk")
    (directory / "src").mkdir()
    for file in range(files):
        functions = (SDK_FUNCTION.format(file, number) for number in range(4))
        (directory / "src" / f"file{file}.c").write_text(SDK_SOURCE.format(file) + "".join(functions))
    with (directory / "src" / "file0.c").open("a") as main:
        main.write("uint32 user_rf_cal_sector_set(void) { return 251; }\n")
        main.write("void user_pre_init(void) {}\nvoid user_init(void) { work0_0(0, 0); }\n")
    (directory / "Makefile").write_text(SDK_MAKE)
    base = (directory / "sdk" / "ld" / "eagle.app.v6.ld").read_bytes()
    for number, slot in enumerate(preset_layout("1MB").slots):
        (directory / f"rom{number}.ld").write_bytes(slot_linker_script(base, slot))
    return directory


def clean_build(directory: Path, *command: str) -> float:
    for name in ("build", "made"):
        shutil.rmtree(directory / name, ignore_errors=True)
    (directory / ".sconsign.dblite").unlink(missing_ok=True)
    return run(directory, *command)


def compare_with_make(directory: Path) -> None:
    builds = {
        name: functools.partial(clean_build, directory, *command, "-j2")
        for name, command in {"make": ("make",), "scons": (sys.executable, "-m", "SCons", "-Q")}.items()
    }
    medians = compare(builds, 9)
    print(f"  {'scons / make':<40}{medians['scons'] / medians['make']:6.2f}", flush=True)


def project(directory: Path, sconstruct: str) -> Path:
    directory.mkdir()
    (directory / "SConstruct").write_text(sconstruct)
    return directory


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        empty = project(top / "empty", "")
        hello = project(top / "hello", (ROOT / "examples" / "hello" / "SConstruct").read_text())
        (hello / "main.c").write_bytes((ROOT / "examples" / "hello" / "main.c").read_bytes())
        scons(hello)
        print("nothing to do:")
        nothing_to_do({"an empty SConstruct": empty, "examples/hello": hello}, 15)
        for files in (2, 60):
            print(f"an application on the SDK of {files} files, clean, -j2:")
            compare_with_make(sdk_application(top / f"sdk{files}", files))
        for count in filter(None, map(int, sys.argv[1:] or ("100", "500"))):
            apps = project(top / f"apps{count}", OURS.format(count))
            (apps / "src").mkdir()
            for number in range(count):
                (apps / "src" / f"app{number}.c").write_text(SOURCE.format(number))
            packed = project(top / f"packed{count}", PACKED.format(count))
            plain = project(top / f"plain{count}", PLAIN.format(count))
            print(f"{count} applications x 2 slots, nothing to do:", flush=True)
            for directory in (apps, packed, plain):
                scons(directory, "-j", str(os.cpu_count()))
            nothing_to_do({"RbootApp": apps, "RbootImage of ready ELFs": packed, "SCons's own builders": plain}, 5)


if __name__ == "__main__":
    main()

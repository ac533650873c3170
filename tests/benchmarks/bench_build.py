"""How long a build with nothing to do takes. Run by hand; 1,000 applications take some minutes to build.

    PYTHONPATH=tests python tests/benchmarks/bench_build.py [NUMBER OF APPLICATIONS ...]

Beside it, in turn: an empty SConstruct, and the same applications with SCons's own builders, two Programs
and two packed files for each, without any linker script or check.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support.project import ROOT

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


def run(folder: Path, *arguments: str) -> float:
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run(
        [sys.executable, "-m", "SCons", "-Q", *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def compare(folders: dict[str, Path], runs: int) -> None:
    times: dict[str, list[float]] = {name: [] for name in folders}
    for _ in range(runs):
        for name, folder in folders.items():
            times[name].append(run(folder))
    for name, values in times.items():
        print(f"  {name:<40}{statistics.median(values):6.2f} s  ({min(values):.2f} to {max(values):.2f})", flush=True)


def project(folder: Path, sconstruct: str) -> Path:
    folder.mkdir()
    (folder / "SConstruct").write_text(sconstruct)
    return folder


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        empty = project(top / "empty", "")
        hello = project(top / "hello", (ROOT / "examples" / "hello" / "SConstruct").read_text())
        (hello / "main.c").write_bytes((ROOT / "examples" / "hello" / "main.c").read_bytes())
        run(hello)
        print("nothing to do:")
        compare({"an empty SConstruct": empty, "examples/hello": hello}, 15)
        for count in map(int, sys.argv[1:] or ("100", "500")):
            apps = project(top / f"apps{count}", OURS.format(count))
            (apps / "src").mkdir()
            for number in range(count):
                (apps / "src" / f"app{number}.c").write_text(SOURCE.format(number))
            packed = project(top / f"packed{count}", PACKED.format(count))
            plain = project(top / f"plain{count}", PLAIN.format(count))
            print(f"{count} applications x 2 slots, nothing to do:", flush=True)
            for folder in (apps, packed, plain):
                run(folder, "-j", str(os.cpu_count()))
            compare({"RbootApp": apps, "RbootImage of ready ELFs": packed, "SCons's own builders": plain}, 5)


if __name__ == "__main__":
    main()

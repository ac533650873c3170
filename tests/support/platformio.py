"""PlatformIO without its registry: the real program, and its packages laid by hand.

The platform is a stand-in for espressif8266 4.2.1: the parts of its builder that make firmware.elf and firmware.bin and
upload them, with the same variables, targets and commands. The framework is the SDK of support/sdk.py. The compiler is
that on PATH; esptool (tool-esptoolpy) is one that writes a file instead of a chip's flash.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import sdk
from .project import Run

PLATFORM = """
from platformio.public import PlatformBase

class Espressif8266Platform(PlatformBase):
    def is_embedded(self):
        return True
"""

BUILDER = r"""
import re
from os.path import join
from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Builder, Default, DefaultEnvironment

def _app_size(env):
    with open(env.GetActualLDScript()) as script:
        for line in script:
            if found := re.search(r"irom0_0_seg\s*:.+len\s*=\s*(0x[\da-f]+)", line.strip(), flags=re.I):
                env.BoardConfig().update("upload.maximum_size", int(found.group(1), 16))

env = DefaultEnvironment()
platform = env.PioPlatform()
env.Replace(
    AR="xtensa-lx106-elf-ar", AS="xtensa-lx106-elf-as", CC="xtensa-lx106-elf-gcc", CXX="xtensa-lx106-elf-g++",
    OBJCOPY="xtensa-lx106-elf-objcopy", RANLIB="xtensa-lx106-elf-ranlib", SIZETOOL="xtensa-lx106-elf-size",
    ARFLAGS=["rc"],
    SIZEPROGREGEXP=r"^(?:\.irom0\.text|\.text|\.text1|\.data|\.rodata|)\s+([0-9]+).*",
    SIZEDATAREGEXP=r"^(?:\.data|\.rodata|\.bss)\s+([0-9]+).*",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    PROGSUFFIX=".elf",
)
if env.get("PROGNAME", "program") == "program":
    env.Replace(PROGNAME="firmware")
target_elf = None
if "nobuild" in COMMAND_LINE_TARGETS:
    target_elf = join("$BUILD_DIR", "${PROGNAME}.elf")
    target_firm = join("$BUILD_DIR", "${PROGNAME}.bin")
else:
    target_elf = env.BuildProgram()
    target_firm = env.ElfToBin(join("$BUILD_DIR", "${PROGNAME}"), target_elf)
    env.Depends(target_firm, "checkprogsize")
AlwaysBuild(env.Alias("nobuild", target_firm))
target_buildprog = env.Alias("buildprog", target_firm, target_firm)
if env.get("PIOMAINPROG"):
    env.AddPreAction("checkprogsize", env.VerboseAction(
        lambda source, target, env: _app_size(env), "Retrieving maximum program size $SOURCE"))
target_size = env.AddPlatformTarget("size", target_elf, "$SIZETOOL -B -d $SOURCES", "Program Size")
upload_actions = []
if env.subst("$UPLOAD_PROTOCOL") == "esptool":
    env.Replace(
        UPLOADER=join(platform.get_package_dir("tool-esptoolpy") or "", "esptool.py"),
        UPLOADERFLAGS=["--chip", "esp8266", "--port", '"$UPLOAD_PORT"', "--baud", "$UPLOAD_SPEED", "write_flash"],
        UPLOADCMD='"$PYTHONEXE" "$UPLOADER" $UPLOADERFLAGS 0x0 $SOURCE',
    )
    for image in env.get("FLASH_EXTRA_IMAGES", []):
        env.Append(UPLOADERFLAGS=[image[0], env.subst(image[1])])
    env.Prepend(UPLOADERFLAGS=["--before", "no_reset", "--after", "soft_reset"])
    upload_actions = [
        env.VerboseAction(env.AutodetectUploadPort, "Looking for upload port..."),
        env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE"),
    ]
elif env.subst("$UPLOAD_PROTOCOL") == "custom":
    upload_actions = [env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE")]
env.AddPlatformTarget("upload", target_firm, upload_actions, "Upload")
Default([target_buildprog, target_size])
"""

FRAMEWORK = r"""
from os.path import join
from SCons.Script import Builder, DefaultEnvironment

env = DefaultEnvironment()
platform = env.PioPlatform()
SDK = platform.get_package_dir("framework-esp8266-nonos-sdk")
env.Append(
    CFLAGS=["-std=gnu99", "-Wno-implicit-function-declaration", "-Wl,-EL", "-fno-inline-functions", "-nostdlib"],
    CCFLAGS=["-Os", "-mlongcalls", "-mtext-section-literals", "-falign-functions=4", "-U__STRICT_ANSI__",
             "-ffunction-sections", "-fdata-sections", "-fno-builtin-printf"],
    LINKFLAGS=["-Os", "-nostdlib", "-Wl,--no-check-sections", "-Wl,-static", "-Wl,--gc-sections",
               "-u", "call_user_start"],
    CPPDEFINES=[("F_CPU", "$BOARD_F_CPU"), "__ets__", "ICACHE_FLASH"],
    CPPPATH=[join(SDK, "include")],
    LIBPATH=[join(SDK, "lib"), join(SDK, "ld")],
    LIBS=["c", "crypto", "gcc", "hal", "lwip", "main", "net80211", "phy", "pp", "wpa"],
    BUILDERS=dict(ElfToBin=Builder(action=env.VerboseAction(
        '"%s" -eo $SOURCE -bo $TARGET' % join(platform.get_package_dir("tool-esptool"), "esptool"),
        "Building $TARGET"), suffix=".bin")),
)
if not env.BoardConfig().get("build.ldscript", ""):
    env.Replace(LDSCRIPT_PATH=join(SDK, "ld", "eagle.app.v6.ld"))
address = {1048576: 0xfc000, 4194304: 0x3fc000}[int(env.BoardConfig().get("upload.maximum_size"))]
env.Append(FLASH_EXTRA_IMAGES=[
    ("0x10000", join("$BUILD_DIR", "${PROGNAME}.bin.irom0text.bin")),
    (hex(address), join(SDK, "bin", "esp_init_data_default.bin")),
    (hex(address + 0x2000), join(SDK, "bin", "blank.bin")),
])
libs = [env.BuildLibrary(join(SDK, "lib", "driver"), join(SDK, "driver_lib"))]
env.Prepend(LIBS=libs)
"""

# esptool 3: the options of the platform's command, and a file, $FAKE_FLASH, for the chip's flash.
ESPTOOL = r"""
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--chip", choices=["esp8266"], required=True)
parser.add_argument("--port", required=True)
parser.add_argument("--baud", type=int, required=True)
parser.add_argument("--before", choices=["default_reset", "no_reset"])
parser.add_argument("--after", choices=["hard_reset", "soft_reset"])
write = parser.add_subparsers(required=True).add_parser("write_flash")
for option in ("--flash_mode", "--flash_freq", "--flash_size"):
    write.add_argument(option, choices=["keep"], required=True)
write.add_argument("pieces", nargs="+")
pieces = parser.parse_args().pieces
flash = os.environ["FAKE_FLASH"]
data = bytearray(open(flash, "rb").read())
for address, name in zip(pieces[::2], pieces[1::2], strict=True):
    piece = open(name, "rb").read()
    print(f"Wrote {len(piece)} bytes at {int(address, 0):#010x}")
    data[int(address, 0) : int(address, 0) + len(piece)] = piece
open(flash, "wb").write(data)
"""


@dataclass(frozen=True)
class PlatformIO:
    """PlatformIO in an environment of Python, with its packages in `core`."""

    python: Path
    core: Path

    def run(self, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> Run:
        """Run `pio run` with `arguments` in the project in `directory`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RBOOT", "PLATFORMIO"))}
        if self.python != Path(sys.executable):  # its own packages, not those of this checkout
            kept.pop("PYTHONPATH", None)
        settings = {
            "PLATFORMIO_CORE_DIR": str(self.core),
            "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No",
            "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "99999",
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [self.python, "-m", "platformio", "run", *arguments],
            cwd=directory,
            env={**kept, **settings, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def build(self, directory: Path, *arguments: str, **environment: str) -> str:
        """Run `pio run`, which must succeed; what it printed after PlatformIO's introduction."""
        run = self.run(directory, *arguments, environment=environment)
        assert run.status == 0, run.text
        return run.text.partition("Building in release mode\n")[2]

    def fail(self, directory: Path, *arguments: str, **environment: str) -> str:
        """Run `pio run`, which must fail without a traceback; the line that says why."""
        run = self.run(directory, *arguments, environment=environment)
        assert run.status == 1, run.text
        assert "Traceback" not in run.text
        assert "  File " not in run.text
        [line] = [line for line in run.err.splitlines() if line.startswith(("Error: ", "*** "))]
        return line


def make(python: Path, core: Path) -> PlatformIO:
    """Lay PlatformIO's packages into the new directory `core`, for the PlatformIO of `python`."""
    wanted = "import json; from platformio.dependencies import get_core_dependencies as g; print(json.dumps(g()))"
    found = subprocess.run([python, "-c", wanted], capture_output=True, text=True, check=True)
    scons = _package(core, "tool-scons", json.loads(found.stdout)["tool-scons"].removeprefix("~"))
    (scons / "scons.py").write_text("import SCons.Script\nSCons.Script.main()\n")
    framework = sdk.make(_path(core, "framework-esp8266-nonos-sdk"))
    _package(core, framework.name, "3.0.0")
    (framework / "driver_lib").mkdir()
    (framework / "driver_lib" / "driver.c").write_text("int unused_driver;\n")
    shutil.copy(framework / "bin" / "esp_init_data_default_v08.bin", framework / "bin" / "esp_init_data_default.bin")
    (framework / "bin" / "blank.bin").write_bytes(b"\xff" * 0x1000)
    (_package(core, "tool-esptoolpy", "1.30000.0") / "esptool.py").write_text(ESPTOOL)
    esptool = _package(core, "tool-esptool", "1.413.0") / "esptool"
    esptool.write_text('#!/bin/sh\necho "tool-esptool was run" >&2\nexit 1\n')
    esptool.chmod(0o755)
    _platform(core)
    return PlatformIO(python, core)


def _path(core: Path, name: str) -> Path:
    return core / "packages" / name


def _package(core: Path, name: str, version: str) -> Path:
    directory = _path(core, name)
    _manifest(directory, "tool", "package.json", {"name": name, "version": version})
    return directory


def _manifest(directory: Path, kind: str, file: str, manifest: dict[str, object]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / file).write_text(json.dumps(manifest))
    name = manifest["name"]
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    installed = {"type": kind, "name": name, "version": manifest["version"], "spec": spec}
    (directory / ".piopm").write_text(json.dumps(installed))


def _platform(core: Path) -> None:
    directory = core / "platforms" / "espressif8266"
    framework = {"package": "framework-esp8266-nonos-sdk", "script": "builder/frameworks/esp8266-nonos-sdk.py"}
    frameworks = dict.fromkeys(("esp8266-nonos-sdk", "esp8266-rtos-sdk", "arduino"), framework)
    packages = {
        "framework-esp8266-nonos-sdk": {"type": "framework", "optional": True, "version": "*"},
        "tool-esptool": {"type": "uploader", "version": "*"},
        "tool-esptoolpy": {"type": "uploader", "version": "*"},
    }
    manifest = {"name": "espressif8266", "title": "Espressif 8266", "version": "4.2.1"}
    _manifest(directory, "platform", "platform.json", {**manifest, "frameworks": frameworks, "packages": packages})
    (directory / "platform.py").write_text(PLATFORM)
    (directory / "builder" / "frameworks").mkdir(parents=True)
    (directory / "builder" / "main.py").write_text(BUILDER)
    (directory / "builder" / "frameworks" / "esp8266-nonos-sdk.py").write_text(FRAMEWORK)
    (directory / "boards").mkdir()
    for name, size, mode in (("esp01_1m", 1048576, "qio"), ("nodemcuv2", 4194304, "dio")):
        board = {
            "build": {"mcu": "esp8266", "f_cpu": "80000000L", "f_flash": "40000000L", "flash_mode": mode},
            "frameworks": [*frameworks],
            "name": name,
            "upload": {
                "maximum_ram_size": 81920,
                "maximum_size": size,
                "speed": 115200,
                "protocol": "esptool",
                "protocols": ["esptool", "espota"],
            },
            "url": "http://localhost",
            "vendor": "none",
        }
        (directory / "boards" / f"{name}.json").write_text(json.dumps(board))

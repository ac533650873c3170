"""C++ names as people write them, in what `size`, `compare` and a crash say, by the real c++filt."""

from __future__ import annotations

import json
import os
import resource
import string
import subprocess
import time
from pathlib import Path

import pytest
from support import chip
from support.programs import run_module
from support.project import ROOT, VECTORS

from rbootimg.emulator import qemu
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.presets import preset_layout
from rbootimg.rom import demangle, elf
from rbootimg.rom.demangle import TOOLS
from rbootimg.rom.format import Rom
from rbootimg.rom.pack import pack

MIXED = VECTORS / "mixed.rom0.elf"
MANGLED, PLAIN = "_ZN3app8in_flashEi", "app::in_flash(int)"

needs_filt = pytest.mark.needs(TOOLS[0])


def run(*arguments: object, status: int = 0, path: object = os.environ["PATH"]) -> str:
    """Run rbootimg with programs on this PATH; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": str(path)}
    done = run_module("rbootimg", *map(str, arguments), env=environment)
    assert done.returncode == status, done.stderr
    return done.stdout


def tool(directory: Path, script: str, name: str = TOOLS[0]) -> None:
    """A c++filt that is this shell script."""
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all of PATH."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


@pytest.fixture
def in_cpp(tmp_path: Path) -> Path:
    """The ELF `mixed` with a function of C++."""
    path = tmp_path / "app.elf"
    subprocess.run(["xtensa-lx106-elf-objcopy", f"--redefine-sym=in_flash={MANGLED}", MIXED, path], check=True)
    return path


# Names


@needs_filt
def test_mangled_names_are_told_in_cpp() -> None:
    assert demangle.demangle(
        [MANGLED, f"{MANGLED}+0x8", "_ZTV3App", "_Z4loopv.constprop.0", "_Znonsense", "loop", "_Z1f\n", "_Z1f x"]
    ) == {
        MANGLED: PLAIN,
        f"{MANGLED}+0x8": f"{PLAIN}+0x8",
        "_ZTV3App": "vtable for App",
        "_Z4loopv.constprop.0": "loop() [clone .constprop.0]",
    }


def test_c_filt_is_asked_once_and_only_for_mangled_names(alone: Path, tmp_path: Path) -> None:
    tool(alone, f'echo asked >>{tmp_path}/log; while read name; do echo "plain $name"; done')
    assert demangle.demangle(["loop", "", "main+0x8"]) == {}
    assert not (tmp_path / "log").exists()
    names = [f"_Z{number}f" for number in range(1000)]
    assert demangle.demangle((*names, "loop")) == {name: f"plain {name}" for name in names}
    assert (tmp_path / "log").read_text() == "asked\n"


def test_the_toolchains_own_comes_before_that_of_the_machine(alone: Path) -> None:
    assert demangle.demangle(["_Z1fv"]) == {}
    tool(alone, "echo theirs", TOOLS[1])
    assert demangle.demangle(["_Z1fv"]) == {"_Z1fv": "theirs"}
    tool(alone, "echo ours")
    assert demangle.demangle(["_Z1fv"]) == {"_Z1fv": "ours"}


@pytest.mark.parametrize("script", ["exit 1", "kill -SEGV $$", "exec </dev/null", "printf 'half a line'"])
def test_a_tool_that_fails_leaves_the_names_as_they_are(alone: Path, script: str) -> None:
    tool(alone, script)
    assert demangle.demangle([f"_Z{number}f" for number in range(20_000)]) == {}


def test_a_tool_that_cannot_be_started_leaves_the_names_as_they_are(alone: Path) -> None:
    (alone / TOOLS[0]).write_bytes(b"\x7fELF")
    (alone / TOOLS[0]).chmod(0o755)
    assert demangle.demangle(["_Z1fv"]) == {}


def test_a_tool_that_hangs_is_not_waited_for(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demangle, "_SECONDS", 0.3)
    tool(alone, "read name; echo plain; exec /bin/sleep 60")
    start = time.monotonic()
    assert demangle.demangle(["_Z1fv", "_Z1gv"]) == {"_Z1fv": "plain"}
    assert time.monotonic() - start < 5


def bomb(doublings: int) -> str:
    """A name of 10 letters more for each time that what it stands for becomes twice as long."""
    digits = string.digits + string.ascii_uppercase
    return "_Z1fSt4pairIiiE" + "".join(f"S_IS{digits[at]}_S{digits[at]}_E" for at in range(doublings))


@needs_filt
def test_a_name_that_stands_for_gigabytes_takes_neither_time_nor_memory() -> None:
    assert demangle.demangle([bomb(2)])[bomb(2)].count("int") == 14
    start = time.monotonic()
    assert demangle.demangle(["_Z1fv", bomb(26), "_Z1gv"])["_Z1fv"] == "f()"
    assert demangle.demangle([bomb(8)]) == {}  # more than anybody reads
    assert time.monotonic() - start < 4
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 400 << 10


# Where they are shown


@needs_filt
def test_size_shows_them(in_cpp: Path, tmp_path: Path) -> None:
    assert f"  {PLAIN}\n" in run("size", in_cpp)
    assert f"  {PLAIN}\n" in run("size", in_cpp, MIXED, "--by", "symbol")
    run("size", in_cpp, "--svg", tmp_path / "size.svg")
    assert PLAIN in (tmp_path / "size.svg").read_text()
    found = json.loads(run("size", in_cpp, MIXED, "--json"))
    for values in (found["by"], found["difference"]["by"]):
        named = {each["name"]: each.get("demangled") for each in values["symbol"]}
        assert named[MANGLED] == PLAIN
        assert [name for name, plain in named.items() if plain] == [MANGLED]


@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_without_c_filt_size_shows_what_is_in_the_elf(in_cpp: Path, alone: Path) -> None:
    assert f"  {MANGLED}\n" in run("size", in_cpp, path=alone)
    assert "demangled" not in run("size", in_cpp, "--json", path=alone)


@needs_filt
def test_compare_shows_them(in_cpp: Path, tmp_path: Path, alone: Path) -> None:
    rom = pack(elf.parse_elf(in_cpp.read_bytes()))
    function = next(symbol for symbol in elf.elf_symbols(in_cpp.read_bytes()) if symbol.name == MANGLED)
    other = bytearray(rom.irom)
    other[function.address + 8 - 0x40202010] ^= 1
    (tmp_path / "a.bin").write_bytes(rom.to_bytes())
    (tmp_path / "b.bin").write_bytes(Rom(rom.entry, bytes(other), rom.sections, rom.params).to_bytes())
    command = ("compare", tmp_path / "a.bin", tmp_path / "b.bin", "--elf0", in_cpp)
    assert f" in {PLAIN}+0x8: " in run(*command, status=1)
    assert f" in {MANGLED}+0x8: " in run(*command, status=1, path=alone)


@needs_filt
@pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")
def test_a_crash_shows_them() -> None:
    symbols = (elf.Symbol(MANGLED, 0x40202010, 16, "func"),)
    crash = qemu.Crash(28, 0x40202018, 0, ())
    assert (
        crash.describe(symbols)
        == f"LoadProhibited (load from an invalid address) at 0x40202018 ({PLAIN}+0x8), address 0x0"
    )
    assert (
        crash.describe(symbols, demangled=False)
        == f"LoadProhibited (load from an invalid address) at 0x40202018 ({MANGLED}+0x8), address 0x0"
    )


@needs_filt
@pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")
def test_boot_shows_them(tmp_path: Path) -> None:
    program = chip.compiled(
        """
        void fail(int) __asm__("_ZN3app4failEi");
        __attribute__((noinline)) void fail(int value) { *(volatile int *)0x20000000 = value; }
        __attribute__((section(".irom0.text"))) const int in_flash = 1;
        void call_user_start(void) { fail(1); }
        """
    )
    layout = preset_layout("1MB")
    loader = chip.loader(layout.loader)
    pieces = flash_pieces(
        layout, loader, {0: pack(elf.parse_elf(program)).to_bytes()}, make_boot_config(layout, loader)
    )
    (tmp_path / "app.elf").write_bytes(program)
    (tmp_path / "flash.bin").write_bytes(assemble(pieces, 0x100000))
    command = ("boot", tmp_path / "flash.bin", "--elf", tmp_path / "app.elf")
    assert "(app::fail(int)" in run(*command, status=1).splitlines()[0]
    found = json.loads(run(*command, "--json", status=1))
    assert "(_ZN3app4failEi" in found["crash"]
    assert found["demangled"].startswith("app::fail(int)")

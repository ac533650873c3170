"""The commands boot and prove."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support import chip
from support.programs import run_module

from rbootimg.flash.bootconfig import BootConfig
from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.layout.model import LoaderOptions
from rbootimg.layout.presets import preset_layout
from rbootimg.rom import elf
from rbootimg.rom.pack import pack

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

ROOT = chip.PACKAGE.parent
LAYOUT = preset_layout("1MB")

APP = """
extern int ets_printf(const char *, ...);
extern int uart_rx_one_char(unsigned char *), uart_tx_one_char(unsigned char);
extern int SPIEraseSector(int);
__attribute__((section(".irom0.text"))) const int in_flash = 1;
void call_user_start(void)
{
    unsigned char c = 0;
    ets_printf("%s\\r\\n", "ready");
    while (TYPING && c != '.')
        if (uart_rx_one_char(&c) == 0)
            uart_tx_one_char(c >= 'a' && c <= 'z' ? c - 32 : c);
    SPIEraseSector(0x70);
    CRASH;
}
"""


def app(typing: bool = False, crash: str = "") -> bytes:
    return chip.compiled(APP, f"-DTYPING={typing:d}", f"-DCRASH={crash}")


def flash(program: bytes, options: LoaderOptions = LAYOUT.loader) -> bytes:
    layout, loader = replace(LAYOUT, loader=options), chip.loader(options)
    pieces = flash_pieces(
        layout, loader, {0: pack(elf.parse_elf(program)).to_bytes()}, make_boot_config(layout, loader)
    )
    return assemble(pieces, 0x100000)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "flash.bin").write_bytes(flash(app()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, status: int = 0, typed: str | None = None) -> tuple[str, str]:
    """Run rbootimg; what it printed to stdout and to stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run_module("rbootimg", *arguments, env=environment, typed=typed or "", timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def failed(*arguments: str) -> str:
    line = run(*arguments, status=1)[1]
    assert line.count("\n") == 1
    return line.rstrip("\n")


def wrong_usage(*arguments: str) -> str:
    return run(*arguments, status=2)[1].splitlines()[-1].partition("error: ")[2]


# boot


def test_boot_says_how_it_ended(directory: Path) -> None:
    before = (directory / "flash.bin").read_bytes()
    out, err = run("boot", "flash.bin")
    assert err == ""
    lines = out.splitlines()
    assert lines[:3] == ["ended       application returned", "ROM         0", "resets      0"]
    assert lines[3].startswith("flash       ")
    assert lines[4:] == [
        "changed     erase of 4,096 bytes at 0x70000",
        "last lines  Flash Speed:  40 MHz",
        f"            {next(line.strip() for line in lines if 'Booting rom 0' in line)}",
        "            ready",
        "            user code done",
    ]
    assert (directory / "flash.bin").read_bytes() == before


def test_boot_prints_the_uart() -> None:
    out, err = run("boot", "flash.bin", "--uart")
    assert out.endswith("ready\nuser code done\n")
    assert "Booting rom 0 at 2000" in out
    assert err == ""


@pytest.mark.parametrize("option", ["--uart", "--interactive", "--json"])
def test_boot_names_a_stdout_that_is_full(option: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rbootimg", "boot", "flash.bin", option],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "rbootimg: stdout: No space left on device\n")


def test_boot_as_json() -> None:
    found = json.loads(run("boot", "flash.bin", "--json")[0])
    assert (found["ended"], found["rom"], found["crash"], found["misuse"]) == ("done", 0, None, [])
    assert found["operations"] == [{"kind": "erase", "address": 0x70000, "size": 4096}]
    assert "ready\r\n" in found["uart"]
    assert found["spi"]["erases"] == 1


def test_boot_names_the_function_that_crashed(directory: Path) -> None:
    program = app(crash="*(volatile int *)0x20000000 = 1")
    (directory / "app.elf").write_bytes(program)
    (directory / "flash.bin").write_bytes(flash(program))
    out, err = run("boot", "flash.bin", "--elf", "app.elf", status=1)
    assert out.startswith("ended       crash: LoadStorePIFAddrError (load or store at an unmapped address) at 0x401000")
    assert "(call_user_start+0x" in out
    assert err.startswith(
        "rbootimg: flash.bin: crash: LoadStorePIFAddrError (load or store at an unmapped address) at 0x401000"
    )
    assert err.endswith(", address 0x20000000\n")


def test_boot_waits_for_a_text(directory: Path) -> None:
    (directory / "flash.bin").write_bytes(flash(app(typing=True)))
    start = time.monotonic()
    assert run("boot", "flash.bin", "--until", "ready")[0].startswith("ended       matched --until\nROM         0\n")
    assert time.monotonic() - start < 4
    message = failed("boot", "flash.bin", "--until", "steady", "--timeout", "0.5")
    assert message == "rbootimg: flash.bin: no 'steady' on the UART: timed out (still running)"


def test_an_endless_application_is_not_an_error(directory: Path) -> None:
    (directory / "flash.bin").write_bytes(flash(app(typing=True)))
    out, _ = run("boot", "flash.bin", "--timeout", "0.5")
    assert out.startswith("ended       timed out (still running)\nROM         0\n")


def test_boot_of_a_flash_without_a_rom_or_a_loader(directory: Path) -> None:
    whole = (directory / "flash.bin").read_bytes()
    (directory / "flash.bin").write_bytes(whole[:0x2000] + b"\xff" * 0xFE000)
    assert failed("boot", "flash.bin") == "rbootimg: flash.bin: no ROM started; see the UART log"
    (directory / "flash.bin").write_bytes(b"\xff" * 0x100000)
    assert failed("boot", "flash.bin") == "rbootimg: flash.bin: no boot loader at flash 0x0"
    (directory / "flash.bin").write_bytes(b"\xff" * 1000)
    assert failed("boot", "flash.bin") == (
        "rbootimg: flash.bin: flash size must be a power of two from 256 KB to 16 MB, got 1,000 bytes"
    )


@pytest.mark.parametrize("checksum", [False, True])
def test_boot_of_another_slot_and_what_is_saved(directory: Path, checksum: bool) -> None:
    """There is no ROM in slot 1: the loader falls back, and writes its config again."""
    options = LoaderOptions(config_checksum=checksum)
    image = bytearray(flash(app(), options))
    image[0x1000 : 0x1000 + 25] = BootConfig((0x2000, 0x82000)).to_bytes(4, True)
    (directory / "flash.bin").write_bytes(image)
    out, _ = run("boot", "flash.bin", "--slot", "1", "--save", "after.bin")
    assert "ROM         0\n" in out
    assert "write of 4,096 bytes at 0x1000\n" in out
    assert (directory / "after.bin").read_bytes()[0x1000:0x101C] == image[0x1000:0x101C]
    (directory / "layout.toml").write_text('preset = "1MB"\n' + "[loader]\nconfig_checksum = true\n" * checksum)
    assert "Rom 1 at 82000 is bad." in run("boot", "flash.bin", "--slot", "1", "--layout", "layout.toml", "--uart")[0]
    assert "invalid current ROM 2: expected 0-1" in failed("boot", "flash.bin", "--slot", "2")
    assert "invalid slot number '-1': expected an integer >= 0" in wrong_usage("boot", "flash.bin", "--slot", "-1")


def test_a_low_pin_is_seen(directory: Path) -> None:
    options = LoaderOptions(gpio="rom")
    image = flash(app(), options)
    (directory / "flash.bin").write_bytes(image)
    assert "GPIO-selected" not in run("boot", "flash.bin", "--uart")[0]
    assert "Booting GPIO-selected rom." in run("boot", "flash.bin", "--uart", "--gpio-low")[0]


def test_the_error_names_the_file_that_is_wrong(directory: Path) -> None:
    (directory / "no.elf").write_bytes(b"text")
    assert failed("boot", "flash.bin", "--elf", "no.elf") == "rbootimg: no.elf: not an ELF file"
    for command in (("boot", "flash.bin", "--slot", "0"), ("prove", "flash.bin", "--elf", "no.elf")):
        message = "rbootimg: 3MB: neither a file nor a preset: expected one of"
        assert failed(*command, "--layout", "3MB").startswith(message)


def test_options_that_do_not_go_together() -> None:
    assert "--interactive cannot be combined with --json, --uart or --until" in wrong_usage(
        "boot", "flash.bin", "--interactive", "--json"
    )
    assert "--uart cannot be combined with --json" in wrong_usage("boot", "flash.bin", "--uart", "--json")
    assert "--layout requires --slot" in wrong_usage("boot", "flash.bin", "--layout", "1MB")
    for time_limit in ("0", "-1", "soon", "inf", "nan"):
        message = f"invalid timeout '{time_limit}': expected a positive number of seconds"
        assert message in wrong_usage("boot", "flash.bin", f"--timeout={time_limit}")


def test_what_is_piped_in_is_typed(directory: Path) -> None:
    (directory / "flash.bin").write_bytes(flash(app(typing=True)))
    out, err = run("boot", "flash.bin", "--interactive", "--save", "after.bin", typed="typed.")
    assert out.endswith("ready\nTYPED.user code done\n")
    assert err == ""
    assert (directory / "after.bin").exists()


def test_the_terminal_is_the_uart_until_ctrl_c_and_is_restored(directory: Path) -> None:
    (directory / "flash.bin").write_bytes(flash(app(typing=True)))
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "rbootimg", "boot", "flash.bin", "--interactive"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        shown = expect(ours, b"", b"ready")
        os.write(ours, b"hello")
        shown = expect(ours, shown, b"HELLO")
        assert b"hello" not in shown, "the terminal does not echo; the application does"
        assert not termios.tcgetattr(theirs)[3] & termios.ECHO
        os.write(ours, b"\x03")
        assert process.wait(10) == 0
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def expect(terminal: int, shown: bytes, wanted: bytes) -> bytes:
    deadline = time.monotonic() + 10
    while wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, shown
        shown += os.read(terminal, 1000)
    return shown


# prove


@pytest.fixture
def proved(directory: Path) -> Path:
    """A directory with a real application's two ROMs in flash.bin, and its ELFs."""
    loader, roms = chip.loader(LAYOUT.loader), {}
    for number in (0, 1):
        data = chip.linked(chip.SOURCES["mixed"], LAYOUT.slots[number])
        (directory / f"rom{number}.elf").write_bytes(data)
        roms[number] = pack(elf.parse_elf(data)).to_bytes()
    pieces = flash_pieces(LAYOUT, loader, roms, make_boot_config(LAYOUT, loader))
    (directory / "flash.bin").write_bytes(assemble(pieces, 0x100000))
    return directory


PROVE = ("prove", "flash.bin", "--layout", "1MB")


@pytest.mark.usefixtures("proved")
def test_prove_shows_what_was_proved() -> None:
    apps = [elf.parse_elf(chip.linked(chip.SOURCES["mixed"], slot)) for slot in LAYOUT.slots]
    sizes = [sum(section.size for section in app.sections if section.data) for app in apps]
    assert run(*PROVE, "--elf", "rom0.elf", "--elf", "rom1.elf")[0].splitlines() == [
        "flash.bin: 2 ROMs proved to boot, every byte in place",
        "  ROM  address     entry       bytes  ran until",
        f"  0    0x00002000  0x40100008  {sizes[0]:>5}  end",
        f"  1    0x00082000  0x40100008  {sizes[1]:>5}  end",
    ]
    found = json.loads(run(*PROVE, "--elf", "1=rom1.elf", "--json")[0])
    assert found["proved"] == [{"rom": 1, "address": 0x82000, "entry": 0x40100008, "bytes": sizes[1], "reached": "end"}]


def test_prove_fails_in_one_line(proved: Path) -> None:
    assert "expected 0x40202010 for slot 0 at 0x2000" in failed(*PROVE, "--elf", "0=rom1.elf")
    assert "invalid slot 7 to prove: expected 0-1" in failed(*PROVE, "--elf", "7=rom1.elf")
    assert failed(*PROVE, "--elf", "flash.bin") == "rbootimg: flash.bin: not an ELF file"
    image = bytearray((proved / "flash.bin").read_bytes())
    image[0x82020] ^= 1
    (proved / "flash.bin").write_bytes(image)
    message = failed(*PROVE, "--elf", "rom0.elf", "--elf", "rom1.elf")
    assert message.startswith("rbootimg: flash.bin: ROM for slot 1 at 0x82000: flash mismatch in .irom0")


@pytest.mark.usefixtures("proved")
def test_prove_looks_for_the_sections_that_were_packed() -> None:
    assert "1 ROM proved" in run(*PROVE, "--elf", "rom0.elf", "--section", ".text", "--section", ".data")[0]
    message = "rbootimg: flash.bin: no section .date with data; sections with data: "
    assert failed(*PROVE, "--elf", "rom0.elf", "--section", ".text", "--section", ".date").startswith(message)


def test_two_elfs_for_one_slot_are_wrong_usage(proved: Path) -> None:
    assert "--elf: slot 1 is given twice" in wrong_usage(*PROVE, "--elf", "1=rom0.elf", "--elf", "rom1.elf")


def test_ctrl_c_ends_a_boot_without_a_traceback(tmp_path: Path) -> None:
    image = tmp_path / "flash.bin"
    image.write_bytes(flash(app(typing=True)))
    command = [sys.executable, "-m", "rbootimg", "boot", str(image), "--uart", "--timeout", "60"]

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell has its background jobs ignore

    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, preexec_fn=heed
    ) as boot:
        assert boot.stdout is not None
        shown = b""
        while b"ready" not in shown and (data := boot.stdout.read(4096)):
            shown += data
        boot.send_signal(signal.SIGINT)
        _, errors = boot.communicate(timeout=30)
    assert (boot.returncode, errors) == (130, b"")

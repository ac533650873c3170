"""The commands monitor and decode, and the archive of ELFs that publish keeps."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import chip, crashes
from support.programs import ROOT, run_module
from support.uart import Device

from rbootimg.flash.image import assemble, flash_pieces, make_boot_config
from rbootimg.rom.elf import parse_elf
from rbootimg.rom.pack import pack

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("RBOOT_WEBROOT", "RBOOT_ELF_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    for slot in (0, 1):
        Path(f"rom{slot}.elf").write_bytes(crashes.elf(slot))
        Path(f"rom{slot}.bin").write_bytes(pack(parse_elf(crashes.elf(slot))).to_bytes())
    return tmp_path


def run(*arguments: str, status: int = 0, typed: str = "") -> tuple[str, str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run_module("rbootimg", *arguments, env=environment, typed=typed, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def publish(*options: str, version: str = "1.2.0") -> tuple[str, str]:
    words = ("publish", "rom0.bin", "rom1.bin", "--app", "sensor", "--layout", "1MB", "--version", version, *options)
    return run(*words, "--web-root", "web")


def log(rom: int = 0, line: str = "sensor 1.2.0") -> str:
    pc = crashes.address(crashes.elf(rom), "record") + 4
    return f"{crashes.boot_log(rom)}{line}\n{crashes.exception(pc)}"


def archived() -> list[str]:
    return sorted(str(path)[: -len("-.elf") - 64] for path in Path().glob("*elfs/*/*/*.elf"))


# decode


def test_decode_prints_the_log_with_functions_and_lines() -> None:
    Path("log.txt").write_text(log())
    out, err = run("decode", "log.txt", "--elf", "rom0.elf", "--elf", "rom1.elf")
    assert err == ""
    assert log().splitlines() == [line for line in out.splitlines() if not line.startswith("    ")]
    assert f"sensor.c:{crashes.RECORD}" in out
    assert "    ELF: rom0.elf\n" in out


def test_decode_reads_stdin() -> None:
    out = run("decode", "-", "--elf", "0=rom0.elf", "--elf", "1=rom1.elf", typed=log(1))[0]
    assert f"sensor.c:{crashes.RECORD}" in out
    assert "ELF: rom1.elf (ROM 1)" in out


def test_decode_as_json() -> None:
    Path("log.txt").write_text(log(1, "version 1.2.0"))
    found = json.loads(run("decode", "log.txt", "--elf", "rom1.elf", "--json")[0])
    assert found["schema"] == 1
    [report] = found["reports"]
    assert (report["kind"], report["rom"], report["version"], report["cause"]) == ("exception", 1, "1.2.0", 29)
    assert (report["elf"]["path"], report["elf"]["origin"]) == ("rom1.elf", "given")
    assert report["frames"][0]["places"][-1]["line"] == crashes.RECORD


def test_decode_names_a_file_that_is_missing() -> None:
    assert run("decode", "no.txt", status=1)[1] == "rbootimg: no.txt: No such file or directory\n"
    Path("log.txt").write_text(log())
    err = run("decode", "log.txt", "--elf", "no.elf", status=1)[1]
    assert err == "rbootimg: no.elf: No such file or directory\n"


def test_after_the_next_build_a_crash_of_the_published_version_is_decoded(directory: Path) -> None:
    publish()
    Path("log.txt").write_text(log(1))
    for path in (*directory.glob("rom*.elf"), *directory.glob("rom*.bin")):
        path.unlink()  # as the next build does
    out = run("decode", "log.txt", "--web-root", "web")[0]
    assert f"sensor.c:{crashes.RECORD}" in out
    assert "(sensor 1.2.0, ROM 1, archive)" in out
    assert "note:" not in out


def test_decode_says_what_it_searched() -> None:
    Path("log.txt").write_text(log())
    assert (
        "note: no ELF to look up addresses; searched web, .web-elfs" in run("decode", "log.txt", "--web-root", "web")[0]
    )


# The archive


def test_publish_keeps_the_elfs_beside_the_roms() -> None:
    assert publish()[1] == ""
    assert archived() == [".web-elfs/sensor/1.2.0/rom0", ".web-elfs/sensor/1.2.0/rom1"]
    assert not [*Path("web").rglob("*.elf")]


def test_publish_keeps_the_elfs_that_it_publishes() -> None:
    for slot in (0, 1):
        Path(f"rom{slot}.elf").rename(f"app{slot}.out")
    publish("--elf", "app0.out", "--elf", "app1.out")
    assert archived() == [".web-elfs/sensor/1.2.0/rom0", ".web-elfs/sensor/1.2.0/rom1"]


def test_an_elf_of_another_build_is_not_kept() -> None:
    Path("rom0.elf").write_bytes(crashes.elf(0, value=5))
    publish()
    assert archived() == [".web-elfs/sensor/1.2.0/rom1"]


def test_the_archive_can_be_elsewhere_or_nowhere() -> None:
    publish("--elf-archive", "my-elfs")
    publish("--elf-archive", "none", version="1.3.0")
    assert archived() == ["my-elfs/sensor/1.2.0/rom0", "my-elfs/sensor/1.2.0/rom1"]


def test_an_archive_in_the_web_root_is_refused_before_anything_is_published() -> None:
    words = ("publish", "rom0.bin", "--app", "sensor", "--layout", "1MB", "--version", "1.0.0", "--web-root", "web")
    err = run(*words, "--elf-archive", "web/elfs", status=1)[1]
    assert err == "rbootimg: --elf-archive: web/elfs is in the web root, which is public; expected another directory\n"
    assert not Path("web").exists()


def test_an_archive_that_cannot_be_written_is_a_warning() -> None:
    Path(".web-elfs").write_text("a file")
    out, err = publish()
    assert out.startswith("sensor 1.2.0 is current")
    assert err.startswith("rbootimg: warning: ELFs not archived: .web-elfs")


# monitor, with the emulator


def flash() -> bytes:
    loader = chip.loader(crashes.LAYOUT.loader)
    roms = {slot: Path(f"rom{slot}.bin").read_bytes() for slot in (0, 1)}
    pieces = flash_pieces(crashes.LAYOUT, loader, roms, make_boot_config(crashes.LAYOUT, loader, 1))
    return assemble(pieces, crashes.LAYOUT.size.bytes)


def test_monitor_turns_a_crash_in_the_emulator_into_file_and_line() -> None:
    Path("flash.bin").write_bytes(flash())
    words = ("monitor", "--emulate", "flash.bin", "--elf", "rom0.elf", "--elf", "rom1.elf", "--log", "log.txt")
    out, err = run(*words, status=1)
    assert "Booting rom 1 at 82000" in out
    assert f"sensor.c:{crashes.RECORD}" in out
    assert f"called from:\n    {out.partition('called from:')[2].split()[0]}  run at" in out
    assert "    ELF: rom1.elf\n" in out
    assert err.startswith("rbootimg: flash.bin: crash: LoadStorePIFAddrError")
    assert Path("log.txt").read_text() == out


def test_wrong_usage_of_monitor() -> None:
    for words, message in (
        (("--emulate", "flash.bin", "--port", "x"), "--emulate cannot be combined with --port, --baud or --reset"),
        (("--net", "localhost:80"), "--net requires --emulate"),
        (("--baud", "fast"), "argument -b/--baud: invalid baud rate 'fast': expected a positive integer, e.g. 460800"),
    ):
        assert run("monitor", *words, status=2)[1].splitlines()[-1] == f"rbootimg monitor: error: {message}"


# monitor, at a serial port


class Session:
    """`rbootimg monitor` on a terminal."""

    def __init__(self, *arguments: str) -> None:
        self._terminal, program = pty.openpty()
        self._before = termios.tcgetattr(program)
        self._program = program
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rbootimg", "monitor", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "NO_COLOR": "1"},
            stdin=program,
            stdout=program,
            stderr=program,
        )
        self.text = ""

    def wait_for(self, text: str) -> None:
        self.wait_until(lambda: text in self.text)

    def wait_until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not is_done():
            assert time.monotonic() < deadline, self.text
            if select.select([self._terminal], [], [], 0.05)[0]:
                self.text += os.read(self._terminal, 4096).decode().replace("\r\n", "\n")

    def type(self, keys: bytes) -> None:
        os.write(self._terminal, keys)

    def end(self) -> int:
        self.type(b"\x03")
        status = self.process.wait(20)
        assert termios.tcgetattr(self._program) == self._before, "the terminal is as it was"
        os.close(self._terminal)
        os.close(self._program)
        return status


def test_monitor_follows_a_device_from_rboot_to_its_crash() -> None:
    publish()
    with Device(74880) as device:
        session = Session("--port", device.port, "--web-root", "web", "--timestamps", "--log", "log.txt")
        session.wait_for("74880 baud; Ctrl-C quits")
        device.send(crashes.boot_log(1).replace("\n", "\r\n"))
        session.wait_for("Booting rom 1 at 82000")
        device.rate = 115200
        device.send("a line at another rate, which is unreadable until the rate is changed\r\n" * 2)
        session.wait_for("[unreadable: switched to 115200 baud]")
        device.send("\r\nsensor 1.2.0\r\n> ")
        session.wait_for("sensor 1.2.0\n")
        session.wait_for("> ")
        session.type(b"crash\r")
        session.wait_until(lambda: device.received == b"crash\r")
        device.send("\r\n" + crashes.exception(crashes.address(crashes.elf(1), "record") + 4).replace("\n", "\r\n"))
        session.wait_for(f"sensor.c:{crashes.RECORD}")
        session.wait_for("(sensor 1.2.0, ROM 1, archive)")
        assert session.end() == 0
    assert "(sensor 1.2.0, ROM 1, archive)" in Path("log.txt").read_text()


def test_monitor_ends_with_an_error_if_the_port_does() -> None:
    with Device(74880) as device:
        session = Session("--port", device.port)
        session.wait_for("Ctrl-C quits")
        device.unplug()
        session.wait_for("the port was closed")
        assert session.process.wait(20) == 1


def test_monitor_names_a_port_that_is_not_there() -> None:
    err = run("monitor", "--port", "/dev/no-such-port", status=1)[1]
    assert err == "rbootimg: /dev/no-such-port: cannot open the port: No such file or directory\n"

"""The update client's C code, built for the host with the sanitizers on: a process that does what it is told."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rbootimg.flash.bootconfig import BootConfig
from support.images import rom
from support.project import ROOT

SOURCES = ROOT / "rbootimg" / "firmware" / "ota"
UPDATE_SOURCES = ROOT / "rbootimg" / "firmware" / "update"
HARNESS = ROOT / "tests" / "ota"
STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SDK_COMPILER = (
    *("xtensa-lx106-elf-gcc", "-mlongcalls", "-mtext-section-literals", "-Os", "-ffreestanding"),
    *("-Wall", "-Wextra", "-Wpointer-arith", "-Wundef", "-Werror"),
    *("-D__ets__", "-DICACHE_FLASH", f"-I{SOURCES}", f"-I{UPDATE_SOURCES}"),
    *(f"-I{HARNESS / 'sdk'}", "-c"),
)
"""What compiles objects for the chip as the NONOS SDK does, with the SDK's double."""

# rboot_ota_reason, in its order.
_REASONS = """
    OK ARGUMENT BUSY CONFIG SLOT_IN_USE NO_CONNECTION CONNECTION_LOST TIMEOUT BAD_HTTP HEADER_SIZE STATUS
    REDIRECT BAD_ENCODING NO_LENGTH TOO_BIG TRUNCATED EXCESS_DATA NOT_A_ROM FLASH BAD_ROM DIGEST WRONG_SLOT
    NOT_A_VERSION LAYOUT NO_HOST NOT_AN_UPDATE UNSIGNED UNKNOWN_KEY BAD_SIGNATURE OTHER_APP OTHER_DEVICE
    OLD_SERIAL LOWEST_VERSION NO_ROM FAILED_TRIAL
"""
REASONS = _REASONS.split()

SLOTS = (0x2000, 0x82000)
ROM = rom(1)
HEADER_1MB = b"\xe9\x01\x00\x20"
CONFIG = BootConfig(SLOTS).to_bytes() + b"settings of the application"


def build(directory: Path, *sources: Path, options: Sequence[str] = ()) -> Path:
    """A program of the client and `sources`, in `directory`."""
    program = directory / "program"
    files = [*sources, *sorted(SOURCES.glob("*.c")), *sorted(UPDATE_SOURCES.glob("*.c"))]
    includes = [f"-I{SOURCES}", f"-I{UPDATE_SOURCES}"]
    command = ["gcc", *STRICT, *SANITIZERS, *options, *includes, *map(str, files), "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


class Host:
    """The client on a 1 MB flash. What is asked of it is done by `run`, in one process."""

    def __init__(self, program: Path, flash: bytes = b"") -> None:
        self._program = program
        self._directory = tempfile.TemporaryDirectory()
        self._commands: list[str] = []
        self._files = 0
        self.flash = flash.ljust(0x100000, b"\xff")
        self.do(f"load {self.file(self.flash)} 0")

    def file(self, data: bytes) -> Path:
        self._files += 1
        path = Path(self._directory.name, f"file{self._files}")
        path.write_bytes(data)
        return path

    def do(self, *commands: str) -> Host:
        self._commands += commands
        return self

    def data(self, data: bytes, piece: int = 0) -> Host:
        """The server sends this, in packets of `piece` bytes."""
        return self.do(f"file {self.file(data)} {piece}" if piece else f"data {data.hex()}")

    def run(self) -> list[str]:
        """What came of all that; `flash` is what is in the flash then. Fails on any misuse or finding."""
        after = Path(self._directory.name, "after")
        commands = "\n".join([*self._commands, f"save {after}", ""])
        done = subprocess.run(
            [self._program, after], input=commands, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.stderr == ""
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert not [line for line in lines if line.startswith("misuse")]
        self.flash = after.read_bytes()
        return lines


def flash(config: bytes = CONFIG, header: bytes = HEADER_1MB) -> bytes:
    """A 1 MB flash: ROM 0 runs, in slot 1 is what was there before, and all else has something in it."""
    chip = bytearray(b"\xa5" * 0x100000)
    chip[:4] = header
    chip[0x1000:0x2000] = config.ljust(0x1000, b"\xff")
    chip[0x2000 : 0x2000 + len(rom(0))] = rom(0)
    return bytes(chip)


def reply(body: bytes = ROM, length: int | None = None, status: str = "HTTP/1.1 200 OK", more: str = "") -> bytes:
    length = len(body) if length is None else length
    return f"{status}\r\nServer: test\r\nContent-Length: {length}\r\n{more}\r\n".encode() + body


def update(host: Host, answer: bytes = b"", piece: int = 1460, requirements: str = "0 0 -") -> list[str]:
    """A whole update of slot 1 whose server sends `answer` and closes."""
    host.do(f"start 1 {requirements}", "connected")
    if answer:
        host.data(answer, piece)
    return host.do("closed", "run", "reason").run()

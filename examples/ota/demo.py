"""`scons demo`: a device in the emulator updates itself over the air, from the web root that `scons publish` fills."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
from pathlib import Path

from rbootimg.emulator import confinement, qemu
from rbootimg.errors import RbootError
from rbootimg.serve import server
from rbootimg.serve.events import Event, State, Transfer
from rbootimg.views import server as serverview

HERE = Path(__file__).resolve().parent
COPY = HERE / "build" / "demo"
"""Where it is built, beside what `scons` builds here."""
FLASH = "build/emulator/flash.bin"
NEXT_VERSION = "(a new version is published)"
CTRL_C = "\x03"


def say(text: str) -> None:
    print(f"\n--- {text}", flush=True)


def scons(*arguments: str) -> None:
    """What a developer types."""
    say(f"scons {' '.join(arguments)}")
    command = [sys.executable, "-m", "SCons", "-Q", *arguments]
    bare_metal = {**os.environ, "SDK_BASE": ""}
    done = subprocess.run(command, cwd=COPY, env=bare_metal, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}demo: scons failed")
    print(done.stdout[done.stdout.find("PUBLISH") :], end="", flush=True)


class Screen:
    """What the device prints, and between its lines what the server has sent: that comes from another thread."""

    def __init__(self) -> None:
        self._sent: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._at_line_start = True

    def add_download(self, event: Event) -> None:
        if isinstance(event, Transfer) and event.state is not State.SENDING:
            self._sent.put(f"--- server: {serverview.line(event)}\n")

    def show_uart(self, text: bytes) -> None:
        while self._at_line_start and not self._sent.empty():
            sys.stdout.write(self._sent.get())
        sys.stdout.write(text.decode(errors="replace").replace("\r", ""))
        sys.stdout.flush()
        self._at_line_start = text.endswith(b"\n")


def main() -> None:
    """Publish 1.0.0, switch the device on, publish 1.1.0 while it runs, and let it update itself."""
    warning = confinement.check(os.environ.get("RBOOT_CONFINE", ""))
    if warning:
        print(f"demo: warning: {warning}", file=sys.stderr)
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(HERE, COPY, ignore=shutil.ignore_patterns("build", "*.o", "*.elf", "*.bin", ".sconsign.dblite"))
    scons("RBOOT_VERSION=1.0.0", FLASH, "publish")
    keyboard, typing = os.pipe()
    lines = iter(("check", NEXT_VERSION, "ota", "info", "confirm", "restart", "info", CTRL_C))
    printed = bytearray()
    screen = Screen()

    def on_uart(text: bytes) -> None:
        screen.show_uart(text)
        printed.extend(text)
        if printed.endswith(b"\n> "):
            printed.clear()
            line = next(lines)
            if line == NEXT_VERSION:
                scons("RBOOT_VERSION=1.1.0", "publish")
                line = ""
            os.write(typing, line.encode() + b"\n")

    with server.serving(COPY / "build" / "webroot", on_event=screen.add_download) as listening:
        say(f"rbootimg serve --port {listening.port}")
        say(f"rbootimg boot {FLASH} --interactive --net localhost:{listening.port}")
        flash = (COPY / FLASH).read_bytes()
        address = (listening.host, listening.port)
        options = qemu.BootOptions(timeout=60, net=address)
        result = qemu.boot(flash, options, on_uart=on_uart, keyboard=keyboard)
    print()
    if result.ended is not qemu.BootEnd.KEYBOARD or result.rom != 1:
        sys.exit(f"demo: the device has not updated itself; it ended with: {result.ended.text}")


if __name__ == "__main__":
    try:
        main()
    except RbootError as error:
        sys.exit(f"demo: {error}")

"""`scons demo`: a device in the emulator updates itself over the air, from the web root that `scons publish` fills."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
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
PUBLISHED = COPY / "build" / "webroot" / "update"
CTRL_C = "\x03"
DEVICE_OPTIONS = ("KEYS=prod.pub", "TRIAL_SECONDS=15")
SIGN = "RBOOT_SIGN_KEY=prod.key"


def say(text: str) -> None:
    print(f"\n--- {text}", flush=True)


def run(shown: str, *command: str) -> str:
    """Run what a developer types, which is shown as `shown`."""
    say(shown)
    bare_metal = {**os.environ, "SDK_BASE": ""}
    done = subprocess.run(command, cwd=COPY, env=bare_metal, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}demo: {shown.split()[0]} failed")
    return done.stdout


def scons(*arguments: str) -> None:
    printed = run(f"scons {' '.join(arguments)}", sys.executable, "-m", "SCons", "-Q", *DEVICE_OPTIONS, *arguments)
    print(printed[max(printed.find("PUBLISH"), 0) :], end="", flush=True)


def keygen(name: str) -> None:
    run(f"rbootimg keygen {name}", sys.executable, "-m", "rbootimg", "keygen", "--no-passphrase", name)


def publish(version: str, *more: str) -> None:
    scons(f"RBOOT_VERSION={version}", "publish", SIGN, *more)


def forge() -> None:
    """Somebody on the network answers with a newer release, signed with a key of theirs."""
    keygen("forger")
    scons("RBOOT_VERSION=9.9.9", "publish", "RBOOT_SIGN_KEY=forger.key", "RBOOT_WEBROOT=build/forged")
    say("the network answers with the forged file `update`")
    PUBLISHED.replace(PUBLISHED.with_name("update.published"))
    shutil.copy(COPY / "build" / "forged" / "update", PUBLISHED)


def unforge() -> None:
    say("the network is as before")
    PUBLISHED.with_name("update.published").replace(PUBLISHED)


def scenes() -> Iterator[str | Callable[[], None]]:
    """What is done when the device waits for a command, and what is typed then."""
    yield lambda: publish("1.1.0")
    yield "update"
    yield "info"
    yield forge
    yield "update"
    yield unforge
    yield lambda: publish("1.2.0", "SERVER=nowhere.invalid:80")
    yield "update"
    yield "update"  # after it has reverted
    yield lambda: publish("1.3.0")
    yield "update"
    yield lambda: scons("rollback", "RBOOT_ROLLBACK=1.1.0", SIGN)
    yield "update"
    yield "info"
    yield CTRL_C


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
    """A device that runs 1.0.0 gets an update, refuses a forged one, reverts a bad one, and follows a rollback."""
    warning = confinement.check(os.environ.get("RBOOT_CONFINE", ""))
    if warning:
        print(f"demo: warning: {warning}", file=sys.stderr)
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(HERE, COPY, ignore=shutil.ignore_patterns("build", "*.o", "*.elf", "*.bin", ".sconsign.dblite"))
    keygen("prod")
    publish("1.0.0", FLASH)
    keyboard, typing = os.pipe()
    steps = scenes()
    printed = bytearray()
    screen = Screen()

    def on_uart(text: bytes) -> None:
        screen.show_uart(text)
        printed.extend(text)
        if printed.endswith(b"\n> "):
            printed.clear()
            step = next(steps)
            if callable(step):
                step()
                step = ""
            os.write(typing, step.encode() + b"\n")

    with server.serving(COPY / "build" / "webroot", on_event=screen.add_download) as listening:
        say(f"rbootimg serve --port {listening.port}")
        say(f"rbootimg boot {FLASH} --interactive --net localhost:{listening.port}")
        flash = (COPY / FLASH).read_bytes()
        address = (listening.host, listening.port)
        options = qemu.BootOptions(timeout=300, net=address)
        result = qemu.boot(flash, options, on_uart=on_uart, keyboard=keyboard)
    print()
    if result.ended is not qemu.BootEnd.KEYBOARD or result.rom != 1:
        sys.exit(f"demo: the device has not followed the releases; it ended with: {result.ended.text}")


if __name__ == "__main__":
    try:
        main()
    except RbootError as error:
        sys.exit(f"demo: {error}")

"""examples/ota as a user runs it: `scons demo`, `rbootimg boot --net`, and without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.ota_device import copy_example, run_scons
from support.project import TOOL, Project

from rbootimg.serve.server import serving

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

FLASH = "build/emulator/flash.bin"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with version 1.0.0 in its flash and 1.1.0 in its web root."""
    directory = copy_example(tmp_path_factory.mktemp("example") / "ota")
    run_scons(directory, FLASH)
    run_scons(directory, "RBOOT_VERSION=1.1.0", "publish")
    return directory


def boot(directory: Path, *arguments: str, typed: str, status: int = 0) -> str:
    command = [sys.executable, "-m", "rbootimg", "boot", FLASH, "--interactive", *arguments]
    done = subprocess.run(command, cwd=directory, input=typed, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (status, "")
    return done.stdout.replace("\r", "")


def test_the_demo_shows_four_scenes(example: Path) -> None:
    said = run_scons(example, "demo")
    expected = (
        ("rbootimg keygen prod", "published app 1.0.0", "signed with prod"),
        ("Booting rom 0 at 2000", "version 1.0.0, ROM 0"),
        # An update.
        ("scons RBOOT_VERSION=1.1.0 publish", "> update", "restarting into 1.1.0", "Booting temp rom."),
        ("version 1.1.0, ROM 1", "on trial until", "confirmed: ROM 1 is permanent", "ROM 1 at 0x82000, current"),
        # A forged release.
        ("published app 9.9.9", "signed with forger", "> update", "failed: signed with an unknown key"),
        # A release that cannot reach its server.
        ("scons RBOOT_VERSION=1.2.0 publish", "> update", "restarting into 1.2.0", "version 1.2.0, ROM 0"),
        ("failed: host not found", "restarting into the old ROM", "version 1.1.0, ROM 1"),
        ("> update", "failed: ROM failed its trial before"),
        # A rollback.
        ("scons RBOOT_VERSION=1.3.0 publish", "> update", "version 1.3.0, ROM 0", "confirmed: ROM 0 is permanent"),
        ("scons rollback RBOOT_ROLLBACK=1.1.0", "> update", "restarting into 1.1.0", "version 1.1.0, ROM 1"),
        ("confirmed: ROM 1 is permanent", "> info", "running ROM 1"),
    )
    place = 0
    for text in (text for row in expected for text in row):
        assert text in said[place:], f"{text!r} is not there, or not after what comes before it: {said}"
        place = said.index(text, place) + len(text)
    assert re.search(r"server: 127\.0\.0\.1  GET /releases/1\.1\.0/rom1\.bin  200  done, [\d,]+ bytes", said)
    assert "GET /releases/1.1.0" not in said[said.index("scons rollback") :], "it is still in its slot"


def test_what_is_typed_updates_the_device_from_the_server_of_net(example: Path) -> None:
    with serving(example / "build" / "webroot") as listening:
        said = boot(example, "--net", f"localhost:{listening.port}", "--timeout", "3", typed="update\n")
    assert "> update\nrestarting into 1.1.0\n" in said
    assert said.endswith("confirmed: ROM 1 is permanent\n> ")


def test_scons_boot_has_the_network_of_rboot_net(example: Path) -> None:
    with serving(example / "build" / "webroot") as listening:
        said = run_scons(example, "boot", f"RBOOT_NET=localhost:{listening.port}", typed="update\n")
    assert "restarting into 1.1.0" in said


def test_a_rboot_net_that_is_no_address_is_one_line(project: Project) -> None:
    project.write(
        "SConstruct", f"env = Environment({TOOL})\nenv.RbootFlashImage('f.bin', env.RbootApp('app', 'main.c'))"
    )
    assert project.fail("boot", "RBOOT_NET=here").endswith(
        "invalid address 'here': expected HOST:PORT, e.g. localhost:8080"
    )


def test_without_net_there_is_no_connection(example: Path) -> None:
    said = boot(example, "--timeout", "2", typed="update\n")
    assert said.endswith("> update\nfailed: no connection to the server\n> ")


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":80", "localhost:0", "localhost:65536", "a:b"])
def test_an_address_that_is_none_is_wrong_usage(address: str) -> None:
    command = [sys.executable, "-m", "rbootimg", "boot", "flash.bin", "--net", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"argument --net: invalid address {address!r}: expected HOST:PORT, e.g. localhost:8080" in done.stderr


def test_what_is_typed_wrongly_can_be_taken_back(example: Path) -> None:
    said = boot(example, "--timeout", "2", typed="vex\brsion\nhelp\n")
    assert "\n1.0.0\n> help\nhelp      list the commands\n" in said


def test_a_password_is_not_shown(example: Path) -> None:
    said = boot(example, "--timeout", "2", typed='wifi\nwifi "my net" hunter2 secret\n' + f"wifi {'x' * 33} y\n")
    assert "> wifi\nWi-Fi: not set\n" in said
    assert '> wifi "my net" **************\nno Wi-Fi on this device\n' in said
    assert "expected: wifi SSID PASSWORD, at most 32 and 64 characters\n" in said

"""Updates on the lx106 from the real nginx with our configuration, out of a web root with real releases."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.nginx import NGINX, OUTER, free_port
from support.ota_device import Device, assert_slot, current, example, new_device, update_and_confirm

from rbootimg.layout.presets import preset_layout
from rbootimg.release.bundle import make_bundle
from rbootimg.release.webroot import publish, rollback
from rbootimg.serve.nginx import configuration

pytestmark = pytest.mark.needs("nginx", "qemu-system-xtensa", "xtensa-lx106-elf-gcc")

DEVICES = 100
AT_A_TIME = 4


def put_out(root: Path, version: str) -> None:
    publish(root, [make_bundle("example", version, example(version), preset_layout("1MB"))])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    put_out(root, "1.1.0")
    return root


@pytest.fixture
def port(root: Path, tmp_path: Path) -> Iterator[int]:
    """That of an nginx that serves `root`."""
    port = free_port()
    directory = tmp_path / "nginx"
    directory.mkdir()
    (directory / "site.conf").write_text(configuration(root, port))
    (directory / "nginx.conf").write_text(OUTER.format(site=directory / "site.conf"))
    server = subprocess.Popen([NGINX, "-p", directory, "-c", directory / "nginx.conf"], stderr=subprocess.PIPE)
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert server.poll() is None, server.communicate()
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.parametrize("rtc", [True, False])
def test_from_slot_0_to_1_to_0_to_1_while_releases_go_out(root: Path, port: int, rtc: bool) -> None:
    with Device(new_device(rtc), port) as device:
        device.read_until("version 1.0.0, ROM 0\r\n> ")
        for version, slot in (("1.1.0", 1), ("1.2.0", 0), ("1.3.0", 1)):
            put_out(root, version)
            assert f"the server has {version}: newer\r\n" in device.ask("check")
            device.ask("ota", f"version {version}, ROM {slot}\r\n> ")
            assert "\nconfirmed" in "\n" + device.ask("confirm")
            assert f"the server has {version}: the same\r\n" in device.ask("ota")
        rollback(root)
        assert "the server has 1.2.0: older\r\n" in device.ask("ota")
    assert device.misuse == []
    assert current(device.flash) == 1
    assert_slot(device.flash, 0, example("1.2.0")[0])
    assert_slot(device.flash, 1, example("1.3.0")[1])


def test_a_rom_that_is_not_there_is_told(root: Path, port: int) -> None:
    (root / "rom1.bin").unlink()
    with Device(new_device(), port) as device:
        device.read_until("> ")
        assert "failed: HTTP status is not 200\r\n" in device.ask("ota")


def test_a_hundred_devices_update_in_one_go(port: int) -> None:
    chip = new_device()

    def update(number: int) -> Device:
        with Device(chip, port) as device:
            update_and_confirm(device, "1.1.0")
            assert "version 1.1.0, running ROM 1, confirmed\r\n" in device.ask("info")
            device.ask("restart", "version 1.1.0, ROM 1\r\n> ")
        return device

    with ThreadPoolExecutor(AT_A_TIME) as fleet:
        devices = list(fleet.map(update, range(DEVICES)))
    assert len(devices) == DEVICES
    for device in devices:
        assert device.misuse == []
        assert current(device.flash) == 1
        assert_slot(device.flash, 1, example("1.1.0")[1])

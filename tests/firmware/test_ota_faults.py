"""Updates on the lx106 from our own server with each of its faults: the device stays on its ROM and says why."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from support.ota_device import Device, assert_slot, current, example, new_device

from rbootimg.layout.presets import preset_layout
from rbootimg.release.bundle import make_bundle
from rbootimg.release.webroot import publish
from rbootimg.serve import faults
from rbootimg.serve.server import ServerOptions, serving

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

IMPATIENT = ("-DOTA_NETWORK_TIMEOUT=2000",)

# Of a fault of rom1.bin and one of `version`, with what the device says then; None where it does no harm.
NOT_A_ROM = "file is not a ROM"
NOT_A_VERSION = "file is not a semantic version"
EXPECTED = {
    "404": ("HTTP status is not 200",) * 2,
    "500": ("HTTP status is not 200",) * 2,
    "404-as-200": (NOT_A_ROM, "file too large"),
    "redirect": ("HTTP redirect, not followed",) * 2,
    "chunked": ("chunked or compressed reply",) * 2,
    "lower-case": (None, None),
    "bursts": (None, None),
    "truncate@0": ("truncated reply",) * 2,
    "truncate@5": ("truncated reply",) * 2,
    "truncate@9999": ("truncated reply", None),
    "reset@0": ("truncated reply",) * 2,
    "reset@5": ("truncated reply",) * 2,
    "reset@9999": ("truncated reply", None),
    "stall@0": ("timeout: server silent or too slow",) * 2,
    "stall@5": ("timeout: server silent or too slow",) * 2,
    "stall@9999": ("timeout: server silent or too slow", None),
    "stall@5:1": (None, None),
    "flip@0": (NOT_A_ROM, NOT_A_VERSION),
    "flip@5": ("invalid ROM: header, section or checksum", NOT_A_VERSION),  # in the first header's entry
    "flip@12000": ("invalid ROM: header, section or checksum", None),
    **{f"split@{size}": (None, None) for size in (1, 9, 20, 9999)},
}


@pytest.fixture(scope="module")
def web_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("www")
    publish(root, [make_bundle("example", "1.1.0", example("1.1.0"), preset_layout("1MB"))])
    return root


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_of_each_fault_it_is_known_what_a_device_does() -> None:
    assert {faults.parse(fault).kind for fault in EXPECTED} == set(faults.FaultKind)


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_faulty_rom_is_not_booted_and_a_good_one_right_after_is(web_root: Path, port: int, fault: str) -> None:
    why, _ = EXPECTED[fault]
    with Device(new_device(flags=IMPATIENT), port) as device:
        device.read_until("> ")
        with serving(web_root, port=port, options=ServerOptions((faults.parse(f"rom1.bin={fault}"),))):
            said = device.ask("ota")
        if why is None:
            assert "version 1.1.0, ROM 1\r\n> " in said
        else:
            assert f"failed: {why}\r\n" in said
            assert "version 1.0.0, running ROM 0" in device.ask("info")
            with serving(web_root, port=port):
                device.ask("ota", "version 1.1.0, ROM 1\r\n> ")
        assert "\nconfirmed" in "\n" + device.ask("confirm")
    assert device.misuse == []
    assert current(device.flash) == 1
    assert_slot(device.flash, 0, example("1.0.0", *IMPATIENT)[0])
    assert example("1.1.0")[1] in device.flash


@pytest.mark.parametrize("fault", EXPECTED)
def test_a_faulty_version_starts_no_update(web_root: Path, port: int, fault: str) -> None:
    _, why = EXPECTED[fault]
    chip = new_device(flags=IMPATIENT)
    with Device(chip, port) as device:
        device.read_until("> ")
        with serving(web_root, port=port, options=ServerOptions((faults.parse(f"version={fault}"),))):
            said = device.ask("check" if why is None else "ota")
        if why is None:
            assert "the server has 1.1.0: newer\r\n" in said
        else:
            assert f"failed: {why}\r\n" in said
        assert device.operations == []
        with serving(web_root, port=port):
            assert "the server has 1.1.0: newer\r\n" in device.ask("check")
    assert device.misuse == []
    assert device.flash == chip

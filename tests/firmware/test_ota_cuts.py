"""Power cuts and resets in an update: wherever it stops, a good ROM boots, and the next update works."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from support.ota_device import Device, Server, assert_good, current, example, new_device, release, update_and_confirm

from rbootimg.emulator.gdb import Debugger
from rbootimg.flash.bootconfig import RtcData

pytestmark = pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")

RTC_MAGIC = 0x2334AE68
RTC = 0x60001200  # rBoot's three words in RTC memory
RESET = 0x50000000
PC = 16  # its number among the registers that QEMU tells a debugger


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(release("1.1.0")) as server:
        yield server


# Of the flash

# Whether the loader heeds RTC data, the slot that runs, and when: 0 before the operation, 1 half-way, 2 after it.
WAYS = [(rtc, 0, part) for rtc in (True, False) for part in (0, 1, 2)] + [(True, 1, 1)]


def count_operations(chip: bytes, server: Server) -> int:
    """How often a whole update writes to the flash or erases a sector."""
    before = current(chip)
    with Device(chip, server.port) as device:
        update_and_confirm(device, "1.1.0")
    assert current(device.flash) == 1 - before
    assert len(device.operations) >= 14
    return len(device.operations)


@pytest.mark.parametrize(("rtc", "slot", "part"), WAYS)
def test_no_power_cut_in_a_whole_update_loses_the_device(server: Server, rtc: bool, slot: int, part: int) -> None:
    chip = new_device(rtc, slot=slot)
    for number in range(1, count_operations(chip, server) + 1):
        with Device(chip, server.port, f"cut={number}", f"part={part}") as device:
            update_and_confirm(device, "1.1.0")
        assert "end power-cut" in device.report
        assert_good(device.flash, server)


def test_no_reset_in_an_operation_loses_the_device(server: Server) -> None:
    """As of a watchdog: RTC memory is as it was."""
    chip = new_device()
    for number in range(1, count_operations(chip, server) + 1):
        with Device(chip, server.port, f"cut={number}", "part=1") as device:
            update_and_confirm(device, "1.1.0")
        _, *rtc = next(line for line in device.report if line.startswith("rtc ")).split()
        assert int(rtc[0], 16) == RTC_MAGIC
        assert_good(device.flash, server, f"rtc={''.join(rtc)}")


def test_the_config_is_erased_for_every_second_update_only(server: Server) -> None:
    """In that moment alone a power cut leaves no config, and rBoot writes its default one."""
    erases = []
    chip = new_device()
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        server.files = release(version)
        with Device(chip, server.port) as device:
            update_and_confirm(device, version)
        chip = device.flash
        erases.append(sum(operation.startswith("erase 1000 ") for operation in device.operations))
    assert erases == [1, 0, 1]


# Of RTC memory, which keeps its content over a reset and not without power


class Watch(threading.Thread):
    """Stops a device after it has written `number` words to rBoot's RTC data, and resets it or takes its power."""

    def __init__(self, number: int, is_reset: bool) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.is_reset = is_reset
        self.words: list[bytes] = []  # what stood there after each
        self.device: Device
        self.ours, self.qemus = socket.socketpair()

    def switch_on(self, chip: bytes, port: int) -> Device:
        file = self.qemus.fileno()
        options = ["-S", "-chardev", f"socket,id=gdb,fd={file}", "-gdb", "chardev:gdb"]
        self.device = Device(chip, port, options=options, files=(file,))
        return self.device

    def run(self) -> None:
        self.qemus.close()
        debugger = Debugger(self.ours, time.monotonic() + 60)
        with self.ours, contextlib.suppress(ConnectionError):
            for _ in range(self.number):
                debugger._ask(f"Z2,{RTC:x},c")
                if not debugger._ask("c").startswith(b"T"):
                    return  # the run has ended
                debugger._ask(f"z2,{RTC:x},c")
                debugger._ask("s")  # it stands before the write
                self.words.append(debugger.read(RTC, 12))
            if not self.is_reset:
                self.device.cut()
                return
            registers = bytearray.fromhex(debugger._ask("g").decode())
            struct.pack_into("<I", registers, 4 * PC, RESET)
            debugger._ask(f"G{registers.hex()}")
            debugger._ask("D")


BOOT = 3  # words that the loader writes at each boot
SWITCH = 3  # words that the application writes
WRITES = BOOT + SWITCH + BOOT


def update_watched(watch: Watch, server: Server) -> str:
    """Up to the reset or the cut in an update; what is printed from the last boot on."""
    with watch.switch_on(new_device(), server.port) as device:
        watch.start()
        said = device.read_until("> ")
        if watch.number > BOOT:
            said = device.ask("ota")
        watch.join(30)
        assert len(watch.words) == watch.number
        if watch.is_reset:
            assert "\nconfirmed" in "\n" + device.ask("confirm")
            server.files = release("1.2.0")
            device.ask("ota", "\r\nversion 1.2.0, ROM ")
            device.read_until("> ")
            assert "\nconfirmed" in "\n" + device.ask("confirm")
            server.files = release("1.1.0")
    return said


def test_an_update_writes_as_many_words_of_rtc_data_as_are_cut(server: Server) -> None:
    """One write more does not come: the cuts below are all there are."""
    watch = Watch(WRITES + 1, is_reset=False)
    with watch.switch_on(new_device(), server.port) as device:
        watch.start()
        update_and_confirm(device, "1.1.0")
        assert len(watch.words) == WRITES
        device.cut()
    assert [watch.words[number - 1][4:9].hex() for number in (BOOT, BOOT + SWITCH, WRITES)] == [
        "000000003e",  # ROM 0 runs
        "020000013d",  # ROM 1 once
        "000201003d",  # ROM 1 runs as such
    ]


@pytest.mark.parametrize(("number", "rom"), [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 1), (7, 1), (8, 0), (9, 0)])
def test_a_reset_after_any_word_of_rtc_data_boots_a_good_rom(server: Server, number: int, rom: int) -> None:
    """RTC data that are half written have a wrong checksum, and the ROM of the config boots."""
    said = update_watched(Watch(number, is_reset=True), server)
    assert f"\r\nversion 1.{rom}.0, ROM {rom}\r\n" in said


def noise() -> str:
    """What may stand in RTC memory at power-on, for the emulator: not the one in 256 that rBoot takes for its data."""
    while RtcData.from_bytes(data := os.urandom(12)):
        pass
    return "".join(data[place : place + 4][::-1].hex() for place in (0, 4, 8))


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_power_cut_after_any_word_of_rtc_data_loses_nothing_but_them(server: Server, number: int) -> None:
    watch = Watch(number, is_reset=False)
    update_watched(watch, server)
    for settings in ([], [f"rtc={noise()}"]):
        assert_good(watch.device.flash, server, *settings)
    assert current(watch.device.flash) == 0
    assert example("1.0.0")[0] in watch.device.flash

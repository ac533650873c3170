"""Serial ports: baud rates, keys, resets. The device's end is support/uart.py."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
from support.uart import Device, NetworkPort, sampled

from rbootimg.errors import PortError
from rbootimg.monitor.baud import RATES, BaudDetector, unreadable
from rbootimg.monitor.port import Key, Keyboard, Monitor, open_port

BOOT = b"\r\nrBoot v1.4.2 - richardaburton@gmail.com\r\nFlash Size:   8 Mbit\r\nFlash Mode:   QIO\r\n"
TEXT = "Temperatur 21 °C, Füllstand 80 %\r\n".encode()


class Screen:
    def __init__(self) -> None:
        self.data = b""
        self.notes: list[str] = []
        self.pauses = 0

    def feed(self, data: bytes) -> None:
        self.data += data

    def pause(self) -> None:
        self.pauses += 1

    def note(self, text: str) -> None:
        self.notes.append(text)

    def drop_line(self) -> None:
        self.data = b""


class Running:
    """A monitor that runs in a thread, with a pipe as its keyboard."""

    def __init__(self, port: object, rate: int | None) -> None:
        self.screen = Screen()
        self._keyboard, self._typing = os.pipe()
        self._monitor = Monitor(port, rate, self.screen)
        self.error: PortError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._monitor.run(self._keyboard)
        except PortError as error:
            self.error = error

    def type(self, keys: bytes) -> None:
        os.write(self._typing, keys)

    def wait_for(self, what: object) -> None:
        deadline = time.monotonic() + 10
        while not what():  # type: ignore[operator]
            assert time.monotonic() < deadline, (self.screen.data, self.screen.notes)
            time.sleep(0.01)

    def end(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        os.close(self._keyboard)
        os.close(self._typing)


@pytest.fixture
def device() -> Iterator[Device]:
    with Device(74880) as device:
        yield device


@pytest.mark.parametrize(
    "text", [BOOT, TEXT * 3, b"0123456789" * 6, b"\r\n" * 40], ids=["rBoot", "UTF-8", "digits", "ends"]
)
@pytest.mark.parametrize(("sent_at", "read_at"), [(74880, 115200), (115200, 74880), (9600, 115200), (9600, 74880)])
def test_text_at_another_rate_is_unreadable(text: bytes, sent_at: int, read_at: int) -> None:
    assert unreadable(text) == 0
    assert unreadable(sampled(text, sent_at, read_at)) > 0.6


def test_the_detector_finds_the_rate_and_stays() -> None:
    detector = BaudDetector()
    assert detector.feed(sampled(TEXT, 115200, 74880) * 2)
    assert detector.rate == 115200
    assert not any(detector.feed(TEXT) for _ in range(100))


def test_a_few_unreadable_bytes_change_nothing() -> None:
    detector = BaudDetector()
    assert not detector.feed(TEXT * 2 + bytes(6) + TEXT)


def test_at_a_rate_that_it_does_not_know_it_does_not_change_all_the_time() -> None:
    detector = BaudDetector()
    changes = sum(detector.feed(sampled(TEXT, 9600, detector.rate)[:64]) for _ in range(200))
    assert 2 <= changes <= 8


def test_the_monitor_follows_from_the_boot_loader_to_the_application(device: Device) -> None:
    with open_port(device.port, RATES[0]) as port:
        running = Running(port, None)
        device.send(BOOT)
        running.wait_for(lambda: running.screen.data == BOOT)
        device.rate = 115200
        for _ in range(4):
            device.send(TEXT)
        running.wait_for(lambda: running.screen.notes == ["unreadable: switched to 115200 baud"])
        assert device.programs_rate == 115200
        device.send(b"\n" + TEXT)
        running.wait_for(lambda: running.screen.data.endswith(b"\n" + TEXT))
        running.type(b"\x03")
        running.end()
        assert running.error is None


def test_a_given_rate_is_kept(device: Device) -> None:
    with open_port(device.port, 115200) as port:
        running = Running(port, 115200)
        for _ in range(3):
            device.send(BOOT)
        running.wait_for(lambda: len(running.screen.data) > 100)
        running.type(b"\x1d")
        running.end()
        assert (device.programs_rate, running.screen.notes) == (115200, [])


def test_keys_go_to_the_device_but_for_those_with_a_meaning(device: Device) -> None:
    with open_port(device.port, 74880) as port:
        running = Running(port, None)
        running.type(b"help\r\x14\x14")
        running.wait_for(lambda: device.received == b"help\r\x14")
        running.type(b"\x14\x02")
        running.wait_for(lambda: running.screen.notes == ["115200 baud"])
        running.type(b"\x14\x12")
        running.wait_for(lambda: len(running.screen.notes) == 2)
        assert running.screen.notes[1] == "cannot reset the device through this port: press its button"
        running.type(b"\x03")
        running.end()


def test_keys_are_recognized_one_by_one() -> None:
    keyboard = Keyboard()
    assert [*keyboard.split(b"a\x14")] == [b"a"]
    assert [*keyboard.split(b"\x12b\x14\x10\x14\x02\x14x\x03")] == [Key.RESET, b"b", Key.DOWNLOAD, Key.BAUD, Key.QUIT]


def test_a_pause_is_noticed_while_nothing_comes(device: Device) -> None:
    with open_port(device.port, 74880) as port:
        running = Running(port, None)
        running.wait_for(lambda: running.screen.pauses > 1)
        running.type(b"\x03")
        running.end()


@pytest.mark.parametrize(
    ("keys", "changes"),
    [
        (b"\x14\x12", [("dtr", False), ("rts", True), ("rts", False)]),
        (b"\x14\x10", [("dtr", False), ("rts", True), ("dtr", True), ("rts", False), ("dtr", False)]),
    ],
)
def test_resets_are_those_of_esptool(keys: bytes, changes: list[tuple[str, bool]]) -> None:
    with NetworkPort() as server, open_port(server.url, 74880) as port:
        running = Running(port, None)
        running.type(keys)
        running.wait_for(lambda: running.screen.notes)
        running.type(b"\x03")
        running.end()
        running.wait_for(lambda: server.lines[-len(changes) :] == changes)
        before = server.lines[: -len(changes)]
        assert {*before} == {("dtr", False), ("rts", False)}, "opening must not hold the device in reset"


def test_a_port_that_cannot_be_opened_is_named() -> None:
    for name, reason in (
        ("/dev/no-such-port", "No such file or directory"),
        ("/dev/null", "Inappropriate ioctl for device"),
    ):
        with pytest.raises(PortError, match=f"{name}: cannot open the port: {reason}"), open_port(name, 74880):
            pass


def test_a_port_in_use_is_not_opened_twice(device: Device) -> None:
    again = pytest.raises(PortError, match="cannot open the port: another program uses it")
    with open_port(device.port, 74880), again, open_port(device.port, 74880):
        pass


def test_a_device_that_is_unplugged_ends_the_monitor() -> None:
    with Device(74880) as device, open_port(device.port, 74880) as port:
        running = Running(port, None)
        device.send(BOOT)
        running.wait_for(lambda: running.screen.data == BOOT)
        device.unplug()
        running.end()
        assert "the port was closed" in str(running.error)

"""A device's serial port, with pyserial: open it, reset the device, pass input and output."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import re
import select
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..errors import PortError
from .baud import RATES, BaudDetector

_READ_SECONDS = 0.01  # rBoot's lines take 40 ms: an unreadable start must not take longer
_PAUSE_SECONDS = 0.1
_RESET_SECONDS = 0.1  # that the reset pin is low
_BOOT_SECONDS = 0.05  # that GPIO 0 is low after that
_SIZE = 4096

_CTRL_C, _CTRL_RIGHT_BRACKET, _MENU = 0x03, 0x1D, 0x14
_RESET_KEY, _DOWNLOAD_KEY, _BAUD_KEY = 0x12, 0x10, 0x02

KEYS = (
    ("Ctrl-C, Ctrl-]", "quit"),
    ("Ctrl-T Ctrl-R", "reset the device"),
    ("Ctrl-T Ctrl-P", "reset the device to download mode, for esptool"),
    ("Ctrl-T Ctrl-B", "change the baud rate"),
    ("Ctrl-T Ctrl-T", "send Ctrl-T"),
)
"""The keys with a meaning; all others are sent to the device."""


class Key(enum.Enum):
    """What a key asks for."""

    QUIT = "quit"
    RESET = "reset"
    DOWNLOAD = "download"
    BAUD = "baud"


_MENU_KEYS = {_RESET_KEY: Key.RESET, _DOWNLOAD_KEY: Key.DOWNLOAD, _BAUD_KEY: Key.BAUD}


class Keyboard:
    """Splits typed bytes into those for the device and keys with a meaning."""

    def __init__(self) -> None:
        self._in_menu = False

    def split(self, typed: bytes) -> Iterator[bytes | Key]:
        """Return what to do, in order."""
        for byte in typed:
            if self._in_menu:
                self._in_menu = False
                if byte in _MENU_KEYS:
                    yield _MENU_KEYS[byte]
                elif byte == _MENU:
                    yield bytes((byte,))
            elif byte in (_CTRL_C, _CTRL_RIGHT_BRACKET):
                yield Key.QUIT
            elif byte == _MENU:
                self._in_menu = True
            else:
                yield bytes((byte,))


def find_port() -> str:
    """Return the only USB serial port. Raises PortError if there is none, or more than one."""
    from serial.tools import list_ports

    ports = sorted(port.device for port in list_ports.comports() if port.vid is not None)
    if len(ports) == 1:
        return str(ports[0])
    found = f"several USB serial ports: {', '.join(ports)}" if ports else "no USB serial port found"
    raise PortError(f"{found}; select one with --port or RBOOT_PORT")


@contextlib.contextmanager
def open_port(name: str, rate: int) -> Iterator[Any]:
    """Open a port, or a URL of pyserial such as socket:// or rfc2217://, without resetting the device.

    Raises PortError.
    """
    import serial

    try:
        # Not opened yet, so that both lines can be set before; pyserial opens with both of them on.
        port = serial.serial_for_url(name, do_not_open=True, timeout=_READ_SECONDS, exclusive=_exclusive(name))
        port.baudrate = rate
        port.dtr = port.rts = False
        port.open()
    except (OSError, ValueError) as error:  # SerialException is an OSError
        raise PortError(f"cannot open the port: {_reason(error)}", subject=name) from None
    with contextlib.closing(port):
        yield port


def _exclusive(name: str) -> bool | None:
    return None if "://" in name else True


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program uses it"
    if number:
        return os.strerror(number)
    system = re.search(r"""\(\d+, ['"](.+)['"]\)""", str(error))  # of an error in the text of pyserial's
    return system[1] if system else (str(error) or type(error).__name__).splitlines()[0]


class Screen(Protocol):
    """Shows what a device prints."""

    def feed(self, data: bytes) -> None:
        """Show output of the device."""

    def pause(self) -> None:
        """Take note that nothing has come for a moment."""

    def note(self, text: str) -> None:
        """Show a message of the monitor."""

    def drop_line(self) -> None:
        """Forget an incomplete line: the output after it is in another baud rate."""


class Monitor:
    """Passes what a device prints to a screen, and what is typed to the device."""

    def __init__(self, port: Any, rate: int | None, screen: Screen) -> None:
        """Use an open port; `rate` is the only baud rate, None to choose one of RATES by what is readable."""
        self._port = port
        self._detector = BaudDetector((rate,) if rate else RATES)
        self._is_automatic = rate is None
        self._keyboard = Keyboard()
        self._screen = screen

    def run(self, keyboard: int | None, is_interrupted: Callable[[], bool] = lambda: False) -> None:
        """Run until a key ends it, or until `is_interrupted`; `keyboard` is a descriptor. Raises PortError."""
        last = time.monotonic()
        while not is_interrupted():
            if data := self._read():
                self._receive(data)
                last = time.monotonic()
            elif time.monotonic() - last > _PAUSE_SECONDS:
                self._screen.pause()
            if keyboard is not None and select.select([keyboard], [], [], 0)[0]:
                typed = os.read(keyboard, 256)
                keyboard = keyboard if typed else None
                for each in self._keyboard.split(typed):
                    if each is Key.QUIT:
                        return
                    self._obey(each)

    def reset(self) -> None:
        """Reset the device as esptool's hard-reset: a pulse of RTS, its reset pin; DTR, GPIO 0, stays high."""
        self._pulse(download=False)

    def _pulse(self, download: bool) -> None:
        """Reset the device; with `download` GPIO 0 is low then, as esptool's default-reset does."""
        try:
            self._port.dtr = False
            self._port.rts = True
            time.sleep(_RESET_SECONDS)
            if download:
                self._port.dtr = True
            self._port.rts = False
            if download:
                time.sleep(_BOOT_SECONDS)
                self._port.dtr = False
        except OSError:
            self._screen.note("cannot reset the device through this port: press its button")
            return
        self._screen.note("device reset to download mode" if download else "device reset")
        if self._is_automatic and self._detector.rate != RATES[0]:
            self._detector.restart()
            self._use_rate(f"{RATES[0]} baud")

    def _read(self) -> bytes:
        try:
            return bytes(self._port.read(_SIZE))
        except OSError as error:
            raise PortError(f"the port was closed: {_reason(error)}", subject=self._port.name) from None

    def _receive(self, data: bytes) -> None:
        if self._is_automatic and self._detector.feed(data):
            self._screen.drop_line()
            self._use_rate(f"unreadable: switched to {self._detector.rate} baud")
        else:
            self._screen.feed(data)

    def _use_rate(self, note: str) -> None:
        try:
            self._port.baudrate = self._detector.rate
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:
            self._is_automatic = False
            note = f"the driver does not support {self._detector.rate} baud: {_reason(error)}"
        self._screen.note(note)

    def _obey(self, typed: bytes | Key) -> None:
        if isinstance(typed, bytes):
            try:
                self._port.write(typed)
            except OSError as error:
                raise PortError(f"the port was closed: {_reason(error)}", subject=self._port.name) from None
        elif typed is Key.BAUD:
            rates = RATES if self._detector.rate in RATES else (self._detector.rate, *RATES)
            following = rates[(rates.index(self._detector.rate) + 1) % len(rates)]
            self._detector = BaudDetector((following,))
            self._is_automatic = False
            self._screen.drop_line()
            self._use_rate(f"{following} baud")
        else:
            self._pulse(download=typed is Key.DOWNLOAD)

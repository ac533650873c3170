"""What several commands do alike: arguments that are read, and files."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from .. import fileio
from ..errors import LayoutError, RbootError, SettingError, error_subject

if TYPE_CHECKING:  # what not every command needs
    from pathlib import Path

    from ..layout.model import FlashLayout, Slot


def as_argument(read: Callable[[str], object]) -> Callable[[str], object]:
    """`read` as argparse calls it: what cannot be read is wrong usage."""

    def convert(text: str) -> object:
        try:
            return read(text)
        except RbootError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def as_slot(text: str) -> Slot:
    """The slot of an argument."""
    from ..layout.model import parse_slot

    try:
        return parse_slot(text)
    except LayoutError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def sized_slot(slot: Slot, size: str | None = None) -> Slot:
    """The slot that the user wrote, checked; without a size it reaches as far as it can in a flash of that `size`."""
    from ..layout.model import Slot, flash_map

    # Without one only the slot itself is checked: in the largest flash every slot fits.
    checked = flash_map(size or "16MB", [slot], big_flash=True).slots[0]
    return Slot(checked.address, checked.size)


def check_confinement() -> None:
    """Warn if the emulator does not confine ROMs; $RBOOT_CONFINE says that it must. Raises EmulatorError."""
    from ..emulator import confinement

    warning = confinement.check(os.environ.get("RBOOT_CONFINE", ""))
    if warning:
        print(f"rbootimg: warning: {warning}", file=sys.stderr)


def print_json(values: Mapping[str, object]) -> None:
    """Print an object as JSON, with the number of its schema first."""
    print(json.dumps({"schema": 1, **values}, indent=2))


def check_not_input(output: Path | None, inputs: Iterable[str | Path]) -> None:
    """Raise SettingError if `output` would replace one of the `inputs`."""
    for name in inputs:
        # Not by methods of `output`, which raise for what may not be read: writing to it tells more.
        if output and os.path.isfile(output) and os.path.exists(name) and os.path.samefile(output, name):
            raise SettingError(f"refusing to overwrite input file {name}")


def read_layout(name: str) -> FlashLayout:
    """The layout of a file or a preset; a file of that name comes first. Raises LayoutError with `name` as subject."""
    from ..layout import presets, tomlfile

    with error_subject(name or "--layout"):
        if name in presets.LAYOUT_PRESETS and not os.path.exists(name):
            return presets.preset_layout(name)
        if not os.path.exists(name):
            raise presets.missing(name)
        try:
            return tomlfile.parse_layout(fileio.read_file(name, tomlfile.MOST).decode())
        except UnicodeDecodeError:
            raise LayoutError("the layout is not TOML: not UTF-8") from None


def port_number(text: str) -> int:
    """The TCP port of an argument."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number up to 65535, such as 8080")
    return int(text)


def web_root_argument(parser: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    """The web root that a command is about."""
    from pathlib import Path

    def folder(text: str) -> Path:
        if not text:  # an unset variable in a script; Path("") would be the folder that one is in
            raise argparse.ArgumentTypeError("'' is no folder; write . for the one that you are in")
        return Path(text)

    parser.add_argument(
        "--web-root",
        dest="web_root",
        type=folder,
        default=Path(os.environ.get("RBOOT_WEBROOT") or "build/webroot"),
        metavar="FOLDER",
        help="the web root (default: $RBOOT_WEBROOT, else build/webroot)",
    )


def app_argument(parser: argparse.ArgumentParser) -> None:
    """The application in a web root that a command is about."""
    parser.add_argument("--app", metavar="NAME", help="the application, if the web root has several")


def wait_argument(parser: argparse.ArgumentParser) -> None:
    """How long to wait for others who publish."""
    parser.add_argument(
        "--wait",
        type=_wait_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for another publisher (default: 30)",
    )


def _wait_seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; write 0 or more")
    return float(text)


def seconds(text: str) -> float:
    """How long, as an argument."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds

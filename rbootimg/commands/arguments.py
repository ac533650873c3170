"""Converters of arguments: the string on the command line to its value. Anything else is a usage error (status 2)."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import LayoutError, RbootError

if TYPE_CHECKING:
    from ..analysis.budget import Limit
    from ..layout.model import Slot

_Value = TypeVar("_Value")


def converter(parse: Callable[[str], _Value]) -> Callable[[str], _Value]:
    """Make `parse` a converter: its RbootError becomes a usage error."""

    def convert(text: str) -> _Value:
        try:
            return parse(text)
        except RbootError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def port_number(text: str) -> int:
    """Convert a TCP port; 0 means any free port."""
    from ..serve.ports import parse_port

    return converter(parse_port)(text)


def count(text: str) -> int:
    """Convert a number of things, 0 or more."""
    return _integer(text, "count", 0, "an integer >= 0")


def slot_number(text: str) -> int:
    """Convert the number of a slot, 0 or more."""
    return _integer(text, "slot number", 0, "an integer >= 0")


def baud_rate(text: str) -> int:
    """Convert the baud rate of a serial port."""
    return _integer(text, "baud rate", 1, "a positive integer, e.g. 460800")


def byte_rate(text: str) -> int:
    """Convert a rate in bytes per second, such as 20k."""
    from ..layout.units import parse_number

    with contextlib.suppress(LayoutError):
        if rate := parse_number(text):
            return rate
    raise argparse.ArgumentTypeError(f"invalid rate {text!r}: expected bytes per second > 0, e.g. 20k")


def seconds(text: str) -> float:
    """Convert a duration in seconds, 0 or more."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"invalid duration {text!r}: expected 0-999999 seconds")
    return float(text)


def timeout(text: str) -> float:
    """Convert a time limit in seconds, more than 0."""
    limit = 0.0
    with contextlib.suppress(ValueError):
        limit = float(text)
    if not 0 < limit < math.inf:
        raise argparse.ArgumentTypeError(f"invalid timeout {text!r}: expected a positive number of seconds")
    return limit


def flash_slot(text: str) -> Slot:
    """Convert ADDRESS[:SIZE] to a slot; common.sized_slot() checks it."""
    from ..layout.model import parse_slot

    return converter(parse_slot)(text)


def directory(text: str) -> Path:
    """Convert the path of a directory. Path("") would be the current one: an unset variable in a script."""
    if not text:
        raise argparse.ArgumentTypeError("empty path: use . for the current directory")
    return Path(text)


def slot_and_file(text: str) -> tuple[int | None, Path]:
    """Convert [SLOT=]FILE; the slot is None without a number."""
    number, separator, name = text.partition("=")
    if separator and re.fullmatch("[0-9]{1,9}", number):
        return int(number), Path(name)
    return None, Path(text)


def region_and_file(text: str) -> tuple[str, Path]:
    """Convert REGION=FILE."""
    region, separator, name = text.partition("=")
    if not (region and separator and name):
        raise argparse.ArgumentTypeError(f"invalid region file {text!r}: expected REGION=FILE")
    return region, Path(name)


def name_and_file(text: str) -> tuple[str, Path]:
    """Convert [NAME=]PATH; the name is that of the file without one."""
    name, _, path = text.partition("=") if "=" in text else (Path(text).name, "", text)
    if not (name and path):
        raise argparse.ArgumentTypeError(f"invalid file {text!r}: expected PATH or NAME=PATH")
    return name, Path(path)


def name_and_region(text: str) -> tuple[str, str]:
    """Convert NAME=REGION."""
    name, _, region = text.partition("=")
    if not (name and region):
        raise argparse.ArgumentTypeError(f"invalid region {text!r}: expected NAME=REGION, such as www.bin=files")
    return name, region


def limit(text: str) -> Limit:
    """Convert MEMORY=LIMIT, the limit also as growth."""
    from ..analysis.budget import parse_limit

    memory, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"invalid limit {text!r}: expected MEMORY=LIMIT, such as IRAM=95%")
    return converter(lambda value: parse_limit(memory, value, with_growth=True))(value)


def recovery_rom(text: str) -> tuple[int, Path]:
    """Convert SLOT=ROM.BIN."""
    slot, path = slot_and_file(text)
    if slot is None or path == Path():
        raise argparse.ArgumentTypeError(
            f"invalid recovery ROM {text!r}: expected SLOT=ROM.BIN, such as 2=recovery.bin"
        )
    return slot, path


def files_by_slot(
    pairs: Iterable[tuple[int | None, Path]], option: str, usage_error: Callable[[str], object]
) -> dict[int, Path]:
    """Number the files of `option` as slot_and_file() gives them; one without a slot has its position as number."""
    files: dict[int, Path] = {}
    for position, (slot, path) in enumerate(pairs):
        number = position if slot is None else slot
        if number in files:
            usage_error(f"{option}: slot {number} is given twice")
        files[number] = path
    return files


def _integer(text: str, noun: str, lowest: int, expected: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < lowest:
        raise argparse.ArgumentTypeError(f"invalid {noun} {text!r}: expected {expected}")
    return int(text)

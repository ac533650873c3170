"""esptool's command line, held against esptool's own parser, and what arrives in a chip that it writes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import esptool
import pytest
import rich_click as click
from support.esp8266 import BEGIN, DEFL_BEGIN, FakeChip
from support.images import loader, rom

from rbootimg.errors import FlashError
from rbootimg.flash import writer
from rbootimg.flash.image import FlashPiece, flash_pieces, make_boot_config
from rbootimg.layout.presets import preset_layout

LAYOUT = preset_layout("1MB")
SIZE = LAYOUT.size.bytes


def written(directory: Path, current: int = 0) -> tuple[tuple[FlashPiece, ...], list[tuple[int, str]]]:
    """The pieces of a flash, and the files with them."""
    pieces = flash_pieces(LAYOUT, loader(), {0: rom(0), 1: rom(1)}, make_boot_config(LAYOUT, loader(), current))
    files = []
    for piece in pieces:
        path = directory / piece.file_name
        path.write_bytes(piece.data)
        files.append((piece.address, str(path)))
    return pieces, files


Parse = Callable[[list[str]], tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """esptool's own parser: arguments -> its options, and those of its command, which is not run."""
    seen = []

    def keep(**_: object) -> None:
        context = click.get_current_context()
        seen.append((context.parent.params, context.params))

    monkeypatch.setattr(esptool.cli.commands["write-flash"], "callback", keep)

    def parse(arguments: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        esptool.main(arguments)
        return seen[-1]

    return parse


def test_esptool_takes_the_command_line_as_it_is_meant(tmp_path: Path, parse: Parse) -> None:
    pieces, files = written(tmp_path)
    arguments = writer.command_line(files, "/dev/ttyUSB0", 921600, "no-reset", "soft-reset")
    options, command = parse(arguments)
    assert options["chip"] == "esp8266"
    assert (options["port"], options["baud"]) == ("/dev/ttyUSB0", 921600)
    assert (options["before"], options["after"]) == ("no-reset", "soft-reset")
    assert [command[f"flash_{name}"] for name in ("mode", "freq", "size")] == ["keep"] * 3
    assert [(address, file.name) for address, file in command["addr_filename"]] == files
    assert [file.read() for _, file in command["addr_filename"]] == [piece.data for piece in pieces]


def test_what_is_not_said_is_left_to_esptool(tmp_path: Path, parse: Parse) -> None:
    _, files = written(tmp_path)
    options, _ = parse(writer.command_line(files))
    assert (options["port"], options["baud"], options["before"], options["after"]) == (
        None,
        115200,
        writer.BEFORE[0],
        writer.AFTER[0],
    )


def test_what_arrives_in_the_flash_are_exactly_the_pieces(tmp_path: Path) -> None:
    pieces, files = written(tmp_path)
    before = bytes(range(256)) * (SIZE // 256)
    with FakeChip(before) as chip:
        writer.run(writer.command_line(files, chip.port, 460800, "no-reset", "no-reset"))
    expected = bytearray(before)
    for piece in pieces:
        sectors_end = -(-piece.end // 0x1000) * 0x1000
        expected[piece.address : sectors_end] = piece.data.ljust(sectors_end - piece.address, b"\xff")
    assert bytes(chip.flash) == bytes(expected)
    assert sum(command in (BEGIN, DEFL_BEGIN) for command in chip.commands) >= len(pieces)


def test_esptool_shows_its_progress(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, files = written(tmp_path)
    with FakeChip(bytes(SIZE)) as chip:
        writer.run(writer.command_line(files, chip.port, None, "no-reset", "no-reset"))
    shown = capfd.readouterr()
    assert "Writing at 0x" in shown.out
    assert "100.0%" in shown.out


def failure(arguments: list[str]) -> str:
    with pytest.raises(FlashError) as error:
        writer.run(arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_flash_smaller_than_the_pieces_is_told(tmp_path: Path) -> None:
    _, files = written(tmp_path)
    with FakeChip(bytes(SIZE), flash_id=0x1340EF) as chip:  # 512 KB
        line = failure(writer.command_line(files, chip.port, None, "no-reset", "no-reset"))
    assert line.startswith("esptool: File ")
    assert "will not fit in 524288 bytes of flash" in line
    assert bytes(chip.flash) == bytes(SIZE)


def test_no_device_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, files = written(tmp_path)
    assert failure(writer.command_line(files, str(tmp_path / "ttyUSB0"))) == (
        f"esptool: Could not open {tmp_path / 'ttyUSB0'}, the port is busy or doesn't exist."
    )
    assert capfd.readouterr().err == ""


def test_no_port_at_all_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _, files = written(tmp_path)
    line = failure(["--port-filter", "name=none such", *writer.command_line(files)])
    assert line == "esptool: Could not connect to an Espressif device on any of the 0 available serial ports."
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("module", ["esptool", "serial"])
def test_without_esptool_the_line_says_how_to_get_it_for_this_python(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python3")
    assert failure(["version"]) == "esptool is not installed; run `'/opt/my python/bin/python3' -m pip install esptool`"
    monkeypatch.setattr(sys, "executable", None)  # in a program that has Python inside
    assert failure(["version"]) == "esptool is not installed; run `python3 -m pip install esptool`"


def test_what_esptool_refuses_is_said_by_esptool(capfd: pytest.CaptureFixture[str]) -> None:
    assert failure(["nonsense"]) == "esptool ended with status 2"
    assert "No such command 'nonsense'" in capfd.readouterr().err

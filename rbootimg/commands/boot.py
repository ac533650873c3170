"""`rbootimg boot`: run a flash image in the emulator."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..emulator import network, proof, qemu
from ..errors import error_subject
from ..fileio import read_file, write_output
from ..rom import elf
from ..rom.demangle import demangle
from ..text import counted
from ..views.tables import Table, plain
from .arguments import converter, slot_number, timeout
from .common import check_confinement, json_argument, print_json, read_layout

DESCRIPTION = (
    "Run a flash image in QEMU's ESP8266 core and print the result. An application that prints through the mask ROM "
    "runs completely; one on the SDK stops where it waits for hardware. The file is not changed. The exit status is 1 "
    "if no ROM started, if it crashed, or if the UART did not print the text of --until."
)

EPILOG = """\
Examples:
  rbootimg boot flash.bin --uart --until ready
  rbootimg boot flash.bin --slot 1 --interactive"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FLASH.BIN", help="the flash image, 256 KB to 16 MB")
    parser.add_argument("--uart", action="store_true", help="print the UART's output instead of the summary")
    parser.add_argument("--interactive", action="store_true", help="connect the UART to the terminal, until Ctrl-C")
    parser.add_argument(
        "--slot", type=slot_number, metavar="N", help="boot this ROM: make it the current one in the config"
    )
    parser.add_argument(
        "--layout",
        metavar="LAYOUT",
        help="with --slot: write a config for this layout (default: change the existing one)",
    )
    parser.add_argument(
        "--elf", type=Path, metavar="APP.ELF", help="the application's ELF, for function names in a crash"
    )
    parser.add_argument(
        "--timeout", type=timeout, metavar="S", help="time limit in seconds (default: 5; none with --interactive)"
    )
    parser.add_argument("--until", metavar="TEXT", help="exit with success as soon as the UART prints TEXT")
    parser.add_argument("--gpio-low", action="store_true", help="set all pins low, as with the button pressed")
    parser.add_argument(
        "--net",
        type=converter(network.parse_address),
        metavar="HOST:PORT",
        help="forward the application's connections to HOST:PORT",
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the flash image after the run to FILE")
    json_argument(parser)
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Boot the flash. Raises EmulatorError if no ROM started, or if it crashed."""
    if options.interactive and (options.json or options.uart or options.until):
        options.usage_error("--interactive cannot be combined with --json, --uart or --until")
    if options.uart and options.json:
        options.usage_error("--uart cannot be combined with --json, which contains the UART's output")
    check_confinement()
    symbols = _symbols(options.elf) if options.elf else ()
    flash = _select_rom(read_file(options.file), options)
    conditions = qemu.BootOptions(
        timeout=options.timeout, until=options.until, gpio_low=options.gpio_low, net=options.net
    )
    if options.interactive:
        result = qemu.interact(flash, conditions)
    else:
        result = qemu.boot(flash, conditions, on_uart=_show if options.uart else None)
    if options.save:
        write_output(options.save, result.flash)
    crash = result.crash.describe(symbols) if result.crash else None
    if options.json:
        print_json({"file": str(options.file), **_as_json(result, symbols)})
    elif not options.uart and not options.interactive:
        print(_summary(result, crash))
    qemu.check(result, options.until, symbols)


def _symbols(path: Path) -> tuple[elf.Symbol, ...]:
    with error_subject(path):
        return elf.elf_symbols(read_file(path))


def _show(text: bytes) -> None:
    print(text.decode(errors="replace"), end="", flush=True)


def _select_rom(flash: bytes, options: argparse.Namespace) -> bytes:
    if options.slot is None:
        if options.layout:
            options.usage_error("--layout requires --slot")
        return flash
    layout = read_layout(options.layout) if options.layout else None
    return proof.set_current_rom(flash, options.slot, layout)


def _summary(result: qemu.BootResult, crash: str | None) -> str:
    rows = [
        ("ended", result.ended.text if crash is None else f"crash: {crash}"),
        ("ROM", "none" if result.rom is None else str(result.rom)),
        ("resets", str(result.resets)),
    ]
    if result.spi:
        spi = result.spi
        rows.append(("flash", f"{counted(spi.reads, 'read')}, {counted(spi.read_bytes, 'byte')} in total"))
    rows += (
        (
            "" if number else "changed",
            f"{operation.kind} of {counted(operation.size, 'byte')} at {operation.address:#x}",
        )
        for number, operation in enumerate(result.operations)
    )
    rows += (("" if number else "misuse", line) for number, line in enumerate(result.misuse))
    rows += (
        ("" if number else "last lines", line)
        for number, line in enumerate([line for line in result.uart.splitlines() if line.strip()][-4:])
    )
    return plain((Table((), tuple(rows), "<<"),))


def _as_json(result: qemu.BootResult, symbols: Sequence[elf.Symbol]) -> dict[str, object]:
    """Return the JSON values. `crash` has the ELF's name, `demangled` its C++ name if c++filt knows it."""
    name = elf.describe_address(symbols, result.crash.pc) if result.crash else None
    return {
        "ended": result.ended.value,
        "rom": result.rom,
        "resets": result.resets,
        "crash": result.crash.describe(symbols, demangled=False) if result.crash else None,
        "demangled": demangle([name]).get(name) if name else None,
        "uart": result.uart,
        "operations": [vars(operation) for operation in result.operations],
        "misuse": result.misuse,
        "spi": vars(result.spi) if result.spi else None,
    }

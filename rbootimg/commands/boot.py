"""`rbootimg boot`: a whole flash in the emulator, and what became of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..emulator import network, proof, qemu
from ..errors import error_subject
from ..fileio import read_file, write_output
from ..rom import elf
from ..rom.demangle import demangle
from .common import as_argument, check_confinement, read_layout, seconds

DESCRIPTION = (
    "Run a whole flash in QEMU's ESP8266 core and say how it ended. An application that prints through the mask ROM "
    "runs whole; one on the SDK stops where it waits for hardware. The file stays as it is. The exit status is 1 if "
    "no ROM was started, if it crashed, or if the text of --until did not come."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FLASH.BIN", help="the whole flash, 256 KB to 16 MB")
    parser.add_argument("--uart", action="store_true", help="print the UART's text as it comes, not the summary")
    parser.add_argument("--interactive", action="store_true", help="the UART on your terminal, until Ctrl-C")
    parser.add_argument("--slot", type=int, metavar="N", help="boot this ROM: changes the config first")
    parser.add_argument(
        "--layout", metavar="LAYOUT", help="with --slot: the layout (default: the config that is in the flash)"
    )
    parser.add_argument("--elf", type=Path, metavar="APP.ELF", help="the application: a crash gets function names")
    parser.add_argument(
        "--timeout", type=seconds, metavar="S", help="seconds at most (default: 5; on your terminal no limit)"
    )
    parser.add_argument("--until", metavar="TEXT", help="end well as soon as the UART has printed this")
    parser.add_argument("--gpio-low", action="store_true", help="all pins are low, as when the button is pressed")
    parser.add_argument(
        "--net",
        type=as_argument(network.parse_address),
        metavar="HOST:PORT",
        help="the server that the application's connections lead to",
    )
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the flash as it is afterwards")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(usage_error=parser.error)


def run(options: argparse.Namespace) -> None:
    """Boot the flash. Raises EmulatorError if it did not come up."""
    if options.interactive and (options.json or options.uart or options.until):
        options.usage_error("--interactive shows the UART itself; leave --json, --uart and --until out")
    if options.uart and options.json:
        options.usage_error("--uart and --json both print to stdout; the JSON has the UART's text in it")
    check_confinement()
    symbols = _symbols(options.elf) if options.elf else ()
    flash = _with_current(read_file(options.file), options)
    if options.interactive:
        result = qemu.interact(flash, timeout=options.timeout, gpio_low=options.gpio_low, net=options.net)
    else:
        result = qemu.boot(
            flash,
            timeout=options.timeout or 5.0,
            until=options.until,
            gpio_low=options.gpio_low,
            net=options.net,
            on_uart=_show if options.uart else None,
        )
    if options.save:
        write_output(options.save, result.flash)
    crash = result.crash.describe(symbols) if result.crash else None
    if options.json:
        import json  # not for every start

        print(json.dumps({"file": str(options.file), **_as_json(result, symbols)}, indent=2))
    elif not options.uart and not options.interactive:
        print(_summary(result, crash))
    qemu.check(result, options.until, symbols)


def _symbols(path: Path) -> tuple[elf.Symbol, ...]:
    with error_subject(path):
        return elf.elf_symbols(read_file(path))


def _show(text: bytes) -> None:
    print(text.decode(errors="replace"), end="", flush=True)


def _with_current(flash: bytes, options: argparse.Namespace) -> bytes:
    if options.slot is None:
        if options.layout:
            options.usage_error("--layout goes with --slot")
        return flash
    layout = read_layout(options.layout) if options.layout else None
    return proof.with_current(flash, options.slot, layout)


def _summary(result: qemu.BootResult, crash: str | None) -> str:
    rows = [
        ("ended", qemu.ENDS[result.ended] if crash is None else f"crash: {crash}"),
        ("ROM", "none" if result.rom is None else str(result.rom)),
        ("resets", str(result.resets)),
    ]
    if result.spi:
        spi = result.spi
        rows.append(("flash", f"{spi.reads:,} reads of {spi.read_bytes:,} bytes in all"))
    rows += (
        ("" if number else "changed", f"{operation.kind} of {operation.size:,} bytes at {operation.address:#x}")
        for number, operation in enumerate(result.operations)
    )
    rows += (("" if number else "misuse", line) for number, line in enumerate(result.misuse))
    rows += (
        ("" if number else "last lines", line)
        for number, line in enumerate([line for line in result.uart.splitlines() if line.strip()][-4:])
    )
    return "\n".join(f"{name:<10}  {text}" for name, text in rows)


def _as_json(result: qemu.BootResult, symbols: Sequence[elf.Symbol]) -> dict[str, object]:
    """`crash` has the ELF's own name, `demangled` what that is in C++, if it is a mangled one and c++filt knew."""
    name = elf.describe_address(symbols, result.crash.pc) if result.crash else None
    return {
        "ended": result.ended,
        "rom": result.rom,
        "resets": result.resets,
        "crash": result.crash.describe(symbols, demangled=False) if result.crash else None,
        "demangled": demangle([name]).get(name) if name else None,
        "uart": result.uart,
        "operations": [vars(operation) for operation in result.operations],
        "misuse": result.misuse,
        "spi": vars(result.spi) if result.spi else None,
    }

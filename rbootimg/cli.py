"""The command line: files in, files and text out. Exit status 0, 1 for bad input, 2 for wrong usage."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__, elf, report
from .errors import LayoutError, RbootError, RomError
from .files import write_output
from .flash import FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams, Slot, flash_map, flash_size, parse_slot
from .pack import RAM_SECTIONS, irom, pack, usage, warnings
from .rom import Rom


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["esptool2"]:  # whose arguments argparse would not understand
        from . import esptool2

        return esptool2.main(arguments[1:])
    if sys.stdout is not None:  # as it is in a process without one
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # for any file name
    try:
        status = _run(_parser().parse_args(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # of flush(): all else is said below
        return _fail(f"stdout: {error.strerror}")
    return status


def _run(options: argparse.Namespace) -> int:
    try:
        options.run(options)
    except RbootError as error:
        return _fail(f"{options.file}: {error}")
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"{error.filename or options.file}: {error.strerror}")
    return 0


def _fail(message: str) -> int:
    print(f"rbootimg: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rbootimg", description="Pack and check rBoot ROMs for the ESP8266.")
    parser.add_argument("--version", action="version", version=f"rbootimg {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    packing = commands.add_parser(
        "pack",
        help="pack a linked application into a ROM",
        description="Pack an application ELF into an rBoot ROM. With the same choices the bytes are esptool2's.",
    )
    packing.add_argument("file", type=Path, metavar="APP.ELF", help="the linked application")
    packing.add_argument("-o", "--output", type=Path, required=True, metavar="ROM.BIN", help="where the ROM goes")
    packing.add_argument(
        "--section",
        action="append",
        metavar="NAME",
        help="a section to load to RAM; repeat it, the order is the ROM's "
        f"(default: those of {' '.join(RAM_SECTIONS)} that have data)",
    )
    packing.add_argument(
        "--flash-size",
        type=_as_argument(lambda text: flash_size(text).name),
        metavar="SIZE",
        help=f"{', '.join(FLASH_SIZES)} (default: 512KB)",
    )
    packing.add_argument(
        "--flash-mode", type=str.lower, choices=tuple(FLASH_MODES), default="qio", help="default: %(default)s"
    )
    packing.add_argument(
        "--flash-freq", type=str.lower, choices=tuple(FLASH_FREQS), default="40m", help="default: %(default)s"
    )
    packing.add_argument("--irom-checksum", action="store_true", help="for rBoot built with BOOT_IROM_CHKSUM")
    packing.add_argument(
        "--slot",
        type=_as_argument(parse_slot),
        metavar="ADDRESS[:SIZE]",
        help="the slot's flash address: checks that the application is linked for it and fits",
    )
    packing.set_defaults(run=_pack)

    verifying = commands.add_parser(
        "verify",
        help="check a ROM as rBoot does",
        description="Check the headers, sections and checksum of a ROM; either kind of checksum will do.",
    )
    verifying.add_argument("file", type=Path, metavar="ROM.BIN", help="the ROM")
    verifying.add_argument(
        "--irom-checksum",
        action=argparse.BooleanOptionalAction,
        help="the kind of checksum it must have (default: either will do, which finds a little less)",
    )
    verifying.add_argument("--json", action="store_true", help="print what is in it as JSON")
    verifying.set_defaults(run=_verify)
    drawing = commands.add_parser(
        "layout",
        help="draw a flash layout",
        description="Draw a flash layout to scale, with a table of what is in it. Without LAYOUT: the presets.",
    )
    drawing.add_argument("file", nargs="?", metavar="LAYOUT", help="a layout file (TOML) or the name of a preset")
    form = drawing.add_mutually_exclusive_group()
    form.add_argument("--svg", action="store_true", help="the drawing as an SVG picture")
    form.add_argument("--sdk-partitions", action="store_true", help="the C header that NONOS SDK 3 wants of it")
    drawing.add_argument("-o", "--output", type=Path, metavar="FILE", help="where that goes (default: stdout)")
    drawing.set_defaults(run=_layout)
    comparing = commands.add_parser(
        "compare",
        help="whether two ROMs are the same application for two slots",
        description="Compare two ROMs: the same application, linked for two slots, differs in relocated words only. "
        "The exit status is 1 if anything else differs.",
    )
    comparing.add_argument("file", type=Path, metavar="ROM0.BIN", help="the one ROM")
    comparing.add_argument("other", type=Path, metavar="ROM1.BIN", help="the other")
    comparing.set_defaults(run=_compare)

    sizing = commands.add_parser(
        "size",
        help="what takes the memory, and what changed since another build",
        description="Bytes per memory, by section, symbol, object and library; with OLD.ELF what changed since then.",
    )
    sizing.add_argument("file", type=Path, metavar="APP.ELF", help="the linked application")
    sizing.add_argument("old", type=Path, nargs="?", metavar="OLD.ELF", help="another build, to compare with")
    sizing.add_argument(
        "--map", type=Path, metavar="APP.MAP", help="its map file (-Wl,-Map=): by object and library too"
    )
    sizing.add_argument("--old-map", type=Path, metavar="OLD.MAP", help="the map file of OLD.ELF")
    sizing.add_argument(
        "--by",
        choices=("section", "symbol", "object", "library"),
        help="only this table, and what a picture shows (default: all; the picture: symbol)",
    )
    sizing.add_argument("--top", type=_count, default=20, metavar="N", help="rows of a table, 0 for all (default: 20)")
    sizing.add_argument("--svg", type=Path, metavar="FILE", help="draw a treemap to this file")
    sizing.add_argument("--json", action="store_true", help="print JSON")
    sizing.set_defaults(run=_size, usage_error=sizing.error)

    from .commands import flash, flash_image, split

    for name, command in (("flash-image", flash_image), ("split", split), ("flash", flash)):
        subparser = commands.add_parser(name, help=command.HELP, description=command.DESCRIPTION)
        command.arguments(subparser)
        subparser.set_defaults(run=command.run)

    # Here for the help only; main() takes it before any other argument is looked at.
    commands.add_parser("esptool2", help="esptool2's command line, for Makefiles that call it")
    return parser


def _as_argument(read: Callable[[str], object]) -> Callable[[str], object]:
    """`read` as argparse calls it: what cannot be read is wrong usage."""

    def convert(text: str) -> object:
        try:
            return read(text)
        except LayoutError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _pack(options: argparse.Namespace) -> None:
    app = elf.parse(options.file.read_bytes())
    if options.output.exists() and options.output.samefile(options.file):
        raise RbootError("the ROM would replace the ELF; choose another --output")
    slot = _slot(options.slot, options.flash_size)
    params = FlashParams.from_names(options.flash_mode, options.flash_size or "512KB", options.flash_freq)
    rom = pack(app, options.section, params, options.irom_checksum, slot)
    data = rom.to_bytes()
    for warning in warnings(app, rom):
        print(f"rbootimg: {options.file}: warning: {warning}", file=sys.stderr)
    table = report.rom_table(str(options.output), slot, irom(app).address, usage(app, len(data), slot))
    is_file = write_output(options.output, data)
    print(table, file=sys.stdout if is_file else sys.stderr)  # the ROM may have gone to stdout


def _slot(slot: Slot | None, size: str | None) -> Slot | None:
    if slot is None:
        return None
    # Without a flash size only the slot itself is checked: in the largest flash every slot fits.
    checked = flash_map(size or "16MB", [slot], big_flash=True).slots[0]
    return Slot(checked.address, checked.size)


def _verify(options: argparse.Namespace) -> None:
    data = options.file.read_bytes()
    rom = Rom.from_bytes(data, options.irom_checksum)
    if options.json:
        import json  # not for every start

        print(json.dumps(_as_json(str(options.file), len(data), rom), indent=2))
    else:
        print(report.verified(str(options.file), len(data), rom))


def _compare(options: argparse.Namespace) -> None:
    from .compare import compare  # not for every start
    from .detect import detect

    roms = [_read_rom(path) for path in (options.file, options.other)]
    links = [detect(rom).link_address for rom in roms]
    known = (links[0], links[1]) if links[0] is not None and links[1] is not None else None
    comparison = compare(roms[0], roms[1], known)
    print(report.compared(comparison))
    if not comparison.same_app:
        raise RbootError(f"not the same application as {options.other}")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rows; write 0 or more")
    return int(text)


def _size(options: argparse.Namespace) -> None:
    from . import size, treemap  # not for every start

    if options.old_map and not options.old:
        options.usage_error("--old-map goes with OLD.ELF")
    if options.by in ("object", "library") and not (options.map and (options.old_map or not options.old)):
        options.usage_error(f"--by {options.by} takes the map file of each ELF: --map, --old-map")
    sizes = size.measure(options.file.read_bytes(), _map_text(options.map))
    difference = None
    if options.old:
        try:
            old = size.measure(options.old.read_bytes(), _map_text(options.old_map))
        except RbootError as error:
            raise RbootError(f"compared with {options.old}: {error}") from None
        difference = size.compare(old, sizes)
    if options.svg:
        cut = options.by or "symbol"
        cells = (treemap.Cell(part.name, part.size, part.region) for part in sizes.by[cut])
        write_output(options.svg, treemap.render(cells, f"{options.file.name} by {cut}").encode())
    if options.json:
        import json

        print(json.dumps({"file": str(options.file), **size.as_json(sizes, difference)}, indent=2))
        return
    cuts = (options.by,) if options.by else size.CUTS
    if difference:
        print(size.difference_tables(difference, cuts, options.top))
    else:
        print(size.tables(sizes, cuts, options.top))


def _map_text(path: Path | None) -> str | None:
    return None if path is None else path.read_bytes().decode(errors="replace")


def _read_rom(path: Path) -> Rom:
    try:
        return Rom.from_bytes(path.read_bytes())
    except RomError as error:
        raise RomError(f"{path}: {error}") from None


def _layout(options: argparse.Namespace) -> None:
    from . import layout, layoutview  # not for every start: the TOML parser
    from .commands.layout import read_layout

    if options.file is None:
        text = "\n".join(f"{name:<12} {layoutview.summary(found)}" for name, found in layout.PRESETS.items()) + "\n"
    else:
        found = read_layout(options.file)
        if options.svg:
            text = layoutview.svg(found)
        elif options.sdk_partitions:
            text = layout.sdk_partitions(found)
        else:
            parts = (layoutview.title(found), layoutview.drawing(found), layoutview.table(found))
            text = "\n\n".join(parts) + "\n"
    if options.output is None:
        print(text, end="")
    else:
        write_output(options.output, text.encode())


def _as_json(name: str, size: int, rom: Rom) -> dict[str, object]:
    return {
        "file": name,
        "size": size,
        "entry": rom.entry,
        "irom": {"size": len(rom.irom)},
        "sections": [{"address": section.address, "size": len(section.data)} for section in rom.sections],
        "flash": {"mode": rom.params.mode, "size": rom.params.size, "freq": rom.params.freq},
        "checksum": {"value": rom.checksum, "irom": rom.irom_checksum},
        "esptool_crc": rom.esptool_crc,
    }

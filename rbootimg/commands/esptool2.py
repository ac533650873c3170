"""The command line of esptool2: its arguments, output and exit status. Source: esptool2 2.0.0 (esptool2.c).

    -lib [OPTION]... ELF OUTPUT
    -bin [OPTION]... ELF OUTPUT SECTION...
    -header [OPTION]... ELF OUTPUT SECTION...

As in esptool2, the last of mutually exclusive options counts, options end at the first other argument or after `--`,
and the checks of `rbootimg pack` (addresses of sections, slot) are not made. Unlike esptool2, a failure leaves an
existing output unchanged: it is older than the ELF, so that make tries again.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import RbootError, error_subject
from ..fileio import read_file, write_output
from ..layout.params import DEFAULT_PARAMS, FLASH_FREQS, FLASH_MODES, FLASH_SIZES, FlashParams
from ..rom.elf import Elf, parse_elf
from ..rom.esptool2 import BOOT1_IROM_OFFSET, boot1_image, header, lib, old_image, rom
from ..rom.pack import IROM_SECTION

_FAILED = 255
"""The exit status of a failure: esptool2 returns -1, and a shell sees the low byte."""

_KINDS = ("-bin", "-lib", "-header")
_BOOTS = MappingProxyType({"-boot0": 0, "-boot1": 1, "-boot2": 2})
_MODES = MappingProxyType({f"-{name}": code for name, code in FLASH_MODES.items()})
_SIZES = MappingProxyType(
    {
        "-256": FLASH_SIZES["256KB"].code,
        "-512": FLASH_SIZES["512KB"].code,
        "-1024": FLASH_SIZES["1MB"].code,
        "-2048": FLASH_SIZES["2MB"].code,
        "-2048b": FLASH_SIZES["2MB-c1"].code,
        "-4096": FLASH_SIZES["4MB"].code,
        "-8192": FLASH_SIZES["8MB"].code,
        "-16384": FLASH_SIZES["16MB"].code,
    }
)
_FREQS = MappingProxyType(
    {"-20": FLASH_FREQS["20m"], "-26.7": FLASH_FREQS["26m"], "-40": FLASH_FREQS["40m"], "-80": FLASH_FREQS["80m"]}
)
_SWITCHES = ("-iromchksum", "-quiet", "-debug")
_OPTIONS = frozenset((*_KINDS, *_BOOTS, *_MODES, *_SIZES, *_FREQS, *_SWITCHES))

DESCRIPTION = "Run esptool2's command line, for Makefiles that are written for it."

EPILOG = f"""\
usage: esptool2 -lib [OPTION]... ELF OUTPUT               the flash code only ({IROM_SECTION})
       esptool2 -bin [OPTION]... ELF OUTPUT SECTION...    an image that loads these sections to RAM
       esptool2 -header [OPTION]... ELF OUTPUT SECTION... these sections as arrays in a C header

options of -bin (the last one of each line counts):
  {" ".join(_BOOTS)}: without flash code (the default), with it at {BOOT1_IROM_OFFSET:#x}, rBoot ROM
  {" ".join(_MODES)}: the flash mode (default: -qio)
  {" ".join(_SIZES)}: the flash size in KB (default: -512)
  {" ".join(_FREQS)}: the flash frequency in MHz (default: -40)
  -iromchksum: include the flash code in the checksum of -boot2, for rBoot built with BOOT_IROM_CHKSUM
options of all:
  -quiet: print errors only    -debug: print the sections of the ELF    --: end of the options

This is rbootimg with the command line of esptool2; `rbootimg --help` lists its own commands."""


@dataclass(frozen=True)
class Command:
    """A parsed command line: `kind` is `-bin`, `-lib` or `-header`, `boot` the number of `-boot…`."""

    kind: str
    elf: str
    output: str
    sections: tuple[str, ...] = ()
    boot: int = 0
    params: FlashParams = DEFAULT_PARAMS
    irom_checksum: bool = False
    quiet: bool = False
    debug: bool = False

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Command:
        """Parse the arguments. Raises RbootError with esptool2's messages for wrong usage."""
        options, names = _split(arguments)
        kinds = [option for option in options if option in _KINDS]
        if len(kinds) != 1:
            raise RbootError("You must specify -bin OR -lib OR -header for build type.")
        if "-quiet" in options and "-debug" in options:
            raise RbootError("You cannot specify -quiet and -debug.")
        with_sections = kinds[0] != "-lib"
        if len(names) < 2 + with_sections:
            raise RbootError("Not enough arguments supplied.")
        if len(names) > 2 and not with_sections:
            raise RbootError("Too many arguments supplied.")
        return cls(
            kind=kinds[0],
            elf=names[0],
            output=names[1],
            sections=tuple(names[2:]),
            boot=_last(options, _BOOTS, 0),
            params=FlashParams(
                mode=_last(options, _MODES, DEFAULT_PARAMS.mode),
                size=_last(options, _SIZES, DEFAULT_PARAMS.size),
                freq=_last(options, _FREQS, DEFAULT_PARAMS.freq),
            ),
            irom_checksum="-iromchksum" in options,
            quiet="-quiet" in options,
            debug="-debug" in options,
        )

    def convert(self, elf: Elf) -> bytes:
        """Create the output for `elf`. Raises ElfError, RomError and FitError as the functions of rom.esptool2 do."""
        if self.kind == "-lib":
            return lib(elf)
        if self.kind == "-header":
            return header(elf, self.sections)
        if self.boot == 2:
            return rom(elf, self.sections, self.params, self.irom_checksum).to_bytes()
        if self.boot == 1:
            return boot1_image(elf, self.sections, self.params)
        return old_image(elf, self.sections, self.params)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run esptool2's command line and return the exit status, 0 or 255."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):  # None in a process without stdout
        sys.stdout.reconfigure(errors="backslashreplace")  # for any file name
    if not arguments:
        _print(EPILOG)
        return _FAILED
    try:
        command = Command.from_arguments(arguments)
        elf = _load(command.elf)
        if command.debug:
            _print(_contents(elf))
        _save(command, command.convert(elf))
    except RbootError as error:
        with contextlib.suppress(OSError):  # stderr is closed
            print(f"Error: {error}", file=sys.stderr, flush=True)
        return _FAILED
    if not command.quiet:
        _print(f"Successfully created '{command.output}'.")
    return 0


def _split(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Split the arguments into options and names. Raises RbootError for an unknown option."""
    for position, argument in enumerate(arguments):
        if argument == "--":
            return arguments[:position], arguments[position + 1 :]
        if argument in _OPTIONS:
            continue
        if argument.startswith("-"):
            raise RbootError(f"Unrecognised option '{argument}'.")
        return arguments[:position], arguments[position:]
    return arguments, ()


def _last(options: Sequence[str], meanings: Mapping[str, int], default: int) -> int:
    return next((meanings[option] for option in reversed(options) if option in meanings), default)


def _load(name: str) -> Elf:
    try:
        with error_subject(name):
            return parse_elf(read_file(name))
    except OSError as error:
        raise RbootError(f"Can't open elf file '{name}': {error.strerror}.") from None


def _save(command: Command, data: bytes) -> None:
    output = Path(command.output)
    try:
        if os.path.exists(output) and output.samefile(command.elf):
            raise RbootError(f"Refusing to overwrite the elf file '{command.elf}'.")
        write_output(output, data)
    except OSError as error:
        raise RbootError(f"Failed to open output file '{command.output}' for writing: {error.strerror}.") from None


def _contents(elf: Elf) -> str:
    lines = [f"entry: {elf.entry:#010x}"]
    lines += (f"{section.name}: {section.size} bytes at {section.address:#010x}" for section in elf.sections)
    return "\n".join(lines)


def _print(text: str) -> None:
    """Print text. A closed pipe (`| head`) is not a failure: the result is the output file."""
    try:
        print(text, flush=True)
    except OSError:
        # Otherwise Python reports the error again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())

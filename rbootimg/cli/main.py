"""The command line: which command is meant, and how it ends. Exit status 0, 1 for bad input, 2 for wrong usage.

Each command is a module of `rbootimg.commands` with `DESCRIPTION`, `arguments(parser)` and `run(options)`; `file` is
the argument that errors without a subject are about. Only the module of the command at hand is imported.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence

from .._version import __version__
from ..errors import RbootError, error_subject

COMMANDS = {
    "pack": "pack a linked application into a ROM",
    "verify": "check a ROM as rBoot does",
    "info": "what a file is and what is in it: a ROM, a flash, a boot config, an ELF",
    "extract": "take a ROM apart into its sections",
    "layout": "draw a flash layout",
    "compare": "whether two ROMs are the same application for two slots",
    "size": "what takes the memory, and what changed since another build",
    "flash-image": "put loader, config, ROMs and data together to a whole flash",
    "split": "take a dump of a flash apart",
    "flash": "write a whole flash to a device with esptool",
    "boot": "run a whole flash in the emulator",
    "prove": "prove in the emulator that a whole flash boots, every byte in place",
    "publish": "put a release into a web root",
    "releases": "list the releases in a web root",
    "rollback": "go back to an earlier release",
    "prune": "delete old releases",
    "check": "check a web root, in its folder or through its server",
    "serve": "serve a web root to the devices on the desk",
    "nginx-conf": "print a configuration for nginx in production",
    "esptool2": "esptool2's command line, for Makefiles that call it",
}
"""What `rbootimg --help` says of each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _name_stdout()
    try:
        status = _run(arguments)
        if sys.stdout is not None:  # as it is in a process without one
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()  # the reader (`| head`) has seen enough
        return 0
    except KeyboardInterrupt:
        return 130  # what shells expect of a program that Ctrl-C ended
    except OSError as error:  # of flush(): all else is said below
        _drop_stdout()
        return _fail(f"stdout: {error.strerror}")
    return status


def _run(arguments: Sequence[str]) -> int:
    try:
        name, rest = _command(arguments)
        if name == "esptool2":  # whose arguments argparse would not understand
            from ..commands import esptool2

            return esptool2.main(rest)
        return _call(command_parser(name).parse_args(rest))
    except SystemExit as end:  # argparse has printed the help, or what is wrong
        return int(end.code or 0)


def _call(options: argparse.Namespace) -> int:
    subject = getattr(options, "file", None)
    try:
        with error_subject(subject):
            options.run(options)
    except RbootError as error:
        return _fail(f"{error}; {error.hint.command_line}" if error.hint else str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename == _STDOUT:
            raise
        return _fail(f"{error.filename or subject}: {error.strerror}")
    return 0


def _fail(message: str) -> int:
    print(f"rbootimg: {message}", file=sys.stderr)
    return 1


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command's name and its arguments."""
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="rbootimg",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Pack and check rBoot ROMs for the ESP8266. `rbootimg COMMAND --help` lists a command's options.",
        epilog="\n".join(("commands:", *(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()))),
        formatter_class=_ListFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rbootimg {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("arguments", nargs="*", default=[], help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    return chosen.command, chosen.arguments


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of the command `name`, any but esptool2."""
    module = importlib.import_module(f"rbootimg.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"rbootimg {name}", description=module.DESCRIPTION, formatter_class=_Formatter
    )
    parser.set_defaults(run=module.run)
    module.arguments(parser)
    return parser


class _Formatter(argparse.HelpFormatter):
    """argparse makes one for each argument, and asks shutil for the width, which takes 3 ms to import."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width())


class _ListFormatter(_Formatter, argparse.RawDescriptionHelpFormatter):
    """The same, which leaves the list of the commands as it is."""


def _width() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            return os.get_terminal_size().columns
        except OSError:
            return 80


_STDOUT = "stdout"


class _Stdout(io.FileIO):
    """Stdout, whose errors say that they are its own; else they would have no file name."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type] # what FileIO takes
        except OSError as error:
            error.filename = _STDOUT
            raise


def _name_stdout() -> None:
    old = sys.stdout
    if isinstance(old, io.TextIOWrapper):  # it is None in a process without one
        old.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(old.fileno(), "wb", closefd=False)),
            old.encoding,
            "backslashreplace",  # for any file name
            line_buffering=old.line_buffering,
            write_through=old.write_through,
        )


def _drop_stdout() -> None:
    # Python would complain again when it closes stdout.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

"""The command line: select the command, run it, report errors. Exit status 0, 1 for invalid input, 2 for wrong usage.

Each command is a module of `rbootimg.commands` with `DESCRIPTION`, `arguments(parser)` and `run(options)`; the argument
`file` is the subject of errors without one. Only the module of the selected command is imported.
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

GROUPS = {
    "Build": {
        "pack": "pack a linked application into a ROM",
        "flash-image": "build a complete flash image",
        "flash": "write a complete flash image to a device with esptool",
        "layout": "draw a flash layout, or list the presets",
        "esptool2": "run esptool2's command line, for existing Makefiles",
    },
    "Inspect": {
        "info": "identify a file and describe its contents",
        "verify": "check a ROM as rBoot does",
        "size": "report memory usage, or compare two builds",
        "compare": "check that two ROMs are one application for two slots",
        "extract": "write each section of a ROM to a file",
        "split": "split a flash dump into files",
    },
    "Emulate": {
        "boot": "run a flash image in QEMU",
        "prove": "verify in QEMU that each ROM of a flash image boots",
    },
    "Release": {
        "publish": "publish a release to a web root",
        "releases": "list the releases of a web root",
        "rollback": "make an earlier release current again",
        "prune": "delete old releases",
        "check": "check a web root, local or through its server",
    },
    "Serve": {
        "serve": "run a development server for a web root",
        "nginx-conf": "print an nginx configuration for a web root",
    },
}
"""The commands by group, as `rbootimg --help` lists them, each with its summary."""

COMMANDS = tuple(name for group in GROUPS.values() for name in group)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _name_stdout()
    try:
        status = _run(arguments)
        if sys.stdout is not None:  # None in a process without stdout
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()  # closed by the reader, such as `head`
        return 0
    except KeyboardInterrupt:
        return 130  # the shells' convention for Ctrl-C
    except OSError as error:  # of flush(); _call() reports all others
        _drop_stdout()
        return _fail(f"stdout: {error.strerror}")
    return status


def _run(arguments: Sequence[str]) -> int:
    try:
        name, rest = _command(arguments)
        if name == "esptool2":  # its options are not argparse's
            from ..commands import esptool2

            return esptool2.main(rest)
        return _call(command_parser(name).parse_args(rest))
    except SystemExit as end:  # argparse has printed the help or the usage error
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
    from ..views.messages import error_line

    print(error_line("rbootimg", message), file=sys.stderr)
    return 1


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of the command and its arguments."""
    if arguments and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    parser = argparse.ArgumentParser(
        prog="rbootimg",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Pack, check, prove and publish rBoot ROMs for the ESP8266.\n\n"
        "`rbootimg COMMAND --help` describes a command and its options.",
        epilog=_command_list(),
        formatter_class=_ListFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rbootimg {__version__}")
    parser.add_argument(
        "command",
        choices=COMMANDS,
        metavar="COMMAND",
        help=argparse.SUPPRESS,
    )
    parser.add_argument("arguments", nargs="*", default=[], help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    return chosen.command, chosen.arguments


def _command_list() -> str:
    from ..views.tables import Table, plain  # for --help only

    rows = tuple((name, summary) for group in GROUPS.values() for name, summary in group.items())
    lines = iter(plain((Table((), rows, "<<"),)).splitlines())  # one table: all groups have the same columns
    groups = ((f"{title}:", *(f"  {next(lines)}" for _ in group)) for title, group in GROUPS.items())
    return "\n\n".join("\n".join(group) for group in groups)


def command_parser(name: str) -> argparse.ArgumentParser:
    """Create the parser of the command `name`; esptool2 has none."""
    module = importlib.import_module(f"rbootimg.commands.{name.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"rbootimg {name}", description=module.DESCRIPTION, formatter_class=_Formatter
    )
    parser.set_defaults(run=module.run)
    module.arguments(parser)
    return parser


class _Formatter(argparse.HelpFormatter):
    """A formatter without shutil: argparse creates one for each argument, and shutil takes 3 ms to import."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width())


class _ListFormatter(_Formatter, argparse.RawDescriptionHelpFormatter):
    """A formatter that does not wrap the list of commands."""


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
    """Stdout with its name in errors, which have a file name only for opened files."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type] # as FileIO.write()
        except OSError as error:
            error.filename = _STDOUT
            raise


def _name_stdout() -> None:
    old = sys.stdout
    if isinstance(old, io.TextIOWrapper):  # None in a process without stdout
        old.flush()
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(old.fileno(), "wb", closefd=False)),
            old.encoding,
            "backslashreplace",  # for any file name
            line_buffering=old.line_buffering,
            write_through=old.write_through,
        )


def _drop_stdout() -> None:
    # Otherwise Python reports the error again when it closes stdout.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

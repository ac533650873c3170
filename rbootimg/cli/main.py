"""The command line: select the command, run it, report errors. Exit status 0, 1 for invalid input, 2 for wrong usage.

Each command is a module of `rbootimg.commands` with `DESCRIPTION`, `arguments(parser)`, `run(options)`, and `EPILOG` if
more text follows its options; the argument `file` is the subject of errors without one. Only the module of the selected
command is imported.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from ..errors import RbootError, error_subject
from .parser import COMMANDS, command_parser, name_parser


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
    chosen = name_parser().parse_args(arguments)
    return chosen.command, chosen.arguments


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

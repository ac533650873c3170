"""The parsers of the command line: one for each command, and a complete one with all commands.

Only the complete one imports the module of each command.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NoReturn

from .._version import __version__

GROUPS = {
    "Build": {
        "pack": "pack a linked application into a ROM",
        "flash-image": "build a complete flash image",
        "flash": "write a complete flash image to a device with esptool",
        "file-system": "make a LittleFS image of a directory",
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
    "Debug": {
        "monitor": "show and decode the output of a device or of the emulator",
        "decode": "decode the crashes in a log",
    },
    "Release": {
        "keygen": "make a key that signs releases",
        "keys": "convert public keys, or write the header of the client",
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
    "Set up": {
        "platformio": "add rBoot ROMs to a PlatformIO project",
        "completion": "print a script that completes commands in bash, zsh or fish",
    },
}
"""The commands by group, as `rbootimg --help` lists them, each with its summary."""

COMMANDS = tuple(name for group in GROUPS.values() for name in group)

_DESCRIPTION = """\
Pack, check, prove and publish rBoot ROMs for the ESP8266.

`rbootimg COMMAND --help` describes a command and its options."""


_MAX_WIDTH = 100
"""The longest line of a help in columns: longer ones are hard to read."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are coloured on a terminal."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with status 2."""
        from ..views.messages import error_line  # not loaded without an error

        self.print_usage(sys.stderr)
        self.exit(2, f"{error_line(f'{self.prog}: error', message)}\n")


def name_parser() -> argparse.ArgumentParser:
    """Create the parser of a command's name and its arguments. Its help lists the commands, none of which is loaded."""
    parser = _program_parser()
    parser.epilog = _command_list()
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", default=[], help=argparse.SUPPRESS)
    return parser


def command_parser(name: str) -> argparse.ArgumentParser:
    """Create the parser of the command `name`; esptool2 has none."""
    module = _module(name)
    parser = Parser(prog=f"rbootimg {name}", **_texts(module))
    _add_arguments(parser, module)
    return parser


def complete_parser() -> argparse.ArgumentParser:
    """Create a parser that has each command as a subparser, for completion and documentation."""
    parser = _program_parser()
    commands = parser.add_subparsers(prog="rbootimg", dest="command", metavar="COMMAND", required=True)
    for group in GROUPS.values():
        for name, summary in group.items():
            module = _module(name)
            if name == "esptool2":  # its options are not argparse's
                command = commands.add_parser(name, help=summary, add_help=False, **_texts(module))
                command.add_argument("arguments", nargs="*", metavar="FILE", help="the arguments of esptool2")
            else:
                _add_arguments(commands.add_parser(name, help=summary, **_texts(module)), module)
    return parser


def _program_parser() -> Parser:
    parser = Parser(
        prog="rbootimg",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=_DESCRIPTION,
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=f"rbootimg {__version__}")
    return parser


def _command_list() -> str:
    from ..views.tables import Table, plain  # for --help only

    rows = tuple((name, summary) for group in GROUPS.values() for name, summary in group.items())
    lines = iter(plain((Table((), rows, "<<"),)).splitlines())  # one table: all groups have the same columns
    groups = ((f"{title}:", *(f"  {next(lines)}" for _ in group)) for title, group in GROUPS.items())
    return "\n\n".join("\n".join(group) for group in groups)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"rbootimg.commands.{name.replace('-', '_')}")


def _texts(module: ModuleType) -> dict[str, Any]:
    """Return the texts of a command's help, as arguments of its parser."""
    return {
        "description": module.DESCRIPTION,
        "epilog": getattr(module, "EPILOG", None),
        "formatter_class": Formatter,
    }


def _add_arguments(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    parser.set_defaults(run=module.run, complete_parser=complete_parser)
    module.arguments(parser)


class Formatter(argparse.HelpFormatter):
    """A formatter that keeps lines of a text with line breaks, and breaks others at spaces only.

    It avoids shutil, which takes 3 ms to import: argparse creates a formatter for each argument.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(_width(), _MAX_WIDTH))

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        """Add a usage with the required arguments only: the help lists the options below it."""
        super().add_usage(usage or self._short_usage(actions), actions, groups, prefix)

    def _short_usage(self, actions: Iterable[argparse.Action]) -> str:
        words = ["[options]"]
        for action in sorted(actions, key=lambda action: not action.option_strings):
            if action.required or not action.option_strings:
                words.append(" ".join((*action.option_strings[:1], self._format_args(action, action.dest.upper()))))
        start = f"usage: {self._prog} "
        together = (word.replace(" ", "\N{NO-BREAK SPACE}") for word in words)
        lines = _wrap(start + " ".join(together), self._width, " " * len(start))
        text = "\n".join(lines).removeprefix("usage: ").replace("\N{NO-BREAK SPACE}", " ")
        return text.replace("%", "%%")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = text.splitlines() if "\n" in text else _wrap(text, width)
        return "\n".join(indent + line for line in lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrap(text, width)


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    import textwrap  # for --help and errors only

    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def _width() -> int:
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        try:
            return os.get_terminal_size().columns
        except OSError:
            return 80

"""The command line: which command is meant, and how it ends. Exit status 0, 1 for bad input, 2 for wrong usage.

Each command is a module of `rbootimg.commands` with `DESCRIPTION`, `arguments(parser)` and `run(options)`; `file` is
the argument that its errors name. Only that of the command at hand is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from . import __version__
from .errors import RbootError, Way

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

_WAYS = {
    Way.VERSION: "or give one with --version",
    Way.FORCE: "--force does it all the same, for the desk",
    Way.DOWNGRADE: "`rbootimg rollback` goes back to what was published, --allow-downgrade allows it all the same",
    Way.APP: "say which one with --app",
    Way.ROLLBACK: "name the one to go to: `rbootimg rollback VERSION`",
    Way.HISTORY: "`rbootimg rollback VERSION` makes it anew, with that release as the current one",
    Way.RELEASE: "`rbootimg publish` with a --version makes one",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["esptool2"]:  # whose arguments argparse would not understand
        from . import esptool2

        return esptool2.main(arguments[1:])
    if sys.stdout is not None:  # as it is in a process without one
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # for any file name
    try:
        status = _run(_parser(arguments).parse_args(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130  # what shells expect of a program that Ctrl-C ended
    except OSError as error:  # of flush(): all else is said below
        return _fail(f"stdout: {error.strerror}")
    return status


def _run(options: argparse.Namespace) -> int:
    try:
        options.run(options)
    except RbootError as error:
        return _fail(f"{options.file}: {error}" + (f"; {_WAYS[error.way]}" if error.way else ""))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(f"{error.filename or options.file}: {error.strerror}")
    return 0


def _fail(message: str) -> int:
    print(f"rbootimg: {message}", file=sys.stderr)
    return 1


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rbootimg", description="Pack and check rBoot ROMs for the ESP8266.")
    parser.add_argument("--version", action="version", version=f"rbootimg {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, add_help=name == wanted)
        if name == wanted:
            module = importlib.import_module(f".commands.{name.replace('-', '_')}", __package__)
            command.description = module.DESCRIPTION
            command.set_defaults(run=module.run)
            module.arguments(command)
    return parser

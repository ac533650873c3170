"""The project in PlatformIO's build: its directory, and errors in PlatformIO's form."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import SCons.Errors

from ..errors import RbootError
from ..scons.frontend import FrontEnd
from .options import OPTIONS
from .words import run_command, translator


@contextlib.contextmanager
def configuring(env: Any) -> Iterator[FrontEnd]:
    """Report an error as one line, which ends the build, and let file names be relative to the project's directory.

    A script may be elsewhere, as the one in the package is. Gives PlatformIO's words for messages.
    """
    front_end = FrontEnd(_command, translator(env["PIOENV"], tuple(OPTIONS.values())))
    before = env.fs.getcwd()
    env.fs.chdir(env.fs.Top)
    try:
        yield front_end
    except (RbootError, SCons.Errors.UserError) as error:
        message = front_end.translate(str(error).removeprefix("rboot: "))
        sys.stderr.write(f"Error: [env:{env['PIOENV']}] {message}\n")
        env.Exit(1)
    finally:
        env.fs.chdir(before)


def _command(env: Any, target: str) -> str:
    return run_command(env["PIOENV"], target)

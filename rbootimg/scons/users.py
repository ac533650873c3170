"""Errors while SConscripts are read, reported at the user's line instead of a line of this package."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import SCons
import SCons.Errors

from ..errors import RbootError
from ..views.messages import error_text

_FOREIGN_CODE = (
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[2] / "site_scons" / "site_tools"),
    str(Path(SCons.__file__).parent),
    "<frozen importlib",
)
"""Beginnings of file names whose code is not in an SConscript: ours, SCons's, Python's."""


def convert_errors(function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """Wrap `function`, which SConscripts call by `name`, so that its errors are UserErrors at the SConscript's line.

    TypeError and the like are converted too, as not all values are checked for their type. `--debug=stacktrace` shows
    where the error was raised.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        cause: Exception
        try:
            return function(*arguments, **keywords)
        except SCons.Errors.UserError as error:
            cause, message = error, str(error)
        except RbootError as error:
            cause, message = error, f"rboot: {error_text(format_error(error))}"
        except (AttributeError, TypeError, ValueError) as error:
            cause, message = error, str(error).replace(f"{function.__name__}()", f"{name}()")
            message = f"rboot: {message if not name or message.startswith(name) else f'{name}: {message}'}"
        raise SCons.Errors.UserError(message).with_traceback(user_traceback()) from cause

    return call


def format_error(error: RbootError) -> str:
    """A library error with the hint for users of SCons."""
    return f"{error}; {error.hint.scons}" if error.hint else str(error)


def user_traceback() -> TracebackType | None:
    """A traceback of the SConscript's line that is being executed.

    SCons reports the innermost frame outside its own package, which would be one of ours.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(_FOREIGN_CODE):
        frame = frame.f_back
    return frame and TracebackType(None, frame, frame.f_lasti, frame.f_lineno)

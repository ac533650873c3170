"""Errors while SConscripts are read: SCons says where the user's file is, not where our code is."""

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

_NOT_THE_USERS = (
    str(Path(__file__).parents[1]),
    str(Path(__file__).parents[2] / "site_scons" / "site_tools"),
    str(Path(SCons.__file__).parent),
    "<frozen importlib",
)
"""Where frames begin whose code no SConscript has."""


def for_users(function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """`function` as SConscripts call it by `name`, so that its errors are those of their line.

    Values of wrong types are too many to look for; what they come to is said in one line too, and by
    `--debug=stacktrace` where that was.
    """

    @functools.wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        cause: Exception
        try:
            return function(*arguments, **keywords)
        except SCons.Errors.UserError as error:
            cause, text = error, str(error)
        except RbootError as error:
            cause, text = error, f"rboot: {error}"
        except (AttributeError, TypeError, ValueError) as error:
            cause, text = error, str(error).replace(f"{function.__name__}()", f"{name}()")
            text = f"rboot: {text if not name or text.startswith(name) else f'{name}: {text}'}"
        raise SCons.Errors.UserError(text).with_traceback(users_place()) from cause

    return call


def users_place() -> TracebackType | None:
    """A traceback that ends in the SConscript that is being read.

    SCons names the file and the line of the innermost frame that is not of SCons itself.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return frame and TracebackType(None, frame, frame.f_lasti, frame.f_lineno)

"""Ctrl-C during targets that run until then: with -j they are in a thread, which signals do not reach."""

from __future__ import annotations

import signal


def is_interrupted() -> bool:
    """Whether SCons was told to stop, by Ctrl-C or another signal.

    SCons's signal handler only notes that in its Jobs object, which it has as a default argument.
    """
    handler = signal.getsignal(signal.SIGINT)
    defaults = getattr(handler, "__defaults__", None) or ()
    return any(jobs.were_interrupted() for jobs in defaults if hasattr(jobs, "were_interrupted"))

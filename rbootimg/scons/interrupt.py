"""Ctrl-C for targets that run until then: with -j they are in a thread, which signals do not reach."""

from __future__ import annotations

import signal


def is_interrupted() -> bool:
    """Whether SCons was told to stop, by Ctrl-C or another signal.

    Its handler only notes that in the Jobs that it belongs to, from which SCons's threads take their work.
    """
    handler = signal.getsignal(signal.SIGINT)
    belongings = getattr(handler, "__defaults__", None) or ()
    return any(jobs.were_interrupted() for jobs in belongings if hasattr(jobs, "were_interrupted"))

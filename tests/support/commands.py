"""Runs of rbootimg, for the tests of its commands."""

from __future__ import annotations

import os

from .programs import ROOT, run_module


def run(*arguments: str, status: int = 0, **environment: str) -> tuple[str, str]:
    """Run rbootimg; what it printed to stdout and to stderr."""
    done = run_module("rbootimg", *arguments, env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def refused(*arguments: str, **environment: str) -> str:
    """Run rbootimg, which must fail with one line; that line."""
    out, line = run(*arguments, status=1, **environment)
    assert out == ""
    assert line.startswith("rbootimg: ")
    assert line.count("\n") == 1
    return line.removeprefix("rbootimg: ").rstrip("\n")

"""Functions in processes of their own, under limits of the system, forked from one that has loaded all that they need.

So each is there in some milliseconds, and has nothing of the tests' own memory.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import resource
import subprocess
import sys
import traceback
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def limit(memory: int, seconds: int) -> None:
    """Let this process have `memory` bytes of address space more than it has, and `seconds` of CPU time."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Processes(contextlib.AbstractContextManager["Processes"]):
    """Runs functions of the module in the file `path`."""

    def __init__(self, path: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", f"from support import limited; limited.serve({path!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS), str(TESTS.parent)))},
        )

    def __exit__(self, *exception: object) -> None:
        self._server.communicate()

    def run(self, function: str, *arguments: object, memory: int, seconds: int) -> tuple[bool, str]:
        """Whether the function returned, and the text that it returned, or else what became of it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        pickle.dump((function, arguments, memory, seconds), self._server.stdin)
        self._server.stdin.flush()
        answer: tuple[bool, str] = pickle.load(self._server.stdout)
        return answer


def serve(path: str) -> None:
    """Run what comes from stdin, each in a process of its own."""
    spec = importlib.util.spec_from_file_location("limited_functions", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints is no answer
    with contextlib.suppress(EOFError):
        while True:
            function, arguments, memory, seconds = pickle.load(requests)
            read, write = os.pipe()
            child = os.fork()
            if not child:
                limit(memory, seconds)
                os.write(write, pickle.dumps(_run(getattr(module, function), arguments)))
                os._exit(0)
            os.close(write)
            with open(read, "rb") as result:
                answer = result.read()
            _, status = os.waitpid(child, 0)
            killed = pickle.dumps((False, f"killed by signal {os.WTERMSIG(status)}: too much CPU time?"))
            answers.write(answer or killed)
            answers.flush()


def _run(function: object, arguments: tuple[object, ...]) -> tuple[bool, str]:
    try:
        return True, function(*arguments)  # type: ignore[operator]
    except BaseException:  # MemoryError among them
        return False, traceback.format_exc()[-4000:]  # which fits a pipe

"""Run a program of the binutils on foreign input, with limits of its time, memory and output."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

_MEMORY = 256 << 20


def run_limited(
    command: Sequence[str], data: bytes, *, seconds: float, max_output: int, memory: int = _MEMORY
) -> bytes:
    """Run `command` with `data` on stdin; return its output up to a limit, empty if it cannot be started."""
    import subprocess  # only for the commands that run one
    import tempfile

    with contextlib.suppress(OSError), tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL)
        with process:
            try:
                _limit(process.pid, max_output, memory)
                process.communicate(data, seconds)
            except BaseException as error:
                process.kill()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
        output.seek(0)
        return output.read(max_output)
    return b""


def _limit(pid: int, output: int, memory: int) -> None:
    """Limit the process to `output` bytes written and to `memory` bytes, if the system supports that."""
    import resource

    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):  # the process may have ended
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (output, output))
            resource.prlimit(pid, resource.RLIMIT_AS, (memory, memory))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))

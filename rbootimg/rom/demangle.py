"""Demangle names of C++ functions with binutils' c++filt, if it is on PATH.

Names come from files, and one of 300 characters can expand to gigabytes: c++filt's time, memory and output are limited.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

TOOLS = ("xtensa-lx106-elf-c++filt", "c++filt")
"""The programs to use, in order of preference."""

MANGLED = "_Z"
"""The prefix of a mangled name. Source: C++ ABI (Itanium), 5.1.2."""

_NAME = re.compile(MANGLED + r"[\w.$]{1,2000}", re.ASCII)
_MAX_LENGTH = 4000  # characters of a demangled name
_SECONDS = 2.0  # 12,000 names take 0.05
_MEMORY = 256 << 20
_MIN_OUTPUT, _MAX_RATIO = 1 << 20, 20  # the output limit: bytes, or a multiple of the input, whichever is larger


def demangle(names: Iterable[str]) -> dict[str, str]:
    """Map mangled `names` to the C++ names; others are left out, as are all without c++filt.

    A name may have an offset, as elf.describe_address() writes it: `_Z4loopv+0x8` becomes `loop()+0x8`.
    """
    mangled = dict.fromkeys(name for name in names if name.startswith(MANGLED))
    asked = {name: plain for name in mangled if _NAME.fullmatch(plain := name.partition("+")[0])}
    if not asked:
        return {}
    found = _ask(list(dict.fromkeys(asked.values())))
    return {name: found[plain] + name[len(plain) :] for name, plain in asked.items() if plain in found}


def _ask(names: list[str]) -> dict[str, str]:
    """Run c++filt on `names`; those beyond its limits are left out."""
    import shutil  # only for C++ programs
    import subprocess
    import tempfile

    tool = next(filter(None, map(shutil.which, TOOLS)), None)
    if tool is None:
        return {}
    lines = "".join(f"{name}\n" for name in names).encode()
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as output:
        process = subprocess.Popen([tool, "-n"], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL)
        with process:
            max_output = max(_MIN_OUTPUT, _MAX_RATIO * len(lines))
            try:
                _limit(process.pid, max_output)
                process.communicate(lines, _SECONDS)
            except BaseException as error:
                process.kill()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
        output.seek(0)
        # One line per name; the last one may be truncated.
        found = output.read(max_output).decode(errors="replace").split("\n")[:-1]
        return {name: text for name, text in zip(names, found) if text != name and len(text) <= _MAX_LENGTH}
    return {}


def _limit(pid: int, output: int) -> None:
    """Limit the process to `output` bytes written and to _MEMORY, if the system supports that."""
    import resource

    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):  # the process may have ended
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (output, output))
            resource.prlimit(pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))

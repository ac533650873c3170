"""Names of C++ functions as people write them: binutils' c++filt says so, where it is on PATH.

Names come from files, and one of 300 letters can stand for gigabytes: c++filt gets some time and memory, and no more.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable

TOOLS = ("xtensa-lx106-elf-c++filt", "c++filt")
"""The first that is there is asked."""

MANGLED = "_Z"
"""How a mangled name begins: C++ ABI (Itanium), 5.1.2."""

_NAME = re.compile(MANGLED + r"[\w.$]{1,2000}", re.ASCII)
_LONGEST = 4000  # letters of what is shown for a name
_SECONDS = 2.0  # 12,000 names take 0.05
_MEMORY = 256 << 20
_LEAST_OUTPUT, _MOST_TIMES = 1 << 20, 20  # bytes of all names: so many, or so many times those of the mangled ones


def demangle(names: Iterable[str]) -> dict[str, str]:
    """What those of `names` are in C++ that are mangled, for all at once; of others, and without c++filt, nothing.

    A name may have an offset after it, as elf.describe_address() writes it: `_Z4loopv+0x8`, which is `loop()+0x8`.
    """
    mangled = dict.fromkeys(name for name in names if name.startswith(MANGLED))
    asked = {name: plain for name in mangled if _NAME.fullmatch(plain := name.partition("+")[0])}
    if not asked:
        return {}
    found = _ask(list(dict.fromkeys(asked.values())))
    return {name: found[plain] + name[len(plain) :] for name, plain in asked.items() if plain in found}


def _ask(names: list[str]) -> dict[str, str]:
    """What c++filt makes of `names`, as far as it gets."""
    import shutil  # only where there is C++
    import subprocess
    import tempfile

    tool = next(filter(None, map(shutil.which, TOOLS)), None)
    if tool is None:
        return {}
    lines = "".join(f"{name}\n" for name in names).encode()
    with contextlib.suppress(OSError), tempfile.TemporaryFile() as output:
        process = subprocess.Popen([tool, "-n"], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL)
        with process:
            most = max(_LEAST_OUTPUT, _MOST_TIMES * len(lines))
            try:
                _limit(process.pid, most)
                process.communicate(lines, _SECONDS)
            except BaseException as error:
                process.kill()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
        output.seek(0)
        # A line for each name; the last one may be cut off.
        found = output.read(most).decode(errors="replace").split("\n")[:-1]
        return {name: text for name, text in zip(names, found) if text != name and len(text) <= _LONGEST}
    return {}


def _limit(pid: int, output: int) -> None:
    """Let the process write so many bytes of `output`, and have _MEMORY; where the system has no way to, only time."""
    import resource

    if hasattr(resource, "prlimit"):
        with contextlib.suppress(OSError):  # it may have ended
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (output, output))
            resource.prlimit(pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))

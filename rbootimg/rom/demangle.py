"""Demangle names of C++ functions with binutils' c++filt, if it is on PATH.

Names come from files, and one of 300 characters can expand to gigabytes: c++filt's time, memory and output are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .limited import run_limited

TOOLS = ("xtensa-lx106-elf-c++filt", "c++filt")
"""The programs to use, in order of preference."""

MANGLED = "_Z"
"""The prefix of a mangled name. Source: C++ ABI (Itanium), 5.1.2."""

_NAME = re.compile(MANGLED + r"[\w.$]{1,2000}", re.ASCII)
_MAX_LENGTH = 4000  # characters of a demangled name
_SECONDS = 2.0  # 12,000 names take 0.05
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

    tool = next(filter(None, map(shutil.which, TOOLS)), None)
    if tool is None:
        return {}
    lines = "".join(f"{name}\n" for name in names).encode()
    max_output = max(_MIN_OUTPUT, _MAX_RATIO * len(lines))
    # One line per name; the last one may be truncated.
    output = run_limited([tool, "-n"], lines, seconds=_SECONDS, max_output=max_output)
    found = output.decode(errors="replace").split("\n")[:-1]
    return {name: text for name, text in zip(names, found) if text != name and len(text) <= _MAX_LENGTH}

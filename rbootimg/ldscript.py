"""A base linker script -> one per slot, and the scripts that it includes.

Scripts are bytes in and bytes out: an SDK's file keeps its line ends and whatever encoding its
comments have. Everything but the place of the flash code stays as it is.
"""

from __future__ import annotations

import functools
import re

from .errors import ScriptError
from .flashmap import Slot

IROM_REGION = "irom0_0_seg"
"""The memory region for flash code in the SDK's scripts (eagle.app.v6.ld) and in ours."""

# An expression of GNU ld, as far as a MEMORY line goes: numbers with K or M, symbols, ORIGIN(x),
# parentheses, and operators between them. Needed to see where the value of `len` ends.
_PARENTHESES = rb"\([^()]*\)"
for _ in range(3):  # deeper than anybody nests them
    _PARENTHESES = rb"\((?:[^()]|" + _PARENTHESES + rb")*\)"
_OPERAND = rb"[-~!]?\s*(?:\w+(?:\s*" + _PARENTHESES + rb")?|" + _PARENTHESES + rb")"
_EXPRESSION = _OPERAND + rb"(?:\s*(?:<<|>>|[-+*/%&|])\s*" + _OPERAND + rb")*"
_REGION = re.compile(
    rb"(?<![\w.$-])\"?" + IROM_REGION.encode() + rb"\"?\s*(?:\([^)]*\)\s*)?:"
    rb"\s*(?:ORIGIN|org|o)\s*=\s*(?P<org>" + _EXPRESSION + rb")\s*,?"
    rb"\s*(?:LENGTH|len|l)\s*=\s*(?P<len>" + _EXPRESSION + rb")"
)
# The NONOS SDK's scripts from 3.0.6 on name an entry that none of its libraries defines; libmain's is call_user_start.
_UNDEFINED_ENTRY = re.compile(rb"\bENTRY\s*\(\s*call_user_start1\s*\)")
_ENTRY_ALIAS = b"\nPROVIDE(call_user_start1 = call_user_start);\n"
_INCLUDE = re.compile(rb'\bINCLUDE\s+(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s;"]+))')
_COMMENT_OR_STRING = re.compile(rb'"[^"\n]*"|/\*.*?(?:\*/|\Z)', re.DOTALL)


def for_slot(script: bytes, slot: Slot) -> bytes:
    """The base `script` with its flash code linked for `slot`.

    Only the values of `org` and `len` of the region irom0_0_seg change: to the slot's link address
    and to the bytes after its two headers. A script with the SDK's ENTRY(call_user_start1) also gets a line that makes
    this call_user_start, unless the application defines it. Raises ScriptError unless there is exactly one such region.
    """
    readable = _without_comments(script)
    regions = list(_REGION.finditer(readable))
    if not regions and re.search(rb"(?<![\w.$-])" + IROM_REGION.encode() + rb"[^:;{}]*:\s*\w+\s*=", readable):
        raise ScriptError(f"the region {IROM_REGION} is not written as `org = …, len = …`; write it so")
    if len(regions) != 1:
        raise ScriptError(
            f"{len(regions) or 'no'} memory region{'s' * (len(regions) > 1)} {IROM_REGION} with org and len; "
            f"a base script has exactly one, like the SDK's eagle.app.v6.ld"
        )
    for group, value in (("len", slot.irom_size), ("org", slot.link_address)):
        start, end = regions[0].span(group)
        script = script[:start] + f"{value:#x}".encode() + script[end:]
    return script + _ENTRY_ALIAS if _UNDEFINED_ENTRY.search(readable) else script


@functools.lru_cache(maxsize=64)  # a build asks once for each program, of the same few scripts
def includes(script: bytes) -> tuple[str, ...]:
    """The names in the script's INCLUDE commands, in order."""
    found = _INCLUDE.finditer(_without_comments(script))
    return tuple((match["quoted"] or match["bare"]).decode(errors="surrogateescape") for match in found)


def _without_comments(script: bytes) -> bytes:
    """The script with comments blanked; every other byte stays at its place."""

    def blank(match: re.Match[bytes]) -> bytes:
        return match[0] if match[0].startswith(b'"') else b" " * len(match[0])

    return _COMMENT_OR_STRING.sub(blank, script)

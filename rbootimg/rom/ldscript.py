"""A base linker script -> one per slot, and the scripts that it includes.

Scripts are bytes in and bytes out: an SDK's file keeps its line ends and whatever encoding its
comments have. Everything but the place of the flash code stays as it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from ..errors import ScriptError
from ..layout.model import Slot

IROM_REGION = "irom0_0_seg"
"""The memory region for flash code in the SDK's scripts (eagle.app.v6.ld) and in ours."""

_MOST = 1 << 20  # bytes of a base script; the SDK's have some thousand
_LONGEST_REGION = 1 << 16  # bytes of the line of a memory region, comments in it included

# An expression of GNU ld, as far as a MEMORY line goes: numbers with K or M, symbols, ORIGIN(x),
# parentheses, and operators between them. Needed to see where the value of `len` ends. Here and below no two parts
# that follow each other take the same bytes, which would take a time that grows with their square.
# Texts, which `re` compiles when a script is written: a build with nothing to do only asks for the includes.
_PARENTHESES = rb"\([^()]*\)"
for _ in range(3):  # deeper than anybody nests them
    _PARENTHESES = rb"\((?:[^()]|" + _PARENTHESES + rb")*\)"
_OPERAND = rb"(?:[-~!]\s*)?(?:\w+(?:\s*" + _PARENTHESES + rb")?|" + _PARENTHESES + rb")"
_EXPRESSION = _OPERAND + rb"(?:\s*(?:<<|>>|[-+*/%&|])\s*" + _OPERAND + rb")*"
_REGION = (
    IROM_REGION.encode() + rb"\"?\s*(?:\([^()]*\)\s*)?:"
    rb"\s*(?:ORIGIN|org|o)\s*=\s*(?P<org>" + _EXPRESSION + rb")\s*(?:,\s*)?"
    rb"(?:LENGTH|len|l)\s*=\s*(?P<len>" + _EXPRESSION + rb")"
)
_REGION_NAME = rb"(?<![\w.$-])" + IROM_REGION.encode()
# The NONOS SDK's scripts from 3.0.6 on name an entry that none of its libraries defines; libmain's is call_user_start.
_UNDEFINED_ENTRY = rb"\bENTRY\s*\(\s*call_user_start1\s*\)"
_ENTRY_ALIAS = b"\nPROVIDE(call_user_start1 = call_user_start);\n"
_INCLUDE = re.compile(rb'\bINCLUDE\s+(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s;"]+))')
_COMMENT_OR_STRING = re.compile(rb'"[^"\n]*"|/\*.*?(?:\*/|\Z)', re.DOTALL)


def slot_linker_script(script: bytes, slot: Slot) -> bytes:
    """The base `script` with its flash code linked for `slot`.

    Only the values of `org` and `len` of the region irom0_0_seg change: to the slot's link address
    and to the bytes after its two headers. A script with the SDK's ENTRY(call_user_start1) also gets a line that makes
    this call_user_start, unless the application defines it. Raises ScriptError unless there is exactly one such region,
    and for a script of more than 1 MB.
    """
    if len(script) > _MOST:
        raise ScriptError(f"a linker script of {len(script):,} bytes; expected at most {_MOST:,}")
    readable = _without_comments(script)
    regions = list(_regions(readable))
    if not regions and _is_written_otherwise(readable):
        raise ScriptError(f"the region {IROM_REGION} is not written as `org = …, len = …`; write it so")
    if len(regions) != 1:
        raise ScriptError(
            f"{len(regions) or 'no'} memory region{'s' * (len(regions) > 1)} {IROM_REGION} with org and len; "
            f"a base script has exactly one, like the SDK's eagle.app.v6.ld"
        )
    for group, value in (("len", slot.irom_size), ("org", slot.link_address)):
        start, end = regions[0].span(group)
        script = script[:start] + f"{value:#x}".encode() + script[end:]
    return script + _ENTRY_ALIAS if re.search(_UNDEFINED_ENTRY, readable) else script


def _regions(readable: bytes) -> Iterator[re.Match[bytes]]:
    behind = 0
    region = re.compile(_REGION)
    for name in re.finditer(_REGION_NAME, readable):
        start, end = name.start(), name.start() + _LONGEST_REGION
        found = region.match(readable, start, end) if start >= behind else None
        if found and found.end() < end:  # else it is cut off, perhaps
            behind = found.end()
            yield found


def _is_written_otherwise(readable: bytes) -> bool:
    """Whether a region of the name has values that are not `org` and `len`."""
    before, *pieces = re.split(rb"([:;{}])", readable)
    for mark, piece in zip(pieces[::2], pieces[1::2]):
        if mark == b":" and re.search(_REGION_NAME, before) and re.match(rb"\s*\w+\s*=", piece):
            return True
        before = piece
    return False


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

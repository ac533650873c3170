"""Adapt a base linker script to a slot, and list the scripts that it includes.

Scripts are bytes, so that line ends and the encoding of comments are kept. Only the address of the flash code changes.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from ..errors import ScriptError
from ..layout.model import Slot

IROM_REGION = "irom0_0_seg"
"""The memory region for flash code, in the SDK's scripts (eagle.app.v6.ld) and in baremetal.ld."""

_MAX_SIZE = 1 << 20  # bytes of a base script; the SDK's have some thousand
_MAX_REGION = 1 << 16  # bytes of the definition of a memory region, with comments

# An expression of GNU ld in a MEMORY line: numbers with K or M, symbols, ORIGIN(x), parentheses, operators. Needed to
# find the end of the value of `len`. No two adjacent parts of a pattern match the same bytes, because that would take
# quadratic time.
# Strings that `re` compiles when a script is written: a build with nothing to do only needs the includes.
_PARENTHESES = rb"\([^()]*\)"
for _ in range(3):  # levels of nesting
    _PARENTHESES = rb"\((?:[^()]|" + _PARENTHESES + rb")*\)"
_OPERAND = rb"(?:[-~!]\s*)?(?:\w+(?:\s*" + _PARENTHESES + rb")?|" + _PARENTHESES + rb")"
_EXPRESSION = _OPERAND + rb"(?:\s*(?:<<|>>|[-+*/%&|])\s*" + _OPERAND + rb")*"
_REGION = (
    IROM_REGION.encode() + rb"\"?\s*(?:\([^()]*\)\s*)?:"
    rb"\s*(?:ORIGIN|org|o)\s*=\s*(?P<org>" + _EXPRESSION + rb")\s*(?:,\s*)?"
    rb"(?:LENGTH|len|l)\s*=\s*(?P<len>" + _EXPRESSION + rb")"
)
_REGION_NAME = rb"(?<![\w.$-])" + IROM_REGION.encode()
# The NONOS SDK's scripts since 3.0.6 use an entry that none of its libraries defines; libmain has call_user_start.
_UNDEFINED_ENTRY = rb"\bENTRY\s*\(\s*call_user_start1\s*\)"
_ENTRY_ALIAS = b"\nPROVIDE(call_user_start1 = call_user_start);\n"
_INCLUDE = re.compile(rb'\bINCLUDE\s+(?:"(?P<quoted>[^"\n]+)"|(?P<bare>[^\s;"]+))')
_COMMENT_OR_STRING = re.compile(rb'"[^"\n]*"|/\*.*?(?:\*/|\Z)', re.DOTALL)


def slot_linker_script(script: bytes, slot: Slot) -> bytes:
    """Return the base `script` with the flash code at the address of `slot`.

    Only `org` and `len` of the region irom0_0_seg change: to the slot's link address, and to its size without the two
    headers. A script with the SDK's ENTRY(call_user_start1) also gets a line that defines this symbol as
    call_user_start, unless the application defines it. Raises ScriptError unless there is exactly one such region, and
    if the script is larger than 1 MB.
    """
    if len(script) > _MAX_SIZE:
        raise ScriptError(f"linker script has {len(script):,} bytes: expected at most {_MAX_SIZE:,}")
    readable = _without_comments(script)
    regions = list(_regions(readable))
    if not regions and _has_other_syntax(readable):
        raise ScriptError(f"unsupported syntax for region {IROM_REGION}: expected `org = ..., len = ...`")
    if len(regions) != 1:
        raise ScriptError(
            f"{len(regions) or 'no'} memory region{'s' * (len(regions) > 1)} {IROM_REGION} with org and len: "
            "expected exactly one, as in the SDK's eagle.app.v6.ld"
        )
    for group, value in (("len", slot.irom_size), ("org", slot.link_address)):
        start, end = regions[0].span(group)
        script = script[:start] + f"{value:#x}".encode() + script[end:]
    return script + _ENTRY_ALIAS if re.search(_UNDEFINED_ENTRY, readable) else script


def _regions(readable: bytes) -> Iterator[re.Match[bytes]]:
    done = 0
    region = re.compile(_REGION)
    for name in re.finditer(_REGION_NAME, readable):
        start, end = name.start(), name.start() + _MAX_REGION
        found = region.match(readable, start, end) if start >= done else None
        if found and found.end() < end:  # otherwise the match may be truncated
            done = found.end()
            yield found


def _has_other_syntax(readable: bytes) -> bool:
    """Whether there is a region irom0_0_seg with values other than `org` and `len`."""
    before, *pieces = re.split(rb"([:;{}])", readable)
    for mark, piece in zip(pieces[::2], pieces[1::2]):
        if mark == b":" and re.search(_REGION_NAME, before) and re.match(rb"\s*\w+\s*=", piece):
            return True
        before = piece
    return False


@functools.lru_cache(maxsize=64)  # a build calls this for each program, with few scripts
def includes(script: bytes) -> tuple[str, ...]:
    """List the names in the script's INCLUDE commands, in order."""
    found = _INCLUDE.finditer(_without_comments(script))
    return tuple((match["quoted"] or match["bare"]).decode(errors="surrogateescape") for match in found)


def _without_comments(script: bytes) -> bytes:
    """Replace comments by spaces, so that offsets stay the same."""

    def blank(match: re.Match[bytes]) -> bytes:
        return match[0] if match[0].startswith(b'"') else b" " * len(match[0])

    return _COMMENT_OR_STRING.sub(blank, script)

"""The entry point of an application: whether a function starts there, and why a linker did not find the one wanted.

rBoot jumps to the entry whatever is there. GNU ld only warns when it does not find the symbol of a script's ENTRY() and
takes the start of .text instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from .demangle import MANGLED
from .elf import ENTRY_NAME, Elf, Symbol

NO_SYMBOLS = (
    "the ELF has no symbols, so only the range of its entry point was checked, not that a function starts there"
)
"""What a check of a stripped ELF leaves out."""

_SHARED = 0.75  # of the letters, for a name to be a likely misspelling
_MOST_FUNCTIONS = 5000  # whose names are compared, which takes up to 0.1 ms for each
# The SDK's scripts name the second from 3.0.6 on; no library defines it (ldscript.py).
_ENTRY_NAMES = (ENTRY_NAME, f"{ENTRY_NAME}1")


def entry_problem(elf: Elf) -> str | None:
    """Why the entry of `elf` is not the start of a function; None if it is, or if nothing tells.

    Of an ELF without symbols only the flags of the section are looked at.
    """
    section = next((each for each in elf.sections if each.data and each.address <= elf.entry < each.end), None)
    where = f"entry point {elf.entry:#x}"
    if section is None:
        return None  # fit.problems() tells that
    if not section.executable:
        return f"{where} is in {section.name}, which holds data and no code; {_CHECK}"
    symbols = elf.entry_symbols
    if symbols is None:
        return None
    at_entry = [symbol for symbol in symbols if symbol.address == elf.entry]
    around = [symbol for symbol in symbols if symbol.address < elf.entry < symbol.address + symbol.size]
    for symbol in (*at_entry, *around):
        if symbol.kind == "object":
            return f"{where} is data: {symbol.name}; {_CHECK}"
    starts = [symbol for symbol in at_entry if symbol.kind == "func" or not around or not symbol.local]
    functions = [symbol for symbol in around if symbol.kind == "func"]
    if functions and not starts:
        name = functions[0].name
        return f"{where} is inside the function {name} ({name}+{elf.entry - functions[0].address:#x}); {_CHECK}"
    names = {symbol.name for symbol in symbols if not symbol.local}
    hint = entry_hint(ENTRY_NAME, symbols) if not names.intersection(_ENTRY_NAMES) else ""
    if not starts:
        why = hint or "the linker takes the start of .text where it does not find the symbol of ENTRY()"
        return f"no function starts at {where}: {why}; {_CHECK}"
    if hint and elf.entry == section.address and starts[0].name not in _ENTRY_NAMES:
        return f"{where} is the start of {section.name}, which the linker takes for want of {ENTRY_NAME}: {hint}"
    return None


_CHECK = "check ENTRY() in the linker script"


def entry_hint(name: str, symbols: Sequence[Symbol]) -> str:
    """Why a linker does not find the function `name` among `symbols`, which has one that may be meant; else empty."""
    for symbol in symbols:
        if symbol.name.startswith(MANGLED) and f"{len(name)}{name}" in symbol.name:
            return f'{symbol.name} is a C++ function; declare {name} extern "C"'
    if any(symbol.name == name and symbol.local for symbol in symbols):
        return f"{name} is static; remove `static`"
    import difflib  # not for a build without a fault

    functions = {symbol.name for symbol in symbols if symbol.kind == "func" and not symbol.local}
    # What cannot be similar for its length alone is left out, and of what is left no more than any program has.
    likely = sorted(each for each in functions if 2 * min(len(each), len(name)) >= _SHARED * (len(each) + len(name)))
    if similar := difflib.get_close_matches(name, likely[:_MOST_FUNCTIONS], 1, _SHARED):
        return f"there is a function {similar[0]}; is one of the two misspelled?"
    return ""

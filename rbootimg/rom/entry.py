"""Check that a function starts at the entry point of an application, and explain why ld did not find it.

rBoot jumps to the entry point without any check. If GNU ld does not find the symbol of ENTRY(), it only warns and uses
the start of .text.
"""

from __future__ import annotations

from collections.abc import Sequence

from .demangle import MANGLED
from .elf import ENTRY_NAME, Elf, Symbol

NO_SYMBOLS = "no symbols: not checked that a function starts at the entry point, only that it is in a section in IRAM"
"""The warning about a stripped ELF."""

_MIN_SIMILARITY = 0.75  # of a likely misspelling, see difflib
_MAX_FUNCTIONS = 5000  # compared names, at up to 0.1 ms each
# The SDK's scripts use the second name since 3.0.6; no library defines it (ldscript.py).
_ENTRY_NAMES = (ENTRY_NAME, f"{ENTRY_NAME}1")


def entry_problem(elf: Elf) -> str | None:
    """Describe why the entry point of `elf` is not the start of a function; None if it is, or if that is unknown.

    Without symbols only the flags of the section are checked.
    """
    section = next((each for each in elf.sections if each.data and each.address <= elf.entry < each.end), None)
    where = f"entry point {elf.entry:#x}"
    if section is None:
        return None  # fit.problems() reports this
    if not section.executable:
        return f"{where} is in {section.name}, a data section; {_CHECK}"
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
        why = hint or "the linker uses the start of .text if it does not find the symbol of ENTRY()"
        return f"no function starts at {where}: {why}; {_CHECK}"
    if hint and elf.entry == section.address and starts[0].name not in _ENTRY_NAMES:
        return f"{where} is the start of {section.name}, used because the linker does not find {ENTRY_NAME}: {hint}"
    return None


_CHECK = "check ENTRY() in the linker script"


def entry_hint(name: str, symbols: Sequence[Symbol]) -> str:
    """Explain why a linker does not find the function `name`, if `symbols` has a similar one; else an empty string."""
    for symbol in symbols:
        if symbol.name.startswith(MANGLED) and f"{len(name)}{name}" in symbol.name:
            return f'{symbol.name} is a C++ function; declare {name} extern "C"'
    if any(symbol.name == name and symbol.local for symbol in symbols):
        return f"{name} is static; remove `static`"
    import difflib  # only after an error

    functions = {symbol.name for symbol in symbols if symbol.kind == "func" and not symbol.local}
    # Only names whose lengths allow the similarity, and a limited number of those.
    likely = sorted(
        each for each in functions if 2 * min(len(each), len(name)) >= _MIN_SIMILARITY * (len(each) + len(name))
    )
    if similar := difflib.get_close_matches(name, likely[:_MAX_FUNCTIONS], 1, _MIN_SIMILARITY):
        return f"a similar function is {similar[0]}; check the spelling"
    return ""

"""The causes of exceptions on the ESP8266's CPU. Source: Xtensa ISA reference manual, EXCCAUSE."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple


class Cause(NamedTuple):
    """The name of a cause, and a short explanation."""

    name: str
    meaning: str


CAUSES = MappingProxyType(
    {
        0: Cause("IllegalInstruction", "illegal instruction"),
        1: Cause("Syscall", "SYSCALL instruction"),
        2: Cause("InstructionFetchError", "instruction fetch failed"),
        3: Cause("LoadStoreError", "load or store failed"),
        4: Cause("Level1Interrupt", "interrupt"),
        5: Cause("Alloca", "MOVSP instruction"),
        6: Cause("IntegerDivideByZero", "division by zero"),
        9: Cause("LoadStoreAlignment", "unaligned load or store"),
        12: Cause("InstrPIFDataError", "bus error during an instruction fetch"),
        13: Cause("LoadStorePIFDataError", "bus error during a load or store"),
        14: Cause("InstrPIFAddrError", "instruction fetch from an unmapped address"),
        15: Cause("LoadStorePIFAddrError", "load or store at an unmapped address"),
        20: Cause("InstFetchProhibited", "instruction fetch from an invalid address"),
        28: Cause("LoadProhibited", "load from an invalid address"),
        29: Cause("StoreProhibited", "store to an invalid address"),
    }
)
"""By EXCCAUSE, those of the lx106."""


def describe_cause(number: int) -> str:
    """Return the name and the meaning: `LoadProhibited (load from an invalid address)`."""
    cause = CAUSES.get(number)
    return f"{cause.name} ({cause.meaning})" if cause else f"exception {number}"

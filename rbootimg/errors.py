"""The errors that bad input raises. Each message says what is wrong, where, and what to do.

The command line and the SCons tool print them as one line; anything else that escapes is a bug.
"""

from __future__ import annotations

import enum


class Way(enum.Enum):
    """What would help, where the command line and SCons have words of their own for it."""

    VERSION = enum.auto()
    FORCE = enum.auto()
    DOWNGRADE = enum.auto()
    APP = enum.auto()
    ROLLBACK = enum.auto()
    HISTORY = enum.auto()
    RELEASE = enum.auto()
    ROOM = enum.auto()


class RbootError(Exception):
    """Whatever is wrong with the input; catch this one to catch them all. `way` is a way out, for who prints it."""

    def __init__(self, text: str, way: Way | None = None) -> None:
        super().__init__(text)
        self.way = way


class LayoutError(RbootError):
    """A flash layout that cannot be: slots, sizes, modes, speeds."""


class ElfError(RbootError):
    """Bytes that are not an ESP8266 application ELF, or one without what a ROM needs."""


class RomError(RbootError):
    """Bytes that are not an rBoot ROM, or values that none can hold."""


class ConfigError(RbootError):
    """Bytes that are not an rBoot config, or values that rBoot could not use."""


class FitError(RbootError):
    """A sound application that does not fit where it is to go: wrong slot, too large."""


class ScriptError(RbootError):
    """A linker script that cannot be turned into one per slot."""


class PublishError(RbootError):
    """A web root that cannot be written, or ROMs that do not belong in it."""


class VersionError(RbootError):
    """A version that is not semantic, or none at all."""


class CheckoutError(VersionError):
    """A checkout that git refuses to read, or cannot: it may have a version, but nobody knows."""


class LoaderError(RbootError):
    """A boot loader that the chip would not start, or that does not go with the layout."""


class FlashError(RbootError):
    """A device that could not be written."""


class EmulatorError(RbootError):
    """QEMU that is not there, or a flash that it cannot run."""


class ProofError(RbootError):
    """A ROM that does not boot as it was linked."""


class ServerError(RbootError):
    """A development server that cannot start, or is asked for what it cannot do."""

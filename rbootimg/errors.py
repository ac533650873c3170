"""The errors that invalid input raises. Each names the file or value, the problem and the remedy.

The command line and the SCons tool print them as one line; any other exception that reaches the user is a bug.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator


class Hint(enum.Enum):
    """What the user can do about an error, where the command line and SCons have different words for it."""

    VERSION = ("pass --version X.Y.Z", "pass RBOOT_VERSION=X.Y.Z")
    FORCE = ("use --force to override (development only)", "use RBOOT_FORCE=yes to override (development only)")
    DOWNGRADE = (
        "run `rbootimg rollback` to return to an earlier release, or use --allow-downgrade",
        "run `scons rollback` to return to an earlier release, or use RBOOT_ALLOW_DOWNGRADE=yes",
    )
    SIGN = ("use --sign-key, or set RBOOT_SIGN_KEY", "set RBOOT_SIGN_KEY")
    SIGN_PUBLIC_KEY = ("use --sign-public-key, or set RBOOT_SIGN_PUBLIC_KEY", "set RBOOT_SIGN_PUBLIC_KEY")
    APP = ("select one with --app NAME", "select one with RBOOT_APPS=NAME")
    ROLLBACK = ("run `rbootimg rollback VERSION`", "run `scons rollback RBOOT_ROLLBACK=VERSION`")
    HISTORY = (
        "run `rbootimg rollback VERSION` to rebuild it with VERSION current",
        "run `scons rollback RBOOT_ROLLBACK=VERSION` to rebuild it with VERSION current",
    )
    RELEASE = ("run `rbootimg publish --version X.Y.Z`", "run `scons publish RBOOT_VERSION=X.Y.Z`")
    SPACE = ("free space with `rbootimg prune`", "free space with `rbootimg prune`")

    def __init__(self, command_line: str, scons: str) -> None:
        self.command_line = command_line
        self.scons = scons


class RbootError(Exception):
    """Invalid input of any kind: the base of all errors of this package.

    `subject` is the file, option or variable that the error is about, None while that is unknown; `hint` is what the
    user can do. str() of the error is `subject: message`, without the hint.
    """

    def __init__(self, message: str, *, subject: object = None, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.subject = subject
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.subject is None else f"{self.subject}: {self.message}"


@contextlib.contextmanager
def error_subject(subject: object) -> Iterator[None]:
    """Make `subject` the subject of each RbootError that is raised within and has none yet."""
    try:
        yield
    except RbootError as error:
        if error.subject is None:
            error.subject = subject
        raise


class SettingError(RbootError):
    """An invalid value of an option, an argument or a construction variable."""


class LayoutError(RbootError):
    """An invalid flash layout: slots, regions, sizes, modes, speeds."""


class ElfError(RbootError):
    """Bytes that are not an ESP8266 application ELF, or an ELF without what a ROM needs."""


class RomError(RbootError):
    """Bytes that are not an rBoot ROM, or values that a ROM cannot hold."""


class ConfigError(RbootError):
    """Bytes that are not an rBoot config, or values that rBoot cannot use."""


class FitError(RbootError):
    """A valid ROM or file that does not fit where it is to go: linked for another slot, too large."""


class ScriptError(RbootError):
    """A linker script that cannot be adapted to a slot."""


class LoaderError(RbootError):
    """A boot loader that the chip would not start, or that does not match the layout."""


class FileSystemError(RbootError):
    """A file system image that is invalid, or cannot be made of the files."""


class FlashError(RbootError):
    """A device that could not be written."""


class PortError(RbootError):
    """A serial port that cannot be found, opened or read."""


class EmulatorError(RbootError):
    """QEMU is not installed, or cannot run a flash."""


class ProofError(RbootError):
    """A ROM that does not boot as it was linked."""


class VersionError(RbootError):
    """An invalid version, or none at all."""


class CheckoutError(VersionError):
    """A git checkout that may have a version, but git cannot find it."""


class PublishError(RbootError):
    """A release that cannot be published: its ROMs do not match, or another one of its version is there already."""


class SigningError(RbootError):
    """A signature that could not be made: the signing command failed, or signed with another key."""


class ManifestError(RbootError):
    """An invalid manifest.json or history.json."""


class WebRootError(RbootError):
    """A web root that cannot be read or written, is corrupt, or does not have what was asked for."""


class LockError(WebRootError):
    """A web root that another process is changing."""


class UrlError(RbootError):
    """An invalid URL of a web root, or one whose server cannot be reached."""


class CheckError(RbootError):
    """Faults that a check of a web root has found."""


class ServerError(RbootError):
    """A development server that cannot start, or an invalid setting of it."""

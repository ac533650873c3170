"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which takes 5 ms to import
    from pathlib import Path


def read(name: str) -> bytes:
    """What is in the file `name`. Raises OSError."""
    with open(name, "rb") as file:
        return file.read()


def write_atomic(path: Path, data: bytes, *, durable: bool = False, mode: int | None = None) -> None:
    """Put `data` at `path` in one step: until it is all there, what stood there stays.

    `durable` waits until it is on the disk; `mode` sets the permissions, which else follow the umask.
    Raises OSError with `path` as its file name, and then leaves nothing behind.
    """
    # Not from the target's name, which may have the greatest length already.
    temporary = path.with_name(f".rbootimg-{os.urandom(6).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                if mode is not None:
                    temporary.chmod(mode)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        # The file that the caller knows, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_output(path: Path, data: bytes) -> bool:
    """Write what the user asked for to where he asked: through a link, and to a device or a pipe as well.

    Returns False for one of those, which are written to and not replaced. Raises OSError with a file name.
    """
    if not path.exists() or path.is_file():
        write_atomic(path.resolve(), data)
        return True
    try:
        path.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return False

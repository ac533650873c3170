"""Files for a web server that are on the disk when a function returns; a lock that a crash does not leave behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import PublishError

FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""The web server is another user than the builder."""


def write(path: Path, data: bytes, later_than: Path | None = None) -> None:
    """Write a file to the disk, in the place of any other; its time is later than that of the file `later_than`."""
    remove(path)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), FILE_MODE)
            if later_than is not None and later_than.exists():
                # In whole seconds, as HTTP has them.
                now = max(time.time(), math.floor(later_than.stat().st_mtime) + 1)
                os.utime(file.fileno(), (now, now))
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def stands(path: Path, data: bytes) -> bool:
    """Whether `path` is a file with these bytes, which a web server may read."""
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return (
        stat.S_ISREG(info.st_mode)
        and stat.S_IMODE(info.st_mode) & FILE_MODE == FILE_MODE
        and info.st_size == len(data)
        and path.read_bytes() == data
    )


def sync(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # as some network file systems say
            raise
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it that are missing, for a web server to read, and have them on the disk."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)
        sync(folder.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, timeout: float, shared: bool = False) -> Iterator[None]:
    """Keep out whoever else locks the file `path`, or with `shared` only those who do it without.

    The lock ends with the process that holds it; the file stays. Raises PublishError after `timeout` seconds.
    """
    try:
        descriptor = _lock_file(path, shared)
    except (FileNotFoundError, PermissionError):
        if not shared:
            raise
        yield  # who may only look must do without
        return
    try:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if shared else fcntl.LOCK_EX))
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise PublishError(
                        f"another rbootimg is publishing here and was not done in {timeout:g} seconds; try again"
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _lock_file(path: Path, shared: bool) -> int:
    if not shared:
        with contextlib.suppress(PermissionError):  # of another user's file, which can be locked all the same
            return os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)  # to write, as NFS wants it
    return os.open(path, os.O_RDONLY)

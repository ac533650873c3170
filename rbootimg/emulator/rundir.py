"""The temporary directory of a run of the emulator. If the run is killed, the next run removes it.

A directory in use is locked (flock) by its process. The kernel releases the lock when the process ends in any way, so
an unlocked directory is garbage.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "rbootimg-run-"
"""The prefix of the directories' names."""


@contextlib.contextmanager
def run_directory() -> Iterator[Path]:
    """Create a directory for one run and remove it at the end; first remove those of this user's killed runs."""
    with name_temporary_directory():
        base = tempfile.gettempdir()
        sweep(base)
        path, lock = _create_locked(base)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


@contextlib.contextmanager
def name_temporary_directory() -> Iterator[None]:
    """Make errors of the system name the temporary directory, which the user can choose, instead of a file in it."""
    try:
        yield
    except OSError as error:
        try:
            directory, reason = tempfile.gettempdir(), error.strerror
        except FileNotFoundError:
            directory, reason = os.environ.get("TMPDIR") or "/tmp", "no writable temporary directory"
        raise OSError(error.errno, f"{reason}; set $TMPDIR to another temporary directory", directory) from None


def sweep(base: str) -> None:
    """Remove the run directories in `base` that belong to this user and that no process uses."""
    try:
        with os.scandir(base) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for name in names:
        path = Path(base, name)
        with contextlib.suppress(OSError):  # in use, or another run is removing it
            # Not a link, and not another user's: /tmp is shared.
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(lock, path):
                        shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _create_locked(base: str) -> tuple[Path, int]:
    """Create a directory; return it with the descriptor that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = -1
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            pass  # another run has removed it before it was locked
        except OSError:
            return path, lock  # a file system without such locks: sweep() removes nothing there either
        else:
            if _is_at(lock, path):
                return path, lock
        if lock >= 0:
            os.close(lock)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False

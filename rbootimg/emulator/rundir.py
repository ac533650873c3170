"""The temporary directory of a run of the emulator, which goes away even if the run is killed: the next run sweeps.

A directory in use is locked (flock) by the process that made it. The kernel frees the lock however that ends, so a
directory of ours whose lock is free is garbage.
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
"""How the directories' names begin."""


@contextlib.contextmanager
def run_directory() -> Iterator[Path]:
    """A directory for one run, gone at the end; what killed runs of this user left is removed first."""
    with name_temporary_folder():
        base = tempfile.gettempdir()
        sweep(base)
        path, lock = _locked(base)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock >= 0:
            os.close(lock)


@contextlib.contextmanager
def name_temporary_folder() -> Iterator[None]:
    """Let what the system refuses name the folder for temporary files, and not one of them: the user can choose it."""
    try:
        yield
    except OSError as error:
        try:
            folder, reason = tempfile.gettempdir(), error.strerror
        except FileNotFoundError:
            folder, reason = os.environ.get("TMPDIR") or "/tmp", "no folder for temporary files can be written"
        raise OSError(error.errno, f"{reason}; $TMPDIR can name another folder for temporary files", folder) from None


def sweep(base: str) -> None:
    """Remove the run directories in `base` that belong to this user and that no process uses."""
    try:
        with os.scandir(base) as entries:
            names = [entry.name for entry in entries if entry.name.startswith(PREFIX)]
    except OSError:
        return
    for name in names:
        path = Path(base, name)
        with contextlib.suppress(OSError):  # in use, or another sweeps it
            # Neither a link nor anybody else's: /tmp is everybody's.
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(lock, path):
                        shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _locked(base: str) -> tuple[Path, int]:
    """A new directory, and the descriptor that holds its lock."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        lock = -1
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError):
            pass  # another run took it for garbage before it was locked
        except OSError:
            return path, lock  # a file system without such locks, where nothing is swept either
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

"""Write files for a web server so that they survive a power cut; lock a web root so that a crash releases it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import shutil
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import LockError, WebRootError

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755
"""The web server runs as another user than the publisher."""


def write(path: Path, data: bytes, later_than: Path | None = None) -> None:
    """Write a file and wait until it is on the disk; its time is later than that of the file `later_than`.

    An existing file, link or directory is removed first. Raises OSError with `path` as its file name.
    """
    remove(path)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), FILE_MODE)
            if later_than is not None and later_than.exists():
                # HTTP's times have a resolution of a second.
                now = max(time.time(), math.floor(later_than.stat().st_mtime) + 1)
                os.utime(file.fileno(), (now, now))
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextlib.contextmanager
def error_path(path: Path) -> Iterator[None]:
    """Make `path` the file name of an OSError, instead of the temporary file that is to become it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def has_content(path: Path, data: bytes) -> bool:
    """Whether `path` is a file with this content that a web server may read."""
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


def sync(directory: Path) -> None:
    """Wait until `directory` itself is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems
            raise
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Create a directory and its missing parents, accessible for a web server, and wait until they are on the disk."""
    if not directory.is_dir():
        make_directory(directory.parent)
        try:
            directory.mkdir(exist_ok=True)
        except FileNotFoundError:  # as in /proc
            raise FileNotFoundError(errno.ENOENT, "cannot create a directory there", str(directory)) from None
        directory.chmod(DIRECTORY_MODE)
        sync(directory.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a directory with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        with error_path(path):  # else the error has only a name in the directory
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, timeout: float, shared: bool = False) -> Iterator[None]:
    """Lock the file `path`, exclusively or `shared` with other readers, until the context ends.

    Only users with write access to the directory of `path` can lock it; others read without a lock. The lock ends with
    its process; the file stays. Raises LockError after `timeout` seconds, WebRootError if `path` is not a file.
    """
    deadline = time.monotonic() + timeout
    try:
        descriptor = _lock_shared(path, deadline) if shared else _lock(path, deadline)
    except BlockingIOError:
        raise LockError(
            f"locked by another rbootimg that is publishing: waited {timeout:g} seconds; try again later"
        ) from None
    except (FileNotFoundError, PermissionError):
        if not shared:
            raise
        descriptor = None  # readers without write access
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


# Read access to a file is enough to lock it: flock() takes any descriptor, and so does fcntl() for a read lock, which
# blocks writers. So only users with write access to the directory get access to the lock file. filelock (4.3) and
# portalocker (4.4) do not do this: neither checks the mode of an existing file, which older versions of rbootimg left
# open; filelock lacks shared locks and needs Python 3.11, portalocker follows links.

_READ, _WRITE = fcntl.F_RDLCK, fcntl.F_WRLCK
_ROUNDS = 1000
"""Maximum number of attempts while others replace the file."""


def _lock(path: Path, deadline: float) -> int:
    """Lock the file `path` exclusively, create it if it is missing, and return its descriptor."""
    renewed = False
    for _ in range(_ROUNDS):
        may_write = True
        try:
            descriptor = _open_lock(path, os.O_RDWR) if os.path.lexists(path) else _make_lock(path)
        except PermissionError:
            # Created by another user with an older version; replace it if the directory allows that.
            if not os.access(path.parent, os.W_OK):
                raise
            descriptor, may_write = _open_lock(path, os.O_RDONLY), False
        if descriptor is None:
            continue
        try:
            if may_write and (_fit_mode(descriptor, path.parent) or renewed):  # not all file systems have modes
                _wait(descriptor, _WRITE, path, deadline)
                if _is_at(descriptor, path):
                    return descriptor
            else:
                _renew(path, descriptor, deadline)
                renewed = True
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise BlockingIOError


def _lock_shared(path: Path, deadline: float) -> int:
    """Lock the file `path` for reading, which blocks publishers, and return its descriptor."""
    while (descriptor := _open_lock(path, os.O_RDONLY)) is None:
        path.lstat()  # raises FileNotFoundError
    try:
        _wait(descriptor, _READ, path, deadline)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_lock(path: Path, flags: int) -> int | None:
    """Open the lock file; None if it has just been removed. Raises WebRootError if it is not a file."""
    try:
        # Before opening it: opening a device can have effects.
        if not stat.S_ISREG(path.lstat().st_mode):
            what = "a symbolic link" if path.is_symlink() else "a directory" if path.is_dir() else "a special file"
            raise WebRootError(f"expected the publishers' lock file, got {what}; move it away", subject=path)
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:  # the user knows the directory
        at = path if os.access(path.parent, os.W_OK) else path.parent
        raise OSError(error.errno, error.strerror, str(at)) from None


def _make_lock(path: Path) -> int | None:
    """Create the lock file; None if another process has just created it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    except OSError as error:  # the user knows the directory
        raise OSError(error.errno, error.strerror, str(path.parent)) from None
    at = path.parent.stat()
    for owner in (at.st_uid, -1):  # root must not lock out the directory's owner
        with contextlib.suppress(OSError):  # not a member of the group: only this user has access
            os.fchown(descriptor, owner, at.st_gid)
            break
    return descriptor


def _fit_mode(descriptor: int, directory: Path) -> bool:
    """Give access to all users with write access to `directory`; False if others had access and may hold a lock."""
    at, info = directory.stat(), os.fstat(descriptor)
    write = at.st_mode & (0o022 if info.st_gid == at.st_gid else 0o002)
    wanted = 0o600 | write | write << 1
    if info.st_mode & 0o077 & ~wanted:
        return False
    if stat.S_IMODE(info.st_mode) != wanted:
        with contextlib.suppress(OSError):  # owned by another user
            os.fchmod(descriptor, wanted)
    return True


def _renew(path: Path, old: int, deadline: float) -> None:
    """Replace the lock file `old`, on which users without write access may hold a lock, by a new file."""
    # A write lock needs write access, so its holder is a publisher. Read locks do not block each other.
    _wait(old, _READ, path, deadline)
    fresh = path.with_name(f"{path.name}.new")
    new = _open_lock(fresh, os.O_RDWR) if os.path.lexists(fresh) else _make_lock(fresh)
    if new is None:
        return
    try:
        _wait(new, _WRITE, fresh, deadline)  # one at a time
        if _is_at(new, fresh):
            try:
                if _is_at(old, path):
                    with error_path(path):
                        os.rename(fresh, path)
            finally:
                if _is_at(new, fresh):
                    fresh.unlink()
    finally:
        os.close(new)


def _wait(descriptor: int, kind: int, path: Path, deadline: float) -> None:
    """Lock the file `path`. Raises BlockingIOError at the `deadline` (time.monotonic())."""
    while True:
        try:
            _lock_now(descriptor, kind)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from None
        if time.monotonic() >= deadline:
            raise BlockingIOError
        time.sleep(0.05)


def _lock_now(descriptor: int, kind: int) -> None:
    if hasattr(fcntl, "F_OFD_SETLK"):
        # A lock of the descriptor instead of the process also blocks other threads. struct flock: type, whence, start,
        # length (0: to the end of the file), process.
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0))
            return
        except OSError as error:
            if error.errno != errno.EINVAL:  # kernel without such locks
                raise
    fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if kind == _READ else fcntl.LOCK_EX))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False

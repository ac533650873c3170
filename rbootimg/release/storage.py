"""Files for a web server that are on the disk when a function returns; a lock that a crash does not leave behind."""

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


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let what the system refuses name `path`, which the user knows, and not a file of ours that is to become it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def has_content(path: Path, data: bytes) -> bool:
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
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:  # as in /proc
            raise FileNotFoundError(errno.ENOENT, "no folder can be made there", str(folder)) from None
        folder.chmod(FOLDER_MODE)
        sync(folder.parent)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        with naming(path):  # else a name in it, without the folder's
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, timeout: float, shared: bool = False) -> Iterator[None]:
    """Keep out whoever else locks the file `path`, or with `shared` only those who do it without.

    Who can write the folder of `path` can lock it, and nobody else; they do without if it is `shared`. The lock ends
    with the process that holds it; the file stays. Raises LockError after `timeout` seconds, WebRootError if there is
    something else than a file.
    """
    deadline = time.monotonic() + timeout
    try:
        descriptor = _lock_shared(path, deadline) if shared else _lock(path, deadline)
    except BlockingIOError:
        raise LockError(
            f"another rbootimg is publishing here and was not done in {timeout:g} seconds; try again"
        ) from None
    except (FileNotFoundError, PermissionError):
        if not shared:
            raise
        descriptor = None  # who may only look must do without
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


# Who can read a file can hold a lock on it: flock() takes any descriptor, and so does fcntl() for a read lock, which
# keeps out who writes. So the lock file is for those only who can write its folder. filelock (4.3) and portalocker
# (4.4) are not made for this: neither looks at the mode of a file that is there already, as older versions of us left
# it; the one has no shared lock and needs Python 3.11, the other follows links.

_READ, _WRITE = fcntl.F_RDLCK, fcntl.F_WRLCK
_ROUNDS = 1000
"""How often at most to begin again because the file was replaced meanwhile."""


def _lock(path: Path, deadline: float) -> int:
    """A descriptor of the file `path`, made if need be, with a lock that keeps out all others."""
    renewed = False
    for _ in range(_ROUNDS):
        may_write = True
        try:
            descriptor = _open_lock(path, os.O_RDWR) if os.path.lexists(path) else _make_lock(path)
        except PermissionError:
            # Of another user, who made it with an older version: who can write the folder can replace it.
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
    """The same for who only looks: it keeps out those who do not."""
    while (descriptor := _open_lock(path, os.O_RDONLY)) is None:
        path.lstat()  # raises FileNotFoundError
    try:
        _wait(descriptor, _READ, path, deadline)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_lock(path: Path, flags: int) -> int | None:
    """A descriptor of the file `path`, None if it has just gone. Raises WebRootError if that is no file."""
    try:
        # Before it is opened: that alone does something to a device.
        if not stat.S_ISREG(path.lstat().st_mode):
            what = "a symbolic link" if path.is_symlink() else "a folder" if path.is_dir() else "not a file"
            raise WebRootError(f"{what}, but the publishers' lock should be there; move it away", subject=path)
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:  # the user knows the folder
        at = path if os.access(path.parent, os.W_OK) else path.parent
        raise OSError(error.errno, error.strerror, str(at)) from None


def _make_lock(path: Path) -> int | None:
    """A descriptor of the new file `path`, None if somebody else was faster."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    except OSError as error:  # the user knows the folder
        raise OSError(error.errno, error.strerror, str(path.parent)) from None
    at = path.parent.stat()
    for owner in (at.st_uid, -1):  # root does not lock the folder's owner out
        with contextlib.suppress(OSError):  # not a group of ours: then it is for us alone
            os.fchown(descriptor, owner, at.st_gid)
            break
    return descriptor


def _fit_mode(descriptor: int, folder: Path) -> bool:
    """Let all lock who can write `folder`; False if others can, too, and may do so already."""
    at, info = folder.stat(), os.fstat(descriptor)
    write = at.st_mode & (0o022 if info.st_gid == at.st_gid else 0o002)
    wanted = 0o600 | write | write << 1
    if info.st_mode & 0o077 & ~wanted:
        return False
    if stat.S_IMODE(info.st_mode) != wanted:
        with contextlib.suppress(OSError):  # another user's
            os.fchmod(descriptor, wanted)
    return True


def _renew(path: Path, old: int, deadline: float) -> None:
    """Put a new file in the place of the lock file `old`, which others can read, who may hold a lock on it."""
    # Only who could write it can have a write lock: another publisher. Read locks do not keep each other out.
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
                    with naming(path):
                        os.rename(fresh, path)
            finally:
                if _is_at(new, fresh):
                    fresh.unlink()
    finally:
        os.close(new)


def _wait(descriptor: int, kind: int, path: Path, deadline: float) -> None:
    """Lock the file `path`. Raises BlockingIOError if others keep us out until the `deadline` (time.monotonic())."""
    while True:
        try:
            _try(descriptor, kind)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OSError(error.errno, f"cannot be locked: {error.strerror}", str(path)) from None
        if time.monotonic() >= deadline:
            raise BlockingIOError
        time.sleep(0.05)


def _try(descriptor: int, kind: int) -> None:
    if hasattr(fcntl, "F_OFD_SETLK"):
        # A lock of this descriptor and not of the process, so that it keeps out other threads, too. In struct flock are
        # the kind, from where, the start, the length (0: all of the file) and a process.
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0))
            return
        except OSError as error:
            if error.errno != errno.EINVAL:  # as of a kernel that has no such locks
                raise
    fcntl.flock(descriptor, fcntl.LOCK_NB | (fcntl.LOCK_SH if kind == _READ else fcntl.LOCK_EX))


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False

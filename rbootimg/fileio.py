"""Reading files with a size limit, and writing them atomically."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # takes 5 ms to import
    from pathlib import Path


MAX_SIZE = 1 << 28
"""Default size limit in bytes. An ELF with complete debugging information has some ten million."""


def read_file(name: str | Path, max_size: int = MAX_SIZE) -> bytes:
    """Read the file or pipe `name`.

    Raises OSError with `name` as its file name, also if there are more than `max_size` bytes.
    """
    parts = []
    left = max_size + 1
    try:
        with open(name, "rb") as file:
            while left and (part := file.read(min(left, 1 << 24))):
                parts.append(part)
                left -= len(part)
    except OSError as error:  # read() does not set the file name
        raise OSError(error.errno, error.strerror, str(name)) from None
    if not left:
        limit = f"{max_size >> 20} MB" if max_size >= 1 << 20 else f"{max_size >> 10} KB"
        raise OSError(errno.EFBIG, f"larger than {limit}", str(name))
    return parts[0] if len(parts) == 1 else b"".join(parts)


_UNWANTED = (".DS_Store", ".git")
"""What systems and git add to a directory, not the user. The same as in mklittlefs."""


def list_tree(directory: str | Path) -> list[str]:
    """List the files below `directory`, in order, by their paths relative to it with `/`. Raises OSError."""

    def fail(error: OSError) -> None:
        raise error

    found = []
    for at, directories, names in os.walk(directory, onerror=fail, followlinks=True):
        directories[:] = [name for name in directories if name not in _UNWANTED]
        found += [os.path.join(at, name) for name in names if name not in _UNWANTED]
    return sorted(os.path.relpath(name, directory).replace(os.sep, "/") for name in found)


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    import hashlib  # not for every command and build

    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes, *, durable: bool = False, mode: int | None = None) -> None:
    """Write `data` to `path` in one step: readers see the old file or the new one.

    `durable` waits until the data is on the disk; `mode` sets the permissions, which follow the umask by default.
    Raises OSError with `path` as its file name; no temporary file is left.
    """
    _write({path: data}, durable, mode)


def write_directory(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write the `contents` of files by name to `directory`, which is created if necessary: all of them or none.

    Other files there stay. Raises OSError with a file name; no temporary file and no new directory is left.
    """
    made: list[Path] = []
    try:
        if os.path.lexists(directory) and not os.path.isdir(directory):
            raise NotADirectoryError(errno.ENOTDIR, not_a_directory(directory), str(directory))
        made = [path for path in (directory, *directory.parents) if not os.path.lexists(path)]
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_directories(made)
        raise _explain(error, directory) from None
    try:
        _write({directory / name: data for name, data in contents.items()})
    except BaseException:
        _remove_directories(made)
        raise


def write_tree(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by their paths relative to `directory`, with `/`: in each of its directories all of them or none.

    Raises OSError as write_directory().
    """
    directories: dict[str, dict[str, bytes]] = {}
    for path, data in contents.items():
        parent, _, name = path.rpartition("/")
        directories.setdefault(parent, {})[name] = data
    for parent, files in directories.items():
        write_directory(directory / parent, files)


def _remove_directories(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.rmdir()


def _write(contents: Mapping[Path, bytes], durable: bool = False, mode: int | None = None) -> None:
    temporaries: dict[Path, Path] = {}
    backups: dict[Path, Path] = {}  # only of several files
    done: list[Path] = []
    path = None
    try:
        for path, data in contents.items():
            temporary = _temporary(path)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            temporaries[path] = temporary
            with open(descriptor, "wb") as file:
                file.write(data)
                if mode is not None:
                    temporary.chmod(mode)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        new = {path for path in contents if not os.path.lexists(path)}
        for path in contents.keys() - new if len(contents) > 1 else ():
            with contextlib.suppress(OSError):  # a directory, or a file system without hard links
                backup = _temporary(path)
                os.link(path, backup, follow_symlinks=False)
                backups[path] = backup
        for path in contents:
            os.replace(temporaries[path], path)
            del temporaries[path]
            done.append(path)
    except BaseException as error:
        for each in done:
            with contextlib.suppress(OSError):
                if each in backups:
                    os.replace(backups.pop(each), each)
                elif each in new:
                    each.unlink()
        if isinstance(error, OSError) and path is not None:
            raise _explain(error, path) from None
        raise
    finally:
        for temporary in (*temporaries.values(), *backups.values()):
            with contextlib.suppress(OSError):
                temporary.unlink()


def _temporary(path: Path) -> Path:
    # Not derived from the target's name, which may already have the maximum length.
    return path.with_name(f".rbootimg-{os.urandom(6).hex()}.tmp")


def write_output(path: Path, data: bytes) -> bool:
    """Write an output that the user named: atomically to a file or a link's target, directly to a device or pipe.

    Returns False for a device or pipe. Raises OSError with `path` as its file name.
    """
    is_file = not os.path.exists(path) or os.path.isfile(path)
    try:
        if is_file:
            write_atomic(resolve(path) if os.path.islink(path) else path, data)
        else:
            path.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return is_file


# System errors, with the path as the user wrote it


def resolve(path: Path) -> Path:
    """Return `path` without symbolic links. Raises OSError for a loop of them, in every Python version."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _explain(error, path) from None
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, _LOOP, str(path)) from None


def _explain(error: OSError, path: Path) -> OSError:
    """Return `error` with `path` as its file name, and the directory above `path` that caused it.

    The system's error may name a temporary file, and says `No such file or directory` of a file to be created.
    """
    return OSError(error.errno, _reason(error, path), str(path))


_LOOP = "a symbolic link loop"


def _reason(error: OSError, path: Path) -> str | None:
    reason = error.strerror
    above = [*reversed(path.parents)]
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
        for directory in above:
            if not os.path.lexists(directory):
                return f"there is no directory {directory}"
            if not os.path.isdir(directory):
                return f"{directory} is {not_a_directory(directory)}"
        if error.errno == errno.ELOOP:
            return _LOOP
        if error.errno == errno.ENOENT:  # as in /proc
            return "cannot create a file there"
    if error.errno in (errno.EACCES, errno.EPERM):
        for directory in above:
            if os.path.isdir(directory) and not os.access(directory, os.X_OK):
                return f"{reason}: no search permission for directory {directory}"
        if os.path.isdir(path.parent) and not os.access(path.parent, os.W_OK):
            return f"{reason}: no write permission for directory {path.parent}"
    return reason


def not_a_directory(path: Path) -> str:
    """Describe the file or link at `path`, where a directory is expected."""
    if os.path.islink(path) and not os.path.exists(path):
        try:
            path.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return _LOOP
        return f"a dangling symbolic link to {os.readlink(path)}"
    return "not a directory"

"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which takes 5 ms to import
    from pathlib import Path


MAX_SIZE = 1 << 28
"""Bytes of the largest file that is read: an ELF with all its debugging information has some ten million."""


def read_file(name: str | Path, most: int = MAX_SIZE) -> bytes:
    """What is in the file `name`, a pipe too.

    Raises OSError with `name` as its file name, also for what has more than `most` bytes or never ends.
    """
    parts = []
    left = most + 1
    try:
        with open(name, "rb") as file:
            while left and (part := file.read(min(left, 1 << 24))):
                parts.append(part)
                left -= len(part)
    except OSError as error:  # reading does not name it
        raise OSError(error.errno, error.strerror, str(name)) from None
    if not left:
        raise OSError(
            errno.EFBIG, f"it has more than {f'{most >> 20} MB' if most >= 1 << 20 else f'{most >> 10} KB'}", str(name)
        )
    return parts[0] if len(parts) == 1 else b"".join(parts)


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hex digits."""
    import hashlib  # not for every command and build

    return hashlib.sha256(data).hexdigest()


def write_atomic(path: Path, data: bytes, *, durable: bool = False, mode: int | None = None) -> None:
    """Put `data` at `path` in one step: until it is all there, what stood there stays.

    `durable` waits until it is on the disk; `mode` sets the permissions, which else follow the umask.
    Raises OSError with `path` as its file name, and then leaves nothing behind.
    """
    _write({path: data}, durable, mode)


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Put files of these names and `contents` into `folder`, made if need be: if one cannot be written, then none.

    What else is in the folder stays. Raises OSError with a file name, and then leaves nothing behind.
    """
    made: list[Path] = []
    try:
        if os.path.lexists(folder) and not os.path.isdir(folder):
            reason = "not a folder; name one for the files, there or not yet" if folder.exists() else no_folder(folder)
            raise NotADirectoryError(errno.ENOTDIR, reason, str(folder))
        made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_folders(made)
        raise about(error, folder) from None
    try:
        _write({folder / name: data for name, data in contents.items()})
    except BaseException:
        _remove_folders(made)
        raise


def _remove_folders(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.rmdir()


def _write(contents: Mapping[Path, bytes], durable: bool = False, mode: int | None = None) -> None:
    temporaries: dict[Path, Path] = {}
    befores: dict[Path, Path] = {}  # for a way back, of several files
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
            with contextlib.suppress(OSError):  # a folder, or a file system without links
                before = _temporary(path)
                os.link(path, before, follow_symlinks=False)
                befores[path] = before
        for path in contents:
            os.replace(temporaries[path], path)
            del temporaries[path]
            done.append(path)
    except BaseException as error:
        for each in done:
            with contextlib.suppress(OSError):
                if each in befores:
                    os.replace(befores.pop(each), each)
                elif each in new:
                    each.unlink()
        if isinstance(error, OSError) and path is not None:
            raise about(error, path) from None
        raise
    finally:
        for temporary in (*temporaries.values(), *befores.values()):
            with contextlib.suppress(OSError):
                temporary.unlink()


def _temporary(path: Path) -> Path:
    # Not from the target's name, which may have the greatest length already.
    return path.with_name(f".rbootimg-{os.urandom(6).hex()}.tmp")


def write_output(path: Path, data: bytes) -> bool:
    """Write what the user asked for to where he asked: through a link, and to a device or a pipe as well.

    Returns False for one of those, which are written to and not replaced. Raises OSError with `path` as its file name.
    """
    is_file = not os.path.exists(path) or os.path.isfile(path)
    try:
        if is_file:
            write_atomic(resolved(path) if os.path.islink(path) else path, data)
        else:
            path.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return is_file


# What the system refuses, in the words of who wrote the path


def resolved(path: Path) -> Path:
    """`path` without links in it. Raises OSError for a loop of them, which each version of Python tells differently."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise about(error, path) from None
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, _LOOP, str(path)) from None


def about(error: OSError, path: Path) -> OSError:
    """`error`, met in writing to `path`, with that as its file name and what is wrong with the folders above it.

    The system's own may name a temporary file, and says `No such file or directory` of a file that is to be made.
    """
    return OSError(error.errno, _reason(error, path), str(path))


_LOOP = "a symbolic link that leads back to itself"


def _reason(error: OSError, path: Path) -> str | None:
    reason = error.strerror
    above = [*reversed(path.parents)]
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
        for folder in above:
            if not os.path.lexists(folder):
                return f"there is no folder {folder}"
            if not os.path.isdir(folder):
                return f"{folder} is {no_folder(folder)}"
        if error.errno == errno.ELOOP:
            return _LOOP
        if error.errno == errno.ENOENT:  # as in /proc
            return "nothing can be made there"
    if error.errno in (errno.EACCES, errno.EPERM):
        for folder in above:
            if os.path.isdir(folder) and not os.access(folder, os.X_OK):
                return f"{reason}; the folder {folder} may not be entered"
        if os.path.isdir(path.parent) and not os.access(path.parent, os.W_OK):
            return f"{reason}; the folder {path.parent} may not be written to"
    return reason


def no_folder(path: Path) -> str:
    """What is at `path`, which is no folder."""
    if os.path.islink(path) and not os.path.exists(path):
        try:
            path.stat()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return _LOOP
        return f"a symbolic link to {os.readlink(path)}, where there is nothing"
    return "not a folder"

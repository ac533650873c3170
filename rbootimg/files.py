"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which takes 5 ms to import
    from pathlib import Path


MOST = 1 << 28
"""Bytes of the largest file that is read: an ELF with all its debugging information has some ten million."""


def read_file(name: str | Path, most: int = MOST) -> bytes:
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
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder; name one for the files, there or not yet", str(folder))
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write({folder / name: data for name, data in contents.items()})
    except BaseException:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _write(contents: Mapping[Path, bytes], durable: bool = False, mode: int | None = None) -> None:
    temporaries: dict[Path, Path] = {}
    path = None
    try:
        for path, data in contents.items():
            # Not from the target's name, which may have the greatest length already.
            temporary = path.with_name(f".rbootimg-{os.urandom(6).hex()}.tmp")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            temporaries[path] = temporary
            with open(descriptor, "wb") as file:
                file.write(data)
                if mode is not None:
                    temporary.chmod(mode)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
        for path in contents:
            os.replace(temporaries[path], path)
            del temporaries[path]
    except OSError as error:
        # The file that the caller knows, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_output(path: Path, data: bytes) -> bool:
    """Write what the user asked for to where he asked: through a link, and to a device or a pipe as well.

    Returns False for one of those, which are written to and not replaced. Raises OSError with `path` as its file name.
    """
    is_file = not path.exists() or path.is_file()
    try:
        if is_file:
            write_atomic(path.resolve(), data)
        else:
            path.write_bytes(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    return is_file

"""LittleFS images: files by path <-> the image of a region. The optional package littlefs-python does both.

Source of the format: littlefs 2 (SPEC.md); of the defaults: LittleFS of the ESP8266 Arduino core 3.1.2 and mklittlefs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ..errors import FileSystemError, RbootError
from ..layout.memory import BLANK
from ..requirements import how_to_install
from ..text import counted, quote

if TYPE_CHECKING:
    from littlefs import LittleFS

BLOCK_SIZES = (4096, 8192)
"""Sizes of a block for new images: a sector of the flash, and that of the Arduino core."""
NAME_MAX = 31
"""The default of the maximum length of a name in bytes. The Arduino core mounts no image whose limit is higher than 32,
and opens no file whose name has 32 bytes."""
LONGEST_NAME = 255
"""LFS_NAME_MAX unless a project changes it."""

_CACHE_SIZE = 64
"""LittleFS stores smaller files in their directory. A device whose `cache_size` is smaller than such a file reads other
data; that of the Arduino core is 64."""
_DISK_VERSION = 0x0002_0000
"""A driver before littlefs 2.6, such as that of the Arduino core, mounts no file system of version 2.1."""
_MAGIC = b"littlefs"
_MAGIC_OFFSET = 8
_SUPERBLOCK = struct.Struct("<4I")
_SUPERBLOCK_OFFSET = 20

# Bounds for reading an image from outside.
_MAX_DEPTH, _MAX_ENTRIES = 16, 10_000
MAX_SECONDS = 20
"""CPU time for reading one image; 16 MB take less than a second."""


class Superblock(NamedTuple):
    """The parameters of a file system; sizes and `name_max` are in bytes."""

    version: str
    block_size: int
    block_count: int
    name_max: int

    @property
    def size(self) -> int:
        """The bytes that the file system covers."""
        return self.block_size * self.block_count


def is_available() -> bool:
    """Whether littlefs-python is installed."""
    import importlib.util  # not for every command that knows of regions

    return importlib.util.find_spec("littlefs") is not None


def find_superblock(data: bytes) -> Superblock | None:
    """Return the superblock of the LittleFS image at the start of `data`, None if there is none.

    It is in the first two blocks; a device that lost power while it wrote one of them has it in the other.
    """
    starts = (0, *(1 << shift for shift in range(7, 17)))
    for start in starts:
        magic = start + _MAGIC_OFFSET
        if data[magic : magic + len(_MAGIC)] == _MAGIC and len(data) >= start + _SUPERBLOCK_OFFSET + _SUPERBLOCK.size:
            version, block_size, block_count, name_max = _SUPERBLOCK.unpack_from(data, start + _SUPERBLOCK_OFFSET)
            if start in (0, block_size):
                return Superblock(f"{version >> 16}.{version & 0xFFFF}", block_size, block_count, name_max)
    return None


def make_file_system(
    files: Mapping[str, bytes], size: int, block_size: int = BLOCK_SIZES[0], name_max: int = NAME_MAX
) -> bytes:
    """Return a LittleFS image of `size` bytes with `files`, by their paths, such as `css/style.css`.

    The same files give the same image. `block_size` is one of BLOCK_SIZES. Raises FileSystemError for an invalid path,
    a name of more than `name_max` bytes, or files that do not fit.
    """
    _check_options(size, block_size, name_max)
    _check_paths(files, name_max)
    _require_package()
    from littlefs import LittleFS, LittleFSError, UserContext

    context = UserContext(buffer=bytearray(BLANK) * size)
    system = LittleFS(
        context=context,
        mount=False,
        block_size=block_size,
        block_count=size // block_size,
        read_size=_CACHE_SIZE,
        prog_size=_CACHE_SIZE,
        cache_size=_CACHE_SIZE,
        lookahead_size=_CACHE_SIZE,
        name_max=name_max,
        disk_version=_DISK_VERSION,
    )
    try:
        system.format()
        system.mount()
        for path in sorted(files):
            if "/" in path:
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
            with system.open(path, "wb") as file:
                file.write(files[path])
        system.unmount()
    except LittleFSError as error:
        if error.code != LittleFSError.Error.LFS_ERR_NOSPC:
            raise
        raise FileSystemError(
            f"{_total(files)} do not fit into {size:,} bytes: LittleFS takes a block of {block_size:,} bytes at least "
            "for each larger file, and two for each directory"
        ) from None
    return bytes(context.buffer)


def read_file_system(data: bytes) -> dict[str, bytes]:
    """Return the files of the LittleFS image in `data` by their paths, in order.

    The image may come from anywhere: it is read in another process, which it may crash, within MAX_SECONDS. Raises
    FileSystemError for an invalid image, and for names that would lead out of a directory.
    """
    superblock = find_superblock(data)
    if superblock is None:
        raise FileSystemError("no LittleFS image")
    check_superblock(superblock, len(data))
    _require_package()
    import base64
    import json

    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        _read_in_child(data, superblock, sender)
    os.close(sender)
    with open(receiver, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if status:
        raise FileSystemError("corrupt LittleFS image: its directories lead nowhere, or in circles")
    found = json.loads(text)
    if "error" in found:
        raise FileSystemError(found["error"])
    return {path: base64.b64decode(content) for path, content in sorted(found["files"].items())}


def check_superblock(superblock: Superblock, size: int) -> None:
    """Raise FileSystemError unless the file system is within `size` bytes."""
    if not 128 <= superblock.block_size <= size or not 0 < superblock.size <= size:
        raise FileSystemError(
            f"invalid LittleFS image: {counted(superblock.block_count, 'block')} of "
            f"{counted(superblock.block_size, 'byte')}, in {counted(size, 'byte')}"
        )


def _check_options(size: int, block_size: int, name_max: int) -> None:
    if block_size not in BLOCK_SIZES:
        raise FileSystemError(f"invalid block size {block_size}: expected {' or '.join(map(str, BLOCK_SIZES))}")
    if size % block_size or size < 2 * block_size:
        raise FileSystemError(
            f"invalid size {size:#x}: expected a multiple of the block size {block_size:#x}, two blocks or more"
        )
    if not 1 <= name_max <= LONGEST_NAME:
        raise FileSystemError(f"invalid name length {name_max}: expected 1-{LONGEST_NAME}")


def _check_paths(files: Mapping[str, bytes], name_max: int) -> None:
    directories = {path[:at] for path in files for at, character in enumerate(path) if character == "/"}
    for path in files:
        for name in path.split("/"):
            _check_name(name, path)
            length = len(name.encode())
            if length > name_max:
                raise FileSystemError(
                    f"{quote(path, 100)}: name of {counted(length, 'byte')}, maximum {name_max}; shorten it, or raise "
                    "the limit if LFS_NAME_MAX of the device's driver allows it"
                )
        if path in directories:
            raise FileSystemError(f"{quote(path, 100)}: both a file and a directory")


def _check_name(name: str, path: str) -> None:
    """Raise FileSystemError unless `name`, a part of `path`, can be that of a file in a directory."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise FileSystemError(f"invalid file name {quote(name, 100)} in {quote(path, 100)}")


def _total(files: Mapping[str, bytes]) -> str:
    return f"{counted(len(files), 'file')} of {counted(sum(map(len, files.values())), 'byte')}"


def _require_package() -> None:
    if not is_available():
        raise FileSystemError(f"LittleFS images require littlefs-python: run {how_to_install(['littlefs-python'])}")


# In the process that reads an image


def _read_in_child(data: bytes, superblock: Superblock, sender: int) -> NoReturn:
    """Write the files or an error to the pipe `sender`, and end the process. Status 0: the text is complete."""
    status = 1
    try:
        import base64
        import json
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # for failed assertions of the library
        try:
            files = _read(data, superblock)
            answer: dict[str, Any] = {"files": {path: base64.b64encode(each).decode() for path, each in files.items()}}
        except RbootError as error:
            answer = {"error": str(error)}
        with open(sender, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        status = 0
    finally:
        os._exit(status)


def _read(data: bytes, superblock: Superblock) -> dict[str, bytes]:
    from littlefs import LittleFS, LittleFSError, UserContext

    size = superblock.block_size
    system = LittleFS(
        context=UserContext(buffer=bytearray(data)),
        mount=False,
        block_size=size,
        block_count=superblock.block_count,
        read_size=1,
        prog_size=1,
        cache_size=size,  # files in their directory are at most as large as the writer's cache
        name_max=LONGEST_NAME,
    )
    files: dict[str, bytes] = {}
    left = len(data)
    try:
        system.mount()
        for path, length in _walk(system):
            left -= length  # the stored size of a file can be any number
            if left < 0:
                raise FileSystemError(f"invalid LittleFS image: {quote(path, 100)} is larger than the image")
            with system.open(path, "rb") as file:
                files[path] = file.read(length)
    except LittleFSError as error:
        raise FileSystemError(f"corrupt LittleFS image: {error}") from None
    except UnicodeDecodeError:
        raise FileSystemError("invalid LittleFS image: a file name is not UTF-8") from None
    return files


def _walk(system: LittleFS) -> Iterator[tuple[str, int]]:
    """Yield the path and size of each file. Directories may contain each other."""
    count = 0
    directories = [""]
    while directories:
        directory = directories.pop()
        if directory.count("/") > _MAX_DEPTH:
            raise FileSystemError(f"invalid LittleFS image: directories deeper than {_MAX_DEPTH} levels")
        names = set()
        for entry in system.scandir(f"/{directory}"):
            path = directory + entry.name
            _check_name(entry.name, path)
            if entry.name in names:
                raise FileSystemError(f"invalid LittleFS image: two files are called {quote(path, 100)}")
            names.add(entry.name)
            count += 1
            if count > _MAX_ENTRIES:
                raise FileSystemError(f"invalid LittleFS image: more than {_MAX_ENTRIES:,} files and directories")
            if entry.type == entry.TYPE_DIR:
                directories.append(f"{path}/")
            else:
                yield path, entry.size

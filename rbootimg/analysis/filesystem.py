"""The contents of a LittleFS image. No files."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..errors import FileSystemError
from ..fileio import sha256_hex
from ..flash import littlefs
from ..flash.littlefs import Superblock
from .common import common_json

LITTLEFS: Final = "littlefs"


class FileSystemInfo(NamedTuple):
    """A LittleFS image. `files` are the sizes of its files by path, None if littlefs-python is not installed."""

    size: int
    sha256: str
    superblock: Superblock
    files: dict[str, int] | None
    problems: tuple[str, ...]
    kind: Literal["littlefs"] = LITTLEFS


def file_system_info(data: bytes, superblock: Superblock) -> FileSystemInfo:
    """Describe the LittleFS image in `data`, valid or not."""
    files: dict[str, int] | None = None
    problems = []
    try:
        littlefs.check_superblock(superblock, len(data))
        if littlefs.is_available():
            files = {path: len(content) for path, content in littlefs.read_file_system(data).items()}
    except FileSystemError as error:
        problems.append(str(error))
    return FileSystemInfo(len(data), sha256_hex(data), superblock, files, tuple(problems))


def file_system_json(found: FileSystemInfo) -> dict[str, object]:
    """Return the JSON values that rbootimg.analysis.identify describes."""
    files = None if found.files is None else [{"path": path, "size": size} for path, size in found.files.items()]
    return common_json(found) | found.superblock._asdict() | {"files": files}

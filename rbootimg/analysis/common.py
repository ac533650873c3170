"""What is said of every kind of file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class FileInfo(Protocol):
        """What is known of a file of any kind."""

        @property
        def kind(self) -> str: ...
        @property
        def size(self) -> int: ...
        @property
        def sha256(self) -> str: ...
        @property
        def problems(self) -> Sequence[str]: ...


def is_blank(data: bytes) -> bool:
    """Whether all of `data` is 0xFF, as erased flash is."""
    return data.count(0xFF) == len(data)


def common_json(found: FileInfo) -> dict[str, object]:
    """What is said of every kind of file."""
    return {"kind": found.kind, "size": found.size, "sha256": found.sha256, "problems": list(found.problems)}

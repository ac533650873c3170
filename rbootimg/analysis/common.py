"""The facts that files of every kind have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RbootError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class CommonInfo(Protocol):
        """The facts about a file of any kind."""

        @property
        def kind(self) -> str: ...
        @property
        def size(self) -> int: ...
        @property
        def sha256(self) -> str: ...
        @property
        def problems(self) -> Sequence[str]: ...


def common_json(found: CommonInfo) -> dict[str, object]:
    """Return the JSON values that files of every kind have."""
    return {"kind": found.kind, "size": found.size, "sha256": found.sha256, "problems": list(found.problems)}


def check_problems(found: CommonInfo) -> None:
    """Raise RbootError with the first problem of a file, if it has any."""
    if found.problems:
        more = len(found.problems) - 1
        raise RbootError(found.problems[0] + (f" (and {more} more)" if more else ""))

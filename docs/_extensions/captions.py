"""Shows the name of a file above it: of a block after the comment `<!-- file: NAME -->`, which the tests write."""

from __future__ import annotations

import re
from typing import Any

_FILE = re.compile(r"<!-- (?:file|append to): (.+?) -->\n+(`{3,})(\w+)\n")


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", _add_captions)
    return {"parallel_read_safe": True}


def _add_captions(app: Any, name: str, source: list[str]) -> None:
    source[0] = _FILE.sub(r"\2{code-block} \3\n:caption: \1\n\n", source[0])

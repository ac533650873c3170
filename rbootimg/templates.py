"""HTML and SVG from the templates in html/, where every value is text. The only user of jinja2.

A template cannot leave the escaping out: it has no filter but `part`, and no value that is markup already. A line that
ends with {##} goes on in the next one.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).with_name("html")

# What XML cannot have, or what turns the text around it: control characters, lone surrogates, two noncharacters,
# separators of lines, and the controls of bidirectional text. Not what str.isprintable() says, which is another thing
# for each Unicode that Pythons have, and not joiners, which names in many a language have.
_NO_TEXT = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def render(name: str, **values: object) -> str:
    """The text of a template with those values; the same values give the same text.

    What a text cannot have in XML, or what would turn the text around it, becomes U+FFFD. Raises TypeError for a value
    that is neither a text nor a number, jinja2.UndefinedError for one that is missing.
    """
    return _environment().get_template(name).render(values)


@functools.cache
def _environment() -> Environment:
    # Not above: most commands and most builds write no page, and jinja2 takes longer to load than they do to start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup  # jinja2 brings it

    def shown(value: object) -> object:
        if isinstance(value, (Markup, StrictUndefined)):  # a macro's output; what raises by itself
            return value
        if isinstance(value, (str, int, float)):
            return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", str(value))
        raise TypeError(f"a page cannot show {value!r}")

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=FileSystemLoader(FOLDER),
        auto_reload=False,
    )
    # Those that jinja2 brings include some, such as `safe`, that make markup of text.
    environment.filters = {"part": _part}
    environment.globals = {}
    return environment


def _part(name: str) -> str:
    """`name` as a part of a path in a URL, which it can neither leave nor be anything else than."""
    quoted = quote(name, safe="", errors="replace")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted

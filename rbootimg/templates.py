"""HTML and SVG from the templates in html/. The only user of jinja2.

Templates cannot bypass the escaping: the only filters are `part` and `web_link`, and no value is markup. A line
that ends with {##} continues on the next one.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2 import Environment

DIRECTORY = Path(__file__).with_name("html")

# Characters that XML forbids or that change the text around them: control characters, lone surrogates, two
# noncharacters, line separators, and bidirectional controls. Not by str.isprintable(), which depends on Python's
# Unicode version, and without joiners, which are part of names in many languages.
_FORBIDDEN = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def render(name: str, **values: object) -> str:
    """Render a template; the same values give the same text.

    Characters that XML forbids, and bidirectional controls, become U+FFFD. Raises TypeError for a value that is neither
    a string nor a number, jinja2.UndefinedError for a missing one.
    """
    return _environment().get_template(name).render(values)


@functools.cache
def _environment() -> Environment:
    # Imported here: most commands render no page, and jinja2 takes longer to load than they take to start.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup  # a dependency of jinja2

    def finalize(value: object) -> object:
        if isinstance(value, (Markup, StrictUndefined)):  # a macro's output; raises by itself
            return value
        if isinstance(value, (str, int, float)):
            return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(value))
        raise TypeError(f"not a string or a number: {value!r}")

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=FileSystemLoader(DIRECTORY),
        auto_reload=False,
    )
    # Without the filters of jinja2: some, such as `safe`, turn text into markup.
    environment.filters = {"part": _part, "web_link": _web_link}
    environment.globals = {}
    return environment


def _part(name: str) -> str:
    """Quote `name` as a single segment of the path of a URL."""
    quoted = quote(name, safe="", errors="replace")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def is_web_link(url: str) -> bool:
    """Whether `url` is absolute and leads to a web page or an e-mail address."""
    return re.match("(https?://|mailto:).", url, re.IGNORECASE) is not None


def _web_link(url: str) -> str:
    """Return `url` for an href if it cannot run a script. Raises ValueError otherwise."""
    if not is_web_link(url):
        raise ValueError(f"not a link to a web page: {url!r}")
    return url

"""Check that the Python packages that rbootimg requires are installed. This module requires none of them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

# The imported module and the package that provides it.
_PACKAGES = {
    "elftools": "pyelftools",
    "esptool": "esptool",
    "h11": "h11",
    "jinja2": "jinja2",
    "markdown_it": "markdown-it-py",
    "rich": "rich",
    "semver": "semver",
    "serial": "pyserial",
    "shtab": "shtab",
    "squarify": "squarify",
    **({} if sys.version_info >= (3, 11) else {"tomli": "tomli"}),
}


def missing() -> list[str]:
    """List the missing packages in alphabetical order; there are none if pip installed rbootimg."""
    return sorted(package for name, package in _PACKAGES.items() if importlib.util.find_spec(name) is None)


def how_to_install(packages: Iterable[str]) -> str:
    """Return the command that installs `packages` for this Python, in the versions of setup.cfg in a checkout."""
    import configparser  # for an incomplete installation only
    import re
    import shlex

    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    required = config.get("options", "install_requires", fallback="").splitlines()
    ranges = {re.match(r"[\w-]*", line)[0]: line.partition(";")[0].replace(" ", "") for line in required}  # type: ignore[index]
    return shlex.join([sys.executable, "-m", "pip", "install", *(ranges.get(each, each) for each in packages)])

"""Which of the Python packages that rbootimg asks for are not there. It needs none of them itself."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

# What is imported, and the package that brings it.
_IMPORTED = {
    "elftools": "pyelftools",
    "esptool": "esptool",
    "h11": "h11",
    "jinja2": "jinja2",
    "rich": "rich",
    "semver": "semver",
    **({} if sys.version_info >= (3, 11) else {"tomli": "tomli"}),
}


def missing() -> list[str]:
    """The packages that this Python lacks, in alphabetical order: none if pip installed rbootimg."""
    return sorted(package for name, package in _IMPORTED.items() if importlib.util.find_spec(name) is None)


def how_to_install(packages: Iterable[str]) -> str:
    """The command that installs `packages` for this Python, in the versions of setup.cfg where that is beside us."""
    import configparser  # these are for the one time
    import re
    import shlex

    config = configparser.ConfigParser()
    config.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    asked = config.get("options", "install_requires", fallback="").splitlines()
    ranges = {re.match(r"[\w-]*", line)[0]: line.partition(";")[0].replace(" ", "") for line in asked}  # type: ignore[index]
    return shlex.join([sys.executable, "-m", "pip", "install", *(ranges.get(each, each) for each in packages)])

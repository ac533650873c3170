"""`rbootimg platformio`: the script for PlatformIO -> a project."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from ..errors import SettingError, error_subject
from ..fileio import read_file, write_output
from ..platformio import init
from .arguments import directory

DESCRIPTION = (
    "Add rBoot ROMs to a PlatformIO project: write rboot.py, add it to extra_scripts in platformio.ini, and print the "
    "difference. A project that has both is left as it is."
)

EPILOG = """\
Examples:
  rbootimg platformio init
  rbootimg platformio init -d firmware -e nodemcuv2"""

_INI = "platformio.ini"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("action", choices=("init",), help="what to do")
    parser.add_argument(
        "-d",
        "--project-dir",
        type=directory,
        default=Path(),
        metavar="DIRECTORY",
        help="the project's directory (default: the current one)",
    )
    parser.add_argument(
        "-e",
        "--environment",
        action="append",
        default=[],
        metavar="ENV",
        help="add it to this environment; can be repeated (default: all with the platform espressif8266)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the script and the changed platformio.ini."""
    ini, script = options.project_dir / _INI, options.project_dir / init.SCRIPT.name
    if not ini.exists():
        raise SettingError("no such file; create the project with `pio project init` first", subject=ini)
    with error_subject(ini):
        before = _read(ini)
        after = init.add_script(before, options.environment)
    ours = init.SCRIPT.read_text(encoding="utf-8")
    current = _read(script) if script.exists() else None
    if current is not None and not init.is_ours(current):
        raise SettingError("already exists and is another script; rename it", subject=script)
    for file, old, new in ((script, current, ours), (ini, before, after)):
        if old == new:
            print(f"{file} is up to date")
        else:
            write_output(file, new.encode())
            print(f"wrote {file}")
    print("".join(difflib.unified_diff(before.splitlines(True), after.splitlines(True), _INI, _INI)), end="")


def _read(file: Path) -> str:
    """Read a text file. Raises SettingError if it is not UTF-8."""
    try:
        return read_file(file).decode()
    except UnicodeDecodeError:
        raise SettingError("not UTF-8", subject=file) from None

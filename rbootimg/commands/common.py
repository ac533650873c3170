"""Arguments, checks and output that several commands share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import fileio
from ..errors import LayoutError, SettingError, error_subject
from ..views.messages import print_warning
from .arguments import directory, seconds

if TYPE_CHECKING:  # not loaded by every command
    from ..layout.model import FlashLayout, Slot


def web_root_argument(parser: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    """Add --web-root."""
    parser.add_argument(
        "--web-root",
        dest="web_root",
        type=directory,
        default=Path(os.environ.get("RBOOT_WEBROOT") or "build/webroot"),
        metavar="DIRECTORY",
        help="use this web root (default: $RBOOT_WEBROOT, else build/webroot)",
    )


def elf_archive_argument(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add --elf-archive, whose help begins with `verb`."""
    parser.add_argument(
        "--elf-archive",
        type=directory,
        metavar="DIRECTORY",
        help=f"{verb} this archive of ELFs; `none` is for no archive (default: $RBOOT_ELF_ARCHIVE, else .WEBROOT-elfs "
        "beside the web root)",
    )


def elf_archive(options: argparse.Namespace) -> Path | None:
    """Return the archive of --elf-archive, None for no archive. Raises SettingError if it is in the web root."""
    from ..release.elfarchive import archive_directory

    setting = str(options.elf_archive or os.environ.get("RBOOT_ELF_ARCHIVE", ""))
    with error_subject("--elf-archive" if options.elf_archive else "$RBOOT_ELF_ARCHIVE"):
        return archive_directory(setting, options.web_root)


def app_argument(parser: argparse.ArgumentParser) -> None:
    """Add --app, which selects an application of a web root."""
    parser.add_argument(
        "--app", metavar="NAME", help="select this application (required if the web root has more than one)"
    )


def wait_argument(parser: argparse.ArgumentParser) -> None:
    """Add --wait, the time limit for the lock of a web root."""
    from ..release.webroot import WAIT  # not loaded by every command

    parser.add_argument(
        "--wait",
        type=seconds,
        default=WAIT,
        metavar="SECONDS",
        help=f"wait at most this long for another process that changes the web root (default: {WAIT:g})",
    )


def layout_argument(parser: argparse.ArgumentParser) -> None:
    """Add --layout, which is required."""
    parser.add_argument(
        "--layout",
        required=True,
        metavar="LAYOUT",
        help="a layout file (TOML) or a preset; `rbootimg layout` lists the presets",
    )


def json_argument(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def print_json(values: Mapping[str, object]) -> None:
    """Print `values` as a JSON object. Its first key, `schema`, is the version of the format."""
    import json  # not loaded by every command

    print(json.dumps({"schema": 1, **values}, indent=2))


def sized_slot(slot: Slot, size: str | None = None) -> Slot:
    """Check a slot from the command line. One without a size gets the largest possible in a flash of `size`.

    Raises LayoutError.
    """
    from ..layout.model import Slot, make_flash_layout

    # Without a flash size only the slot itself is checked: every slot fits the largest flash.
    checked = make_flash_layout(size or "16MB", [slot], big_flash=True).slots[0]
    return Slot(checked.address, checked.size)


def read_layout(name: str) -> FlashLayout:
    """Read the layout file or preset `name`; a file takes precedence. Raises LayoutError with `name` as subject."""
    from ..layout import presets, tomlfile

    with error_subject(name or "--layout"):
        if name in presets.LAYOUT_PRESETS and not os.path.exists(name):
            return presets.preset_layout(name)
        if not os.path.exists(name):
            raise presets.not_found_error(name)
        try:
            return tomlfile.parse_layout(fileio.read_file(name, tomlfile.MAX_SIZE).decode())
        except UnicodeDecodeError:
            raise LayoutError("invalid TOML: not UTF-8") from None


def check_not_input(output: Path | None, inputs: Iterable[str | Path]) -> None:
    """Check that `output` does not overwrite one of the `inputs`. Raises SettingError."""
    for name in inputs:
        # Path.is_file() raises for an unreadable directory; writing to it gives the better error.
        if output and os.path.isfile(output) and os.path.exists(name) and os.path.samefile(output, name):
            raise SettingError("refusing to overwrite an input file", subject=output)


def check_confinement() -> None:
    """Warn if the emulator does not confine ROMs. Raises EmulatorError if $RBOOT_CONFINE requires it."""
    from ..emulator import confinement

    warning = confinement.check(os.environ.get("RBOOT_CONFINE", ""))
    if warning:
        print_warning("rbootimg", warning)

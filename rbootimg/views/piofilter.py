"""The part of PlatformIO's monitor filter that is in this package: platformio/files/filter_rboot.py calls it.

It does not import platformio, which has its own configuration and terminal.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

from ..errors import RbootError
from ..monitor.decoder import LogDecoder
from ..monitor.elfs import ElfFinder, KnownElf, Origin, known_elfs
from ..release.elfarchive import archive_directory
from .monitor import MonitorView

_PREFIX = "custom_rboot_"
_ELF = re.compile(r"rom(\d{1,3})\.elf")


class PlatformioFilter:
    """Adds reports about crashes to the output of a device, with the ELFs of an environment of platformio.ini."""

    def __init__(self, config: Any, environment: str) -> None:
        """Use PlatformIO's ProjectConfig. ELFs that cannot be read are reported in the first output."""
        self._out = _Buffer()
        try:
            finder = _elf_finder(config, environment)
        except (RbootError, OSError) as error:
            finder = ElfFinder(())
            self._out.write(f"rboot: {error}\n")
        self._view = MonitorView(LogDecoder(finder), out=self._out)

    def rx(self, text: str) -> str:
        """Return `text`, which the device has sent, with the reports about its lines."""
        self._view.feed(text.encode())
        self._view.show_incomplete()
        shown = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return shown


class _Buffer(io.StringIO):
    """Text for the terminal, if stdout is one."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


def _elf_finder(config: Any, environment: str) -> ElfFinder:
    """The finder for the environment's last build, and for its published and archived ELFs.

    Raises SettingError, WebRootError or OSError.
    """

    def option(name: str) -> str:
        return str(config.get(f"env:{environment}", _PREFIX + name, "") or "")

    app = option("app") or environment
    root = Path(option("webroot") or Path(config.get("platformio", "workspace_dir"), "webroot", environment))
    archive = archive_directory(option("elf_archive"), root)
    directory = Path(config.get("platformio", "build_dir"), environment)
    built = [
        KnownElf(path, Origin.BUILD, app, slot=int(match[1]))
        for path in sorted(directory.rglob("rom*.elf"))
        if (match := _ELF.fullmatch(path.name))
    ]
    searched = ", ".join(map(str, (directory, root, *((archive,) if archive else ()))))
    return ElfFinder((*built, *known_elfs(root, archive, app)), searched=searched)

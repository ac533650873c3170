"""Makes docs/images/release-page.png, the picture of a release page in README.md; look at it afterwards.

PYTHONPATH=tests python tests/manual/photograph_page.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from support import browser
from support.project import ROOT
from support.releases import make_roms

from rbootimg import ReleaseOptions, make_bundle, preset_layout, publish

PICTURE = ROOT / "docs" / "images" / "release-page.png"
VIEW = browser.View(960, 1120, "light")
NOTES = b"""\
Devices that lose their Wi-Fi while they update now continue.

- **Fixed:** the valve stays closed after a reset ([#142](https://example.org/issues/142)).
- **Changed:** the LED blinks twice per second while an update is written.
"""
RELEASES = (("1.1.0", "2026-09-14", 380_000, None), ("1.2.0", "2026-10-30", 402_000, None))
CURRENT = ("1.3.0", "2026-11-23", 401_200, NOTES)


def main() -> None:
    layout = preset_layout("1MB")
    with tempfile.TemporaryDirectory() as directory, browser.chromium() as chromium:
        for version, date, size, notes in (*RELEASES, CURRENT):
            options = ReleaseOptions(date=date, notes=notes, proved_by="loader-max_roms4.bin", same_build=True)
            publish(Path(directory), [make_bundle("valve", version, make_roms(version, size, 2), layout, options)])
        with browser.page(chromium, Path(directory, "index.html").as_uri(), VIEW) as window:
            window.screenshot(path=PICTURE)


if __name__ == "__main__":
    main()

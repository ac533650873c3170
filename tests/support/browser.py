"""Chromium without a window, for the tests of pages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

DESKTOP, PHONE = "1280,900", "390,844"


def show(url: str, size: str, directory: Path, *arguments: str) -> str:
    """Open `url` in a window of that size; what Chromium printed. It may complain of nothing and ask nobody else.

    What it keeps, and page.png, go to `directory`. A host that is not this one cannot be found, which is a complaint.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "this test needs Chromium"
    done = subprocess.run(
        [
            chromium,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            f"--user-data-dir={directory / 'profile'}",
            f"--window-size={size}",
            "--enable-logging=stderr",
            "--v=0",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            *arguments,
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def photograph(url: str, size: str, directory: Path) -> Path:
    """A picture of `url`, as show() shows it."""
    picture = directory / "page.png"
    show(url, size, directory, f"--screenshot={picture}")
    return picture

"""Chromium without a window, for the tests of pages: what it shows, and what axe-core says of its accessibility."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import NamedTuple

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright


class View(NamedTuple):
    """How a person looks at a page: the size of the window in CSS pixels, and the colours that they prefer."""

    width: int
    height: int
    colours: str

    def __str__(self) -> str:
        return f"{self.width}-{self.colours}"


SIZES = ((1280, 900), (360, 740))
VIEWS = tuple(View(*size, colours) for size in SIZES for colours in ("light", "dark"))
DESKTOP, *_, PHONE = (view for view in VIEWS if view.colours == "light")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. It can reach this machine alone."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "this test needs Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@contextlib.contextmanager
def page(browser: Browser, url: str, view: View = DESKTOP, *, scripts: bool = True) -> Iterator[Page]:
    """`url` in a new window. Whatever the page complains of until it is closed, such as a script that a policy forbids
    or a file that is not there, fails the test.
    """
    complaints: list[str] = []
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height}, color_scheme=view.colours, java_script_enabled=scripts
    )
    window = context.new_page()

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.text} ({message.location.get('url')})")

    window.on("console", note)
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    window.goto(url)
    yield window
    context.close()
    assert not complaints


def accessibility_faults(browser: Browser, url: str, view: View) -> list[str]:
    """What axe-core finds at `url`: its rule, and the elements. Empty if nothing."""
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height}, color_scheme=view.colours, bypass_csp=True
    )  # axe is a script in the page, which the page's policy forbids
    window = context.new_page()
    window.goto(url)
    found = Axe().run(window).response["violations"]
    context.close()
    return [f"{fault['id']}: {fault['help']}: {[node['html'] for node in fault['nodes']]}" for fault in found]


def overflow(window: Page) -> int:
    """By how many pixels the page is wider than its window, which a person on a phone has to push sideways."""
    return int(window.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

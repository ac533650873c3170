"""A release's page: its numbers, and that a browser shows it under the strictest policy without asking elsewhere."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support import browser
from support.releases import make, with_recovery

from rbootimg.fileio import sha256_hex
from rbootimg.release import page
from rbootimg.release.webroot import publish, rollback


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "www"
    publish(root, [make("1.0.0", size=131072)])
    options = {"proved_by": "rBoot 1.4.2", "elfs": (b"elf",) * 2, "files": (("ui.html", b"<p>"), ("ca.der", b"0"))}
    publish(root, [make("1.1.0", size=262144, date="2026-11-23", **options)])
    return root


@pytest.fixture
def spare(tmp_path: Path) -> Path:
    """A web root whose releases have a recovery ROM, and the last one files too."""
    root = tmp_path / "spare"
    publish(root, [with_recovery("1.0.0"), with_recovery("1.0.0", app="clock")])
    publish(root, [with_recovery("1.1.0", "much later", files=(("ui.html", b"<p>"),))])
    return root


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html))


def test_the_page_has_the_numbers_of_the_release(root: Path) -> None:
    text = text_of((root / "index.html").read_text())
    size = (root / "rom0.bin").stat().st_size
    before = (root / "releases/1.0.0/rom0.bin").stat().st_size
    for words in (
        "blink 1.1.0 for esp8266 · 2026-11-23 · manifest.json",
        "slot 1 0x082000 0x0fb000 484",
        "ROMs, compared with 1.0.0",
        f"size {size:,} bytes (+{size - before:,})",
        f"used {100 * size / 0x80000:.1f} %",
        "linked at 0x40282010",
        "boot proved with rBoot 1.4.2",
        f"Data files name bytes SHA-256 ca.der 1 {sha256_hex(b'0')} ui.html 3 {sha256_hex(b'<p>')}",
        f"1.1.0 current 2026-11-23 {size:,} + {size:,}",
        f"1.0.0 {before:,} + {before:,}",
    ):
        assert words in text
    rollback(root)
    text = text_of((root / "index.html").read_text())
    assert "blink 1.0.0 for esp8266" in text
    assert "boot proved no" in text
    assert f"1.0.0 current {before:,}" in text
    assert "compared" not in text
    assert "Files" not in text


def test_the_page_has_the_recovery_rom(spare: Path) -> None:
    data = (spare / "blink/releases/1.1.0/recovery.bin").read_bytes()
    change = len(data) - (spare / "blink/releases/1.0.0/recovery.bin").stat().st_size
    assert change
    for name, link in (("index.html", "releases/1.1.0/recovery.bin"), ("releases/1.1.0/index.html", "recovery.bin")):
        html = (spare / "blink" / name).read_text()
        assert f'<a href="{link}">recovery.bin</a>' in html
        assert f"recovery.bin size {len(data):,} bytes ({change:+,}) slot 2 at 0x202000, 1,0" in text_of(html)
        assert f"SHA-256 {sha256_hex(data)}" in text_of(html)
        assert f"recovery.bin: 0x202000 to {0x202000 + len(data):#x}" in html


def test_the_flash_is_drawn_to_scale(root: Path) -> None:
    svg = re.search("<svg.*?</svg>", (root / "index.html").read_text())[0]
    boxes = {
        name: (float(x), float(width))
        for x, width, name in re.findall(r'x="([\d.]+)" .*?width="([\d.]+)".*?<title>([^:]+):', svg)
    }
    assert boxes["slot 1"] == pytest.approx((0x82000 / 0x100000 * 1000, 0x79000 / 0x100000 * 1000), abs=0.001)
    size = (root / "rom1.bin").stat().st_size
    assert boxes["rom1.bin"] == pytest.approx((0x82000 / 0x100000 * 1000, size / 0x100000 * 1000), abs=0.001)


def test_names_are_escaped(tmp_path: Path) -> None:
    name = '<b>&"x'
    publish(tmp_path, [make("1.0.0", name, device="<i>", proved_by="<u>"), make("1.0.0", "a b#c")])
    pages = [path.read_text() for path in tmp_path.rglob("index.html")]
    assert len(pages) == 5
    for html in pages:
        assert not re.search("<[biu]>", html)
    assert 'href="a%20b%23c/index.html"' in (tmp_path / "index.html").read_text()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_every_link_leads_to_a_file_and_nothing_is_inline(root: Path, spare: Path) -> None:
    publish(root.parent / "several", [make("1.0.0"), make("1.0.0", "clock")])
    for path in root.parent.rglob("index.html"):
        found = _Links()
        found.feed(path.read_text())
        assert not found.tags & {"script", "style", "img", "iframe"}
        assert not [name for name in found.attributes if name == "style" or name.startswith("on")]
        for link in found.links:
            assert (path.parent / link).is_file(), (path, link)


class _Handler(http.server.SimpleHTTPRequestHandler):
    policy = ""
    asked: list[str] = []  # noqa: RUF012 # one for all

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_request(self, *_: object) -> None:
        self.asked.append(self.path)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(
    params=[page.POLICY, "default-src 'none'; style-src 'self'", "default-src 'self'"],
    ids=["its-own", "strictest", "self"],
)
def served(root: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, list[str]]]:
    """The web root on a server with such a policy: its URL, and what it is asked for."""
    handler = type("Handler", (_Handler,), {"policy": request.param, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=root)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", handler.asked
        server.shutdown()


@pytest.mark.parametrize("view", browser.VIEWS, ids=str)
@pytest.mark.needs("chromium")
def test_a_browser_shows_it_without_a_complaint_or_a_request_elsewhere(
    served: tuple[str, list[str]], view: browser.View, chromium: Browser
) -> None:
    url, asked = served
    for name in ("index.html", "releases/1.1.0/index.html"):
        with browser.page(chromium, url + name, view) as window:
            assert browser.overflow(window) == 0
        directory = name.rpartition("index.html")[0]
        assert sorted(asked) == [f"/{name}", f"/{directory}style.css"]
        asked.clear()

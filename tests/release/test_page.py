"""A release's page: its numbers, and that a browser shows it under the strictest policy without asking elsewhere."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support import browser
from support.releases import make, make_roms, with_recovery

from rbootimg._version import __version__
from rbootimg.fileio import sha256_hex
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.release import page
from rbootimg.release.bundle import RecoveryRom
from rbootimg.release.check import check_web_root
from rbootimg.release.history import History, list_history
from rbootimg.release.manifest import PartKind, Release
from rbootimg.release.webroot import publish, rollback

TIMES, MINUS = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}"


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
        "blink 1.1.0 current for esp8266 released 2026-11-23 1 MB flash manifest.json",
        "slot 1 0x082000 to 0x0fb000 484 KB",
        "Sizes compared with 1.0.0",
        f"rom0.bin {size:,} bytes (+{size - before:,})",
        f"{100 * size / 0x80000:.1f} % of slot 0 flash address 0x2000 slot size 524,288 bytes",
        "linked at 0x40282010",
        "boot proved with rBoot 1.4.2",
        f"Data files name bytes SHA-256 ca.der 1 {sha256_hex(b'0')} ui.html 3 {sha256_hex(b'<p>')}",
        f"1.1.0 current 2026-11-23 2 {TIMES} {size:,} +{size - before:,} 1.0.0 previous 2 {TIMES} {before:,}",
        f"Published with rbootimg {__version__}",
    ):
        assert words in text
    rollback(root)
    text = text_of((root / "index.html").read_text())
    assert "blink 1.0.0 current for esp8266 1 MB flash" in text
    assert "boot proved no" in text
    assert (
        f"1.1.0 rolled back 2026-11-23 2 {TIMES} {size:,} +{size - before:,} 1.0.0 current 2 {TIMES} {before:,}" in text
    )
    assert "compared" not in text
    assert "Data files" not in text


def test_sizes_that_differ_are_listed_with_the_change_of_each_rom() -> None:
    def sized(version: str, *sizes: int) -> Release:
        release = make(version).release
        roms = (replace(rom, file=replace(rom.file, size=size)) for rom, size in zip(release.roms, sizes, strict=True))
        return replace(release, roms=tuple(roms))

    releases = {"1.0.0": sized("1.0.0", 400, 500), "1.1.0": sized("1.1.0", 1400, 480), "0.9.0": None}
    history = History("blink", ("0.9.0", "1.0.0", "1.1.0"), dict.fromkeys(releases, ""))
    text = text_of(page.app_page(list_history(history, releases), None, has_index=False))
    assert f"1.1.0 current 1,400 + 480 +1,000, {MINUS}20 1.0.0 previous 400 + 500 0.9.0 manifest unreadable" in text


NOTES = b"""\
A *new* LED [driver](https://example.org/?a&b).
Two lines,  \nthree.

# Fixed

- `x < y`
- <b onclick="x">bold</b> ![a picture](https://example.org/x.png) [elsewhere](../secret.html) [run](javascript:x)

### Deeper

1. one
2. two

> \xc3\x84rger

***

```c
\tif (a)

  b();
```
"""
RENDERED = """\
<p>A <em>new</em> LED <a href="https://example.org/?a&amp;b">driver</a>.
Two lines,<br>three.</p>\
<h3>Fixed</h3>\
<ul><li><code>x &lt; y</code></li>\
<li>&lt;b onclick=&#34;x&#34;&gt;bold&lt;/b&gt; a picture elsewhere [run](javascript:x)</li></ul>\
<h4>Deeper</h4>\
<ol start="1"><li>one</li><li>two</li></ol>\
<blockquote><p>Ärger</p></blockquote>\
<hr>\
<pre><code>    if (a)

  b();
</code></pre>"""


def test_release_notes_are_on_both_pages(tmp_path: Path) -> None:
    publish(tmp_path, [make("1.0.0", notes=NOTES), make("1.0.0", "clock")])
    shown = f'<h2>Release notes</h2>\n<div class="notes">{RENDERED}</div>'
    for name in ("blink/index.html", "blink/releases/1.0.0/index.html"):
        assert shown in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "blink/releases/1.0.0/notes.md").read_bytes() == NOTES
    assert "notes" not in (tmp_path / "clock/index.html").read_text()
    publish(tmp_path, [make("1.1.0")])
    assert "Release notes" not in (tmp_path / "blink/index.html").read_text()
    rollback(tmp_path, app="blink")
    assert shown in (tmp_path / "blink/index.html").read_text(encoding="utf-8")


def test_deep_or_odd_notes_become_a_page() -> None:
    release = make("1.0.0").release
    for notes in (b"*" * 30000 + b"a" + b"*" * 30000, b"> " * 30000, b"- " * 30000, b"[" * 60000, b"\xff\0\x1b[31m\tx"):
        html = page.release_page(release, None, notes)
        assert html.count("<em>") == html.count("</em>")
        assert html.count("<blockquote>") == html.count("</blockquote>") <= 100
        assert not re.search("[\0-\x09\x0b-\x1f]", html)


def test_lists_in_lists_keep_their_text() -> None:
    notes = "\n".join(f"{'  ' * level}- level {level}" for level in range(30)).encode()
    html = page.release_page(make("1.0.0").release, None, notes)
    assert re.findall(r"<li>level ([0-9]+)", html) == [str(level) for level in range(30)]


def test_references_do_not_multiply_the_size_of_the_notes() -> None:
    url = "https://example.org/" + "x" * 30_000
    html = page.release_page(make("1.0.0").release, None, f"[a]: {url}\n\n{'[a] ' * 8000}".encode())
    assert html.count(f'<a href="{url}">') == 8
    assert html.count("a a a") > 1000
    assert len(html) < 500_000


def test_each_page_links_to_the_one_above(root: Path) -> None:
    several = root.parent / "several"
    publish(several, [make("1.0.0"), make("1.0.0", "clock")])
    up = {
        several / "index.html": [],
        several / "blink/index.html": ["../index.html"],
        several / "blink/releases/1.0.0/index.html": ["../../index.html"],
        root / "index.html": [],
        root / "releases/1.0.0/index.html": ["../../index.html"],
    }
    for path, links in up.items():
        assert re.findall('<nav><a href="([^"]*)">', path.read_text()) == links, path
    rollback(several / "blink", "1.0.0")  # its own directory as web root
    assert check_web_root(several) == ()


def test_the_page_has_the_recovery_rom(spare: Path) -> None:
    data = (spare / "blink/releases/1.1.0/recovery.bin").read_bytes()
    change = len(data) - (spare / "blink/releases/1.0.0/recovery.bin").stat().st_size
    assert change
    for name, link in (("index.html", "releases/1.1.0/recovery.bin"), ("releases/1.1.0/index.html", "recovery.bin")):
        html = (spare / "blink" / name).read_text()
        assert f'<a href="{link}">recovery.bin</a>' in html
        assert f"recovery.bin {len(data):,} bytes ({change:+,})" in text_of(html)
        assert f"SHA-256 {sha256_hex(data)}" in text_of(html)
        assert f"recovery.bin: 0x202000 to {0x202000 + len(data):#x}" in html


def test_the_flash_is_drawn_to_scale(root: Path) -> None:
    flash = re.search('<div class="flash">.*?</div>', (root / "index.html").read_text(), re.DOTALL)[0]
    boxes = {
        name: (float(x), float(width))
        for x, width, name in re.findall(r'x="([\d.]+)%" .*?width="([\d.]+)%".*?<title>([^:]+):', flash)
    }
    assert boxes["slot 1"] == pytest.approx((0x82000 / 0x100000 * 100, 0x79000 / 0x100000 * 100), abs=0.001)
    size = (root / "rom1.bin").stat().st_size
    assert boxes["rom1.bin"] == pytest.approx((0x82000 / 0x100000 * 100, size / 0x100000 * 100), abs=0.001)


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


FOUR_SLOTS = parse_layout(
    'flash_size = "4MB"\n[loader]\nbig_flash = true\n'
    + "".join(f'[[slot]]\naddress = {(number << 20) + 0x2000}\nsize = "512KB"\n' for number in range(4))
    + '[[region]]\nname = "a_file_system_with_a_long_name"\naddress = 0x182000\nsize = "256KB"\n'
)
LONG_NAME = "temperature-sensor-" * 5


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A web root with 30 applications; the one with the long name has 40 releases and everything else that there is."""
    root = tmp_path_factory.mktemp("awkward")
    publish(root, [make("1.2.3", f"app{number}", date="2026-11-23" if number % 2 else None) for number in range(29)])
    for number in range(39):
        publish(root, [make(f"1.{number // 9}.{number % 9 + 1}", LONG_NAME, size=64 + 16 * number)])
    rollback(root, app=LONG_NAME)
    files = (("ui.html", b"<p>"), ("a_data_file_with_quite_a_long_name-0123456789.json.gz", b"x" * 300000))
    recovery = RecoveryRom(3, make_roms("recovery", count=1)[0], "rBoot 1.4.2")
    notes = NOTES + b"\n\n" + b"- " * 30 + b"deep\n\n" + b"> " * 40 + b"deep\n"
    options = {"files": files, "recovery": recovery, "notes": notes, "elfs": (b"elf",) * 3}
    publish(root, [make("9.0.0-rc.1", LONG_NAME, layout=FOUR_SLOTS, count=3, **options)])
    publish(root, [make("9.0.0-rc.1.0.dev.5.gabcdef0123.dirty", LONG_NAME, layout=FOUR_SLOTS, count=3, **options)])
    return root


@pytest.mark.parametrize("view", browser.VIEWS, ids=str)
@pytest.mark.needs("chromium")
def test_pages_with_much_on_them_fit_each_window_and_are_accessible(
    awkward: Path, view: browser.View, chromium: Browser
) -> None:
    handler = functools.partial(_Handler, directory=awkward)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("index.html", f"{LONG_NAME}/index.html"):
            url = f"http://127.0.0.1:{server.server_port}/{name}"
            with browser.page(chromium, url, view) as window:
                assert browser.overflow(window) == 0
                for digits in window.query_selector_all(".sha256"):
                    assert digits.evaluate("each => getComputedStyle(each).userSelect") == "all"
                    assert digits.evaluate("each => each.scrollWidth - each.clientWidth") <= 0
            assert browser.accessibility_faults(chromium, url, view) == []
        server.shutdown()


def luminance(colour: str) -> float:
    """The relative luminance of WCAG 2 of a colour such as #21618c."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_colours_of_the_flash_map_have_enough_contrast_in_both_schemes() -> None:
    """axe-core looks at text in HTML only. WCAG 2 AA: 4.5 for text, 3 for graphics."""
    schemes = [dict(re.findall("--([a-z-]+): (#[0-9a-f]{6})", part)) for part in page.stylesheet().split("@media")[:2]]
    for colours in schemes:
        for kind in (*(kind.value for kind in PartKind), "free"):
            assert contrast(colours["on-box"], colours[kind]) >= 4.5, kind
            assert contrast(colours["edge"], colours[kind]) >= 3, kind
        assert contrast(colours["used"], colours["slot"]) >= 3
        assert contrast(colours["used"], colours["track"]) >= 3
        assert contrast(colours["edge"], colours["page"]) >= 3

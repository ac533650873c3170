"""The documentation as a site, and the links of what is read in the repository."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.project import ROOT

from rbootimg import preset_layout
from rbootimg.views.layout import svg

PAGES = {path.relative_to(ROOT).as_posix(): path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))}


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as repositories and the site make them."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    texts = [text.content for opened, text in itertools.pairwise(tokens) if opened.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def links(page: Path) -> list[str]:
    """The links and pictures of a page that lead to files here."""
    tokens = [inner for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) for inner in token.children or ()]
    found = [str(token.attrs.get("href") or token.attrs.get("src") or "") for token in tokens]
    return [link for link in found if link and not re.match("[a-z]+:", link)]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_links_lead_to_files_and_headings_in_the_repository_too(name: str) -> None:
    page = PAGES[name]
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_drawing_of_the_flash_is_what_the_command_draws() -> None:
    assert (ROOT / "docs" / "images" / "layout.svg").read_text(encoding="utf-8") == svg(preset_layout("1MB"))


class _Loaded(HTMLParser):
    """What a page loads: scripts, styles, pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag in ("script", "img", "iframe", "source") or (tag == "link" and known.get("rel") != "canonical"):
            self.urls += [url for url in (known.get("src"), known.get("href")) if url]


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-n", "-W", "--keep-going", "-d", tmp_path / "trees"]
    done = subprocess.run([*command, "docs", tmp_path / "site"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    pages = sorted(tmp_path.glob("site/**/*.html"))
    assert {"index.html", "tutorial.html", "troubleshooting.html", "search.html"} <= {page.name for page in pages}
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert [url for url in loaded.urls if "//" in url] == [], page

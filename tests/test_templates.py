"""Pages and pictures of hostile values: they are text, and the markup is that of harmless ones; also in a browser."""

from __future__ import annotations

import functools
import http.server
import json
import mimetypes
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError, UndefinedError, nodes
from playwright.sync_api import Browser
from support.elf_builder import IRAM, Sym, with_symbols
from support.project import ROOT
from support.releases import make, with_recovery

from rbootimg import templates
from rbootimg.analysis.size import measure
from rbootimg.errors import ManifestError
from rbootimg.fileio import sha256_hex
from rbootimg.layout import segments
from rbootimg.layout.model import FlashLayout, FlashRegion, Slot
from rbootimg.layout.presets import preset_layout
from rbootimg.release import page
from rbootimg.release.history import ListedRelease
from rbootimg.release.manifest import Release
from rbootimg.release.notes import Element
from rbootimg.release.webroot import publish
from rbootimg.serve import statuspage
from rbootimg.serve.devices import DeviceLog
from rbootimg.serve.events import State, Transfer
from rbootimg.views import layout, treemap

HARMLESS = "harmless"
HOSTILE = {
    "element": "</title></style><script>ran()</script><img src=x onerror=ran()>",
    "double": '"><svg onload="ran()"><a href="',
    "single": "' onmouseover='ran()' x='",
    "scheme": "javascript:ran()",
    "escaped": "&lt;b&gt; &amp;amp; &#60; &nosuch; &",
    "template": "{{ 7 * 7 }}{% raw %}{# #}",
    "comment": "--><!-- ]]><![CDATA[ <?xml ?> <!DOCTYPE x>",
    "controls": "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])),
    "lines": "a\nb\r\nc\u2028d\u2029e",
    "bidi": "\u202eexe.nib\u202c\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "surrogate": "\udcff a\ud83d",
    "noncharacter": "\ufffe\uffff",
    "path": "../../etc",
    "dots": "..",
    "empty": "",
    "others": "Küche 時計　\u00a0👩\u200d💻",
}
hostile = pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)


class Seen(NamedTuple):
    """What a browser makes of a page: the markup, the texts between it, and what attributes have."""

    markup: list[tuple[str, ...]]
    texts: list[str]
    links: list[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen([], [""], [])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.markup.append((tag, *(name for name, _ in attrs)))
        for name, value in attrs:
            (self.seen.links if name in ("href", "src") else self.seen.texts).append(value or "")
        self.seen.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.seen.markup.append((f"/{tag}",))
        self.seen.texts.append("")

    def handle_data(self, data: str) -> None:
        self.seen.texts[-1] += data

    def handle_comment(self, data: str) -> None:
        self.seen.markup.append(("a comment", data))

    def handle_decl(self, decl: str) -> None:
        self.seen.markup.append(("a declaration", decl))

    def unknown_decl(self, data: str) -> None:
        self.seen.markup.append(("a declaration", data))

    def handle_pi(self, data: str) -> None:
        self.seen.markup.append(("an instruction", data))


def html(text: str) -> Seen:
    text.encode()
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.seen


def svg(text: str) -> Seen:
    seen = Seen([], [], [])
    for element in ElementTree.fromstring(text.encode()).iter():
        seen.markup.append((element.tag, *element.attrib))
        seen.texts.extend((*element.attrib.values(), element.text or "", element.tail or ""))
    return seen


def shown(value: str) -> str:
    """What people see of a text."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _is_no_text(ord(letter)) else letter for letter in value)


def _is_no_text(code: int) -> bool:
    return (
        code < 0x20
        or 0x7F <= code < 0xA0
        or code in (0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFFFE, 0xFFFF)
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
    )


def assert_is_text(of: Callable[[str], str], value: str, read: Callable[[str], Seen] = html) -> None:
    """What is made `of` the value is what is made of a harmless one, with the value as the text in its place."""
    before, after = read(of(HARMLESS)), read(of(value))
    assert any(HARMLESS in text for text in before.texts)
    assert after.markup == before.markup
    assert after.texts == [text.replace(HARMLESS, shown(value)) for text in before.texts]
    link = quote(value, safe="", errors="replace")
    for old, new in zip(before.links, after.links, strict=True):
        assert new == old.replace(HARMLESS, {".": "%2E", "..": "%2E%2E"}.get(link, link))


# Pages of a release


OLD = make("1.0.0", elfs=(b"elf",) * 2)
NEW = with_recovery(
    "1.1.0",
    size=128,
    date="2026-11-23",
    proved_by="rBoot 1.4.2",
    elfs=(b"elf",) * 2,
    files=(("ui.html", b"<p>"), ("ca.der", b"0")),
)


NOTES = b"# A\n*b* **c** `d` <https://example.org>  \ne\n1. f\n- g\n> h\n\n---\n\n    i\n"


def app_page(release: Release) -> str:
    # All that it can say twice over: of this release as the current one, as the one before and as a past one.
    listed = (
        ListedRelease(release.version, release, release, current=True, previous=False, rolled_back=False),
        ListedRelease("0.9.0", None, None, current=False, previous=True, rolled_back=False),
        ListedRelease("0.8.0", release, release, current=False, previous=False, rolled_back=True),
    )
    return page.app_page(listed, NOTES, has_index=True)


PAGES: dict[str, Callable[[Release], str]] = {
    "app": app_page,
    "release": lambda release: page.release_page(release, release, NOTES),
    "index": lambda release: page.index_page([OLD.release, release]),
}
made = pytest.mark.parametrize("make_page", PAGES.values(), ids=PAGES)


def with_texts(value: Any, text: str) -> Any:
    """`value` with every text in it replaced, however deep; what is none already stays none."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_texts(entry, text) for entry in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: with_texts(getattr(value, each.name), text) for each in fields(value)})
    return value


@made
@hostile
def test_a_text_of_a_release_is_text_on_every_page(make_page: Callable[[Release], str], value: str) -> None:
    if value:  # what is empty is not there
        assert_is_text(lambda text: make_page(with_texts(NEW.release, text)), value)


@given(st.text(st.characters(), min_size=1))
@settings(max_examples=100, deadline=None)
def test_any_text_is(value: str) -> None:
    # These mean something.
    assume(value not in ("0.9.0", "0.8.0", *segments.COLOURS))
    assert_is_text(lambda text: app_page(with_texts(NEW.release, text)), value)


MARKDOWN = st.lists(
    st.sampled_from(
        [
            *"*_`<>[]()!#-+&\\\n\t\r\0:\"'",
            "    ",
            "1. ",
            "> ",
            "https://x",
            "javascript:x",
            "<b onclick=x>",
            "</div>",
            "&lt;",
            "a b",
        ]
    )
).map("".join)


@given(MARKDOWN | st.text())
@settings(max_examples=300, deadline=None)
def test_any_notes_are_text_or_harmless_markup(notes: str) -> None:
    before = html(page.release_page(OLD.release, None, b"x"))
    after = html(page.release_page(OLD.release, None, notes.encode(errors="replace") or b"x"))
    tags = ("p", "h3", "h4", "h5", "h6", "em", "strong", "code", "pre", "blockquote", "ul", "li", "hr", "br")
    allowed = {(tag,) for tag in tags}
    allowed |= {(f"/{tag}",) for (tag,) in allowed} | {("a", "href"), ("/a",), ("ol", "start"), ("/ol",)}
    assert {*after.markup} <= {*before.markup} | allowed
    names = [element[0] for element in after.markup]
    for tag in (*tags[:-2], "a", "ol"):
        assert names.count(tag) == names.count(f"/{tag}")
    assert all(link.startswith("https://x") for link in after.links if link not in before.links)


def test_a_link_that_could_run_a_script_is_an_error_in_the_template() -> None:
    markdown = 'notes.html" import markdown %}{{ markdown(elements) }}'
    template = templates._environment().from_string('{% from "' + markdown)
    assert (
        template.render(elements=[Element("a", "HTTPS://x/?a&b"), Element("/a")]) == '<a href="HTTPS://x/?a&amp;b"></a>'
    )
    for url in ("javascript:x", "data:text/html,x", "../x", "//x", "http:x", "mailto:", " https://x", ""):
        with pytest.raises(ValueError, match="not a link to a web page"):
            template.render(elements=[Element("a", url)])


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the texts, numbers, lists and objects of a JSON value are."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from leaves(entry, (*path, key))


def with_leaf(data: bytes, path: tuple[Any, ...], leaf: object) -> bytes:
    values = json.loads(data)
    within = values
    for key in path[:-1]:
        within = within[key]
    within[path[-1]] = leaf
    return json.dumps(values).encode()


MANIFEST = NEW.release.to_json()
LEAVES = [*leaves(json.loads(MANIFEST))]
WRONG = (None, True, False, "5", "", [], {}, [[]], {"a": "b"}, 0, -1, 1, 1.5, 1e300, 2**31, 2**32, 2**63, 10**40)


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: ".".join(map(str, path)))
def test_a_hostile_manifest_is_refused_or_shown_as_text(path: tuple[Any, ...]) -> None:
    @functools.cache
    def of(text: str) -> str:
        release = Release.from_json(with_leaf(MANIFEST, path, text))
        return "\n".join(make_page(release) for make_page in PAGES.values())

    for value in HOSTILE.values():
        try:
            text = of(value)
        except ManifestError:
            continue
        if HARMLESS in of(HARMLESS):
            if value:
                assert_is_text(of, value)
        else:  # it is not shown
            assert html(text).markup == html(of(HARMLESS)).markup


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: ".".join(map(str, path)))
def test_a_manifest_with_a_wrong_type_or_number_is_refused_or_has_a_page(path: tuple[Any, ...]) -> None:
    known = {element[0] for make_page in PAGES.values() for element in html(make_page(NEW.release)).markup}
    for value in WRONG:
        try:
            release = Release.from_json(with_leaf(MANIFEST, path, value))
        except ManifestError:
            continue
        for make_page in PAGES.values():
            seen = html(make_page(release))
            assert {element[0] for element in seen.markup} <= known
            assert len(seen.markup) < 2000


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("flash", "size"), 0, "manifest: flash: invalid size 0: expected a power of two from 256 KB to 16 MB"),
        (("flash", "size"), 10**15, "manifest: flash: invalid size: expected 0 to 4294967295, got 1000000000000000"),
        (
            ("flash", "size"),
            3 << 20,
            "manifest: flash: invalid size 3145728: expected a power of two from 256 KB to 16 MB",
        ),
        (("flash", "size"), "1048576", "manifest: flash: invalid 'size': expected a number"),
        (("roms", 0, "slot_size"), 0, "manifest: roms: invalid slot_size: expected 1 to 4294967295, got 0"),
        (("roms", 0, "size"), 2**32, "manifest: roms: invalid size: expected 0 to 4294967295, got 4294967296"),
        (
            ("roms", 0, "link_address"),
            10**400,
            "manifest: roms: invalid link_address: expected 0 to 4294967295, got above 2^64",
        ),
    ],
    ids=["none", "huge", "odd", "text", "no-slot", "no-rom", "digits"],
)
def test_a_number_that_no_flash_can_have_is_refused(path: tuple[Any, ...], value: object, message: str) -> None:
    with pytest.raises(ManifestError) as error:
        Release.from_json(with_leaf(MANIFEST, path, value))
    assert str(error.value) == message


def hostile_root(directory: Path, texts: Mapping[str, str]) -> Path:
    """A web root whose current release and the one before have those texts in their manifests, and a newer one."""
    for bundle in (make("1.0.0", "blink"), make("1.1.0", "blink")):
        publish(directory, [bundle])
    history = directory / "releases/history.json"
    known = json.loads(history.read_bytes())
    for version in ("1.0.0", "1.1.0"):
        manifest = directory / "releases" / version / "manifest.json"
        values = {**json.loads(manifest.read_bytes()), **texts}
        manifest.write_text(json.dumps(values))
        known["manifests"][version] = sha256_hex(manifest.read_bytes())
    history.write_text(json.dumps(known))
    publish(directory, [make("1.2.0", "blink")])
    return directory


@hostile
def test_hostile_manifests_in_a_web_root_become_text_when_the_next_release_is_published(
    tmp_path: Path, value: str
) -> None:
    def of(text: str) -> str:
        directory = tmp_path / ("before" if text == HARMLESS else "after")
        return (hostile_root(directory, {"date": text}) / "index.html").read_text(encoding="utf-8")

    if "\ud800" <= max(value, default="") <= "\udfff":  # in no file
        with pytest.raises(ManifestError, match=r"manifest\.json: manifest: date: unpaired surrogate"):
            of(value)
    elif value:
        assert_is_text(of, value)


def test_the_page_has_the_policy_that_the_module_names() -> None:
    assert page.POLICY in html(app_page(NEW.release)).texts


# The development server's page


def status_page(*transfers: Transfer) -> str:
    return statuspage.status_page(device_log(*transfers), 0)


def device_log(*transfers: Transfer) -> DeviceLog:
    log = DeviceLog(0)
    for transfer in transfers:
        log.add(transfer, 0)
    return log


@hostile
def test_what_a_device_sends_is_text_on_the_status_page(value: str) -> None:
    def of(text: str) -> str:
        return status_page(
            Transfer(1, text, text, text, text, 200, 10, 5, 1.0),
            Transfer(2, f"{text}.2", text, text, text, 404, 0, 0, 1.0, State.ABORTED),
        )

    if value:  # the page says that there is no User-Agent
        assert_is_text(of, value)


# Pictures


def layout_of(name: str) -> FlashLayout:
    """A layout that no file can have, with names in a bar and in the table."""
    plain = preset_layout("4MB-big")
    slots = tuple(Slot(slot.address, slot.size, slot.number, name) for slot in plain.slots)
    return replace(plain, slots=slots, regions=(FlashRegion(name, 0x101000, 0x1000),))


@hostile
def test_a_name_in_a_layout_is_text_in_its_picture(value: str) -> None:
    def of(text: str) -> str:
        return layout.svg(layout_of(text[:30]))

    if not value:
        return
    before, after = svg(of(HARMLESS)), svg(of(value))
    # A long name is not in its box, only in the table.
    assert set(after.markup) <= set(before.markup)
    assert {text for text in after.texts if text not in before.texts} == {
        text.replace(HARMLESS, shown(value[:30])) for text in before.texts if HARMLESS in text
    }


@hostile
def test_names_and_groups_are_text_in_a_treemap(value: str) -> None:
    def of(text: str) -> str:
        cells = [treemap.Cell(text, 600, text), treemap.Cell(text, 300, "DRAM"), treemap.Cell("a", 1, text)]
        return treemap.render(cells, text, width=4000)

    if value:
        before, after = svg(of(HARMLESS)), svg(of(value))
        assert after.markup == before.markup
        assert [text for text in after.texts if not text.endswith("…")] == [
            text.replace(HARMLESS, shown(value))
            for text, new in zip(before.texts, after.texts, strict=True)
            if not new.endswith("…")
        ]


@hostile
def test_a_symbols_name_is_text_in_a_treemap_of_its_elf(value: str) -> None:
    name = value.replace("\0", "").encode(errors="replace").decode()
    if not name:
        return

    def of(symbol: str) -> Seen:
        parts = measure(with_symbols(Sym(symbol, IRAM, 8))).by["symbol"]
        return svg(treemap.render((treemap.Cell(part.name, part.size, part.region) for part in parts), "app.elf"))

    before, after = of(HARMLESS), of(name)
    assert set(after.markup) == set(before.markup)
    assert any(text.startswith(f"{shown(name)}\n") for text in after.texts)


# The templates themselves

TEMPLATES = sorted(path.name for path in templates.DIRECTORY.iterdir())
_TOKEN = re.compile(r"\{\{(?P<value>.*?)\}\}|\{%.*?%\}|\{#.*?#\}|(?P<other>.)", re.DOTALL)


def problems(source: str) -> list[str]:
    """Where a template has a value that is not escaped, or stands where escaping is not enough."""
    environment = templates._environment()
    found = []
    try:
        tree = environment.parse(source)
        environment.from_string(source)
    except TemplateError as error:
        return [str(error)]
    if any(tree.find_all((nodes.EvalContextModifier, nodes.ScopedEvalContextModifier))):
        found.append("autoescape is changed")
    if {call.name for call in tree.find_all(nodes.Filter)} - {"part", "web_link"} or any(tree.find_all(nodes.MarkSafe)):
        found.append("a filter")
    before = ""
    for token in _TOKEN.finditer(source):
        if token["other"]:
            before += token["other"]
            continue
        if token["value"] is None:
            continue
        if re.search(r"<(style|script)\b(?!.*</\1)", before, re.DOTALL):
            found.append(f"{token[0]} is in a style or a script")
        if re.search(r"<!--(?!.*-->)", before, re.DOTALL):
            found.append(f"{token[0]} is in a comment")
        tag = re.search(r"<[^<>]*$", before)
        if tag is None:
            continue
        attribute = re.search(r'\s([\w:-]+)="([^"]*)$', tag[0])
        if attribute is None or tag[0].count('"') % 2 == 0:
            found.append(f"{token[0]} is in a tag, but not between double quotes")
        elif attribute[1].startswith("on") or attribute[1] in ("style", "srcdoc", "srcset"):
            found.append(f"{token[0]} is in {attribute[1]}")
        elif attribute[1] in ("href", "src", "action", "xlink:href") and not re.search(
            r"\|part\s*$" if attribute[2] or attribute[1] != "href" else r"\|(part|web_link)\s*$", token["value"]
        ):
            found.append(f"{token[0]} is in {attribute[1]} without |part")
    return found


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_template_leaves_the_escaping_out(name: str) -> None:
    source = (templates.DIRECTORY / name).read_text(encoding="utf-8")
    assert problems(source) == []
    own_script = r'<script src="[^"]*" defer></script>'
    assert not re.search(rf"\|\s*safe|autoescape|Markup|(?!{own_script})<script", source)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ a|safe }}", "No filter named 'safe'."),
        ("{{ a|part|safe }}", "No filter named 'safe'."),
        ("{{ a|tojson }}", "No filter named 'tojson'."),
        ("{{ a|xmlattr }}", "No filter named 'xmlattr'."),
        ("{% filter safe %}{{ a }}{% endfilter %}", "No filter named 'safe'."),
        ("{% autoescape false %}{{ a }}{% endautoescape %}", "autoescape is changed"),
        ("{%- autoescape a -%}{{ a }}{% endautoescape %}", "autoescape is changed"),
        ("<a href={{ a }}>", "{{ a }} is in a tag, but not between double quotes"),
        ("<a href='{{ a|part }}'>", "{{ a|part }} is in a tag, but not between double quotes"),
        ("<a {{ a }}>", "{{ a }} is in a tag, but not between double quotes"),
        ('<a href="{{ a }}">', "{{ a }} is in href without |part"),
        ('<a href="b/{{ a|web_link }}">', "{{ a|web_link }} is in href without |part"),
        ('<img src="{{ a|web_link }}">', "{{ a|web_link }} is in src without |part"),
        ('<a class="x" href="b/{{ a|part }}/{{ a }}">', "{{ a }} is in href without |part"),
        ('<a onclick="{{ a }}">', "{{ a }} is in onclick"),
        ('<a style="{{ a }}">', "{{ a }} is in style"),
        ("<style>p { color: {{ a }} }</style>", "{{ a }} is in a style or a script"),
        ("<!-- {{ a }} -->", "{{ a }} is in a comment"),
    ],
)
def test_the_test_before_finds_what_is_wrong(source: str, problem: str) -> None:
    assert problem in problems(source)


def test_no_module_writes_markup_itself() -> None:
    for path in Path(templates.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace("</summary>", "").replace("</details>", "")  # of Markdown
        assert not re.search(r"</[a-z]|<(!DOCTYPE|[a-z]+ [a-z-]+=)|html import escape|Markup\(", text), path


def test_a_value_is_text_or_a_number_and_is_there() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        templates.render("answer.html")
    for value in (None, [], {}, b"a", object()):
        with pytest.raises(TypeError, match="not a string or a number:"):
            templates.render("answer.html", title=value)
    assert "<h1>5</h1>" in templates.render("answer.html", title=5)


@pytest.mark.parametrize(
    "arguments", [("-m", "rbootimg", "--help"), ("-c", "import rbootimg.scons.tool, rbootimg.release.webroot")]
)
def test_nothing_waits_for_jinja2_before_there_is_a_page(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-X", "importtime", *arguments]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert "rbootimg.errors" in loaded
    assert not re.search("jinja2|markupsafe", loaded)


# In a browser


class _Handler(http.server.BaseHTTPRequestHandler):
    pages: Mapping[str, bytes] = {}  # one for all
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        body = self.pages.get(path, b"")
        self.send_response(200)
        self.send_header("Content-Type", mimetypes.guess_type(path)[0] or "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


RUN = "document.documentElement.setAttribute('class','script-ran')"
PAYLOAD = (
    f"</title></style></text><script>{RUN}</script><img src=/asked onerror={RUN}>"
    f'"><svg xmlns="http://www.w3.org/2000/svg" onload="{RUN}"><script>{RUN}</script></svg><a href="javascript:{RUN}'
)


@pytest.mark.needs("chromium")
def test_no_script_runs_in_a_browser_even_without_a_policy(chromium: Browser) -> None:
    release = with_texts(NEW.release, PAYLOAD)
    cells = [treemap.Cell(PAYLOAD, 5, "IRAM"), treemap.Cell("a", 5, PAYLOAD)]
    device = Transfer(1, PAYLOAD, PAYLOAD, "GET", PAYLOAD, 200, 5)
    shown_pages = {
        "/app": app_page(release),
        "/release": page.release_page(release, release, f"{PAYLOAD}\n\n    {PAYLOAD}\n".encode()),
        "/index": page.index_page([release]),
        "/status": status_page(device),
        "/live": status_page(),
        "/treemap.svg": treemap.render(cells, PAYLOAD),
        "/layout.svg": layout.svg(layout_of(PAYLOAD)),
    }
    # The policy would stop a script too, and a page that loads itself anew never ends.
    pages = {name: re.sub('<meta http-equiv="[^>]*>', "", text).encode() for name, text in shown_pages.items()}
    for name in ("live.js", "style.css", "icon.svg"):
        pages[f"/_status/{name}"] = statuspage.status_answer(name, "", DeviceLog(0), 0).body
    pages["/_status/devices.json"] = statuspage.status_json(device_log(device), 0)
    pages["/open"] = f"<!DOCTYPE html><title>{PAYLOAD}</title>".encode()
    handler = type("Handler", (_Handler,), {"pages": pages, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        seen = {}
        for name in pages:
            window = chromium.new_page()  # not browser.page(): the payload has its page complain
            window.goto(url + name)
            if name == "/live":  # the script shows the device that is in the JSON alone
                window.wait_for_selector("tbody tr")
                assert window.text_content("tbody th") == window.text_content("tbody .app") == PAYLOAD
            seen[name] = window.content()
            window.close()
        server.shutdown()
    ran = {name for name, dom in seen.items() if 'class="script-ran"' in dom}
    assert ran == {"/open"}  # where the payload is not escaped it does run
    assert sorted(set(handler.asked) - pages.keys()) == ["/asked", "/favicon.ico", "/style.css"]
    for name, dom in seen.items():
        assert len(dom) > 200, name

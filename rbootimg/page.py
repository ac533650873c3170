"""A release as a page for people: HTML and a style sheet, without script and without anything from elsewhere.

It is right under `Content-Security-Policy: default-src 'none'; style-src 'self'`, which it also asks for itself; so
nothing here may have a style attribute or an icon. No files; the same values give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from urllib.parse import quote

from .flash import SECTOR_SIZE, WINDOW_SIZE
from .layoutview import COLOURS, FREE
from .release import FULL_CHECKSUM, MANIFEST, FlashPart, Release, ReleaseRom

PAGE, STYLE = "index.html", "style.css"

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"

_USED = "#21618c"
_EDGE = "#333333"
_TRACK = "#d0d7de"

STYLESHEET = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; font: 1rem/1.45 system-ui, sans-serif; color: #1b1f23;
  background: #ffffff; }
h1 { margin: 0; font-size: 1.75rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .5rem; font-size: 1.15rem; }
h3 { margin: 0 0 .25rem; font-size: 1rem; }
p { margin: .25rem 0; }
a { color: #0b57a4; }
svg { display: block; }
.about, .note { color: #57606a; }
.roms { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
.roms > section { border: 1px solid #d0d7de; border-radius: .5rem; padding: .75rem 1rem; min-width: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .75rem; margin: .5rem 0 0; }
dt { color: #57606a; }
dd { margin: 0; min-width: 0; }
code { font: .85rem/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.flash { margin: .25rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; text-align: left; white-space: nowrap; }
td { border-top: 1px solid #d0d7de; }
th { color: #57606a; font-weight: normal; }
.number { text-align: right; }
.key { padding-right: .5rem; width: 1px; }
.now { font-weight: 600; }
@media (max-width: 40rem) {
  .list .head { display: none; }
  .list tr { display: block; padding: .25rem 0; border-top: 1px solid #d0d7de; }
  .list td { display: inline-block; padding: 0 .75rem 0 0; border: 0; white-space: normal; overflow-wrap: anywhere; }
  .list td:empty { display: none; }
}
"""


def release_page(release: Release, before: Release | None) -> str:
    """The page in a release's own folder, which stays as it is; `before` was current when it was published."""
    return _page(
        f"{release.app} {release.version}",
        (
            *_head(release),
            '<p><a href="../../index.html">to the current release</a></p>',
            *_flash(release),
            *_roms(release, before, "../../"),
        ),
    )


def app_page(release: Release, before: Release | None, history: Mapping[str, Release | None]) -> str:
    """The page of the current `release`. `before` is the one before it; `history` has all by version, in the order
    of the list, None for one whose manifest cannot be read.
    """
    return _page(
        f"{release.app} {release.version}",
        (*_head(release), *_flash(release), *_roms(release, before, ""), *_history(release, history)),
    )


def index_page(releases: Iterable[Release]) -> str:
    """The page above several applications, with the current release of each."""
    rows = (
        f'<tr><td class="now"><a href="{_link(release.app)}/index.html">{escape(release.app)}</a></td>'
        f"<td>{escape(release.version)}</td><td>{escape(release.device)}</td><td>{_dated(release)}</td>"
        f'<td class="number">{_sizes(release)}</td></tr>'
        for release in releases
    )
    head = "<th>application</th><th>version</th><th>for</th><th>date</th>"
    return _page("Applications", ("<h1>Applications</h1>", *_list(head, rows)))


def _page(title: str, body: Iterable[str]) -> str:
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{escape(title)}</title>",
            f'<link rel="stylesheet" href="{STYLE}">',
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        )
    )


def _head(release: Release) -> tuple[str, ...]:
    about = [f"for {escape(release.device)}"]
    if release.date:
        about.append(_dated(release))
    about.append(f'<a href="{MANIFEST}">manifest</a>')
    return (f"<h1>{escape(release.app)} {escape(release.version)}</h1>", f'<p class="about">{" · ".join(about)}</p>')


def _flash(release: Release) -> Iterable[str]:
    """The flash to scale, a bar for each megabyte or for all of a smaller flash; then what is in it, as a table."""
    parts = _with_gaps(release)
    per_bar = min(release.flash_size, WINDOW_SIZE)
    yield f"<h2>Flash: {_kilobytes(release.flash_size)} KB</h2>"
    for start in range(0, release.flash_size, per_bar):
        yield f'<p class="note">{start:#08x} to {start + per_bar:#08x}</p>'
        yield f'<div class="flash">{_bar(release, parts, start, per_bar)}</div>'
    rows = (
        f'<tr><td class="key">{_swatch(part.kind)}</td><td>{escape(part.name)}</td><td>{part.address:#08x}</td>'
        f'<td>{part.address + part.size:#08x}</td><td class="number">{_kilobytes(part.size)}</td></tr>'
        for part in parts
    )
    yield from _table('<tr><th></th><th></th><th>start</th><th>end</th><th class="number">KB</th></tr>', rows)
    yield f'<p class="note">The dark part of a slot is its ROM; a sector has {_kilobytes(SECTOR_SIZE)} KB.</p>'


def _with_gaps(release: Release) -> list[FlashPart]:
    found: list[FlashPart] = []
    at = 0
    for part in (*release.parts, FlashPart(FREE, FREE, release.flash_size, 0)):
        if part.address > at:
            found.append(FlashPart(FREE, FREE, at, part.address - at))
        if part.size:
            found.append(part)
        at = part.address + part.size
    return found


def _bar(release: Release, parts: Sequence[FlashPart], start: int, size: int) -> str:
    boxes = [_box(part.address, part.size, start, size, COLOURS.get(part.kind, COLOURS[FREE]), part) for part in parts]
    boxes += (_box(rom.flash_address, rom.file.size, start, size, _USED, rom) for rom in release.roms)
    return (
        f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" width="100%" height="40" role="img">'
        f"<title>the flash from {start:#x}</title>{''.join(boxes)}</svg>"
    )


def _box(address: int, size: int, start: int, length: int, colour: str, what: FlashPart | ReleaseRom) -> str:
    """What of `size` bytes at `address` lies in the bar of `length` bytes from `start`, as a rectangle."""
    left, right = max(address, start), min(address + size, start + length)
    if left >= right:
        return ""
    name = what.name if isinstance(what, FlashPart) else what.file.name
    return (
        f'<rect x="{(left - start) * 1000 / length:.3f}" y="0" width="{(right - left) * 1000 / length:.3f}" '
        f'height="10" fill="{colour}" stroke="{_EDGE}" stroke-width="0.5" vector-effect="non-scaling-stroke">'
        f"<title>{escape(name)}: {address:#x} to {address + size:#x}</title></rect>"
    )


def _swatch(kind: str) -> str:
    return (
        '<svg width="14" height="14" aria-hidden="true"><rect x="0.5" y="0.5" width="13" height="13" '
        f'fill="{COLOURS.get(kind, COLOURS[FREE])}" stroke="{_EDGE}" stroke-width="0.5"/></svg>'
    )


def _roms(release: Release, before: Release | None, root: str) -> Iterable[str]:
    """The ROMs, each a box; `root` leads to the application's folder."""
    yield f"<h2>ROMs{f', compared with {escape(before.version)}' if before else ''}</h2>"
    yield '<div class="roms">'
    for rom in release.roms:
        share = 100 * rom.file.size / rom.slot_size
        facts = [
            ("size", f"{rom.file.size:,} bytes{_change(rom, before)}"),
            ("slot", f"{rom.slot} at {rom.flash_address:#x}, {rom.slot_size:,} bytes"),
            ("full", f"{share:.1f} %{_gauge(share)}"),
            ("linked at", f"{rom.link_address:#x}"),
            ("checksum", "RAM sections and irom" if rom.checksum == FULL_CHECKSUM else "RAM sections"),
            ("proved", f"with {escape(rom.proved_by)}" if rom.proved_by else "no"),
            ("SHA-256", f"<code>{escape(rom.file.sha256)}</code>"),
        ]
        if rom.elf:
            link = f"{root}{release.folder}/{rom.elf.name}"  # it is not among the current files
            facts.append(("symbols", f'<a href="{link}">{rom.elf.name}</a>, {rom.elf.size:,} bytes'))
        yield f'<section><h3><a href="{rom.file.name}">{rom.file.name}</a></h3><dl>'
        yield from (f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts)
        yield "</dl></section>"
    yield "</div>"


def _change(rom: ReleaseRom, before: Release | None) -> str:
    if before is None or rom.slot >= len(before.roms):
        return ""
    return f" ({_signed(rom.file.size - before.roms[rom.slot].file.size)})"


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "\N{MINUS SIGN}") if number else "±0"


def _gauge(share: float) -> str:
    return (
        f'<svg viewBox="0 0 100 6" preserveAspectRatio="none" width="100%" height="8" role="img">'
        f'<title>{share:.1f} % of the slot</title><rect width="100" height="6" fill="{_TRACK}"/>'
        f'<rect width="{min(share, 100):.2f}" height="6" fill="{_USED}"/></svg>'
    )


def _history(current: Release, history: Mapping[str, Release | None]) -> Iterable[str]:
    yield "<h2>Releases</h2>"
    rows = []
    for version, release in history.items():
        mark, row = ("current", '<tr class="now">') if version == current.version else ("", "<tr>")
        link = f'<a href="releases/{_link(version)}/index.html">{escape(version)}</a>'
        date, sizes = (_dated(release), _sizes(release)) if release else ("", "its manifest cannot be read")
        rows.append(f'{row}<td>{link}</td><td>{mark}</td><td>{date}</td><td class="number">{sizes}</td></tr>')
    yield from _list("<th>version</th><th></th><th>date</th>", rows)


def _list(head: str, rows: Iterable[str]) -> tuple[str, ...]:
    """A table of releases, with their bytes in the last column; on a phone each row is a box of its own."""
    head = f'<tr class="head">{head}<th class="number">bytes</th></tr>'
    return ('<div class="scroll list"><table>', head, *rows, "</table></div>")


def _table(head: str, rows: Iterable[str]) -> tuple[str, ...]:
    return ('<div class="scroll"><table>', head, *rows, "</table></div>")


def _dated(release: Release) -> str:
    return f'<time datetime="{release.date}">{release.date}</time>' if release.date else ""


def _sizes(release: Release) -> str:
    return " + ".join(f"{rom.file.size:,}" for rom in release.roms)


def _kilobytes(size: int) -> str:
    return f"{size / 1024:,.10g}"


def _link(name: str) -> str:
    return quote(name, safe="")

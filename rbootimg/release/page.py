"""HTML pages about releases, with a style sheet, without scripts and without resources of other servers.

They work under `Content-Security-Policy: default-src 'none'; style-src 'self'`, which they also set themselves; so they
use neither style attributes nor an icon. Reads and writes no files; the same values give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..layout.memory import SECTOR_SIZE, WINDOW_SIZE
from ..layout.segments import COLOURS, FREE
from ..templates import render
from .manifest import Checksum, Release, ReleaseRom
from .names import RECOVERY

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy that the pages set."""

_USED = "#21618c"

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
    """Return the page for a release's own directory, which never changes; `before` was current before it."""
    return _page(release, before, {}, in_release=True)


def app_page(release: Release, before: Release | None, history: Mapping[str, Release | None]) -> str:
    """Return the page of the current `release`.

    `before` is the previous one; `history` has all releases by version in the order of the list, None for an unreadable
    manifest.
    """
    return _page(release, before, history, in_release=False)


def index_page(releases: Iterable[Release]) -> str:
    """Return the page that lists several applications with their current releases."""
    rows = [
        _App(release.app, release.version, release.device, release.date or "", _sizes(release)) for release in releases
    ]
    return render("applications.html", rows=rows)


class _App(NamedTuple):
    """A row of the list of applications."""

    app: str
    version: str
    device: str
    date: str
    sizes: str


class _Box(NamedTuple):
    """A rectangle in a bar; positions are in thousandths of the bar's width."""

    left: str
    width: str
    colour: str
    about: str


class _Bar(NamedTuple):
    """A bar for a megabyte of the flash, or for all of a smaller flash."""

    about: str
    title: str
    boxes: list[_Box]


class _Part(NamedTuple):
    """A row of the table of the flash's parts."""

    colour: str
    name: str
    start: str
    end: str
    size: str


class _Rom(NamedTuple):
    """The facts about a ROM, empty strings for unknown ones.

    `copied` tells whether the current release's ROM is also in the application's directory.
    """

    name: str
    size: str
    change: str
    slot: str
    full: str
    gauge: str
    link_address: str
    checksum: str
    proved_by: str
    sha256: str
    elf: str
    elf_size: str
    copied: bool


class _File(NamedTuple):
    """A row of the table of data files."""

    name: str
    size: str
    sha256: str


class _Past(NamedTuple):
    """A row of the list of releases."""

    version: str
    current: bool
    date: str
    sizes: str


def _page(release: Release, before: Release | None, history: Mapping[str, Release | None], in_release: bool) -> str:
    pieces = _flash_pieces(release)
    per_bar = min(release.flash_size, WINDOW_SIZE)
    return render(
        "release.html",
        in_release=in_release,
        app=release.app,
        version=release.version,
        device=release.device,
        date=release.date or "",
        flash_size=_kilobytes(release.flash_size),
        sector_size=_kilobytes(SECTOR_SIZE),
        bars=[_bar(release, pieces, start, per_bar) for start in range(0, release.flash_size, per_bar)],
        parts=[
            _Part(
                piece.colour,
                piece.name,
                f"{piece.address:#08x}",
                f"{piece.address + piece.size:#08x}",
                _kilobytes(piece.size),
            )
            for piece in pieces
        ],
        used_colour=_USED,
        before=before.version if before else "",
        roms=[_rom(rom, before) for rom in release.all_roms],
        files=[_File(file.name, f"{file.size:,}", file.sha256) for file in release.data_files],
        history=[_past(version, version == release.version, known) for version, known in history.items()],
    )


class _Piece(NamedTuple):
    """A part of the flash, or the free space between two."""

    colour: str
    name: str
    address: int
    size: int


def _flash_pieces(release: Release) -> list[_Piece]:
    """Return the parts of the flash with the free space between them."""
    pieces: list[_Piece] = []
    end = 0
    for part in release.parts:
        if part.address > end:
            pieces.append(_free(end, part.address))
        pieces.append(_Piece(COLOURS[part.kind.value], part.name, part.address, part.size))
        end = part.address + part.size
    return [*pieces, _free(end, release.flash_size)] if end < release.flash_size else pieces


def _free(start: int, end: int) -> _Piece:
    return _Piece(COLOURS[FREE], FREE, start, end - start)


def _bar(release: Release, pieces: Sequence[_Piece], start: int, size: int) -> _Bar:
    boxes = [_box(piece.address, piece.size, start, size, piece.colour, piece.name) for piece in pieces]
    boxes += (_box(rom.flash_address, rom.file.size, start, size, _USED, rom.file.name) for rom in release.all_roms)
    visible = [box for box in boxes if box]
    return _Bar(f"{start:#08x} to {start + size:#08x}", f"flash from {start:#x}", visible)


def _box(address: int, size: int, start: int, length: int, colour: str, name: str) -> _Box | None:
    """Return the part of `size` bytes at `address` within the bar of `length` bytes from `start`; None without any."""
    left, right = max(address, start), min(address + size, start + length)
    if left >= right:
        return None
    return _Box(
        f"{(left - start) * 1000 / length:.3f}",
        f"{(right - left) * 1000 / length:.3f}",
        colour,
        f"{name}: {address:#x} to {address + size:#x}",
    )


def _rom(rom: ReleaseRom, before: Release | None) -> _Rom:
    share = 100 * rom.file.size / rom.slot_size
    return _Rom(
        name=rom.file.name,
        size=f"{rom.file.size:,}",
        change=_change(rom, before),
        slot=f"{rom.slot} at {rom.flash_address:#x}, {rom.slot_size:,} bytes",
        full=f"{share:.1f}",
        gauge=f"{min(share, 100):.2f}",
        link_address=f"{rom.link_address:#x}",
        checksum="RAM sections and irom" if rom.checksum is Checksum.RAM_AND_IROM else "RAM sections",
        proved_by=rom.proved_by or "",
        sha256=rom.file.sha256,
        elf=rom.elf.name if rom.elf else "",
        elf_size=f"{rom.elf.size:,}" if rom.elf else "",
        copied=rom.file.name != RECOVERY,
    )


def _change(rom: ReleaseRom, before: Release | None) -> str:
    sizes = {old.file.name: old.file.size for old in before.all_roms} if before else {}
    return _signed(rom.file.size - sizes[rom.file.name]) if rom.file.name in sizes else ""


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "\N{MINUS SIGN}") if number else "±0"


def _past(version: str, current: bool, release: Release | None) -> _Past:
    date, sizes = (release.date or "", _sizes(release)) if release else ("", "manifest unreadable")
    return _Past(version, current, date, sizes)


def _sizes(release: Release) -> str:
    return " + ".join(f"{rom.file.size:,}" for rom in release.roms)


def _kilobytes(size: int) -> str:
    return f"{size / 1024:,.10g}"

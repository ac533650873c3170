"""HTML pages about releases, with a style sheet, without scripts and without resources of other servers.

They work under `Content-Security-Policy: default-src 'none'; style-src 'self'`, which they also set themselves; so they
use neither style attributes nor an icon. Reads and writes no files; the same values give the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._version import __version__
from ..layout.memory import SECTOR_SIZE, WINDOW_SIZE
from ..layout.segments import FREE
from ..templates import render
from . import notes
from .history import ListedRelease
from .manifest import Checksum, Release, ReleaseRom, StoredFile
from .names import RECOVERY

POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy that the pages set."""


_WRITER = re.compile(rb"(?:Published with|/\*) rbootimg ([0-9A-Za-z.+-]+)")
"""In the footer of a page, and in the first line of the style sheet."""


def is_current(content: bytes) -> bool:
    """Whether a page or style sheet does not name another version of rbootimg as the one that wrote it."""
    return _WRITER.findall(content)[-1:] in ([], [__version__.encode()])


def stylesheet() -> str:
    """Return the style sheet of the pages."""
    return render("style.css", version=__version__)


def release_page(release: Release, before: Release | None, release_notes: bytes | None) -> str:
    """Return the page for a release's own directory, which never changes; `before` was current before it."""
    return _page(release, before, release_notes, (), in_release=True)


def app_page(
    listed: Sequence[ListedRelease], release_notes: bytes | None, *, has_index: bool, signed_with: str | None = None
) -> str:
    """Return the page of an application's current release, one of those `listed`, with the list of them.

    `has_index`: the directory above has a page that lists several applications. `signed_with` is the name of the key
    that signed the update file.
    """
    [current] = (each for each in listed if each.current)
    if current.release is None:
        raise ValueError("the current release is unreadable")
    return _page(current.release, current.before, release_notes, listed, has_index=has_index, signed_with=signed_with)


def index_page(releases: Iterable[Release]) -> str:
    """Return the page that lists several applications with their current releases."""
    rows = [
        _App(release.app, release.version, release.device, release.date or "", _sizes(release)) for release in releases
    ]
    return render("applications.html", rbootimg=__version__, rows=rows)


class _App(NamedTuple):
    """A row of the list of applications."""

    app: str
    version: str
    device: str
    date: str
    sizes: str


class _Box(NamedTuple):
    """A rectangle in a bar; positions are in percent of the bar's width. `kind` is empty for a ROM."""

    left: str
    width: str
    kind: str
    about: str


class _Label(NamedTuple):
    """A name in a bar, and its box, which clips it; positions are in percent of the bar's width."""

    left: str
    width: str
    text: str


class _Bar(NamedTuple):
    """A bar for a megabyte of the flash, or for all of a smaller flash."""

    start: str
    title: str
    boxes: list[_Box]
    roms: list[_Box]
    labels: list[_Label]


class _Part(NamedTuple):
    """A row of the table of the flash's parts."""

    kind: str
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
    slot: int
    full: str
    gauge: str
    flash_address: str
    slot_size: str
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
    change: str
    sha256: str


class _Past(NamedTuple):
    """A row of the list of releases."""

    version: str
    label: str
    current: bool
    date: str
    sizes: str
    change: str


def _page(
    release: Release,
    before: Release | None,
    release_notes: bytes | None,
    listed: Sequence[ListedRelease],
    *,
    in_release: bool = False,
    has_index: bool = False,
    signed_with: str | None = None,
) -> str:
    pieces = _flash_pieces(release)
    per_bar = min(release.flash_size, WINDOW_SIZE)
    return render(
        "release.html",
        rbootimg=__version__,
        in_release=in_release,
        has_index=has_index,
        app=release.app,
        version=release.version,
        device=release.device,
        date=release.date or "",
        signed_with=signed_with,
        notes=notes.elements(release_notes) if release_notes else [],
        flash_size=_flash_size(release.flash_size),
        sector_size=_kilobytes(SECTOR_SIZE),
        bars=[_bar(release, pieces, start, per_bar) for start in range(0, release.flash_size, per_bar)],
        parts=[
            _Part(
                piece.kind,
                piece.name,
                f"{piece.address:#08x}",
                f"{piece.address + piece.size:#08x}",
                _kilobytes(piece.size),
            )
            for piece in pieces
        ],
        before=before.version if before else "",
        roms=[_rom(rom, before) for rom in release.all_roms],
        files=[
            _File(file.name, f"{file.size:,}", _change(file, before.data_files if before else ()), file.sha256)
            for file in release.data_files
        ],
        history=[_past(each) for each in listed],
    )


class _Piece(NamedTuple):
    """A part of the flash, or the free space between two. `kind` is loader, config, slot, region or free."""

    kind: str
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
        pieces.append(_Piece(part.kind.value, part.name, part.address, part.size))
        end = part.address + part.size
    return [*pieces, _free(end, release.flash_size)] if end < release.flash_size else pieces


def _free(start: int, end: int) -> _Piece:
    return _Piece(FREE, FREE, start, end - start)


_LABEL_WIDTH = 12
"""Percent of a bar: minimum width of a box with a label. The table below has all names."""


def _bar(release: Release, pieces: Sequence[_Piece], start: int, size: int) -> _Bar:
    boxes, labels = [], []
    for piece in pieces:
        box = _box(piece.address, piece.size, start, size, piece.name, piece.kind)
        if box:
            boxes.append(box)
            if float(box.width) >= _LABEL_WIDTH:
                labels.append(_Label(box.left, box.width, piece.name))
    roms = (_box(rom.flash_address, rom.file.size, start, size, rom.file.name) for rom in release.all_roms)
    return _Bar(f"{start:#08x}", f"flash from {start:#x}", boxes, [rom for rom in roms if rom], labels)


def _box(address: int, size: int, start: int, length: int, name: str, kind: str = "") -> _Box | None:
    """Return the part of `size` bytes at `address` within the bar of `length` bytes from `start`; None without any."""
    left, right = max(address, start), min(address + size, start + length)
    if left >= right:
        return None
    return _Box(
        f"{(left - start) * 100 / length:.4f}",
        f"{(right - left) * 100 / length:.4f}",
        kind,
        f"{name}: {address:#x} to {address + size:#x}",
    )


def _rom(rom: ReleaseRom, before: Release | None) -> _Rom:
    share = 100 * rom.file.size / rom.slot_size
    return _Rom(
        name=rom.file.name,
        size=f"{rom.file.size:,}",
        change=_change(rom.file, _rom_files(before)),
        slot=rom.slot,
        full=f"{share:.1f}",
        gauge=f"{min(share, 100):.2f}",
        flash_address=f"{rom.flash_address:#x}",
        slot_size=f"{rom.slot_size:,}",
        link_address=f"{rom.link_address:#x}",
        checksum="RAM sections and irom" if rom.checksum is Checksum.RAM_AND_IROM else "RAM sections",
        proved_by=rom.proved_by or "",
        sha256=rom.file.sha256,
        elf=rom.elf.name if rom.elf else "",
        elf_size=f"{rom.elf.size:,}" if rom.elf else "",
        copied=rom.file.name != RECOVERY,
    )


def _rom_files(release: Release | None) -> tuple[StoredFile, ...]:
    return tuple(rom.file for rom in release.all_roms) if release else ()


def _change(file: StoredFile, before: Iterable[StoredFile]) -> str:
    """Return the difference in size to the file of the same name; empty without one."""
    return next((_signed(file.size - old.size) for old in before if old.name == file.name), "")


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "\N{MINUS SIGN}") if number else "±0"


def _past(listed: ListedRelease) -> _Past:
    release = listed.release
    if release is None:
        return _Past(listed.version, listed.label, listed.current, "", "manifest unreadable", "")
    changes = [_change(rom.file, _rom_files(listed.before)) for rom in release.roms]
    known = [change for change in changes if change]
    change = known[0] if known and len({*changes}) == 1 else ", ".join(known)
    return _Past(listed.version, listed.label, listed.current, release.date or "", _sizes(release), change)


def _sizes(release: Release) -> str:
    """Return the sizes of the ROMs: those of a typical release are the same."""
    sizes = [f"{rom.file.size:,}" for rom in release.roms]
    return (
        f"{len(sizes)} \N{MULTIPLICATION SIGN} {sizes[0]}"
        if len(sizes) > 1 and len({*sizes}) == 1
        else " + ".join(sizes)
    )


def _flash_size(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB"


def _kilobytes(size: int) -> str:
    return f"{size / 1024:,.10g}"

"""A release: an application's ROMs with one version, its manifest, and which releases a web root has. No files."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from . import datafiles, fit, layoutview, version
from .compare import compare
from .detect import linked_elsewhere
from .elf import parse
from .entry import entry_problem
from .errors import ElfError, FitError, PublishError, RomError, VersionError
from .flash import FLASH_SIZES
from .flashmap import FlashMap, Slot
from .mapping import mapping_problem
from .pack import difference
from .rom import Rom

RELEASES = "releases"
"""The folder of all releases, in an application's own."""
MANIFEST = "manifest.json"
VERSION = "version"
"""The file with nothing but the version and a newline, for devices that parse nothing."""
RECOVERY = "recovery.bin"
"""The recovery ROM's file. Not rom2.bin: devices would take that for the application in slot 2."""

_RESERVED = frozenset((RELEASES, "index.html", "style.css", "_status"))
"""What stands beside the applications' folders, or in their place; `serve` has a page _status."""


class NewerSchemaError(PublishError):
    """A file of a later rbootimg."""


DEVICE = "esp8266"
"""The device class of who says nothing else."""

SCHEMA = 1
"""Of manifest.json and history.json. A reader refuses any other, and passes over keys that it does not know."""

MOST_MANIFEST, MOST_HISTORY = 1 << 20, 1 << 22
"""Bytes of the longest manifest.json and history.json that are read; a release takes some hundred of the latter."""

_LARGEST_NUMBER = 0xFFFF_FFFF
"""In a manifest: the ESP8266 has no address above it."""

RAM_CHECKSUM, FULL_CHECKSUM = "ram", "ram+irom"
"""What a ROM's checksum byte is over; the second as rBoot built with BOOT_IROM_CHKSUM wants it."""


@dataclass(frozen=True)
class Stored:
    """A file of a release: its name in the release's folder, its size in bytes, its SHA-256 as hex digits."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> Stored:
        return cls(name, len(data), digest(data))


@dataclass(frozen=True)
class ReleaseRom:
    """A ROM for `slot`, which has `slot_size` bytes at `flash_address`; it is linked at `link_address`.

    `checksum` is RAM_CHECKSUM or FULL_CHECKSUM. `proved_by` is the loader with which it was proved to boot, or None.
    `elf` is what it was packed from, if that is published too.
    """

    slot: int
    flash_address: int
    slot_size: int
    link_address: int
    file: Stored
    checksum: str
    proved_by: str | None = None
    elf: Stored | None = None


@dataclass(frozen=True)
class FlashPart:
    """A piece of the flash that is in use: `kind` is loader, config, slot or region, as in layoutview."""

    kind: str
    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Release:
    """What manifest.json says: the ROMs of `app` in one `version`, for the device class `device`.

    `flash_size` is in bytes, `parts` what is in the flash, by address; `date` is YYYY-MM-DD, or None. `data_files`
    are what it carries along for the application, by name; `recovery` is a ROM of another application, for a slot in
    which there is none of `roms`. With `checksum_files` each ROM has one beside it, for clients that expect that.
    """

    app: str
    version: str
    device: str
    roms: tuple[ReleaseRom, ...]
    flash_size: int
    parts: tuple[FlashPart, ...]
    date: str | None = None
    data_files: tuple[Stored, ...] = ()
    recovery: ReleaseRom | None = None
    checksum_files: bool = False

    @property
    def folder(self) -> str:
        """Where the release's files stay, from the application's folder."""
        return f"{RELEASES}/{self.version}"

    @property
    def files(self) -> tuple[Stored, ...]:
        """The ROMs, their checksum files, the ELFs that are published too, and the data files."""
        return (
            *(rom.file for rom in self.all_roms),
            *(Stored.of(name, data) for name, data in self.checksums.items()),
            *(rom.elf for rom in self.roms if rom.elf),
            *self.data_files,
        )

    @property
    def checksums(self) -> dict[str, bytes]:
        """The contents of the checksum files by name; empty without any."""
        files = [rom.file for rom in self.all_roms] if self.checksum_files else []
        return {checksum_name(file.name): checksum_line(file.name, file.sha256) for file in files}

    @property
    def all_roms(self) -> tuple[ReleaseRom, ...]:
        """The ROMs of the application, and the recovery ROM if there is one."""
        return (*self.roms, self.recovery) if self.recovery else self.roms

    def same_roms(self, other: Release) -> bool:
        """Whether a device gets the same from both: only proof, date, ELFs and checksum files may differ."""

        def essence(release: Release) -> Release:
            roms = tuple(replace(rom, proved_by=None, elf=None) for rom in release.roms)
            recovery = replace(release.recovery, proved_by=None) if release.recovery else None
            return replace(release, roms=roms, recovery=recovery, date=None, checksum_files=False)

        return essence(self) == essence(other)

    def to_json(self) -> bytes:
        """manifest.json. Numbers are bytes and addresses; paths count from the application's folder."""
        files = [{"name": file.name, **self._file_json(file)} for file in self.data_files]
        return _json(
            {
                "schema": SCHEMA,
                "app": self.app,
                "version": self.version,
                "device": self.device,
                "date": self.date,
                "roms": [self._rom_json(rom) for rom in self.roms],
                **({"checksum_files": True} if self.checksum_files else {}),
                **({"recovery": self._rom_json(self.recovery)} if self.recovery else {}),
                **({"files": files} if files else {}),
                "flash": {"size": self.flash_size, "parts": [asdict(part) for part in self.parts]},
            }
        )

    def _rom_json(self, rom: ReleaseRom) -> dict[str, object]:
        entry: dict[str, object] = {
            "slot": rom.slot,
            **self._file_json(rom.file),
            "flash_address": rom.flash_address,
            "slot_size": rom.slot_size,
            "link_address": rom.link_address,
            "checksum": rom.checksum,
            "proved_by": rom.proved_by,
        }
        return {**entry, "elf": self._file_json(rom.elf)} if rom.elf else entry

    def _file_json(self, file: Stored) -> dict[str, object]:
        return {"path": f"{self.folder}/{file.name}", "size": file.size, "sha256": file.sha256}

    @classmethod
    def from_json(cls, data: bytes) -> Release:
        """The release that manifest.json describes. Raises PublishError if it is none, or one that no flash holds."""
        top = _Reader.start(data, "the manifest", MOST_MANIFEST)
        name = top.text("version")
        try:
            version.parse(name)
        except VersionError as error:
            raise PublishError(f"the manifest: {error}") from None
        flash = top.within("flash")
        flash_size = flash.number("size")
        if flash_size not in {size.bytes for size in FLASH_SIZES.values()}:
            raise PublishError(f"{flash.where}: size is {flash_size}, which no flash has")
        roms = tuple(_rom(rom, number) for number, rom in enumerate(top.each("roms")))
        found = cls(
            app=check_name(top.text("app")),
            version=name,
            device=top.text("device"),
            roms=roms,
            flash_size=flash_size,
            parts=tuple(
                FlashPart(part.text("kind"), part.text("name"), part.number("address"), part.number("size"))
                for part in flash.each("parts")
            ),
            date=top.text_or_none("date"),
            data_files=_data_files(top.each("files")) if "files" in top.values else (),
            recovery=_recovery(top.within("recovery"), len(roms)) if "recovery" in top.values else None,
            checksum_files="checksum_files" in top.values and top.flag("checksum_files"),
        )
        _check_places(found)
        return found


def _check_places(release: Release) -> None:
    """Raise PublishError unless all is inside the flash, its parts one after the other: pages draw them to scale."""
    end = 0
    for part in release.parts:
        if part.address < end or not part.size or part.address + part.size > release.flash_size:
            raise PublishError(
                f"the manifest: the part at {part.address:#x} with {part.size:,} bytes is not in the flash, or not "
                "behind the one before it"
            )
        end = part.address + part.size
    for rom in release.all_roms:
        if not rom.slot_size or rom.flash_address + rom.slot_size > release.flash_size:
            raise PublishError(f"the manifest: slot {rom.slot} is not in the flash")
        if rom.file.size > rom.slot_size:
            raise PublishError(f"the manifest: ROM {rom.slot} is larger than its slot")


def _data_files(entries: Sequence[_Reader]) -> tuple[Stored, ...]:
    files = tuple(entry.file(entry.text("name")) for entry in entries)
    names = [file.name for file in files]
    try:
        datafiles.check_names(names)
    except PublishError as error:
        raise PublishError(f"the manifest: {error}") from None
    if len({*names}) < len(names):
        raise PublishError("the manifest: files has the same name twice")
    return files


def _rom(entry: _Reader, number: int) -> ReleaseRom:
    if entry.number("slot") != number:
        raise PublishError(f"the manifest's ROM {number} is for slot {entry.number('slot')}; they come in slot order")
    elf = entry.within("elf") if "elf" in entry.values else None
    return _rom_in(
        entry,
        # Never the name in the file, which could lead anywhere.
        rom_name(number),
        elf.file(elf_name(number)) if elf else None,
    )


def _recovery(entry: _Reader, rom_count: int) -> ReleaseRom:
    if entry.number("slot") < rom_count:
        raise PublishError(f"the manifest's recovery ROM is for slot {entry.number('slot')}, which has a ROM already")
    return _rom_in(entry, RECOVERY)


def _rom_in(entry: _Reader, name: str, elf: Stored | None = None) -> ReleaseRom:
    return ReleaseRom(
        slot=entry.number("slot"),
        flash_address=entry.number("flash_address"),
        slot_size=entry.number("slot_size", 1),
        link_address=entry.number("link_address"),
        file=entry.file(name),
        checksum=entry.text("checksum"),
        proved_by=entry.text_or_none("proved_by"),
        elf=elf,
    )


class Recovery(NamedTuple):
    """A ROM of another application for the layout's `slot` of that number, such as one that repairs the first.

    `proved_by` is the loader with which it was proved to boot, or None.
    """

    slot: int
    data: bytes
    proved_by: str | None = None


@dataclass(frozen=True)
class Bundle:
    """A release with the contents of its files by name."""

    release: Release
    contents: Mapping[str, bytes] = field(repr=False)


def bundle(
    app: str,
    release_version: str,
    roms: Sequence[bytes],
    layout: FlashMap,
    *,
    device: str = DEVICE,
    date: str | None = None,
    elfs: Sequence[bytes] = (),
    proved_by: str | None = None,
    one_build: bool = False,
    called: Mapping[str, str] | None = None,
    files: Mapping[str, bytes] = MappingProxyType({}),
    recovery: Recovery | None = None,
    checksum_files: bool = False,
) -> Bundle:
    """The release of `roms`, in the order of the layout's slots, and of `elfs`, if any, in the same order.

    `files` are data files for the application, such as a web UI or certificates, by their names in the release's
    folder. `recovery` may be another application; its slot comes after those of `roms`.
    With `checksum_files` each ROM has a file such as rom0.bin.sha256 beside it, see checksum_line().

    `one_build` says that the ROMs were made of one set of objects, each linked for its slot, and packed from `elfs`;
    without it that is looked into, see check_app(). `called` says what errors call a file that is rom0.bin, rom0.elf or
    recovery.bin here. Raises PublishError for a ROM that is not sound or too large for its slot, for an ELF that it was
    not packed from, for a recovery ROM that is linked for another slot or has none of its own, and for a data file that
    datafiles.check() refuses; VersionError for the version.
    """
    version.parse(release_version)
    check_name(app)
    if not (device.isprintable() and device.strip()):
        raise PublishError(f"{device!r} is no device class; write a word such as {DEVICE}")
    for loader in (proved_by, recovery and recovery.proved_by):
        if loader is not None and not (loader.isprintable() and loader.strip()):
            raise PublishError(f"{loader!r} is no loader's name; write one such as 'rBoot 1.4.2', or none")
    if date is not None:
        check_date(date)
    if not roms:
        raise PublishError(f"{app} has no ROMs; publish one for each slot")
    if elfs and len(elfs) != len(roms):
        raise PublishError(f"{app} has {_count(elfs, 'ELF')} for {_count(roms, 'ROM')}; give one for each, or none")
    _check_count(app, roms, layout.slots)
    datafiles.check(files)
    contents: dict[str, bytes] = {}
    entries = []
    for number, data in enumerate(roms):
        name = rom_name(number)
        contents[name] = data
        elf = None
        if elfs:
            contents[elf_name(number)] = elfs[number]
            elf = Stored.of(elf_name(number), elfs[number])
        entry = _checked(data, number, layout, name, _called(name, app, called))
        entries.append(replace(entry, proved_by=proved_by, elf=elf))
    spare = None
    if recovery:
        _check_recovery_slot(recovery.slot, app, roms, layout.slots)
        shown = _called(RECOVERY, app, called)
        spare = _checked(recovery.data, recovery.slot, layout, RECOVERY, shown, layout.slots)
        spare = replace(spare, proved_by=recovery.proved_by)
        contents[RECOVERY] = recovery.data
    if not one_build:
        check_app(app, roms, layout.slots, called)
        _check_elfs(app, roms, elfs, layout.slots, called)
    parts = tuple(
        FlashPart(piece.kind, piece.name, piece.address, piece.size)
        for piece in layoutview.pieces(layout)
        if piece.kind != layoutview.FREE
    )
    data_files = tuple(Stored.of(name, files[name]) for name in sorted(files))
    release = Release(
        app,
        release_version,
        device,
        tuple(entries),
        layout.size.bytes,
        parts,
        date,
        data_files,
        spare,
        checksum_files,
    )
    return Bundle(release, {**contents, **release.checksums, **files})


def _checked(
    data: bytes, number: int, layout: FlashMap, name: str, shown: str, slots: Sequence[Slot] = ()
) -> ReleaseRom:
    """The entry of a ROM that may go into slot `number`; with `slots` its link address is looked for, as fit.read()
    does. Raises PublishError, which calls the ROM `shown`.
    """
    slot = layout.slots[number]
    try:
        fit.read(data, layout.loader.irom_checksum, slot, slots)
    except (RomError, FitError) as error:
        raise PublishError(f"{shown} is not published: {error}") from None
    checksum = FULL_CHECKSUM if layout.loader.irom_checksum else RAM_CHECKSUM
    return ReleaseRom(number, slot.address, slot.size, slot.link_address, Stored.of(name, data), checksum)


def _check_recovery_slot(slot: int, app: str, roms: Sequence[bytes], slots: Sequence[Slot]) -> None:
    free = range(len(roms), len(slots))
    if not free:
        raise PublishError(
            f"{app} has a ROM for each of the layout's slots ({len(slots)}): add a slot to the layout for the recovery "
            "ROM"
        )
    if slot not in free:
        raise PublishError(
            f"invalid slot {slot} of the recovery ROM: expected {' or '.join(map(str, free))}, for which {app} has no "
            "ROM"
        )


def _check_elfs(
    app: str, roms: Sequence[bytes], elfs: Sequence[bytes], slots: Sequence[Slot], called: Mapping[str, str] | None
) -> None:
    for number, (elf, rom, slot) in enumerate(zip(elfs, roms, slots)):
        try:
            program = parse(elf)
            clause = difference(program, Rom.from_bytes(rom), slot.link_address)
        except ElfError as error:
            clause = str(error)
        else:
            problem = entry_problem(program) or mapping_problem(elf, slot)
            if problem is not None:
                raise PublishError(f"{_called(elf_name(number), app, called)}: {problem}")
        if clause:
            raise PublishError(
                f"{_called(elf_name(number), app, called)} is not what {_called(rom_name(number), app, called)} was "
                f"packed from: {clause}; name the ELF of each ROM, in the order of the ROMs"
            )


def _called(name: str, app: str, called: Mapping[str, str] | None) -> str:
    return (called or {}).get(name, f"{name} of {app}")


def check_app(app: str, roms: Sequence[bytes], slots: Sequence[Slot], called: Mapping[str, str] | None = None) -> None:
    """Raise PublishError unless `roms` are one application, each linked for its one of the `slots`.

    Where a ROM's link address cannot be told, only its likeness to the first speaks for it. Takes up to a
    quarter of a second for each MB: not for ROMs that are published already. `called` as for bundle().
    """
    _check_count(app, roms, slots)
    names = [_called(rom_name(number), app, called) for number in range(len(roms))]
    parsed = [Rom.from_bytes(data) for data in roms]
    for number, (rom, slot) in enumerate(zip(parsed, slots)):
        found = linked_elsewhere(rom, slot, slots)
        if found is not None:
            raise PublishError(
                f"{names[number]} is linked for {found:#x}, but {slot.label} runs at {slot.link_address:#x}; "
                "put the ROMs in the order of the slots, or name the layout that they were built for"
            )
    for number, (rom, slot) in enumerate(zip(parsed, slots)):
        comparison = compare(parsed[0], rom, (slots[0].link_address, slot.link_address))
        if not comparison.same_app:
            raise PublishError(
                f"{names[number]} is not the same application as {names[0]}; build both from the same sources "
                "(`rbootimg compare` shows what differs)"
            )


def _check_count(app: str, roms: Sequence[bytes], slots: Sequence[Slot]) -> None:
    if len(roms) > len(slots):
        raise PublishError(f"{app} has {_count(roms, 'ROM')} for {_count(slots, 'slot')}; publish one for each slot")


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'s' * (len(things) != 1)}"


def check_date(text: str) -> str:
    """`text`, if it is a date as manifests have it, such as 2026-11-23. Raises PublishError."""
    try:
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise PublishError(f"{text!r} is no date; write it as 2026-11-23")


def check_name(app: str) -> str:
    """`app`, if an application can be called that. Raises PublishError."""
    if app in _RESERVED:
        raise PublishError(f"an application cannot be called {app!r}; the web root has something else of that name")
    if not re.fullmatch(r"[^./\\\s\x00-\x1f\ud800-\udfff][^/\\\x00-\x1f\ud800-\udfff]{0,99}", app):
        name = repr(app) if len(app) < 100 else f"{app[:20]!r}... with {len(app)} characters"
        raise PublishError(
            f"an application cannot be called {name}; its name becomes a folder of the web root, so it has up to "
            "100 characters, no slash or backslash, and begins with no dot or blank"
        )
    return app


def rom_name(slot: int) -> str:
    """The ROM's file for rBoot's OTA samples, which ask for rom0.bin or rom1.bin."""
    return f"rom{slot}.bin"


def elf_name(slot: int) -> str:
    """The file of the ELF that a ROM was packed from."""
    return f"rom{slot}.elf"


def checksum_name(name: str) -> str:
    """The checksum file of the ROM `name`."""
    return f"{name}.sha256"


def checksum_line(name: str, sha256: str) -> bytes:
    """What the checksum file of the ROM `name` says, for `sha256sum -c` in its folder; `sha256` are hex digits."""
    return f"{sha256}  {name}\n".encode(errors="replace")


@dataclass(frozen=True)
class History:
    """What history.json says: the versions of `app` that were current one after the other, the current one last,
    without those that were taken back; and for each release that there is, the SHA-256 of its manifest.

    It is the one file that decides which release is current: all others can be made from it and the releases.
    """

    app: str
    versions: tuple[str, ...]
    manifests: Mapping[str, str]

    @property
    def current(self) -> str:
        return self.versions[-1]

    @property
    def previous(self) -> str | None:
        """What was current before the current one and was not taken back: where a rollback goes to, one further each
        time, and what pruning keeps. None if there is none.
        """
        return self.versions[-2] if len(self.versions) > 1 else None

    def published(self, release: str, manifest: str) -> History:
        """This history after `release`, with the SHA-256 `manifest`, has become current."""
        versions = (*(known for known in self.versions if known != release), release)
        return History(self.app, versions, {**self.manifests, release: manifest})

    def rolled_back(self, release: str) -> History:
        """This history after it went back to `release`, or forth again to one that was taken back."""
        if release not in self.versions:
            return replace(self, versions=(*self.versions, release))
        return replace(self, versions=self.versions[: self.versions.index(release) + 1])

    def pruned(self, keep: int) -> History:
        """This history with the `keep` newest releases, the current and the previous one alone."""
        kept = {*newest_first(self.manifests)[:keep], self.current, self.previous}
        return History(
            self.app,
            tuple(known for known in self.versions if known in kept),
            {known: manifest for known, manifest in self.manifests.items() if known in kept},
        )

    def to_json(self) -> bytes:
        """history.json."""
        manifests = {known: self.manifests[known] for known in newest_first(self.manifests)}
        return _json({"schema": SCHEMA, "app": self.app, "versions": list(self.versions), "manifests": manifests})

    @classmethod
    def from_json(cls, data: bytes) -> History:
        """The history in history.json. Raises PublishError if it is none."""
        top = _Reader.start(data, "the history", MOST_HISTORY)
        manifests = top.within("manifests")
        found = cls(
            check_name(top.text("app")),
            tuple(top.texts("versions")),
            {known: manifests.text(known) for known in manifests.values},
        )
        try:
            newest_first(found.manifests)
        except VersionError as error:
            raise PublishError(f"the history: {error}") from None
        if not found.versions or not found.manifests.keys() >= set(found.versions):
            raise PublishError("the history: its versions are not those of its manifests")
        return found


def newest_first(versions: Mapping[str, object]) -> list[str]:
    """The versions, the highest first."""
    return sorted(versions, key=version.parse, reverse=True)


def digest(data: bytes) -> str:
    """The SHA-256 of `data` as hex digits."""
    return hashlib.sha256(data).hexdigest()


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=True).encode() + b"\n"


@dataclass(frozen=True)
class _Reader:
    """An object of a JSON file, whose values are taken out by kind. `where` is for the errors."""

    values: dict[str, Any]
    where: str

    @classmethod
    def start(cls, data: bytes, where: str, most: int) -> _Reader:
        if len(data) > most:
            raise PublishError(f"{where} has {len(data):,} bytes; expected at most {most:,}")
        try:
            values = json.loads(data)
        except (ValueError, RecursionError):
            raise PublishError(f"{where} is not JSON") from None
        reader = cls._of(values, where)
        if reader.number("schema") != SCHEMA:
            raise NewerSchemaError(f"{where} has schema {reader.number('schema')}, not {SCHEMA}; update rbootimg")
        return reader

    @classmethod
    def _of(cls, value: object, where: str) -> _Reader:
        if not isinstance(value, dict):
            raise PublishError(f"{where} is no object")
        return cls(value, where)

    def text(self, key: str) -> str:
        value: str = self._get(key, str, "text")
        if re.search("[\ud800-\udfff]", value):
            raise PublishError(f"{self.where}: {key} has half a character, which is in no file")
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def number(self, key: str, least: int = 0) -> int:
        value: int = self._get(key, int, "number")
        if value < least or isinstance(value, bool):
            raise PublishError(f"{self.where}: {key} is {value}")
        if value > _LARGEST_NUMBER:
            raise PublishError(f"{self.where}: {key} does not fit 32 bits")
        return value

    def file(self, name: str) -> Stored:
        """The file called `name` here; the path, which could lead anywhere, is for readers other than us."""
        self.text("path")
        sha256 = self.text("sha256")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise PublishError(f"{self.where}: invalid sha256: expected 64 lower-case hexadecimal digits")
        return Stored(name, self.number("size"), sha256)

    def flag(self, key: str) -> bool:
        return self._get(key, bool, "true or false")  # type: ignore[no-any-return]

    def texts(self, key: str) -> list[str]:
        values: list[str] = self._get(key, list, "list")
        if not all(isinstance(value, str) for value in values):
            raise PublishError(f"{self.where}: {key} has what is no text")
        return values

    def within(self, key: str) -> _Reader:
        return self._of(self._get(key, dict, "object"), f"{self.where}: {key}")

    def each(self, key: str) -> list[_Reader]:
        return [self._of(value, f"{self.where}: {key}") for value in self._get(key, list, "list")]

    def _get(self, key: str, kind: type, what: str) -> Any:
        value = self.values.get(key)
        if not isinstance(value, kind):
            raise PublishError(f"{self.where} has no {what} {key!r}")
        return value

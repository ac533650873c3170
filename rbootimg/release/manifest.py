"""A release: an application's ROMs with one version, its manifest, and which releases a web root has. No files."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import ManifestError, PublishError, SettingError, VersionError
from ..layout.model import Slot
from ..layout.params import FLASH_SIZES
from ..rom import fit
from ..text import quote
from . import datafiles, version

RELEASES = "releases"
"""The folder of all releases, in an application's own."""
MANIFEST = "manifest.json"
VERSION = "version"
"""The file with nothing but the version and a newline, for devices that parse nothing."""
RECOVERY = "recovery.bin"
"""The recovery ROM's file. Not rom2.bin: devices would take that for the application in slot 2."""

_RESERVED = frozenset((RELEASES, "index.html", "style.css", "_status"))
"""What stands beside the applications' folders, or in their place; `serve` has a page _status."""


class NewerSchemaError(ManifestError):
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
class StoredFile:
    """A file of a release: its name in the release's folder, its size in bytes, its SHA-256 as hex digits."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> StoredFile:
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
    file: StoredFile
    checksum: str
    proved_by: str | None = None
    elf: StoredFile | None = None


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
    data_files: tuple[StoredFile, ...] = ()
    recovery: ReleaseRom | None = None
    checksum_files: bool = False

    @property
    def folder(self) -> str:
        """Where the release's files stay, from the application's folder."""
        return f"{RELEASES}/{self.version}"

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The ROMs, their checksum files, the ELFs that are published too, and the data files."""
        return (
            *(rom.file for rom in self.all_roms),
            *(StoredFile.of(name, data) for name, data in self.checksums.items()),
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

    def _file_json(self, file: StoredFile) -> dict[str, object]:
        return {"path": f"{self.folder}/{file.name}", "size": file.size, "sha256": file.sha256}

    @classmethod
    def from_json(cls, data: bytes) -> Release:
        """The release that manifest.json describes. Raises ManifestError if it is none, or one that no flash holds."""
        top = _Reader.start(data, "the manifest", MOST_MANIFEST)
        name = top.text("version")
        with as_manifest_error(top.where):
            version.parse(name)
        flash = top.within("flash")
        flash_size = flash.number("size")
        if flash_size not in {size.bytes for size in FLASH_SIZES.values()}:
            raise ManifestError(f"{flash.where}: size is {flash_size}, which no flash has")
        roms = tuple(_rom(rom, number) for number, rom in enumerate(top.each("roms")))
        found = cls(
            app=top.app_name(),
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
    """Raise ManifestError unless all is inside the flash, its parts one after the other: pages draw them to scale."""
    end = 0
    for part in release.parts:
        if part.address < end or not part.size or part.address + part.size > release.flash_size:
            raise ManifestError(
                f"the manifest: the part at {part.address:#x} with {part.size:,} bytes is not in the flash, or not "
                "behind the one before it"
            )
        end = part.address + part.size
    for rom in release.all_roms:
        if not rom.slot_size or rom.flash_address + rom.slot_size > release.flash_size:
            raise ManifestError(f"the manifest: slot {rom.slot} is not in the flash")
        problem = fit.size_problem(rom.file.size, Slot(rom.flash_address, rom.slot_size, rom.slot))
        if problem is not None:
            raise ManifestError(f"the manifest: {problem}")


def _data_files(entries: Sequence[_Reader]) -> tuple[StoredFile, ...]:
    files = tuple(entry.file(entry.text("name")) for entry in entries)
    names = [file.name for file in files]
    with as_manifest_error("the manifest"):
        datafiles.check_names(names)
    if len({*names}) < len(names):
        raise ManifestError("the manifest: files has the same name twice")
    return files


def _rom(entry: _Reader, number: int) -> ReleaseRom:
    if entry.number("slot") != number:
        raise ManifestError(f"the manifest's ROM {number} is for slot {entry.number('slot')}; they come in slot order")
    elf = entry.within("elf") if "elf" in entry.values else None
    return _rom_in(
        entry,
        # Never the name in the file, which could lead anywhere.
        rom_name(number),
        elf.file(elf_name(number)) if elf else None,
    )


def _recovery(entry: _Reader, rom_count: int) -> ReleaseRom:
    if entry.number("slot") < rom_count:
        raise ManifestError(f"the manifest's recovery ROM is for slot {entry.number('slot')}, which has a ROM already")
    return _rom_in(entry, RECOVERY)


def _rom_in(entry: _Reader, name: str, elf: StoredFile | None = None) -> ReleaseRom:
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


def check_date(text: str) -> str:
    """`text`, if it is a date as manifests have it, such as 2026-11-23. Raises SettingError."""
    try:
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise SettingError(f"{text!r} is no date; write it as 2026-11-23")


def check_name(app: str) -> str:
    """`app`, if an application can be called that. Raises SettingError."""
    if app in _RESERVED:
        raise SettingError(f"an application cannot be called {app!r}; the web root has something else of that name")
    if not re.fullmatch(r"[^./\\\s\x00-\x1f\ud800-\udfff][^/\\\x00-\x1f\ud800-\udfff]{0,99}", app):
        raise SettingError(
            f"an application cannot be called {quote(app, 100)}; its name becomes a folder of the web root, so it has "
            "up to 100 characters, no slash or backslash, and begins with no dot or blank"
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


def digest(data: bytes) -> str:
    """The SHA-256 of `data` as hex digits."""
    return hashlib.sha256(data).hexdigest()


def _json(values: Mapping[str, object]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=True).encode() + b"\n"


@contextlib.contextmanager
def as_manifest_error(where: str) -> Iterator[None]:
    """What a value may not be for another reason, as a ManifestError of the object `where`."""
    try:
        yield
    except (PublishError, SettingError, VersionError) as error:
        raise ManifestError(f"{where}: {error}") from None


@dataclass(frozen=True)
class _Reader:
    """An object of a JSON file, whose values are taken out by kind. `where` is for the errors."""

    values: dict[str, Any]
    where: str

    @classmethod
    def start(cls, data: bytes, where: str, most: int) -> _Reader:
        if len(data) > most:
            raise ManifestError(f"{where} has {len(data):,} bytes; expected at most {most:,}")
        try:
            values = json.loads(data)
        except (ValueError, RecursionError):
            raise ManifestError(f"{where} is not JSON") from None
        reader = cls._of(values, where)
        if reader.number("schema") != SCHEMA:
            raise NewerSchemaError(f"{where} has schema {reader.number('schema')}, not {SCHEMA}; update rbootimg")
        return reader

    @classmethod
    def _of(cls, value: object, where: str) -> _Reader:
        if not isinstance(value, dict):
            raise ManifestError(f"{where} is no object")
        return cls(value, where)

    def text(self, key: str) -> str:
        value: str = self._get(key, str, "text")
        if re.search("[\ud800-\udfff]", value):
            raise ManifestError(f"{self.where}: {key} has half a character, which is in no file")
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.text(key)

    def number(self, key: str, least: int = 0) -> int:
        value: int = self._get(key, int, "number")
        if value < least or isinstance(value, bool):
            raise ManifestError(f"{self.where}: {key} is {value}")
        if value > _LARGEST_NUMBER:
            raise ManifestError(f"{self.where}: {key} does not fit 32 bits")
        return value

    def app_name(self) -> str:
        with as_manifest_error(self.where):
            return check_name(self.text("app"))

    def file(self, name: str) -> StoredFile:
        """The file called `name` here; the path, which could lead anywhere, is for readers other than us."""
        self.text("path")
        sha256 = self.text("sha256")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ManifestError(f"{self.where}: invalid sha256: expected 64 lower-case hexadecimal digits")
        return StoredFile(name, self.number("size"), sha256)

    def flag(self, key: str) -> bool:
        return self._get(key, bool, "true or false")  # type: ignore[no-any-return]

    def texts(self, key: str) -> list[str]:
        values: list[str] = self._get(key, list, "list")
        if not all(isinstance(value, str) for value in values):
            raise ManifestError(f"{self.where}: {key} has what is no text")
        return values

    def within(self, key: str) -> _Reader:
        return self._of(self._get(key, dict, "object"), f"{self.where}: {key}")

    def each(self, key: str) -> list[_Reader]:
        return [self._of(value, f"{self.where}: {key}") for value in self._get(key, list, "list")]

    def _get(self, key: str, kind: type, what: str) -> Any:
        value = self.values.get(key)
        if not isinstance(value, kind):
            raise ManifestError(f"{self.where} has no {what} {key!r}")
        return value

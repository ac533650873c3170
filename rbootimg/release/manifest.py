"""The manifest of a release: the ROMs of an application in one version. Reads and writes no files."""

from __future__ import annotations

import contextlib
import datetime
import enum
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..errors import ManifestError, PublishError, SettingError, VersionError
from ..fileio import sha256_hex
from ..layout.model import Slot
from ..layout.params import FLASH_SIZES
from ..rom import fit
from ..text import counted
from . import datafiles, notes, version
from .names import NOTES, RECOVERY, RELEASES, check_app_name, checksum_line, checksum_name, elf_name, rom_name


class NewerSchemaError(ManifestError):
    """A file that a later rbootimg wrote."""


DEVICE = "esp8266"
"""The default device class."""

SCHEMA = 1
"""Of manifest.json and history.json. Readers refuse any other, and ignore unknown keys."""

MAX_MANIFEST_SIZE, MAX_HISTORY_SIZE = 1 << 20, 1 << 22
"""Bytes of manifest.json and history.json that are read at most; a release takes some hundred bytes of the latter."""

_MAX_NUMBER = 0xFFFF_FFFF
"""In a manifest: the highest address of the ESP8266."""

_Kind = TypeVar("_Kind", bound=enum.Enum)


class Checksum(enum.Enum):
    """The data that a ROM's checksum byte covers, as manifests name it."""

    RAM = "ram"
    RAM_AND_IROM = "ram+irom"
    """For an rBoot built with BOOT_IROM_CHKSUM."""


class PartKind(enum.Enum):
    """A use of a part of the flash, as manifests name it."""

    LOADER = "loader"
    CONFIG = "config"
    SLOT = "slot"
    REGION = "region"


@dataclass(frozen=True)
class StoredFile:
    """A file of a release: its name in the release's directory, its size in bytes, its SHA-256 in hex digits."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, data: bytes) -> StoredFile:
        """Return the entry of a file with the content `data`."""
        return cls(name, len(data), sha256_hex(data))


@dataclass(frozen=True)
class ReleaseRom:
    """A ROM for a slot of `slot_size` bytes at `flash_address`, linked at `link_address`.

    `proved_by` is the loader with which the ROM was proved to boot, or None. `elf` is the ELF that it was packed from,
    if that is published too.
    """

    slot: int
    flash_address: int
    slot_size: int
    link_address: int
    file: StoredFile
    checksum: Checksum
    proved_by: str | None = None
    elf: StoredFile | None = None


@dataclass(frozen=True)
class FlashPart:
    """A part of the flash that is in use."""

    kind: PartKind
    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Release:
    """The content of manifest.json: the ROMs of `app` in one `version`, for the device class `device`.

    `flash_size` is in bytes; `parts` are in the order of their addresses; `date` is YYYY-MM-DD or None; `data_files`
    are in the order of their names. `recovery` is a ROM of another application, for a slot that none of `roms` uses.
    With `checksum_files` each ROM has a file such as rom0.bin.sha256 next to it. `notes` are the release notes, for
    people: no device fetches them.
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
    notes: StoredFile | None = None

    @property
    def directory(self) -> str:
        """The release's directory, relative to the application's."""
        return f"{RELEASES}/{self.version}"

    @property
    def files(self) -> tuple[StoredFile, ...]:
        """The ROMs, their checksum files, the published ELFs, the data files and the release notes."""
        return (
            *(rom.file for rom in self.all_roms),
            *(StoredFile.of(name, data) for name, data in self.checksums.items()),
            *(rom.elf for rom in self.roms if rom.elf),
            *self.data_files,
            *((self.notes,) if self.notes else ()),
        )

    @property
    def checksums(self) -> dict[str, bytes]:
        """The contents of the checksum files by name."""
        files = [rom.file for rom in self.all_roms] if self.checksum_files else []
        return {checksum_name(file.name): checksum_line(file.name, file.sha256) for file in files}

    @property
    def all_roms(self) -> tuple[ReleaseRom, ...]:
        """The ROMs of the application, then the recovery ROM if there is one."""
        return (*self.roms, self.recovery) if self.recovery else self.roms

    def same_roms(self, other: Release) -> bool:
        """Whether devices get the same from both: only proof, date, ELFs, checksum files and notes may differ."""

        def for_devices(release: Release) -> Release:
            roms = tuple(replace(rom, proved_by=None, elf=None) for rom in release.roms)
            recovery = replace(release.recovery, proved_by=None) if release.recovery else None
            return replace(release, roms=roms, recovery=recovery, date=None, checksum_files=False, notes=None)

        return for_devices(self) == for_devices(other)

    def to_json(self) -> bytes:
        """Return manifest.json. Sizes and addresses are in bytes, paths relative to the application's directory."""
        files = [{"name": file.name, **self._file_json(file)} for file in self.data_files]
        parts = [
            {"kind": part.kind.value, "name": part.name, "address": part.address, "size": part.size}
            for part in self.parts
        ]
        return to_json(
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
                **({"notes": self._file_json(self.notes)} if self.notes else {}),
                "flash": {"size": self.flash_size, "parts": parts},
            }
        )

    def _rom_json(self, rom: ReleaseRom) -> dict[str, object]:
        entry: dict[str, object] = {
            "slot": rom.slot,
            **self._file_json(rom.file),
            "flash_address": rom.flash_address,
            "slot_size": rom.slot_size,
            "link_address": rom.link_address,
            "checksum": rom.checksum.value,
            "proved_by": rom.proved_by,
        }
        return {**entry, "elf": self._file_json(rom.elf)} if rom.elf else entry

    def _file_json(self, file: StoredFile) -> dict[str, object]:
        return {"path": f"{self.directory}/{file.name}", "size": file.size, "sha256": file.sha256}

    @classmethod
    def from_json(cls, data: bytes) -> Release:
        """Parse manifest.json. Raises ManifestError if it is invalid or does not fit a flash."""
        top = Reader.start(data, "manifest", MAX_MANIFEST_SIZE)
        release_version = top.string("version")
        with as_manifest_error(top.where):
            version.parse(release_version)
        flash = top.object("flash")
        flash_size = flash.number("size")
        if flash_size not in {size.bytes for size in FLASH_SIZES.values()}:
            raise ManifestError(
                f"{flash.where}: invalid size {flash_size}: expected a power of two from 256 KB to 16 MB"
            )
        roms = tuple(_rom(rom, number) for number, rom in enumerate(top.objects("roms")))
        release = cls(
            app=top.app_name(),
            version=release_version,
            device=top.string("device"),
            roms=roms,
            flash_size=flash_size,
            parts=tuple(
                FlashPart(
                    part.choice("kind", PartKind), part.string("name"), part.number("address"), part.number("size")
                )
                for part in flash.objects("parts")
            ),
            date=top.string_or_none("date"),
            data_files=_data_files(top.objects("files")) if "files" in top.values else (),
            recovery=_recovery(top.object("recovery"), len(roms)) if "recovery" in top.values else None,
            checksum_files="checksum_files" in top.values and top.flag("checksum_files"),
            notes=_notes(top.object("notes")) if "notes" in top.values else None,
        )
        if release.notes and any(datafiles.is_notes(file.name) for file in release.data_files):
            raise ManifestError(f"manifest: files: {NOTES} is the file of the release notes")
        _check_addresses(release)
        return release


def _check_addresses(release: Release) -> None:
    """Raise ManifestError unless all is within the flash and the parts are in order: pages draw them to scale."""
    end = 0
    for part in release.parts:
        if part.address < end or not part.size or part.address + part.size > release.flash_size:
            raise ManifestError(
                f"manifest: invalid part at {part.address:#x} of {counted(part.size, 'byte')}: expected at least 1 "
                f"byte, after the part before it and within the flash of {release.flash_size:,} bytes"
            )
        end = part.address + part.size
    for rom in release.all_roms:
        if not rom.slot_size or rom.flash_address + rom.slot_size > release.flash_size:
            raise ManifestError(f"manifest: slot {rom.slot} is outside the flash")
        problem = fit.size_problem(rom.file.size, Slot(rom.flash_address, rom.slot_size, rom.slot))
        if problem is not None:
            raise ManifestError(f"manifest: {problem}")


def _data_files(entries: Sequence[Reader]) -> tuple[StoredFile, ...]:
    files = tuple(entry.file(entry.string("name")) for entry in entries)
    names = [file.name for file in files]
    with as_manifest_error("manifest"):
        datafiles.check_stored_names(names)
    if len({*names}) < len(names):
        raise ManifestError("manifest: files: duplicate name")
    return files


def _notes(entry: Reader) -> StoredFile:
    file = entry.file(NOTES)
    if not 0 < file.size <= notes.MAX_SIZE:
        raise ManifestError(f"{entry.where}: invalid size: expected 1 to {notes.MAX_SIZE}, got {file.size}")
    return file


def _rom(entry: Reader, number: int) -> ReleaseRom:
    slot = entry.number("slot")
    if slot != number:
        raise ManifestError(f"manifest: roms: ROM {number} is for slot {slot}: expected slot {number}")
    elf = entry.object("elf") if "elf" in entry.values else None
    # Not the path in the file, which could lead anywhere.
    return _slot_rom(entry, rom_name(number), elf.file(elf_name(number)) if elf else None)


def _recovery(entry: Reader, rom_count: int) -> ReleaseRom:
    slot = entry.number("slot")
    if slot < rom_count:
        raise ManifestError(f"manifest: recovery: slot {slot} has a ROM of the application")
    return _slot_rom(entry, RECOVERY)


def _slot_rom(entry: Reader, name: str, elf: StoredFile | None = None) -> ReleaseRom:
    return ReleaseRom(
        slot=entry.number("slot"),
        flash_address=entry.number("flash_address"),
        slot_size=entry.number("slot_size", 1),
        link_address=entry.number("link_address"),
        file=entry.file(name),
        checksum=entry.choice("checksum", Checksum),
        proved_by=entry.string_or_none("proved_by"),
        elf=elf,
    )


def check_date(text: str) -> str:
    """Return `text` if it is a date such as 2026-11-23. Raises SettingError."""
    try:
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise SettingError(f"invalid date {text!r}: expected YYYY-MM-DD")


def to_json(values: Mapping[str, object]) -> bytes:
    """Return the content of a manifest or history."""
    return json.dumps(values, indent=1, ensure_ascii=True).encode() + b"\n"


@contextlib.contextmanager
def as_manifest_error(where: str) -> Iterator[None]:
    """Raise errors about a value as a ManifestError about the JSON object `where`."""
    try:
        yield
    except (PublishError, SettingError, VersionError) as error:
        raise ManifestError(f"{where}: {error}") from None


@dataclass(frozen=True)
class Reader:
    """An object of a JSON file, with a method for each type of value. `where` names it in errors.

    The methods raise ManifestError for a value that is missing or invalid.
    """

    values: dict[str, Any]
    where: str

    @classmethod
    def start(cls, data: bytes, where: str, max_size: int) -> Reader:
        """Parse a JSON file of at most `max_size` bytes and check its schema number."""
        if len(data) > max_size:
            raise ManifestError(f"{where}: too large: expected at most {max_size:,} bytes, got {len(data):,}")
        try:
            values = json.loads(data)
        except (ValueError, RecursionError):
            raise ManifestError(f"{where}: not JSON") from None
        reader = cls._of(values, where)
        schema = reader.number("schema")
        if schema != SCHEMA:
            raise NewerSchemaError(f"{where}: unknown schema {schema}: expected {SCHEMA}; update rbootimg")
        return reader

    @classmethod
    def _of(cls, value: object, where: str) -> Reader:
        if not isinstance(value, dict):
            raise ManifestError(f"{where}: not a JSON object")
        return cls(value, where)

    def string(self, key: str) -> str:
        value: str = self._get(key, str, "a string")
        if re.search("[\ud800-\udfff]", value):
            raise ManifestError(f"{self.where}: {key}: unpaired surrogate in the string")
        return value

    def string_or_none(self, key: str) -> str | None:
        return None if self.values.get(key) is None else self.string(key)

    def choice(self, key: str, kind: type[_Kind]) -> _Kind:
        value = self.string(key)
        try:
            return kind(value)
        except ValueError:
            names = ", ".join(str(each.value) for each in kind)
            raise ManifestError(f"{self.where}: invalid {key} {value[:20]!r}: expected one of {names}") from None

    def number(self, key: str, minimum: int = 0) -> int:
        value: int = self._get(key, int, "a number")
        if isinstance(value, bool) or not minimum <= value <= _MAX_NUMBER:
            shown = value if isinstance(value, bool) or value <= 1 << 64 else "above 2^64"
            raise ManifestError(f"{self.where}: invalid {key}: expected {minimum} to {_MAX_NUMBER}, got {shown}")
        return value

    def app_name(self) -> str:
        with as_manifest_error(self.where):
            return check_app_name(self.string("app"))

    def file(self, name: str) -> StoredFile:
        """Return the file called `name`; the `path` in the JSON, which could lead anywhere, is for other readers."""
        self.string("path")
        sha256 = self.string("sha256")
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ManifestError(f"{self.where}: invalid sha256: expected 64 lower-case hexadecimal digits")
        return StoredFile(name, self.number("size"), sha256)

    def flag(self, key: str) -> bool:
        return self._get(key, bool, "true or false")  # type: ignore[no-any-return]

    def strings(self, key: str) -> list[str]:
        values: list[str] = self._get(key, list, "a list of strings")
        if not all(isinstance(value, str) for value in values):
            raise ManifestError(f"{self.where}: invalid {key!r}: expected a list of strings")
        return values

    def object(self, key: str) -> Reader:
        return self._of(self._get(key, dict, "an object"), f"{self.where}: {key}")

    def objects(self, key: str) -> list[Reader]:
        return [self._of(value, f"{self.where}: {key}") for value in self._get(key, list, "a list")]

    def _get(self, key: str, kind: type, expected: str) -> Any:
        if key not in self.values:
            raise ManifestError(f"{self.where}: missing {key!r}: expected {expected}")
        value = self.values[key]
        if not isinstance(value, kind):
            raise ManifestError(f"{self.where}: invalid {key!r}: expected {expected}")
        return value

"""Find the ELF of the ROM that a device runs: by the ROM's digest, by the version that it printed, or by its slot."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ElfError, RomError
from ..fileio import sha256_hex
from ..layout.memory import window_end
from ..layout.model import Slot
from ..release import webroot
from ..release.elfarchive import archived_elfs
from ..release.names import RELEASES
from ..rom.format import image_size
from ..rom.pack import IROM_SECTION, matches
from .source import Program


class Origin(enum.Enum):
    """Where an ELF is from. Without a version on the UART, an earlier one of these is preferred."""

    GIVEN = "given"
    BUILD = "last build"
    WEB_ROOT = "web root"
    ARCHIVE = "archive"


@dataclass(frozen=True)
class KnownElf:
    """An ELF that a device may run.

    `app` and `version` are empty and `slot` is None where they are unknown; `rom_sha256` is the digest of the ROM that
    was packed from it. `is_published`: a release of the web root has that ROM; `is_current`: the one that devices get.
    """

    path: Path
    origin: Origin = Origin.GIVEN
    app: str = ""
    version: str = ""
    slot: int | None = None
    rom_sha256: str | None = None
    is_published: bool = False
    is_current: bool = False


@dataclass(frozen=True)
class Running:
    """What the UART said of the running ROM: its number, its flash address, the application and its version."""

    rom: int | None = None
    address: int | None = None
    app: str | None = None
    version: str | None = None

    def describe(self) -> str:
        """Return `app 1.2.0, ROM 0`, with what is known; empty if nothing is."""
        words = (" ".join(filter(None, (self.app, self.version))), "" if self.rom is None else f"ROM {self.rom}")
        return ", ".join(filter(None, words))


@dataclass(frozen=True)
class FoundElf:
    """The ELF of the running ROM, if there is one, and `remarks` about how sure that is."""

    elf: KnownElf | None
    program: Program | None
    remarks: tuple[str, ...] = ()


def known_elfs(web_root: Path, archive: Path | None, app: str | None = None) -> tuple[KnownElf, ...]:
    """List the published and the archived ELFs of a web root's applications, of all or of `app`.

    A web root or archive that does not exist has none. Raises WebRootError or OSError for one that cannot be read.
    """
    known: list[KnownElf] = []
    # By application, version and the ROM's digest: a version may have been published again with other ROMs.
    published: dict[tuple[str, str, str | None], tuple[int, bool]] = {}
    releases = webroot.list_releases(web_root) if web_root.is_dir() and webroot.has_releases(web_root) else {}
    for name, listed in releases.items():
        own = web_root / name
        directory = own if (own / RELEASES).is_dir() else web_root
        for entry in listed if app in (None, name) else ():
            for rom in entry.release.all_roms if entry.release else ():
                published[name, entry.version, rom.file.sha256] = rom.slot, entry.current
                if rom.elf and entry.release:
                    path = directory / entry.release.directory / rom.elf.name
                    known.append(KnownElf(path, Origin.WEB_ROOT, name, entry.version, rom.slot, rom.file.sha256))
    # The newest first, of several builds of one version.
    archived = sorted(archived_elfs(archive, app) if archive else (), key=lambda each: -each.path.stat().st_mtime)
    known += (
        KnownElf(each.path, Origin.ARCHIVE, each.app, each.version, each.slot, each.rom_sha256) for each in archived
    )
    keys = ((each.app, each.version, each.rom_sha256) for each in known)
    found = [published.get(key) for key in keys]
    return tuple(
        replace(each, slot=entry[0], is_published=True, is_current=entry[1]) if entry else each
        for each, entry in zip(known, found)
    )


class ElfFinder:
    """Finds the ELF of a running ROM among `known` ones.

    `flash` is the content of the device's flash, if that is known: it has the ROM itself. `addr2line` is the program to
    look up lines with, as for Program.
    """

    def __init__(
        self, known: Sequence[KnownElf], flash: bytes | None = None, addr2line: str | None = None, searched: str = ""
    ) -> None:
        self._known = tuple(known)
        self._flash = flash
        self._addr2line = addr2line
        self._searched = searched
        self._programs: dict[Path, Program | None] = {}
        self._problems: dict[Path, str] = {}
        self._found: dict[tuple[Running, int | None], FoundElf] = {}

    @property
    def apps(self) -> tuple[str, ...]:
        """The names of the applications."""
        return tuple(dict.fromkeys(each.app for each in self._known if each.app))

    def find(self, running: Running, address: int | None = None) -> FoundElf:
        """Return the ELF of the running ROM; `address` is one in its code, such as that of an exception."""
        key = (running, address)
        if key not in self._found:
            self._found[key] = self._find(running, address)
        return self._found[key]

    def _find(self, running: Running, address: int | None) -> FoundElf:
        if not self._known:
            return FoundElf(None, None, (f"no ELF to look up addresses{self._where}",))
        remarks: list[str] = []
        rom = self._rom_in_flash(running)
        if rom is not None:
            exact = self._exact(rom, running)
            if exact:
                return FoundElf(exact, self._program(exact))
            remarks.append(f"no ELF matches the ROM in the flash image, SHA-256 {sha256_hex(rom)[:16]}…{self._where}")
        candidates = [each for each in self._known if self._fits_slot(each, running)]
        if running.version is not None:
            candidates = self._of_version(candidates, running, remarks)
        chosen = self._choose(candidates, address, running, remarks)
        program = self._program(chosen) if chosen else None
        if chosen is None:
            unreadable = "; ".join(f"{path}: {problem}" for path, problem in self._problems.items())
            remarks += [unreadable] if unreadable else []
            if not remarks:
                remarks.append(f"no ELF of {running.describe() or 'the running ROM'}{self._where}")
        return FoundElf(chosen, program, tuple(remarks))

    @property
    def _where(self) -> str:
        return f"; searched {self._searched}" if self._searched else ""

    def _rom_in_flash(self, running: Running) -> bytes | None:
        """Return the running ROM from the flash, None if it is not there."""
        if self._flash is None or running.address is None:
            return None
        data = self._flash[running.address : window_end(running.address)]
        try:
            return data[: image_size(data)]
        except RomError:
            return None

    def _exact(self, rom: bytes, running: Running) -> KnownElf | None:
        """Return the ELF that `rom` was packed from, unless the running application says another version."""
        digest = sha256_hex(rom)
        ordered = sorted(self._known, key=lambda each: each.rom_sha256 != digest)
        for each in ordered:
            if running.version is not None and each.version not in ("", running.version):
                continue
            program = self._program(each) if each.rom_sha256 in (None, digest) else None
            link_address = _link_address(running.address or 0)
            if program and (each.rom_sha256 == digest or matches(program.data, rom, link_address)):
                return each
        return None

    def _fits_slot(self, elf: KnownElf, running: Running) -> bool:
        if running.rom is not None and elf.slot not in (None, running.rom):
            return False
        program = self._program(elf) if elf.slot is None and running.address is not None else None
        section = program.elf.find(IROM_SECTION) if program else None
        return section is None or section.address == _link_address(running.address or 0)

    def _of_version(self, elfs: Sequence[KnownElf], running: Running, remarks: list[str]) -> list[KnownElf]:
        """Return those of the printed version, else those of which the version is unknown."""
        apps = (running.app, "") if running.app else (*self.apps, "")
        named = [each for each in elfs if each.version == running.version and each.app in apps]
        if named:
            return named
        remarks.append(f"no ELF of {running.describe()}{self._where}")
        return [each for each in elfs if not each.version]

    def _choose(
        self, elfs: Sequence[KnownElf], address: int | None, running: Running, remarks: list[str]
    ) -> KnownElf | None:
        order = [*Origin]
        readable = [each for each in elfs if self._program(each)]
        readable.sort(
            key=lambda each: (
                each.origin in (Origin.WEB_ROOT, Origin.ARCHIVE),
                not each.is_current,
                not each.is_published,
                order.index(each.origin),
            )
        )
        if not readable:
            return None
        preferred = readable[0]
        if address is None or self._has_code(preferred, address):
            chosen = preferred
        elif running.rom is None and (others := [each for each in readable if self._has_code(each, address)]):
            chosen = others[0]
        else:
            chosen = preferred
            if _in_program(address):
                remarks.append(f"{address:#010x} is not in the code of this ELF: it is not that of the running ROM")
        if running.version is None and chosen.origin is not Origin.GIVEN:
            remarks.append(f"assuming {_reason(chosen)}: the UART shows no version of the application")
        if len({each.app for each in readable if each.is_current}) > 1 and not running.app:
            remarks.append("several applications are published; select one with --app NAME")
        return chosen

    def _has_code(self, elf: KnownElf, address: int) -> bool:
        program = self._program(elf)
        return program is not None and program.has_code(address)

    def _program(self, elf: KnownElf) -> Program | None:
        if elf.path not in self._programs:
            self._programs[elf.path] = None
            try:
                self._programs[elf.path] = Program(elf.path, self._addr2line)
            except ElfError as error:
                self._problems[elf.path] = error.message
            except OSError as error:
                self._problems[elf.path] = str(error.strerror)
        return self._programs[elf.path]


def _reason(elf: KnownElf) -> str:
    if elf.origin is Origin.BUILD:
        return "the last build"
    return f"{'the current release' if elf.is_current else 'release'} {elf.version or 'without a version'}"


def _in_program(address: int) -> bool:
    return address >= 0x40100000  # below is the mask ROM


def _link_address(address: int) -> int:
    return Slot(address, 0).link_address


def describe_elf(elf: KnownElf) -> str:
    """Return the path of an ELF with what is known of it: `app/rom0.elf (app 1.0.0, ROM 0, last build)`."""
    words = (
        " ".join(filter(None, (elf.app, elf.version))),
        "" if elf.slot is None else f"ROM {elf.slot}",
        "" if elf.origin is Origin.GIVEN else elf.origin.value,
    )
    details = ", ".join(filter(None, words))
    path = os.path.relpath(elf.path) if elf.path.is_absolute() and elf.path.is_relative_to(Path.cwd()) else elf.path
    return f"{path} ({details})" if details else str(path)

"""A release with its files, made of ROMs and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from ..errors import ElfError, FitError, PublishError, RomError, SettingError
from ..layout import segments
from ..layout.model import FlashLayout, Slot
from ..rom import fit
from ..rom.compare import compare_roms
from ..rom.elf import parse_elf
from ..rom.entry import entry_problem
from ..rom.format import Rom
from ..rom.mapping import mapping_problem
from ..rom.pack import difference
from . import datafiles, version
from .manifest import (
    DEVICE,
    FULL_CHECKSUM,
    RAM_CHECKSUM,
    RECOVERY,
    FlashPart,
    Release,
    ReleaseRom,
    StoredFile,
    check_date,
    check_name,
    elf_name,
    rom_name,
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


def make_bundle(
    app: str,
    release_version: str,
    roms: Sequence[bytes],
    layout: FlashLayout,
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
        raise SettingError(f"{device!r} is no device class; write a word such as {DEVICE}")
    for loader in (proved_by, recovery and recovery.proved_by):
        if loader is not None and not (loader.isprintable() and loader.strip()):
            raise SettingError(f"{loader!r} is no loader's name; write one such as 'rBoot 1.4.2', or none")
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
            elf = StoredFile.of(elf_name(number), elfs[number])
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
        for piece in segments.layout_segments(layout)
        if piece.kind != segments.FREE
    )
    data_files = tuple(StoredFile.of(name, files[name]) for name in sorted(files))
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
    data: bytes, number: int, layout: FlashLayout, name: str, shown: str, slots: Sequence[Slot] = ()
) -> ReleaseRom:
    """The entry of a ROM that may go into slot `number`; with `slots` its link address is looked for, as fit.read()
    does. Raises PublishError, which calls the ROM `shown`.
    """
    slot = layout.slots[number]
    try:
        fit.read(data, layout.loader.irom_checksum, slot, slots)
    except (RomError, FitError) as error:
        raise PublishError(f"not published: {error}", subject=shown) from None
    checksum = FULL_CHECKSUM if layout.loader.irom_checksum else RAM_CHECKSUM
    return ReleaseRom(number, slot.address, slot.size, slot.link_address, StoredFile.of(name, data), checksum)


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
            program = parse_elf(elf)
            clause = difference(program, Rom.from_bytes(rom), slot.link_address)
        except ElfError as error:
            clause = str(error)
        else:
            problem = entry_problem(program) or mapping_problem(elf, slot)
            if problem is not None:
                raise PublishError(problem, subject=_called(elf_name(number), app, called))
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
        problem = fit.find_link_problem(rom, slot, slots)
        if problem is not None:
            raise PublishError(
                f"{problem}; pass the ROMs in slot order and the layout that they were built for",
                subject=names[number],
            )
    for number, (rom, slot) in enumerate(zip(parsed, slots)):
        comparison = compare_roms(parsed[0], rom, (slots[0].link_address, slot.link_address))
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

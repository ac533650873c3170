"""Make a release with its files from ROMs, and check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..errors import ElfError, FitError, PublishError, RomError, SettingError, error_subject
from ..layout import segments
from ..layout.model import FlashLayout, Slot
from ..rom import fit
from ..rom.compare import compare_roms
from ..rom.elf import parse_elf
from ..rom.entry import entry_problem
from ..rom.format import Rom
from ..rom.mapping import mapping_problem
from ..rom.pack import difference
from ..text import counted
from . import datafiles, version
from . import notes as release_notes
from .manifest import DEVICE, Checksum, FlashPart, PartKind, Release, ReleaseRom, StoredFile, check_date
from .names import NOTES, RECOVERY, check_app_name, elf_name, rom_name


@dataclass(frozen=True)
class RecoveryRom:
    """A ROM of another application for slot number `slot` of the layout, such as one that repairs the first.

    `proved_by` is the loader with which it was proved to boot, or None.
    """

    slot: int
    data: bytes = field(repr=False)
    proved_by: str | None = None


@dataclass(frozen=True)
class ReleaseOptions:
    """The optional content of a release, and what is known of its ROMs.

    - `device`: the class of devices that the release is for.
    - `date`: YYYY-MM-DD, or None.
    - `proved_by`: the loader with which all the ROMs were proved to boot, or None.
    - `elfs`: the ELFs that the ROMs were packed from, in the same order, to publish them too; or none.
    - `data_files`: files for the application, such as a web UI, by their names in the release's directory.
    - `recovery`: a ROM of another application, for a slot after those of the ROMs.
    - `checksum_files`: whether each ROM gets a file such as rom0.bin.sha256 next to it.
    - `notes`: the release notes, Markdown in UTF-8 of at most 64 KB, or None.
    - `same_build`: whether the ROMs are known to come from the same objects, each linked for its slot, and from `elfs`.
      Otherwise that is checked, see check_same_app().
    - `display_names`: names for error messages, by the files' names in the release: rom0.bin, rom0.elf, recovery.bin,
      notes.md.
    """

    device: str = DEVICE
    date: str | None = None
    proved_by: str | None = None
    elfs: Sequence[bytes] = field(default=(), repr=False)
    data_files: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    recovery: RecoveryRom | None = None
    checksum_files: bool = False
    notes: bytes | None = field(default=None, repr=False)
    same_build: bool = False
    display_names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


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
    options: ReleaseOptions | None = None,
) -> Bundle:
    """Make a release of `roms`, which are in the order of the layout's slots.

    Raises PublishError for an invalid ROM, one that does not fit its slot or is of another application, an ELF that a
    ROM was not packed from, or an invalid data file or notes; SettingError for an invalid name, device class or date;
    VersionError for the version.
    """
    options = options or ReleaseOptions()
    version.parse(release_version)
    check_app_name(app)
    _check_strings(options)
    _check_counts(app, roms, options.elfs, layout.slots)
    datafiles.check(options.data_files)
    names = _DisplayNames(app, options.display_names)
    if options.notes is not None:
        with error_subject(names.of(NOTES)):
            release_notes.check(options.notes)
    entries = tuple(_rom_entry(number, data, layout, options, names) for number, data in enumerate(roms))
    recovery = _recovery_entry(app, len(roms), layout, options.recovery, names) if options.recovery else None
    if not options.same_build:
        check_same_app(app, roms, layout.slots, options.display_names)
        _check_elfs(roms, options.elfs, layout.slots, names)
    release = Release(
        app=app,
        version=release_version,
        device=options.device,
        roms=entries,
        flash_size=layout.size.bytes,
        parts=_flash_parts(layout),
        date=options.date,
        data_files=tuple(StoredFile.of(name, data) for name, data in sorted(options.data_files.items())),
        recovery=recovery,
        checksum_files=options.checksum_files,
        notes=None if options.notes is None else StoredFile.of(NOTES, options.notes),
    )
    contents = {rom_name(number): data for number, data in enumerate(roms)}
    contents |= {elf_name(number): data for number, data in enumerate(options.elfs)}
    if options.recovery:
        contents[RECOVERY] = options.recovery.data
    if options.notes is not None:
        contents[NOTES] = options.notes
    return Bundle(release, {**contents, **release.checksums, **options.data_files})


def check_same_app(
    app: str,
    roms: Sequence[bytes],
    slots: Sequence[Slot],
    display_names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raise PublishError unless valid `roms` are one application, each linked for the slot of the same number.

    A ROM whose link address cannot be found is only compared with the first. Takes up to a quarter of a second for
    each MB. `display_names` is as in ReleaseOptions.
    """
    _check_rom_count(app, roms, slots)
    shown = _DisplayNames(app, display_names)
    names = [shown.of(rom_name(number)) for number in range(len(roms))]
    parsed = [Rom.from_bytes(data) for data in roms]
    for name, rom, slot in zip(names, parsed, slots):
        problem = fit.find_link_problem(rom, slot, slots)
        if problem is not None:
            hint = "pass the ROMs in slot order and the layout that they were built for"
            raise PublishError(f"{problem}; {hint}", subject=name)
    for name, rom, slot in zip(names, parsed, slots):
        if not compare_roms(parsed[0], rom, (slots[0].link_address, slot.link_address)).same_app:
            raise PublishError(
                f"not the same application as {names[0]}; build both from the same sources (`rbootimg compare` shows "
                "the differences)",
                subject=name,
            )


@dataclass(frozen=True)
class _DisplayNames:
    """The names of a release's files in error messages."""

    app: str
    names: Mapping[str, str]

    def of(self, file: str) -> str:
        return self.names.get(file, f"{file} of {self.app}")


def _check_strings(options: ReleaseOptions) -> None:
    check_device_class(options.device)
    for loader in (options.proved_by, options.recovery.proved_by if options.recovery else None):
        if loader is not None:
            check_loader_name(loader)
    if options.date is not None:
        check_date(options.date)


def check_device_class(text: str) -> str:
    """Return `text` if devices can have this class. Raises SettingError."""
    if not _is_printable(text):
        raise SettingError(f"invalid device class {text!r}: expected a word such as {DEVICE}")
    return text


def check_loader_name(text: str) -> str:
    """Return `text` if it can name the loader that ROMs were proved with. Raises SettingError."""
    if not _is_printable(text):
        raise SettingError(f"invalid loader name {text!r}: expected one such as 'rBoot 1.4.2'")
    return text


def _is_printable(text: str) -> bool:
    return text.isprintable() and bool(text.strip())


def _check_counts(app: str, roms: Sequence[bytes], elfs: Sequence[bytes], slots: Sequence[Slot]) -> None:
    if not roms:
        raise PublishError(f"{app} has 0 ROMs: expected one for each slot")
    if elfs and len(elfs) != len(roms):
        raise PublishError(
            f"{app} has {counted(len(elfs), 'ELF')} for {counted(len(roms), 'ROM')}: expected one for each or none"
        )
    _check_rom_count(app, roms, slots)


def _check_rom_count(app: str, roms: Sequence[bytes], slots: Sequence[Slot]) -> None:
    if len(roms) > len(slots):
        raise PublishError(
            f"{app} has {counted(len(roms), 'ROM')} for {counted(len(slots), 'slot')}: expected one for each slot"
        )


def _rom_entry(
    number: int, data: bytes, layout: FlashLayout, options: ReleaseOptions, names: _DisplayNames
) -> ReleaseRom:
    entry = _slot_entry(number, rom_name(number), data, layout, names)
    elf = StoredFile.of(elf_name(number), options.elfs[number]) if options.elfs else None
    return replace(entry, proved_by=options.proved_by, elf=elf)


def _recovery_entry(
    app: str, rom_count: int, layout: FlashLayout, recovery: RecoveryRom, names: _DisplayNames
) -> ReleaseRom:
    check_recovery_slot(app, recovery.slot, rom_count, len(layout.slots))
    entry = _slot_entry(recovery.slot, RECOVERY, recovery.data, layout, names, layout.slots)
    return replace(entry, proved_by=recovery.proved_by)


def check_recovery_slot(app: str, slot: int, rom_count: int, slot_count: int) -> None:
    """Raise PublishError unless `slot` is one of the layout's that the ROMs of `app` leave free."""
    free = range(rom_count, slot_count)
    if not free:
        raise PublishError(
            f"{app} has a ROM for each of the layout's {slot_count} slots; add a slot to the layout for the recovery "
            "ROM"
        )
    if slot not in free:
        raise PublishError(
            f"invalid slot {slot} of the recovery ROM: expected {' or '.join(map(str, free))}, unused by {app}"
        )


def _slot_entry(
    number: int,
    name: str,
    data: bytes,
    layout: FlashLayout,
    names: _DisplayNames,
    slots: Sequence[Slot] = (),
) -> ReleaseRom:
    """Return the entry of a ROM for slot `number`. Raises PublishError if the ROM is invalid or does not fit.

    With `slots` its link address is searched for, as fit.read() does.
    """
    slot = layout.slots[number]
    try:
        fit.read(data, layout.loader.irom_checksum, slot, slots)
    except (RomError, FitError) as error:
        raise PublishError(f"not published: {error}", subject=names.of(name)) from None
    checksum = Checksum.RAM_AND_IROM if layout.loader.irom_checksum else Checksum.RAM
    return ReleaseRom(number, slot.address, slot.size, slot.link_address, StoredFile.of(name, data), checksum)


def _check_elfs(roms: Sequence[bytes], elfs: Sequence[bytes], slots: Sequence[Slot], names: _DisplayNames) -> None:
    """Raise PublishError unless each ROM was packed from its ELF, and the ELF is linked for the slot."""
    for number, (elf, rom, slot) in enumerate(zip(elfs, roms, slots)):
        elf_label, rom_label = names.of(elf_name(number)), names.of(rom_name(number))
        try:
            program = parse_elf(elf)
            mismatch = difference(program, Rom.from_bytes(rom), slot.link_address)
        except ElfError as error:
            mismatch = str(error)
        else:
            problem = entry_problem(program) or mapping_problem(elf, slot)
            if problem is not None:
                raise PublishError(problem, subject=elf_label)
        if mismatch:
            raise PublishError(
                f"does not match {rom_label}: {mismatch}; pass the ELF of each ROM, in the order of the ROMs",
                subject=elf_label,
            )


def _flash_parts(layout: FlashLayout) -> tuple[FlashPart, ...]:
    return tuple(
        FlashPart(PartKind(segment.kind), segment.name, segment.address, segment.size)
        for segment in segments.layout_segments(layout)
        if segment.kind != segments.FREE
    )

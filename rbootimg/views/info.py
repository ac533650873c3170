"""The description of a file, as headings and tables. No files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..analysis.image import ROM, ChecksumKind, ImageInfo, ImagePart
from ..layout.memory import DRAM, IRAM, Usage, slots_of_link
from ..text import counted
from .rom import usage_table
from .tables import Heading, Table, percent

if TYPE_CHECKING:  # only the modules for the kind at hand are imported
    from ..analysis.elf import ElfInfo
    from ..analysis.flash import ConfigInfo, FlashInfo, RomEntry
    from ..analysis.identify import FileInfo
    from ..flash.bootconfig import BootConfig
    from ..flash.loader import LoaderInfo
    from ..layout.model import Slot
    from ..rom.linkaddress import Detection

Block = Heading | Table
_Facts = list[tuple[str, str]]


def blocks(name: str, found: FileInfo) -> list[Block]:
    """Return the description of the file `name`."""
    if found.kind == "flash":
        kind, parts = "flash image", _flash(found)
    elif found.kind == "config":
        kind, parts = "rBoot config sector", iter((_facts([("config", _config(found))]),))
    elif found.kind == "elf":
        kind, parts = "ELF", _elf(found)
    else:
        kind = "rBoot ROM" if found.kind == ROM else "image for the mask ROM, such as a loader"
        parts = _image(found)
    is_valid = not found.problems
    heading = Heading(f"{name}: {kind}, {_validity(is_valid)}", is_valid)
    problems = [_facts([("problem", problem) for problem in found.problems])] if found.problems else []
    size = _facts([("size", f"{counted(found.size, 'byte')}"), ("SHA-256", found.sha256)])
    return [heading, *problems, size, *parts]


def verified(name: str, rom: ImageInfo) -> str:
    """Return the line for a valid ROM in the file `name`; it has a checksum."""
    assert rom.checksum is not None
    irom, *sections = rom.sections
    count = f"{counted(len(sections), 'RAM section')}"
    covered = "RAM sections and irom" if rom.checksum.matches is ChecksumKind.RAM_AND_IROM else "RAM sections"
    return (
        f"{name}: ok, {rom.size:,} bytes, entry {rom.entry:#x}, {irom.size:,} bytes of irom, "
        f"{count}, checksum {rom.checksum.stored:#04x} over {covered}"
    )


def _validity(is_valid: bool) -> str:
    return "valid" if is_valid else "invalid"


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    width = max(len(label) for label, _ in facts)
    return Table((), tuple((f"{label:<{max(width, 8)}}", text) for label, text in facts), "<<")


def _image(found: ImageInfo) -> Iterator[Table]:
    facts = [
        ("flash", found.params.describe()),
        ("entry", f"{found.entry:#x}"),
        ("checksum", _checksum(found)),
    ]
    if found.esptool_crc is not None:
        facts.append(("CRC-32", f"{_validity(found.esptool_crc)}; appended by esptool, ignored by rBoot"))
    if found.appbin_user:
        facts.append(("packed by", f"Espressif's gen_appbin.py, as user{found.appbin_user}.bin"))
    if found.trailing:
        facts.append(("trailing", f"{counted(found.trailing, 'byte')} after the image"))
    if found.link is not None:
        facts.append(("linked", _linked(found.link, found.slots)))
    facts += _slots(found.slots, found.size)
    yield _facts(facts)
    yield _sections(found.sections)
    loaded = [_loaded(found.sections, region.name, region.start, region.size) for region in (IRAM, DRAM)]
    yield usage_table([*loaded, Usage("flash", found.size, found.slot.size if found.slot else None)], "loaded to")


def _loaded(sections: Sequence[ImagePart], name: str, start: int, size: int) -> Usage:
    """Return the usage of a memory region by the RAM sections, without .bss, which only the ELF has."""
    ends = (part.address + part.size for part in sections if part.memory == name and part.address is not None)
    return Usage(name, max(ends, default=start) - start, size)


def _checksum(found: ImageInfo) -> str:
    checksum = found.checksum
    if checksum is None:
        return "missing: the image is truncated"
    ram, full = f"{checksum.ram:#04x}", f"{checksum.ram_and_irom or 0:#04x}"
    if checksum.ram_and_irom is None:
        result = "valid" if checksum.matches else f"invalid (calculated {ram})"
    else:
        result = {
            ChecksumKind.RAM: f"valid, over the RAM sections (with irom {full})",
            ChecksumKind.RAM_AND_IROM: f"valid, over the RAM sections and irom (without irom {ram})",
            ChecksumKind.BOTH: "valid, with and without irom",
            None: f"invalid (calculated {ram}, with irom {full})",
        }[checksum.matches]
    return f"{checksum.stored:#04x}, {result}"


def _linked(link: Detection, slots: Sequence[Slot]) -> str:
    """Return the link address, and the slots with it: those of the layout's `slots`, else all possible ones."""
    if link.link_address is None:
        return f"unknown: {link.reason}"
    return f"at {_link(link.link_address, slots)}: {link.reason}"


def _link(link_address: int, slots: Sequence[Slot]) -> str:
    known = [f"{slot.address:#x}" for slot in slots if slot.link_address == link_address]
    if len(known) == 1:
        return f"{link_address:#x} (slot at {known[0]})"
    if known:
        return f"{link_address:#x} (slots at {', '.join(known)})"
    every = [f"{address:#x}" for address in slots_of_link(link_address)]
    if not every:
        return f"{link_address:#x}"
    return f"{link_address:#x} (slots at {every[0]}, {every[1]} and so on up to {every[-1]})"


def _slots(slots: Sequence[Slot], size: int | None) -> _Facts:
    """Return the slots for a ROM of `size` bytes, None if unknown."""
    texts = [slot.label if size is None else f"{slot.label}, {_free(slot.size - size)}" for slot in slots]
    return [("" if number else "slot", text) for number, text in enumerate(texts)]


def _free(free: int) -> str:
    return f"{counted(free, 'byte')} free" if free >= 0 else f"{counted(-free, 'byte')} too small"


def _sections(sections: Sequence[ImagePart]) -> Table:
    rows = (
        (part.name, "" if part.address is None else f"{part.address:#x}", f"{part.size:,}", part.memory)
        for part in sections
    )
    return Table(("section", "address", "bytes", "memory"), tuple(rows), "<<><")


def _config(found: ConfigInfo) -> str:
    if found.config is None:
        return "blank" if found.blank else "invalid"
    checksum = ", with a checksum" if found.checksum else ""
    return f"{_roms(found.config)}{checksum}"


def _roms(config: BootConfig) -> str:
    addresses = ", ".join(f"{address:#x}" for address in config.roms)
    mode = " | ".join(bit.name or "" for bit in type(config.mode) if bit in config.mode) or "standard"
    return f"ROMs at {addresses}; current {config.current_rom}, GPIO {config.gpio_rom}, mode {mode}"


def _flash(found: FlashInfo) -> Iterator[Table]:
    facts: _Facts = []
    if found.loader is not None:
        facts.append(("flash", found.loader.params.describe()))
        facts.append(("loader", f"{_loader(found.options)}, {found.loader.size:,} bytes"))
        if found.taken_for_512kb:
            facts.append(("", "does not know this flash size and assumes 512KB"))
    config = _config(found.config)
    if found.config.config is None:
        addresses = " and ".join(f"{rom.address:#x}" for rom in found.roms)
        config += f"; rBoot's default has ROMs at {addresses}"
    facts.append(("config", config))
    facts.append(("boots", "nothing" if found.boots is None else f"ROM {found.boots}"))
    facts += (("log", line) for line in (found.decision.lines if found.decision else ()))
    yield _facts(facts)
    shares = tuple(rom.image.size / rom.image.slot.size if rom.image and rom.image.slot else None for rom in found.roms)
    heads = ("ROM", "address", "bytes", "of", "%", "linked at", "state")
    yield Table(heads, tuple(_rom_row(rom) for rom in found.roms), "><>>><<", shares)
    if found.regions:
        rows = (
            (
                at.region.name,
                f"{at.region.address:#x}",
                f"{at.region.size:,}",
                "blank" if at.blank else f"written, SHA-256 {at.sha256}",
            )
            for at in found.regions
        )
        yield Table(("region", "address", "bytes", "state"), tuple(rows), "<<><")


def _loader(options: LoaderInfo) -> str:
    if options.version is None:
        return "unknown"
    names = ("big_flash", "irom_checksum", "config_checksum", "rtc")
    flags = [name for name in names if getattr(options, name)]
    if options.gpio is not None and options.gpio.value:
        flags.append(f"gpio {options.gpio.value}")
    return f"rBoot {options.version}" + (f" with {', '.join(flags)}" if flags else "")


def _rom_row(rom: RomEntry) -> tuple[str, ...]:
    image = rom.image
    state = "blank" if rom.blank else _validity(not rom.problems)
    if image is None:
        return str(rom.number), f"{rom.address:#x}", "", "", "", "", state
    slot = image.slot
    address = image.link.link_address if image.link else None
    return (
        str(rom.number),
        f"{rom.address:#x}",
        f"{image.size:,}",
        f"{slot.size:,}" if slot else "",
        percent(image.size, slot.size if slot else None),
        "" if address is None else f"{address:#x}",
        state,
    )


def _elf(found: ElfInfo) -> Iterator[Table]:
    facts: _Facts = []
    if found.entry is not None:
        facts.append(("entry", f"{found.entry:#x}"))
    if found.link_address is not None:
        facts.append(("linked", f"at {_link(found.link_address, found.slots)}"))
    facts += _slots(found.slots, found.rom_size)
    if facts:
        yield _facts(facts)
    if found.sections:
        yield _sections(found.sections)
    if found.memories:
        yield usage_table(found.memories)

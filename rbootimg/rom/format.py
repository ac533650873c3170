"""The format of an rBoot ROM: rBoot's "new" type, -boot2 of esptool2.

All fields are little-endian; offsets are relative to the start of the ROM, which is at a flash sector. Sources: rBoot
1.4.2 (rboot.c, check_image), esptool2 2.0.0 (esptool2.c), esptool 5.6 (bin_image.py).
"""

from __future__ import annotations

import contextlib
import functools
import operator
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..errors import RomError
from ..layout.params import DEFAULT_PARAMS, FlashParams

# magic, count, mode, size and frequency, entry: the header of the irom part and of the RAM part.
HEADER = struct.Struct("<BB2sI")
PARAMS = slice(2, 4)
"""The flash parameters in the header. The checksum does not cover headers."""
# After the first header: a word that rBoot ignores, and the irom length. Before each RAM section: load address and
# length.
SECTION_HEADER = struct.Struct("<II")

IROM_MAGIC = 0xEA
IROM_COUNT = 0x04
RAM_MAGIC = 0xE9
CHECKSUM_SEED = 0xEF
ALIGNMENT = 16
"""The size that irom is padded to; the checksum is the last byte of such a block."""
_RAM_ALIGNMENT = 4
_MAX_SECTIONS = 0xFF
# Espressif's gen_appbin.py writes these bytes instead of the flash parameters in the first header: 0, user number.
_APPBIN_USERS = {bytes((0, user)): user for user in (1, 2)}
_CRC = struct.Struct("<I")
_BLOCK = 4096  # bytes per step of xor_checksum(); a power of 2


class _RamSection(NamedTuple):
    address: int
    data: bytes


class RamSection(_RamSection):
    """Bytes that the boot loader copies to RAM `address`, padded with zeros to a multiple of 4."""

    __slots__ = ()

    def __new__(cls, address: int, data: bytes) -> RamSection:
        return super().__new__(cls, address, _padded(data, _RAM_ALIGNMENT))

    @classmethod
    def _make(cls, values: Iterable[Any]) -> RamSection:  # type: ignore[override]
        return cls(*values)  # _replace() must pad too

    def __repr__(self) -> str:
        return f"RamSection({self.address:#x}, {len(self.data)} bytes)"


class _Rom(NamedTuple):
    entry: int
    irom: bytes
    sections: tuple[RamSection, ...]
    params: FlashParams
    irom_checksum: bool
    esptool_crc: bool
    appbin_user: int


class Rom(_Rom):
    """An rBoot ROM.

    - `entry`: the address that the loader jumps to
    - `irom`: code and data that stay in flash, padded with zeros to a multiple of 16
    - `sections`: the RAM sections, in file order
    - `irom_checksum`: whether the checksum covers irom, as rBoot with BOOT_IROM_CHKSUM requires
    - `esptool_crc`: whether the CRC-32 of esptool's elf2image follows; rBoot ignores it
    - `appbin_user`: 1 or 2 in a ROM of Espressif's gen_appbin.py (user1.bin, user2.bin), which writes that number
      instead of the flash parameters in the first header; otherwise 0

    Raises RomError for values that do not fit the format.
    """

    __slots__ = ()

    def __new__(
        cls,
        entry: int,
        irom: bytes,
        sections: tuple[RamSection, ...],
        params: FlashParams = DEFAULT_PARAMS,
        irom_checksum: bool = False,
        esptool_crc: bool = False,
        appbin_user: int = 0,
    ) -> Rom:
        if not irom:
            raise RomError("no flash code: a ROM requires .irom0.text")
        _check_limits(entry, sections, params)
        if appbin_user not in (0, *_APPBIN_USERS.values()):
            raise RomError(f"invalid user number {appbin_user}: expected 1 or 2, or 0 for none")
        if bytes((0, appbin_user)) == params.to_bytes():
            appbin_user = 0  # the same bytes
        irom = _padded(irom, ALIGNMENT)
        return super().__new__(cls, entry, irom, sections, params, irom_checksum, esptool_crc, appbin_user)

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Rom:  # type: ignore[override]
        return cls(*values)  # _replace() must check too

    def __repr__(self) -> str:
        shown = {name: value for name, value in self._asdict().items() if name != "irom"}
        return f"Rom(irom={len(self.irom)} bytes, {', '.join(f'{name}={value}' for name, value in shown.items())})"

    @property
    def checksum(self) -> int:
        """The ROM's checksum byte: XOR of 0xEF and the data bytes, headers not among them."""
        return _checksum(self.sections, self.irom if self.irom_checksum else b"")

    @property
    def size(self) -> int:
        """The bytes that the ROM takes in the flash, checksum (and CRC) included."""
        parts = [HEADER.size + SECTION_HEADER.size + len(self.irom) + HEADER.size]
        parts += (SECTION_HEADER.size + len(section.data) for section in self.sections)
        return checksum_offset(sum(parts)) + 1 + _CRC.size * self.esptool_crc

    def to_bytes(self) -> bytes:
        """The ROM's bytes, as esptool2 writes them for the same choices."""
        first = bytes((0, self.appbin_user)) if self.appbin_user else self.params.to_bytes()
        header = HEADER.pack(IROM_MAGIC, IROM_COUNT, first, self.entry)
        summed = self.irom if self.irom_checksum else b""
        ram_part = old_image(self.entry, self.sections, self.params, summed)
        data = header + SECTION_HEADER.pack(0, len(self.irom)) + self.irom + ram_part
        return data + _CRC.pack(_esptool_crc(data)) if self.esptool_crc else data

    @classmethod
    def from_bytes(cls, data: bytes, irom_checksum: bool | None = None) -> Rom:
        """Parse a ROM, with all checks of rBoot and some stricter ones.

        `irom_checksum` is the required kind of checksum. None accepts either kind, which is a weaker check; if irom
        does not change the sum, the result has irom_checksum False. Raises RomError unless `data` is a complete, valid
        ROM: `Rom.from_bytes(data).to_bytes() == data` for all accepted data.
        """
        if data.startswith(b"\x7fELF"):
            raise RomError("ELF file, not a ROM; pack it first")
        params, entry, offset, count = _read_header(data, 0, IROM_MAGIC, "the ROM")
        if count != IROM_COUNT:
            raise RomError(f"not an rBoot ROM with irom: byte 1 is {count:#04x}, expected {IROM_COUNT:#04x}")
        ignored, length = _read(SECTION_HEADER, data, offset, "the irom header")
        if ignored:
            raise RomError(f"unexpected word {ignored:#x} at offset 8: expected 0")
        if length == 0 or length % ALIGNMENT:
            raise RomError(f"invalid irom length {length:#x}: expected a multiple of {ALIGNMENT}, greater than 0")
        offset += SECTION_HEADER.size
        irom = _slice(data, offset, length, "irom")
        offset += length
        ram_params, ram_entry, offset, count = _read_header(data, offset, RAM_MAGIC, "the RAM part")
        user = _APPBIN_USERS.get(params.to_bytes(), 0) if ram_params != params else 0
        if ram_entry != entry or (ram_params != params and not user):
            raise RomError("header mismatch: entry or flash parameters differ between the two headers")
        if count == 0:
            raise RomError("ROM without RAM sections")
        sections, offset = _read_sections(data, offset, count)
        end = checksum_offset(offset)
        stored = _slice(data, end, 1, "the checksum")[0]
        if any(data[offset:end]):
            raise RomError(f"invalid padding at offset {offset:#x}: expected zeros up to the checksum")
        trailer = data[end + 1 :]
        if trailer and trailer != _CRC.pack(_esptool_crc(data[: end + 1])):
            raise RomError(
                f"{len(trailer)} trailing bytes after the checksum at offset {end:#x}: expected none, or esptool's CRC"
            )
        plain, full = _checksum(sections, b""), _checksum(sections, irom)
        if stored not in {None: (plain, full), False: (plain,), True: (full,)}[irom_checksum]:
            expected = f"{full:#04x} with irom" if irom_checksum else f"{plain:#04x} ({full:#04x} with irom)"
            raise RomError(
                f"bad checksum {stored:#04x} at offset {end:#x}: expected {expected}"
                + ("; the ROM may have the other kind of checksum" if stored in (plain, full) else "")
            )
        with_irom = stored != plain if irom_checksum is None else irom_checksum
        return cls(entry, irom, tuple(sections), ram_params, with_irom, bool(trailer), user)


def old_image(
    entry: int, sections: Sequence[RamSection], params: FlashParams = DEFAULT_PARAMS, irom: bytes = b""
) -> bytes:
    """Make an image of the "old" type, -boot0 of esptool2: the mask ROM boots it, and it is the RAM part of a ROM.

    The checksum covers `irom`, which the image does not contain. Raises RomError for values that do not fit the format.
    """
    _check_limits(entry, sections, params)
    parts = [HEADER.pack(RAM_MAGIC, len(sections), params.to_bytes(), entry)]
    for section in sections:
        parts += (SECTION_HEADER.pack(section.address, len(section.data)), section.data)
    used = sum(map(len, parts))
    parts.append(bytes(ALIGNMENT - 1 - used % ALIGNMENT))
    parts.append(bytes((_checksum(sections, irom),)))
    return b"".join(parts)


def check_old_image(data: bytes) -> int:
    """Check the image of the "old" type at the start of `data` as the mask ROM does, and return its size.

    Raises RomError if it is incomplete or its checksum does not match.
    """
    _, _, offset, count = _read_header(data, 0, RAM_MAGIC, "the image")
    if count == 0:
        raise RomError("image without RAM sections")
    sections, offset = _read_sections(data, offset, count)
    end = checksum_offset(offset)
    stored, computed = _slice(data, end, 1, "the checksum")[0], _checksum(sections, b"")
    if stored != computed:
        raise RomError(f"bad checksum {stored:#04x} at offset {end:#x}: expected {computed:#04x}")
    return end + 1


def image_size(data: bytes) -> int:
    """Return the size of the ROM or image of the "old" type at the start of `data`, with esptool's CRC.

    Does not check the checksum. Raises RomError if there is no image or it is truncated.
    """
    offset = 0
    if data[:1] == bytes((IROM_MAGIC,)):
        _, _, offset, _ = _read_header(data, 0, IROM_MAGIC, "the ROM")
        _, length = _read(SECTION_HEADER, data, offset, "the irom header")
        offset += SECTION_HEADER.size + length
    _, _, offset, count = _read_header(data, offset, RAM_MAGIC, "the RAM part")
    for number in range(count):
        _, length = _read(SECTION_HEADER, data, offset, f"the header of RAM section {number}")
        offset += SECTION_HEADER.size + length
    end = checksum_offset(offset) + 1
    _slice(data, end - 1, 1, "the checksum")
    has_crc = data[end : end + _CRC.size] == _CRC.pack(_esptool_crc(data[:end]))
    return end + _CRC.size * has_crc


class Outline(NamedTuple):
    """The contents of an image that may be corrupt or truncated.

    `irom` is None in an image of the "old" type. `sections` are the complete ones. `size` includes the checksum byte,
    `stored`; both are None if the image is truncated before it. `ram_sum` and `full_sum` are the checksums over the RAM
    sections, without and with irom. `appbin_user` is as in Rom.
    """

    params: FlashParams
    entry: int
    irom: bytes | None
    sections: tuple[RamSection, ...]
    size: int | None
    stored: int | None
    ram_sum: int
    full_sum: int
    appbin_user: int


def outline(data: bytes) -> Outline:
    """Parse the image at the start of `data`; unlike Rom.from_bytes() also a corrupt or truncated one.

    Raises RomError if there is no image.
    """
    irom, sections, end, stored, user = None, [], None, None, 0
    if data[:1] == bytes((IROM_MAGIC,)):
        params, entry, offset, _ = _read_header(data, 0, IROM_MAGIC, "the ROM")
        irom = b""
    else:
        params, entry, offset, _ = _read_header(data, 0, RAM_MAGIC, "the image")
    with contextlib.suppress(RomError):  # missing parts are left out
        if irom is not None:
            _, length = _read(SECTION_HEADER, data, offset, "the irom header")
            offset += SECTION_HEADER.size
            irom = data[offset : offset + length]
            offset += length
        else:
            offset = 0
        ram_params, _, offset, count = _read_header(data, offset, RAM_MAGIC, "the RAM part")
        if ram_params != params:
            user = _APPBIN_USERS.get(params.to_bytes(), 0)
            params = ram_params if user else params
        for _ in range(count):
            read, offset = _read_sections(data, offset, 1)
            sections += read
        end = checksum_offset(offset) + 1
        stored = _slice(data, end - 1, 1, "the checksum")[0]
    size = end if stored is not None else None
    ram_sum, full_sum = _checksum(sections, b""), _checksum(sections, irom or b"")
    return Outline(params, entry, irom, tuple(sections), size, stored, ram_sum, full_sum, user)


def _check_limits(entry: int, sections: Sequence[RamSection], params: FlashParams) -> None:
    if not 1 <= len(sections) <= _MAX_SECTIONS:
        raise RomError(f"{len(sections)} RAM sections: expected 1-{_MAX_SECTIONS}")
    words = {"entry point": entry} | {f"address of RAM section {n}": s.address for n, s in enumerate(sections)}
    for what, value in words.items():
        if not 0 <= value < 2**32:
            raise RomError(f"{what} {value:#x} does not fit 32 bits")
    if not (0 <= params.mode <= 0xFF and 0 <= params.size <= 0x0F and 0 <= params.freq <= 0x0F):
        raise RomError(f"flash parameters ({params.describe()}) do not fit the header")


def _checksum(sections: Sequence[RamSection], irom: bytes) -> int:
    return functools.reduce(
        operator.xor, (xor_checksum(section.data) for section in sections), CHECKSUM_SEED ^ xor_checksum(irom)
    )


def checksum_offset(end: int) -> int:
    """Return the offset of the checksum of an image whose last section ends at `end`."""
    return end | (ALIGNMENT - 1)


def xor_checksum(data: bytes | bytearray) -> int:
    """XOR all bytes, with large integers: a loop over single bytes takes 10 ms for 400 KB."""
    folded = 0
    for start in range(0, len(data), _BLOCK):
        folded ^= int.from_bytes(data[start : start + _BLOCK], "little")
    bits = 8 * _BLOCK
    while bits > 8:
        bits //= 2
        folded = folded >> bits ^ folded & (1 << bits) - 1
    return folded


def _esptool_crc(data: bytes) -> int:
    """Compute the CRC that esptool's elf2image and the SDK's tools append: CRC-32 with bit 31 clear."""
    crc = zlib.crc32(data)
    return crc ^ 0xFFFFFFFF if crc & 0x80000000 else crc + 1


def _padded(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


def _read_header(data: bytes, offset: int, magic: int, what: str) -> tuple[FlashParams, int, int, int]:
    """Read a header; return flash parameters, entry point, offset after the header, count byte."""
    found, count, params, entry = _read(HEADER, data, offset, f"the header of {what}")
    if found != magic:
        raise RomError(f"bad magic of {what}: found {found:#04x} at offset {offset:#x}, expected {magic:#04x}")
    return FlashParams.from_bytes(params), entry, offset + HEADER.size, count


def _read_sections(data: bytes, offset: int, count: int) -> tuple[list[RamSection], int]:
    """Read `count` RAM sections at `offset`; return them and the offset after them."""
    sections = []
    for number in range(count):
        address, length = _read(SECTION_HEADER, data, offset, f"the header of RAM section {number}")
        offset += SECTION_HEADER.size
        if length % _RAM_ALIGNMENT:
            raise RomError(f"invalid size {length} of RAM section {number}: expected a multiple of {_RAM_ALIGNMENT}")
        sections.append(RamSection(address, _slice(data, offset, length, f"RAM section {number}")))
        offset += length
    return sections, offset


def _read(layout: struct.Struct, data: bytes, offset: int, what: str) -> tuple[Any, ...]:
    return layout.unpack(_slice(data, offset, layout.size, what))


def _slice(data: bytes, offset: int, length: int, what: str) -> bytes:
    if offset + length > len(data):
        raise RomError(
            f"truncated image: {what} ends at offset {offset + length:#x}, but there are only {len(data):#x} bytes"
        )
    return data[offset : offset + length]

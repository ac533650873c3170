"""Flash sizes, modes and frequencies, as the headers of images encode them."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import NamedTuple

from ..errors import LayoutError


class FlashSize(NamedTuple):
    """A flash size: esptool's name, the code in an image header, the number of bytes."""

    name: str
    code: int
    bytes: int


# Size codes: esptool 5.6 (targets/esp8266.py); 5 is also the SDK's 2048b, 1024 + 1024 KB.
FLASH_SIZES = MappingProxyType(
    {
        size.name: size
        for size in (
            FlashSize("256KB", 1, 0x40000),
            FlashSize("512KB", 0, 0x80000),
            FlashSize("1MB", 2, 0x100000),
            FlashSize("2MB", 3, 0x200000),
            FlashSize("4MB", 4, 0x400000),
            FlashSize("2MB-c1", 5, 0x200000),
            FlashSize("4MB-c1", 6, 0x400000),
            FlashSize("8MB", 8, 0x800000),
            FlashSize("16MB", 9, 0x1000000),
        )
    }
)
FLASH_MODES = MappingProxyType({"qio": 0, "qout": 1, "dio": 2, "dout": 3})
FLASH_FREQS = MappingProxyType({"40m": 0, "26m": 1, "20m": 2, "80m": 15})


def flash_size(name: str) -> FlashSize:
    """Return the flash size that esptool calls `name`; `1M` is `1MB`, and case is ignored.

    Raises LayoutError if it is unknown.
    """
    by_name = {known.lower(): size for known, size in FLASH_SIZES.items()}
    by_name |= {known.replace("b", "", 1): size for known, size in by_name.items()}
    try:
        return by_name[str(name).strip().lower()]
    except KeyError:
        raise LayoutError(_unknown("flash size", name, FLASH_SIZES)) from None


class FlashParams(NamedTuple):
    """Bytes 2 and 3 of an image header: flash mode, size and frequency.

    The values are the header's codes: `mode` 0 to 255, `size` and `freq` 0 to 15. The mask ROM and rBoot use those of
    the loader at flash 0 and ignore those of a ROM.
    """

    mode: int = FLASH_MODES["qio"]
    size: int = FLASH_SIZES["512KB"].code
    freq: int = FLASH_FREQS["40m"]

    @classmethod
    def from_names(cls, mode: str, size: str, freq: str) -> FlashParams:
        """Encode esptool's names: `qio`, `1MB`, `40m`. Raises LayoutError if one is unknown."""
        return cls(
            mode=_code("flash mode", mode, FLASH_MODES),
            size=flash_size(size).code,
            freq=_code("flash frequency", freq, FLASH_FREQS),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> FlashParams:
        """Decode the two header bytes `data`."""
        mode, size_and_freq = data
        return cls(mode, size_and_freq >> 4, size_and_freq & 0x0F)

    def to_bytes(self) -> bytes:
        """Encode the two header bytes."""
        return bytes((self.mode, self.size << 4 | self.freq))

    def names(self) -> tuple[str | int, str | int, str | int]:
        """Return esptool's names of mode, size and frequency, and unknown codes as numbers."""
        modes = {code: name for name, code in FLASH_MODES.items()}
        sizes = {size.code: name for name, size in FLASH_SIZES.items()}
        freqs = {code: name for name, code in FLASH_FREQS.items()}
        return modes.get(self.mode, self.mode), sizes.get(self.size, self.size), freqs.get(self.freq, self.freq)

    def describe(self) -> str:
        """Return names() as one string: `qio, 512KB, 40m`."""
        named = zip(("mode", "size", "frequency"), self.names())
        return ", ".join(name if isinstance(name, str) else f"{what} {name}" for what, name in named)


DEFAULT_PARAMS = FlashParams()
"""The defaults of esptool2: QIO, 512 KB, 40 MHz."""


def _code(what: str, name: str, codes: MappingProxyType[str, int]) -> int:
    try:
        return codes[str(name).strip().lower()]
    except KeyError:
        raise LayoutError(_unknown(what, name, codes)) from None


def _unknown(what: str, name: object, known: Iterable[str]) -> str:
    return f"unknown {what} {str(name)!r}: expected one of {', '.join(known)}"

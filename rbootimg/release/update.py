"""The update file: what a device reads to learn which release it should run. Reads and writes no files.

One small ASCII file per application, `update`, beside `manifest.json`. Lines in this order, each ended by LF, with
single blanks between the words:

    rbootimg-update 1
    app blink                    as in URLs: other characters than A-Z a-z 0-9 - . _ ~ are percent-encoded
    device esp8266               likewise
    version 1.3.0
    serial 17                    grows by one with each file that is published for the application
    issued 2026-11-27            may be absent; for people, devices ignore it
    withdrawn 1.2.9              none or more: versions that were rolled back, the oldest rollback first
    rollout 2500                 may be absent: devices that get the release, in hundredths of a percent
    rom 0 2000 80000 450704 …    slot, address and size of the slot in hex, size of the ROM, its SHA-256
    delta 1.2.7 0 1 4591 …       none or more: from this version in the first slot to the second slot, size, SHA-256
    end

A signature, if there is one, is before that, in the embedded format of OpenBSD's signify: see `signify`. The update
client has the same grammar in C (firmware/ota/ota_update.c); a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote as percent_encode

from ..errors import ManifestError, PublishError
from ..text import quote
from .signify import SignedMessage, split

UPDATE = "update"
"""The name of the file, in the application's directory."""

MAX_UPDATE_SIZE = 4096
"""Bytes of the file at most, with the signature: the update client's buffer is one sector."""

MAX_VERSION_LENGTH = 63
"""Of a version that devices can read: RBOOT_VERSION_SIZE in rboot-ota.h, without its zero."""

ROLLOUT_ALL = 10_000
"""The rollout that includes each device: 100 %."""

_MAX_NUMBER = 0xFFFF_FFFF

_NUMBER = "(?:0|[1-9][0-9]{0,9})"
_HEX = "(?:0|[1-9a-f][0-9a-f]{0,7})"
_SLOT = "(?:0|[1-9][0-9]{0,2})"
_DIGEST = "[0-9a-f]{64}"
_WORD = "[!-~]+"  # printable ASCII without a blank
_IDENTIFIER = "(?:0|[1-9][0-9]{0,8}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION = rf"(?:0|[1-9][0-9]{{0,8}})(?:\.(?:0|[1-9][0-9]{{0,8}})){{2}}(?:-{_IDENTIFIER}(?:\.{_IDENTIFIER})*)?"

_FILE = re.compile(
    rf"rbootimg-update 1\napp (?P<app>{_WORD})\ndevice (?P<device>{_WORD})\nversion (?P<version>{_VERSION})\n"
    rf"serial (?P<serial>{_NUMBER})\n(?:issued (?P<issued>[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})\n)?"
    rf"(?P<withdrawn>(?:withdrawn {_VERSION}\n)*)(?:rollout (?P<rollout>{_NUMBER})\n)?"
    rf"(?P<roms>(?:rom {_SLOT} {_HEX} {_HEX} {_NUMBER} {_DIGEST}\n)+)"
    rf"(?P<deltas>(?:delta {_VERSION} {_SLOT} {_SLOT} {_NUMBER} {_DIGEST}\n)*)end\n"
)


@dataclass(frozen=True)
class UpdateRom:
    """The ROM for a slot of `slot_size` bytes at `flash_address`: its size in bytes, and its SHA-256 in hex digits."""

    slot: int
    flash_address: int
    slot_size: int
    size: int
    sha256: str


@dataclass(frozen=True)
class UpdateDelta:
    """What makes the ROM for `slot` of the ROM of the version `source` in `source_slot`: its size and SHA-256."""

    source: str
    source_slot: int
    slot: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Update:
    """The content of an update file. `app` and `device` are as in the manifest; `rollout` is None for all devices."""

    app: str
    device: str
    version: str
    serial: int
    roms: tuple[UpdateRom, ...]
    issued: str | None = None
    withdrawn: tuple[str, ...] = ()
    rollout: int | None = None
    deltas: tuple[UpdateDelta, ...] = ()

    def to_bytes(self, max_size: int = MAX_UPDATE_SIZE) -> bytes:
        """Return the file, without a signature. Where it is too large, the oldest withdrawn versions are left out.

        Raises PublishError if it is larger than `max_size` bytes all the same, or if devices could not read it.
        """
        if not is_readable_version(self.version):
            raise PublishError(
                f"devices cannot read the version {quote(self.version, MAX_VERSION_LENGTH)}: expected at most "
                f"{MAX_VERSION_LENGTH} characters, and numbers of at most 9 digits"
            )
        for start in range(len(self.withdrawn) + 1):
            data = "".join(f"{line}\n" for line in self._lines(self.withdrawn[start:])).encode()
            if len(data) <= max_size:
                break
        else:
            raise PublishError(f"update file too large: expected at most {max_size:,} bytes, got {len(data):,}")
        try:
            parse_update(data)
        except ManifestError as error:
            raise PublishError(f"devices cannot read this release: {error.message}") from None
        return data

    def _lines(self, withdrawn: Sequence[str]) -> Iterator[str]:
        yield "rbootimg-update 1"
        yield f"app {encode_name(self.app)}"
        yield f"device {encode_name(self.device)}"
        yield f"version {self.version}"
        yield f"serial {self.serial}"
        if self.issued is not None:
            yield f"issued {self.issued}"
        for version in withdrawn:
            yield f"withdrawn {version}"
        if self.rollout is not None:
            yield f"rollout {self.rollout}"
        for rom in self.roms:
            yield f"rom {rom.slot} {rom.flash_address:x} {rom.slot_size:x} {rom.size} {rom.sha256}"
        for delta in self.deltas:
            yield f"delta {delta.source} {delta.source_slot} {delta.slot} {delta.size} {delta.sha256}"
        yield "end"


class UpdateFile(NamedTuple):
    """An update file with its signature, if it has one. That is not verified."""

    signed: SignedMessage
    update: Update


def parse_update_file(data: bytes) -> UpdateFile:
    """Parse an update file with or without a signature, which is not verified. Raises ManifestError."""
    if len(data) > MAX_UPDATE_SIZE:
        raise ManifestError(f"update file too large: expected at most {MAX_UPDATE_SIZE:,} bytes, got {len(data):,}")
    signed = split(data)
    return UpdateFile(signed, parse_update(signed.message))


def encode_name(text: str) -> str:
    """Return the name of an application or device class as update files have it, percent-encoded as in a URL."""
    return percent_encode(text, safe="")


def is_readable_version(version: str) -> bool:
    """Return whether devices can read a version: its length, and the digits of its numbers, are limited."""
    return len(version) <= MAX_VERSION_LENGTH and re.fullmatch(_VERSION, version) is not None


def parse_update(data: bytes) -> Update:
    """Parse an update file without its signature. `app` and `device` stay percent-encoded.

    Raises ManifestError if it has another form than the one above in any byte: devices accept the same files.
    """
    found = _FILE.fullmatch(data.decode("ascii", "replace"))
    if not found:
        raise ManifestError(_problem(data))
    serial = _number(found["serial"])
    rollout = None if found["rollout"] is None else _number(found["rollout"])
    roms = tuple(_rom(line.split()) for line in found["roms"].splitlines())
    deltas = tuple(_delta(line.split()) for line in found["deltas"].splitlines())
    withdrawn = tuple(line.split()[1] for line in found["withdrawn"].splitlines())
    for version in (found["version"], *withdrawn, *(delta.source for delta in deltas)):
        if len(version) > MAX_VERSION_LENGTH:
            raise ManifestError(
                f"update file: invalid version {version[:MAX_VERSION_LENGTH]}…: expected at most {MAX_VERSION_LENGTH} "
                f"characters, got {len(version)}"
            )
    if serial == 0:
        raise ManifestError("update file: invalid serial 0: expected 1 or more")
    if rollout is not None and rollout > ROLLOUT_ALL:
        raise ManifestError(f"update file: invalid rollout {rollout}: expected at most {ROLLOUT_ALL}")
    if found["version"] in withdrawn:
        raise ManifestError(f"update file: the offered version {found['version']} is withdrawn")
    slots = [rom.slot for rom in roms]
    if slots != sorted(set(slots)) or slots[-1] > 255:  # in C a slot is a uint8
        raise ManifestError("update file: invalid ROMs: expected ascending slots, up to 255")
    if any(max(delta.source_slot, delta.slot) > 255 for delta in deltas):
        raise ManifestError("update file: invalid delta: expected slots up to 255")
    return Update(
        found["app"], found["device"], found["version"], serial, roms, found["issued"], withdrawn, rollout, deltas
    )


def _rom(words: Sequence[str]) -> UpdateRom:
    return UpdateRom(int(words[1]), int(words[2], 16), int(words[3], 16), _number(words[4]), words[5])


def _delta(words: Sequence[str]) -> UpdateDelta:
    return UpdateDelta(words[1], int(words[2]), int(words[3]), _number(words[4]), words[5])


def _number(text: str) -> int:
    value = int(text)
    if value > _MAX_NUMBER:
        raise ManifestError(f"update file: invalid number {text}: expected at most {_MAX_NUMBER}")
    return value


def _problem(data: bytes) -> str:
    """Say why `data` is no update file."""
    first = data.partition(b"\n")[0]
    if not first.startswith(b"rbootimg-update "):
        return "not an update file: expected 'rbootimg-update 1' in the first line"
    if first != b"rbootimg-update 1":
        return f"unknown form of an update file: expected 'rbootimg-update 1', got {quote(first.decode('latin-1'), 40)}"
    return "corrupt update file: expected the lines app, device, version, serial, rom and end in this order"

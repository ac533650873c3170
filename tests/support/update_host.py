"""Devices with the signed update client, on the host: what boots is predicted, and the client is the harness."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rbootimg.flash.bootconfig import CURRENT_ROM_OFFSET, BootConfig, RtcData
from rbootimg.flash.bootlogic import predict_boot
from rbootimg.layout.model import LoaderOptions
from rbootimg.release.clientkeys import keys_header
from rbootimg.release.signify import PublicKey, SignedMessage, join
from rbootimg.release.update import Update, UpdateRom
from support import images, ota_host
from support.ota_host import HARNESS, REASONS, SLOTS, Host, reply

APP, DEVICE = "blink", "esp8266"
SLOT_SIZES = (0x80000, 0x79000)


@dataclass(frozen=True)
class Key:
    """A key pair, the same for the same name."""

    name: str

    @functools.cached_property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(self.name.encode()).digest())

    @property
    def public(self) -> PublicKey:
        key = self.private.public_key().public_bytes_raw()
        return PublicKey(f"{self.name} public key", hashlib.sha256(key).digest()[:8], key)

    @property
    def store_number(self) -> str:
        """By which the device remembers the serial."""
        return self.public.number[:4][::-1].hex()

    def sign(self, message: bytes, comment: str = "verify with prod.pub") -> bytes:
        return join(SignedMessage(message, self.public.number, self.private.sign(message), comment))


PROD, SPARE, STRANGER = Key("prod"), Key("spare"), Key("stranger")


def rom(version: str, slot: int) -> bytes:
    """A ROM of each version and slot, with the version after its end."""
    return images.rom(slot) + version.encode().ljust(32, b"\0")


def update(version: str, serial: int, **changes: object) -> Update:
    """The update file of a release as it should be, but for the changes."""
    roms = tuple(
        UpdateRom(slot, SLOTS[slot], SLOT_SIZES[slot], len(data), hashlib.sha256(data).hexdigest())
        for slot, data in enumerate((rom(version, 0), rom(version, 1)))
    )
    return replace(Update(APP, DEVICE, version, serial, roms), **changes)  # type: ignore[arg-type]


def rom_replies(*versions: str) -> dict[str, bytes]:
    """The replies with the ROMs of releases."""
    return {
        f"/blink/releases/{version}/rom{slot}.bin": reply(rom(version, slot)) for version in versions for slot in (0, 1)
    }


def server(file: bytes | Update, *versions: str) -> dict[str, bytes]:
    """The replies of a server with an update file, which is signed if need be, and the ROMs of `versions`."""
    data = PROD.sign(file.to_bytes()) if isinstance(file, Update) else file
    return {"/blink/update": reply(data), **rom_replies(*versions)}


def build_client(directory: Path, *keys: Key, options: Sequence[str] = ()) -> Path:
    """The harness with a client that has `keys`."""
    if keys:
        (directory / "rboot-keys.h").write_text(keys_header([key.public for key in keys]))
        options = [*options, "-DRBOOT_UPDATE_KEYS", f"-I{directory}"]
    return ota_host.build(directory, HARNESS / "harness.c", options=options)


def new_flash(version: str = "1.0.0", slot: int = 0) -> bytes:
    chip = bytearray(b"\xff" * 0x100000)
    chip[:4] = ota_host.HEADER_1MB
    config = BootConfig(SLOTS, slot).to_bytes()
    chip[0x1000 : 0x1000 + len(config)] = config
    data = rom(version, slot)
    chip[SLOTS[slot] : SLOTS[slot] + len(data)] = data
    return bytes(chip)


@dataclass
class Chip:
    """A device. `lines` is what the client printed in the last call; `running` the ROM that runs."""

    program: Path
    flash: bytes = field(default_factory=new_flash)
    has_rtc: bool = True
    rtc: RtcData | None = None
    running: int = 0
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> Chip:
        """Boot. The loader must find a ROM."""
        decision = predict_boot(self.flash, LoaderOptions(rtc=self.has_rtc), rtc=self.rtc if self.has_rtc else None)
        assert decision.rom is not None, decision.lines
        if decision.config is not None:
            self.flash = self.flash[:0x1000] + decision.config + self.flash[0x2000:]
        self.running, self.rtc = decision.rom, decision.rtc
        return self

    def copy(self) -> Chip:
        """The same device in the same boot."""
        chip = replace(self)  # which boots
        chip.rtc, chip.running = self.rtc, self.running
        return chip

    def power_cycle(self) -> Chip:
        self.rtc = None
        return self.reset()

    @property
    def version(self) -> str:
        """Of the ROM that runs."""
        start = SLOTS[self.running] + len(images.rom(self.running))
        return self.flash[start : start + 32].rstrip(b"\0").decode()

    @property
    def current(self) -> int:
        return self.flash[0x1000 + CURRENT_ROM_OFFSET]  # of a config that may have an invalid mode, after a power cut

    def start(self, flags: str = "-", seconds: int = 0, host: str = "10.0.0.1", port: int = 80, **changes: str) -> str:
        """The command that starts an update."""
        values = {"path": "/blink/", "app": APP, "device": DEVICE, "id": "a1b2c3", "version": self.version, **changes}
        return " ".join(("update", host, str(port), *values.values(), str(seconds), flags))

    def check(self, replies: Mapping[str, bytes] | None, *before: str, flags: str = "-", **options: object) -> str:
        """Run an update from a server with these replies, None for one that is down; the result and its reason."""
        self.run(replies, *before, self.start(flags, **options), "run")  # type: ignore[arg-type]
        results = [line.split() for line in self.lines if line.startswith("result ")]
        if not results:
            return "none"
        result, reason = results[-1][1], REASONS[int(results[-1][2])]
        return f"{result} {reason}" if result == "failed" else result

    def run(self, replies: Mapping[str, bytes] | None, *commands: str) -> list[str]:
        """Run commands of the harness."""
        host = Host(self.program, self.flash)
        if self.has_rtc and self.rtc is not None:
            data = self.rtc.to_bytes()
            host.do("rtc " + " ".join(data[at : at + 4][::-1].hex() for at in (0, 4, 8)))
        for path, data in (replies or {}).items():
            host.do(f"serve {path} {host.file(data)}")
        self.lines = host.do(*(() if replies is not None else ("down",)), *commands, "show-rtc").run()
        self.flash = host.flash
        words = next(line.split()[1:] for line in reversed(self.lines) if line.startswith("rtc "))
        self.rtc = RtcData.from_bytes(b"".join(bytes.fromhex(word)[::-1] for word in words)) if self.has_rtc else None
        return self.lines

    @property
    def requests(self) -> list[str]:
        """The paths that were requested."""
        return [line.split()[2] for line in self.lines if line.startswith("request ")]

    @property
    def operations(self) -> list[str]:
        return [line for line in self.lines if line.startswith(("write ", "erase "))]

    def follow(self, replies: Mapping[str, bytes]) -> None:
        """Update, boot the new ROM, and let it confirm itself."""
        assert self.check(replies) == "ready", self.lines
        assert self.reset().check(replies) == "current", self.lines
        assert self.current == self.running

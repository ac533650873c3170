"""The example application with signed updates in the emulator, and the files that a server has for it."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path

from rbootimg.layout.model import LoaderOptions
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.release.signify import public_key_file
from rbootimg.release.update import Update, UpdateRom
from support.ota_device import EXAMPLE, copy_example, flash, loader, run_scons
from support.update_host import PROD, SPARE, Key

TRIAL_SECONDS = 12
LAYOUT = parse_layout((EXAMPLE / "emulator" / "board.toml").read_text())


@functools.cache
def signed_example(
    version: str, *flags: str, host: str = "192.168.7.5", keys: tuple[Key, ...] = (PROD, SPARE)
) -> tuple[bytes, ...]:
    """The ROMs of the example in `version`, for both slots, compiled with `flags` too."""
    with tempfile.TemporaryDirectory() as directory:
        copy = copy_example(Path(directory) / "ota")
        for key in keys:
            (copy / f"{key.name}.pub").write_bytes(public_key_file(key.public))
        run_scons(
            copy,
            f"RBOOT_VERSION={version}",
            f"RBOOT_CCFLAGS=-mlongcalls -mtext-section-literals {' '.join(flags)}",
            f"SERVER={host}:80",
            f"KEYS={' '.join(f'{key.name}.pub' for key in keys)}",
            f"TRIAL_SECONDS={TRIAL_SECONDS}",
        )
        return tuple((copy / "build" / "emulator" / "app" / f"rom{slot}.bin").read_bytes() for slot in (0, 1))


def update_file(version: str, serial: int, roms: tuple[bytes, ...] = (), **changes: object) -> Update:
    """The update file of a release of the example."""
    found = tuple(
        UpdateRom(number, slot.address, slot.size, len(data), hashlib.sha256(data).hexdigest())
        for number, (slot, data) in enumerate(zip(LAYOUT.slots, roms or signed_example(version)))
    )
    return replace(Update("app", "esp8266", version, serial, found), **changes)  # type: ignore[arg-type]


def rom_files(version: str, roms: tuple[bytes, ...] = ()) -> dict[str, bytes]:
    return {f"releases/{version}/rom{slot}.bin": data for slot, data in enumerate(roms or signed_example(version))}


def signed_release(update: Update, *versions: str) -> dict[str, bytes]:
    """The files of a server: `update`, signed, and the ROMs of `versions`, or of its own."""
    files = {"update": PROD.sign(update.to_bytes())}
    for version in versions or (update.version,):
        files |= rom_files(version)
    return files


def new_signed_device(version: str = "1.0.0", *flags: str, rtc: bool = True, **options: str) -> bytes:
    """The flash of a device with the example in slot 0."""
    return flash(loader(LoaderOptions(rtc=rtc)), {0: signed_example(version, *flags, **options)[0]})  # type: ignore[arg-type]

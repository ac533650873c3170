"""What `scons flash` and `scons boot` do with a flash image."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ..emulator import network, qemu
from ..emulator.qemu import BootOptions
from ..errors import RbootError
from ..flash import writer
from ..rom import elf
from ..rom.elf import Symbol
from . import confine
from .flashcontents import number, pieces_of
from .interrupt import is_interrupted
from .variables import text


def _only(source: Any, target: str) -> Any:
    """The flash image that `scons flash` or `scons boot` is about."""
    # Whatever else the SConstruct has added to the target is not for us.
    images = list(dict.fromkeys(node for node in source if hasattr(node.attributes, "rboot_flash")))
    if len(images) > 1:
        stems = [os.path.splitext(str(image))[0] for image in images]
        names = [os.path.basename(stem) for stem in stems]
        names = names if len(set(names)) == len(names) else stems
        ways = " or ".join(f"`scons {target}-{name}`" for name in names)
        raise RbootError(f"there are {len(images)} flash images; say which: {ways}")
    return images[0]


def flash(source: Any) -> None:
    """Write the flash image to a device. Raises FlashError."""
    image = _only(source, "flash")
    contents, env = image.attributes.rboot_flash, image.attributes.rboot_env
    port = text(env, "RBOOT_PORT") or None
    with tempfile.TemporaryDirectory(prefix="rbootimg-") as folder:
        files = []
        for piece in pieces_of(contents):
            file = Path(folder) / piece.file_name
            file.write_bytes(piece.data)
            files.append((piece.address, str(file)))
        writer.run(writer.command_line(files, port, number(env, "RBOOT_BAUD") or None))


def boot(source: Any) -> None:
    """Run the flash image in the emulator. Raises EmulatorError."""
    image = _only(source, "boot")
    env = image.attributes.rboot_env
    confine.check(env)
    net = text(env, "RBOOT_NET")
    server = network.parse_address(net) if net else None
    result = qemu.interact(image.get_contents(), BootOptions(net=server), is_interrupted=is_interrupted)
    qemu.check(result, symbols=_symbols(image.attributes.rboot_flash.roms, result.rom))


def _symbols(roms: list[Any], number: int | None) -> tuple[Symbol, ...]:
    """The names for a crash in the ROM that was started, if it is known what it was packed from."""
    started = [rom for slot, rom in enumerate(roms) if slot == number and hasattr(rom.attributes, "rboot_packing")]
    if not started:
        return ()
    return elf.elf_symbols(Path(started[0].attributes.rboot_packing.elf.rfile().get_abspath()).read_bytes())

"""The actions of `scons flash` and `scons boot`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ..emulator import network, qemu
from ..emulator.qemu import BootOptions
from ..errors import SettingError, error_subject
from ..flash import writer
from ..rom import elf
from ..rom.elf import Symbol
from ..text import counted
from ..views.messages import Style, styled
from . import confine
from .flashcontents import pieces_of
from .interrupt import is_interrupted
from .summary import print_roms
from .variables import get_number, get_string


def _select_image(source: Any, target: str) -> Any:
    """The flash image of `scons flash` or `scons boot`. Raises SettingError if there are several."""
    # The SConstruct may have added other files to the target.
    images = list(dict.fromkeys(node for node in source if hasattr(node.attributes, "rboot_flash")))
    if len(images) > 1:
        stems = [os.path.splitext(str(image))[0] for image in images]
        names = [os.path.basename(stem) for stem in stems]
        names = names if len(set(names)) == len(names) else stems
        commands = " or ".join(f"`scons {target}-{name}`" for name in names)
        raise SettingError(f"the project has {len(images)} flash images; run {commands}")
    return images[0]


def flash(source: Any) -> None:
    """Write the flash image to a device. Raises FlashError."""
    image = _select_image(source, "flash")
    contents, env = image.attributes.rboot_flash, image.attributes.rboot_env
    print_roms(env)
    port = get_string(env, "RBOOT_PORT") or None
    pieces = pieces_of(contents)
    with tempfile.TemporaryDirectory(prefix="rbootimg-") as directory:
        files = []
        for piece in pieces:
            file = Path(directory) / piece.file_name
            file.write_bytes(piece.data)
            files.append((piece.address, str(file)))
        writer.run(writer.command_line(files, port, get_number(env, "RBOOT_BAUD") or None))
    if not env.GetOption("silent"):
        size = sum(len(piece.data) for piece in pieces)
        print(styled(f"wrote {image} to the device ({counted(len(pieces), 'piece')}, {size:,} B)", Style.GREEN))


def boot(source: Any) -> None:
    """Run the flash image in the emulator. Raises EmulatorError."""
    image = _select_image(source, "boot")
    env = image.attributes.rboot_env
    confine.check_confinement(env)
    net = get_string(env, "RBOOT_NET")
    with error_subject("RBOOT_NET"):
        server = network.parse_address(net) if net else None
    print_roms(env)
    result = qemu.interact(image.get_contents(), BootOptions(net=server), is_interrupted=is_interrupted)
    qemu.check(result, symbols=_symbols(image.attributes.rboot_flash.roms, result.rom))


def _symbols(roms: list[Any], number: int | None) -> tuple[Symbol, ...]:
    """The symbols of the started ROM, to explain a crash; empty if its ELF is unknown."""
    started = [rom for slot, rom in enumerate(roms) if slot == number and hasattr(rom.attributes, "rboot_packing")]
    if not started:
        return ()
    return elf.elf_symbols(Path(started[0].attributes.rboot_packing.elf.rfile().get_abspath()).read_bytes())

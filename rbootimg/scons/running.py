"""The actions of `scons flash`, `scons boot` and `scons monitor`."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from ..emulator import network, qemu
from ..emulator.qemu import BootOptions
from ..errors import SettingError, error_subject
from ..flash import writer
from ..monitor.elfs import ElfFinder, KnownElf, Origin, known_elfs
from ..rom import elf
from ..rom.elf import Symbol
from ..text import counted
from ..views.messages import Style, styled
from ..views.monitor import monitor_emulator, monitor_port
from . import confine
from .apps import WebRoot, display_path
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
    flash = image.get_contents()
    elfs = _elf_finder([image], {}, env, flash)
    result = monitor_emulator(flash, BootOptions(net=server), elfs, is_interrupted=is_interrupted)
    qemu.check(result, symbols=_symbols(image.attributes.rboot_flash.roms, result.rom))


def _symbols(roms: list[Any], number: int | None) -> tuple[Symbol, ...]:
    """The symbols of the started ROM, to explain a crash; empty if its ELF is unknown."""
    started = [rom for slot, rom in enumerate(roms) if slot == number and hasattr(rom.attributes, "rboot_packing")]
    if not started:
        return ()
    return elf.elf_symbols(started[0].attributes.rboot_packing.data())


def monitor(target: Any, env: Any) -> None:
    """Show what the device at the serial port prints. Raises PortError."""
    attributes = target[0].attributes
    images = [node for node in attributes.rboot_images if hasattr(node.attributes, "rboot_flash")]
    if images:
        env = _select_image(images, "monitor").attributes.rboot_env
    elfs = _elf_finder(images, attributes.rboot_web_roots, env)
    port, baud = get_string(env, "RBOOT_PORT") or None, get_number(env, "RBOOT_BAUD") or None
    monitor_port(port, baud, elfs, is_interrupted=is_interrupted)


def _elf_finder(images: list[Any], web_roots: dict[str, WebRoot], env: Any, flash: bytes | None = None) -> ElfFinder:
    """The finder for the ELFs of this build, and for the published and archived ones."""
    known: dict[str, KnownElf] = {}
    for root in web_roots.values():
        for name, app in root.apps.items():
            _add_built(known, app.roms, name, app.version)
    for image in images:
        _add_built(known, image.attributes.rboot_flash.roms)
    searched = []
    for root in web_roots.values():
        archives: list[Path | None] = [*dict.fromkeys(app.elf_archive for app in root.apps.values())]
        for archive in archives:
            known |= {str(each.path): each for each in known_elfs(Path(root.path), archive)}
        searched += [display_path(path, env) for path in (root.path, *archives) if path is not None]
    return ElfFinder([*known.values()], flash, _addr2line(env), searched=", ".join(["the build", *searched]))


def _add_built(known: dict[str, KnownElf], roms: list[Any], app: str = "", version: str = "") -> None:
    """Add the ELFs of `roms` that are built, unless `known` has them."""
    for slot, rom in enumerate(roms):
        packing = getattr(rom.attributes, "rboot_packing", None)
        path = packing and packing.elf.rfile().get_abspath()
        if path and os.path.exists(path):
            known.setdefault(path, KnownElf(Path(path), Origin.BUILD, app, version, slot))


def _addr2line(env: Any) -> str | None:
    """The toolchain's addr2line, beside its objcopy."""
    words = shlex.split(env.subst("$OBJCOPY"))
    return words[-1].removesuffix("objcopy") + "addr2line" if words and words[-1].endswith("objcopy") else None

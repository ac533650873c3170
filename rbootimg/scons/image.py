"""RbootImage: an ELF, whoever linked it -> a ROM."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import SCons.Builder
import SCons.Errors
import SCons.Node
import SCons.Util

from ..errors import RbootError, SettingError, error_subject
from ..fileio import read_file, write_atomic
from ..layout.model import Slot
from ..layout.params import FlashParams
from .actions import OWN_SCANNER, action, apart, build, nodes
from .variables import flash_map, for_call, header_params, slots_of, text

if TYPE_CHECKING:
    from ..rom.convert import Conversion
    from ..rom.elf import Elf
    from ..rom.format import Rom


class Packing(NamedTuple):
    """What a ROM is packed from, and how."""

    elf: Any
    slot: Slot | None
    sections: tuple[str, ...]
    params: FlashParams
    irom_checksum: bool

    def data(self) -> bytes:
        """The ELF's bytes. Raises OSError."""
        return read_file(self.elf.rfile().get_abspath())

    def read(self) -> Elf:
        """The linked application. Raises ElfError or OSError."""
        from ..rom import elf

        return elf.parse_elf(self.data())

    def convert(self) -> Conversion:
        """Its ROM, with the checks that need the ELF's symbols. Raises ElfError, FitError or OSError."""
        from ..rom.convert import convert

        return convert(self.data(), self.sections or None, self.params, self.irom_checksum, self.slot)

    def pack(self, app: Elf) -> Rom:
        """Its ROM. Raises ElfError or FitError."""
        from ..rom import pack

        return pack.pack(app, self.sections or None, self.params, self.irom_checksum, self.slot)


@functools.lru_cache
def _builder() -> Any:
    """The step of RbootImage."""
    return SCons.Builder.Builder(
        name="_RbootImage",
        action=action(_pack, "$RBOOTIMAGECOMSTR", "_RBOOT_IMAGE_OPTIONS"),
        target_scanner=OWN_SCANNER,
        suffix=".bin",
    )


def rboot_image(env: Any, target: Any, source: Any = None, **overrides: object) -> Any:
    """Pack the ELF `source` into the ROM `target`, for $RBOOT_SLOT if that is set; or as many, with a slot for each.

    Without `source`, `target` is the ELF, and the ROM is called like it.
    """
    env = for_call(env, overrides)
    if source is None:
        source = nodes(env, "RbootImage", target)
        target = [node.dir.File(os.path.splitext(node.name)[0] + ".bin") for node in source]
    targets = env.Flatten([target])
    what = str(targets[0]) if targets else "RbootImage"
    if not targets or not all(isinstance(name, (str, SCons.Node.Node)) for name in targets):
        raise SettingError("name the ROM", subject=f"RbootImage of {target!r}")
    elfs = nodes(env, what, source)
    elfs = elfs if len(elfs) == len(targets) else elfs * len(targets)
    if len(elfs) != len(targets):
        raise SettingError(f"{len(elfs)} ELFs for {len(targets)} ROMs; give one for each", subject=what)
    with error_subject(what):
        return images(env, targets, elfs, slots_of(env, len(targets)))


def images(env: Any, targets: list[Any], elfs: list[Any], slots: tuple[Slot | None, ...]) -> Any:
    """The ROMs `targets`, each from its ELF for its slot. Raises LayoutError."""
    # Now and not when it is built, where relative names would be those of another folder.
    found = flash_map(env)
    params = header_params(env, found)
    sections = tuple(SCons.Util.CLVar(text(env, "RBOOT_SECTIONS")))
    packings = [Packing(file, slot, sections, params, found.loader.irom_checksum) for file, slot in zip(elfs, slots)]
    roms = build(env, _builder(), targets, elfs, _RBOOT_PACKINGS=packings)
    apart(roms, [[file] for file in elfs])
    for rom, packing in zip(roms, packings):
        rom.attributes.rboot_packing = packing
    return roms


# SCons calls a variable's value with these names. One variable stands for all that an action depends on, as
# SCons's time to find nothing to do goes with their number.
def options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_IMAGE_OPTIONS: what ROMs depend on beside their ELFs."""
    return " ".join(
        f"{packing.slot} {packing.sections} {packing.params} {packing.irom_checksum}"
        for packing in env["_RBOOT_PACKINGS"]
    )


def _pack(target: Any, source: Any, env: Any) -> None:
    """Pack each target from its ELF: all of them, or none is there."""
    from ..rom.pack import irom, usage  # not for every build
    from ..views.rom import rom_table

    packed = []
    for node, packing in zip(target, env["_RBOOT_PACKINGS"]):
        try:
            packed.append((node, packing, packing.convert()))
        except RbootError as error:
            raise SCons.Errors.BuildError(node, str(error), filename=str(packing.elf)) from None
    try:
        for node, _, found in packed:
            write_atomic(Path(node.get_abspath()), found.rom.to_bytes())
    except OSError:
        for node in target:
            with contextlib.suppress(OSError):
                os.unlink(node.get_abspath())
        raise
    tables = []
    for node, packing, found in packed:
        for warning in found.warnings:
            sys.stderr.write(f"rboot: {packing.elf}: warning: {warning}\n")
        usages = usage(found.app, found.rom.size, packing.slot)
        tables.append(rom_table(str(node), packing.slot, irom(found.app).address, usages))
    if not env.GetOption("silent"):
        sys.stdout.write("".join(f"{table}\n" for table in tables))  # in one piece: other jobs print too

"""RbootImage: an ELF, whoever linked it -> a ROM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import SCons.Builder
import SCons.Errors
import SCons.Scanner
import SCons.Util

from .. import elf, report
from ..errors import LayoutError, RbootError
from ..files import write_atomic
from ..pack import irom, pack, usage, warnings
from .actions import action, rebuild_altered
from .variables import check_names, flash_map, header_params, slots_of


def builder() -> Any:
    """RbootImage: packs each target from its ELF, for its slot of $RBOOT_SLOT if that is set."""
    return SCons.Builder.Builder(
        action=action(_pack, "$RBOOTIMAGECOMSTR", "_RBOOT_IMAGE_OPTIONS"),
        emitter=_with_elf,
        target_scanner=SCons.Scanner.ScannerBase(_scan, "RbootImage"),
        suffix=".bin",
    )


# SCons calls a variable's value with these names. One variable stands for all that an action depends on, as
# SCons's time to find nothing to do goes with their number.
def options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_IMAGE_OPTIONS: what a ROM depends on beside its ELF."""
    try:
        found = flash_map(env)
        slots = slots_of(env, len(target))
        params = header_params(env, found)
    except LayoutError as error:
        return str(error)  # which the action raises again, where SCons prints it well
    return f"{slots} {params} {found.loader.irom_checksum} {env.subst('$RBOOT_SECTIONS')}"


def _with_elf(target: Any, source: Any, env: Any) -> tuple[Any, Any]:
    """The emitter: remembers which ELF each ROM is packed from."""
    check_names(env.Dictionary())
    elfs = source if len(source) == len(target) else source * len(target)
    if len(elfs) != len(target):
        raise SCons.Errors.UserError(
            f"rboot: {target[0]}: {len(source)} ELFs for {len(target)} ROMs; give one for each"
        )
    for node, file in zip(target, elfs):
        node.attributes.rboot_elf = file
    return target, source


def _scan(node: Any, env: Any, path: Any) -> list[Any]:
    rebuild_altered((node, *node.sources))
    return []


def _pack(target: Any, source: Any, env: Any) -> None:
    """Pack each target from its ELF: all of them, or none is written."""
    sections = SCons.Util.CLVar(env.subst("$RBOOT_SECTIONS")) or None
    found = flash_map(env)
    params = header_params(env, found)
    packed = []
    for node, slot in zip(target, slots_of(env, len(target))):
        file = node.attributes.rboot_elf
        try:
            app = elf.parse(Path(file.get_abspath()).read_bytes())
            packed.append((node, app, slot, pack(app, sections, params, found.loader.irom_checksum, slot)))
        except RbootError as error:
            raise SCons.Errors.BuildError(node, str(error), filename=str(file)) from None
    for node, app, slot, rom in packed:
        write_atomic(Path(node.get_abspath()), rom.to_bytes())
        for warning in warnings(app, rom):
            sys.stderr.write(f"rboot: {node.attributes.rboot_elf}: warning: {warning}\n")
        if not env.GetOption("silent"):
            # In one piece, line end and all: other jobs print too.
            sys.stdout.write(report.rom_table(str(node), slot, irom(app).address, usage(app, rom.size, slot)) + "\n")

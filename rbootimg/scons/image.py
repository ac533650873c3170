"""RbootImage: an ELF of any linker -> a ROM."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import SCons.Builder
import SCons.Errors
import SCons.Node
import SCons.Util

from ..errors import FitError, RbootError, SettingError, error_subject
from ..fileio import read_file, write_atomic
from ..layout.model import Slot
from ..layout.params import FlashParams
from ..views.messages import error_text, print_warning
from .actions import OWN_SCANNER, action, build, nodes, split_executor
from .variables import call_environment, get_layout, get_string, header_params, is_set, slots_of

if TYPE_CHECKING:
    from ..analysis.budget import Limit
    from ..rom.convert import Conversion
    from ..rom.elf import Elf
    from ..rom.format import Rom


class Packing(NamedTuple):
    """The ELF of a ROM, the options for packing it, and the limits for its memory usage."""

    elf: Any
    slot: Slot | None
    sections: tuple[str, ...]
    params: FlashParams
    irom_checksum: bool
    limits: tuple[Limit, ...] = ()

    def data(self) -> bytes:
        """Read the ELF's bytes. Raises OSError."""
        return read_file(self.elf.rfile().get_abspath())

    def read(self) -> Elf:
        """Read and parse the ELF. Raises ElfError or OSError."""
        from ..rom import elf

        return elf.parse_elf(self.data())

    def convert(self) -> Conversion:
        """Its ROM, with the checks that need the ELF's symbols. Raises ElfError, FitError or OSError."""
        from ..rom.convert import convert

        return convert(self.data(), self.sections or None, self.params, self.irom_checksum, self.slot)

    def pack(self, app: Elf) -> Rom:
        """Pack the parsed ELF. Raises ElfError or FitError."""
        from ..rom import pack

        return pack.pack(app, self.sections or None, self.params, self.irom_checksum, self.slot)


@functools.lru_cache
def _builder() -> Any:
    """The builder of RbootImage."""
    return SCons.Builder.Builder(
        name="_RbootImage",
        action=action(_pack, "$RBOOTIMAGECOMSTR", "_RBOOT_IMAGE_OPTIONS"),
        target_scanner=OWN_SCANNER,
        suffix=".bin",
    )


def rboot_image(env: Any, target: Any, source: Any = None, **overrides: object) -> Any:
    """Pack the ELF `source` into the ROM `target`, for $RBOOT_SLOT if set. Several targets need a list of slots.

    Without `source`, `target` is the ELF, and the ROM has its name with the suffix .bin. Raises SettingError.
    """
    env = call_environment(env, overrides)
    if source is None:
        source = nodes(env, "RbootImage", target)
        target = [node.dir.File(os.path.splitext(node.name)[0] + ".bin") for node in source]
    targets = env.Flatten([target])
    subject = str(targets[0]) if targets else "RbootImage"
    if not targets or not all(isinstance(name, (str, SCons.Node.Node)) for name in targets):
        raise SettingError("expected the name of the ROM as target", subject=f"RbootImage of {target!r}")
    elfs = nodes(env, subject, source)
    elfs = elfs if len(elfs) == len(targets) else elfs * len(targets)
    if len(elfs) != len(targets):
        raise SettingError(
            f"expected {len(targets)} ELFs, one for each ROM, got {len(elfs) // len(targets)}", subject=subject
        )
    with error_subject(subject):
        return images(env, targets, elfs, slots_of(env, len(targets)))


def images(env: Any, targets: list[Any], elfs: list[Any], slots: tuple[Slot | None, ...]) -> Any:
    """The nodes of ROMs, each packed from its ELF for its slot. Raises LayoutError or SettingError."""
    # Here and not in the action, where relative names would be those of another directory.
    layout = get_layout(env)
    params = header_params(env, layout)
    sections = tuple(SCons.Util.CLVar(get_string(env, "RBOOT_SECTIONS")))
    limits = _budget(env)
    packings = [
        Packing(file, slot, sections, params, layout.loader.irom_checksum, limits) for file, slot in zip(elfs, slots)
    ]
    roms = build(env, _builder(), targets, elfs, _RBOOT_PACKINGS=packings)
    split_executor(roms, [[file] for file in elfs])
    for rom, packing in zip(roms, packings):
        rom.attributes.rboot_packing = packing
    return roms


def _budget(env: Any) -> tuple[Limit, ...]:
    """The limits in $RBOOT_BUDGET, a dictionary or a string such as `IRAM=95% rom=460KB`. Raises SettingError."""
    if not is_set(env, "RBOOT_BUDGET"):
        return ()
    from ..analysis.budget import parse_limit  # not for every build

    value = env["RBOOT_BUDGET"]
    if isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        words = get_string(env, "RBOOT_BUDGET").replace(",", " ").split()
        pairs = [(memory, limit) for memory, _, limit in (word.partition("=") for word in words)]
    with error_subject("RBOOT_BUDGET"):
        return tuple(parse_limit(memory, limit) for memory, limit in pairs)


def _check_budget(packing: Packing, found: Conversion) -> None:
    """Raise FitError if the application exceeds a limit."""
    from ..analysis.budget import contributors, find_excesses
    from ..rom.pack import usage

    excesses = find_excesses(packing.limits, usage(found.app, found.rom.size, packing.slot))
    if excesses:
        from ..analysis.size import measure, symbol_names
        from ..rom.demangle import demangle
        from ..views.size import excess_text

        sizes = measure(packing.data())
        names = demangle(symbol_names(sizes))
        raise FitError("; ".join(excess_text(each, contributors(each, found.app, sizes), names) for each in excesses))


# SCons calls the function that is a variable's value with these argument names. One variable has all options, as
# SCons's time for a build with nothing to do grows with the number of variables that actions depend on.
def options(target: Any, source: Any, env: Any, for_signature: bool) -> str:
    """The value of $_RBOOT_IMAGE_OPTIONS: what ROMs depend on besides their ELFs."""
    return " ".join(
        f"{packing.slot} {packing.sections} {packing.params} {packing.irom_checksum}"
        + "".join(f" {limit.memory}={limit.text}" for limit in packing.limits)
        for packing in env["_RBOOT_PACKINGS"]
    )


def _pack(target: Any, source: Any, env: Any) -> None:
    """Pack each target from its ELF. On an error no ROM is left."""
    from ..rom.pack import irom, usage  # not for every build
    from .summary import add_roms

    packed = []
    for node, packing in zip(target, env["_RBOOT_PACKINGS"]):
        try:
            found = packing.convert()
            if packing.limits:
                _check_budget(packing, found)
            packed.append((node, packing, found))
        except RbootError as error:
            raise SCons.Errors.BuildError(node, error_text(str(error)), filename=str(packing.elf)) from None
    try:
        for node, _, found in packed:
            write_atomic(Path(node.get_abspath()), found.rom.to_bytes())
    except OSError:
        for node in target:
            with contextlib.suppress(OSError):
                os.unlink(node.get_abspath())
        raise
    usages = {}
    for node, packing, found in packed:
        for warning in found.warnings:
            print_warning(f"rboot: {packing.elf}", warning)
        usages[node] = irom(found.app).address, usage(found.app, found.rom.size, packing.slot)
    add_roms(env, usages)

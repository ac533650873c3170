"""PlatformIO's program: its link without its linker script, and firmware.elf and firmware.bin as ours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import SCons.Action

from ..fileio import write_atomic


def base_script(env: Any) -> str | None:
    """The path of the platform's linker script, None if its link has none. PlatformIO ends if it does not exist."""
    if list(without_script(env["LINKFLAGS"])) == list(env["LINKFLAGS"]):
        return None
    return str(env.GetActualLDScript())


def without_script(flags: Iterable[Any]) -> list[Any]:
    """The linker flags without -T SCRIPT."""
    kept: list[Any] = []
    words = iter(flags)
    for word in words:
        if word == "-T":
            next(words, None)
        elif not str(word).startswith("-Wl,-T"):
            kept.append(word)
    return kept


def use_first_slot(env: Any, rom: Any) -> None:
    """Let firmware.elf be the ELF of `rom`, that of slot 0, and PlatformIO measure it against that slot.

    So its debugger and its decoder of exceptions know what the device runs, if it runs slot 0.
    """
    packing = rom.attributes.rboot_packing
    script = packing.elf.attributes.rboot_ldscript
    replace(env, env["PIOMAINPROG"][0], packing.elf)
    # The platform espressif8266 takes the maximum size from the linker script, which is there when it measures.
    if base_script(env):
        env["LINKFLAGS"] = ["-T", script.get_abspath(), *without_script(env["LINKFLAGS"])]
    if "BOARD" in env:
        env.BoardConfig().update("upload.maximum_size", packing.slot.size)


def replace(env: Any, target: Any, built: Any) -> None:
    """Let the file `target` of PlatformIO be a copy of `built` instead of what its own builder would make."""
    [node] = env.arg2nodes(target, env.fs.File)
    if not node.has_builder():  # firmware.bin with `-t buildfs`
        return
    action = SCons.Action.Action(_copy, cmdstr="COPY     $TARGET")
    node.get_executor().set_action_list([action])
    node.attributes.rboot_copied = built
    env.Depends(node, built)


def _copy(target: Any, source: Any, env: Any) -> None:
    built = target[0].attributes.rboot_copied
    write_atomic(Path(target[0].get_abspath()), Path(built.get_abspath()).read_bytes())

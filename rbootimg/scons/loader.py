"""RbootLoader: our own boot loader, or rBoot from its sources, with the options of the layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import SCons.Builder
import SCons.Errors

from .. import elf, esptool2
from ..errors import LayoutError, RbootError
from ..files import write_atomic
from ..flash import CONFIG_ADDRESS, LoaderOptions
from ..loader import defines
from ..rom import RamSection, old_image
from .actions import OWN_SCANNER, action, build, nodes
from .variables import expand, flash_map, for_call, is_set, text

_OURS = Path(__file__).parents[1] / "firmware" / "loader"
_SECTIONS = (".text", ".rodata")
_NO_FLAGS = {"CFLAGS": "", "CPPFLAGS": "", "LIBS": [], "OBJPREFIX": "", "RBOOTLDSCRIPTCOMSTR": ""}
"""The user's flags are for the applications."""

# Those of rBoot's Makefile that decide what comes out; its code relies on them.
_RBOOT_FLAGS = "-Os -O3 -fno-inline-functions -D__ets__ -DICACHE_FLASH"
_RBOOT_LINK_FLAGS = "-Wl,--no-check-sections -u call_user_start"


def builders() -> dict[str, Any]:
    """The steps of RbootLoader that compile nothing."""
    return {
        "_RbootLoaderImage": SCons.Builder.Builder(
            action=action(_pack_loader, "$RBOOTIMAGECOMSTR"), target_scanner=OWN_SCANNER, suffix=".bin"
        ),
        "_RbootHeader": SCons.Builder.Builder(
            action=action(_write_header, "$RBOOTHEADERCOMSTR"), target_scanner=OWN_SCANNER, suffix=".h"
        ),
    }


def rboot_loader(env: Any, target: Any, **overrides: object) -> Any:
    """The boot loader for $RBOOT_LAYOUT's [loader], as the file `target`: ours, or rBoot from the folder $RBOOT_SRC."""
    env = for_call(env, overrides)
    try:
        options = flash_map(env).loader
        source = text(env, "RBOOT_SRC")
    except LayoutError as error:
        raise SCons.Errors.UserError(f"rboot: {target}: {error}") from None
    return _rboot(env, target, options, source) if source else _ours(env, target, options)


def default_loader(env: Any, options: LoaderOptions) -> Any:
    """$RBOOT_LOADER, or our own loader with these options, one for all that want it in this folder."""
    if is_set(env, "RBOOT_LOADER"):
        given = env["RBOOT_LOADER"]
        return nodes(env, "RBOOT_LOADER", expand(env, "RBOOT_LOADER", given) if isinstance(given, str) else given)[0]
    macros = defines(options).items()
    words = (f"{name.removeprefix('BOOT_').lower()}{'' if value is None else value}" for name, value in macros)
    loader = env.File("-".join(("loader", *words)) + ".bin")
    if not loader.has_builder():
        _ours(env, loader, options)
    return loader


def _ours(env: Any, target: Any, options: LoaderOptions) -> Any:
    stem = os.path.splitext(str(env.File(target)))[0]
    env = env.Override(
        {
            **_NO_FLAGS,
            "CCFLAGS": "-Os -ffreestanding",
            "CPPDEFINES": defines(options),
            "CPPPATH": [],
            "LINKFLAGS": "",
            "LIBPATH": [str(_OURS.parents[1] / "ld")],
        }
    )
    compiled = build(env, "Object", env.File(f"#{stem}.o"), env.File(str(_OURS / "loader.c")))
    script = env.File(str(_OURS / "loader.ld"))
    linked = build(env, "_RbootLink", env.File(f"#{stem}.elf"), compiled, RBOOT_LDSCRIPT=script)
    return build(env, "_RbootLoaderImage", target, linked)


def _rboot(env: Any, target: Any, options: LoaderOptions, source: str) -> Any:
    """As rBoot's Makefile does it: its second stage is linked first, and goes as a C header into the first."""
    folder = env.Dir(source)
    stem = os.path.splitext(str(env.File(target)))[0]
    # 1.4.2 has a linker script of its own, older versions one called like the SDK's.
    first, second = "rboot.ld", "rboot-stage2a.ld"
    if not os.path.exists(folder.File(first).get_abspath()):
        first = "eagle.app.v6.ld"
    for name in ("rboot.c", "rboot-stage2a.c", first, second):
        if not folder.File(name).exists():
            raise SCons.Errors.UserError(f"rboot: {target}: RBOOT_SRC ({source}) has no {name}; give rBoot's folder")
    made = f"{stem}-stage2a"
    env = env.Override(
        {
            **_NO_FLAGS,
            "CCFLAGS": _RBOOT_FLAGS,
            "CPPDEFINES": defines(options),
            "CPPPATH": [env.Dir(f"#{made}"), folder],
            "LINKFLAGS": _RBOOT_LINK_FLAGS,
            "LIBPATH": [],
        }
    )
    stage2 = build(env, "Object", env.File(f"#{made}/rboot-stage2a.o"), folder.File("rboot-stage2a.c"))
    linked = build(
        env, "_RbootLink", env.File(f"#{made}/rboot-stage2a.elf"), stage2, RBOOT_LDSCRIPT=folder.File(second)
    )
    header = build(env, "_RbootHeader", env.File(f"#{made}/rboot-hex2a.h"), linked)
    compiled = build(env, "Object", env.File(f"#{stem}.o"), folder.File("rboot.c"))
    env.Depends(compiled, header)
    whole = build(env, "_RbootLink", env.File(f"#{stem}.elf"), compiled, RBOOT_LDSCRIPT=folder.File(first))
    return build(env, "_RbootLoaderImage", target, whole)


def _write_header(target: Any, source: Any, env: Any) -> None:
    linked = elf.parse(Path(source[0].get_abspath()).read_bytes())
    write_atomic(Path(target[0].get_abspath()), esptool2.header(linked, (".text",)))


def _pack_loader(target: Any, source: Any, env: Any) -> None:
    linked = elf.parse(Path(source[0].get_abspath()).read_bytes())
    found = [section for name in _SECTIONS if (section := linked.find(name))]
    image = old_image(linked.entry, tuple(RamSection(section.address, section.data) for section in found))
    if len(image) > CONFIG_ADDRESS:
        raise RbootError(
            f"the loader has {len(image):,} bytes, but the config sector stands at {CONFIG_ADDRESS:#x}; "
            "leave options out"
        )
    write_atomic(Path(target[0].get_abspath()), image)

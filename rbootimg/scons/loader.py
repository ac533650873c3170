"""RbootLoader: our own boot loader, or rBoot from its sources, with the options of the layout."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import SCons.Action
import SCons.Builder
import SCons.Errors
import SCons.Node
import SCons.Subst

from ..errors import RbootError, SettingError, error_subject
from ..fileio import write_atomic
from ..flash.macros import defines
from ..layout.memory import CONFIG_ADDRESS
from ..layout.model import LoaderOptions
from .actions import OWN_SCANNER, action, build, generated, one_node, own_file
from .compiler import COMMANDS
from .link import BASE_SCRIPT, link_builder
from .variables import FLAGS, expand, flash_map, for_call, is_set, literal, text

_OURS = Path(__file__).parents[1] / "firmware" / "loader"
# The user's flags and link command are for the applications.
_COMMAND = (
    f"$CC -o $TARGET -Os -ffreestanding {FLAGS['RBOOT_CCFLAGS']} $_CPPDEFFLAGS {FLAGS['RBOOT_LINKFLAGS']} "
    "$_RBOOT_LOADER_SCRIPT $SOURCE"
)
_SECTIONS = (".text", ".rodata")
_OUR_FLAGS = {
    **FLAGS,
    **COMMANDS,
    "CFLAGS": "",
    "CPPFLAGS": "",
    "LIBS": [],
    "OBJPREFIX": "",
    "RBOOTLDSCRIPTCOMSTR": "",
    "RBOOT_MAP": "",
}

# Those of rBoot's Makefile that decide what comes out; its code relies on them.
_RBOOT_FLAGS = "-Os -O3 -ffreestanding -fno-inline-functions -D__ets__ -DICACHE_FLASH"
_RBOOT_LINK_FLAGS = "-Wl,--no-check-sections -u call_user_start"


@functools.lru_cache
def _program_builder() -> Any:
    """The step that compiles and links our own loader."""
    act = SCons.Action.Action(_COMMAND, cmdstr="$RBOOTLOADERCOMSTR")
    return SCons.Builder.Builder(name="_RbootOwnLoader", action=act, target_scanner=OWN_SCANNER)


@functools.lru_cache
def _image_builder() -> Any:
    """The step that packs a loader, ours or rBoot."""
    act = action(_pack_loader, "$RBOOTIMAGECOMSTR")
    return SCons.Builder.Builder(name="_RbootLoaderImage", action=act, target_scanner=OWN_SCANNER, suffix=".bin")


@functools.lru_cache
def _header_builder() -> Any:
    """The step that writes rBoot's second stage as a header for the first."""
    act = action(_write_header, "$RBOOTHEADERCOMSTR")
    return SCons.Builder.Builder(name="_RbootHeader", action=act, target_scanner=OWN_SCANNER, suffix=".h")


def rboot_loader(env: Any, target: Any, **overrides: object) -> Any:
    """The boot loader for $RBOOT_LAYOUT's [loader], as the file `target`: ours, or rBoot from the folder $RBOOT_SRC."""
    env = for_call(env, overrides)
    if not isinstance(target, (str, SCons.Node.Node)) or str(target).endswith(".elf"):
        raise SettingError("name the loader, such as rboot.bin", subject=f"RbootLoader of {target!r}")
    with error_subject(target):
        options = flash_map(env).loader
        source = text(env, "RBOOT_SRC")
    return _rboot(env, target, options, source) if source else _ours(env, target, options)


def default_loader(env: Any, options: LoaderOptions) -> Any:
    """$RBOOT_LOADER, or our own loader with these options, one for all that want it in the project."""
    if is_set(env, "RBOOT_LOADER"):
        given = env["RBOOT_LOADER"]
        given = literal(expand(env, "RBOOT_LOADER", given)) if isinstance(given, str) else given
        return one_node(env, "RBOOT_LOADER", given)
    macros = defines(options).items()
    words = (f"{name.removeprefix('BOOT_').lower()}{'' if value is None else value}" for name, value in macros)
    loader = generated(env, "-".join(("loader", *words)) + ".bin")
    if not loader.has_builder():
        _ours(env, loader, options)
        for node in (loader, *loader.sources):
            env.Ignore(node.dir, node)  # it is built for those that want it
    return loader


def _ours(env: Any, target: Any, options: LoaderOptions) -> Any:
    # One command, so that it is in no list of compile commands and no object gets in anybody's way.
    script, functions = own_file(env, _OURS / "loader.ld"), own_file(env, BASE_SCRIPT.parent / "maskrom.ld")
    flags = [SCons.Subst.Literal(word) for word in (f"-L{functions.dir}", "-T", str(script))]
    # Without the user's include paths: they are not for ours, which SCons would otherwise look for there.
    env = env.Override({"CPPDEFINES": defines(options), "CPPPATH": [], "_RBOOT_LOADER_SCRIPT": flags})
    program = build(env, _program_builder(), _beside(env, target, ".elf"), own_file(env, _OURS / "loader.c"))
    env.Depends(program, [script, functions])
    return build(env, _image_builder(), target, program)


def _rboot(env: Any, target: Any, options: LoaderOptions, source: str) -> Any:
    """As rBoot's Makefile does it: its second stage is linked first, and goes as a C header into the first."""
    try:
        folder = env.Dir(literal(source))
    except (TypeError, ValueError) as error:  # which SCons raises for what is a file, or no name
        raise SettingError(str(error), subject=f"{target}: RBOOT_SRC") from None
    # 1.4.2 has a linker script of its own, older versions one called like the SDK's.
    first, second = "rboot.ld", "rboot-stage2a.ld"
    if not os.path.exists(folder.File(first).get_abspath()):
        first = "eagle.app.v6.ld"
    for name in ("rboot.c", "rboot-stage2a.c", first, second):
        if not folder.File(name).exists():
            raise SettingError(f"RBOOT_SRC ({source}) has no {name}; give rBoot's folder", subject=target)
    header = _beside(env, target, "-stage2a/rboot-hex2a.h")
    made, sdk = header.dir, own_file(env, _OURS / "sdk" / "c_types.h").dir
    env = env.Override(
        {
            **_OUR_FLAGS,
            "CCFLAGS": _RBOOT_FLAGS,
            "CPPDEFINES": defines(options),
            # The user's have an SDK's c_types.h and eagle.rom.addr.v6.ld, perhaps; behind them are some that will do.
            "CPPPATH": [made, folder, *env.Flatten([env.get("CPPPATH") or []]), sdk],
            "LINKFLAGS": _RBOOT_LINK_FLAGS,
            "LIBPATH": [*env.Flatten([env.get("LIBPATH") or []]), sdk, own_file(env, BASE_SCRIPT).dir],
        }
    )
    stage2 = build(env, "Object", made.File("rboot-stage2a.o"), folder.File("rboot-stage2a.c"))
    linked = build(env, link_builder(), made.File("rboot-stage2a.elf"), stage2, RBOOT_LDSCRIPT=folder.File(second))
    build(env, _header_builder(), header, linked)
    compiled = build(env, "Object", _beside(env, target, ".o"), folder.File("rboot.c"))
    env.Depends(compiled, header)
    whole = build(env, link_builder(), _beside(env, target, ".elf"), compiled, RBOOT_LDSCRIPT=folder.File(first))
    return build(env, _image_builder(), target, whole)


def _beside(env: Any, target: Any, suffix: str) -> Any:
    """The file beside `target` that is called like it, but with another suffix."""
    node = target if isinstance(target, SCons.Node.Node) else env.File(target)
    return node.dir.File(os.path.splitext(node.name)[0] + suffix)


def _write_header(target: Any, source: Any, env: Any) -> None:
    from ..rom import elf, esptool2  # not for every build

    linked = elf.parse_elf(Path(source[0].get_abspath()).read_bytes())
    write_atomic(Path(target[0].get_abspath()), esptool2.header(linked, (".text",)))


def _pack_loader(target: Any, source: Any, env: Any) -> None:
    from ..rom import elf
    from ..rom.format import RamSection, old_image

    linked = elf.parse_elf(Path(source[0].get_abspath()).read_bytes())
    found = [section for name in _SECTIONS if (section := linked.find(name))]
    image = old_image(linked.entry, tuple(RamSection(section.address, section.data) for section in found))
    if len(image) > CONFIG_ADDRESS:
        raise RbootError(
            f"the loader has {len(image):,} bytes, but the config sector stands at {CONFIG_ADDRESS:#x}; "
            "leave options out"
        )
    write_atomic(Path(target[0].get_abspath()), image)

"""RbootLoader: our own boot loader, or rBoot from its sources, with the loader options of the layout."""

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

from ..errors import LoaderError, SettingError, error_subject
from ..fileio import write_atomic
from ..flash.macros import defines
from ..layout.memory import CONFIG_ADDRESS
from ..layout.model import LoaderOptions
from .actions import OWN_SCANNER, action, build, generated_file, package_file, variable_node
from .compiler import COMMANDS
from .link import BASE_SCRIPT, link_builder
from .variables import FLAGS, call_environment, escape_dollars, get_layout, get_string

_OURS = Path(__file__).parents[1] / "firmware" / "loader"
# Without the user's flags and link command, which are for applications.
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

# The flags of rBoot's Makefile that change its code, which relies on them.
_RBOOT_FLAGS = "-Os -O3 -ffreestanding -fno-inline-functions -D__ets__ -DICACHE_FLASH"
_RBOOT_LINK_FLAGS = "-Wl,--no-check-sections -u call_user_start"


@functools.lru_cache
def _program_builder() -> Any:
    """The builder that compiles and links our own loader."""
    act = SCons.Action.Action(_COMMAND, cmdstr="$RBOOTLOADERCOMSTR")
    return SCons.Builder.Builder(name="_RbootOwnLoader", action=act, target_scanner=OWN_SCANNER)


@functools.lru_cache
def _image_builder() -> Any:
    """The builder that packs a loader, ours or rBoot."""
    act = action(_pack_loader, "$RBOOTIMAGECOMSTR")
    return SCons.Builder.Builder(name="_RbootLoaderImage", action=act, target_scanner=OWN_SCANNER, suffix=".bin")


@functools.lru_cache
def _header_builder() -> Any:
    """The builder that writes rBoot's second stage as a C header for the first stage."""
    act = action(_write_header, "$RBOOTHEADERCOMSTR")
    return SCons.Builder.Builder(name="_RbootHeader", action=act, target_scanner=OWN_SCANNER, suffix=".h")


def rboot_loader(env: Any, target: Any, **overrides: object) -> Any:
    """Build the boot loader `target`: our own, or rBoot from the directory $RBOOT_SRC, with the layout's options."""
    env = call_environment(env, overrides)
    if not isinstance(target, (str, SCons.Node.Node)) or str(target).endswith(".elf"):
        raise SettingError("expected a file name as target, e.g. rboot.bin", subject=f"RbootLoader of {target!r}")
    with error_subject(target):
        options = get_layout(env).loader
        source = get_string(env, "RBOOT_SRC")
    return _rboot_loader(env, target, options, source) if source else _own_loader(env, target, options)


def default_loader(env: Any, options: LoaderOptions) -> Any:
    """The node of $RBOOT_LOADER, else of the project's own loader with these options. Raises SettingError."""
    if given := variable_node(env, "RBOOT_LOADER"):
        return given
    macros = defines(options).items()
    words = (f"{name.removeprefix('BOOT_').lower()}{'' if value is None else value}" for name, value in macros)
    loader = generated_file(env, "-".join(("loader", *words)) + ".bin")
    if not loader.has_builder():
        _own_loader(env, loader, options)
        for node in (loader, *loader.sources):
            env.Ignore(node.dir, node)  # not a default target: only for those that depend on it
    return loader


def _own_loader(env: Any, target: Any, options: LoaderOptions) -> Any:
    # One command without an object: the loader is in no list of compile commands, and no object can conflict.
    script, functions = package_file(env, _OURS / "loader.ld"), package_file(env, BASE_SCRIPT.parent / "maskrom.ld")
    flags = [SCons.Subst.Literal(word) for word in (f"-L{functions.dir}", "-T", str(script))]
    # Without the user's include paths, where SCons would otherwise search for our headers.
    env = env.Override({"CPPDEFINES": defines(options), "CPPPATH": [], "_RBOOT_LOADER_SCRIPT": flags})
    program = build(env, _program_builder(), _sibling(env, target, ".elf"), package_file(env, _OURS / "loader.c"))
    env.Depends(program, [script, functions])
    return build(env, _image_builder(), target, program)


def _rboot_loader(env: Any, target: Any, options: LoaderOptions, source: str) -> Any:
    """rBoot, built as by its Makefile: the second stage is linked first and becomes a C header of the first stage."""
    try:
        directory = env.Dir(escape_dollars(source))
    except (TypeError, ValueError) as error:  # SCons raises these for a file and for an invalid name
        raise SettingError(str(error), subject=f"{target}: RBOOT_SRC") from None
    # The linker script of rBoot 1.4.2 is rboot.ld; in older versions it has the name of the SDK's.
    first, second = "rboot.ld", "rboot-stage2a.ld"
    if not os.path.exists(directory.File(first).get_abspath()):
        first = "eagle.app.v6.ld"
    for name in ("rboot.c", "rboot-stage2a.c", first, second):
        if not directory.File(name).exists():
            raise SettingError(
                f"no {name} in {source!r}: expected the directory of rBoot's sources", subject=f"{target}: RBOOT_SRC"
            )
    header = _sibling(env, target, "-stage2a/rboot-hex2a.h")
    made, sdk = header.dir, package_file(env, _OURS / "sdk" / "c_types.h").dir
    env = env.Override(
        {
            **_OUR_FLAGS,
            "CCFLAGS": _RBOOT_FLAGS,
            "CPPDEFINES": defines(options),
            # The user's paths may have the SDK's c_types.h and eagle.rom.addr.v6.ld; ours come after them.
            "CPPPATH": [made, directory, *env.Flatten([env.get("CPPPATH") or []]), sdk],
            "LINKFLAGS": _RBOOT_LINK_FLAGS,
            "LIBPATH": [*env.Flatten([env.get("LIBPATH") or []]), sdk, package_file(env, BASE_SCRIPT).dir],
        }
    )
    stage2 = build(env, "Object", made.File("rboot-stage2a.o"), directory.File("rboot-stage2a.c"))
    linked = build(env, link_builder(), made.File("rboot-stage2a.elf"), stage2, RBOOT_LDSCRIPT=directory.File(second))
    build(env, _header_builder(), header, linked)
    compiled = build(env, "Object", _sibling(env, target, ".o"), directory.File("rboot.c"))
    env.Depends(compiled, header)
    linked = build(env, link_builder(), _sibling(env, target, ".elf"), compiled, RBOOT_LDSCRIPT=directory.File(first))
    return build(env, _image_builder(), target, linked)


def _sibling(env: Any, target: Any, suffix: str) -> Any:
    """The node of the file beside `target` with the same stem and another suffix."""
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
    sections = [section for name in _SECTIONS if (section := linked.find(name))]
    image = old_image(linked.entry, tuple(RamSection(section.address, section.data) for section in sections))
    if len(image) > CONFIG_ADDRESS:
        raise LoaderError(
            f"loader has {len(image):,} bytes: expected at most {CONFIG_ADDRESS:,} (up to the config sector); "
            "remove options from the layout's [loader]"
        )
    write_atomic(Path(target[0].get_abspath()), image)

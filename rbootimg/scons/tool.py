"""What SCons loads: the tool `rboot`.

Builders and methods that `generate` adds to an environment:

    RbootApp(name, sources)             compile once, link and pack for each slot, publish
    RbootRom(target, sources)           compile, link and pack for $RBOOT_SLOT alone, such as a recovery ROM
    RbootLinkerScript(target, base)     a base linker script -> the one for $RBOOT_SLOT
    RbootProgram(target, sources)       link with $RBOOT_LDSCRIPT as it is
    RbootImage(target, elf)             pack an ELF, whoever linked it
    RbootPublish(name, roms)            what `scons publish` puts into the web root
    RbootLoader(target)                 the boot loader with the layout's options
    RbootOtaClient(port)                the update client for the chip, for the sources of an RbootApp
    RbootVersionHeader()                a C header with $RBOOT_VERSION
    RbootFlashImage(target, roms)       the whole flash, for `scons flash` and `scons boot`
"""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import SCons.Environment
import SCons.Script

from .._version import __version__
from ..views.tables import Heading, Table, plain
from . import app, client, compiler, device, image, link, loader, publish, targets, versionheader
from .users import for_users
from .variables import FLAGS, VARIABLES, check_arguments, check_names, typed, version_of

_MESSAGES = {
    "RBOOTLDSCRIPTCOMSTR": "Writing linker script $TARGET",
    "RBOOTIMAGECOMSTR": "Packing $TARGET",
    "RBOOTPUBLISHCOMSTR": "Publishing",
    "RBOOTLOADERCOMSTR": "Building the boot loader $TARGET",
    "RBOOTBIGFLASHCOMSTR": "Building $TARGET",
    "RBOOTHEADERCOMSTR": "Writing $TARGET",
    "RBOOTFLASHIMAGECOMSTR": "Putting $TARGET together",
    "RBOOTRELEASESCOMSTR": "Releases",
    "RBOOTROLLBACKCOMSTR": "Rolling back",
    "RBOOTSERVECOMSTR": "Serving; Ctrl-C ends it",
    "RBOOTPROVECOMSTR": "Proving",
    "RBOOTFLASHCOMSTR": "Writing the device",
    "RBOOTBOOTCOMSTR": "Booting $SOURCE; Ctrl-C ends it",
}
_INTERNAL = {
    "_RBOOT_VERSION": __version__,
    "_RBOOT_LDSCRIPT": link.script_flags,
    "_RBOOT_MAP": link.map_flags,
    "_RBOOT_IMAGE_OPTIONS": image.options,
    "_RBOOT_FLASH_OPTIONS": device.flash_options,
}


def exists(env: Any) -> bool:
    """SCons asks whether the tool can be used; packing needs no compiler, so it always can."""
    return True


@for_users
def generate(env: Any, **keywords: object) -> None:
    """Set up `env`: the cross compiler, the builders, and a default for each RBOOT_ variable.

    A variable's value comes from the command line (`scons RBOOT_FLASH_SIZE=4MB`), else from the environment, else from
    `keywords`, else it is the default. Raises SettingError for an unknown one.
    """
    # SCons makes some million objects that stay: to look through them again and again takes a tenth of a build with
    # nothing to do (500 applications, 5 pairs in turn).
    gc.set_threshold(max(gc.get_threshold()[0], 50_000), *gc.get_threshold()[1:])
    check_names((*keywords, *env.Dictionary()))
    check_arguments(SCons.Script.ARGUMENTS)
    if "_RBOOT_VERSION" in env:  # loaded again, with other settings
        env.Replace(**keywords)
    env.SetDefault(**keywords)
    defaults = {name: "" if name.startswith("RBOOT_FLASH_") else default for name, default, _ in VARIABLES}
    for name, default in {**defaults, **FLAGS}.items():
        env.SetDefault(**{name: default})
    env.Replace(**typed())
    env["RBOOT_VERSION"] = version_of(env)
    _keep(env, (*typed(), "RBOOT_VERSION"))
    env.SetDefault(**_MESSAGES)
    env.Replace(**_INTERNAL)
    compiler.set_up(env)
    for method, name in (
        (app.rboot_app, "RbootApp"),
        (app.rboot_rom, "RbootRom"),
        (app.rboot_program, "RbootProgram"),
        (link.rboot_linker_script, "RbootLinkerScript"),
        (image.rboot_image, "RbootImage"),
        (publish.rboot_publish, "RbootPublish"),
        (loader.rboot_loader, "RbootLoader"),
        (client.rboot_ota_client, "RbootOtaClient"),
        (versionheader.rboot_version_header, "RbootVersionHeader"),
        (device.rboot_flash_image, "RbootFlashImage"),
    ):
        env.AddMethod(for_users(_with_compiler(method), name), name)
    targets.explain_missing(env)
    _add_extras(env)


def _keep(env: Any, names: Iterable[str]) -> None:
    """Let variables stay as they are.

    Environment() puts its keywords back when all tools are loaded: from its `save`.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code is not SCons.Environment.Base.__init__.__code__:
        frame = frame.f_back
    if frame and isinstance(keywords := frame.f_locals.get("save"), dict):
        keywords.update({name: env[name] for name in names if name in keywords})


def _with_compiler(method: Callable[..., Any]) -> Callable[..., Any]:
    """`method` of an environment in which the cross compiler is set up, whichever tool came last."""

    @functools.wraps(method)
    def call(env: Any, *arguments: Any, **keywords: Any) -> Any:
        compiler.ensure(env)
        changed = {name: value for name, value in typed().items() if env.get(name) != value}
        if changed:
            env.Replace(**changed)
        if env.get("RBOOT_VERSION") != (found := version_of(env)):  # which may be set after the tool was loaded
            env["RBOOT_VERSION"] = found
        return method(env, *arguments, **keywords)

    return call


def _add_extras(env: Any) -> None:
    """What a project has once, however often the tool is loaded: the compile commands and the help."""
    if env.GetOption("clean") and targets.is_sconss_database(Path(env.Dir("#").get_abspath())):
        env.Clean(env.Dir("#"), f"#{targets.COMPILE_COMMANDS}")
    text = _help()
    if text not in (SCons.Script.help_text or ""):
        _append_help(text)


def _append_help(text: str) -> None:
    try:
        SCons.Script.HelpFunction(text, append=True, local_only=True)
    except TypeError:  # SCons before 4.9.1 calls it keep_local
        SCons.Script.HelpFunction(text, append=True, keep_local=True)


def _help() -> str:
    targets = (
        ("(none), roms", "build the ROMs of each slot"),
        ("publish", "put the ROMs into the web root"),
        ("releases", "list the releases in the web root"),
        ("rollback", "make the previous release current again"),
        ("serve", "serve the web root to the devices on the desk"),
        ("prove", "verify in QEMU that the ROMs boot, with every byte in place"),
        ("flash", "write the flash image to a device"),
        ("boot", "run the flash image in the emulator"),
        ("compile_commands.json", "the compile commands, for editors"),
    )
    variables = ((name, f"{text}{f' [{default}]' if default else ''}") for name, default, text in VARIABLES)
    lines = ["", plain((Heading("rBoot targets:"), Table((), targets, "<<")))]
    lines += ["  publish-APP, prove-APP, rollback-APP, flash-IMAGE, boot-IMAGE: for one of several", ""]
    heading = "rBoot variables, set in the SConstruct; NAME=VALUE on the command line goes before that:"
    lines.append(plain((Heading(heading), Table((), tuple(variables), "<<"))))
    lines.append("  RBOOT_FILES, RBOOT_RECOVERY, RBOOT_SLOT: in the SConstruct only, see the README")
    lines.append("  RBOOT_CCFLAGS, RBOOT_ASFLAGS, RBOOT_LINKFLAGS: what the chip needs, before your own flags")
    lines.append("  RBOOT_LINK_INPUTS: libraries and objects in the order in which they are linked")
    return "\n".join(lines) + "\n"

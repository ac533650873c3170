"""The tool `rboot`, as SCons loads it.

Builders and methods that `generate` adds to an environment:

    RbootApp(name, sources)             compile once; link, pack and publish for each slot
    RbootRom(target, sources)           compile, link and pack for $RBOOT_SLOT alone, such as a recovery ROM
    RbootLinkerScript(target, base)     write the linker script for $RBOOT_SLOT, from a base script
    RbootProgram(target, sources)       compile and link with the unchanged $RBOOT_LDSCRIPT
    RbootImage(target, elf)             pack an ELF of any linker
    RbootPublish(name, roms)            publish ROMs with `scons publish`
    RbootLoader(target)                 build the boot loader with the layout's options
    RbootOtaClient(port)                compile the update client, for the sources of an RbootApp
    RbootVersionHeader()                write a C header with $RBOOT_VERSION
    RbootFlashImage(target, roms)       assemble a flash image, for `scons flash` and `scons boot`
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
import SCons.Node.FS
import SCons.Script

from .._version import __version__
from ..views.tables import Heading, Table, plain
from . import app, client, compiler, device, image, link, loader, publish, targets, versionheader
from .users import convert_errors
from .variables import FLAGS, VARIABLES, check_arguments, check_names, command_line_variables, version_of

_MESSAGES = {
    "RBOOTLDSCRIPTCOMSTR": "Writing linker script $TARGET",
    "RBOOTIMAGECOMSTR": "Packing $TARGET",
    "RBOOTPUBLISHCOMSTR": "Publishing",
    "RBOOTLOADERCOMSTR": "Building the boot loader $TARGET",
    "RBOOTBIGFLASHCOMSTR": "Building $TARGET",
    "RBOOTHEADERCOMSTR": "Writing $TARGET",
    "RBOOTFLASHIMAGECOMSTR": "Assembling $TARGET",
    "RBOOTRELEASESCOMSTR": "Releases",
    "RBOOTROLLBACKCOMSTR": "Rolling back",
    "RBOOTSERVECOMSTR": "Serving; press Ctrl-C to stop",
    "RBOOTPROVECOMSTR": "Proving",
    "RBOOTFLASHCOMSTR": "Writing $SOURCE to the device",
    "RBOOTBOOTCOMSTR": "Booting $SOURCE; press Ctrl-C to stop",
}
METHODS: dict[str, Callable[..., Any]] = {
    "RbootApp": app.rboot_app,
    "RbootRom": app.rboot_rom,
    "RbootProgram": app.rboot_program,
    "RbootLinkerScript": link.rboot_linker_script,
    "RbootImage": image.rboot_image,
    "RbootPublish": publish.rboot_publish,
    "RbootLoader": loader.rboot_loader,
    "RbootOtaClient": client.rboot_ota_client,
    "RbootVersionHeader": versionheader.rboot_version_header,
    "RbootFlashImage": device.rboot_flash_image,
}
"""The methods that the tool adds to an environment, by name."""

_INTERNAL = {
    "_RBOOT_VERSION": __version__,
    "_RBOOT_LDSCRIPT": link.script_flags,
    "_RBOOT_MAP": link.map_flags,
    "_RBOOT_IMAGE_OPTIONS": image.options,
    "_RBOOT_FLASH_OPTIONS": device.flash_options,
}


def exists(env: Any) -> bool:
    """Tell SCons that the tool can be used. Always, as packing needs no compiler."""
    return True


@convert_errors
def generate(env: Any, **keywords: object) -> None:
    """Set up `env`: the cross compiler, the builders, and a default for each RBOOT_ variable.

    The value of a variable is that of the command line (`scons RBOOT_FLASH_SIZE=4MB`), else of the environment, else of
    `keywords`, else the default. Raises SettingError for an unknown variable.
    """
    # SCons creates a million objects that stay alive. With the default threshold, garbage collections of them take a
    # tenth of a build with nothing to do (500 applications, 5 pairs in turn).
    gc.set_threshold(max(gc.get_threshold()[0], 50_000), *gc.get_threshold()[1:])
    check_names((*keywords, *env.Dictionary()))
    check_arguments(SCons.Script.ARGUMENTS)
    if "_RBOOT_VERSION" in env:  # the tool is loaded again, with other settings
        env.Replace(**keywords)
    env.SetDefault(**keywords)
    defaults = {name: "" if name.startswith("RBOOT_FLASH_") else default for name, default, _ in VARIABLES}
    for name, default in {**defaults, **FLAGS}.items():
        env.SetDefault(**{name: default})
    env.Replace(**command_line_variables())
    env["RBOOT_VERSION"] = version_of(env)
    _keep_values(env, (*command_line_variables(), "RBOOT_VERSION"))
    env.SetDefault(**_MESSAGES)
    env.Replace(**_INTERNAL)
    compiler.set_up(env)
    for name, method in METHODS.items():
        env.AddMethod(convert_errors(_prepare_environment(method), name), name)
    targets.explain_missing(env)
    _add_extras(env)
    _use_for_directories(env)


def _use_for_directories(env: Any) -> None:
    """Let SCons scan directories with `env`: they have none, so it would make its default environment for them."""
    for owner in (SCons.Node.FS.get_MkdirBuilder(), env.fs.Top.get_executor()):
        if owner.env is None:
            owner.env = env


def _keep_values(env: Any, names: Iterable[str]) -> None:
    """Keep the values of variables that Environment() had as keywords too.

    It sets its keywords again after all tools are loaded, from its local variable `save`.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code is not SCons.Environment.Base.__init__.__code__:
        frame = frame.f_back
    if frame and isinstance(keywords := frame.f_locals.get("save"), dict):
        keywords.update({name: env[name] for name in names if name in keywords})


def _prepare_environment(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `method` so that tools loaded after ours and variables changed since then are taken into account first."""

    @functools.wraps(method)
    def call(env: Any, *arguments: Any, **keywords: Any) -> Any:
        compiler.ensure_set_up(env)
        changed = {name: value for name, value in command_line_variables().items() if env.get(name) != value}
        if changed:
            env.Replace(**changed)
        if env.get("RBOOT_VERSION") != (version := version_of(env)):
            env["RBOOT_VERSION"] = version
        return method(env, *arguments, **keywords)

    return call


def _add_extras(env: Any) -> None:
    """Add what a project has once, however often the tool is loaded: compile commands and help."""
    if env.GetOption("clean") and targets.is_scons_compile_database(Path(env.Dir("#").get_abspath())):
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
    target_rows = (
        ("(none), roms", "build the ROMs of each slot"),
        ("publish", "publish the ROMs to the web root"),
        ("releases", "list the releases in the web root"),
        ("rollback", "make the previous release current again"),
        ("serve", "run a development server for the web root"),
        ("prove", "verify in QEMU that the ROMs boot, with every byte in place"),
        ("flash", "write the flash image to a device"),
        ("boot", "run the flash image in QEMU"),
        ("compile_commands.json", "write the compile commands, for editors"),
        ("publish-APP", "publish one application; also prove-APP, rollback-APP"),
        ("flash-IMAGE", "write one of several flash images; also boot-IMAGE"),
    )
    variable_rows = (
        *((name, f"{text}{f' [{default}]' if default else ''}") for name, default, text in VARIABLES),
        ("RBOOT_FILES", "files for the regions of a flash image (SConstruct only)"),
        ("RBOOT_RECOVERY", "recovery ROM of a release (SConstruct only)"),
        ("RBOOT_SLOT", "slot of a single ROM or linker script (SConstruct only)"),
        ("RBOOT_CCFLAGS", "compiler flags that the chip needs, before CCFLAGS"),
        ("RBOOT_ASFLAGS", "assembler flags that the chip needs, before ASFLAGS"),
        ("RBOOT_LINKFLAGS", "linker flags that the chip needs, before LINKFLAGS"),
        ("RBOOT_LINK_INPUTS", "libraries and objects in link order"),
    )
    lines = ["", plain((Heading("rBoot targets:"), Table((), target_rows, "<<"))), ""]
    heading = "rBoot variables (NAME=VALUE on the command line overrides the SConstruct):"
    lines.append(plain((Heading(heading), Table((), variable_rows, "<<"))))
    return "\n".join(lines) + "\n"

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
    RbootFileSystem(target, directory, region)  make a LittleFS image
"""

from __future__ import annotations

import atexit
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
from . import app, client, compiler, device, image, link, loader, messages, publish, targets, versionheader
from .users import convert_errors
from .variables import (
    FLAGS,
    VARIABLE_GROUPS,
    VARIABLES,
    Variable,
    check_arguments,
    check_names,
    command_line_variables,
    get_bool,
    version_of,
)

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
    "RbootFileSystem": device.rboot_file_system,
}
"""The methods that the tool adds to an environment, by name."""

_INTERNAL = {
    "_RBOOT_VERSION": __version__,
    "_RBOOT_LDSCRIPT": link.script_flags,
    "_RBOOT_MAP": link.map_flags,
    "_RBOOT_IMAGE_OPTIONS": image.options,
    "_RBOOT_FLASH_OPTIONS": device.flash_options,
    "_RBOOT_WEB_ROOTS": messages.web_roots,
    "_RBOOT_PROVED_APPS": messages.proved_apps,
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
    defaults = {each.name: "" if each.name.startswith("RBOOT_FLASH_") else each.default for each in VARIABLES}
    for name, default in {**defaults, **FLAGS}.items():
        env.SetDefault(**{name: default})
    env.Replace(**command_line_variables())
    env["RBOOT_VERSION"] = version_of(env)
    _keep_values(env, (*command_line_variables(), "RBOOT_VERSION"))
    env.SetDefault(**messages.MESSAGES)
    get_bool(env, "RBOOT_VERBOSE")  # to report an invalid value here
    env.Replace(**_INTERNAL)
    compiler.set_up(env)
    for name, method in METHODS.items():
        env.AddMethod(convert_errors(_prepare_environment(method), name), name)
    targets.explain_missing(env)
    _print_summary_at_exit(env)
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


def _print_summary_at_exit(env: Any) -> None:
    """Print the summary when SCons ends, once for a project. Not as a target, which would take part in each build."""
    attributes = env.fs.Top.attributes
    if not hasattr(attributes, "rboot_packed"):
        attributes.rboot_packed = []
        atexit.register(_print_summary, env)


def _print_summary(env: Any) -> None:
    if env.fs.Top.attributes.rboot_packed or SCons.Script.GetBuildFailures():
        from . import summary  # not for every build

        summary.print_at_exit(env)


def _append_help(text: str) -> None:
    try:
        SCons.Script.HelpFunction(text, append=True, local_only=True)
    except TypeError:  # SCons before 4.9.1 calls it keep_local
        SCons.Script.HelpFunction(text, append=True, keep_local=True)


def _help() -> str:
    """The help about targets and variables, all in the same two columns."""
    groups = [("rBoot targets", targets.TARGETS)]
    for title, variables in VARIABLE_GROUPS.items():
        groups.append((title, tuple((each.name, _describe(each)) for each in variables)))
    width = max(len(name) for _, rows in groups for name, _ in rows)
    blocks: list[Heading | Table] = []
    for title, rows in groups:
        blocks += (Heading(f"{title}:"), Table((), tuple((f"{name:{width}}", text) for name, text in rows), "<<"))
    blocks.insert(2, Heading("rBoot variables (NAME=VALUE on the command line overrides the SConstruct)"))
    return f"\n{plain(blocks)}\n"


def _describe(variable: Variable) -> str:
    default = f" [{variable.default}]" if variable.default else ""
    return f"{variable.help}{default}{' (SConstruct only)' if variable.in_sconstruct_only else ''}"

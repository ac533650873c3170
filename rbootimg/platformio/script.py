"""What `rboot.py` does in PlatformIO's build: before the platform's script and after it."""

from __future__ import annotations

from typing import Any

import SCons.Script

from ..errors import SettingError
from ..scons.frontend import FrontEnd
from ..scons.targets import TARGETS
from ..scons.tool import generate
from ..scons.variables import get_layout
from . import library, program, upload
from .options import app_name, read_variables
from .project import configuring

CUSTOM_TARGETS = ("publish", "prove", "releases", "rollback", "serve", "flash", "boot")
"""The targets that PlatformIO lists; `upload` is the platform's own."""

_FRAMEWORKS = {
    "arduino": "its applications need eboot, the Arduino core's boot loader, where rBoot has to be",
    "esp8266-rtos-sdk": "its applications need the boot loader of the RTOS SDK",
}
"""Why the applications of a framework cannot be rBoot ROMs."""


def configure(env: Any) -> None:
    """Set up PlatformIO's environment `env`.

    platformio.ini names the script as `pre:`, for the update client and to report errors early, and as `post:`, for
    everything else.
    """
    with configuring(env) as front_end:
        _check_framework(env)
        upload.check_protocol(env)
        if env.ans.lookup("upload") is None:  # the platform's script, which defines it, was not run yet
            _check_scripts(env)
            read_variables(env)
            library.add_library(env)
        elif env.get("PIOMAINPROG"):  # not with `-t nobuild`, which uploads the last build
            _build(env, front_end)


def _check_framework(env: Any) -> None:
    """Raise SettingError for a framework whose applications cannot be rBoot ROMs, and for another chip."""
    for framework in env.get("PIOFRAMEWORK") or ():
        if reason := _FRAMEWORKS.get(framework):
            raise SettingError(
                f"{framework}: {reason}; use esp8266-nonos-sdk (docs/how-to/platformio.md)", subject="framework"
            )
    chip = env.BoardConfig().get("build.mcu", "") if "BOARD" in env else "esp8266"
    if chip != "esp8266":
        raise SettingError(f"{env['BOARD']} has the chip {chip or 'unknown'}: expected esp8266", subject="board")


def _check_scripts(env: Any) -> None:
    """Raise SettingError unless a script is there as `post:` too: without it PlatformIO would overwrite the loader."""
    scripts = env.GetProjectOption("extra_scripts", [])
    before = {script.removeprefix("pre:") for script in scripts if script.startswith("pre:")}
    if before.isdisjoint(script.removeprefix("post:") for script in scripts):
        raise SettingError("the script of rbootimg is there as pre: only; add it as post: too", subject="extra_scripts")


def _build(env: Any, front_end: FrontEnd) -> None:
    """Define the application's ROMs, its flash image and its targets, and use them for PlatformIO's own ones."""
    variables = read_variables(env)
    rboot = env.Clone(LINKFLAGS=program.without_script(env["LINKFLAGS"]), **variables)
    rboot["_RBOOT_FRONT_END"] = front_end
    if base := program.base_script(env):
        rboot.SetDefault(RBOOT_LDSCRIPT=base)
    rboot["RBOOT_FILES"] = {**upload.init_data(env, get_layout(rboot)), **variables.get("RBOOT_FILES", {})}
    if int(SCons.Script.ARGUMENTS.get("PIOVERBOSE", 0)):
        rboot["RBOOT_VERBOSE"] = "yes"
    generate(rboot)
    roms = rboot.RbootApp(f"$BUILD_DIR/{app_name(env)}", env["PIOBUILDFILES"])
    image = rboot.RbootFlashImage("$BUILD_DIR/rboot/flash.bin", roms)
    program.use_first_slot(env, roms[0])
    program.replace(env, "$BUILD_DIR/${PROGNAME}.bin", image[0])
    upload.use_pieces(env, image[0])
    texts = {name: f"{text[0].upper()}{text[1:]}" for name, text in TARGETS}
    for target in CUSTOM_TARGETS:  # aliases that the tool has made
        env.AddCustomTarget(target, None, None, title=target.capitalize(), description=texts[target])

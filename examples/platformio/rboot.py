"""Builds, proves and publishes rBoot ROMs with `pio run`. Written by `rbootimg platformio init`; keep it as it is."""

import sys

from SCons.Script import DefaultEnvironment

env = DefaultEnvironment()
source = "rbootimg"
if "tool-rbootimg" in env.PioPlatform().packages:  # `platform_packages` names it, so it need not be installed with pip
    source = env.PioPlatform().get_package_dir("tool-rbootimg")
    sys.path.insert(0, source)
try:
    from rbootimg.platformio.script import configure
except ModuleNotFoundError as error:
    sys.stderr.write(f"Error: no Python package {error.name}; run `{sys.executable} -m pip install {source}`\n")
    env.Exit(1)
configure(env)

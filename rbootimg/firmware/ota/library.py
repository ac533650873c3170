"""The `extraScript` of library.json: compiles the library for the flash layout of the project in PlatformIO."""

from SCons.Script import Import

from rbootimg.platformio.library import configure

Import("env", "projenv")
configure(env, projenv)  # type: ignore[name-defined] # noqa: F821

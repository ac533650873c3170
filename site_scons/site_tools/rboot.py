"""The door of the SCons tool `rboot`: finds the package rbootimg and hands on what SCons asks for.

The same file serves a checkout, a submodule and an installed wheel: the package's folder is two
above this one in each. SCons takes the path away again when the tool is loaded.
"""

import sys
from pathlib import Path

import SCons.Errors

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rbootimg import requirements
from rbootimg.scons.users import users_place

if missing := requirements.missing():  # as in a submodule, which pip has not installed
    raise SCons.Errors.UserError(
        f"rboot: the Python of this scons lacks {', '.join(missing)}; run {requirements.how_to_install(missing)}"
    ).with_traceback(users_place())

from rbootimg.scons.tool import exists, generate

__all__ = ["exists", "generate"]

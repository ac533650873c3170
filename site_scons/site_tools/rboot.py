"""Entry point of the SCons tool `rboot`: imports the package rbootimg, wherever it is, and exports its functions.

The same file works in a checkout, a submodule and an installed wheel: the package's directory is two levels up in each.
SCons removes the added path after it has loaded the tool.
"""

import sys
from pathlib import Path

import SCons.Errors

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rbootimg import requirements
from rbootimg.scons.users import user_traceback

if missing := requirements.missing():  # e.g. in a submodule, which pip has not installed
    raise SCons.Errors.UserError(
        f"rboot: missing Python packages: {', '.join(missing)}; run {requirements.how_to_install(missing)}"
    ).with_traceback(user_traceback())

from rbootimg.scons.tool import exists, generate

__all__ = ["exists", "generate"]

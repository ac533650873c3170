"""The door of the SCons tool `rboot`: finds the package rbootimg and hands on what SCons asks for.

The same file serves a checkout, a submodule and an installed wheel: the package's folder is two
above this one in each. SCons takes the path away again when the tool is loaded.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rbootimg.scons import exists, generate

__all__ = ["exists", "generate"]

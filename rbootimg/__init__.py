"""rbootimg: pack, check and publish rBoot ROMs for the ESP8266."""

import sys

if sys.platform == "win32":  # no traceback, which is all that an ImportError would come to
    raise SystemExit("rbootimg: there is no support for Windows itself; use it in WSL, the Windows Subsystem for Linux")

__version__ = "0.1.0"

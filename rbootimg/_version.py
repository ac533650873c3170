"""The version of rbootimg, a semantic one."""

__version__ = "0.1.0"

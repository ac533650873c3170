"""The SCons tool: builders, scanners, targets. The only package that uses SCons, which loads `tool`.

The library raises RbootError. This package converts it to SCons's UserError while SConscripts are read and to
BuildError while targets are built; SCons prints either as one line.
"""

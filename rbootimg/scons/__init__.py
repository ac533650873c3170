"""The SCons tool: builders, scanners, targets. The only user of SCons. `tool` is what SCons loads.

The library raises RbootError and knows nothing of SCons; here these become UserError while SConscripts are read and
BuildError while targets are built, which SCons prints as one line.
"""

"""A flash in QEMU: run, watch, prove, confine."""

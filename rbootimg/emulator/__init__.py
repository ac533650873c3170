"""QEMU: boot a flash image, prove that its ROMs boot, and confine the emulator."""

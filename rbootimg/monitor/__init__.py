"""The UART's output of a device or of the emulator: decode crashes with the ELF of the running ROM, serial ports."""

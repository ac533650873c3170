"""ELF -> ROM and back: formats, packing, the rules of a ROM, linker scripts, link addresses."""

"""Programs for the chip, made by the real compiler, and flashes that boot them."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

from rbootimg import elf
from rbootimg.flashmap import DEFAULT_LOADER, LoaderOptions, Slot
from rbootimg.ldscript import for_slot
from rbootimg.loader import defines
from rbootimg.rom import RamSection, old_image

PACKAGE = Path(elf.__file__).parent
BARE_METAL = PACKAGE / "ld" / "baremetal.ld"
LOADER = PACKAGE / "firmware" / "loader"
SDK_SECTIONS = (".text", ".data", ".rodata")


@functools.cache
def compiled(source: str, *flags: str, script: Path = BARE_METAL) -> bytes:
    """The ELF of C `source`, linked with `script`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "app.elf"
        command = ["xtensa-lx106-elf-gcc", "-mlongcalls", "-mtext-section-literals", "-Os", "-ffreestanding", "-w"]
        command += ["-fno-builtin", "-nostdlib", "-static", *flags, "-x", "c", "-", "-x", "none"]
        command += [f"-L{BARE_METAL.parent}", "-T", str(script), "-o", str(out)]
        subprocess.run(command, input=source.encode(), check=True)
        return out.read_bytes()


@functools.cache
def linked(source: str, slot: Slot) -> bytes:
    """The ELF of C `source`, linked for `slot`."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "slot.ld")
        script.write_bytes(for_slot(BARE_METAL.read_bytes(), slot))
        return compiled.__wrapped__(source, script=script)


def image(program: bytes) -> bytes:
    """What the mask ROM loads from flash 0, of an ELF."""
    parsed = elf.parse(program)
    found = (parsed.find(name) for name in SDK_SECTIONS)
    return old_image(parsed.entry, tuple(RamSection(part.address, part.data) for part in found if part))


def flash(program: bytes, size: int = 0x80000) -> bytes:
    """A blank flash with the program at 0."""
    return image(program).ljust(size, b"\xff")


@functools.cache
def loader(options: LoaderOptions = DEFAULT_LOADER) -> bytes:
    """Our loader, built with `options`."""
    flags = [f"-D{name}" + ("" if value is None else f"={value}") for name, value in defines(options).items()]
    return image(compiled((LOADER / "loader.c").read_text(), *flags, script=LOADER / "loader.ld"))

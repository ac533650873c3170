"""What `scons publish` does, with the library alone: pack, prove and publish ELFs that another build linked.

    python release.py VERSION LAYOUT LOADER WEB-ROOT ELF...

LAYOUT is a layout file or the name of a preset; the ELFs are in the order of its slots.
"""

import sys
from pathlib import Path

from rbootimg import (
    LAYOUT_PRESETS,
    RbootError,
    ReleaseOptions,
    assemble,
    check_web_root,
    flash_pieces,
    make_boot_config,
    make_bundle,
    pack,
    parse_elf,
    parse_layout,
    preset_layout,
    prove,
    publish,
)


def release(version: str, layout_name: str, loader_file: Path, web_root: Path, elf_files: list[Path]) -> None:
    """Publish the ROMs of `elf_files`, if they boot."""
    if layout_name in LAYOUT_PRESETS:
        layout = preset_layout(layout_name)
    else:
        layout = parse_layout(Path(layout_name).read_text(encoding="utf-8"))
    elfs = [parse_elf(file.read_bytes()) for file in elf_files]
    roms = [pack(elf, params=layout.params, slot=slot).to_bytes() for elf, slot in zip(elfs, layout.slots)]

    loader = loader_file.read_bytes()
    pieces = flash_pieces(layout, loader, dict(enumerate(roms)), make_boot_config(layout, loader))
    for proof in prove(assemble(pieces, layout.size.bytes), layout, dict(enumerate(elfs))):
        print(f"ROM {proof.number} boots: {proof.size:,} bytes in place, {proof.reached}")

    bundle = make_bundle("app", version, roms, layout, ReleaseOptions(proved_by=loader_file.name))
    for published in publish(web_root, [bundle]):
        print(f"{published.release.app} {published.release.version} is current in {published.directory}")
    for finding in check_web_root(web_root):
        print(f"{finding.path}: {finding.text}")


if __name__ == "__main__":
    try:
        version, layout_name, loader_name, web_root, *elf_names = sys.argv[1:]
        release(version, layout_name, Path(loader_name), Path(web_root), [Path(name) for name in elf_names])
    except (RbootError, OSError) as error:
        sys.exit(f"release: {error}")
    except ValueError:
        sys.exit(__doc__)

"""All parsers of what comes from elsewhere, by name: for test_limits.py and fuzz_parsers.py.

Each takes bytes and goes on to what a command would do with the result. What may come out of one is its result or the
library's own error, whose message is one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rbootimg.analysis import identify, mapfile, size
from rbootimg.commands import esptool2
from rbootimg.errors import RbootError
from rbootimg.flash import loader
from rbootimg.flash.bootconfig import BootConfig
from rbootimg.layout import tomlfile
from rbootimg.layout.model import Slot
from rbootimg.release import httpreply, page
from rbootimg.release.history import History, list_history
from rbootimg.release.manifest import Release
from rbootimg.rom import compare, elf, entry, ldscript, mapping, pack
from rbootimg.rom.format import Rom
from rbootimg.views import info, tables
from rbootimg.views import size as size_view
from rbootimg.views.layout import drawing, svg
from rbootimg.views.rom import comparison_text

_SLOT = Slot(0x102000, 0xFE000)  # in the second megabyte, where the mapping is looked at


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _info(data: bytes) -> None:
    found = identify.identify(data)
    json.dumps(identify.as_json(found))
    tables.plain(info.blocks("a file", found))


def _elf(data: bytes) -> None:
    app = elf.parse_elf(data)
    entry.entry_problem(app)
    elf.describe_address(elf.elf_symbols(data), app.entry)


def _mapping(data: bytes) -> None:
    mapping.mapping_problem(data, _SLOT)
    mapping.mapping_notes(data, _SLOT)


def _size(data: bytes) -> None:
    sizes = size.measure(data)
    tables.plain(size_view.tables(sizes, top=0))
    json.dumps(size.as_json(sizes, size.compare_sizes(sizes, sizes)))


def _compare(data: bytes) -> None:
    rom = Rom.from_bytes(data)
    comparison_text(compare.compare_roms(rom, rom._replace(irom=rom.irom[::-1])))


def _config(data: bytes) -> None:
    BootConfig.from_bytes(data, checksum=bool(data and data[0] & 1))


def _layout(data: bytes) -> None:
    found = tomlfile.parse_layout(_text(data))
    svg(found)
    drawing(found)


def _manifest(data: bytes) -> None:
    release = Release.from_json(data)
    page.release_page(release, None, None).encode()
    history = History(release.app, (release.version,), {release.version: ""})
    page.app_page(list_history(history, {release.version: release}), None, has_index=False).encode()
    page.index_page([release]).encode()


def _script(data: bytes) -> None:
    ldscript.includes(data)
    ldscript.slot_linker_script(data, _SLOT)


def _esptool2(data: bytes) -> None:
    """The command line, which says itself what is wrong, in a line of its own."""
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stderr(io.StringIO()) as told:
        file = Path(directory, "app.elf")
        file.write_bytes(data)
        if status := esptool2.main(["-lib", "-quiet", str(file), os.devnull]):
            assert status == 255
            raise RbootError(told.getvalue().removesuffix("\n"))


PARSERS: Mapping[str, Callable[[bytes], object]] = {
    "info": _info,
    "ROM": Rom.from_bytes,
    "ELF": _elf,
    "pack": lambda data: pack.pack(elf.parse_elf(data)),
    "mapping": _mapping,
    "size": _size,
    "size with a map": lambda data: size.measure(data, _text(data)),
    "map": lambda data: mapfile.parse(_text(data)),
    "compare": _compare,
    "config": _config,
    "loader": loader.read_options,
    "layout": _layout,
    "manifest": _manifest,
    "history": History.from_json,
    "script": _script,
    "reply": httpreply.read_as_client,
    "esptool2 -lib": _esptool2,
}


def refusal(parser: str, data: bytes) -> str | None:
    """What is wrong with `data` to this parser, in one line; None if it takes them."""
    try:
        PARSERS[parser](data)
    except RbootError as error:
        message = str(error)
        assert "\n" not in message
        return message
    return None

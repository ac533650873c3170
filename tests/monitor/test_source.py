"""Source lines of addresses: by the toolchain's addr2line, by DWARF without it, by symbols without both."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import crashes

from rbootimg.errors import ElfError
from rbootimg.monitor.source import Location, Program, describe

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.elf"
    path.write_bytes(crashes.elf(0))
    return path


def store_of(path: Path) -> int:
    """The address of the store in record(): its third instruction, after two loads of 2 bytes."""
    return crashes.address(path.read_bytes(), "record") + 4


def test_addr2line_lists_the_functions_that_are_inlined(path: Path) -> None:
    program = Program(path)
    assert program.missing is None
    places = program.find([store_of(path)])[store_of(path)]
    assert [(place.function, place.line) for place in places] == [
        ("store", crashes.INLINED),
        ("record", crashes.RECORD),
    ]
    assert str(places[-1].file).endswith("/sensor.c")


def test_without_addr2line_dwarf_has_file_and_line(path: Path) -> None:
    program = Program(path, "no-such-addr2line")
    [place] = program.find([store_of(path)])[store_of(path)]
    assert (place.function, place.line) == ("record", crashes.INLINED)
    assert str(place.file).endswith("/sensor.c")
    assert "xtensa-lx106-elf-addr2line is not on PATH" in str(program.missing)


def test_without_debug_information_there_is_the_function(tmp_path: Path) -> None:
    path = tmp_path / "app.elf"
    path.write_bytes(crashes.elf(0, debug=False))
    program = Program(path)
    assert program.find([store_of(path)]) == {store_of(path): (Location("record+0x4"),)}
    assert "-g in CCFLAGS" in str(program.missing)


def test_an_address_outside_the_code_has_no_place(path: Path) -> None:
    program = Program(path)
    assert program.find([0x40000080]) == {0x40000080: ()}
    assert not program.has_code(0x40000080)
    assert program.has_code(store_of(path))


def test_a_return_address_is_one_after_a_call(path: Path) -> None:
    program = Program(path)
    start, end = (crashes.address(path.read_bytes(), name) for name in ("run", "call_user_start"))
    code = next(section for section in program.elf.sections if section.address <= start < section.end)
    calls = [address for address in range(start, code.end) if program.is_return_address(address)]
    lines = [program.find([address - 3])[address - 3][0].line for address in calls]
    assert crashes.CALL in lines
    assert not program.is_return_address(start)
    assert not program.is_return_address(code.end + 64)
    assert end < start  # in IRAM


@pytest.mark.parametrize("at", [".debug_line", ".debug_info", ".debug_abbrev"])
def test_corrupt_debug_information_leaves_the_function(path: Path, at: str) -> None:
    from elftools.elf.elffile import ELFFile

    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(at)
        data[section["sh_offset"] : section["sh_offset"] + section["sh_size"]] = b"\xff" * section["sh_size"]
    path.write_bytes(data)
    for tool in (None, "no-such-addr2line"):
        [place] = Program(path, tool).find([store_of(path)])[store_of(path)]
        assert str(place.function).startswith(("record", "store"))


def test_a_file_that_is_not_an_elf_is_named(tmp_path: Path) -> None:
    (tmp_path / "app.elf").write_bytes(b"nothing")
    with pytest.raises(ElfError, match=r"app\.elf: not an ELF file"):
        Program(tmp_path / "app.elf")


def test_files_in_the_current_directory_have_short_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe(Location("f", f"{tmp_path}/src/a.c", 3)) == "f at src/a.c:3"
    assert describe(Location("f", "/elsewhere/a.c", 3)) == "f at /elsewhere/a.c:3"
    assert describe(Location("f")) == "f"
    assert describe(Location(None, "/elsewhere/a.c")) == "unknown function at /elsewhere/a.c"

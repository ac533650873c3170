"""examples/nonos_sdk on SDKs with and without partition tables, in layouts of all kinds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import sdk
from support.project import ROOT, Project

from rbootimg.layout.presets import preset_layout
from rbootimg.layout.sdk_partitions import sdk_partitions
from rbootimg.layout.tomlfile import parse_layout
from rbootimg.rom.elf import parse_elf

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")


@pytest.fixture(scope="module")
def new_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdk.make(tmp_path_factory.mktemp("new") / "sdk")


@pytest.fixture(scope="module")
def old_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdk.make(tmp_path_factory.mktemp("old") / "sdk", partitions=False)


@pytest.fixture
def example(project: Project) -> Project:
    copy = Project(project.directory / "nonos")
    shutil.copytree(ROOT / "examples" / "nonos_sdk", copy.directory, ignore=shutil.ignore_patterns("build", ".scons*"))
    return copy


def table_in(elf: bytes) -> set[int]:
    """The flash addresses in the application's data: words of its table's rows."""
    parsed = parse_elf(elf)
    data = b"".join(section.data for section in parsed.sections if section.name in (".data", ".rodata"))
    return {int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) - 3, 4)}


def test_with_sdk_3_it_registers_the_partitions_of_its_layout(example: Project, new_sdk: Path) -> None:
    said = example.run(f"SDK_BASE={new_sdk}")
    assert (said.status, said.err) == (0, "")
    assert example.read("build/partitions.h").decode() == sdk_partitions(preset_layout("1MB"))
    assert table_in(example.read("build/app/rom0.elf")) >= {0x2000, 0x82000, 0xFB000, 0xFC000, 0xFD000}


def test_a_layout_file_moves_the_partitions_and_the_calibration(example: Project, new_sdk: Path) -> None:
    text = 'flash_size = "2MB-c1"\n'
    example.write("board.toml", text)
    said = example.run(f"SDK_BASE={new_sdk}", "RBOOT_LAYOUT=board.toml", "RBOOT_VERBOSE=yes")
    assert (said.status, said.err) == (0, "")
    assert example.read("build/partitions.h").decode() == sdk_partitions(parse_layout(text))
    assert table_in(example.read("build/app/rom0.elf")) >= {0x2000, 0x82000, 0x1FB000, 0x1FC000, 0x1FD000}
    assert "-DRF_CAL_SECTOR=507" in said.out


def test_a_layout_without_a_table_is_refused_with_the_reason(example: Project, new_sdk: Path) -> None:
    said = example.run(f"SDK_BASE={new_sdk}", "RBOOT_LAYOUT=512KB")
    assert said.status == 1
    assert said.out.startswith("nonos_sdk: 512KB: NONOS SDK 3 accepts no partition table for a 512KB flash: expected")
    assert (said.out.count("\n"), said.err) == (1, "")


@pytest.mark.parametrize("name", ["1MB", "512KB", "board.toml"])
def test_with_sdk_2_there_are_no_partitions(example: Project, old_sdk: Path, name: str) -> None:
    example.write("board.toml", 'flash_size = "1MB"\nsdk_data = false\n')
    said = example.run(f"SDK_BASE={old_sdk}", f"RBOOT_LAYOUT={name}", "RBOOT_VERBOSE=yes")
    assert (said.status, said.err) == (0, "")
    assert example.exists("build/app/rom1.bin")
    assert not example.exists("build/partitions.h")
    assert f"-DRF_CAL_SECTOR={0x7B if name == '512KB' else 0xFB}" in said.out

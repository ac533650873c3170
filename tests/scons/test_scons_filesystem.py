"""RbootFileSystem through the real SCons."""

from __future__ import annotations

import pytest
from support.project import APP, TOOL, Project

from rbootimg.flash.littlefs import find_superblock, read_file_system

BOARD = 'flash_size = "1MB"\n[[region]]\nname = "files"\naddress = "448KB"\nsize = "64KB"\n'
WWW = {"index.html": b"<h1>hello</h1>", "css/style.css": b"body{}" * 1000}
CALL = "env.RbootFileSystem('www.bin', 'www', region='files')"


@pytest.fixture
def www(project: Project) -> Project:
    """A project with a layout and files."""
    project.write("board.toml", BOARD)
    for name, data in WWW.items():
        project.write(f"www/{name}", data)
    return project


def sconstruct(project: Project, *lines: str, settings: str = "") -> None:
    start = f"env = Environment({TOOL}, RBOOT_LAYOUT='board.toml', {settings})\n"
    project.write("SConstruct", start + "\n".join(lines or (CALL,)) + "\n")


def test_a_directory_becomes_an_image_of_the_regions_size(www: Project) -> None:
    www.write("www/.git/HEAD", b"x")
    sconstruct(www)
    assert www.build() == "LITTLEFS www.bin\n"
    image = www.read("www.bin")
    assert len(image) == 0x10000
    assert read_file_system(image) == WWW


def test_the_image_follows_its_files_and_parameters(www: Project) -> None:
    sconstruct(www)
    www.build()
    before = www.read("www.bin")
    assert "up to date" in www.build()
    www.write("www/new.txt", b"new")
    assert www.build() == "LITTLEFS www.bin\n"
    assert read_file_system(www.read("www.bin"))["new.txt"] == b"new"
    (www.directory / "www/new.txt").unlink()
    www.build()
    assert www.read("www.bin") == before
    (www.directory / "www/index.html").rename(www.directory / "www/start.html")
    www.build()
    assert "start.html" in read_file_system(www.read("www.bin"))
    assert www.build("RBOOT_FS_BLOCK_SIZE=8192", "RBOOT_FS_NAME_MAX=20") == "LITTLEFS www.bin\n"
    superblock = find_superblock(www.read("www.bin"))
    assert superblock is not None
    assert (superblock.block_size, superblock.name_max) == (8192, 20)
    www.write("board.toml", BOARD.replace("64KB", "32KB"))
    www.build()
    assert len(www.read("www.bin")) == 0x8000


def test_files_that_scons_makes_in_the_directory_are_in_the_image(www: Project) -> None:
    """Also if they are not there yet."""
    sconstruct(www, "env.Textfile('www/js/version.js', ['v = 1'])", CALL)
    www.build()
    assert read_file_system(www.read("www.bin")) == {**WWW, "js/version.js": b"v = 1"}


def test_files_can_have_other_paths_and_names_with_special_characters(www: Project) -> None:
    www.write("www/#a$b", b"x")
    sconstruct(
        www,
        "env.RbootFileSystem('a.bin', {'etc/board': 'board.toml', 'page': File('www/index.html')}, 'files')",
        "env.RbootFileSystem('b.bin', ['www', 'board.toml'], 'files')",
    )
    www.build()
    assert read_file_system(www.read("a.bin")) == {"etc/board": BOARD.encode(), "page": WWW["index.html"]}
    assert read_file_system(www.read("b.bin")) == {**WWW, "#a$b": b"x", "board.toml": BOARD.encode()}


@pytest.mark.parametrize("duplicate", [0, 1])
def test_a_directory_of_a_variant_has_the_files_of_its_source(www: Project, duplicate: int) -> None:
    for name, data in WWW.items():
        www.write(f"src/www/{name}", data)
    www.write("src/board.toml", BOARD)
    www.write("src/SConscript", f"Import('env')\nenv.Textfile('www/made.txt', ['x'])\n{CALL}\n")
    sconstruct(www, f"SConscript('src/SConscript', variant_dir='out', duplicate={duplicate}, exports='env')")
    www.build()
    assert read_file_system(www.read("out/www.bin")) == {**WWW, "made.txt": b"x"}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("env.RbootFileSystem('www.bin', 'www', 'other')", "rboot: www.bin: unknown region 'other' for a file"),
        ("env.RbootFileSystem('www.bin', 'none', 'files')", "Source `none' not found"),
        ("env.RbootFileSystem('www.bin', 5, 'files')", "rboot: www.bin: expected a file name or node, got 5"),
        ("env.RbootFileSystem(None, 'www', 'files')", "rboot: RbootFileSystem: expected the name of one file"),
        (
            "env.RbootFileSystem('www/sub/a.bin', 'www', 'files')",
            "rboot: www/sub/a.bin: would be a file of its own file system; use another directory",
        ),
        ("env.RbootFileSystem('a.bin', ['www', 'www/index.html'], 'files')", "two files are called index.html"),
        ("env.RbootFileSystem('a.bin', 'www', 'files', RBOOT_FS_NAME_MAX=9)", "'index.html': name of 10 bytes"),
        ("env.RbootFileSystem('a.bin', 'www', 'files', RBOOT_FS_BLOCK_SIZE='4K')", "expected an integer >= 0"),
        ("env.Execute(Mkdir('empty'))\nenv.RbootFileSystem('a.bin', 'empty', 'files')", "no files in"),
    ],
)
def test_what_cannot_be_an_image_is_one_line(www: Project, call: str, error: str) -> None:
    sconstruct(www, call)
    assert error in www.fail()
    assert not www.exists("www.bin")


@pytest.mark.needs("xtensa-lx106-elf-gcc")
def test_an_image_goes_into_the_region_of_a_flash_image(www: Project) -> None:
    www.write("main.c", APP)
    sconstruct(
        www,
        f"www = {CALL}",
        "env.RbootFlashImage('flash.bin', env.RbootApp('app', 'main.c'), RBOOT_FILES={'files': www})",
    )
    www.build()
    assert www.read("flash.bin")[0x70000:0x80000] == www.read("www.bin")

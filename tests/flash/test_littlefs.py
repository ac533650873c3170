"""LittleFS images: made from files, and read back, also those that an attacker made."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rbootimg.errors import FileSystemError
from rbootimg.flash import littlefs
from rbootimg.flash.littlefs import BLOCK_SIZES, Superblock, find_superblock, make_file_system, read_file_system

FILES = {
    "index.html": b"<h1>hello</h1>",
    "css/style.css": b"body{}" * 1000,
    "css/themes/dark.css": bytes(range(256)) * 40,
    "empty": b"",
}
SIZE = 0x10000


@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_an_image_has_the_files_and_the_size_of_the_region(block_size: int) -> None:
    image = make_file_system(FILES, SIZE * 2, block_size)
    assert len(image) == SIZE * 2
    assert read_file_system(image) == FILES
    assert list(read_file_system(image)) == sorted(FILES)


@settings(max_examples=20, deadline=None)
@given(
    st.dictionaries(
        st.lists(st.sampled_from("abcdé"), min_size=1, max_size=3).map(lambda names: "/".join(names) + ".x"),
        st.binary(max_size=5000),
        max_size=6,
    )
)
def test_all_files_that_go_in_come_out(files: dict[str, bytes]) -> None:
    assert read_file_system(make_file_system(files, SIZE * 4)) == files


def test_the_same_files_give_the_same_image() -> None:
    image = make_file_system(FILES, SIZE)
    assert make_file_system(dict(reversed(FILES.items())), SIZE) == image
    assert make_file_system({**FILES, "empty": b"x"}, SIZE) != image


def test_drivers_of_the_arduino_core_can_mount_an_image() -> None:
    """They know LittleFS 2.0 and names of up to 32 bytes. Their cache has 64 bytes: so has the largest inline file."""
    image = make_file_system({"a" * 31: b"x" * 64, "b": b"y" * 65}, SIZE, 8192)
    assert find_superblock(image) == Superblock("2.0", 8192, 8, 31)
    directory = image[: 2 * 8192]
    assert b"x" * 64 in directory
    assert b"y" * 65 not in directory
    assert b"y" * 65 in image


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("../a", "invalid file name '..' in '../a'"),
        ("/a", "invalid file name '' in '/a'"),
        ("a//b", "invalid file name '' in 'a//b'"),
        ("a\n", "invalid file name 'a\\n' in 'a\\n'"),
        ("css", "'css': both a file and a directory"),
        (
            "é" * 16,
            f"{'é' * 16!r}: name of 32 bytes, maximum 31; shorten it, or raise the limit if LFS_NAME_MAX of the "
            "device's driver allows it",
        ),
    ],
)
def test_a_file_that_cannot_be_in_the_image_is_refused(path: str, error: str) -> None:
    with pytest.raises(FileSystemError) as caught:
        make_file_system({**FILES, path: b""}, SIZE)
    assert str(caught.value) == error


def test_a_longer_name_needs_a_higher_limit() -> None:
    image = make_file_system({"n" * 200: b"x"}, SIZE, name_max=200)
    assert read_file_system(image) == {"n" * 200: b"x"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((SIZE, 512), "invalid block size 512: expected 4096 or 8192"),
        (
            (SIZE + 4096, 8192),
            "invalid size 0x11000: expected a multiple of the block size 0x2000, two blocks or more",
        ),
        ((4096,), "invalid size 0x1000: expected a multiple of the block size 0x1000, two blocks or more"),
        ((SIZE, 4096, 256), "invalid name length 256: expected 1-255"),
    ],
)
def test_invalid_parameters_are_refused(arguments: tuple[int, ...], error: str) -> None:
    with pytest.raises(FileSystemError) as caught:
        make_file_system(FILES, *arguments)
    assert str(caught.value) == error


def test_files_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(FileSystemError, match=r"^1 file of 65,000 bytes do not fit into 65,536 bytes: LittleFS takes"):
        make_file_system({"big": bytes(65000)}, SIZE)


def test_the_superblock_is_found_when_the_first_block_is_lost() -> None:
    image = make_file_system(FILES, SIZE)
    half = b"\xff" * 4096 + image[4096:]
    assert find_superblock(half) == find_superblock(image)
    assert read_file_system(half) == FILES
    assert find_superblock(b"\xff" * 8192 + image[8192:]) is None


def test_other_data_is_no_image() -> None:
    for data in (b"", b"littlefs", bytes(100), b"\xff" * SIZE, b"12345678littlefs"):
        assert find_superblock(data) is None
        with pytest.raises(FileSystemError, match="no LittleFS image"):
            read_file_system(data)


# Images that an attacker made. Source of the format: littlefs, SPEC.md.

FILE, STRUCT, INLINE, CTZ, CREATE, CRC, SOFT_TAIL, HARD_TAIL = 0x001, 0x200, 0x201, 0x202, 0x401, 0x500, 0x600, 0x601
NO_BLOCKS = struct.pack("<2I", 0xFFFF_FFFF, 0xFFFF_FFFF)


def tags(block: bytearray) -> Iterator[tuple[int, int, int]]:
    """Yield the type, offset and data length of each tag of a metadata block."""
    tag, offset = 0xFFFF_FFFF, 4
    while offset + 4 <= len(block):
        tag ^= int.from_bytes(block[offset : offset + 4], "big")
        if tag >> 31:
            return
        kind, length = tag >> 20 & 0x7FF, tag & 0x3FF
        yield kind, offset, 0 if length == 0x3FF else length
        if kind & 0x7FE == CRC:
            tag ^= (kind & 1) << 31
        offset += 4 + length % 0x3FF


def set_checksums(block: bytearray) -> None:
    start = 0
    for kind, offset, length in tags(block):
        if kind & 0x7FE == CRC:
            checksum = zlib.crc32(block[start : offset + 4]) ^ 0xFFFF_FFFF
            block[offset + 4 : offset + 8] = struct.pack("<I", checksum)
            start = offset + 4 + length


def altered(image: bytes, alter: Callable[[bytearray], None]) -> bytes:
    """Apply `alter` to each metadata block, and make its checksums valid."""
    found = bytearray(image)
    for start in range(0, len(found), 4096):
        block = found[start : start + 4096]
        if any(kind & 0x7FE == CRC for kind, _, _ in tags(block)):
            alter(block)
            set_checksums(block)
            found[start : start + 4096] = block
    return bytes(found)


def rename(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    def alter(block: bytearray) -> None:
        block[:] = block.replace(old, new)

    return alter


def replace_data(kind: int, old: bytes | None, new: bytes) -> Callable[[bytearray], None]:
    """Replace the start of the data of each tag of a kind; only the data `old`, unless that is None."""

    def alter(block: bytearray) -> None:
        for found, offset, length in [*tags(block)]:
            data = block[offset + 4 : offset + 4 + length]
            if found == kind and old in (None, data):
                block[offset + 4 : offset + 4 + len(new)] = new

    return alter


def test_the_helper_alters_an_image_that_stays_valid() -> None:
    image = make_file_system(FILES, SIZE)
    assert altered(image, lambda block: None) == image
    assert read_file_system(altered(image, rename(b"index.html", b"other.html")))["other.html"] == FILES["index.html"]


@pytest.mark.parametrize("name", [b"x/", b"/x", b"\\x", b"x\n", b"x\0"])
def test_a_name_that_leads_out_of_the_directory_is_refused(name: bytes) -> None:
    image = altered(make_file_system({"ab": b"1"}, SIZE), rename(b"ab", name))
    with pytest.raises(FileSystemError, match=r"^(invalid file name|corrupt LittleFS image)"):
        read_file_system(image)


def test_a_file_called_like_the_parent_directory_is_not_read() -> None:
    """The library takes it for the directory's own entry."""
    image = altered(make_file_system({"ab": b"1", "cd": b"2"}, SIZE), rename(b"ab", b".."))
    assert read_file_system(image) == {"cd": b"2"}


def test_names_that_are_not_utf_8_are_refused() -> None:
    image = altered(make_file_system({"ab": b"1"}, SIZE), rename(b"ab", b"\xff\xfe"))
    with pytest.raises(FileSystemError, match="a file name is not UTF-8"):
        read_file_system(image)


def test_two_files_of_one_name_are_refused() -> None:
    image = altered(make_file_system({"ab": b"1", "ac": b"2"}, SIZE), rename(b"ac", b"ab"))
    with pytest.raises(FileSystemError, match="two files are called 'ab'"):
        read_file_system(image)


def test_a_file_with_an_invented_size_is_refused() -> None:
    image = make_file_system({"big": bytes(9000)}, SIZE)
    huge = altered(image, replace_data(CTZ, None, struct.pack("<2I", 5, 0x7000_0000)))
    with pytest.raises(FileSystemError, match="'big' is larger than the image"):
        read_file_system(huge)


def test_a_superblock_with_invented_sizes_is_refused() -> None:
    image = make_file_system(FILES, SIZE)
    for size, count in ((4096, 17), (4096, 0), (4096, 0xFFFF_FFFF), (0, 16), (100, 16)):
        other = image[:24] + struct.pack("<2I", size, count) + image[32:]
        with pytest.raises(FileSystemError, match=r"^invalid LittleFS image: "):
            read_file_system(other)


def test_directories_that_contain_each_other_are_refused() -> None:
    image = make_file_system({"a/b": b"1"}, SIZE)
    loop = altered(image, replace_data(STRUCT, None, struct.pack("<2I", 0, 1)))
    with pytest.raises(FileSystemError, match="directories deeper than 16 levels"):
        read_file_system(loop)


def test_more_files_than_a_flash_has_room_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(littlefs, "_MAX_ENTRIES", 3)
    assert len(read_file_system(make_file_system({"a/b": b"", "c": b""}, SIZE))) == 2
    with pytest.raises(FileSystemError, match="more than 3 files and directories"):
        read_file_system(make_file_system({"a/b": b"", "c": b"", "d": b""}, SIZE))


def metadata_block(*contents: tuple[int, int, bytes]) -> bytes:
    """Make a metadata block with one commit of tags, each with its type, id and data."""
    block, before = bytearray(4), 0xFFFF_FFFF
    for kind, number, data in (*contents, (CRC, 0x3FF, bytes(4))):
        tag = kind << 20 | number << 10 | len(data)
        block += (tag ^ before).to_bytes(4, "big") + data
        before = tag
    set_checksums(block)
    return bytes(block.ljust(4096, b"\xff"))


def test_a_directory_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is its own continuation, with a file that the library lists as `b` and then searches for."""
    pair = struct.pack("<2I", 13, 14)
    image = altered(make_file_system({"a/b": b"1"}, SIZE), replace_data(SOFT_TAIL, pair, NO_BLOCKS))
    assert image[13 * 4096 :].startswith(b"\0\0\0\0")  # the directory
    directory = metadata_block((CREATE, 0, b""), (FILE, 0, b"b\0"), (INLINE, 0, b""), (HARD_TAIL, 0x3FF, pair))
    endless = image[: 13 * 4096] + directory + b"\xff" * 4096 + image[15 * 4096 :]
    monkeypatch.setattr(littlefs, "MAX_SECONDS", 1)
    with pytest.raises(FileSystemError, match="its directories lead nowhere, or in circles"):
        read_file_system(endless)


def test_a_crash_of_the_library_is_an_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """It has assertions that end the process."""
    monkeypatch.setattr(littlefs, "_read", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(FileSystemError, match=r"^corrupt LittleFS image"):
        read_file_system(make_file_system(FILES, SIZE))
    assert capfd.readouterr() == ("", "")


def test_without_the_library_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_file_system(FILES, SIZE)
    monkeypatch.setattr(littlefs, "is_available", lambda: False)
    for use in (lambda: make_file_system(FILES, SIZE), lambda: read_file_system(image)):
        with pytest.raises(FileSystemError, match=r"^LittleFS images require littlefs-python: run .* -m pip install "):
            use()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_an_image_with_any_bytes_changed_gives_files_or_an_error(
    monkeypatch: pytest.MonkeyPatch, changes: list[tuple[int, int]], with_checksums: bool
) -> None:
    def change(block: bytearray) -> None:
        for offset, value in changes:
            block[offset] = value

    image = make_file_system(FILES, SIZE)
    if with_checksums:
        image = altered(image, change)
    else:
        data = bytearray(image)
        for start in range(0, SIZE, 4096):
            block = data[start : start + 4096]
            change(block)
            data[start : start + 4096] = block
        image = bytes(data)
    monkeypatch.setattr(littlefs, "MAX_SECONDS", 1)
    with contextlib.suppress(FileSystemError):
        files = read_file_system(image)
        assert sum(map(len, files.values())) <= SIZE
        assert not any(part in ("", ".", "..") for path in files for part in path.split("/"))

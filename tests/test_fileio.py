"""Reading files with a limit, and writing them atomically."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.project import ROOT

from rbootimg import fileio
from rbootimg.fileio import write_atomic, write_directory


@pytest.fixture
def umask() -> Iterator[None]:
    """Let a test set the umask."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def write_with_limit(path: Path, size: int, limit: int) -> subprocess.CompletedProcess[str]:
    """Write `size` bytes to `path` in a process whose files can have only `limit` bytes, as on a full disk."""
    code = (
        "import sys; from pathlib import Path; from rbootimg.fileio import write_atomic\n"
        "try: write_atomic(Path(sys.argv[1]), bytes(int(sys.argv[2])), durable=True)\n"
        "except OSError as error: sys.exit(error.strerror)\n"
    )
    return subprocess.run(
        [sys.executable, "-B", "-c", code, str(path), str(size)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("data", [b"", b"new", bytes(1_000_000)], ids=len)
def test_a_file_is_made_or_replaced_and_nothing_else_is_left(tmp_path: Path, data: bytes, durable: bool) -> None:
    for before in (None, b"old and longer"):
        path = tmp_path / f"file {before}"
        if before is not None:
            path.write_bytes(before)
        write_atomic(path, data, durable=durable)
        assert path.read_bytes() == data
    assert names(tmp_path) == ["file None", "file b'old and longer'"]


def test_a_reader_of_the_old_file_reads_it_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old " * 1000)
    with open(path, "rb") as reader:
        assert reader.read(4) == b"old "
        write_atomic(path, b"new")
        assert reader.read() == b"old " * 999
    assert path.read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    # Larger than any buffer, so that the first half is on the disk when the second fails.
    run = write_with_limit(path, size=1_000_000, limit=500_000)
    assert (run.returncode, run.stderr) == (1, "File too large\n")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
    # That it was the limit: without it the same succeeds.
    assert write_with_limit(path, size=1_000_000, limit=2_000_000).returncode == 0
    assert path.read_bytes() == bytes(1_000_000)


def test_a_failed_write_creates_no_file(tmp_path: Path) -> None:
    assert write_with_limit(tmp_path / "file", size=1_000_000, limit=500_000).stderr == "File too large\n"
    assert names(tmp_path) == []


def test_invalid_data_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_atomic(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_directory_in_the_way_stays_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "inside").write_bytes(b"kept")
    with pytest.raises(IsADirectoryError):
        write_atomic(path, b"new")
    assert names(tmp_path) == ["directory"]
    assert (path / "inside").read_bytes() == b"kept"


def test_a_directory_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "file", b"new")
    assert names(tmp_path) == []


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomic(link, b"new")
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("mask", "asked", "expected"),
    [(0o022, None, 0o644), (0o077, None, 0o600), (0o002, None, 0o664), (0o077, 0o644, 0o644), (0o000, 0o600, 0o600)],
)
@pytest.mark.usefixtures("umask")
def test_permissions_follow_the_umask_unless_they_are_asked_for(
    tmp_path: Path, mask: int, asked: int | None, expected: int
) -> None:
    os.umask(mask)
    path = tmp_path / "file"
    write_atomic(path, b"data", mode=asked)
    assert mode(path) == expected
    path.chmod(0o400)
    write_atomic(path, b"data", mode=asked)
    assert mode(path) == expected


def test_a_file_may_have_a_name_of_maximum_length(tmp_path: Path) -> None:
    path = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    path.write_bytes(b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_concurrent_writers_each_write_a_complete_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes((number,)) * 200_000 for number in range(4)]
    path.write_bytes(contents[0])
    errors: list[BaseException] = []

    def write(data: bytes) -> None:
        try:
            for _ in range(20):
                write_atomic(path, data)
        except BaseException as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(data,)) for data in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_bytes() in contents
    for writer in writers:
        writer.join()
    assert errors == []
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["file"]


# Directories


def fill(directory: Path, sizes: list[int], limit: int) -> str:
    """Write files of these sizes in a process whose files can have only `limit` bytes; and return the error."""
    code = (
        "import sys; from pathlib import Path; from rbootimg.fileio import write_directory\n"
        "contents = {f'file{number}': bytes(int(size)) for number, size in enumerate(sys.argv[2:])}\n"
        "try: write_directory(Path(sys.argv[1]), contents)\n"
        "except OSError as error: sys.exit(f'{error.filename}: {error.strerror}')\n"
    )
    return subprocess.run(
        [sys.executable, "-B", "-c", code, str(directory), *map(str, sizes)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    ).stderr


def test_a_directory_is_made_and_its_files_are_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    write_directory(directory, {"one": b"1", "two": b"2"})
    write_directory(directory, {"two": b"3"})
    assert {name: (directory / name).read_bytes() for name in names(directory)} == {"one": b"1", "two": b"3"}


def test_a_directory_that_cannot_be_filled_is_not_made(tmp_path: Path) -> None:
    assert fill(tmp_path / "a" / "b", [10, 1000], 500) == f"{tmp_path}/a/b/file1: File too large\n"
    assert names(tmp_path) == []


def test_a_directory_that_cannot_be_filled_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file0").write_bytes(b"old")
    assert fill(tmp_path, [10, 1000], 500) == f"{tmp_path}/file1: File too large\n"
    assert names(tmp_path) == ["file0"]
    assert (tmp_path / "file0").read_bytes() == b"old"


def test_a_file_instead_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(NotADirectoryError) as refused:
        write_directory(tmp_path / "file", {"name": b"new"})
    assert refused.value.filename == str(tmp_path / "file")
    assert refused.value.strerror == "not a directory"
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize(("max_size", "limit"), [(1 << 20, "1 MB"), (1 << 16, "64 KB")])
def test_an_endless_file_is_read_up_to_the_limit(max_size: int, limit: str) -> None:
    with pytest.raises(OSError, match=f"larger than {limit}:"):
        fileio.read_file("/dev/zero", max_size)


def test_a_read_error_names_the_file() -> None:
    with pytest.raises(OSError, match="Input/output error") as refused:
        fileio.read_file("/proc/self/mem")
    assert refused.value.filename == "/proc/self/mem"


def test_a_pipe_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(100_000)  # more than a pipe gives at once
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    assert fileio.read_file(tmp_path / "pipe") == data
    writer.join()


# Directories with all that is below them


def test_a_tree_is_written_and_listed(tmp_path: Path) -> None:
    fileio.write_tree(tmp_path / "a", {"x": b"1", "b/y": b"2", "b/c/z": b"3"})
    assert fileio.list_tree(tmp_path / "a") == ["b/c/z", "b/y", "x"]
    assert (tmp_path / "a/b/c/z").read_bytes() == b"3"


def test_what_git_and_macos_add_is_not_listed(tmp_path: Path) -> None:
    fileio.write_tree(tmp_path, {".git/HEAD": b"", "a/.DS_Store": b"", "a/.hidden": b""})
    assert fileio.list_tree(tmp_path) == ["a/.hidden"]


def test_links_are_followed_and_a_loop_ends(tmp_path: Path) -> None:
    fileio.write_tree(tmp_path, {"real/x": b"1", "tree/y": b"2"})
    (tmp_path / "tree/linked").symlink_to("../real")
    assert fileio.list_tree(tmp_path / "tree") == ["linked/x", "y"]
    (tmp_path / "tree/loop").symlink_to(".")
    assert "linked/x" in fileio.list_tree(tmp_path / "tree")


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fileio.list_tree(tmp_path / "none")

"""The archives of a release: the same bytes wherever, whenever and by whomever they are built."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from time import gmtime

import pytest
from support.project import clean_copy, known_files


def checkout(directory: Path, umask: int, changed: int) -> Path:
    """A copy of the project as git would make it under this umask; the files are of that time, each another second."""
    clean_copy(directory)
    for count, path in enumerate(sorted(directory.rglob("*"))):
        if path.is_file():
            path.chmod((0o777 if path.stat().st_mode & 0o100 else 0o666) & ~umask)
            os.utime(path, (changed + count, changed + count + 0.5))
    return directory


def built(source: Path, umask: int, **variables: str) -> list[Path]:
    """The sdist and the wheel."""
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    target = source.parent / f"{source.name}-dist"
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source],
        env={**environment, **variables},
        umask=umask,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return sorted(target.iterdir())


def members(archive: Path) -> list[tuple[str, object, bytes]]:
    """Name, header and content of each member."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return [
                (info.filename, (info.date_time, info.external_attr), wheel.read(info)) for info in wheel.infolist()
            ]
    with tarfile.open(archive) as sdist:
        return [
            (info.name, info.get_info(), (sdist.extractfile(info).read() if info.isfile() else b"")) for info in sdist
        ]


def difference(one: Path, other: Path) -> str:
    """Where the two archives differ first; empty if they do not."""
    if one.read_bytes() == other.read_bytes():
        return ""
    for first, second in zip(members(one), members(other)):
        if first[0] != second[0]:
            return f"{one.name} has {first[0]} where the other has {second[0]}"
        if first[1] != second[1]:
            return f"{one.name}: {first[0]} has {first[1]}, in the other {second[1]}"
        if first[2] != second[2]:
            return f"{one.name}: {first[0]} has another content"
    return f"{one.name}: one has more members, or is packed in another way"


@pytest.mark.parametrize(
    ("variables", "time"),
    [({}, (1980, 1, 1, 0, 0, 0)), ({"SOURCE_DATE_EPOCH": "1700000002"}, (2023, 11, 14, 22, 13, 22))],
    ids=["no time", "a time"],
)
def test_two_builds_are_the_same_bytes(tmp_path: Path, variables: dict[str, str], time: tuple[int, ...]) -> None:
    one = checkout(tmp_path / "one", 0o022, 1_600_000_000)
    other = checkout(tmp_path / "another place" / "of the other", 0o077, 1_650_000_000)
    first = built(one, 0o022, TZ="UTC", **variables)
    second = built(other, 0o077, TZ="Pacific/Auckland", **variables)
    assert [path.suffix for path in first] == [".whl", ".gz"]
    for archives in zip(first, second):
        assert difference(*archives) == ""

    wheel, sdist = second
    with zipfile.ZipFile(wheel) as archive:
        assert {info.date_time for info in archive.infolist()} == {time}
        assert {info.external_attr >> 16 for info in archive.infolist()} <= {0o100644, 0o100755}
        assert archive.namelist()[-1].endswith(".dist-info/RECORD")
    with tarfile.open(sdist) as archive:
        headers = {(gmtime(each.mtime)[:6], each.uid, each.gid, each.uname, each.gname) for each in archive}
        modes = {each.name.partition("/")[2]: each.mode for each in archive}
    assert {*known_files()} - modes.keys() <= {".gitignore"}, "MANIFEST.in leaves out what git knows"
    assert headers == {(time, 0, 0, "", "")}
    assert (modes["sconsw"], modes["setup.cfg"], modes["tests"]) == (0o755, 0o644, 0o755)


def test_a_difference_is_named(tmp_path: Path) -> None:
    for directory, content in (("one", "1"), ("other", "2")):
        (tmp_path / directory).mkdir()
        with zipfile.ZipFile(tmp_path / directory / "x.whl", "w") as wheel:
            wheel.writestr(zipfile.ZipInfo("same"), "same")
            wheel.writestr(zipfile.ZipInfo("changed"), content)
    one, other = tmp_path / "one" / "x.whl", tmp_path / "other" / "x.whl"
    assert difference(one, other) == "x.whl: changed has another content"
    assert difference(one, one) == ""

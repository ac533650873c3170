"""Publishing without a version: which files, each replaced in one step, and readable for the web server."""

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

from rbootimg.errors import PublishError, SettingError, WebRootError
from rbootimg.release.unversioned import PublishedFile, publish_files, web_tree
from rbootimg.rom.format import RamSection, Rom


def rom(text: str, size: int = 16) -> bytes:
    return Rom(0x40100000, text.encode().ljust(size), (RamSection(0x40100000, text.encode()),)).to_bytes()


ROM0, ROM1, OTHER = rom("slot 0"), rom("slot 1"), rom("other")


@pytest.fixture
def web_root(tmp_path: Path) -> Path:
    return tmp_path / "web"


@pytest.fixture
def umask_077() -> Iterator[None]:
    """Files that only their owner can read."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def tree(directory: Path) -> dict[str, bytes]:
    """All files below `directory`, hidden ones too, as web_tree() gives them."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Which files


def test_a_single_application_has_its_roms_at_the_root() -> None:
    assert web_tree({"blink": [ROM0, ROM1]}) == {"rom0.bin": ROM0, "rom1.bin": ROM1}


def test_of_several_applications_each_has_a_directory() -> None:
    assert web_tree({"blink": [ROM0, ROM1], "clock": [OTHER]}) == {
        "blink/rom0.bin": ROM0,
        "blink/rom1.bin": ROM1,
        "clock/rom0.bin": OTHER,
    }


def test_each_rom_has_a_checksum_file_after_it_if_wanted(web_root: Path) -> None:
    files = web_tree({"blink": [ROM0, ROM1], "clock": [OTHER]}, checksum_files=True)
    assert list(files) == [
        f"{rom}{end}" for rom in ("blink/rom0.bin", "blink/rom1.bin", "clock/rom0.bin") for end in ("", ".sha256")
    ]
    publish_files(files, web_root)
    for app, name in (("blink", "rom1.bin"), ("clock", "rom0.bin")):
        command = ["sha256sum", "--strict", "-c", f"{name}.sha256"]
        done = subprocess.run(command, cwd=web_root / app, check=True, capture_output=True, text=True)
        assert done.stdout == f"{name}: OK\n"


def test_roms_with_either_checksum_and_with_esptools_crc_are_taken() -> None:
    sections = (RamSection(0x40100000, b"code"),)
    kinds = [
        Rom(0x40100000, b"irom", sections, irom_checksum=irom_checksum, esptool_crc=crc).to_bytes()
        for irom_checksum in (False, True)
        for crc in (False, True)
    ]
    assert list(web_tree({"app": kinds}).values()) == kinds


@pytest.mark.parametrize(
    ("invalid", "why"),
    [
        (ROM1[:-1], "truncated image: "),
        (ROM1[:-1] + bytes((ROM1[-1] ^ 1,)), "bad checksum 0x"),
        (ROM1[:48] + b"!" + ROM1[49:], "bad checksum 0x"),
        (b"", "truncated image: "),
        (b"\x7fELF" + bytes(100), "ELF file, not a ROM"),
    ],
    ids=["truncated", "checksum", "data", "empty", "an ELF"],
)
def test_an_invalid_rom_is_refused_by_name(invalid: bytes, why: str) -> None:
    with pytest.raises(PublishError, match=rf"^rom1\.bin of blink: not published: .*{why}"):
        web_tree({"blink": [ROM0, invalid]})
    with pytest.raises(PublishError, match=rf"^rom1\.bin of blink: not published: .*{why}"):
        web_tree({"clock": [ROM0], "blink": [ROM0, invalid]})


def test_with_a_corrupt_rom_nothing_is_written(web_root: Path) -> None:
    # As the SCons tool calls them: the whole tree is checked before the first file is touched.
    publish_files(web_tree({"blink": [ROM0, ROM1]}), web_root)
    with pytest.raises(PublishError):
        publish_files(web_tree({"blink": [OTHER, ROM1[:-1]]}), web_root)
    assert tree(web_root) == {"rom0.bin": ROM0, "rom1.bin": ROM1}


# Writing them


def test_the_web_root_is_made_with_all_directories(web_root: Path) -> None:
    files = {"blink/rom0.bin": ROM0, "clock/rom0.bin": ROM1}
    deep = web_root / "a" / "b"
    assert publish_files(files, deep) == (
        PublishedFile(deep / "blink/rom0.bin", len(ROM0), changed=True),
        PublishedFile(deep / "clock/rom0.bin", len(ROM1), changed=True),
    )
    assert tree(deep) == files


def test_nothing_to_publish_makes_no_web_root(web_root: Path) -> None:
    assert publish_files(web_tree({}), web_root) == ()
    assert not web_root.exists()


def test_the_web_root_may_be_relative_or_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    publish_files({"rom0.bin": ROM0}, Path("link"))
    publish_files({"app/rom1.bin": ROM1}, Path())
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/rom0.bin").read_bytes() == ROM0
    assert (tmp_path / "app/rom1.bin").read_bytes() == ROM1


def test_unchanged_files_are_left_alone(web_root: Path) -> None:
    files = {"rom0.bin": ROM0, "rom1.bin": ROM1}
    publish_files(files, web_root)
    for name in files:
        os.utime(web_root / name, (1, 1))
    before = [os.stat(web_root / name) for name in files]
    assert [file.changed for file in publish_files(files, web_root)] == [False, False]
    after = [os.stat(web_root / name) for name in files]
    assert [(info.st_ino, info.st_mtime_ns) for info in after] == [(info.st_ino, info.st_mtime_ns) for info in before]


def test_only_the_file_that_changed_is_written(web_root: Path) -> None:
    publish_files({"rom0.bin": ROM0, "rom1.bin": ROM1}, web_root)
    os.utime(web_root / "rom1.bin", (1, 1))
    assert [file.changed for file in publish_files({"rom0.bin": OTHER, "rom1.bin": ROM1}, web_root)] == [True, False]
    assert tree(web_root) == {"rom0.bin": OTHER, "rom1.bin": ROM1}
    assert os.stat(web_root / "rom1.bin").st_mtime == 1


@pytest.mark.parametrize(
    "altered",
    [b"", ROM0[:-1], ROM0 + b"\0", ROM0[:20] + b"!" + ROM0[21:], OTHER],
    ids=["empty", "truncated", "longer", "same length", "another ROM"],
)
def test_a_modified_file_is_replaced(web_root: Path, altered: bytes) -> None:
    publish_files({"rom0.bin": ROM0}, web_root)
    info = os.stat(web_root / "rom0.bin")
    (web_root / "rom0.bin").write_bytes(altered)
    os.utime(web_root / "rom0.bin", ns=(info.st_atime_ns, info.st_mtime_ns))  # the time alone does not show the change
    assert [file.changed for file in publish_files({"rom0.bin": ROM0}, web_root)] == [True]
    assert tree(web_root) == {"rom0.bin": ROM0}


def test_a_deleted_file_is_written_again(web_root: Path) -> None:
    publish_files({"rom0.bin": ROM0}, web_root)
    (web_root / "rom0.bin").unlink()
    assert [file.changed for file in publish_files({"rom0.bin": ROM0}, web_root)] == [True]
    assert tree(web_root) == {"rom0.bin": ROM0}


def test_nothing_else_in_the_web_root_is_touched(web_root: Path) -> None:
    publish_files({"rom0.bin": ROM0, "rom1.bin": ROM1}, web_root)
    (web_root / "index.html").write_bytes(b"mine")
    publish_files({"rom0.bin": OTHER}, web_root)
    assert tree(web_root) == {"index.html": b"mine", "rom0.bin": OTHER, "rom1.bin": ROM1}


# For the web server


@pytest.mark.usefixtures("umask_077")
def test_files_and_new_directories_can_be_read_by_the_web_server(web_root: Path) -> None:
    publish_files({"blink/rom0.bin": ROM0}, web_root / "new")
    assert mode(web_root / "new/blink/rom0.bin") == 0o644
    assert [mode(web_root / name) for name in (".", "new", "new/blink")] == [0o755] * 3


@pytest.mark.usefixtures("umask_077")
def test_a_file_that_the_web_server_cannot_read_is_replaced(web_root: Path) -> None:
    publish_files({"rom0.bin": ROM0}, web_root)
    for wrong in (0o600, 0o640, 0o000):
        (web_root / "rom0.bin").chmod(wrong)
        assert [file.changed for file in publish_files({"rom0.bin": ROM0}, web_root)] == [True]
        assert mode(web_root / "rom0.bin") == 0o644


def test_a_directory_that_was_there_keeps_its_permissions(web_root: Path) -> None:
    web_root.mkdir()
    web_root.chmod(0o700)
    publish_files({"rom0.bin": ROM0}, web_root)
    assert mode(web_root) == 0o700


# Obstacles


@pytest.mark.parametrize("content", [ROM0, b"precious"], ids=["same bytes", "other bytes"])
def test_a_link_in_place_of_a_rom_is_replaced_and_its_target_untouched(
    tmp_path: Path, web_root: Path, content: bytes
) -> None:
    target = tmp_path / "target"
    target.write_bytes(content)
    target.chmod(0o644)
    web_root.mkdir()
    # A link's size is the length of its target: as long as the ROM, so that the size does not differ.
    (web_root / "rom0.bin").symlink_to("../" + "/" * (len(ROM0) - len("../target")) + "target")
    assert [file.changed for file in publish_files({"rom0.bin": ROM0}, web_root)] == [True]
    assert not (web_root / "rom0.bin").is_symlink()
    assert tree(web_root) == {"rom0.bin": ROM0}
    assert target.read_bytes() == content


def test_a_pipe_or_a_dangling_link_in_place_of_a_rom_is_replaced(web_root: Path) -> None:
    web_root.mkdir()
    os.mkfifo(web_root / "rom0.bin")  # opening it to compare would block forever
    (web_root / "rom1.bin").symlink_to("nowhere")
    publish_files({"rom0.bin": ROM0, "rom1.bin": ROM1}, web_root)
    assert tree(web_root) == {"rom0.bin": ROM0, "rom1.bin": ROM1}


@pytest.mark.parametrize("name", ["web", "web/blink", "web/a/b"])
def test_a_file_where_a_directory_should_be_is_named_and_stays(tmp_path: Path, web_root: Path, name: str) -> None:
    obstacle = tmp_path / name
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_bytes(b"precious")
    files = {f"{'a/b/c' if name == 'web/a/b' else 'blink'}/rom0.bin": ROM0}
    with pytest.raises(WebRootError) as refused:
        publish_files(files, web_root)
    assert str(refused.value) == f"{obstacle}: cannot write the web root: not a directory"
    assert tree(tmp_path) == {name: b"precious"}


def test_a_dangling_link_where_a_directory_should_be_is_named(tmp_path: Path, web_root: Path) -> None:
    web_root.symlink_to("nowhere")
    with pytest.raises(WebRootError) as refused:
        publish_files({"rom0.bin": ROM0}, web_root)
    assert str(refused.value) == f"{web_root}: cannot write the web root: a dangling symbolic link to nowhere"
    assert os.listdir(tmp_path) == ["web"]


def test_a_directory_where_a_rom_should_be_is_named_and_stays(web_root: Path) -> None:
    (web_root / "rom0.bin").mkdir(parents=True)
    with pytest.raises(WebRootError) as refused:
        publish_files({"rom0.bin": ROM0}, web_root)
    assert os.listdir(web_root) == ["rom0.bin"]
    # That file, not the temporary one, which is gone.
    assert str(refused.value) == f"{web_root / 'rom0.bin'}: cannot write the web root: Is a directory"


def test_a_full_disk_leaves_the_old_rom_and_nothing_beside_it(web_root: Path) -> None:
    publish_files({"rom0.bin": ROM0}, web_root)
    code = (
        "import sys; from pathlib import Path; from rbootimg.errors import RbootError\n"
        "from rbootimg.release.unversioned import publish_files\n"
        "try: publish_files({'rom0.bin': bytes(1_000_000)}, Path(sys.argv[1]))\n"
        "except RbootError as error: sys.exit(str(error))\n"
    )
    run = subprocess.run(
        [sys.executable, "-B", "-c", code, str(web_root)],
        cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == f"{web_root / 'rom0.bin'}: cannot write the web root: File too large\n"
    assert run.returncode == 1
    assert tree(web_root) == {"rom0.bin": ROM0}


# While devices fetch


def test_a_download_in_progress_finishes_with_the_old_rom(web_root: Path) -> None:
    old, new = rom("old", 100_000), rom("new", 100_000)
    publish_files({"rom0.bin": old}, web_root)
    with open(web_root / "rom0.bin", "rb") as device:
        start = device.read(1000)
        publish_files({"rom0.bin": new}, web_root)
        assert start + device.read() == old
    assert tree(web_root) == {"rom0.bin": new}


def test_a_complete_rom_is_there_at_any_time(web_root: Path) -> None:
    roms = [rom("even", 50_000), rom("odd", 50_000)]
    publish_files({"rom0.bin": roms[1]}, web_root)
    path = web_root / "rom0.bin"
    done = threading.Event()
    seen: set[int] = set()
    wrong: list[object] = []

    def fetch() -> None:
        while not done.is_set():
            try:
                seen.add(roms.index(path.read_bytes()))
            except (OSError, ValueError) as error:  # missing, or neither of the two
                wrong.append(error)

    device = threading.Thread(target=fetch)
    device.start()
    for number in range(10_000):
        publish_files({"rom0.bin": roms[number % 2]}, web_root)
        if number >= 200 and len(seen) == 2:  # on a busy machine the device may need longer to see both
            break
    done.set()
    device.join()
    assert wrong == []
    assert seen == {0, 1}


@pytest.mark.parametrize("name", ["", ".", "..", "../evil", "a/b", "a\\b", "nul\0"])
def test_an_invalid_application_name_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"^invalid application name "):
        web_tree({name: [ROM0]})


def test_the_kind_of_checksum_must_be_the_loaders() -> None:
    assert web_tree({"app": [ROM0]}, {"app": False}) == {"rom0.bin": ROM0}
    with pytest.raises(PublishError, match="the other kind of checksum"):
        web_tree({"app": [ROM0]}, {"app": True})

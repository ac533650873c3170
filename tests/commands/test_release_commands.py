"""The commands publish, releases, rollback, prune and check, as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.images import elf, rom, silent_rom
from support.programs import run_module
from support.project import ROOT
from support.releases import THREE_TOML

from rbootimg.release.manifest import digest
from rbootimg.serve import faults
from rbootimg.serve.server import ServerOptions, serving

PUBLISH = ("publish", "rom0.bin", "rom1.bin", "--app", "blink", "--layout", "1MB")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two ROMs, and the one to work in."""
    for slot in (0, 1):
        (tmp_path / f"rom{slot}.bin").write_bytes(rom(slot))
    for name in ("RBOOT_VERSION", "RBOOT_DEVICE", "RBOOT_WEBROOT", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, status: int = 0, **environment: str) -> tuple[str, str]:
    """Run rbootimg; what it printed to stdout and to stderr."""
    done = run_module("rbootimg", *arguments, env={**os.environ, "PYTHONPATH": str(ROOT), **environment})
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def refused(*arguments: str, **environment: str) -> str:
    out, line = run(*arguments, status=1, **environment)
    assert out == ""
    assert line.startswith("rbootimg: ")
    assert line.count("\n") == 1
    return line.removeprefix("rbootimg: ").rstrip("\n")


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "build/webroot/manifest.json").read_bytes())


def test_publish_says_what_devices_get_now() -> None:
    roms = "".join(f"  rom{slot}.bin  240 bytes  sha256 {digest(rom(slot))}\n" for slot in (0, 1))
    assert run(*PUBLISH, "--version", "1.0.0") == (f"blink 1.0.0 is current\n{roms}", "")
    assert run(*PUBLISH, "--version", "1.0.0") == ("blink 1.0.0 is current already\n", "")
    assert run(*PUBLISH, "--version", "1.1.0") == (f"blink 1.1.0 is current, before it 1.0.0\n{roms}", "")


def test_publish_takes_what_it_is_not_told_from_the_environment(folder: Path) -> None:
    environment = {"RBOOT_VERSION": "2.0.0", "RBOOT_DEVICE": "board-b", "SOURCE_DATE_EPOCH": "1795392000"}
    run(*PUBLISH, "--web-root", "www", **environment)
    found = json.loads((folder / "www/manifest.json").read_bytes())
    assert [found[key] for key in ("version", "device", "date")] == ["2.0.0", "board-b", "2026-11-23"]
    assert refused(*PUBLISH, SOURCE_DATE_EPOCH="now", RBOOT_VERSION="1.0.0") == (
        "SOURCE_DATE_EPOCH is 'now', which is no time in seconds; set it as `date +%s` prints it, or not at all"
    )
    assert refused(*PUBLISH, RBOOT_VERSION="1.0").startswith("$RBOOT_VERSION: '1.0' is no semantic version; write one")
    line = refused(*PUBLISH)
    assert line.startswith("there is no version: git says 'fatal: not a git repository ")
    assert line.endswith("; tag a commit v1.2.0; or give one with --version")


def test_publish_takes_elfs_and_who_proved_it(folder: Path) -> None:
    elfs = []
    for slot in (0, 1):
        (folder / f"{slot}.elf").write_bytes(elf(slot))
        elfs += ["--elf", f"{slot}.elf"]
    run(*PUBLISH, "--version", "1.0.0", *elfs, "--proved-by", "rBoot 1.4.2")
    assert (folder / "build/webroot/releases/1.0.0/rom1.elf").read_bytes() == elf(1)
    assert [entry["proved_by"] for entry in manifest(folder)["roms"]] == ["rBoot 1.4.2"] * 2
    assert refused(*PUBLISH, "--version", "1.1.0", *elfs[2:], *elfs[:2]) == (
        "1.elf is not what rom0.bin was packed from: it has nothing that starts at 0x40202010, where the ROM's "
        "flash code is; name the ELF of each ROM, in the order of the ROMs"
    )


def test_publish_takes_data_files_by_their_own_or_another_name(folder: Path) -> None:
    (folder / "www").mkdir()
    (folder / "www/index.html").write_bytes(b"<p>")
    (folder / "ca.der").write_bytes(b"00")
    files = ("--file", "ui.html=www/index.html", "--file", "./ca.der")
    out, _ = run(*PUBLISH, "--version", "1.0.0", *files)
    assert out.splitlines()[3:] == [
        f"  releases/1.0.0/ca.der  2 bytes  sha256 {digest(b'00')}",
        f"  releases/1.0.0/ui.html  3 bytes  sha256 {digest(b'<p>')}",
    ]
    assert (folder / "build/webroot/releases/1.0.0/ui.html").read_bytes() == b"<p>"
    assert [entry["name"] for entry in manifest(folder)["files"]] == ["ca.der", "ui.html"]
    assert run("releases")[0].endswith("240 + 240 bytes, 2 files (5 bytes)\n")
    (folder / "ca.der").write_bytes(b"1")
    assert refused(*PUBLISH, "--version", "1.0.0", *files).endswith(
        "1.0.0 of blink was published already, with other files; raise the version; --force does it all the same, "
        "for the desk"
    )
    run(*PUBLISH, "--version", "1.0.0", "--force", *files[2:])
    assert sorted(path.name for path in (folder / "build/webroot/releases/1.0.0").iterdir()) == [
        "ca.der",
        "index.html",
        "manifest.json",
        "rom0.bin",
        "rom1.bin",
        "style.css",
        "version",
    ]
    assert run("check") == ("build/webroot: ok\n", "")


def test_publish_writes_checksum_files_that_sha256sum_reads(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0", "--checksum-files")
    for place in ("", "releases/1.0.0"):
        command = ["sha256sum", "--strict", "-c", "rom0.bin.sha256", "rom1.bin.sha256"]
        done = subprocess.run(command, cwd=folder / "build/webroot" / place, check=True, capture_output=True, text=True)
        assert done.stdout == "rom0.bin: OK\nrom1.bin: OK\n"
    assert manifest(folder)["checksum_files"] is True
    assert run("check") == ("build/webroot: ok\n", "")
    run(*PUBLISH, "--version", "1.1.0")  # the same ROMs
    assert not list((folder / "build/webroot").glob("*.sha256"))
    assert run(*PUBLISH, "--version", "1.1.0", "--checksum-files")[0] == (
        "blink 1.1.0 is current already; it has the same ROMs and stays as it is, without the checksum files "
        "given now\n"
    )
    assert run("check") == ("build/webroot: ok\n", "")


def test_publish_takes_a_recovery_rom(folder: Path) -> None:
    (folder / "three.toml").write_text(THREE_TOML)
    (folder / "old.bin").write_bytes(silent_rom())
    three = (*PUBLISH[:-1], "three.toml", "--version", "1.0.0")
    out, _ = run(*three, "--recovery", "2=old.bin", "--proved-by", "rBoot 1.4.2")
    size = len(silent_rom())
    assert out.splitlines()[3:] == [f"  releases/1.0.0/recovery.bin  {size} bytes  sha256 {digest(silent_rom())}"]
    assert (folder / "build/webroot/releases/1.0.0/recovery.bin").read_bytes() == silent_rom()
    found = manifest(folder)["recovery"]
    assert (found["slot"], found["flash_address"], found["proved_by"]) == (2, 0xC2000, "rBoot 1.4.2")
    assert run("releases")[0].endswith(f"240 + 240 bytes, recovery {size} bytes\n")
    assert run("check") == ("build/webroot: ok\n", "")
    (folder / "old.bin").write_bytes(rom(1))
    assert refused(*three, "--recovery", "2=old.bin").startswith("old.bin: not published: the ROM is linked at 0x402")
    assert refused(*three, "--recovery", "1=old.bin").startswith("invalid slot 1 of the recovery ROM: expected 2")
    assert refused(*three, "--recovery", "2=none.bin") == "none.bin: No such file or directory"
    assert refused(*PUBLISH, "--version", "1.0.0", "--recovery", "2=old.bin").startswith(
        "blink has a ROM for each of the layout's slots (2): add a slot to the layout"
    )
    for text in ("old.bin", "=old.bin", "2=", "x=old.bin", "-1=old.bin"):
        _, err = run(*three, f"--recovery={text}", status=2)
        assert err.endswith(
            f"argument --recovery: invalid recovery ROM {text!r}: expected SLOT=ROM.BIN, such as 2=recovery.bin\n"
        )


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("=x", "argument --file: invalid file '=x': expected PATH or NAME=PATH"),
        ("ui.html=", "argument --file: invalid file 'ui.html=': expected PATH or NAME=PATH"),
        ("", "argument --file: invalid file '': expected PATH or NAME=PATH"),
        ("www/ui.html", "--file ui.html is given twice; name one of them with --file NAME=PATH"),
    ],
)
def test_a_data_file_that_is_not_named_as_it_should_is_wrong_usage(file: str, message: str) -> None:
    _, err = run(*PUBLISH, "--version", "1.0.0", "--file", "ui.html", "--file", file, status=2)
    assert err.endswith(f"rbootimg publish: error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--version", "1.0.0", "--file", "ui.html"), "ui.html: No such file or directory"),
        (("--version", "1.0.0", "--file", "ui.html=."), ".: Is a directory"),
        (("--version", "1.0.0", "--file", "rom0.bin"), "a release cannot carry a file called 'rom0.bin': the name is "),
        (("--version", "1.0.0", "--file", "a/b=rom0.bin"), "a release cannot carry a file called 'a/b': expected up"),
        (("--version", "1.0"), "--version: '1.0' is no semantic version; write one such as 1.2.0 or 1.2.0-rc.1"),
        (("--version", ""), "--version: '' is no semantic version"),
        (("--version", "1.0.0", "--layout", "9MB"), "9MB: neither a file nor a preset"),
        (("--version", "1.0.0", "--layout", ""), "--layout: neither a file nor a preset"),
        (("--version", "1.0.0", "--elf", "rom0.bin"), "blink has 1 ELF for 2 ROMs; give one for each, or none"),
        (("--version", "1.0.0", "--app", "a/b"), "--app: an application cannot be called 'a/b'"),
        (
            ("--version", "1.0.0", "--app", "a" * 101),
            "--app: an application cannot be called 'aaaaaaaaaaaaaaaaaaaa'...",
        ),
        (("--version", "1.0.0", "--app", "\udcff"), "--app: an application cannot be called '\\udcff'; its name"),
        (("--version", "1.0.0", "--app", "_status"), "--app: an application cannot be called '_status'; the web root"),
        (("--version", "1.0.0", "--device", ""), "'' is no device class"),
        (("--version", "1.0.0", "--proved-by", ""), "'' is no loader's name"),
        (("--version", "1.0.0", "--elf", "missing.elf"), "missing.elf: No such file or directory"),
        (("--version", "1.0.0", "--date", "x"), "--date: 'x' is no date; write it as 2026-11-23"),
        (("--version", "1.0.0", "--date", ""), "--date: '' is no date"),
        (("--version", "0.9.0"), "build/webroot: 0.9.0 of blink is older than 0.9.1, which is current"),
        (("--version", "1.0.0", "--in-folder"), "build/webroot: the web root has blink at its top"),
        (("--version", "1.0.0", "--web-root", "rom0.bin"), "rom0.bin: "),
    ],
)
def test_what_cannot_be_published_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    run(*PUBLISH, "--version", "0.9.1")
    assert refused(*PUBLISH, *arguments).startswith(message)


def test_no_name_of_a_folder_is_not_the_one_that_one_is_in(folder: Path) -> None:
    _, err = run(*PUBLISH, "--version", "1.0.0", "--web-root", "", status=2)
    assert err.endswith("argument --web-root: '' is no folder; write . for the one that you are in\n")
    assert not (folder / "manifest.json").exists()


def test_errors_about_a_rom_name_the_file_that_was_given(folder: Path) -> None:
    arguments = ("--app", "blink", "--layout", "1MB", "--version", "1.0.0")
    (folder / "old.bin").write_bytes(silent_rom())
    assert refused("publish", "rom0.bin", "./old.bin", *arguments).startswith(
        "old.bin is not the same application as rom0.bin; build both"
    )
    assert refused("publish", "rom1.bin", "rom0.bin", *arguments).startswith("rom1.bin is linked for 0x40282010")
    (folder / "old.bin").write_bytes(b"")
    assert refused("publish", "old.bin", *arguments).startswith("old.bin: not published: ")
    assert refused("publish", "none.bin", *arguments) == "none.bin: No such file or directory"
    assert refused("publish", ".", *arguments) == ".: Is a directory"
    assert refused("publish", "/proc/self/mem", *arguments) == "/proc/self/mem: Input/output error"
    assert refused("publish", *["rom0.bin"] * 3, *arguments) == (
        "blink has 3 ROMs for 2 slots; publish one for each slot"
    )


def test_force_and_downgrade_are_for_who_asks(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    for slot in (0, 1):
        (folder / f"rom{slot}.bin").write_bytes(silent_rom(64))
    assert refused(*PUBLISH, "--version", "1.0.0").endswith(
        "was published already, with other ROMs; raise the version; --force does it all the same, for the desk"
    )
    run(*PUBLISH, "--version", "1.0.0", "--force")
    assert (folder / "build/webroot/rom0.bin").read_bytes() == silent_rom(64)
    assert refused(*PUBLISH, "--version", "0.1.0").endswith(
        "; raise the version; `rbootimg rollback` goes back to what was published, "
        "--allow-downgrade allows it all the same"
    )
    run(*PUBLISH, "--version", "0.1.0", "--allow-downgrade")
    assert manifest(folder)["version"] == "0.1.0"


def test_releases_rollback_and_prune(folder: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.11.0"):
        run(*PUBLISH, "--version", version, "--date", "2026-11-23")
    assert run("rollback")[0].startswith("blink 1.10.0 is current again, instead of 1.11.0\n")
    assert run("releases")[0] == (
        "blink\n"
        "  1.10.0  current   2026-11-23  240 + 240 bytes\n"
        "  1.11.0            2026-11-23  240 + 240 bytes\n"
        "  1.9.0   previous  2026-11-23  240 + 240 bytes\n"
    )
    listed = json.loads(run("releases", "--json")[0])["blink"]
    assert [entry["version"] for entry in listed if entry["current"]] == ["1.10.0"]
    assert listed[0]["manifest"] == manifest(folder)
    assert run("rollback")[0].startswith("blink 1.9.0 is current again, instead of 1.10.0\n")
    assert refused("rollback") == (
        "build/webroot: no release of blink was current before 1.9.0, or it was taken back; there are 1.11.0, 1.10.0; "
        "name the one to go to: `rbootimg rollback VERSION`"
    )
    run("rollback", "1.10.0")
    assert run("rollback", "1.11.0")[0].startswith("blink 1.11.0 is current again, instead of 1.10.0\n")
    assert run("prune", "--keep", "2") == ("deleted: 1.9.0\n", "")
    assert run("prune", "--keep", "2") == ("nothing to delete\n", "")
    assert run("check") == ("build/webroot: ok\n", "")
    assert (
        refused("rollback", "1.9.0") == "build/webroot: there is no release '1.9.0' of blink; there are 1.11.0, 1.10.0"
    )
    assert refused("releases", "--app", "x") == "build/webroot: there is no application 'x', but blink"
    assert (
        "is no number of releases"
        in run("prune", "--keep", "-x", status=2)[1] + run("prune", "--keep", "x", status=2)[1]
    )


def test_check_tells_what_is_wrong_with_status_1(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    (folder / "build/webroot/version").write_text("9.9.9\n")
    text = "is not what 1.0.0 has; `rbootimg rollback 1.0.0` puts it right"
    assert run("check", status=1) == (f"version: {text}\n", "rbootimg: build/webroot: 1 fault\n")
    out, _ = run("check", "--json", status=1)
    assert json.loads(out) == [{"path": "version", "fault": True, "text": text}]
    assert run("rollback", "1.0.0") == ("blink 1.0.0 is current already; its files are in place again\n", "")
    assert run("rollback", "1.0.0") == ("blink 1.0.0 is current already\n", "")
    assert run("check", "--json") == ("[]\n", "")
    assert refused("check", "--web-root", "none") == "none: there is no such folder; nothing was published here"


def test_a_rom_less_needs_force_forth_and_back(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    one = ("publish", "rom0.bin", "--app", "blink", "--layout", "1MB", "--version", "1.1.0")
    text = "publish a ROM for each slot; --force does it all the same, for the desk"
    assert refused(*one).endswith(text)
    run(*one, "--force")
    assert not (folder / "build/webroot/rom1.bin").exists()
    run(*PUBLISH, "--version", "1.2.0")
    assert refused("rollback").endswith(text)
    assert run("rollback", "--force")[0].startswith("blink 1.1.0 is current again, instead of 1.2.0\n")


def test_the_ways_out_are_named(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0", "--in-folder")
    run(*PUBLISH, "--version", "1.0.0", "--app", "clock")
    assert (
        refused("rollback") == "build/webroot: there are several applications, blink, clock; select one with --app NAME"
    )
    (folder / "build/webroot/clock/releases/history.json").write_text("")
    assert refused("rollback", "--app", "clock").endswith(
        "clock/releases/history.json: does not say what is current: the history is not JSON; manifest.json is that of "
        "1.0.0, there are 1.0.0; run `rbootimg rollback VERSION` to rebuild it with VERSION current"
    )
    out, err = run("check", status=1)
    assert out.startswith("clock/releases/history.json: does not say what is current: the history is not JSON; ")
    assert err == "rbootimg: build/webroot: 1 fault\n"
    assert run("rollback", "1.0.0", "--app", "clock")[0].startswith("clock 1.0.0 is current again\n")
    assert run("check") == ("build/webroot: ok\n", "")
    for command in ("check", "releases", "rollback"):
        assert refused(command, "--web-root", ".") == (
            ".: there is rom0.bin, published without a version, but no release; run `rbootimg publish --version X.Y.Z`"
        )


@pytest.mark.parametrize("command", ["check", "releases", "rollback", "serve"])
def test_what_is_no_web_root_is_one_line(folder: Path, command: str) -> None:
    assert refused(command, "--web-root", "rom0.bin").startswith("rom0.bin: this is no folder")
    assert refused(command, "--web-root", "none").startswith("none: there is no such folder")


def test_check_with_an_url_names_it() -> None:
    assert refused("check", "--url", "http://127.0.0.1:1/") == (
        "http://127.0.0.1:1/: manifest.json has no reply: Connection refused; is the server up, and the URL right?"
    )
    assert refused("check", "--url", "x").startswith("x: this is no URL of a web root")
    assert refused("check", "--url", "http://[::1").startswith(
        "http://[::1: this is no URL of a web root: Invalid IPv6"
    )
    assert refused("check", "--url", "http://x/\n").startswith(
        "'http://x/\\n': this is no URL of a web root: it has a c"
    )


def test_check_with_an_url_prints_all_that_it_found_before_it_fails(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    told = ("manifest.json=redirect", "rom1.bin=reset@100")
    with serving(folder / "build/webroot", options=ServerOptions(faults=tuple(map(faults.parse, told)))) as at:
        url = f"http://127.0.0.1:{at.port}/"
        out, err = run("check", "--url", url, status=1)
        data, _ = run("check", "--url", url, "--json", status=1)
    size = (folder / "rom1.bin").stat().st_size
    assert out.splitlines() == [
        "manifest.json: redirects to /manifest.json?redirected (status 302); no device follows",
        "manifest.json: note: without it no digest of a ROM was compared",
        f"rom1.bin: ends after 100 bytes, {size - 100:,} too early: Connection reset by peer",
    ]
    assert err == f"rbootimg: {url}: 2 faults\n"
    assert [(found["path"], found["fault"]) for found in json.loads(data)] == [
        ("manifest.json", True),
        ("manifest.json", False),
        ("rom1.bin", True),
    ]


def test_of_an_url_each_finding_says_who_fails(folder: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    with serving(folder / "build/webroot", options=ServerOptions(faults=(faults.parse("rom1.bin=lower-case"),))) as at:
        out, _ = run("check", "--json", "--url", f"http://127.0.0.1:{at.port}/", status=1)
    (found,) = json.loads(out)
    assert (found["path"], found["fault"], found["client_fails"], found["sample_fails"]) == (
        "rom1.bin",
        True,
        False,
        True,
    )

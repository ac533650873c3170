"""The commands publish, releases, rollback, prune and check, as their users run them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.commands import refused, run
from support.images import elf, rom, silent_rom
from support.releases import THREE_TOML

from rbootimg.fileio import sha256_hex
from rbootimg.serve import faults
from rbootimg.serve.server import ServerOptions, serving

PUBLISH = ("publish", "rom0.bin", "rom1.bin", "--app", "blink", "--layout", "1MB")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two ROMs, and the one to work in."""
    for slot in (0, 1):
        (tmp_path / f"rom{slot}.bin").write_bytes(rom(slot))
    for name in ("RBOOT_VERSION", "RBOOT_DEVICE", "RBOOT_WEBROOT", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def manifest(directory: Path) -> dict[str, object]:
    return json.loads((directory / "build/webroot/manifest.json").read_bytes())


def test_publish_prints_the_current_files() -> None:
    roms = "".join(f"  rom{slot}.bin  240 bytes  sha256 {sha256_hex(rom(slot))}\n" for slot in (0, 1))
    assert run(*PUBLISH, "--version", "1.0.0") == (f"blink 1.0.0 is current\n{roms}", "")
    assert run(*PUBLISH, "--version", "1.0.0") == ("blink 1.0.0 is current already\n", "")
    assert run(*PUBLISH, "--version", "1.1.0") == (f"blink 1.1.0 is current (previously 1.0.0)\n{roms}", "")
    Path("key").write_bytes(b"k")
    out, _ = run(*PUBLISH, "--version", "1.1.0", "--file", "key", "--force")
    line, *files = out.splitlines()
    assert line == "blink 1.1.0 is current; the release of this version was replaced"
    assert files[-1].startswith("  releases/1.1.0/key  1 byte  sha256 ")
    assert "  1.1.0  current     240 + 240 bytes, 1 file (1 byte)\n" in run("releases")[0]


def test_notes_of_a_tag_that_are_refused_are_named(directory: Path) -> None:
    for command in (
        ("init", "-q"),
        ("add", "."),
        ("commit", "-q", "-m", "first"),
        ("tag", "-a", "v1.0.0", "-m", "x" * 65536),
    ):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=directory, check=True)
    line = "message of the git tag of 1.0.0: release notes are too large: expected at most 65,536 bytes, got 65,537"
    assert refused(*PUBLISH) == line


def test_publish_reads_defaults_from_the_environment(directory: Path) -> None:
    environment = {"RBOOT_VERSION": "2.0.0", "RBOOT_DEVICE": "board-b", "SOURCE_DATE_EPOCH": "1795392000"}
    run(*PUBLISH, "--web-root", "www", **environment)
    found = json.loads((directory / "www/manifest.json").read_bytes())
    assert [found[key] for key in ("version", "device", "date")] == ["2.0.0", "board-b", "2026-11-23"]
    assert refused(*PUBLISH, SOURCE_DATE_EPOCH="now", RBOOT_VERSION="1.0.0") == (
        "SOURCE_DATE_EPOCH: invalid time 'now': expected seconds since 1970, as `date +%s` prints them"
    )
    assert refused(*PUBLISH, RBOOT_VERSION="1.0") == (
        "$RBOOT_VERSION: invalid version '1.0': expected semver, e.g. 1.2.0 or 1.2.0-rc.1"
    )
    line = refused(*PUBLISH)
    assert line.startswith("no version: git reports 'fatal: not a git repository ")
    assert line.endswith("; pass --version X.Y.Z")


def commit(directory: Path, *tag: str) -> None:
    """Make `directory` a checkout whose commit is of 2026-11-23 and has a tag."""
    who = {f"GIT_{role}_{key}": "x" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {**os.environ, **who, "GIT_COMMITTER_DATE": "2026-11-23T12:00:00Z", "GIT_CONFIG_GLOBAL": os.devnull}
    for arguments in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", "first"), ("tag", *tag)):
        subprocess.run(["git", *arguments], cwd=directory, env=environment, check=True)


def test_publish_takes_version_date_and_notes_from_the_tag(directory: Path) -> None:
    commit(directory, "-a", "v1.2.0", "-m", "Sleeps deeply")
    run(*PUBLISH)
    found = manifest(directory)
    assert [found["version"], found["date"]] == ["1.2.0", "2026-11-23"]
    assert found["notes"]["path"] == "releases/1.2.0/notes.md"
    assert (directory / "build/webroot/releases/1.2.0/notes.md").read_bytes() == b"Sleeps deeply\n"
    run(*PUBLISH, "--version", "1.3.0", "--date", "2026-11-24")
    assert manifest(directory)["date"] == "2026-11-24"
    assert "notes" not in manifest(directory)
    run(*PUBLISH, "--version", "1.4.0", SOURCE_DATE_EPOCH="1700000000")
    assert manifest(directory)["date"] == "2023-11-14"


def test_publish_takes_notes_from_a_file(directory: Path) -> None:
    commit(directory, "-a", "v1.2.0", "-m", "Sleeps deeply")
    (directory / "NEWS.md").write_bytes(b"# New\n")
    run(*PUBLISH, "--notes", "NEWS.md")
    assert (directory / "build/webroot/releases/1.2.0/notes.md").read_bytes() == b"# New\n"
    assert "<h3>New</h3>" in (directory / "build/webroot/index.html").read_text()
    (directory / "NEWS.md").write_bytes(b"")
    assert refused(*PUBLISH, "--notes", "NEWS.md") == "NEWS.md: release notes are empty"
    assert refused(*PUBLISH, "--notes", "none.md") == "none.md: No such file or directory"
    (directory / "NEWS.md").write_bytes(b"other")
    assert "was published already with other release notes" in refused(*PUBLISH, "--notes", "NEWS.md")


def test_publish_takes_elfs_and_the_name_of_the_loader(directory: Path) -> None:
    elfs = []
    for slot in (0, 1):
        (directory / f"{slot}.elf").write_bytes(elf(slot))
        elfs += ["--elf", f"{slot}.elf"]
    run(*PUBLISH, "--version", "1.0.0", *elfs, "--proved-by", "rBoot 1.4.2")
    assert (directory / "build/webroot/releases/1.0.0/rom1.elf").read_bytes() == elf(1)
    assert [entry["proved_by"] for entry in manifest(directory)["roms"]] == ["rBoot 1.4.2"] * 2
    assert refused(*PUBLISH, "--version", "1.1.0", *elfs[2:], *elfs[:2]) == (
        "1.elf: does not match rom0.bin: no section starts at 0x40202010, where the ROM has flash code; pass "
        "the ELF of each ROM, in the order of the ROMs"
    )


def test_publish_records_the_region_of_a_data_file(directory: Path) -> None:
    (directory / "www.bin").write_bytes(b"files")
    command = (*PUBLISH, "--version", "1.0.0", "--file", "www.bin", "--file-region")
    assert refused(*command, "www.bin=files").endswith(
        "data file 'www.bin': unknown region 'files' for a file; the layout's regions: rf_cal, phy_init, sdk_params"
    )
    run(*command, "www.bin=sdk_params")
    assert [entry["region"] for entry in manifest(directory)["files"]] == ["sdk_params"]
    assert "invalid region 'www.bin': expected NAME=REGION" in run(*command, "www.bin", status=2)[1]


def test_publish_takes_data_files_by_their_own_or_another_name(directory: Path) -> None:
    (directory / "www").mkdir()
    (directory / "www/index.html").write_bytes(b"<p>")
    (directory / "ca.der").write_bytes(b"00")
    files = ("--file", "ui.html=www/index.html", "--file", "./ca.der")
    out, _ = run(*PUBLISH, "--version", "1.0.0", *files)
    assert out.splitlines()[3:] == [
        f"  releases/1.0.0/ca.der  2 bytes  sha256 {sha256_hex(b'00')}",
        f"  releases/1.0.0/ui.html  3 bytes  sha256 {sha256_hex(b'<p>')}",
    ]
    assert (directory / "build/webroot/releases/1.0.0/ui.html").read_bytes() == b"<p>"
    assert [entry["name"] for entry in manifest(directory)["files"]] == ["ca.der", "ui.html"]
    assert run("releases")[0].endswith("240 + 240 bytes, 2 files (5 bytes)\n")
    (directory / "ca.der").write_bytes(b"1")
    assert refused(*PUBLISH, "--version", "1.0.0", *files).endswith(
        "1.0.0 of blink was published already with other data files: a published version cannot change; use --force to "
        "override (development only)"
    )
    run(*PUBLISH, "--version", "1.0.0", "--force", *files[2:])
    assert sorted(path.name for path in (directory / "build/webroot/releases/1.0.0").iterdir()) == [
        "ca.der",
        "index.html",
        "manifest.json",
        "rom0.bin",
        "rom1.bin",
        "style.css",
        "version",
    ]
    assert run("check") == ("build/webroot: ok\n", "")


def test_publish_writes_checksum_files_that_sha256sum_reads(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0", "--checksum-files")
    for place in ("", "releases/1.0.0"):
        command = ["sha256sum", "--strict", "-c", "rom0.bin.sha256", "rom1.bin.sha256"]
        done = subprocess.run(
            command, cwd=directory / "build/webroot" / place, check=True, capture_output=True, text=True
        )
        assert done.stdout == "rom0.bin: OK\nrom1.bin: OK\n"
    assert manifest(directory)["checksum_files"] is True
    assert run("check") == ("build/webroot: ok\n", "")
    run(*PUBLISH, "--version", "1.1.0")  # the same ROMs
    assert not list((directory / "build/webroot").glob("*.sha256"))
    assert run(*PUBLISH, "--version", "1.1.0", "--checksum-files")[0] == (
        "blink 1.1.0 is current already; the stored release has the same ROMs and was kept, without the new checksum "
        "files\n"
    )
    assert run("check") == ("build/webroot: ok\n", "")


def test_publish_takes_a_recovery_rom(directory: Path) -> None:
    (directory / "three.toml").write_text(THREE_TOML)
    (directory / "old.bin").write_bytes(silent_rom())
    three = (*PUBLISH[:-1], "three.toml", "--version", "1.0.0")
    out, _ = run(*three, "--recovery", "2=old.bin", "--proved-by", "rBoot 1.4.2")
    size = len(silent_rom())
    assert out.splitlines()[3:] == [f"  releases/1.0.0/recovery.bin  {size} bytes  sha256 {sha256_hex(silent_rom())}"]
    assert (directory / "build/webroot/releases/1.0.0/recovery.bin").read_bytes() == silent_rom()
    found = manifest(directory)["recovery"]
    assert (found["slot"], found["flash_address"], found["proved_by"]) == (2, 0xC2000, "rBoot 1.4.2")
    assert run("releases")[0].endswith(f"240 + 240 bytes, recovery {size} bytes\n")
    assert run("check") == ("build/webroot: ok\n", "")
    (directory / "old.bin").write_bytes(rom(1))
    assert refused(*three, "--recovery", "2=old.bin").startswith("old.bin: not published: linked at 0x402")
    assert refused(*three, "--recovery", "1=old.bin").startswith(
        "--recovery: invalid slot 1 of the recovery ROM: expected 2"
    )
    assert refused(*three, "--recovery", "2=none.bin") == "none.bin: No such file or directory"
    assert refused(*PUBLISH, "--version", "1.0.0", "--recovery", "2=old.bin").startswith(
        "--recovery: blink has a ROM for each of the layout's 2 slots; add a slot to the layout"
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
        ("www/ui.html", "--file ui.html is given twice; rename one with --file NAME=PATH"),
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
        (("--version", "1.0.0", "--file", "rom0.bin"), "--file: invalid data file name 'rom0.bin': reserved for "),
        (("--version", "1.0.0", "--file", "a/b=rom0.bin"), "--file: invalid data file name 'a/b': expected up to 100 "),
        (("--version", "1.0"), "--version: invalid version '1.0': expected semver, e.g. 1.2.0 or 1.2.0-rc.1"),
        (("--version", ""), "--version: invalid version ''"),
        (("--version", "1.0.0", "--layout", "9MB"), "9MB: neither a file nor a preset"),
        (("--version", "1.0.0", "--layout", ""), "--layout: neither a file nor a preset"),
        (("--version", "1.0.0", "--elf", "rom0.bin"), "blink has 1 ELF for 2 ROMs: expected one for each or none"),
        (("--version", "1.0.0", "--app", "a/b"), "--app: invalid application name 'a/b'"),
        (
            ("--version", "1.0.0", "--app", "a" * 101),
            f"--app: invalid application name '{'a' * 99}…': ",
        ),
        (("--version", "1.0.0", "--app", "\udcff"), "--app: invalid application name '\\udcff': expected"),
        (("--version", "1.0.0", "--app", "_status"), "--app: invalid application name '_status': reserved for"),
        (("--version", "1.0.0", "--device", ""), "--device: invalid device class ''"),
        (("--version", "1.0.0", "--proved-by", ""), "--proved-by: invalid loader name ''"),
        (("--version", "1.0.0", "--elf", "missing.elf"), "missing.elf: No such file or directory"),
        (("--version", "1.0.0", "--date", "x"), "--date: invalid date 'x': expected YYYY-MM-DD"),
        (("--version", "1.0.0", "--date", ""), "--date: invalid date ''"),
        (
            ("--version", "0.9.0"),
            "build/webroot: 0.9.0 of blink is older than the current 0.9.1; run `rbootimg ",
        ),
        (("--version", "1.0.0", "--in-directory"), "build/webroot: the web root is that of blink alone"),
        (("--version", "1.0.0", "--web-root", "rom0.bin"), "rom0.bin: "),
    ],
)
def test_a_refused_publication_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    run(*PUBLISH, "--version", "0.9.1")
    assert refused(*PUBLISH, *arguments).startswith(message)


def test_no_name_of_a_directory_is_not_the_one_that_one_is_in(directory: Path) -> None:
    _, err = run(*PUBLISH, "--version", "1.0.0", "--web-root", "", status=2)
    assert err.endswith("argument --web-root: empty path: use . for the current directory\n")
    assert not (directory / "manifest.json").exists()


def test_errors_about_a_rom_name_the_file_that_was_given(directory: Path) -> None:
    arguments = ("--app", "blink", "--layout", "1MB", "--version", "1.0.0")
    (directory / "old.bin").write_bytes(silent_rom())
    assert refused("publish", "rom0.bin", "./old.bin", *arguments).startswith(
        "old.bin: not the same application as rom0.bin; build both"
    )
    assert refused("publish", "rom1.bin", "rom0.bin", *arguments).startswith("rom1.bin: linked at 0x40282010")
    (directory / "old.bin").write_bytes(b"")
    assert refused("publish", "old.bin", *arguments).startswith("old.bin: not published: ")
    assert refused("publish", "none.bin", *arguments) == "none.bin: No such file or directory"
    assert refused("publish", ".", *arguments) == ".: Is a directory"
    assert refused("publish", "/proc/self/mem", *arguments) == "/proc/self/mem: Input/output error"
    assert refused("publish", *["rom0.bin"] * 3, *arguments) == (
        "blink has 3 ROMs for 2 slots: expected one for each slot"
    )


def test_force_and_downgrade_need_an_option(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    for slot in (0, 1):
        (directory / f"rom{slot}.bin").write_bytes(silent_rom(64))
    assert refused(*PUBLISH, "--version", "1.0.0").endswith(
        "was published already with other ROMs: a published version cannot change; use --force to override "
        "(development only)"
    )
    run(*PUBLISH, "--version", "1.0.0", "--force")
    assert (directory / "build/webroot/rom0.bin").read_bytes() == silent_rom(64)
    assert refused(*PUBLISH, "--version", "0.1.0").endswith(
        "older than the current 1.0.0; run `rbootimg rollback` to return to an earlier release, or use "
        "--allow-downgrade"
    )
    run(*PUBLISH, "--version", "0.1.0", "--allow-downgrade")
    assert manifest(directory)["version"] == "0.1.0"


def test_releases_rollback_and_prune(directory: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.11.0"):
        run(*PUBLISH, "--version", version, "--date", "2026-11-23")
    assert run("rollback")[0].startswith("blink 1.10.0 is current again instead of 1.11.0\n")
    assert run("releases")[0] == (
        "blink\n"
        "  1.10.0  current      2026-11-23  240 + 240 bytes\n"
        "  1.11.0  rolled back  2026-11-23  240 + 240 bytes\n"
        "  1.9.0   previous     2026-11-23  240 + 240 bytes\n"
    )
    listed = json.loads(run("releases", "--json")[0])["applications"][0]["releases"]
    assert [entry["version"] for entry in listed if entry["current"]] == ["1.10.0"]
    assert [entry["version"] for entry in listed if entry["rolled_back"]] == ["1.11.0"]
    assert listed[0]["manifest"] == manifest(directory)
    assert run("rollback")[0].startswith("blink 1.9.0 is current again instead of 1.10.0\n")
    assert refused("rollback") == (
        "build/webroot: there is no previous release of blink to roll back to; available: 1.11.0, 1.10.0; run "
        "`rbootimg rollback VERSION`"
    )
    run("rollback", "1.10.0")
    assert run("rollback", "1.11.0")[0].startswith("blink 1.11.0 is current again instead of 1.10.0\n")
    assert run("prune", "--keep", "2") == ("deleted: 1.9.0\n", "")
    assert run("prune", "--keep", "2") == ("nothing to delete\n", "")
    assert run("check") == ("build/webroot: ok\n", "")
    assert refused("rollback", "1.9.0") == "build/webroot: unknown release '1.9.0' of blink; available: 1.11.0, 1.10.0"
    assert refused("releases", "--app", "x") == "build/webroot: unknown application 'x': expected one of blink"
    assert "invalid count 'x': expected an integer >= 0" in run("prune", "--keep", "x", status=2)[1]
    assert "--keep" in run("prune", "--keep", "-x", status=2)[1]


def test_check_prints_faults_and_exits_with_status_1(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    (directory / "build/webroot/version").write_text("9.9.9\n")
    text = "does not match 1.0.0; run `rbootimg rollback 1.0.0` to repair it"
    assert run("check", status=1) == (f"version: {text}\n", "rbootimg: build/webroot: 1 fault\n")
    out, _ = run("check", "--json", status=1)
    assert json.loads(out) == {
        "schema": 1,
        "findings": [
            {"path": "version", "fault": True, "text": text, "client_fails": None, "sample_fails": None},
        ],
    }
    assert run("rollback", "1.0.0") == ("blink 1.0.0 is current already; its files were repaired\n", "")
    assert run("rollback", "1.0.0") == ("blink 1.0.0 is current already\n", "")
    assert json.loads(run("check", "--json")[0]) == {"schema": 1, "findings": []}
    assert refused("check", "--web-root", "none") == "none: no such directory; nothing was published here"


def test_a_release_with_fewer_roms_needs_force_also_for_a_rollback(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    one = ("publish", "rom0.bin", "--app", "blink", "--layout", "1MB", "--version", "1.1.0")
    text = "expected a ROM for each slot; use --force to override (development only)"
    assert refused(*one).endswith(text)
    run(*one, "--force")
    assert not (directory / "build/webroot/rom1.bin").exists()
    run(*PUBLISH, "--version", "1.2.0")
    assert refused("rollback").endswith(text)
    assert run("rollback", "--force")[0].startswith("blink 1.1.0 is current again instead of 1.2.0\n")


def test_errors_have_a_hint(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0", "--in-directory")
    run(*PUBLISH, "--version", "1.0.0", "--app", "clock")
    assert (
        refused("rollback")
        == "build/webroot: the web root has several applications: blink, clock; select one with --app NAME"
    )
    (directory / "build/webroot/clock/releases/history.json").write_text("")
    assert refused("rollback", "--app", "clock").endswith(
        "clock/releases/history.json: invalid, so the current release is unknown: history: not JSON; manifest.json is "
        "that of 1.0.0, available: 1.0.0; run `rbootimg rollback VERSION` to rebuild it with VERSION current"
    )
    out, err = run("check", status=1)
    assert out.startswith(
        "clock/releases/history.json: invalid, so the current release is unknown: history: not JSON; "
    )
    assert err == "rbootimg: build/webroot: 1 fault\n"
    assert run("rollback", "1.0.0", "--app", "clock")[0].startswith("clock 1.0.0 is current again\n")
    assert run("check") == ("build/webroot: ok\n", "")
    for command in ("check", "releases", "rollback"):
        assert refused(command, "--web-root", ".") == (
            ".: there is no release, only rom0.bin, published without a version; run `rbootimg publish --version X.Y.Z`"
        )


@pytest.mark.parametrize("command", ["check", "releases", "rollback"])
def test_an_invalid_web_root_is_one_line(directory: Path, command: str) -> None:
    assert refused(command, "--web-root", "rom0.bin") == "rom0.bin: not a directory"
    assert refused(command, "--web-root", "none") == "none: no such directory; nothing was published here"


def test_serve_refuses_an_invalid_web_root_in_one_line(directory: Path) -> None:
    assert refused("serve", "--web-root", "rom0.bin").startswith("rom0.bin: not a directory")
    assert refused("serve", "--web-root", "none").startswith("none: no such directory")


def test_check_with_an_url_names_it() -> None:
    assert refused("check", "--url", "http://127.0.0.1:1/") == (
        "http://127.0.0.1:1/: manifest.json: request failed: Connection refused; check the URL and that the server is "
        "running"
    )
    assert refused("check", "--url", "x").startswith("x: invalid URL: missing http:// or host")
    assert refused("check", "--url", "http://[::1").startswith("http://[::1: invalid URL: Invalid IPv6")
    assert refused("check", "--url", "http://x/\n").startswith("http://x/\ufffd: invalid URL: control character")


def test_check_with_an_url_prints_all_findings_before_it_fails(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    told = ("manifest.json=redirect", "rom1.bin=reset@100")
    with serving(directory / "build/webroot", options=ServerOptions(faults=tuple(map(faults.parse, told)))) as at:
        url = f"http://127.0.0.1:{at.port}/"
        out, err = run("check", "--url", url, status=1)
        data, _ = run("check", "--url", url, "--json", status=1)
    size = (directory / "rom1.bin").stat().st_size
    assert out.splitlines() == [
        "manifest.json: redirect to /manifest.json?redirected (status 302); devices do not follow it",
        "manifest.json: note: without a manifest the content of the ROMs was not compared",
        f"rom1.bin: truncated after 100 bytes, {size - 100:,} missing: Connection reset by peer",
    ]
    assert err == f"rbootimg: {url}: 2 faults\n"
    assert [(found["path"], found["fault"]) for found in json.loads(data)["findings"]] == [
        ("manifest.json", True),
        ("manifest.json", False),
        ("rom1.bin", True),
    ]


def test_a_finding_about_an_url_tells_which_client_fails(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0")
    with serving(
        directory / "build/webroot", options=ServerOptions(faults=(faults.parse("rom1.bin=lower-case"),))
    ) as at:
        out, _ = run("check", "--json", "--url", f"http://127.0.0.1:{at.port}/", status=1)
    (found,) = json.loads(out)["findings"]
    assert (found["path"], found["fault"], found["client_fails"], found["sample_fails"]) == (
        "rom1.bin",
        True,
        False,
        True,
    )

"""Keys and signatures on the command line: keygen, the options that sign, and where keys are shown."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import refused, run
from support.images import rom
from support.keys import write_key
from support.project import ROOT
from support.releases import tree

from rbootimg.release import signing
from rbootimg.release.clientkeys import keys_header
from rbootimg.release.update import parse_update_file
from rbootimg.serve.server import serving

PUBLISH = ("publish", "rom0.bin", "rom1.bin", "--app", "blink", "--layout", "1MB")
VARIABLES = ("RBOOT_SIGN_KEY", "RBOOT_SIGN_COMMAND", "RBOOT_SIGN_PUBLIC_KEY", "RBOOT_SIGN_PASSPHRASE_FILE")
ROLLED_BACK = "blink 1.0.0 is current again instead of 1.1.0, signed with prod\n"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two ROMs, a key with a passphrase and one without, and the one to work in."""
    for slot in (0, 1):
        (tmp_path / f"rom{slot}.bin").write_bytes(rom(slot))
    write_key(tmp_path / "prod")
    write_key(tmp_path / "safe", b"secret words")
    (tmp_path / "passphrase").write_text("secret words\n")
    for name in ("RBOOT_VERSION", "RBOOT_DEVICE", "RBOOT_WEBROOT", "SOURCE_DATE_EPOCH", *VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(answers: str, *arguments: str) -> tuple[int, str]:
    """Run rbootimg on a terminal where somebody types `answers`, a line for each prompt: exit status and output."""
    command = [sys.executable, "-m", "rbootimg", *arguments]
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(PYTHONPATH=str(ROOT), NO_COLOR="1", TERM="dumb")
        os.execv(command[0], command)
    output = ""
    waiting = answers.splitlines(keepends=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and select.select([terminal], [], [], 60)[0]:
        try:
            data = os.read(terminal, 4096).decode()
        except OSError:  # the program has ended
            break
        output += data
        if data.rstrip("\n").endswith(": ") and waiting:
            time.sleep(0.1)  # until getpass has turned the echo off
            os.write(terminal, waiting.pop(0).encode())
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(terminal)
    return status, output.replace("\r\n", "\n")


def assert_signed_by(name: str) -> None:
    key = signing.read_public_key(Path(f"{name}.pub"))
    assert signing.verify(parse_update_file(Path("build/webroot/update").read_bytes()).signed, [key]) == key


# keygen


def test_keygen_writes_a_key_that_only_its_owner_reads(directory: Path) -> None:
    assert refused("keygen", "keys/new", "--no-passphrase") == "keys/new.key: No such file or directory"
    (directory / "keys").mkdir()
    out, _ = run("keygen", "keys/new", "--no-passphrase")
    number = signing.read_public_key(Path("keys/new.pub")).number.hex()
    assert out.splitlines() == [
        "keys/new.key: private key; keep it secret, and a copy in a safe place",
        f"keys/new.pub: public key {number}; commit it",
        "Build the update client with it: env.RbootOtaClient(RBOOT_UPDATE_KEYS=['keys/new.pub'])",
        "Sign releases with it: scons publish RBOOT_SIGN_KEY=keys/new.key",
    ]
    assert Path("keys/new.key").stat().st_mode & 0o777 == 0o600
    assert signing.key_name(signing.read_key(Path("keys/new.key")).public) == "new"
    before = tree(directory / "keys")
    assert refused("keygen", "keys/new", "--no-passphrase") == (
        "keys/new.key: exists already; a key is never overwritten"
    )
    Path("keys/new.key").unlink()
    assert refused("keygen", "keys/new", "--no-passphrase") == (
        "keys/new.pub: exists already; a key is never overwritten"
    )
    assert tree(directory / "keys") == {"new.pub": before["new.pub"]}


def test_keygen_takes_the_passphrase_from_a_file_or_the_terminal(directory: Path) -> None:
    run("keygen", "a", "--passphrase-file", "passphrase")
    signing.read_key(Path("a.key"), b"secret words")
    status, output = typed("typed words\ntyped words\n", "keygen", "b")
    assert (status, output.splitlines()[:2]) == (0, ["passphrase for b.key: ", "the same again: "])
    signing.read_key(Path("b.key"), b"typed words")
    assert "typed words" not in output
    for answers, message in (("x\ny\n", "the passphrases differ"), ("\n", "empty passphrase; use --no-passphrase")):
        status, output = typed(answers, "keygen", "c")
        assert status == 1
        assert f"rbootimg: c.key: {message}" in output
    assert refused("keygen", "c") == (
        "c.key: no terminal to ask for a passphrase; use --passphrase-file or --no-passphrase"
    )
    (directory / "empty").touch()
    assert refused("keygen", "c", "--passphrase-file", "empty") == "empty: empty: expected a passphrase"
    assert not list(directory.glob("c.*"))


@pytest.mark.parametrize("name", ["prod.key", "a b", "-x", "", "ä", "x" * 41, "."])
def test_a_key_needs_a_name_that_is_a_word(name: str) -> None:
    assert "invalid name of a key" in refused("keygen", "--no-passphrase", "--", name)


# Signing


def test_what_is_published_and_rolled_back_is_signed() -> None:
    out, _ = run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key")
    assert out.startswith("blink 1.0.0 is current, signed with prod\n")
    out, _ = run(*PUBLISH, "--version", "1.1.0", RBOOT_SIGN_KEY="prod.key")
    assert out.startswith("blink 1.1.0 is current (previously 1.0.0), signed with prod\n")
    out, _ = run("rollback", "--date", "2026-12-01", RBOOT_SIGN_KEY="prod.key")
    assert out.startswith(ROLLED_BACK)
    assert_signed_by("prod")
    assert b"\nissued 2026-12-01\n" in Path("build/webroot/update").read_bytes()
    run("rollback", "1.1.0", RBOOT_SIGN_KEY="prod.key", SOURCE_DATE_EPOCH="86400")
    assert b"\nissued 1970-01-02\n" in Path("build/webroot/update").read_bytes()
    assert refused("rollback", "--date", "1.12.2026") == "--date: invalid date '1.12.2026': expected YYYY-MM-DD"


def test_without_the_key_nothing_changes(directory: Path) -> None:
    run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key")
    run(*PUBLISH, "--version", "1.1.0", "--sign-key", "prod.key")
    before = tree(directory)
    for arguments in ((*PUBLISH, "--version", "1.2.0"), ("rollback",)):
        assert refused(*arguments) == (
            "build/webroot: the update file of blink is signed with prod: expected a key; use --sign-key, or set "
            "RBOOT_SIGN_KEY"
        )
    for arguments in (("--sign-key", "lost.key"), ("--sign-key", "rom0.bin"), ("--sign-key", "safe.key")):
        assert refused("rollback", *arguments).startswith(arguments[1])
    assert run("prune", "--keep", "0") == ("nothing to delete\n", "")
    assert tree(directory) == before


def test_another_key_is_told() -> None:
    write_key(Path("spare"))
    run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key")
    out, err = run(*PUBLISH, "--version", "1.0.0", "--sign-key", "spare.key")
    assert out == "blink 1.0.0 is current already; its update file is new, signed with spare\n"
    prod, spare = (signing.read_public_key(Path(f"{name}.pub")).number.hex() for name in ("prod", "spare"))
    assert err == (
        f"rbootimg: warning: blink is signed with spare (key {spare}), before with prod (key {prod}); devices that "
        "have only the old key refuse it\n"
    )
    run("keygen", "desk", "--development", "--no-passphrase")
    assert refused("rollback", "1.0.0", "--sign-key", "desk.key") == (
        "build/webroot: the update file of blink is signed with spare: desk is only for development"
    )


def test_a_passphrase_comes_from_a_file_or_the_terminal() -> None:
    command = (*PUBLISH, "--sign-key", "safe.key", "--version")
    assert refused(*command, "1.0.0") == "safe.key: the key has a passphrase; set RBOOT_SIGN_PASSPHRASE_FILE"
    run(*command, "1.0.0", RBOOT_SIGN_PASSPHRASE_FILE="passphrase")
    assert_signed_by("safe")
    status, output = typed("secret words\n", *command, "1.1.0")
    assert (status, output.count("passphrase of safe.key: ")) == (0, 1)
    assert "secret" not in output
    Path("passphrase").write_text("wrong")
    assert refused(*command, "1.2.0", RBOOT_SIGN_PASSPHRASE_FILE="passphrase") == (
        "safe.key: wrong passphrase, or a corrupt key"
    )
    status, output = typed("wrong words\n", *command, "1.2.0")
    assert (status, output.count("safe.key: wrong passphrase")) == (1, 1)
    assert not Path("build/webroot/releases/1.2.0").exists()


OPENSSL = "sh -c 'cat >m && openssl pkeyutl -sign -rawin -inkey prod.key -in m | base64 -w0'"


@pytest.mark.needs("openssl")
def test_a_command_signs() -> None:
    run(*PUBLISH, "--version", "1.0.0", "--sign-command", OPENSSL, "--sign-public-key", "prod.pub")
    assert_signed_by("prod")
    run(*PUBLISH, "--version", "1.1.0", RBOOT_SIGN_COMMAND=OPENSSL, RBOOT_SIGN_PUBLIC_KEY="prod.pub")
    assert_signed_by("prod")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("false", "false: signing failed with exit status 1"),
        ("sh -c 'echo no token >&2; exit 4'", "sh: signing failed with exit status 4: no token"),
        (
            "echo garbage",
            "echo: signing failed with an invalid answer: expected 64 bytes in base64, got 8 bytes",
        ),
        ("sh -c 'head -c64 /dev/zero | base64 -w0'", "build/webroot: signing failed: the signature does not match the"),
        ("no-such-program", "no-such-program: cannot run the signing command: No such file or directory"),
        ("sh -c 'open", 'invalid signing command "sh -c \'open": No closing quotation'),
        (" ", "invalid signing command ' ': expected a program"),
    ],
)
def test_a_command_that_fails_changes_nothing(directory: Path, command: str, message: str) -> None:
    run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key")
    before = tree(directory / "build")
    line = refused(*PUBLISH, "--version", "1.1.0", "--sign-command", command, "--sign-public-key", "prod.pub")
    assert line.startswith(message)
    assert tree(directory / "build") == before


def test_settings_that_do_not_go_together_are_refused() -> None:
    assert refused(*PUBLISH, "--version", "1.0.0", "--sign-command", "true") == (
        "a signing command needs the public key that verifies its signatures; use --sign-public-key, or set "
        "RBOOT_SIGN_PUBLIC_KEY"
    )
    assert refused(*PUBLISH, "--version", "1.0.0", RBOOT_SIGN_KEY="prod.key", RBOOT_SIGN_COMMAND="true") == (
        "RBOOT_SIGN_KEY: expected a key or a signing command, got both"
    )
    assert refused(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key", "--sign-public-key", "safe.pub") == (
        "safe.pub: not the public key of prod.key"
    )
    assert not Path("build").exists()
    # An option counts more than a variable of the other kind.
    run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key", RBOOT_SIGN_COMMAND="false")
    assert_signed_by("prod")


def test_without_cryptography_a_key_is_refused_and_all_else_works(directory: Path) -> None:
    hidden = directory / "hidden"
    (hidden / "cryptography").mkdir(parents=True)
    (hidden / "cryptography" / "__init__.py").write_text("raise ImportError('hidden')")
    path = f"{hidden}:{ROOT}"
    run(*PUBLISH, "--version", "1.0.0", PYTHONPATH=path)
    assert refused(*PUBLISH, "--version", "1.1.0", "--sign-key", "prod.key", PYTHONPATH=path) == (
        "signing requires the Python package cryptography; run `pip install 'rbootimg[sign]'`"
    )
    run(*PUBLISH, "--version", "1.1.0", "--sign-key", "prod.key")
    assert run("check", PYTHONPATH=path)[0].endswith("build/webroot: ok\n")
    assert "rbootimg[sign]" in refused("check", "--key", "prod.pub", PYTHONPATH=path)
    assert "rbootimg[sign]" in refused("keygen", "x", "--no-passphrase", PYTHONPATH=path)


# Where keys are shown


def test_check_holds_the_web_root_and_its_server_against_keys() -> None:
    write_key(Path("spare"))
    run(*PUBLISH, "--version", "1.0.0", "--date", "2026-11-27", "--sign-key", "prod.key")
    number = signing.read_public_key(Path("prod.pub")).number.hex()
    note = f"update: note: serial 1, issued 2026-11-27, signed with prod (key {number})"
    assert run("check") == (f"{note}, not verified\nbuild/webroot: ok\n", "")
    assert run("check", "--key", "prod.pub") == (f"{note}\nbuild/webroot: ok\n", "")
    assert run("check", "--key", "spare.pub", "--key", "prod.pub") == (f"{note}\nbuild/webroot: ok\n", "")
    out, err = run("check", "--key", "spare.pub", status=1)
    assert out.splitlines()[0] == f"update: signed with prod (key {number}): expected spare"
    assert err == "rbootimg: build/webroot: 1 fault\n"
    with serving(Path("build/webroot")) as at:
        url = f"http://127.0.0.1:{at.port}/"
        assert run("check", "--url", url, "--key", "prod.pub") == (f"{note}\n{url}: ok\n", "")
        assert run("check", "--url", url, "--key", "spare.pub", status=1)[1] == f"rbootimg: {url}: 1 fault\n"
    assert refused("check", "--key", "prod.key").startswith("prod.key: not a public key")


def test_releases_and_the_page_name_the_key() -> None:
    run(*PUBLISH, "--version", "1.0.0")
    assert run("releases")[0].startswith("blink\n")
    (app,) = json.loads(run("releases", "--json")[0])["applications"]
    assert app["update"]["key"] is None
    run(*PUBLISH, "--version", "1.1.0", "--sign-key", "prod.key")
    assert run("releases")[0].startswith("blink, signed with prod\n")
    (app,) = json.loads(run("releases", "--json")[0])["applications"]
    number = signing.read_public_key(Path("prod.pub")).number.hex()
    assert (app["update"]["serial"], app["update"]["key"]) == (2, {"name": "prod", "number": number})
    assert '<li><a href="update">signed with prod</a></li>' in Path("build/webroot/index.html").read_text()


def test_info_describes_update_files_and_public_keys() -> None:
    run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key")
    number = signing.read_public_key(Path("prod.pub")).number.hex()
    out, _ = run("info", "build/webroot/update")
    assert out.startswith("build/webroot/update: update file, valid\n")
    assert f"  signed   with prod (key {number}), not verified\n" in out
    found = json.loads(run("info", "build/webroot/update", "--json")[0])
    assert (found["kind"], found["version"], found["key"]) == ("update", "1.0.0", {"name": "prod", "number": number})
    assert [(each["slot"], each["flash_address"], each["slot_size"]) for each in found["roms"]] == [
        (0, 0x2000, 0x80000),
        (1, 0x82000, 0x79000),
    ]
    found = json.loads(run("info", "prod.pub", "--json")[0])
    assert (found["kind"], found["name"], found["number"]) == ("public key", "prod", number)
    assert found["development"] is False
    assert f"  number  {number}\n" in run("info", "prod.pub")[0]
    Path("broken").write_bytes(b"rbootimg-update 1\nend\n")
    out, err = run("info", "broken", status=1)
    assert out.startswith("broken: update file, invalid\n")
    assert err.startswith("rbootimg: broken: corrupt update file: expected the lines app, device")


@pytest.mark.needs("signify-openbsd")
def test_signify_verifies_what_is_published() -> None:
    run(*PUBLISH, "--version", "1.0.0", "--sign-key", "prod.key")
    command = ["signify-openbsd", "-V", "-q", "-e", "-p", "prod.pub", "-x", "build/webroot/update", "-m", "-"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(b"rbootimg-update 1\n")


# keys


@pytest.mark.needs("openssl")
def test_a_public_key_in_pem_gets_the_form_of_signify(directory: Path) -> None:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "token.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", "token.pem", "-pubout", "-out", "public.pem"], check=True)
    run("keys", "public.pem", "-o", "token.pub")
    key = signing.read_public_key(Path("token.pub"))
    private = signing.read_key(Path("token.pem")).public
    assert (key.key, key.number, signing.key_name(key)) == (private.key, private.number, "token")
    assert run("keys", "token.pub")[0] == Path("token.pub").read_text()
    assert run("keys", "public.pem")[0].startswith("untrusted comment: public public key\n")


def test_the_header_of_the_client_has_the_keys(directory: Path) -> None:
    write_key(directory / "spare")
    run("keys", "prod.pub", "spare.pub", "--client-header", "-o", "rboot-keys.h")
    keys = [signing.read_public_key(Path(f"{name}.pub")) for name in ("prod", "spare")]
    assert Path("rboot-keys.h").read_text() == keys_header(keys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("prod.key",), "prod.key: invalid public key in PEM"),
        (("prod.key", "prod.pub", "--client-header"), "prod.key: invalid public key in PEM"),
        (("missing",), "missing: No such file or directory"),
        (("prod.pub", "-o", "prod.pub"), "prod.pub: refusing to overwrite an input file"),
        (("prod.pub", "prod.pub", "--client-header"), "the same key twice: 'prod public key' and 'prod public key'"),
    ],
)
def test_keys_that_are_refused(directory: Path, arguments: tuple[str, ...], message: str) -> None:
    before = Path("prod.pub").read_bytes()
    assert refused("keys", *arguments) == message
    assert Path("prod.pub").read_bytes() == before


def test_several_keys_are_for_the_header(directory: Path) -> None:
    _, error = run("keys", "prod.pub", "safe.pub", status=2)
    assert error.endswith("several keys require --client-header\n")

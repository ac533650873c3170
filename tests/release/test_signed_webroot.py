"""The update file of a web root: what it says after each command, who signs it, and what happens without the key."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.keys import signer
from support.releases import make, make_roms, tree

from rbootimg.errors import Hint, PublishError, RbootError, SigningError
from rbootimg.fileio import sha256_hex
from rbootimg.release import signing, transaction, webroot
from rbootimg.release.check import check_web_root
from rbootimg.release.history import History
from rbootimg.release.signify import public_key_file
from rbootimg.release.signing import CommandSigner
from rbootimg.release.update import Update, UpdateFile, parse_update_file
from rbootimg.release.webroot import Outcome, list_updates, prune, publish, rollback, rollback_all

PROD, SPARE, DESK = signer("prod"), signer("spare"), signer("desk", development=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "www"


def put(root: Path, *versions: str, **options: object) -> None:
    for version in versions:
        publish(root, [make(version)], **options)


def update_file(directory: Path) -> UpdateFile:
    return parse_update_file((directory / "update").read_bytes())


def update(directory: Path) -> Update:
    return update_file(directory).update


def assert_signed_by(directory: Path, key: signing.Signer) -> None:
    assert signing.verify(update_file(directory).signed, [key.public]) == key.public


def history(directory: Path) -> History:
    return History.from_json((directory / "releases/history.json").read_bytes())


# What it says


def test_it_has_the_digests_of_the_current_release(root: Path) -> None:
    put(root, "1.0.0")
    roms = make_roms("1.0.0")
    assert (root / "update").read_text() == (
        "rbootimg-update 1\napp blink\ndevice esp8266\nversion 1.0.0\nserial 1\n"
        f"rom 0 2000 80000 {len(roms[0])} {sha256_hex(roms[0])}\n"
        f"rom 1 82000 79000 {len(roms[1])} {sha256_hex(roms[1])}\nend\n"
    )
    assert json.loads((root / "releases/history.json").read_bytes())["update"] == (root / "update").read_text()


def test_the_date_is_that_of_the_release_or_of_the_rollback(root: Path) -> None:
    publish(root, [make("1.0.0", date="2026-11-27")])
    assert update(root).issued == "2026-11-27"
    put(root, "1.1.0")
    assert update(root).issued is None
    rollback(root, date="2026-12-01")
    assert update(root).issued == "2026-12-01"


def test_the_serial_grows_with_each_file_and_only_then(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    assert update(root).serial == 2
    for nothing_new in (
        lambda: put(root, "1.1.0"),
        lambda: publish(root, [make("1.1.0", date="2026-11-27")]),
        lambda: rollback(root, "1.1.0"),
        lambda: prune(root, 5),
    ):
        nothing_new()
        assert update(root).serial == 2
    rollback(root)
    assert update(root).serial == 3
    publish(root, [make("1.0.0", size=128)], force=True)
    assert update(root).serial == 4
    assert update(root).roms[0].sha256 == sha256_hex(make_roms("1.0.0", 128)[0])
    (root / "releases/1.0.0/rom0.bin").unlink()
    assert publish(root, [make("1.0.0", size=128)])[0].changed
    assert update(root).serial == 4
    assert check_web_root(root) == ()


def test_what_is_rolled_back_is_withdrawn_until_it_is_current_again(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0")
    assert update(root).withdrawn == ()
    rollback(root)
    assert update(root).withdrawn == ("1.2.0",)
    rollback(root, "1.0.0")
    assert update(root).withdrawn == ("1.2.0", "1.1.0")
    put(root, "1.1.0")
    assert (update(root).version, update(root).withdrawn) == ("1.1.0", ("1.2.0",))
    put(root, "1.3.0")
    assert update(root).withdrawn == ("1.2.0",)
    rollback(root, "1.2.0")
    assert (update(root).version, update(root).withdrawn) == ("1.2.0", ("1.3.0",))
    assert check_web_root(root) == ()


def test_a_rollback_to_a_withdrawn_version_withdraws_the_newer_one(root: Path) -> None:
    """Devices that run it would otherwise take the older one for none of theirs."""
    put(root, "1.0.0", "1.1.0")
    rollback(root)
    put(root, "1.2.0")
    rollback(root, "1.1.0")
    assert (update(root).version, update(root).withdrawn) == ("1.1.0", ("1.2.0",))


def test_a_downgrade_withdraws_nothing(root: Path) -> None:
    """An older version that is published, not rolled back to, is for devices that have an even older one."""
    put(root, "1.0.0", "1.2.0")
    put(root, "1.1.0", allow_downgrade=True)
    assert (update(root).version, update(root).withdrawn) == ("1.1.0", ())


def test_a_pruned_version_stays_withdrawn(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0")
    rollback(root, "1.0.0")
    before = (root / "update").read_bytes()
    assert prune(root, 0) == ("1.2.0", "1.1.0")
    assert (root / "update").read_bytes() == before
    assert update(root).withdrawn == ("1.1.0", "1.2.0")
    assert check_web_root(root) == ()


def test_a_version_that_devices_cannot_read_is_not_published(root: Path) -> None:
    put(root, "1.0.0")
    before = tree(root)
    with pytest.raises(PublishError, match=r"devices cannot read the version '1\.1\.0-1234567890'"):
        put(root, "1.1.0-1234567890")
    assert tree(root) == before


def test_several_applications_have_a_file_each(root: Path) -> None:
    publish(root, [make("1.0.0"), make("1.0.0", "clock")], signer=PROD)
    publish(root, [make("1.1.0", "clock")], signer=PROD)
    assert {app: file and file.update.serial for app, file in list_updates(root).items()} == {"blink": 1, "clock": 2}
    rollback_all(root, "1.0.0", signer=PROD)
    assert [update(root / app).app for app in ("blink", "clock")] == ["blink", "clock"]
    assert [update(root / app).withdrawn for app in ("blink", "clock")] == [(), ("1.1.0",)]
    assert [update(root / app).serial for app in ("blink", "clock")] == [1, 3]
    assert {finding.fault for finding in check_web_root(root, [PROD.public])} == {False}


# Older and lost histories


def without_update_files(root: Path) -> None:
    """Make `root` one of an rbootimg that wrote none."""
    path = root / "releases/history.json"
    values = json.loads(path.read_bytes())
    del values["withdrawn"], values["update"]
    path.write_text(json.dumps(values))
    (root / "update").unlink()
    page = root / "index.html"
    page.write_text(page.read_text().replace('<li><a href="update">signed with prod</a></li>', ""))


def test_a_web_root_without_update_files_gets_one_with_the_next_command(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0")
    rollback(root)
    without_update_files(root)
    assert check_web_root(root) == ()
    assert [finding.path for finding in check_web_root(root, [PROD.public])] == ["update"]
    assert list_updates(root) == {"blink": None}
    (result,) = publish(root, [make("1.1.0")], signer=PROD)
    assert result.outcome is Outcome.ANNOUNCED
    assert (update(root).version, update(root).serial, update(root).withdrawn) == ("1.1.0", 1, ("1.2.0",))
    assert_signed_by(root, PROD)


def test_an_update_file_of_before_an_older_rbootimg_published_is_found(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    stale = (root / "update").read_bytes()
    rollback(root)
    without_update_files(root)
    (root / "update").write_bytes(stale)
    (finding,) = check_web_root(root)
    assert (finding.path, finding.text) == (
        "update",
        "announces 1.1.0: expected 1.0.0; run `rbootimg rollback 1.0.0` to repair it",
    )
    rollback(root, "1.0.0")
    assert (update(root).version, update(root).serial) == ("1.0.0", 1)


def test_a_lost_history_does_not_reset_the_serial_nor_drop_the_signature(root: Path) -> None:
    """Devices have stored the serial, and accept no lower one."""
    put(root, "1.0.0", "1.1.0", "1.2.0", signer=PROD)
    rollback(root, signer=PROD)
    before = (root / "update").read_bytes()
    (root / "releases/history.json").unlink()
    rollback(root, "1.1.0")
    assert (root / "update").read_bytes() == before
    (root / "releases/history.json").unlink()
    with pytest.raises(PublishError, match="is signed with prod: expected a key"):
        rollback(root, "1.0.0")
    rollback(root, "1.0.0", signer=PROD)
    assert (update(root).serial, update(root).withdrawn) == (5, ("1.2.0", "1.1.0"))
    assert_signed_by(root, PROD)


@pytest.mark.parametrize("kept", [("update", "manifest.json"), ("update",)])
def test_nor_do_lost_releases(root: Path, tmp_path: Path, kept: tuple[str, ...]) -> None:
    """A new web root continues the update file that is put into it."""
    put(root, "1.0.0", "1.1.0", signer=PROD)
    rollback(root, signer=PROD)
    new = tmp_path / "new"
    new.mkdir()
    for name in kept:
        shutil.copy(root / name, new)
    with pytest.raises(PublishError, match="is signed with prod: expected a key"):
        put(new, "1.2.0")
    put(new, "1.2.0", signer=PROD)
    assert (update(new).serial, update(new).withdrawn) == (4, ("1.1.0",))


def test_the_update_file_of_another_application_is_not_continued(root: Path, tmp_path: Path) -> None:
    publish(tmp_path / "other", [make("1.0.0", "clock")], signer=PROD)
    root.mkdir()
    shutil.copy(tmp_path / "other" / "update", root)
    put(root, "1.0.0")
    assert (update(root).app, update(root).serial) == ("blink", 1)


# Signatures


@pytest.mark.needs("signify-openbsd")
def test_signify_verifies_what_is_published(root: Path, tmp_path: Path) -> None:
    (tmp_path / "prod.pub").write_bytes(public_key_file(PROD.public))
    put(root, "1.0.0", "1.1.0", signer=PROD)
    rollback(root, signer=PROD)
    command = ["signify-openbsd", "-V", "-q", "-e", "-p", tmp_path / "prod.pub", "-x", root / "update", "-m", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == update_file(root).signed.message


def test_the_signature_leaves_room_for_less_withdrawn_versions(root: Path) -> None:
    put(root, "1.0.0", signer=PROD)
    path = root / "releases/history.json"
    values = json.loads(path.read_bytes())
    values["withdrawn"] = [f"1.1.{patch}" for patch in range(1000)]
    path.write_text(json.dumps(values))
    put(root, "1.2.0", signer=PROD)
    data = (root / "update").read_bytes()
    kept = update(root).withdrawn
    assert len(data) <= 4096 < len(data) + len("withdrawn 1.1.100\n")
    assert kept == tuple(values["withdrawn"][-len(kept) :])
    put(root, "1.2.0", signer=PROD)
    assert (root / "update").read_bytes() == data
    assert not [finding for finding in check_web_root(root, [PROD.public]) if finding.fault]


def test_a_signature_changes_nothing_else_that_devices_get(root: Path, tmp_path: Path) -> None:
    """The client of the tutorial, which does not read the update file, finds what it always found."""
    put(root, "1.0.0", "1.1.0")
    put(tmp_path / "signed", "1.0.0", "1.1.0", signer=PROD)
    unsigned, signed = tree(root), tree(tmp_path / "signed")
    assert unsigned.keys() == signed.keys()
    assert {name for name, data in unsigned.items() if signed[name] != data} == {
        *("update", "releases/history.json"),
        "index.html",  # names the key
    }


@pytest.mark.parametrize(
    "command",
    [
        lambda root: put(root, "1.3.0"),
        lambda root: put(root, "1.1.0", allow_downgrade=True),
        lambda root: publish(root, [make("1.2.0", size=128)], force=True),
        rollback,
        lambda root: rollback(root, "1.0.0"),
    ],
)
def test_what_was_signed_is_not_published_unsigned(root: Path, command: object) -> None:
    put(root, "1.0.0", "1.2.0", signer=PROD)
    before = tree(root)
    with pytest.raises(PublishError, match="the update file of blink is signed with prod: expected a key") as error:
        command(root)  # type: ignore[operator]
    assert error.value.hint is Hint.SIGN
    assert tree(root) == before


def test_what_changes_nothing_needs_no_key(root: Path) -> None:
    put(root, "1.0.0", "1.1.0", "1.2.0", signer=PROD)
    before = (root / "update").read_bytes()
    assert not publish(root, [make("1.2.0")])[0].changed
    (root / "releases/1.0.0/rom0.bin").write_bytes(b"x")
    assert publish(root, [make("1.0.0")])[0].outcome is Outcome.REPAIRED
    assert prune(root, 0) == ("1.0.0",)
    (root / "version").write_bytes(b"0")
    (root / "update").unlink()
    rollback(root, "1.2.0")
    assert (root / "update").read_bytes() == before
    assert not [finding for finding in check_web_root(root, [PROD.public]) if finding.fault]


def test_signatures_are_turned_on_without_another_release(root: Path) -> None:
    put(root, "1.0.0")
    (result,) = publish(root, [make("1.0.0")], signer=PROD)
    assert result.outcome is Outcome.ANNOUNCED
    assert update(root).serial == 2
    assert_signed_by(root, PROD)


def test_a_key_is_replaced_by_another(root: Path) -> None:
    put(root, "1.0.0", signer=PROD)
    (result,) = publish(root, [make("1.1.0")], signer=SPARE)
    numbers = [file.signed.number for file in (result.update_before, result.update) if file]
    assert numbers == [PROD.public.number, SPARE.public.number]
    assert_signed_by(root, SPARE)
    result = rollback(root, signer=PROD)
    assert (update(root).serial, result.outcome) == (3, Outcome.SWITCHED)
    assert_signed_by(root, PROD)


def test_a_key_for_development_signs_nothing_that_another_signed(root: Path) -> None:
    put(root, "1.0.0", signer=DESK)
    put(root, "1.1.0", signer=DESK)
    put(root, "1.2.0", signer=PROD)
    before = tree(root)
    with pytest.raises(PublishError, match="is signed with prod: desk is only for development"):
        put(root, "1.3.0", signer=DESK)
    with pytest.raises(PublishError, match="desk is only for development"):
        rollback(root, signer=DESK)
    assert tree(root) == before


def shell(script: str) -> CommandSigner:
    return CommandSigner(("sh", "-c", script), PROD.public)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "exit status 3"),
        ("echo garbage!", "invalid answer"),
        ("head -c 64 /dev/zero | base64 -w0", "does not match the public key prod"),
        ("sleep 60 & sleep 60", "no answer within"),
    ],
)
def test_a_signer_that_fails_changes_nothing(
    root: Path, script: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "COMMAND_TIMEOUT", 0.3)
    bundles = [make("1.0.0"), make("1.0.0", "clock")]
    publish(root, bundles, signer=PROD)
    publish(root, [make("1.1.0"), make("1.1.0", "clock")], signer=PROD)
    before, start = tree(root), time.monotonic()
    for command in (
        lambda: publish(root, [make("1.2.0"), make("1.2.0", "clock")], signer=shell(script)),
        lambda: rollback_all(root, signer=shell(script)),
    ):
        with pytest.raises(SigningError, match=f"signing failed.*{message}"):
            command()
        assert tree(root) == before
    assert time.monotonic() - start < 30
    assert {finding.fault for finding in check_web_root(root, [PROD.public])} == {False}


def test_if_one_of_several_is_not_signed_none_is_published(root: Path) -> None:
    class Once:
        """A key that signs once: the token is pulled out then."""

        public = PROD.public
        left = 1

        def sign(self, message: bytes) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise SigningError("no token")
            return PROD.sign(message)

    publish(root, [make("1.0.0"), make("1.0.0", "clock")], signer=PROD)
    before = tree(root)
    with pytest.raises(SigningError, match="no token"):
        publish(root, [make("1.1.0"), make("1.1.0", "clock")], signer=Once())
    assert tree(root) == before


def test_an_interrupted_switch_is_finished_without_the_key(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "1.0.0", signer=PROD)
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "_complete", lambda *_: sys.exit())
        patch.setattr(webroot, "repair", lambda *_: False)
        with pytest.raises(SystemExit):
            put(root, "1.1.0", signer=PROD)
    assert update(root).version == "1.0.0"
    assert rollback(root, "1.1.0").release.version == "1.1.0"
    assert update(root).version == "1.1.0"
    assert_signed_by(root, PROD)
    assert not [finding for finding in check_web_root(root, [PROD.public]) if finding.fault]


# Checks


def faults(root: Path, *keys: signing.Signer) -> list[tuple[str, str]]:
    found = check_web_root(root, [key.public for key in keys])
    return [(finding.path, finding.text) for finding in found if finding.fault]


def test_check_tells_who_signed(root: Path) -> None:
    publish(root, [make("1.0.0", date="2026-11-27")], signer=PROD)
    number = PROD.public.number.hex()
    for keys, verified in (((), ", not verified"), ((SPARE.public, PROD.public), "")):
        (note,) = check_web_root(root, keys)
        text = f"serial 1, issued 2026-11-27, signed with prod (key {number}){verified}"
        assert (note.path, note.text, note.fault) == ("update", text, False)


def test_check_finds_a_missing_or_other_signature(root: Path) -> None:
    put(root, "1.0.0")
    assert faults(root, PROD) == [("update", "not signed: expected a signature of prod")]
    put(root, "1.0.0", signer=SPARE)
    number = SPARE.public.number.hex()
    assert faults(root, PROD) == [("update", f"signed with spare (key {number}): expected prod")]
    same_number = PROD.public._replace(number=SPARE.public.number)
    assert check_web_root(root, [same_number])[0].text == "invalid signature of prod"


def test_check_finds_an_update_file_that_is_not_of_the_history(root: Path) -> None:
    put(root, "1.0.0", signer=PROD)
    old = (root / "update").read_bytes()
    put(root, "1.1.0", signer=PROD)
    (root / "update").write_bytes(old)
    assert faults(root) == [("update", "does not match 1.1.0; run `rbootimg rollback 1.1.0` to repair it")]
    (root / "update").unlink()
    assert faults(root) == [("update", "missing; run `rbootimg rollback 1.1.0` to repair it")]
    rollback(root, "1.1.0")
    assert faults(root, PROD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("device esp8266", "device lamp", "device class lamp: expected esp8266 as in the manifest"),
        ("rom 0 2000", "rom 0 3000", "other ROMs than in the manifest"),
        ("serial 1\n", "serial 1\nwithdrawn 0.9.0\n", "other withdrawn versions than in the history"),
    ],
)
def test_check_finds_a_history_whose_update_file_is_of_something_else(
    root: Path, old: str, new: str, problem: str
) -> None:
    put(root, "1.0.0")
    for path in (root / "update", root / "releases/history.json"):
        text = path.read_text()
        escaped = [part.replace("\n", "\\n") if path.suffix else part for part in (old, new)]
        assert escaped[0] in text
        path.write_text(text.replace(*escaped))
    assert faults(root) == [("update", f"{problem}; run `rbootimg rollback 1.0.0` to replace it")]
    rollback(root, "1.0.0")
    assert faults(root) == []
    assert update(root).serial == 2


def test_a_history_with_the_update_file_of_another_version_is_invalid(root: Path) -> None:
    put(root, "1.0.0", "1.1.0")
    path = root / "releases/history.json"
    path.write_text(path.read_text().replace("version 1.1.0", "version 1.0.0"))
    with pytest.raises(RbootError, match=r"history: update: expected 1\.1\.0 of blink, got 1\.0\.0 of blink"):
        put(root, "1.2.0")

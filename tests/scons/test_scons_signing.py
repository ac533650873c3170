"""Signed releases by `scons publish` and `scons rollback`, through the real SCons."""

from __future__ import annotations

import pytest
from support.keys import write_key
from support.project import TOOL, Project

from rbootimg.release import signing
from rbootimg.release.update import parse_update_file

pytestmark = pytest.mark.needs("xtensa-lx106-elf-gcc")

ROOT = "build/webroot"
NO_KEY = f"{ROOT}: the update file of app is signed with prod: expected a key; set RBOOT_SIGN_KEY"


@pytest.fixture
def signed(project: Project) -> Project:
    """A project with two keys, and without the proofs' time."""
    project.write("SConstruct", f"env = Environment({TOOL}, RBOOT_PROVE='never')\nenv.RbootApp('app', 'main.c')\n")
    write_key(project.directory / "prod")
    write_key(project.directory / "safe", b"secret words")
    project.write("passphrase", "secret words\n")
    return project


def assert_signed_by(project: Project, name: str) -> None:
    key = signing.read_public_key(project.directory / f"{name}.pub")
    assert signing.verify(parse_update_file(project.read(f"{ROOT}/update")).signed, [key]) == key


def test_publish_and_rollback_sign(signed: Project) -> None:
    place = f"{ROOT} (rom0 160 B, rom1 160 B)"
    output = signed.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_SIGN_KEY=prod.key")
    assert f"\npublished app 1.0.0 to {place}, not proved, signed with prod\n" in output
    signed.build("publish", "RBOOT_VERSION=1.1.0", "RBOOT_SIGN_KEY=#prod.key")
    assert_signed_by(signed, "prod")
    output = signed.build("rollback", "RBOOT_SIGN_KEY=prod.key")
    assert f"\napp 1.0.0 is current again instead of 1.1.0 in {place}, signed with prod\n" in output
    assert_signed_by(signed, "prod")
    assert "app, signed with prod\n" in signed.build("releases")


def test_without_the_key_nothing_changes(signed: Project) -> None:
    signed.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_SIGN_KEY=prod.key")
    signed.build("publish", "RBOOT_VERSION=1.1.0", "RBOOT_SIGN_KEY=prod.key")
    before = signed.read(f"{ROOT}/releases/history.json")
    assert NO_KEY in signed.fail("publish", "RBOOT_VERSION=1.2.0")
    assert NO_KEY in signed.fail("rollback")
    assert "safe.key: the key has a passphrase" in signed.fail("rollback", "RBOOT_SIGN_KEY=safe.key")
    assert "lost.key" in signed.fail("rollback", "RBOOT_SIGN_KEY=lost.key")
    assert signed.read(f"{ROOT}/releases/history.json") == before


def test_the_settings_may_be_in_the_sconstruct_or_the_shell(signed: Project) -> None:
    shell = {"RBOOT_SIGN_KEY": "safe.key", "RBOOT_SIGN_PASSPHRASE_FILE": "passphrase"}
    assert not signed.run("publish", "RBOOT_VERSION=1.0.0", environment=shell).status
    assert_signed_by(signed, "safe")
    settings = "RBOOT_SIGN_KEY='prod.key', RBOOT_PROVE"
    signed.write("SConstruct", signed.read("SConstruct").decode().replace("RBOOT_PROVE", settings))
    assert not signed.run("publish", "RBOOT_VERSION=1.1.0", environment=shell).status
    assert_signed_by(signed, "prod")


@pytest.mark.needs("openssl")
def test_a_command_signs(signed: Project) -> None:
    script = "sh -c 'cat >m && openssl pkeyutl -sign -rawin -inkey prod.key -in m | base64 -w0'"
    signed.build("publish", "RBOOT_VERSION=1.0.0", f"RBOOT_SIGN_COMMAND={script}", "RBOOT_SIGN_PUBLIC_KEY=prod.pub")
    assert_signed_by(signed, "prod")
    line = signed.fail("publish", "RBOOT_VERSION=1.1.0", "RBOOT_SIGN_COMMAND=false")
    assert line.endswith("needs the public key that verifies its signatures; set RBOOT_SIGN_PUBLIC_KEY")
    line = signed.fail("publish", "RBOOT_VERSION=1.1.0", "RBOOT_SIGN_COMMAND=false", "RBOOT_SIGN_PUBLIC_KEY=prod.pub")
    assert line.endswith("false: signing failed with exit status 1")
    assert not signed.exists(f"{ROOT}/releases/1.1.0")


def test_another_key_is_told(signed: Project) -> None:
    write_key(signed.directory / "spare")
    signed.build("publish", "RBOOT_VERSION=1.0.0", "RBOOT_SIGN_KEY=prod.key")
    done = signed.run("publish", "RBOOT_VERSION=1.1.0", "RBOOT_SIGN_KEY=spare.key")
    assert "rboot: warning: app is signed with spare (key " in done.err
    done = signed.run("rollback", "RBOOT_SIGN_KEY=prod.key")
    assert "rboot: warning: app is signed with prod (key " in done.err


def test_without_a_version_nothing_is_published_unsigned(signed: Project) -> None:
    assert "a signature needs a release: " in signed.fail("publish", "RBOOT_SIGN_KEY=prod.key")
    assert not signed.exists(f"{ROOT}/rom0.bin")


@pytest.mark.parametrize("name", ["RBOOT_SIGN_KEY", "RBOOT_SIGN_COMMAND"])
def test_the_settings_are_not_for_a_single_call(signed: Project, name: str) -> None:
    text = signed.read("SConstruct").decode()
    signed.write("SConstruct", text.replace("'main.c')", f"'main.c', {name}='x')"))
    assert f"{name}: not for a single call" in signed.fail()

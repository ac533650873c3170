"""The lock files in .ci/: what sconsw installs is what setup.cfg asks for, in one version, and known by its hashes."""

from __future__ import annotations

import re
from configparser import ConfigParser
from typing import NamedTuple

import pytest
from build import ProjectBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.project import ROOT

from rbootimg import requirements

REFRESH = "run .ci/lock"
PYTHONS = ("3.10.0", "3.10.13", "3.11.7", "3.12.1", "3.13.0")
PLATFORMS = ("linux", "darwin")


class Locked(NamedTuple):
    """An entry of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "=="
        return specifier.version


def lock(name: str) -> list[Locked]:
    """The entries of .ci/requirements-NAME.txt, which has nothing else: no option, no index."""
    text = (ROOT / f".ci/requirements-{name}.txt").read_text()
    lines = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    entries = [re.split(r"\s+--hash=", line.strip()) for line in lines]
    return [Locked(Requirement(requirement), tuple(hashes)) for requirement, *hashes in entries]


def asked_for(*extras: str) -> list[str]:
    """What setup.cfg asks for with these extras, and pyproject.toml to build it."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in extras)]
    return [*ProjectBuilder(ROOT).build_system_requires, *filter(None, "\n".join(texts).splitlines())]


def applies(requirement: Requirement, python: str, platform: str) -> bool:
    environment = {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": platform,
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("name", "extras"), [("run", []), ("test", ["test", "docs"])])
def test_what_setup_cfg_asks_for_is_locked_for_each_python(
    name: str, extras: list[str], python: str, platform: str
) -> None:
    entries = [entry for entry in lock(name) if applies(entry.requirement, python, platform)]
    versions = {entry.name: entry.version for entry in entries}
    assert len(versions) == len(entries), "a package in two versions"
    for text in asked_for(*extras):
        wanted = Requirement(text)
        if applies(wanted, python, platform):
            version = versions.get(canonicalize_name(wanted.name))
            assert version, f"{text} is not locked: {REFRESH}"
            assert wanted.specifier.contains(version), f"{text}, but {version} is locked: {REFRESH}"


@pytest.mark.parametrize("name", ["build", "platformio", "run", "test"])
def test_each_locked_package_is_known_by_its_hashes(name: str) -> None:
    entries = lock(name)
    assert entries
    for requirement, hashes in entries:
        assert not requirement.url
        assert hashes, f"{requirement} has no hash: {REFRESH}"
        for digest in hashes:
            assert re.fullmatch("sha256:[0-9a-f]{64}", digest), requirement


def test_the_tests_run_with_the_versions_that_users_have() -> None:
    for entry in (*lock("build"), *lock("run")):
        same = [(other.version, other.hashes) for other in lock("test") if other.name == entry.name]
        assert (entry.version, entry.hashes) in same, f"the tests have another {entry.name}: {REFRESH}"


def test_setuptools_is_locked_for_what_comes_as_source() -> None:
    built_with = {Requirement(text).name for text in ProjectBuilder(ROOT).build_system_requires}
    assert {entry.name for entry in lock("build")} == built_with == {"setuptools"}


def test_the_tool_reports_each_required_package_that_is_missing() -> None:
    """But SCons, in which it runs, and on this Python."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = [Requirement(line) for line in config["options"]["install_requires"].split("\n") if line]
    names = {each.name for each in required if each.marker is None or each.marker.evaluate()}
    assert {*requirements._PACKAGES.values(), "scons"} == names

"""The fixture of whole builds, and the programs that tests need: without one of them a run ends before it begins."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser

pytest.register_assert_rewrite("support")

from support import browser  # noqa: E402
from support.project import APP, TOOL, Project  # noqa: E402

OTHER_NAMES = {"chromium": "chromium-browser"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-docs", action="store_true", help="write what commands print into the documentation")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one application, `app`, in the two slots of a 1 MB flash."""
    project = Project(tmp_path / "project")
    project.write("main.c", APP)
    project.write("SConstruct", f"env = Environment({TOOL})\nenv.RbootApp('app', 'main.c')\n")
    return project


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser."""
    with browser.chromium() as started:
        yield started


def missing_programs(items: Iterable[pytest.Item]) -> list[str]:
    """What the tests are marked to need, `@pytest.mark.needs(PROGRAM, ...)`, and this machine does not have."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"  # a server's program is where only root's PATH leads
    needed = {program for item in items for mark in item.iter_markers("needs") for program in mark.args}
    return sorted(
        program
        for program in needed
        if not any(shutil.which(name, path=path) for name in (program, OTHER_NAMES.get(program, program)))
    )


def end_without(programs: list[str]) -> NoReturn:
    pytest.exit(
        f"these tests need {', '.join(programs)}: not on PATH; `./sconsw test` installs what is missing",
        returncode=pytest.ExitCode.USAGE_ERROR,
    )


@pytest.hookimpl(trylast=True)  # after the tests that are not asked for have gone
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = [] if config.option.collectonly else missing_programs(items)
    if missing and hasattr(config, "workeroutput"):  # of xdist, of whose processes one shall say it
        config.workeroutput["missing"] = missing
        items.clear()
    elif missing:
        end_without(missing)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    if missing := getattr(node, "workeroutput", {}).get("missing"):
        end_without(missing)

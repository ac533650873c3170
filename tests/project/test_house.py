"""The shape of the package: imports in one direction, packages that are no more than their name and a sentence."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

PACKAGE = ROOT / "rbootimg"
MODULES = sorted(PACKAGE.rglob("*.py"))
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(cache_dir=sys.argv[1]))"


def test_imports_go_in_one_direction(tmp_path: Path) -> None:
    """The contracts of setup.cfg, those for typing alone included."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_module_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name != "__main__.py":
        assert ast.get_docstring(tree)
    if path.name == "__init__.py" and path.parent != PACKAGE:
        assert len(tree.body) == 1, "a docstring only, for the time that a start takes"


def test_tests_share_by_support_alone() -> None:
    """And no directory of them is a package, so that none stands before an installed one of its name."""
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert [path.parent.name for path in paths if path.name == "__init__.py"] == ["support"]
    modules = {path.stem for path in paths if "support" not in path.parts} | {"conftest"}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not modules & {name.split(".")[0] for name in names}, path

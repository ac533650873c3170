"""The public API: lazy, complete, and enough for the example."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys

import pytest
from support import chip
from support.project import ROOT, Project

import rbootimg


def test_every_name_is_there_and_documented() -> None:
    page = (ROOT / "docs" / "reference" / "library.md").read_text()
    for name in rbootimg.__all__:
        value = getattr(rbootimg, name)
        assert name in dir(rbootimg)
        if name not in ("__version__", "LAYOUT_PRESETS"):
            assert getattr(value, "__doc__", None), name
    listed = " ".join(re.findall(r"```{rboot-api}\n(.*?)```", page, re.DOTALL)).split()
    assert sorted(listed) == sorted({*rbootimg.__all__} - {"__version__"})
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rbootimg.nothing  # noqa: B018


def test_what_is_typed_is_what_is_there() -> None:
    tree = ast.parse((ROOT / "rbootimg" / "__init__.py").read_text())
    [typed] = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    names = {alias.name: node.module for node in typed.body for alias in node.names}
    assert names == rbootimg._HOME
    assert sorted({*names, "__version__"}) == sorted(rbootimg.__all__)


def test_to_import_the_package_loads_none_of_it() -> None:
    code = "import sys, rbootimg; print(*(name for name in sys.modules if name.startswith('rbootimg.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["rbootimg._version"]


@pytest.mark.needs("qemu-system-xtensa", "xtensa-lx106-elf-gcc")
def test_the_example_uses_the_public_api_alone_and_publishes(project: Project) -> None:
    source = (ROOT / "examples" / "library" / "release.py").read_text()
    assert set(re.findall(r"rbootimg[.\w]*", source.partition("import sys")[2])) == {"rbootimg"}
    project.build()
    project.write("rboot.bin", chip.loader(rbootimg.preset_layout("1MB").loader))
    shutil.copy(ROOT / "examples" / "library" / "release.py", project.directory / "release.py")
    elfs = ["app/rom0.elf", "app/rom1.elf"]
    command = [sys.executable, "release.py", "1.0.0", "1MB", "rboot.bin", "web", *elfs]
    done = subprocess.run(command, cwd=project.directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ROM 1 boots: " in done.stdout
    assert "app 1.0.0 is current in web" in done.stdout.replace(str(project.directory) + "/", "")
    assert project.read("web/rom1.bin") == project.read("app/rom1.bin")
    again = subprocess.run([*command[:-2], *reversed(elfs)], cwd=project.directory, capture_output=True, text=True)
    assert again.returncode == 1
    assert again.stderr.startswith("release: ")
    assert "Traceback" not in again.stderr

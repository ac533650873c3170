"""Places where nothing can be written, and a process that meets them: with a full disk and a read-only file system of
its own, and without root's right to pass over permissions.

As a program it is that process: it runs each command line of a list in JSON from stdin, and prints what came of it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).resolve().parents[1]
LONG = "n" * 300

_PROCESS = """
mount -t tmpfs -o size=4k none full
head -c 4096 /dev/zero > full/filler
mount -t tmpfs -o size=8k none small
mount --bind read-only read-only
mount -o remount,bind,ro read-only
exec setpriv --bounding-set=-dac_override,-dac_read_search,-fowner "$@"
"""


class Outcome(NamedTuple):
    """What a command came to: its exit status, what it said on stderr, and whether anything `changed`."""

    status: int
    error: str
    changed: bool


def prepare(directory: Path) -> None:
    """Make the places in `directory`."""
    for name in ("directory", "closed", "shut", "read-only", "full", "small"):
        (directory / name).mkdir()
    for name in ("file", "directory/old", "closed/old", "read-only/old"):
        (directory / name).write_bytes(b"old")
    (directory / "dangling").symlink_to("nowhere")
    (directory / "dangling-deep").symlink_to("nowhere/out")
    (directory / "loop").symlink_to("loop-back")
    (directory / "loop-back").symlink_to("loop")
    (directory / "closed").chmod(0o555)
    (directory / "shut").chmod(0)


def outcomes(directory: Path, commands: list[list[str]], **environment: str) -> list[Outcome]:
    """Run the rbootimg command lines in `directory`, where prepare() was."""
    own = ["--map-root-user"] if os.getuid() else []
    start = ["unshare", "--mount", *own, "sh", "-e", "-c", _PROCESS, "sh"]
    probe = subprocess.run([*start, "true"], cwd=directory, capture_output=True, text=True, check=False)
    assert probe.returncode == 0, (
        f"these tests mount file systems: run them as root, or allow user namespaces: {probe.stderr}"
    )
    done = subprocess.run(
        [*start, sys.executable, "-B", __file__],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS))), **environment},
        input=json.dumps(commands),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return [Outcome(*outcome) for outcome in json.loads(done.stdout)]


def contents(directory: Path) -> dict[str, object]:
    """All that is in `directory`."""
    found: dict[str, object] = {}
    for above, directories, files in os.walk(directory):
        for path in (Path(above, name) for name in (*directories, *files)):
            what: object = os.readlink(path) if path.is_symlink() else path.lstat().st_mode
            if path.is_file() and not path.is_symlink():
                what = path.read_bytes()
            found[str(path)] = what
    return found


def _run(arguments: list[str]) -> Outcome:
    from rbootimg.cli.main import main

    before = contents(Path())
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main(arguments)
    return Outcome(status, said.getvalue(), contents(Path()) != before)


if __name__ == "__main__":
    print(json.dumps([_run(arguments) for arguments in json.load(sys.stdin)]))

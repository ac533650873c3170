"""`python -m SCons` and `python -m rbootimg`, forked from processes that have loaded all that these import.

A start costs some milliseconds of CPU time instead of some hundred. Each has its own memory, directory, environment and
standard streams, as if it had been started. Some tests of each program start it with its interpreter, too.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_PATHS = [str(ROOT), str(ROOT / "tests")]
THIRD_PARTY = ("elftools.common.utils", "elftools.elf.structs", "jinja2", "markupsafe", "semver")
PRELOADED = {
    # Of rbootimg all but the packages that the program does not use, so that it must import what it uses.
    "SCons": (("rbootimg.cli", "rbootimg.commands", "rbootimg.platformio"), ("SCons.Script", *THIRD_PARTY)),
    "rbootimg": (
        ("rbootimg.platformio", "rbootimg.scons", "rbootimg.site_tools"),
        (*THIRD_PARTY, "rich.console", "rich.live", "rich.padding", "rich.progress_bar", "rich.table", "esptool"),
    ),
}


def run_module(
    module: str,
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    typed: str = "",
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Do what subprocess.run([sys.executable, "-m", module, *arguments], input=typed, text=True) does, and capture
    what is printed.
    """
    environment = dict(os.environ if env is None else env)
    if any(environment.get(name, "") not in values for name, values in _interpreter(environment)):
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=cwd,
            env=environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    request = {"arguments": arguments, "cwd": os.fspath(cwd or os.getcwd()), "environment": environment}
    return _server(module, os.getpid()).run(request, typed, timeout)


def _interpreter(environment: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    """The variables that a Python reads when it starts, with the values that they may have for one that is forked."""
    names = (name for name in {**environment, **os.environ} if name.startswith(("PYTHON", "LC_", "LANG", "LD_")))
    known = [(name, os.environ.get(name, "")) for name in names]
    return [(name, ("", str(ROOT)) if name == "PYTHONPATH" and not value else (value,)) for name, value in known]


class _Server:
    def __init__(self, module: str) -> None:
        self._module = module
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"import sys; sys.path[1:1] = {_PATHS}; from support import programs; programs.serve({module!r})"
        with theirs:
            self._process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs)

    def run(self, request: object, typed: str, timeout: float) -> subprocess.CompletedProcess[str]:
        (stdin, typing), *pipes = (os.pipe() for _ in range(3))
        with open(typing, "w") as keyboard:
            keyboard.write(typed)  # which a pipe holds
        theirs = [stdin, *(write for _, write in pipes)]
        socket.send_fds(self._link, [json.dumps(request).encode()], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        printed = [b"", b""]

        def read(number: int) -> None:
            with open(pipes[number][0], "rb") as pipe:
                printed[number] = pipe.read()

        readers = [threading.Thread(target=read, args=[number], daemon=True) for number in range(2)]
        for reader in readers:
            reader.start()
        child = int(self._link.recv(100))
        self._link.settimeout(timeout)
        try:
            status = int(self._link.recv(100))
        except TimeoutError:
            os.kill(child, signal.SIGKILL)
            self._link.settimeout(None)
            self._link.recv(100)
            raise subprocess.TimeoutExpired([self._module], timeout) from None
        self._link.settimeout(None)
        for reader in readers:
            reader.join()
        out, err = (text.decode().replace("\r\n", "\n") for text in printed)
        return subprocess.CompletedProcess([self._module], os.waitstatus_to_exitcode(status), out, err)


@functools.cache
def _server(module: str, _process: int) -> _Server:
    """One for each process of tests, until this ends."""
    return _Server(module)


def serve(module: str) -> None:
    """Run what is asked for on stdin, a socket, each in a process of its own."""
    link = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    _preload(module)
    del sys.path[1 : 1 + len(_PATHS)]
    gc.collect()
    gc.freeze()
    while True:
        request, descriptors, _, _ = socket.recv_fds(link, 1 << 20, 3)
        if not request:
            os._exit(0)
        child = os.fork()
        if not child:
            link.close()
            _become(module, descriptors, **json.loads(request))
        for descriptor in descriptors:
            os.close(descriptor)
        link.send(str(child).encode())
        link.send(str(os.waitpid(child, 0)[1]).encode())


def _preload(module: str) -> None:
    without, names = PRELOADED[module]
    for name in names:
        importlib.import_module(name)
    import rbootimg

    for found in pkgutil.walk_packages(rbootimg.__path__, "rbootimg."):
        if not found.name.startswith((*without, "rbootimg.__main__")):
            importlib.import_module(found.name)
    if module == "SCons":
        import SCons.Tool

        for found in pkgutil.iter_modules(SCons.Tool.__path__, "SCons.Tool."):
            if not found.name.startswith(("SCons.Tool.ms", "SCons.Tool.MS", "SCons.Tool.ninja")):
                importlib.import_module(found.name)


def _uses_this_tool(directory: Path) -> bool:
    """Whether the project has the tool from this checkout, and not a copy or an installed one."""
    if any((directory / name).exists() for name in ("rbootimg", "site_scons", "vendor")):
        return False
    try:
        return str(ROOT / "site_scons" / "site_tools") in (directory / "SConstruct").read_text()
    except (OSError, UnicodeDecodeError):
        return False


def _become(module: str, descriptors: list[int], arguments: list[str], cwd: str, environment: dict[str, str]) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[0] = cwd  # as of `python -m`
    sys.path[1:1] = [
        path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", *sys.path)
    ]
    if module == "SCons" and not _uses_this_tool(Path(cwd)):
        for name in [name for name in sys.modules if name.split(".")[0] == "rbootimg"]:
            del sys.modules[name]
    spec = importlib.util.find_spec(f"{module}.__main__")
    assert spec is not None
    assert spec.origin is not None
    sys.argv = [spec.origin, *arguments]
    sys.orig_argv = [sys.executable, "-m", module, *arguments]
    status = 0
    try:
        if module == "SCons":
            import SCons.Script

            SCons.Script.main()
        else:
            from rbootimg.cli.main import main

            sys.exit(main())
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

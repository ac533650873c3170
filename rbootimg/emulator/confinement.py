"""Confinement of the emulator: a ROM can access only the files in the directory of its run.

The emulated mask ROM needs QEMU's semihosting, whose `open` takes any path of the host, so a ROM could open any file.
Landlock (Linux 5.13) prevents it: the restriction is set between fork and exec, without privileges and without a
helper program. QEMU's own `-sandbox` (seccomp), where built in, also prevents new processes.

Sources: the kernel's userspace-api/landlock.rst and linux/landlock.h; landlock(7), prctl(2), setrlimit(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import glob
import os
import resource
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ..errors import EmulatorError, SettingError

CHOICES = ("auto", "always")
"""Values of RBOOT_CONFINE: confine if the kernel can, or refuse to run if it cannot."""

WARNING = (
    "emulator not confined: the kernel lacks Landlock (Linux 5.13), so a ROM can access all of your files; set "
    "RBOOT_CONFINE=always to refuse to run it"
)
"""The warning if ROMs are not confined."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
# The same on all architectures that QEMU and Debian's packages for it run on.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE = 1, 1 << 1, 1 << 2
_TRUNCATE = 1 << 14
# By the ABI version that introduced them: a kernel rejects rights that it does not know.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: _TRUNCATE, 5: 1 << 15}  # 1 to 13, REFER, TRUNCATE, IOCTL_DEV
_TCP_RIGHTS = {4: 3}  # BIND_TCP, CONNECT_TCP
_SCOPES = {6: 3}  # abstract UNIX sockets, signals

_LIBRARIES = ("/lib", "/usr/lib")  # only their per-architecture directories, if there are any
_MORE_LIBRARIES = (
    *("/lib32", "/lib64", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew", "/etc/ld.so.cache"),
)
"""The files that a program needs to start. A ROM can read them too; they contain no user data."""

_SCRIPTS = ("/bin", "/usr/bin", "/dev/null")
"""The files that a script needs too: in some distributions QEMU is a wrapper script."""

_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def landlock_abi() -> int:
    """Return the ABI version of the kernel's Landlock, 0 if it is missing or disabled."""
    if sys.platform != "linux":
        return 0
    return max(_syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION), 0)


def check(choice: str) -> str | None:
    """Return the warning for running ROMs with RBOOT_CONFINE=`choice`, None if they are confined.

    Raises SettingError if `choice` is not one of CHOICES; EmulatorError if it is "always" and the kernel cannot do it.
    """
    choice = choice or "auto"
    if choice not in CHOICES:
        raise SettingError(f"invalid value {choice!r}: expected auto or always", subject="RBOOT_CONFINE")
    if landlock_abi():
        return None
    if choice == "always":
        raise EmulatorError(
            "cannot confine the emulator: the kernel lacks Landlock (Linux 5.13); set RBOOT_CONFINE=auto to run it "
            "unconfined"
        )
    return WARNING


@contextlib.contextmanager
def child_setup(directory: Path, program: str, mask_rom: Path, file_size: int) -> Iterator[Callable[[], None]]:
    """Return the `preexec_fn` that confines `program` (QEMU), to be called between fork and exec, at most once.

    The program can then read and write, but not create, files in `directory`, and read `mask_rom` and the files that it
    needs to start. Its files are limited to `file_size` bytes, and it ends with the *thread* that started it.
    All that takes locks or memory is done here in the parent, as other threads may run; the child only makes a few
    system calls. Raises EmulatorError if the kernel has Landlock and rejects a rule.
    """
    if sys.platform != "linux":
        yield _no_confinement
        return
    abi = landlock_abi()
    parent = os.getpid()
    prctl, setrlimit = _libc().prctl, resource.setrlimit
    limits = [
        (kind, _limits(kind, limit)) for kind, limit in ((resource.RLIMIT_FSIZE, file_size), (resource.RLIMIT_CORE, 0))
    ]
    syscall = _libc().syscall
    ruleset = _ruleset(abi, directory, program, mask_rom) if abi else -1
    get_parent, leave = os.getppid, os._exit

    def confine() -> None:
        for kind, values in limits:
            setrlimit(kind, values)
        prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        if get_parent() != parent:  # the parent ended before PDEATHSIG was set
            leave(1)
        if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError
        if ruleset >= 0 and syscall(_RESTRICT_SELF, ruleset, 0):
            raise OSError

    try:
        yield confine
    finally:
        if ruleset >= 0:
            os.close(ruleset)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the emulator: the paths of programs and libraries, without the user's secrets."""
    return {name: value for name, value in variables.items() if name == "PATH" or name.startswith("LD_")}


@functools.lru_cache(maxsize=8)
def sandbox(program: str) -> tuple[str, ...]:
    """Return the options for QEMU's own sandbox, none if `program` was built without it.

    The library that it is linked with tells: to ask QEMU takes as long as a boot.
    """
    with open(program, "rb") as file:
        return ("-sandbox", _SANDBOX) if b"libseccomp.so" in file.read(1 << 21) else ()


def _no_confinement() -> None:
    pass


def _limits(kind: int, limit: int) -> tuple[int, int]:
    _, hard = resource.getrlimit(kind)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    return limit, limit


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.PyDLL:
    """Load the C library, without errno and with the GIL held: safe after a fork."""
    libc = ctypes.PyDLL(None)
    libc.syscall.restype = ctypes.c_long
    return libc


def _syscall(number: int, *arguments: object) -> int:
    """Make a system call; return its result, -1 for any error."""
    words = [
        ctypes.c_char_p(word) if isinstance(word, bytes) else ctypes.c_long(word) if isinstance(word, int) else None
        for word in arguments
    ]
    return int(_libc().syscall(ctypes.c_long(number), *words))


def _up_to(abi: int, rights: Mapping[int, int]) -> int:
    return sum(bits for since, bits in rights.items() if since <= abi)


def _ruleset(abi: int, directory: Path, program: str, mask_rom: Path) -> int:
    """Create the rules for QEMU; return their descriptor. Raises EmulatorError."""
    known = _up_to(abi, _FILE_RIGHTS)
    words = [known, *([_up_to(abi, _TCP_RIGHTS)] if abi >= 4 else []), *([_up_to(abi, _SCOPES)] if abi >= 6 else [])]
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in _program_paths(program):
            _allow(ruleset, path, _READ_FILE | _EXECUTE)
        _allow(ruleset, mask_rom, _READ_FILE)
        _allow(ruleset, directory, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & known, required=True)
    except BaseException:
        if ruleset >= 0:
            os.close(ruleset)
        raise
    return ruleset


def _program_paths(program: str) -> list[str]:
    real = os.path.realpath(program)
    prefix = os.path.dirname(os.path.dirname(real))
    paths = [real, *_MORE_LIBRARIES]
    for directory in _LIBRARIES:
        paths += glob.glob(f"{directory}/*-linux-*") or [directory]
    if prefix not in ("/", "/usr", "/usr/local"):
        paths += (os.path.join(prefix, name) for name in ("lib", "lib64"))
    with open(real, "rb") as file:
        if file.read(2) == b"#!":
            paths += _SCRIPTS
    return list(dict.fromkeys(paths))


def _allow(ruleset: int, path: str | Path, rights: int, required: bool = False) -> None:
    try:
        # O_PATH: it is not read.
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        if required:
            raise
        return  # such as /lib32 on most machines
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        if _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0):
            raise EmulatorError(f"cannot confine the emulator: the kernel rejects the Landlock rule for {path}")
    finally:
        os.close(descriptor)

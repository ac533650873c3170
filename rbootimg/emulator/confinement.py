"""What a ROM in the emulator can reach of the host: the files of its run's own directory, and nothing else.

The mask ROM stand-in needs QEMU's semihosting, whose `open` takes any path of the host, so any ROM can ask for any
file. The kernel refuses: Landlock (Linux 5.13) confines QEMU between fork and exec, without privileges and without
a helper program. Where QEMU has it, its own `-sandbox` (seccomp) is a second wall, against new processes.

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

from ..errors import EmulatorError

CHOICES = ("auto", "always")
"""Values of RBOOT_CONFINE: confine where the kernel can, or refuse to run where it cannot."""

WARNING = (
    "this kernel has no Landlock (Linux 5.13): a ROM in the emulator can reach all files that you can; "
    "RBOOT_CONFINE=always refuses to run it"
)
"""What is said where ROMs are not confined."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9
# The same on all architectures that QEMU and Debian's packages for it run on.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE = 1, 1 << 1, 1 << 2
_TRUNCATE = 1 << 14
# By the ABI that brought them; what a kernel does not know must not be asked for.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: _TRUNCATE, 5: 1 << 15}  # 1 to 13, REFER, TRUNCATE, IOCTL_DEV
_TCP_RIGHTS = {4: 3}  # BIND_TCP, CONNECT_TCP
_SCOPES = {6: 3}  # abstract UNIX sockets, signals

_LIBRARIES = ("/lib", "/usr/lib")  # of these only the folders of one architecture, where a system has such
_MORE_LIBRARIES = (
    *("/lib32", "/lib64", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"),
    *("/nix/store", "/gnu/store", "/home/linuxbrew/.linuxbrew", "/etc/ld.so.cache"),
)
"""What a program needs to start. A ROM can read it too; it holds nothing of the user's."""

_SCRIPTS = ("/bin", "/usr/bin", "/dev/null")
"""What a program that is a script needs too, as some distributions' wrappers of QEMU are."""

_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def landlock_abi() -> int:
    """The version of the kernel's Landlock, 0 if there is none or it is switched off."""
    if sys.platform != "linux":
        return 0
    return max(_syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION), 0)


def check(choice: str) -> str | None:
    """Return the warning for what runs ROMs with RBOOT_CONFINE=`choice`; None if they are confined.

    Raises EmulatorError if `choice` is none of CHOICES, or is "always" and the kernel cannot confine.
    """
    choice = choice or "auto"
    if choice not in CHOICES:
        raise EmulatorError(f"invalid RBOOT_CONFINE {choice!r}: expected auto or always")
    if landlock_abi():
        return None
    if choice == "always":
        raise EmulatorError(
            "RBOOT_CONFINE is always, but this kernel has no Landlock (Linux 5.13) to confine the emulator; "
            "use auto to run trusted ROMs all the same"
        )
    return WARNING


@contextlib.contextmanager
def confined(folder: Path, program: str, mask_rom: Path, file_size: int) -> Iterator[Callable[[], None]]:
    """What is to be called between fork and exec of `program`, which is QEMU, as `preexec_fn`; once or not at all.

    The program can then read and write, but not make, files in `folder`, read `mask_rom` and what it needs to start,
    make no file longer than `file_size` bytes, and dies with the *thread* that started it.
    All that takes locks or memory is done here, in the parent, as other threads may run: what is called in the
    child makes a few system calls. Raises EmulatorError if the kernel has Landlock and does not do it.
    """
    if sys.platform != "linux":
        yield _nothing
        return
    abi = landlock_abi()
    parent = os.getpid()
    prctl, setrlimit = _libc().prctl, resource.setrlimit
    limits = [
        (kind, _at_most(kind, most)) for kind, most in ((resource.RLIMIT_FSIZE, file_size), (resource.RLIMIT_CORE, 0))
    ]
    syscall = _libc().syscall
    ruleset = _ruleset(abi, folder, program, mask_rom) if abi else -1
    get_parent, leave = os.getppid, os._exit

    def confine() -> None:
        for kind, values in limits:
            setrlimit(kind, values)
        prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        if get_parent() != parent:  # it died before it could be told
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


def environment(surroundings: Mapping[str, str]) -> dict[str, str]:
    """What of the `surroundings` the emulator gets: how it finds programs and libraries, none of the user's secrets."""
    return {name: value for name, value in surroundings.items() if name == "PATH" or name.startswith("LD_")}


@functools.lru_cache(maxsize=8)
def sandbox(program: str) -> tuple[str, ...]:
    """The options of QEMU's own sandbox, none if `program` was built without it.

    It is told by the library that the program is linked with: asking QEMU takes as long as a boot.
    """
    with open(program, "rb") as file:
        return ("-sandbox", _SANDBOX) if b"libseccomp.so" in file.read(1 << 21) else ()


def _nothing() -> None:
    pass


def _at_most(kind: int, most: int) -> tuple[int, int]:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    return most, most


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.PyDLL:
    """The C library; without its errno and with the GIL held, which leaves nothing to go wrong after a fork."""
    libc = ctypes.PyDLL(None)
    libc.syscall.restype = ctypes.c_long
    return libc


def _syscall(number: int, *arguments: object) -> int:
    """The result, -1 for any error."""
    words = [
        ctypes.c_char_p(word) if isinstance(word, bytes) else ctypes.c_long(word) if isinstance(word, int) else None
        for word in arguments
    ]
    return int(_libc().syscall(ctypes.c_long(number), *words))


def _up_to(abi: int, rights: Mapping[int, int]) -> int:
    return sum(bits for since, bits in rights.items() if since <= abi)


def _ruleset(abi: int, folder: Path, program: str, mask_rom: Path) -> int:
    """The descriptor of the rules for QEMU. Raises EmulatorError."""
    known = _up_to(abi, _FILE_RIGHTS)
    words = [known, *([_up_to(abi, _TCP_RIGHTS)] if abi >= 4 else []), *([_up_to(abi, _SCOPES)] if abi >= 6 else [])]
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in _program_paths(program):
            _allow(ruleset, path, _READ_FILE | _EXECUTE)
        _allow(ruleset, mask_rom, _READ_FILE)
        _allow(ruleset, folder, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & known, needed=True)
    except BaseException:
        if ruleset >= 0:
            os.close(ruleset)
        raise
    return ruleset


def _program_paths(program: str) -> list[str]:
    real = os.path.realpath(program)
    prefix = os.path.dirname(os.path.dirname(real))
    paths = [real, *_MORE_LIBRARIES]
    for folder in _LIBRARIES:
        paths += glob.glob(f"{folder}/*-linux-*") or [folder]
    if prefix not in ("/", "/usr", "/usr/local"):
        paths += (os.path.join(prefix, name) for name in ("lib", "lib64"))
    with open(real, "rb") as file:
        if file.read(2) == b"#!":
            paths += _SCRIPTS
    return list(dict.fromkeys(paths))


def _allow(ruleset: int, path: str | Path, rights: int, needed: bool = False) -> None:
    try:
        # O_PATH: to be named is all that it is opened for.
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        if needed:
            raise
        return  # as /lib32 on most machines
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        if _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0):
            raise EmulatorError(f"the kernel's Landlock refuses the rule for {path}; the emulator cannot be confined")
    finally:
        os.close(descriptor)

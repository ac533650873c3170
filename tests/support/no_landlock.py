"""Run a command on a kernel without Landlock: its system calls fail as on one that does not know them (ENOSYS).

python tests/support/no_landlock.py COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_NOT_BELOW, JUMP_IF_ABOVE, RETURN = 0x20, 0x35, 0x25, 0x06  # linux/bpf_common.h
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def main() -> None:
    program = b"".join(
        struct.pack("=HBBI", *line)
        for line in (
            (LOAD, 0, 0, 0),  # the number of the system call
            (JUMP_IF_NOT_BELOW, 0, 2, 444),
            (JUMP_IF_ABOVE, 1, 0, 446),
            (RETURN, 0, 0, ERRNO | errno.ENOSYS),
            (RETURN, 0, 0, ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program)
    prog = struct.pack("HxxxxxxP" if ctypes.sizeof(ctypes.c_void_p) == 8 else "HxxP", 5, ctypes.addressof(code))
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog, 0, 0) == 0
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()

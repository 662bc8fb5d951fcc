"""Run a command that the kernel refuses every new namespace: as many containers are set up.

    python3 refuse_namespaces.py COMMAND ARGUMENT ...

A seccomp filter (seccomp(2), x86-64) answers EPERM to unshare, setns, and clone with CLONE_NEW...;
clone3, whose flags no filter can see, is told not to exist, so that libc takes clone.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
UNSHARE, SETNS, CLONE, CLONE3 = 272, 308, 56, 435
NEW_NAMESPACES = 0x7E020000
PROGRAM = [
    (LOAD, 0, 0, 0),  # the number of the call
    (JUMP_EQUAL, 6, 0, UNSHARE),
    (JUMP_EQUAL, 5, 0, SETNS),
    (JUMP_EQUAL, 5, 0, CLONE3),
    (JUMP_EQUAL, 0, 2, CLONE),
    (LOAD, 0, 0, 16),  # its first argument, the flags
    (JUMP_ANY_BIT, 1, 0, NEW_NAMESPACES),
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, EPERM),
    (RETURN, 0, 0, ENOSYS),
]


def refuse_namespaces() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in PROGRAM)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(PROGRAM), ctypes.addressof(buffer))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse_namespaces()
    os.execvp(sys.argv[1], sys.argv[1:])

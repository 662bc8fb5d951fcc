"""Mounts. The process moves to a mount namespace of its own: nothing is left if it dies."""

from __future__ import annotations

import ctypes
import os
import tempfile
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNS = 0x20000
NODEV, _MS_REC, _MS_PRIVATE, _MNT_DETACH = 4, 0x4000, 1 << 18, 2


def leave_the_mount_namespace() -> None:
    _check(_libc.unshare(_CLONE_NEWNS))
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def mount(source, target, kind, flags=0, options="") -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _check(_libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)))


def unmount(target) -> None:
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH))


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def scratch(parent):
    """A tmpfs of its own: an overlay cannot stand on another one."""
    folder = tempfile.mkdtemp(dir=parent)
    mount("scratch", folder, "tmpfs", NODEV)
    try:
        yield os.fsencode(folder)
    finally:
        unmount(folder)
        os.rmdir(folder)

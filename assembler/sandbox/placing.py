"""Where on a disk trees go."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_GET_FLAGS, _SET_FLAGS, _TOP_OF_TREES = 0x80086601, 0x40086602, 0x20000


_TRIES = 8
_SLOW = 0.0002
"""Seconds to make a file: it takes 0.00002, and more than 0.0005 beside what was just removed."""


def spread(folder: Path) -> bool:
    """Ask ext4 to put each directory made in *folder* into a part of the disk of its own.

    A name decides which part, so a random one gets another than what was removed before had. Return
    whether the file system heeds.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The kernel reads and writes an int, whatever the numbers of the calls say.
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(4)))
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("i", flags | _TOP_OF_TREES))
    except OSError:
        # Other file systems have neither the flag nor the need.
        return False
    finally:
        os.close(descriptor)
    return True


def make_folder(named: Callable[[], Path]) -> Path:
    """Make a folder, by another of the random names of *named* where files in it are slow to make.

    For minutes ext4 takes no inode number that was just given back, and walks over all of them for
    each file it makes: a distribution unpacked where another one was removed takes 6 s in place of
    0.4 s.
    """
    for _ in range(_TRIES - 1):
        path = named()
        path.mkdir(mode=0o700)
        if _takes_files(path):
            return path
        path.rmdir()
    path = named()
    path.mkdir(mode=0o700)
    return path


def _takes_files(folder: Path) -> bool:
    probe = folder / "probe"
    start = time.perf_counter()
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    seconds = time.perf_counter() - start
    probe.unlink()
    return seconds < _SLOW

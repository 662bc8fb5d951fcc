"""Files that somebody else names, opened without waiting for anybody and checked to be files."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(
    path: str | bytes | Path, *, directory: int | None = None, follow: bool = True
) -> int:
    """Return a descriptor for reading; anything but a regular file is an `OSError`.

    A FIFO without a writer, or a terminal, would block whoever opens it; they are not opened so.
    *directory* is the descriptor that a relative *path* begins at, *follow* whether a symbolic link
    at the end of *path* is followed.
    """
    flags = _FLAGS if follow else _FLAGS | os.O_NOFOLLOW
    descriptor = os.open(path, flags, dir_fd=directory)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    reason = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(reason, "is a directory" if stat.S_ISDIR(mode) else "not a regular file", path)


def read_regular(path: str | bytes | Path, limit: int) -> bytes:
    """Return a file's contents, or its first *limit* + 1 bytes if it has more than *limit*."""
    with open(open_regular(path), "rb") as file:
        return file.read(limit + 1)

"""A directory tree goes, whatever a command left there."""

from __future__ import annotations

import os
import stat

_DEEP = 3000
"""Bytes of a path from which on a directory is moved up: Linux takes no path above 4,095."""


def remove_tree(path: bytes | str) -> None:
    """Remove the directory *path* and everything in it, whatever the modes; gone is fine.

    For its owner, or root. Nothing else may be writing there. A directory so deep that no path
    leads to it is taken up piece by piece.
    """
    root = os.fsencode(path)
    try:
        status = os.lstat(root)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(20, "not a directory", path)
    # Grows while it is read: what is in a directory comes after it.
    directories = [root]
    for folder in directories:
        directories += _emptied(folder, root)
    for folder in reversed(directories):
        os.rmdir(folder)


def _emptied(folder: bytes, root: bytes) -> list[bytes]:
    """Unlink all but the directories in *folder*; return those."""
    os.chmod(folder, 0o700)
    directories = []
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif len(entry.path) < _DEEP:
            directories.append(entry.path)
        else:
            directories.append(_lifted(entry.path, root))
    return directories


def _lifted(path: bytes, root: bytes) -> bytes:
    """Move a directory up to the root of the tree, to where its path is short."""
    number = 0
    while os.path.lexists(short := b"%s/.removed-%d" % (root, number)):
        number += 1
    os.chmod(path, 0o700)
    os.rename(path, short)
    return short

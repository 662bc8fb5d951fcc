"""Who but this user could have changed what a content store holds."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from layers.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_PRIVATE = 0o700
_ROOT = 0


def make_private(path: Path) -> None:
    """Make a directory for nobody but this user, whatever the umask; one that is there stays."""
    try:
        path.mkdir(mode=_PRIVATE)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    if stat.S_IMODE(path.stat().st_mode) != _PRIVATE:  # the umask took the owner's bits, too
        path.chmod(_PRIVATE)


def check_trust(root: Path, warn: Callable[[str], None] | None) -> None:
    """Raise `StoreError` if others could change what the store at *root* holds, or *warn* of it.

    Whoever can write to `steps` chooses what a build takes for done, and so what is in its image.
    A symbolic link in the store is an error anyway: it leads out of what is examined here.
    """
    problem = _weakness(root)
    if problem is None:
        return
    if warn is not None:
        warn(f"{root}: what the content store holds may be somebody else's work: {problem}")
        return
    raise StoreError(
        f"{root}: the content store is not safe to use: {problem}; remove it, or, if you trust "
        "what is in it, mend that by chown -R and chmod -R go-w, or pass a directory with --store"
    )


def _weakness(root: Path) -> str | None:
    found = None
    for path, status in _directories(root):
        if stat.S_ISLNK(status.st_mode):
            raise StoreError(
                f"{path}: a symbolic link, and none is followed inside a content store; remove it, "
                "or mount there what it leads to"
            )
        if status.st_uid not in {os.geteuid(), _ROOT}:
            found = found or f"{path} belongs to another user (uid {status.st_uid})"
        elif status.st_mode & _WRITABLE:
            mode = stat.S_IMODE(status.st_mode)
            found = found or f"other users can write to {path} (mode {mode:04o})"
    return found


def _directories(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the store's root, which may be a link, and the directories and links in it."""
    yield root, root.stat()
    for parent in (root, root / "blobs"):
        if not parent.is_dir():
            continue
        with os.scandir(parent) as entries:
            for entry in entries:
                if entry.is_symlink() or entry.is_dir():
                    yield parent / entry.name, entry.stat(follow_symlinks=False)

"""A real directory tree, looked at name by name without following links. Runs in the child."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, chdir
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH_MAX = 4095
"""Bytes of the longest path that Linux takes."""


class Walk:
    """The tree below a directory, which is the working directory for the length of the block.

    Modes that keep its owner out are lifted on the way, and set again at the end.
    """

    def __init__(self, root: bytes | str) -> None:
        self.skipped: list[tuple[bytes, str]] = []
        """Paths that no layer can hold, and why; neither they nor what is below them is told."""
        self.mounted: set[bytes] = set()
        """What is another's: neither the mount point nor what is below it is told."""
        self._exits = ExitStack()
        self._root = root

    def __enter__(self) -> Self:
        self._exits.enter_context(chdir(self._root))
        return self

    def __exit__(self, *_exc: object) -> None:
        self._exits.close()

    def __iter__(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield path (the root's is empty) and `lstat` of each, parents first."""
        root = os.lstat(b".")
        yield b"", root
        folders = [(b"", root)]
        while folders:
            folder, status = folders.pop()
            for name in self._names(folder or b".", status):
                path = folder + b"/" + name if folder else name
                if len(path) > _PATH_MAX:
                    self.skipped.append((path, "its path is longer than 4,095 bytes"))
                    continue
                status = os.lstat(path)
                if self._is_told(path, name, status, root.st_dev):
                    yield path, status
                    if stat.S_ISDIR(status.st_mode):
                        folders.append((path, status))

    def _is_told(self, path: bytes, name: bytes, status: os.stat_result, device: int) -> bool:
        if status.st_dev != device:
            self.mounted.add(path)
        elif stat.S_ISSOCK(status.st_mode):
            self.skipped.append((path, "it is a socket"))
        elif name.startswith(b".wh."):
            self.skipped.append((path, 'its name begins with ".wh.", as whiteouts do'))
        else:
            return True
        return False

    def open(self, path: bytes, status: os.stat_result) -> int:
        """Return a descriptor, the caller's to close, for reading a file."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(path, flags)
        except PermissionError:
            self._lift(path, status)
            return os.open(path, flags)

    def _names(self, folder: bytes, status: os.stat_result) -> list[bytes]:
        if not status.st_mode & stat.S_IXUSR:
            # Names could be listed perhaps, but nothing be learnt about them.
            self._lift(folder, status)
        try:
            return os.listdir(folder)
        except PermissionError:
            self._lift(folder, status)
            return os.listdir(folder)

    def _lift(self, path: bytes, status: os.stat_result) -> None:
        if os.geteuid() == 0:
            return
        os.chmod(path, 0o700)
        self._exits.callback(os.chmod, path, stat.S_IMODE(status.st_mode))

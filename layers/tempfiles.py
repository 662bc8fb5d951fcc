"""Temporary files that outlive no process: whoever makes one holds a lock on it.

Files that no one holds were left by a killed process and are swept away by the next one. A killed
process cannot clean up after itself; the kernel drops its locks all the same.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from layers.leftovers import owe, settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_SUFFIX = ".part"
_PREFIX_BYTES = 200


class TempFile:
    """An open, locked file under a temporary name."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    def write(self, chunk: bytes | memoryview) -> None:
        """Append all of *chunk*."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def publish(self, target: Path) -> None:
        """Give the file its final name, replacing what had it; atomic."""
        self.path.replace(target)


class TempArea:
    """A folder (or a prefix in one) for temporary files."""

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._folder = folder
        # A name has at most 255 bytes, and the random part wants some.
        short = os.fsdecode(os.fsencode(prefix)[:_PREFIX_BYTES])
        self._prefix = f".{short}." if prefix else ".tmp."

    @contextmanager
    def file(self) -> Iterator[TempFile]:
        """Make a file; on leaving it is removed, unless it was published."""
        path, descriptor = self._create()
        try:
            yield TempFile(path, descriptor)
        finally:
            _unlink_if_same(path, descriptor)
            os.close(descriptor)
            settle(path)

    def anonymous(self) -> int:
        """Return the descriptor of a new file without a name; the caller closes it."""
        path, descriptor = self._create()
        path.unlink()
        settle(path)
        return descriptor

    def sweep(self) -> int:
        """Remove files that no living process holds; return how many there were."""
        removed = 0
        for path in self._folder.iterdir():
            if path.name.startswith(self._prefix) and path.name.endswith(_SUFFIX):
                removed += _remove_if_orphan(path)
        return removed

    def _create(self) -> tuple[Path, int]:
        while True:
            path = self._folder / f"{self._prefix}{secrets.token_hex(8)}{_SUFFIX}"
            owe(path, partial(path.unlink, missing_ok=True))
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_same(path, descriptor):
                    return path, descriptor
            except BaseException:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                settle(path)
                raise
            # Swept away between its making and its locking.
            os.close(descriptor)
            settle(path)


def _remove_if_orphan(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        # Gone already, or not ours to open: somebody else's business.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _unlink_if_same(path: Path, descriptor: int) -> None:
    with suppress(FileNotFoundError):
        if _is_same(path, descriptor):
            path.unlink()


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        named = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    opened = os.fstat(descriptor)
    return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)

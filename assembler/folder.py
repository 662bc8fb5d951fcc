"""A folder of this machine as a PyFilesystem that shows links as links and follows none.

Whoever can write to the folder may swap a directory for a link between its listing and its reading.
So every directory is opened step by step from the folder's own descriptor, and no step follows a
link.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from fs.error_tools import convert_os_errors
from fs.info import Info
from fs.osfs import OSFS

from layers.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder(OSFS):
    """`OSFS`, but `scandir` and `openbin` follow no links, and ask less.

    Errors are the operating system's own: `ENOTDIR` or `ELOOP` for a path through a link. Only the
    namespaces `basic`, `lstat` and `link` are told.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # The directory that a thread asked for last; files come a directory at a time.
        self._last = threading.local()
        self._opened: set[int] = set()

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in (*self._opened, self._top):
            with suppress(OSError):
                os.close(descriptor)
        self._opened.clear()
        self._top = -1
        super().close()

    def scandir(
        self,
        path: str,
        namespaces: Collection[str] | None = None,
        page: tuple[int, int] | None = None,
    ) -> Iterator[Info]:
        """Describe the names in a directory, in no order."""
        descriptor = os.open(".", _LIST, dir_fd=self._directory(path.strip("/")))
        try:
            with os.scandir(descriptor) as found:
                infos = [Info(_raw(entry, descriptor)) for entry in found]
        finally:
            os.close(descriptor)
        return iter(infos[slice(*page) if page else slice(None)])

    def openbin(self, path: str, mode: str = "r", buffering: int = -1, **options: Any) -> BinaryIO:
        """Open a file without a buffer: it is read in pieces of its own size."""
        if mode not in {"r", "rb"}:
            opened: BinaryIO = super().openbin(path, mode, buffering, **options)
            return opened
        folder, _, name = path.strip("/").rpartition("/")
        with convert_os_errors("openbin", path):
            descriptor = open_regular(name, directory=self._directory(folder), follow=False)
            return open(descriptor, "rb", buffering=0)

    def has_link(self, path: str) -> bool:
        """Return whether a name on *path*, or the last one, is a symbolic link."""
        folder, _, name = path.strip("/").rpartition("/")
        try:
            status = os.stat(name, dir_fd=self._directory(folder), follow_symlinks=False)
        except OSError as error:
            return error.errno == errno.ENOTDIR
        return stat.S_ISLNK(status.st_mode)

    def _directory(self, path: str) -> int:
        """Return a descriptor of the directory at *path*, which stays this thread's until the next.

        Raises `OSError` for a path through what is no directory.
        """
        last: tuple[str, int] | None = getattr(self._last, "value", None)
        if last is not None and last[0] == path:
            return last[1]
        descriptor = self._open_directory(path)
        self._opened.add(descriptor)
        if last is not None:
            self._opened.discard(last[1])
            os.close(last[1])
        self._last.value = path, descriptor
        return descriptor

    def _open_directory(self, path: str) -> int:
        descriptor = os.dup(self._top)
        for name in path.split("/") if path else ():
            try:
                inner = os.open(name, _STEP, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


def _raw(entry: os.DirEntry[str], directory: int) -> dict[str, dict[str, Any]]:
    status = entry.stat(follow_symlinks=False)
    is_link = stat.S_ISLNK(status.st_mode)
    return {
        "basic": {"name": entry.name, "is_dir": stat.S_ISDIR(status.st_mode)},
        "link": {"target": os.readlink(entry.name, dir_fd=directory) if is_link else None},
        "lstat": {
            name: getattr(status, name)
            for name in (
                "st_mode", "st_uid", "st_gid", "st_size", "st_mtime", "st_mtime_ns", "st_dev",
                "st_ino", "st_nlink", "st_rdev",
            )
        },
    }  # fmt: skip

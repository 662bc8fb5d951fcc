"""A folder of this machine as a PyFilesystem that shows links as links, loops and all."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, BinaryIO

from fs.error_tools import convert_os_errors
from fs.info import Info
from fs.osfs import OSFS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Folder(OSFS):
    """`OSFS`, but `scandir` follows no links: so it cannot fail of one, and asks less.

    Errors are the operating system's own. Only the namespaces `basic`, `lstat` and `link` are told.
    """

    def scandir(
        self,
        path: str,
        namespaces: Collection[str] | None = None,
        page: tuple[int, int] | None = None,
    ) -> Iterator[Info]:
        """Describe the names in a directory, in no order."""
        with os.scandir(self.getsyspath(path)) as found:
            infos = [Info(_raw(entry)) for entry in found]
        return iter(infos[slice(*page) if page else slice(None)])

    def openbin(self, path: str, mode: str = "r", buffering: int = -1, **options: Any) -> BinaryIO:
        """Open a file without a buffer: it is read in pieces of its own size."""
        if mode not in {"r", "rb"}:
            opened: BinaryIO = super().openbin(path, mode, buffering, **options)
            return opened
        with convert_os_errors("openbin", path):
            return open(self.getsyspath(path), "rb", buffering=0)


def _raw(entry: os.DirEntry[str]) -> dict[str, dict[str, Any]]:
    status = entry.stat(follow_symlinks=False)
    is_link = stat.S_ISLNK(status.st_mode)
    return {
        "basic": {"name": entry.name, "is_dir": stat.S_ISDIR(status.st_mode)},
        "link": {"target": os.readlink(entry.path) if is_link else None},
        "lstat": {
            name: getattr(status, name)
            for name in (
                "st_mode", "st_uid", "st_gid", "st_size", "st_mtime", "st_mtime_ns", "st_dev",
                "st_ino", "st_nlink", "st_rdev",
            )
        },
    }  # fmt: skip

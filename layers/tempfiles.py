"""Temporary files that outlive no process, and that nobody else can put something else in place of.

A file has no name (`O_TMPFILE`) until it is published, and is handed to other programs as a
descriptor. Where the file system cannot do that, it has a random name, and whoever made it holds a
lock on it: files that no one holds were left by a killed process and are swept away by the next
one. A killed process cannot clean up after itself; the kernel drops its locks all the same.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from layers.leftovers import owe, settle
from layers.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator


_SUFFIX = ".part"
_PREFIX_BYTES = 200
_RANDOM_BYTES = 8
_FIRST_FREE = 3
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOSYS}
"""How file systems, and old kernels, say that they make no files without names."""
_NO_LINK = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOENT}
"""How those that make them, but give them no names later, say that."""
_COPIED = 1 << 30


class TempFile:
    """An open, locked file, as a rule without a name."""

    def __init__(self, area: TempArea, descriptor: int, path: Path | None = None) -> None:
        self._area = area
        self._descriptor = descriptor
        self._path = path

    def fileno(self) -> int:
        """Return the open descriptor."""
        return self._descriptor

    @property
    def proc_path(self) -> Path:
        """A path that opens this file, here and in a program that inherits the descriptor.

        No name in a directory that others can write to is looked up, or could be removed.
        """
        return Path(f"/proc/self/fd/{self._descriptor}")

    def write(self, chunk: bytes | memoryview) -> None:
        """Append all of *chunk*."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def publish(self, target: Path) -> None:
        """Give the file its final name, replacing what had it; atomic."""
        if self._path is None:
            # A link replaces nothing, so it takes a name of its own and then a rename.
            self._path = self._area.new_path()
            try:
                self.publish_new(self._path)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                self._become_copy(self._path)
        elif not _is_same(self._path, self._descriptor):
            raise OSError(errno.ESTALE, "its temporary file was replaced", str(self._path))
        self._path.replace(target)

    def publish_new(self, target: Path) -> None:
        """Give the file its final name; `FileExistsError` if there is something of the name."""
        # With a descriptor given, which an absolute path has no use for, Python calls linkat(2) and
        # has it follow the link in /proc.
        os.link(self.proc_path, target, src_dir_fd=self._descriptor, follow_symlinks=True)

    def _become_copy(self, path: Path) -> None:
        """Go on with a copy that has a name; the descriptor keeps its number."""
        copy = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(copy, fcntl.LOCK_EX)
            offset = 0
            while count := os.sendfile(copy, self._descriptor, offset, _COPIED):
                offset += count
            os.fchmod(copy, stat.S_IMODE(os.fstat(self._descriptor).st_mode))
            os.fsync(copy)
            os.dup2(copy, self._descriptor, inheritable=False)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(copy)

    def discard(self) -> None:
        """Close the file; a temporary name that it still has is removed."""
        if self._path is not None:
            _unlink_if_same(self._path, self._descriptor)
        os.close(self._descriptor)
        # A copy that a signal came in the way of stays owed.
        if self._path is not None and not os.path.lexists(self._path):
            settle(self._path)


class TempArea:
    """A folder (or a prefix in one) for temporary files, made with *mode* less the umask."""

    def __init__(self, folder: Path, prefix: str = "", mode: int = 0o666) -> None:
        self._folder = folder
        self._mode = mode
        # A name has at most 255 bytes, and the random part wants some.
        short = os.fsdecode(os.fsencode(prefix)[:_PREFIX_BYTES])
        self._prefix = f".{short}." if prefix else ".tmp."

    @contextmanager
    def file(self) -> Iterator[TempFile]:
        """Make a file; on leaving it is removed, unless it was published."""
        temp = self._unnamed() or self._named()
        try:
            yield temp
        finally:
            temp.discard()

    def anonymous(self) -> int:
        """Return the descriptor of a new file without a name; the caller closes it."""
        descriptor = _open_unnamed(self._folder, self._mode)
        if descriptor is not None:
            return descriptor
        path, descriptor = self._create()
        path.unlink()
        settle(path)
        return descriptor

    def sweep(self) -> int:
        """Remove files that no living process holds; return how many there were."""
        random = rf"[0-9a-f]{{{2 * _RANDOM_BYTES}}}"
        ours = re.compile(re.escape(self._prefix) + random + re.escape(_SUFFIX))
        return sum(
            _remove_if_orphan(path) for path in self._folder.iterdir() if ours.fullmatch(path.name)
        )

    def new_path(self) -> Path:
        """Return a path that nobody can foretell; what it names is removed when Python ends."""
        path = self._folder / f"{self._prefix}{secrets.token_hex(_RANDOM_BYTES)}{_SUFFIX}"
        owe(path, partial(path.unlink, missing_ok=True))
        return path

    def _unnamed(self) -> TempFile | None:
        descriptor = _open_unnamed(self._folder, self._mode)
        if descriptor is None:
            return None
        try:
            # For the moment that it has a temporary name, when it is published.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        return TempFile(self, descriptor)

    def _named(self) -> TempFile:
        path, descriptor = self._create()
        return TempFile(self, descriptor, path)

    def _create(self) -> tuple[Path, int]:
        while True:
            path = self.new_path()
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = _inheritable_number(os.open(path, flags, self._mode))
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


def _open_unnamed(folder: Path, mode: int) -> int | None:
    """Open a new file without a name in *folder*; `None` where the file system has none such."""
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in _NO_TMPFILE:
            return None
        raise
    return _inheritable_number(descriptor)


def _inheritable_number(descriptor: int) -> int:
    """Return the descriptor with a number that a program which inherits it has free."""
    if descriptor >= _FIRST_FREE:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    finally:
        os.close(descriptor)


def _remove_if_orphan(path: Path) -> bool:
    """Remove a file of this user's that nobody holds; nothing else is opened, or waited for."""
    try:
        if not _may_be_ours(path.lstat()):
            return False
        descriptor = open_regular(path, follow=False)
    except OSError:
        # Gone already, or not ours to open: somebody else's business.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _may_be_ours(os.fstat(descriptor)) or not _is_same(path, descriptor):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _may_be_ours(status: os.stat_result) -> bool:
    ours = status.st_uid == os.geteuid() and status.st_nlink == 1
    return ours and stat.S_ISREG(status.st_mode)


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

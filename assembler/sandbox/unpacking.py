"""Records become real files under a new directory, as far as this process may make them.

Runs in the child. No link is ever followed: a record's parent must be a directory that was made
here a moment before, and nobody else knows the place yet.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from assembler.sandbox import attributes
from assembler.sandbox.records import HARD_LINK, OPAQUE, WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from assembler.sandbox.records import IdRanges, Record, Source

_SMALL = 1 << 17
"""Bytes that are copied faster through this process than by asking the kernel to."""
_PIECE = 1 << 20
_COPY_MAX = 1 << 30
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_HERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}
_TIME_MAX = 1 << 40
_NO_NAMES = (b"", b".", b"..")


class Omissions(NamedTuple):
    """What could not be made: paths of nodes, and (path, name) of extended attributes."""

    paths: list[bytes]
    attributes: list[tuple[bytes, bytes]]


def unpack(
    records: Iterable[Record],
    files: Sequence[int],
    target: bytes | str,
    ids: IdRanges,
    *,
    devices: bool,
    overlay: bytes = b"",
    beneath: Sequence[str] = (),
) -> Omissions:
    """Make the directory *target* and everything in it; return what is missing of it.

    Owners that *ids* do not hold are left as they come. Device nodes are made where *devices*
    says so. *overlay* begins the names of the attributes by which an overlay is told of opaque
    directories; without it there must be none. Whiteouts are made where there is something
    *beneath*, in one of those folders: elsewhere they would show. After an error a part of the
    tree is there: `remove_tree` takes it away. The working directory is another one meanwhile.
    """
    os.mkdir(target, 0o700)
    with chdir(target), _umask(0):
        # A directory that hands down its group gave it, and the habit, to the new one.
        os.chown(b".", -1, os.getegid())
        os.chmod(b".", 0o700)
        return _Unpacking(files, ids, devices=devices, overlay=overlay, beneath=beneath).run(
            records
        )


def copy_metadata(source: bytes, target: bytes) -> None:
    """Give the directory *target* owner, mode, attributes and time of *source*."""
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    attributes.write(target, attributes.read(source)[0] or {})
    os.chmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


class _Unpacking:
    """One tree being made in the working directory."""

    def __init__(
        self,
        files: Sequence[int],
        ids: IdRanges,
        *,
        devices: bool,
        overlay: bytes,
        beneath: Sequence[str],
    ) -> None:
        self._files = files
        self._ids = ids
        self._devices = devices
        self._overlay = overlay
        self._beneath = [os.fsencode(folder) + b"/" for folder in beneath]
        self._missing = Omissions([], [])
        self._left_out: set[bytes] = set()
        self._directories: list[Record] = []
        self._parents: set[bytes] = set()
        # Whether files can be given to an owner; those of this process need not be.
        self._owners = {(os.geteuid(), os.getegid()): False}
        self._make: dict[str, Callable[[Record], None]] = {
            "-": self._file,
            "d": self._directory,
            "l": self._symlink,
            HARD_LINK: self._hard_link,
            "p": self._special,
            "c": self._special,
            "b": self._special,
            WHITEOUT: self._whiteout,
            OPAQUE: self._opaque,
        }

    def run(self, records: Iterable[Record]) -> Omissions:
        make, parents = self._make, self._parents
        for record in records:
            folder, _, name = record.path.rpartition(b"/")
            if folder not in parents or name in _NO_NAMES or record.path.startswith(b"/"):
                self._root(record)
            else:
                make[record.kind](record)
        # Only now: whatever is made in a directory changes its time, and may need its mode.
        for record in reversed(self._directories):
            self._finish(record, record.path or b".")
        return self._missing

    def _root(self, record: Record) -> None:
        if record.path or record.kind not in {"d", OPAQUE} or self._parents:
            raise ValueError(f"{record.path!r}: its parent directory is not among the records")
        self._parents.add(b"")
        self._directories.append(record)
        if record.kind == OPAQUE:
            os.setxattr(b".", self._overlay + b"opaque", b"y")

    def _directory(self, record: Record) -> None:
        os.mkdir(record.path, 0o700)
        self._parents.add(record.path)
        self._directories.append(record)

    def _whiteout(self, record: Record) -> None:
        # Anybody may make this one device (mknod(2)).
        if any(os.path.lexists(folder + record.path) for folder in self._beneath):
            os.mknod(record.path, stat.S_IFCHR, os.makedev(0, 0))

    def _opaque(self, record: Record) -> None:
        self._directory(record)
        os.setxattr(record.path, self._overlay + b"opaque", b"y")

    def _file(self, record: Record) -> None:
        # Attributes are refused to owners who must not write; writing takes away special bits.
        mode = record.mode
        late = record.xattrs or mode & ~0o777
        descriptor = os.open(record.path, _CREATE, 0o600 if late else mode)
        try:
            if record.source is not None and record.source[2]:
                self._fill(descriptor, record.source)
            if self._can_own(record):
                os.fchown(descriptor, record.uid, record.gid)
            if record.xattrs:
                self._set_attributes(record, descriptor)
            if late:
                os.fchmod(descriptor, mode)
            os.utime(descriptor, ns=_times(record))
        finally:
            os.close(descriptor)

    def _fill(self, descriptor: int, source: Source) -> None:
        index, offset, size, segments = source
        file = self._files[index]
        if segments is None:
            _copy(file, offset, size, descriptor, 0)
            return
        for position, length in segments:
            _copy(file, offset, length, descriptor, position)
            offset += length
        os.ftruncate(descriptor, size)

    def _symlink(self, record: Record) -> None:
        os.symlink(record.target, record.path)
        self._finish(record, record.path)

    def _hard_link(self, record: Record) -> None:
        if record.target in self._left_out:
            self._leave_out(record)
        else:
            os.link(record.target, record.path, follow_symlinks=False)

    def _special(self, record: Record) -> None:
        if record.kind == "p":
            os.mkfifo(record.path, 0o600)
        elif not self._made_device(record):
            self._leave_out(record)
            return
        self._finish(record, record.path)

    def _made_device(self, record: Record) -> bool:
        # An overlay takes 0:0 on its lower side for a whiteout.
        if not self._devices or record.device == (0, 0):
            return False
        kind = stat.S_IFCHR if record.kind == "c" else stat.S_IFBLK
        try:
            os.mknod(record.path, kind | 0o600, os.makedev(*record.device))
        except PermissionError:
            return False
        return True

    def _leave_out(self, record: Record) -> None:
        self._left_out.add(record.path)
        self._missing.paths.append(record.path)

    def _finish(self, record: Record, path: bytes) -> None:
        """Set what is not set by making: owner before mode, as chown takes away special bits."""
        if self._can_own(record):
            os.lchown(path, record.uid, record.gid)
        if record.xattrs:
            self._set_attributes(record, path)
        if record.kind != "l":
            os.chmod(path, record.mode)
        os.utime(path, ns=_times(record), follow_symlinks=False)

    def _set_attributes(self, record: Record, file: bytes | int) -> None:
        for name in attributes.write(file, record.xattrs or {}):
            self._missing.attributes.append((record.path, name))

    def _can_own(self, record: Record) -> bool:
        owner = record.uid, record.gid
        known = self._owners.get(owner)
        if known is None:
            known = self._owners[owner] = self._ids.hold(*owner)
        return known


def _times(record: Record) -> tuple[int, int]:
    # What a file system cannot hold it clamps by itself; this is what the call can take.
    nanoseconds = max(min(record.mtime, _TIME_MAX), -_TIME_MAX) * 1_000_000_000
    return nanoseconds, nanoseconds


def _copy(source: int, offset: int, length: int, target: int, position: int) -> None:
    if length <= _SMALL:
        _copy_by_hand(source, offset, length, target, position)
        return
    while length:
        try:
            count = os.copy_file_range(
                source, target, min(length, _COPY_MAX), offset_src=offset, offset_dst=position
            )
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            _copy_by_hand(source, offset, length, target, position)
            return
        if not count:
            raise _cut_off()
        length, offset, position = length - count, offset + count, position + count


def _copy_by_hand(source: int, offset: int, length: int, target: int, position: int) -> None:
    while length:
        chunk = os.pread(source, min(length, _PIECE), offset)
        if not chunk:
            raise _cut_off()
        written = os.pwrite(target, chunk, position)
        length, offset, position = length - written, offset + written, position + written


def _cut_off() -> OSError:
    return OSError(errno.EIO, "a layer's spool ends too early")

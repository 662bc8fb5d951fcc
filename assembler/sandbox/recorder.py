"""Changes of owners in a user namespace of one id: answered, and written down beside the file.

With one id, nothing can belong to anybody else. So a seccomp filter hands every chown to a listener
(seccomp_unotify(2)), which notes the owner in the file's attribute `user.golem.owner` and says that
all went well. The note moves with the file, and the harvest reads it. Links, pipes and devices can
hold no such attribute: their owners are lost.

The recorder is rooted where the command is, outside its PID namespace; it reads the command's
memory and descriptors through a descriptor of the machine's own /proc. A command that changes the
path while it is read betrays itself alone: what it can name is in its root.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from assembler.sandbox import linux

if TYPE_CHECKING:
    from collections.abc import Iterator

OWNER = "user.golem.owner"
"""`UID:GID`; -1 for one that was never changed."""

_RECEIVE, _SEND, _STILL_VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTIFICATION = struct.Struct("QIIiIQ6Q")
_ANSWER = struct.Struct("QqiI")
_GONE = {errno.EINTR, errno.ENOENT}

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_PATH_MAX = 4096
_PAGE = 4096
_ADDRESS_MAX = (1 << 63) - 2 * _PATH_MAX
_UNCHANGED = -1
_NO_FILES = (b"/proc/", b"/dev/", b"/sys/")
"""What is below is the sandbox's own, and belongs to whom it belongs."""


class _Change(NamedTuple):
    base: str
    """Of a path: what it is relative to, below /proc."""
    path: bytes
    follow: bool
    uid: int
    gid: int


class Recorder:
    """Answers a listener's notifications."""

    def __init__(self, listener: int, proc: int) -> None:
        """Answer *listener*; *proc* is a descriptor of the machine's /proc."""
        self.descriptor = listener
        self._proc = proc
        self._names = {number: name for name, number in linux.this_machine().calls.items()}

    def answer(self) -> bool:
        """Answer one notification; false where there are no more."""
        buffer = ctypes.create_string_buffer(_NOTIFICATION.size)
        try:
            linux.ioctl(self.descriptor, _RECEIVE, buffer)
        except OSError as error:
            return error.errno in _GONE
        identity, process, _, call, _, _, *arguments = _NOTIFICATION.unpack(buffer.raw)
        failure = 0
        try:
            change = self._decoded(self._names[call], process, arguments)
            self._record(change, identity)
        except OSError as error:
            failure = -(error.errno or errno.EIO)
        self._send(identity, failure)
        return True

    def _send(self, identity: int, failure: int) -> None:
        answer = _ANSWER.pack(identity, 0, failure, 0)
        try:
            linux.ioctl(self.descriptor, _SEND, ctypes.create_string_buffer(answer, len(answer)))
        except OSError as error:
            if error.errno not in _GONE:  # whoever asked may be dead
                raise

    def _is_valid(self, identity: int) -> bool:
        """Whether the process that was looked into is still the one that asked."""
        try:
            raw = struct.pack("Q", identity)
            linux.ioctl(self.descriptor, _STILL_VALID, ctypes.create_string_buffer(raw, len(raw)))
        except OSError:
            return False
        return True

    def _record(self, change: _Change, identity: int) -> None:
        if change.path.startswith(_NO_FILES):
            return
        with self._opened(change) as descriptor:
            # Only now: until here its number could have become another process's.
            if not self._is_valid(identity):
                return
            status = os.fstat(descriptor)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                return
            # Attributes are set by path alone; the working directory is the machine's /proc.
            os.fchdir(self._proc)
            path = f"self/fd/{descriptor}"
            old = read_owner(path)
            new = (
                old[0] if change.uid == _UNCHANGED else change.uid,
                old[1] if change.gid == _UNCHANGED else change.gid,
            )
            if new != old:
                os.setxattr(path, OWNER, b"%d:%d" % new)
            _clear_set_id(path, status)

    @contextmanager
    def _opened(self, change: _Change) -> Iterator[int]:
        base = os.open(change.base, os.O_PATH | os.O_CLOEXEC, dir_fd=self._proc)
        descriptor = base
        try:
            if change.path.startswith(b"/"):
                flags = os.O_PATH | (0 if change.follow else os.O_NOFOLLOW)
                descriptor = linux.open_in_root(base, change.path, flags)
            elif change.path:
                flags = os.O_PATH | (0 if change.follow else os.O_NOFOLLOW)
                descriptor = linux.open_plainly(base, change.path, flags)
            yield descriptor
        finally:
            if descriptor != base:
                os.close(descriptor)
            os.close(base)

    def _text(self, process: int, address: int) -> bytes:
        """Read a string of the process's memory, page by page."""
        if address > _ADDRESS_MAX:
            raise OSError(errno.EFAULT, "no address of a program")
        memory = os.open(f"{process}/mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
        try:
            text = b""
            while len(text) < _PATH_MAX:
                place = address + len(text)
                piece = os.pread(memory, _PAGE - place % _PAGE, place)
                head, end, _ = piece.partition(b"\0")
                text += head
                if end or not piece:
                    return text
            raise OSError(errno.ENAMETOOLONG, "a path is too long")
        finally:
            os.close(memory)

    def _decoded(self, call: str, process: int, a: list[int]) -> _Change:
        match call:
            case "chown":
                return self._by_path(process, a, follow=True)
            case "lchown":
                return self._by_path(process, a, follow=False)
            case "fchown":
                return _Change(f"{process}/fd/{_int(a[0])}", b"", True, _owner(a[1]), _owner(a[2]))
            case _:
                return self._fchownat(process, a)

    def _by_path(self, process: int, a: list[int], *, follow: bool) -> _Change:
        path = self._text(process, a[0])
        if not path:
            raise FileNotFoundError(errno.ENOENT, "an empty path")
        return _Change(_base(process, _AT_FDCWD, path), path, follow, _owner(a[1]), _owner(a[2]))

    def _fchownat(self, process: int, a: list[int]) -> _Change:
        path = self._text(process, a[1])
        if not path and not a[4] & _AT_EMPTY_PATH:
            raise FileNotFoundError(errno.ENOENT, "an empty path")
        follow = not a[4] & _AT_SYMLINK_NOFOLLOW
        base = _base(process, _int(a[0]), path)
        return _Change(base, path, follow, _owner(a[2]), _owner(a[3]))


def read_owner(path: str) -> tuple[int, int]:
    """Return the owner that was written down beside a file; -1 where none was."""
    try:
        uid, _, gid = os.getxattr(path, OWNER).partition(b":")
        return int(uid), int(gid)
    except (OSError, ValueError):
        return _UNCHANGED, _UNCHANGED


def _base(process: int, directory: int, path: bytes) -> str:
    if path.startswith(b"/"):
        return f"{process}/root"
    return f"{process}/cwd" if directory == _AT_FDCWD else f"{process}/fd/{directory}"


def _int(argument: int) -> int:
    """Return a C int, of which the register holds more than enough."""
    return ctypes.c_int32(argument & 0xFFFFFFFF).value


def _owner(argument: int) -> int:
    value = argument & 0xFFFFFFFF
    return _UNCHANGED if value == 0xFFFFFFFF else value


def _clear_set_id(path: str, status: os.stat_result) -> None:
    """Do what chown(2) does to the set-ID bits of programs."""
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o111:
        return
    mode = stat.S_IMODE(status.st_mode)
    cleared = mode & ~stat.S_ISUID
    if mode & stat.S_IXGRP:
        cleared &= ~stat.S_ISGID
    if cleared != mode:
        os.chmod(path, cleared)

"""What a command changed, path by path, on its way to be a layer. Runs in the child."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from assembler.sandbox import attributes
from layers.kinds import OF_FORMAT, Kind
from layers.tree import Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from assembler.sandbox.attributes import Attributes
    from assembler.sandbox.manner import Manner
    from assembler.sandbox.original import Original
    from assembler.sandbox.walking import Walk


class Change:
    """A path that may have to be an entry of the layer."""

    __slots__ = ("link", "node", "path", "status", "wanted", "was")

    def __init__(
        self, path: bytes, node: Node, status: os.stat_result | None, was: os.stat_result | None
    ) -> None:
        self.path = path
        self.node = node
        self.status = status
        """What is on disk there; `None` for a whiteout."""
        self.was = was
        """What was there before the command."""
        self.wanted = was is None
        self.link: bytes | None = None
        """Of one more name of an inode: the name that is, or has, the whole."""

    @property
    def is_directory(self) -> bool:
        """Whether other changes can be below it."""
        return self.node.is_directory


def by_path(change: Change) -> list[bytes]:
    """Sort names in byte order, parents first, and what is in a directory right after it."""
    return change.path.split(b"/")


def parent_of(path: bytes) -> bytes | None:
    """Return the directory that *path* is in; `None` for the root."""
    return path.rpartition(b"/")[0] if path else None


def whiteout(path: bytes) -> Change:
    """Return the entry that removes *path*."""
    folder, slash, name = path.rpartition(b"/")
    return Change(folder + slash + b".wh." + name, Node(Kind.FILE, 0o644), None, None)


def opaque(path: bytes) -> Change:
    """Return the entry that removes what lower layers hold in the directory *path*."""
    prefix = path + b"/" if path else b""
    return Change(prefix + b".wh..wh..opq", Node(Kind.FILE, 0o644), None, None)


def without_mount_points(changes: list[Change], made: Iterable[bytes]) -> list[Change]:
    """Leave out the paths *made* that are still empty; *changes* are sorted `by_path`."""
    left_out = set(made)
    kept: list[Change] = []
    for change in reversed(changes):
        if change.path in left_out and not _in_use(change, kept):
            continue
        kept.append(change)
    kept.reverse()
    return kept


def _in_use(change: Change, after: list[Change]) -> bool:
    """Whether a mount point has got contents; *after* ends with the entry that follows it."""
    if change.is_directory:
        return bool(after) and after[-1].path.startswith(change.path + b"/")
    return change.node.kind is not Kind.FILE or bool(change.status and change.status.st_size)


class Comparison:
    """Turns what is on disk into nodes, and holds them against what was there."""

    def __init__(self, walk: Walk, original: Original, manner: Manner) -> None:
        self._walk = walk
        self._original = original
        self._manner = manner

    def change(
        self,
        path: bytes,
        status: os.stat_result,
        was: os.stat_result | None,
        read: tuple[Attributes | None, Attributes] | None = None,
    ) -> Change:
        """Return *path* as a change, wanted if it differs from what it *was*.

        *read* is what `attributes.read` says, if the caller knows that already.
        """
        change = self.unchanged(path, status, was, read)
        if was is not None:
            change.wanted = self._differs(path, change.node, status, was)
        return change

    def unchanged(
        self,
        path: bytes,
        status: os.stat_result,
        was: os.stat_result | None,
        read: tuple[Attributes | None, Attributes] | None = None,
    ) -> Change:
        """Return *path* as a change that is wanted only if nothing *was* there."""
        own, marks = read or attributes.read(path or b".")
        kind = OF_FORMAT[stat.S_IFMT(status.st_mode)]
        uid, gid = self._manner.ownership.of(path, status, marks, was)
        node = Node(kind, stat.S_IMODE(status.st_mode), uid, gid, self._manner.mtime(status))
        node.xattrs = own
        if kind is Kind.SYMLINK:
            node.target = os.readlink(path)
        elif kind in (Kind.CHAR, Kind.BLOCK):
            node.device = os.major(status.st_rdev), os.minor(status.st_rdev)
        return Change(path, node, status, was)

    def _differs(
        self, path: bytes, node: Node, status: os.stat_result, was: os.stat_result
    ) -> bool:
        seconds = was.st_mtime_ns // 1_000_000_000
        return (
            status.st_mode != was.st_mode
            or (node.uid, node.gid) != self._manner.ownership.before(path, was)
            or seconds not in (node.mtime, status.st_mtime_ns // 1_000_000_000)
            or node.xattrs != self._original.attributes(path)
            or self._holds_other(path, node, status, was)
        )

    def _holds_other(
        self, path: bytes, node: Node, status: os.stat_result, was: os.stat_result
    ) -> bool:
        match node.kind:
            case Kind.FILE:
                return status.st_size != was.st_size or not self._same_contents(path, status)
            case Kind.SYMLINK:
                return node.target != self._original.target(path)
            case Kind.CHAR | Kind.BLOCK:
                return status.st_rdev != was.st_rdev
            case _:
                return False

    def _same_contents(self, path: bytes, status: os.stat_result) -> bool:
        if not status.st_size:
            return True
        descriptor = self._walk.open(path, status)
        try:
            return self._original.has_contents(path, descriptor, status.st_size)
        finally:
            os.close(descriptor)

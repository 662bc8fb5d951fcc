"""What changed in a tree that a command ran in itself, with nothing to catch it. In the child."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from assembler.sandbox.changes import Change, Comparison, by_path, parent_of, whiteout

if TYPE_CHECKING:
    import os

    from assembler.sandbox.manner import Manner
    from assembler.sandbox.original import Unpacked
    from assembler.sandbox.walking import Walk


def changes_in_place(walk: Walk, original: Unpacked, manner: Manner) -> list[Change]:
    """Return what the layer must hold, sorted `by_path`."""
    return _Plain(walk, original, manner).run()


class _Plain:
    def __init__(self, walk: Walk, original: Unpacked, manner: Manner) -> None:
        self._walk = walk
        self._original = original
        self._compare = Comparison(walk, original, manner)
        self._found: set[bytes] = set()
        # Directories that were directories before.
        self._merged: set[bytes | None] = {None}
        self._changes: list[Change] = []
        self._inodes: dict[int, list[Change]] = {}

    def run(self) -> list[Change]:
        for path, status in self._walk:
            self._look(path, status)
        self._part()
        for names in self._inodes.values():
            _join(names)
        removed = [whiteout(path) for path in self._original if self._is_gone(path)]
        wanted = [change for change in self._changes if change.wanted]
        return sorted(wanted + removed, key=by_path)

    def _look(self, path: bytes, status: os.stat_result) -> None:
        self._found.add(path)
        was = self._original.look(path) if parent_of(path) in self._merged else None
        if stat.S_ISDIR(status.st_mode) and was is not None and stat.S_ISDIR(was.st_mode):
            self._merged.add(path)
        has_names = not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1
        if was is None or not _untouched(status, was):
            change = self._compare.change(path, status, was)
        elif has_names:
            # Another of its names may be new all the same: its directory was moved.
            change = self._compare.unchanged(path, status, was)
        else:
            return
        self._changes.append(change)
        if has_names or (was is not None and not change.is_directory):
            self._inodes.setdefault(status.st_ino, []).append(change)

    def _is_gone(self, path: bytes) -> bool:
        """Whether *path* is the topmost of what went."""
        return (
            path not in self._found
            and path not in self._walk.mounted
            and parent_of(path) in self._merged
        )

    def _part(self) -> None:
        """Want what looks as before, but was one inode with something else that still is there."""
        places: dict[int, int] = {}
        same = [
            change
            for names in self._inodes.values()
            for change in names
            if not change.wanted and change.was is not None and change.was.st_nlink > 1
        ]
        same.sort(key=_moved)
        for change in same:
            now = places.setdefault(_inode(change.was), _inode(change.status))
            change.wanted = now != _inode(change.status)


def _untouched(status: os.stat_result, was: os.stat_result) -> bool:
    return status.st_ino == was.st_ino and status.st_ctime_ns == was.st_ctime_ns


def _inode(status: os.stat_result | None) -> int:
    return status.st_ino if status else 0


def _moved(change: Change) -> tuple[bool, list[bytes]]:
    """Sort what still is the inode it was first: it has the best claim to be left as it is."""
    return _inode(change.status) != _inode(change.was), by_path(change)


def _join(names: list[Change]) -> None:
    """Make the names of one inode that are new links of one that stayed, else of the first."""
    if len(names) == 1:
        return
    names.sort(key=by_path)
    stayed = [change for change in names if not change.wanted]
    whole = min(stayed, key=_moved, default=names[0])
    for change in names:
        if change.wanted or _inode(change.was) != _inode(whole.was):
            change.wanted = True
            change.link = whole.path
    whole.wanted, whole.link = not stayed, None

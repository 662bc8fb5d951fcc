"""What an overlay's upper directory tells (Documentation/filesystems/overlayfs). In the child.

The upper directory names whatever was changed, and also what was only opened for writing, or given
its own owner again: so each path is compared with the lower directory.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from assembler.sandbox import attributes
from assembler.sandbox.changes import Change, Comparison, by_path, opaque, parent_of, whiteout

if TYPE_CHECKING:
    import os

    from assembler.sandbox.manner import Manner
    from assembler.sandbox.original import LowerDirectory
    from assembler.sandbox.walking import Walk


class UnreadableUpper(Exception):
    """The overlay was mounted with features whose upper directory does not tell the whole."""


def changes_in_upper(walk: Walk, lower: LowerDirectory, manner: Manner) -> list[Change]:
    """Return what the layer must hold, sorted `by_path`."""
    return _Upper(walk, lower, manner).run()


class _Upper:
    def __init__(self, walk: Walk, lower: LowerDirectory, manner: Manner) -> None:
        self._walk = walk
        self._lower = lower
        self._compare = Comparison(walk, lower, manner)
        self._opaque = lower.prefix + b"opaque"
        self._incomplete = lower.prefix + b"redirect", lower.prefix + b"metacopy"
        # Directories in which the lower side's names show through.
        self._merged: set[bytes | None] = {None}
        self._found: list[Change] = []
        self._inodes: dict[int, list[Change]] = {}

    def run(self) -> list[Change]:
        for path, status in self._walk:
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                self._remove(path)
            else:
                self._look(path, status)
        for path, _ in self._walk.skipped:
            self._remove(path)
        for names in self._inodes.values():
            _join(names)
        return sorted((change for change in self._found if change.wanted), key=by_path)

    def _remove(self, path: bytes) -> None:
        if self._was(path) is not None:
            self._found.append(whiteout(path))

    def _was(self, path: bytes) -> os.stat_result | None:
        return self._lower.look(path) if parent_of(path) in self._merged else None

    def _look(self, path: bytes, status: os.stat_result) -> None:
        was = self._was(path)
        read = attributes.read(path or b".")
        for name in self._incomplete:
            if name in read[1]:
                raise UnreadableUpper(f"{path!r} has the attribute {name.decode()}")
        change = self._compare.change(path, status, was, read)
        self._found.append(change)
        if not change.is_directory:
            if status.st_nlink > 1:
                self._inodes.setdefault(status.st_ino, []).append(change)
        elif was is not None and stat.S_ISDIR(was.st_mode):
            # Where something else was, the entry of a directory is enough; the mark would empty
            # what a symbolic link there pointed to.
            if read[1].get(self._opaque) == b"y":
                change.wanted = True
                self._found.append(opaque(path))
            else:
                self._merged.add(path)


def _join(names: list[Change]) -> None:
    """Make the names of one inode links of the first, if any of them is new or changed.

    An inode that was copied up has lost its names on the lower side, so the layer holds it whole.
    """
    if len(names) == 1:
        return
    before = {change.was.st_ino if change.was else None for change in names}
    if len(before) == 1 and not any(change.wanted for change in names):
        return
    names.sort(key=by_path)
    for change in names:
        change.wanted = True
        change.link = names[0].path
    names[0].link = None

"""Names that a union of directories keeps for itself: `.wh..wh.aufs`, `.wh..wh.plnk/` and the like.

No image holds them: the prefix `.wh.` is reserved (layer.md, "Whiteouts"). But aufs stores files of
several names below `.wh..wh.plnk/`, and every name that such a file has in the image is a hard link
to there; layers that Docker wrote on aufs are full of them (moby/moby#4178).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from layers.kinds import Kind

if TYPE_CHECKING:
    from layers.tarindex import Entry
    from layers.tree import DataFile, Node

META_PREFIX = b".wh..wh."
OPAQUE_NAME = b".wh..wh..opq"


def is_meta(path: bytes) -> bool:
    """Whether *path* is, or lies below, a name that is no part of the image."""
    return META_PREFIX in path and any(
        part.startswith(META_PREFIX) and part != OPAQUE_NAME for part in path.split(b"/")
    )


class MetaEntry(NamedTuple):
    """An entry that is not in the image, and the file that its data are in."""

    entry: Entry
    file: DataFile


class MetaEntries:
    """Entries that are not in the image but that hard links of theirs and upper layers may name."""

    def __init__(self) -> None:
        self._entries: dict[bytes, MetaEntry] = {}
        self.nodes: dict[bytes, Node] = {}
        """What has been made of them, by path: all its names share it."""

    def add(self, entry: Entry, file: DataFile) -> None:
        """Keep *entry*, whose path `is_meta`."""
        self._entries[entry.path] = MetaEntry(entry, file)
        self.nodes.pop(entry.path, None)

    def find(self, path: bytes) -> MetaEntry | None:
        """Return the entry at *path*; where links lead on from there, the last of them.

        `None` where there is none, or the links are a loop.
        """
        passed: set[bytes] = set()
        found = self._entries.get(path)
        while found is not None and found.entry.kind is Kind.HARDLINK:
            target = found.entry.target
            if not is_meta(target):
                return found
            if target in passed:
                return None
            passed.add(target)
            found = self._entries.get(target)
        return found

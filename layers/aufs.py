"""Names that a union of directories keeps for itself: `.wh..wh.aufs`, `.wh..wh.plnk/` and the like.

No image holds them: the prefix `.wh.` is reserved (layer.md, "Whiteouts"). But aufs stores files of
several names below `.wh..wh.plnk/`, and every name that such a file has in the image is a hard link
to there; layers that Docker wrote on aufs are full of them (moby/moby#4178).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layers.kinds import Kind

if TYPE_CHECKING:
    from layers.tarindex import Entry

META_PREFIX = b".wh..wh."
OPAQUE_NAME = b".wh..wh..opq"


def is_meta(path: bytes) -> bool:
    """Whether *path* is, or lies below, a name that is no part of the image."""
    return META_PREFIX in path and any(
        part.startswith(META_PREFIX) and part != OPAQUE_NAME for part in path.split(b"/")
    )


class MetaEntries:
    """Entries of one layer that are not in the image but that hard links may name."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Keep *entry*, whose path `is_meta`."""
        self._entries[entry.path] = entry

    def find(self, path: bytes) -> Entry | None:
        """Return the entry at *path*; where links lead on from there, the last of them.

        `None` where there is none, or the links are a loop.
        """
        passed: set[bytes] = set()
        entry = self._entries.get(path)
        while entry is not None and entry.kind is Kind.HARDLINK and is_meta(entry.target):
            if entry.target in passed:
                return None
            passed.add(entry.target)
            entry = self._entries.get(entry.target)
        return entry

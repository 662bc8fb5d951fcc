"""How a harvest is to be understood: whose files are, which times they may have. Pure."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from assembler.sandbox.attributes import OWNER, USER_OVERLAY

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from assembler.sandbox.attributes import Attributes

Owner = tuple[int, int]
_ID_MAX = 0xFFFFFFFE
_ID = re.compile(rb"-1|[0-9]{1,10}")
_ROOT = (0, 0)
_COPIED_UP = USER_OVERLAY + b"origin"
"""Of a file in an overlay's upper directory: that it is the lower one, changed."""


class Ownership(Protocol):
    """Tells owners, as an image has them, of files on disk."""

    def of(
        self, path: bytes, status: os.stat_result, marks: Attributes, was: os.stat_result | None
    ) -> Owner:
        """Return the owner of *path*; *was* is what stood there before the command, if anything."""
        ...

    def before(self, path: bytes, status: os.stat_result) -> Owner:
        """Return the owner that *path* had before the command."""
        ...


@dataclass(frozen=True, slots=True)
class ExactOwners:
    """Files belong to whom they seem to; root's are those of *hidden* owners where there is one."""

    hidden: Mapping[bytes, Owner] = field(default_factory=dict)

    def of(
        self, path: bytes, status: os.stat_result, marks: Attributes, was: os.stat_result | None
    ) -> Owner:
        """Return the owner that is shown, or the hidden one that root stands for."""
        del marks, was
        return self.before(path, status)

    def before(self, path: bytes, status: os.stat_result) -> Owner:
        """Return the owner that is shown, or the hidden one that root stands for."""
        shown = status.st_uid, status.st_gid
        return self.hidden.get(path, shown) if shown == _ROOT else shown


@dataclass(frozen=True, slots=True)
class RecordedOwners:
    """All files belong to one id; an attribute records to whom the command gave them."""

    hidden: Mapping[bytes, Owner] = field(default_factory=dict)
    """Owners before the command, where they are not root."""
    default: Owner = _ROOT
    """The user that the command ran as: what is new is his."""

    def of(
        self, path: bytes, status: os.stat_result, marks: Attributes, was: os.stat_result | None
    ) -> Owner:
        """Return the recorded owner, else that of the same file before the command, or the default.

        What takes another file's place is often given that one's owner, as it seems to be: and all
        owners seem to be root. So root's new file keeps the owner of the one it replaces; but the
        same file, given to root, is root's, and a new file that nobody gave to anybody is its
        maker's.
        """
        same = was is not None and (
            status.st_ino == was.st_ino or _COPIED_UP in marks or not path  # the root has no mark
        )
        # Nor has a copy of what had several names: it may be the same.
        linked = was is not None and was.st_nlink > 1 and not stat.S_ISDIR(was.st_mode)
        before = self.hidden.get(path, _ROOT) if same or linked else self.default
        recorded = _parse(marks.get(OWNER))
        if recorded is None:
            return before
        if recorded == _ROOT and was is not None and not same:
            return self.hidden.get(path, _ROOT)
        uid, gid = recorded
        return before[0] if uid is None else uid, before[1] if gid is None else gid

    def before(self, path: bytes, status: os.stat_result) -> Owner:
        """Return the owner before the command."""
        del status
        return self.hidden.get(path, _ROOT)


@dataclass(frozen=True, slots=True)
class Manner:
    """What a harvest must know beside the files."""

    ownership: Ownership
    latest: int | None = None
    """Later times are set back to it (SOURCE_DATE_EPOCH)."""
    made: frozenset[bytes] = frozenset()
    """Mount points that the sandbox made: left out if they are still empty."""

    def mtime(self, status: os.stat_result) -> int:
        """Return the time that a layer should hold."""
        seconds = status.st_mtime_ns // 1_000_000_000
        return seconds if self.latest is None else min(seconds, self.latest)


def _parse(recorded: bytes | None) -> tuple[int | None, int | None] | None:
    """Return `UID:GID` as numbers, `None` for a -1, which is one that was not given.

    The command itself may have written anything there.
    """
    uid, _, gid = (recorded or b"").partition(b":")
    if not (_ID.fullmatch(uid) and _ID.fullmatch(gid)):
        return None
    owner = int(uid), int(gid)
    if max(owner) > _ID_MAX:
        return None
    return owner[0] if owner[0] >= 0 else None, owner[1] if owner[1] >= 0 else None

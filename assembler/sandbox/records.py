"""A tree as flat records: what crosses the border to the process that makes real files of it."""

from __future__ import annotations

import marshal
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from layers.tree import Data, DataFile, Node, Tree

HARD_LINK = "h"
"""The kind of one more name for a node that came before."""
WHITEOUT = "w"
"""The kind of what hides a name of an overlay's lower side."""
OPAQUE = "o"
"""The kind of a directory that hides what is in that of the lower side."""

Source = tuple[int, int, int, tuple[tuple[int, int], ...] | None]


class Record(NamedTuple):
    """One path; parents come before what is in them, as `Tree.walk` goes."""

    path: bytes
    """Clean and relative; empty for the root, which comes first."""
    kind: str
    """A value of `layers.kinds.Kind`. `HARD_LINK` shares the node of the path in `target`."""
    mode: int
    uid: int
    gid: int
    mtime: int
    target: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes] | None
    source: Source | None
    """A file's data: which of the open files, offset in it, size, and a sparse file's segments as
    (offset in the file, length), stored one after another."""


@dataclass(frozen=True, slots=True)
class IdRanges:
    """The owners that exist in a user namespace, as (first, count)."""

    uids: tuple[tuple[int, int], ...]
    gids: tuple[tuple[int, int], ...]

    def hold(self, uid: int, gid: int) -> bool:
        """Whether a file can belong to both."""
        return _within(uid, self.uids) and _within(gid, self.gids)


EVERYONE = IdRanges(((0, 2**32 - 1),), ((0, 2**32 - 1),))
"""Root's own namespace."""
ROOT_ALONE = IdRanges(((0, 1),), ((0, 1),))
"""A namespace that an ordinary user makes without help: its one id is root inside."""


def records_of(tree: Tree) -> tuple[list[Record], list[DataFile]]:
    """Return the records of *tree*, and the files that their `source` counts."""
    maker = _Maker()
    records = [maker.record(b"", tree.root)]
    records += [maker.record(path, node) for path, node in tree.walk()]
    return records, maker.files()


def records_of_paths(
    chosen: Mapping[bytes, Node | None], opaque: Container[bytes]
) -> tuple[list[Record], list[DataFile]]:
    """Return the records of the nodes at the *chosen* paths, and the files of their `source`.

    Where there is no node, the path is a `WHITEOUT`; directories at *opaque* paths are `OPAQUE`.
    """
    maker = _Maker()
    return [
        maker.record(path, chosen[path], opaque=path in opaque)
        for path in sorted(chosen, key=lambda path: path.split(b"/") if path else [])
    ], maker.files()


class _Maker:
    """Makes records one after another, and counts the files that they refer to."""

    def __init__(self) -> None:
        self._files: dict[int, tuple[int, DataFile]] = {}
        self._names: dict[Node, bytes] = {}

    def record(self, path: bytes, node: Node | None, *, opaque: bool = False) -> Record:
        if node is None:
            return Record(path, WHITEOUT, 0, 0, 0, 0, b"", (0, 0), None, None)
        if node.is_directory:
            made = _record(path, node, None)
            return made._replace(kind=OPAQUE) if opaque else made
        first = self._names.setdefault(node, path)
        if first is not path:
            return _record(path, node, None)._replace(kind=HARD_LINK, target=first)
        source = None
        if node.data is not None:
            file = node.data.file
            index, _ = self._files.setdefault(id(file), (len(self._files), file))
            source = _source(index, node.data)
        return _record(path, node, source)

    def files(self) -> list[DataFile]:
        return [file for _, file in self._files.values()]


def pack(records: list[Record]) -> bytes:
    """Return the records for `unpack_records`, which must be of the same Python."""
    return marshal.dumps([tuple(record) for record in records])


def unpack_records(packed: bytes) -> list[Record]:
    """Return what was packed. Only for what our own process wrote: marshal trusts its input."""
    return list(map(Record._make, marshal.loads(packed)))  # noqa: S302 - our own process wrote it


def hidden_owners(tree: Tree, ids: IdRanges) -> dict[bytes, tuple[int, int]]:
    """Return the paths, and their owners, that `unpack` leaves to root for want of such an id."""
    hidden = {}
    shown = {(0, 0)}
    for path, node in [(b"", tree.root), *tree.walk()]:
        owner = node.uid, node.gid
        if owner in shown:
            continue
        if ids.hold(*owner):
            shown.add(owner)
        else:
            hidden[path] = owner
    return hidden


def _record(path: bytes, node: Node, source: Source | None) -> Record:
    return Record(
        path, node.kind.value, node.mode, node.uid, node.gid, node.mtime, node.target,
        node.device, node.xattrs, source,
    )  # fmt: skip


def _source(index: int, data: Data) -> Source:
    segments = data.segments
    # marshal takes tuples only, not what is derived from them.
    plain = None if segments is None else tuple((run.offset, run.length) for run in segments)
    return index, data.offset, data.size, plain


def _within(number: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= number < first + count for first, count in ranges)

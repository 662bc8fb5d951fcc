"""Changes to a `Tree` that become a layer: each is made in the tree and written to a tar at once.

The tar goes into a file of the store's temporary area, hashed on its way, so that the finished
layer can be read like any other and be published under its digest without moving a byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from layers import tarwriter
from layers.kinds import Kind
from layers.layerwriter import LayerWriter
from layers.tarheader import BLOCK
from layers.tree import Data, Node, Origin, check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from layers.digest import Digest
    from layers.spool import NamedSpool
    from layers.tree import Tree

_ZEROS = bytes(BLOCK)


class SizeChanged(Exception):
    """A file gave more or fewer bytes than it was said to have."""


@dataclass(frozen=True, slots=True)
class FinishedLayer:
    """A plain tar: its digest (which is its diff_id), its length, the file that it is in."""

    diff_id: Digest
    size: int
    file: NamedSpool


class Changes:
    """One layer in the making. Paths are clean, and run through directories, not through links.

    Data of files that were put can be read after `finish`; the block ends before the tar's file is
    closed.
    """

    def __init__(
        self,
        tree: Tree,
        make_file: Callable[[], NamedSpool],
        spend: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Change *tree*; *make_file* opens a file, which stays the caller's, for the tar.

        *spend* is told of each file's bytes before they are written, and may raise.
        """
        self.tree = tree
        self._spend = spend
        self._make_file = make_file
        self._file: NamedSpool | None = None
        self._writer: LayerWriter | None = None
        self._names: dict[Node, bytes] = {}
        self._folder: tuple[bytes, Node] = (b"", tree.root)
        self.paths: list[bytes] = []
        """What was put or linked."""
        self.replaced: list[bytes] = []
        """Where something was that is gone, with all below it."""

    @property
    def empty(self) -> bool:
        """Whether nothing was changed."""
        return self._writer is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def _opened(self) -> tuple[NamedSpool, LayerWriter]:
        if self._file is None or self._writer is None:
            self._file = self._make_file()
            self._writer = LayerWriter(self._file)
        return self._file, self._writer

    def put(self, path: bytes, node: Node, chunks: Iterable[bytes] = (), size: int = 0) -> Node:
        """Put *node* at *path*, in place of what is there; return what stands there then.

        A directory replaces no directory, but gives the one that is there its own metadata. *size*
        is the length of *chunks*, a file's data; `SizeChanged` tells that it is not. Raises
        `InvalidName` for a name that Linux would not accept.
        """
        self._spend(size)
        parent, name = self._parent(path)
        there = parent.children.get(name)
        self._note(path, node, there)
        if node.is_directory and there is not None and there.is_directory:
            there.mode, there.uid, there.gid = node.mode, node.uid, node.gid
            there.mtime, there.xattrs = node.mtime, node.xattrs
            self._append(tarwriter.header(path, there))
            return there
        file, writer = self._opened()
        start = writer.size
        if size:
            node.data = Data(file, 0, size)  # the header tells its size
        header = tarwriter.header(path, node)
        self._append(header)
        if size:
            node.data = Data(file, start + len(header), size)
            node.origin = Origin(start, path)
            self._copy(chunks, size)
        parent.children[name] = node
        if there is not None and there.is_directory:
            self._folder = (b"", self.tree.root)  # the one asked for last may be gone with it
        self._names[node] = path
        return node

    def link(self, path: bytes, node: Node) -> None:
        """Give a node that was put before one more name."""
        parent, name = self._parent(path)
        self._note(path, node, parent.children.get(name))
        parent.children[name] = node
        self._append(tarwriter.link_header(path, self._names[node], node))

    def make_directories(self, path: bytes, mtime: int, owner: tuple[int, int], mode: int) -> None:
        """Make what is missing of *path*."""
        names = path.split(b"/") if path else []
        node = self.tree.root
        for count, name in enumerate(names, 1):
            child = node.children.get(name)
            if child is None:
                made = Node(Kind.DIRECTORY, mode, *owner, mtime)
                child = self.put(b"/".join(names[:count]), made)
            node = child

    def finish(self) -> FinishedLayer:
        """End the tar."""
        file, writer = self._opened()
        writer.append(tarwriter.END)
        return FinishedLayer(writer.finish(), file.size, file)

    def _note(self, path: bytes, node: Node, there: Node | None) -> None:
        self.paths.append(path)
        if there is not None and node.is_directory != there.is_directory:
            self.replaced.append(path)

    def _copy(self, chunks: Iterable[bytes], size: int) -> None:
        left = size
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            self._append(chunk)
        if left:
            raise SizeChanged
        self._append(_ZEROS[: -size % BLOCK])

    def _append(self, data: bytes) -> None:
        self._opened()[1].append(data)

    def _parent(self, path: bytes) -> tuple[Node, bytes]:
        """Return the directory that *path* is in; most of the time it is the one asked for last."""
        folder, _, name = path.rpartition(b"/")
        check_name(name)
        if folder != self._folder[0]:
            node = self.tree.root
            for part in folder.split(b"/") if folder else ():
                node = node.children[part]
            self._folder = (folder, node)
        return self._folder[1], name

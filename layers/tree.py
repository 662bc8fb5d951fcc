"""The merged file system as plain data: nodes, and finding one's way among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from layers.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layers.sparse import Segment

LINK_LIMIT = 40
"""Symbolic links followed in one lookup, as in Linux (path_resolution(7))."""
NAME_MAX = 255
"""Bytes in the name of a directory entry, as in Linux; mksquashfs cuts longer ones off."""


class DataFile(Protocol):
    """An open file that nodes' data lie in: a layer's spool, or what an edit wrote."""

    size: int

    def fileno(self) -> int:
        """Return a descriptor that can be read from at any offset."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to *length* bytes at *offset*."""
        ...


class Origin(NamedTuple):
    """The header block that an unchanged node can be copied from, and the path it spells."""

    start: int
    path: bytes


class Data(NamedTuple):
    """Where a regular file's bytes are."""

    file: DataFile
    offset: int
    size: int
    segments: tuple[Segment, ...] | None = None


class Node:
    """An inode: names are in its directories; several names of one node are hard links."""

    __slots__ = (
        "children", "data", "device", "gid", "kind", "mode", "mtime", "origin", "target", "uid",
        "xattrs",
    )  # fmt: skip

    def __init__(self, kind: Kind, mode: int, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime = mtime
        self.xattrs: dict[bytes, bytes] | None = None
        self.data: Data | None = None
        self.target = b""
        self.device = (0, 0)
        # Only directories have children of their own; the others share an empty mapping.
        self.children: dict[bytes, Node] = {} if kind is Kind.DIRECTORY else _NO_CHILDREN
        self.origin: Origin | None = None

    def copy(self) -> Node:
        """Return another node of the same metadata and data, without children."""
        twin = Node(self.kind, self.mode, self.uid, self.gid, self.mtime)
        twin.xattrs, twin.data, twin.target = self.xattrs, self.data, self.target
        twin.device, twin.origin = self.device, self.origin
        return twin

    @property
    def is_directory(self) -> bool:
        """Whether the node has children."""
        return self.kind is Kind.DIRECTORY

    @property
    def size(self) -> int:
        """Bytes of a file's data or of a link's target, as `stat` has it; 0 for the rest."""
        if self.data is not None:
            return self.data.size
        return len(self.target)


class TreeError(Exception):
    """A path that cannot be followed; the text says why, the caller adds to what."""


class NotADirectory(TreeError):
    """A path runs through something that is no directory."""


class LinkLoop(TreeError):
    """More symbolic links on the way than Linux would follow."""


class InvalidName(TreeError):
    """A name that no directory entry can have."""


_NO_CHILDREN: dict[bytes, Node] = {}


class Tree:
    """A root directory and the ways through it. Symbolic links never leave it."""

    __slots__ = ("root",)

    def __init__(self, root: Node | None = None) -> None:
        self.root = root or Node(Kind.DIRECTORY, 0o755)

    def find(self, path: bytes, *, follow: bool = True) -> Node | None:
        """Return the node at *path*, or `None`; links on the way are followed.

        Whether a link at the end is followed too is *follow*'s choice. Raises `TreeError` for
        loops and for paths through what is no directory.
        """
        walk = Walk(self.root, path)
        node = walk.run(follow_last=follow)
        return None if walk.missing else node

    def resolve(self, path: bytes, *, follow: bool = True) -> tuple[bytes, ...]:
        """Return the names that lead to where *path* points, links followed.

        Names that do not exist (yet) are taken as they are.
        """
        walk = Walk(self.root, path)
        walk.run(follow_last=follow)
        return tuple(walk.names)

    def make_directories(self, path: bytes, mtime: int, uid: int = 0, gid: int = 0) -> Node:
        """Return the directory at *path*, creating what is missing (0755) and following links."""
        names = self.resolve(path)
        node = self.root
        for name in names:
            child = node.children.get(name)
            if child is None:
                check_name(name)
                child = node.children[name] = Node(Kind.DIRECTORY, 0o755, uid, gid, mtime)
            elif not child.is_directory:
                raise NotADirectory(f"{show(b'/'.join(names))}: {show(name)} is not a directory")
            node = child
        return node

    def copy(self) -> Tree:
        """Return a tree that can be changed without changing this one; data are shared."""
        copies: dict[Node, Node] = {}
        root = self.root.copy()
        todo = [(self.root, root)]
        while todo:
            node, copied = todo.pop()
            for name, child in node.children.items():
                twin = copies.get(child)
                if twin is None:
                    twin = copies[child] = child.copy()
                    if child.is_directory:
                        todo.append((child, twin))
                copied.children[name] = twin
        return Tree(root)

    def nodes(self) -> Iterator[Node]:
        """Yield every node below the root, once for each of its names, in no order."""
        todo = [self.root]
        while todo:
            for child in todo.pop().children.values():
                yield child
                if child.children:
                    todo.append(child)

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Yield every (path, node) below the root, parents first, names in byte order."""
        stack = [(b"", self.root)]
        while stack:
            path, node = stack.pop()
            if path:
                yield path, node
            prefix = path + b"/" if path else b""
            children = node.children
            stack += [(prefix + name, children[name]) for name in sorted(children, reverse=True)]


class Walk:
    """One walk along a path: after `run`, `names` lead to where it ended, links followed."""

    __slots__ = ("followed", "missing", "names", "nodes", "todo")

    def __init__(self, root: Node, path: bytes) -> None:
        self.nodes = [root]
        self.names: list[bytes] = []
        self.todo = _split(path)
        self.followed: list[tuple[bytes, Node]] = []
        """The symbolic links on the way, by the path that each was met at."""
        self.missing = False

    def run(self, *, follow_last: bool = True) -> Node:
        """Walk to the end; return the last node that is there."""
        while self.todo:
            name = self.todo.pop()
            if name == b"..":
                self._up()
            elif self.missing:
                self.names.append(name)
            else:
                self._down(name, follow=follow_last or bool(self.todo))
        return self.nodes[-1]

    def child(self, directory: Node, name: bytes) -> Node | None:
        """Return what *directory* has under *name*."""
        if not directory.is_directory:
            raise NotADirectory(f"{show(b'/'.join(self.names))} is not a directory")
        return directory.children.get(name)

    def _up(self) -> None:
        if self.names:
            if len(self.nodes) > len(self.names):
                self.nodes.pop()
            self.names.pop()
        self.missing = len(self.nodes) <= len(self.names)

    def _down(self, name: bytes, *, follow: bool) -> None:
        child = self.child(self.nodes[-1], name)
        if child is None:
            self.names.append(name)
            self.missing = True
        elif child.kind is Kind.SYMLINK and follow:
            self._follow(name, child)
        else:
            self.names.append(name)
            self.nodes.append(child)

    def _follow(self, name: bytes, link: Node) -> None:
        self.followed.append((b"/".join((*self.names, name)), link))
        if len(self.followed) > LINK_LIMIT:
            raise LinkLoop(f"more than {LINK_LIMIT} symbolic links on the way (a loop?)")
        if link.target.startswith(b"/"):
            del self.nodes[1:]
            self.names.clear()
        self.todo += _split(link.target)


def _split(path: bytes) -> list[bytes]:
    """Return the components, last first, so that the next one is popped from the end."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    parts.reverse()
    return parts


def check_name(name: bytes) -> None:
    """Raise `InvalidName` unless Linux would accept *name* for a new directory entry."""
    if len(name) > NAME_MAX:
        raise InvalidName(f"{show(name)} is longer than {NAME_MAX} bytes, the most in Linux")
    if b"\0" in name:
        raise InvalidName(f"{show(name)} contains a zero byte, which no name in Linux can")


def show(path: bytes) -> str:
    """Return a path for an error message, quoted and shortened."""
    text = path.decode("utf-8", "backslashreplace")
    return f'"{text}"' if len(text) <= 200 else f'"{text[:200]}..."'

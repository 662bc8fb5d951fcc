"""Small trees, written down as literals."""

from __future__ import annotations

from layers.kinds import Kind
from layers.tree import Data, Node, Tree


class Bytes:
    """A data file in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def fileno(self) -> int:
        raise OSError("in memory")

    def read_at(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class Memory(Bytes):
    """One that can be written to, as what a layer is made in."""

    def __init__(self) -> None:
        super().__init__(b"")

    def append(self, chunk: bytes) -> None:
        self.data += chunk
        self.size = len(self.data)


def directory(mode=0o755, **children):
    node = Node(Kind.DIRECTORY, mode)
    node.children = {name.replace("_", ".").encode(): child for name, child in children.items()}
    return node


def file(data=b"", mode=0o644):
    node = Node(Kind.FILE, mode)
    node.data = Data(Bytes(data), 0, len(data))
    return node


def link(target):
    node = Node(Kind.SYMLINK, 0o777)
    node.target = target.encode()
    return node


def tree(**children):
    return Tree(directory(**children))

"""Where a tree differs from its files on disk, and what an overlay needs to show that. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assembler.sandbox.records import Record, records_of_paths
from layers.kinds import Kind
from layers.merge import Mark, parse_whiteout
from layers.tree import TreeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layers.tarindex import Entry
    from layers.tree import DataFile, Node, Tree


@dataclass(slots=True)
class Touched:
    """Paths whose nodes changed; below those of *replaced* nothing is as it was."""

    paths: set[bytes] = field(default_factory=set)
    replaced: set[bytes] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.paths or self.replaced)

    def copy(self) -> Touched:
        """Return another one of the same paths."""
        return Touched(set(self.paths), set(self.replaced))

    def add(self, paths: Iterable[bytes], replaced: Iterable[bytes]) -> None:
        """Take paths that run through no links."""
        self.paths.update(paths)
        self.replaced.update(replaced)

    def add_layer(self, entries: Iterable[Entry], tree: Tree) -> None:
        """Take what a layer that was applied to *tree* has entries for."""
        for entry in entries:
            folder, _, name = entry.path.rpartition(b"/")
            mark = parse_whiteout(name)
            place = _place(tree, folder)
            path = b"/".join((*place, name)) if name else b""
            if mark is None:
                self.paths.add(path)
                if entry.kind is not Kind.DIRECTORY:
                    self.replaced.add(path)
            elif mark[0] is Mark.OPAQUE:
                self.replaced.add(b"/".join(place))
            elif mark[0] is Mark.REMOVE:
                self.replaced.add(b"/".join((*place, mark[1])))


def delta(tree: Tree, touched: Touched) -> tuple[list[Record], list[DataFile]]:
    """Return the records of a folder that, above the old one, shows *tree* as it is.

    What is gone is a `WHITEOUT`, a directory that shows nothing of the old one is `OPAQUE`.
    """
    chosen: dict[bytes, Node | None] = {b"": tree.root}
    opaque: set[bytes] = set()
    for path in sorted(touched.paths | touched.replaced):
        node = _choose_way(tree, path, chosen)
        if path in touched.replaced and node is not None and node.is_directory:
            opaque.add(path)
            _choose_all(node, path, chosen)
    kept = {
        path: node
        for path, node in chosen.items()
        if node is not None or not _is_below(path, opaque)
    }
    return records_of_paths(kept, opaque)


def _choose_way(tree: Tree, path: bytes, chosen: dict[bytes, Node | None]) -> Node | None:
    """Choose all directories on the way to *path*, and what is there; `None` for nothing."""
    node: Node | None = tree.root
    way: list[bytes] = []
    for name in path.split(b"/") if path else ():
        if node is None or not node.is_directory:
            return None  # its parent is gone, or no directory any more: that says it all
        way.append(name)
        node = node.children.get(name)
        chosen[b"/".join(way)] = node
    return node


def _choose_all(node: Node, path: bytes, chosen: dict[bytes, Node | None]) -> None:
    todo = [(path, node)]
    while todo:
        here, parent = todo.pop()
        for name, child in parent.children.items():
            place = here + b"/" + name if here else name
            chosen[place] = child
            if child.is_directory:
                todo.append((place, child))


def _is_below(path: bytes, directories: set[bytes]) -> bool:
    while path:
        path = path.rpartition(b"/")[0]
        if path in directories:
            return True
    return False


def _place(tree: Tree, folder: bytes) -> tuple[bytes, ...]:
    try:
        return tree.resolve(folder)
    except TreeError:
        return tuple(folder.split(b"/"))

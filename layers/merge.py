"""Layers upon one another (OCI image-spec v1.1, layer.md, "Applying Changesets").

Pure: entries and a tree in, the tree changed in place. No file is read here.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from layers.aufs import OPAQUE_NAME, MetaEntries, is_meta
from layers.errors import MalformedLayer
from layers.kinds import Kind
from layers.limits import Limits
from layers.sparse import hole_bytes
from layers.tree import Data, Node, Origin, Tree, TreeError, Walk, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from layers.tarindex import Entry
    from layers.tree import DataFile

    _Name = tuple[Node, bytes]

_PREFIX = b".wh."
_WAYS = (Kind.DIRECTORY, Kind.SYMLINK)


class Mark(enum.Enum):
    """What a name that begins with `.wh.` asks for."""

    REMOVE = enum.auto()
    OPAQUE = enum.auto()
    DROP = enum.auto()


def parse_whiteout(name: bytes) -> tuple[Mark, bytes] | None:
    """Tell a whiteout's meaning and the name it removes; `None` for an ordinary name.

    Raises `ValueError` for a whiteout of nothing (layer.md, "Whiteouts").
    """
    if not name.startswith(_PREFIX):
        return None
    if name == OPAQUE_NAME:
        return Mark.OPAQUE, b""
    if is_meta(name):
        return Mark.DROP, b""
    target = name[len(_PREFIX) :]
    if target in (b"", b".", b".."):
        raise ValueError("a whiteout must name what it removes")
    return Mark.REMOVE, target


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """One layer, read: its name for errors, its entries in order, the file their data are in."""

    name: str
    entries: Sequence[Entry]
    file: DataFile


def merge(
    layers: Iterable[LayerIndex],
    limits: Limits | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Tree:
    """Apply layers, bottom first, to an empty root.

    Raises `MalformedLayer` for what cannot be applied, `LimitExceeded` past *limits*. *warn* is
    told of a layer that other tools may apply otherwise.
    """
    limits = limits or Limits()
    tree, meta = Tree(), MetaEntries()
    entries = total = holes = 0
    for layer in layers:
        entries += len(layer.entries)
        found = layer_holes(layer)
        holes += found
        total += layer.file.size + found
        limits.check("entries", entries, f"layer {layer.name}: the image's number of entries")
        what = f"layer {layer.name}: the size of the holes in the image's files"
        limits.check("hole_bytes", holes, what)
        limits.check("total_bytes", total, f"layer {layer.name}: the image's plain size")
        apply_layer(tree, layer, limits, warn, meta)
    return tree


def layer_holes(layer: LayerIndex) -> int:
    """Return the bytes of sparse files that *layer* does not store, but whoever reads it reads."""
    return sum(hole_bytes(e.size, e.segments) for e in layer.entries if e.segments is not None)


def apply_layer(
    tree: Tree,
    layer: LayerIndex,
    limits: Limits | None = None,
    warn: Callable[[str], None] = lambda _: None,
    meta: MetaEntries | None = None,
) -> None:
    """Apply one layer to *tree* in place; see `merge`.

    *meta* has what lower layers hold that is not in the image, and gets this one's.
    """
    application = _Application(tree, layer, limits or Limits(), meta or MetaEntries())
    application.run()
    if application.link_followed is not None:
        warn(_described(layer, application.link_followed))


class _LayerWalk(Walk):
    """A walk along an entry's path, which is free to put directories in the place of others.

    What is no directory counts as not there, and so does what *replaced* names: (directory, name)
    pairs of lower layers at which the entry's layer has a directory of its own.
    """

    __slots__ = ("_replaced",)

    def __init__(self, root: Node, path: bytes, replaced: AbstractSet[_Name]) -> None:
        super().__init__(root, path)
        self._replaced = replaced

    def child(self, directory: Node, name: bytes) -> Node | None:
        child = directory.children.get(name)
        if child is None or child.kind is Kind.DIRECTORY:
            return child
        is_way = child.kind is Kind.SYMLINK and (directory, name) not in self._replaced
        return child if is_way else None


class _Application:
    """One layer being applied: whiteouts act on what was there before, then entries in order."""

    def __init__(self, tree: Tree, layer: LayerIndex, limits: Limits, meta: MetaEntries) -> None:
        self._tree = tree
        self._layer = layer
        self._limits = limits
        self.link_followed: bytes | None = None
        """A symbolic link of a lower layer that entries were placed, or sought, through."""
        # Symbolic links that this layer has put.
        self._own_links: set[Node] = set()
        self._replaced: set[_Name] = set()
        # Hard links whose target has not come yet, by the path they will have.
        self._deferred: dict[bytes, Entry] = {}
        # What is not in the image but may have other names there.
        self._meta = meta
        # The directory of the last entry: neighbours in a tar are neighbours in the tree.
        self._last_path = b""
        self._last_parent = tree.root

    def run(self) -> None:
        ordinary: list[Entry] = []
        whiteouts: list[tuple[Entry, Mark, bytes]] = []
        for entry in self._layer.entries:
            try:
                mark = _whiteout(entry.path)
            except ValueError as error:
                raise self._error(entry, str(error)) from None
            if mark is None:
                ordinary.append(entry)
            elif mark[0] is Mark.DROP:
                self._meta.add(entry, self._layer.file)
            else:
                whiteouts.append((entry, *mark))
        self._find_replaced(ordinary)
        for entry, kind, target in whiteouts:
            try:
                self._white_out(entry.path, kind, target)
            except TreeError as error:
                raise self._error(entry, str(error)) from None
        for entry in ordinary:
            try:
                self._apply(entry)
            except TreeError as error:
                raise self._error(entry, str(error)) from None
        self._link_deferred()

    def _find_replaced(self, entries: Iterable[Entry]) -> None:
        """Note where directories of this layer stand in the place of something else.

        A path below such a directory never leads to what lower layers had there, in particular not
        through a symbolic link, wherever the entries stand in the tar: on an overlay, the layer's
        directory is there before anything is looked up in it.
        """
        if not self._tree.root.children:
            return
        paths = [entry.path for entry in entries if entry.kind is Kind.DIRECTORY and entry.path]
        for path in sorted(paths):  # parents first
            parent_path, _, name = path.rpartition(b"/")
            try:
                parent = self._find_directory(parent_path)
            except TreeError:
                continue  # said when the entry is applied
            child = parent.children.get(name) if parent is not None else None
            if parent is not None and child is not None and not child.is_directory:
                self._replaced.add((parent, name))

    def _white_out(self, path: bytes, mark: Mark, target: bytes) -> None:
        parent = self._find_directory(path.rpartition(b"/")[0])
        if parent is None:
            return
        if mark is Mark.OPAQUE:
            parent.children = {}
        else:
            parent.children.pop(target, None)

    def _find_directory(self, path: bytes) -> Node | None:
        """Return the directory at *path*, `None` where there is none."""
        walk = self._walk(path)
        return None if walk.missing else walk.nodes[-1]

    def _walk(self, path: bytes) -> Walk:
        walk = _LayerWalk(self._tree.root, path, self._replaced)
        walk.run()
        for at, link in walk.followed:
            if self.link_followed is None and link not in self._own_links:
                self.link_followed = at
        return walk

    def _apply(self, entry: Entry) -> None:
        if not entry.path:
            _set_metadata(self._tree.root, entry)
            return
        parent, name = self._parent(entry)
        if self._deferred:
            self._deferred.pop(entry.path, None)
        if entry.kind is Kind.HARDLINK:
            # What the link replaces goes first: it cannot be the link's target, or hold it.
            self._remove(parent, name)
            target = self._link_target(entry)
            if target is None:
                self._deferred[entry.path] = entry
                return
            self._put(parent, name, target, entry)
            return
        existing = parent.children.get(name)
        if existing is not None and existing.is_directory and entry.kind is Kind.DIRECTORY:
            _set_metadata(existing, entry)
            return
        self._put(parent, name, _node(entry, self._layer.file), entry)

    def _parent(self, entry: Entry) -> tuple[Node, bytes]:
        """Return the directory that *entry* goes into, made where it is missing, and its name."""
        parent_path, _, name = entry.path.rpartition(b"/")
        if parent_path != self._last_path:
            self._last_parent = self._directory(parent_path, entry.mtime)
            self._last_path = parent_path
        return self._last_parent, name

    def _directory(self, path: bytes, mtime: int) -> Node:
        node = self._tree.root
        if path:
            # The common way: every parent is there and is a directory.
            for part in path.split(b"/"):
                child = node.children.get(part)
                if child is None or child.kind is not Kind.DIRECTORY:
                    return self._implied_directory(path, mtime)
                node = child
        return node

    def _implied_directory(self, path: bytes, mtime: int) -> Node:
        """Return the directory at *path*, made where it is missing; what is in its place goes."""
        node = self._tree.root
        for name in self._walk(path).names:
            child = node.children.get(name)
            if child is None or not child.is_directory:
                child = node.children[name] = Node(Kind.DIRECTORY, 0o755, mtime=mtime)
            node = child
        return node

    def _remove(self, parent: Node, name: bytes) -> None:
        replaced = parent.children.pop(name, None)
        if replaced is not None and replaced.kind in _WAYS:
            # The last entry's directory may have been reached through what is gone now.
            self._last_path, self._last_parent = b"", self._tree.root

    def _put(self, parent: Node, name: bytes, node: Node, entry: Entry) -> None:
        self._remove(parent, name)
        parent.children[name] = node
        if node.kind is Kind.SYMLINK:
            self._own_links.add(node)
            self._replaced.discard((parent, name))
        if len(parent.children) > self._limits.directory_entries:
            folder = show(entry.path.rpartition(b"/")[0] or b"/")
            what = f"layer {self._layer.name}: the number of names in {folder}"
            self._limits.check("directory_entries", len(parent.children), what)

    def _link_target(self, entry: Entry) -> Node | None:
        """Return the node a hard link names; `None` if it is not there (yet)."""
        if not entry.target:
            raise TreeError("it is a hard link to the root directory")
        if is_meta(entry.target):
            return self._meta_target(entry.target)
        parent_path, _, name = entry.target.rpartition(b"/")
        parent = self._find_directory(parent_path)
        if parent is None:
            return None
        target = parent.children.get(name)
        if target is not None and target.is_directory:
            raise TreeError(f"it is a hard link to the directory {show(entry.target)}")
        return target

    def _meta_target(self, path: bytes) -> Node | None:
        """Return the node of a file that aufs keeps for itself; `None` if there is none (yet)."""
        found = self._meta.find(path)
        if found is None:
            return None
        entry = found.entry
        if entry.kind is Kind.HARDLINK:
            return self._link_target(entry)
        if entry.kind is Kind.DIRECTORY:
            raise TreeError(f"it is a hard link to the directory {show(path)}")
        node = self._meta.nodes.get(entry.path)
        if node is None:
            node = self._meta.nodes[entry.path] = _node(entry, found.file)
        return node

    def _link_deferred(self) -> None:
        """Make the links whose targets came later; links to links may need several rounds."""
        while self._deferred:
            waiting = self._deferred
            self._deferred = {}
            for entry in waiting.values():
                try:
                    self._apply(entry)
                except TreeError as error:
                    raise self._error(entry, str(error)) from None
            if len(self._deferred) == len(waiting):
                entry = next(iter(self._deferred.values()))
                problem = f"it is a hard link to {show(entry.target)}, which does not exist"
                raise self._error(entry, problem)

    def _error(self, entry: Entry, problem: str) -> MalformedLayer:
        return MalformedLayer(self._layer.name, f"entry {show(entry.path)}: {problem}")


def _whiteout(path: bytes) -> tuple[Mark, bytes] | None:
    """Return what the whiteout at *path* asks for, `None` for an ordinary entry.

    Raises `ValueError` for a malformed one.
    """
    if _PREFIX not in path:
        return None
    parent_path, _, name = path.rpartition(b"/")
    if parent_path.startswith(_PREFIX) or b"/" + _PREFIX in parent_path:
        if is_meta(parent_path):
            return Mark.DROP, b""
        raise ValueError("its path runs through a whiteout")
    return parse_whiteout(name)


def _described(layer: LayerIndex, link: bytes) -> str:
    return (
        f"layer {layer.name}: its entries below {show(link)}, a symbolic link of a lower layer, "
        "were placed where the link leads; where layers are overlays, as under Docker, a directory "
        "hides the link instead"
    )


def _set_metadata(node: Node, entry: Entry) -> None:
    if entry.kind is not Kind.DIRECTORY:
        raise TreeError("the image's root must be a directory")
    node.mode, node.uid, node.gid = entry.mode, entry.uid, entry.gid
    node.mtime, node.xattrs = entry.mtime, entry.xattrs
    # The header's block belongs to this layer's file; directories are cheap to write anew.
    node.origin = None


def _node(entry: Entry, file: DataFile) -> Node:
    node = Node(entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime)
    node.xattrs = entry.xattrs
    if entry.kind is Kind.FILE:
        node.data = Data(file, entry.offset, entry.size, entry.segments)
        if entry.start >= 0:
            node.origin = Origin(entry.start, entry.path)
    elif entry.kind is Kind.SYMLINK:
        node.target = entry.target
    elif entry.kind in (Kind.CHAR, Kind.BLOCK):
        node.device = entry.device
    return node
